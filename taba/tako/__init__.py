"""Tako: a small distributed key-value store that keeps what it acknowledged.

Keys and values are bytes, each value has a timestamp, and the newest wins. Nodes keep values (`node`), proxies serve
HTTP for outside clients (`proxy`), coordinators hand out the configuration (`coordinator`). Nodes act on their own:
they repair each other, hand over what moves, and need a coordinator for nothing but a new configuration.

Without IO are: `clock`, `records`, `ring`, `configuration`, `placement`, `levels`, `rounds`, `merkle`, `wire`,
`migration`. The guide is docs/tako/guide.md, bytes and formats are in docs/tako/reference.md.
"""

from __future__ import annotations

__all__: list[str] = []
