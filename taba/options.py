"""What the command lines of server and agent have in common: where settings come from, `--check-config`, the log."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from twisted.python.usage import Options

from taba.errors import SettingsError
from taba.logs import log_through
from taba.settings import Gathered


class SettingsOptions(Options):
    """Options of a plugin whose settings are gathered from a file, `environment` (by default that of the process) and
    the command line. A mistake ends twistd with a sentence on stderr, and status 1, before it forks.
    `self["settings"]` has the settings.
    """

    program: ClassVar[str]
    """What the sentence begins with."""

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
        self["statsd"] = []

    def opt_statsd(self, value: str) -> None:
        """Where to take StatsD and DogStatsD, such as udp:8125, tcp:8126 or unix:/run/taba/statsd.sock; may be given
        several times
        """
        self["statsd"].append(value)

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
            "STATSD_LISTEN": (tuple(self["statsd"]), "--statsd"),
            "INSECURE": (True if self["insecure"] else None, "--insecure"),
        }
        return given(options)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """See `usage.Options`. SystemExit, with the sentence, for settings that cannot be used."""
        try:
            super().parseOptions(options)
        except SettingsError as problem:
            # Not a UsageError, for which twistd prints all options in front of the sentence.
            raise SystemExit(f"{self.program}: {problem}")

    def postOptions(self) -> None:
        """Read the settings. Raises SettingsError."""
        gathered = self.gathered()
        self["settings"] = gathered.settings
        self.folder = os.getcwd()
        if self["check-config"]:
            for line in gathered.lines():
                print(line)
            for remark in gathered.settings.remarks():
                print(remark)
            print("The settings are in order.")
            raise SystemExit(self.inspected(gathered.settings))
        self.log = log_through(getattr(self, "parent", None), gathered.settings.log_format, gathered.settings.debug)

    def read_again(self) -> Any:
        """The settings as they would be at a start now, in the folder where the command was given. SettingsError for a
        mistake.
        """
        here = os.getcwd()
        os.chdir(self.folder)  # what names no whole path means that folder; twistd may have changed it
        try:
            return self.gathered().settings
        finally:
            os.chdir(here)


@contextmanager
def located(found: Gathered[Any]) -> Iterator[None]:
    """Where a SettingsError is raised that begins with the key of a setting, it says where its value is from, too."""
    try:
        yield
    except SettingsError as problem:
        key = re.match(r"[A-Z_]+(\.[A-Z_]+)*", str(problem))
        origin = found.origins.get(key[0]) if key else None
        raise SettingsError(f"{origin}: {problem}" if origin else str(problem)) from problem


def given(options: Mapping[str, tuple[Any, str]]) -> dict[str, tuple[Any, str]]:
    """Those options that were given: None, or a list without anything, was not."""
    return {key: (value, name) for key, (value, name) in options.items() if value not in (None, ())}
