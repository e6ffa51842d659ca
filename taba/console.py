"""The console scripts of the original: `taba-server SETTINGS` and `taba-agent SETTINGS` are twistd in the foreground.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

DEFAULTS = {"taba-server": "/etc/taba/server_settings.json", "taba-agent": "/etc/taba/agent_settings.json"}
"""Where the settings are when no file is named, as in the original."""


def run_twistd(plugin: str, arguments: Sequence[str]) -> None:
    """Run a plugin until it ends. `arguments` are the settings file, if any, and options of the plugin."""
    from twisted.scripts.twistd import run

    options = list(arguments)
    if not options or options[0].startswith("-"):
        named = any(each.startswith(("--help", "--version", "--config", "-c")) for each in options)
        config = [] if named else ["--config", default_of(plugin, options)]
    else:
        config = ["--config", options.pop(0)]
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", plugin, *config, *options]
    run()


def default_of(plugin: str, options: Sequence[str]) -> str:
    """The settings file where none is named. SystemExit with a sentence when it is not there."""
    file = DEFAULTS[plugin]
    if not os.path.exists(file):
        without = " ".join(["twistd -n", plugin, *options])
        raise SystemExit(
            f"{plugin}: there is no {file}, where the settings are when no file is named. Name one (`{plugin} FILE`),"
            f" or run `{without}`, which needs none."
        )
    return file
