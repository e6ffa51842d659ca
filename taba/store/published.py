"""Who has published itself, in the memory of a store of one process, as a pure state machine.

Times are monotonic seconds. Nothing is kept for good: whoever lives publishes itself again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import define, field


@define
class Published:
    """The members of one store."""

    _members: dict[str, tuple[float, str]] = field(factory=dict, init=False)
    """Name -> when it expires, and its facts as JSON: copies, which nobody else can change."""

    def publish(self, member: str, facts: Mapping[str, Any], ttl: float, now: float) -> None:
        """See `IStore.publish`; raises TypeError or ValueError for facts that JSON cannot hold."""
        text = json.dumps(facts, allow_nan=False)
        self._members.pop(member, None)
        if ttl > 0:
            self._members[member] = now + ttl, text

    def living(self, now: float) -> dict[str, Mapping[str, Any]]:
        """See `IStore.members`."""
        self._members = {name: kept for name, kept in self._members.items() if now < kept[0]}
        return {name: json.loads(text) for name, (_, text) in sorted(self._members.items())}
