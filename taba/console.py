"""The console scripts of the original: `taba-server SETTINGS` and `taba-agent SETTINGS` are twistd in the foreground.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

DEFAULTS = {"taba-server": "/etc/taba/server_settings.json", "taba-agent": "/etc/taba/agent_settings.json"}
"""Where the settings are when no file is named, as in the original."""


def run_twistd(plugin: str, arguments: Sequence[str]) -> None:
    """Run a plugin until it ends. `arguments` are the settings file, if any, and options of the plugin."""
    from twisted.scripts.twistd import run

    options = list(arguments)
    if not options or options[0].startswith("-"):
        config = [] if "--help" in options or "--config" in options else ["--config", DEFAULTS[plugin]]
    else:
        config = ["--config", options.pop(0)]
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", plugin, *config, *options]
    run()
