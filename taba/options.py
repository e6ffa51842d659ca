"""What the command lines of server and agent have in common: where settings come from, `--check-config`, the log."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from twisted.python.usage import Options, UsageError

from taba.errors import SettingsError
from taba.logs import log_through
from taba.settings import Gathered


class SettingsOptions(Options):
    """Options of a plugin whose settings are gathered from a file, `environment` (by default that of the process) and
    the command line. A mistake ends twistd with a sentence before it forks. `self["settings"]` has the settings.
    """

    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", None, "Settings file (JSON, or TOML when its name ends in .toml). TABA_* variables override it,"
         " and options on the command line override both."],
        ["token-file", None, None, "File of the token that clients, agents and servers share."],
        ["log-format", None, None, "text, or json: an object per line [default: text]"],
    ]  # fmt: skip
    optFlags = [
        ["check-config", None, "Read the settings, say what is in force or wrong with them, and exit."],
        ["insecure", None, "Listen on other addresses than loopback without a token or TLS: for everybody."],
    ]

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.environment = os.environ if environment is None else environment

    def gathered(self) -> Gathered[Any]:
        """The settings, complete and checked. SettingsError for a mistake."""
        raise NotImplementedError

    def inspected(self, settings: Any) -> int:
        """Look, for --check-config, at what the settings name on other machines; the status of the process."""
        return 0

    def common(self) -> dict[str, tuple[Any, str]]:
        """What these options say, as `taba.settings.gather` takes it."""
        options = {
            "TOKEN_FILE": (self["token-file"], "--token-file"),
            "LOG_FORMAT": (self["log-format"], "--log-format"),
            "INSECURE": (True if self["insecure"] else None, "--insecure"),
        }
        return given(options)

    def postOptions(self) -> None:
        """Read the settings."""
        try:
            gathered = self.gathered()
        except SettingsError as problem:
            raise UsageError(str(problem))
        self["settings"] = gathered.settings
        if self["check-config"]:
            for line in gathered.lines():
                print(line)
            for remark in gathered.settings.remarks():
                print(remark)
            print("The settings are in order.")
            raise SystemExit(self.inspected(gathered.settings))
        log_through(getattr(self, "parent", None), gathered.settings.log_format, gathered.settings.debug)


def given(options: Mapping[str, tuple[Any, str]]) -> dict[str, tuple[Any, str]]:
    """Those options that were given: None, or a list without anything, was not."""
    return {key: (value, name) for key, (value, name) in options.items() if value not in (None, ())}
