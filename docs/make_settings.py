"""Writes docs/reference/settings.md from the settings classes: `python docs/make_settings.py`. A test compares the
two.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs

from taba.settings import LATER, AgentSettings, DatabaseSettings, ServerSettings

INTRODUCTION = """# Settings

A settings file is a JSON object: `twistd taba-server --config FILE`, `taba-server FILE`, `twistd taba-agent --config
FILE`, `taba-agent FILE`. Options on the command line override it. A key that does not exist is an error that names the
nearest one; `--check-config` reads the file, says what is wrong with it, and exits. Times are in seconds and sizes in
bytes unless the key says otherwise.

Without a settings file a server keeps its data in `taba-data/` and opens an agent's port (8279) beside its own (8300).
With one it opens no agent's port unless EMBEDDED_AGENT is true, and posts its own events to `localhost:AGENT_PORT`.
`/post` on a server goes to an agent inside the process, whose spool is `DATA_DIR/spool`.

Everything listens on loopback; [many-hosts.md](../guide/many-hosts.md) says how to listen for other hosts safely.

This page is made by `docs/make_settings.py`.
"""


def default(each: Any) -> str:
    """A field's default, as JSON."""
    value = each.default
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        value = value.factory()
    if attrs.has(type(value)):
        return "see below"
    return json.dumps(attrs.asdict(value) if attrs.has(type(value)) else value, default=attrs.asdict)


def table(kind: Any) -> list[str]:
    """The rows of a settings class."""
    lines = ["| key | meaning | default |", "| --- | --- | --- |"]
    for each in attrs.fields(kind):
        lines.append(f"| `{each.metadata['key']}` | {each.metadata['meaning']} | `{default(each)}` |")
    return lines


def page() -> str:
    """The whole page."""
    sections = [INTRODUCTION, "## Server", "", *table(ServerSettings), ""]
    sections += ["### DB_SETTINGS", "", *table(DatabaseSettings), ""]
    sections += ["[redis.md](../guide/redis.md) says how to set up Redis and its Sentinels.", ""]
    sections += ["## Agent", "", *table(AgentSettings), ""]
    later = ", ".join(f"`{key}`" for key in LATER)
    sections += [f"The original's keys {later} may have their empty values only in this version."]
    return "\n".join(sections) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "reference" / "settings.md").write_text(page(), encoding="utf-8")
