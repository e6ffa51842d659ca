"""The command lines of Tako: `-id n1 -c HOST PORT -c HOST PORT -cfg FILE -s NODE NODE`, as they have always been
written, and how a command comes to run under twistd.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.logger import FileLogObserver, formatEventAsClassicLogText, globalLogPublisher
from twisted.python.usage import Options, UsageError

from taba.binding import EndpointString, check_endpoints
from taba.errors import SettingsError, StartError
from taba.tako.clock import MAX_AHEAD
from taba.tako.settings import DEFAULT_VAR, UPDATE_SECONDS, Security

GC_THRESHOLDS = (20_000, 20, 20)
"""Next to nothing here is freed by looking for cycles, and at Python's own thresholds the looking is a tenth of a
proxy's work.
"""
_LONG = {"-id": "--id", "-cfg": "--cfg"}


def translate(arguments: Sequence[str]) -> list[str]:
    """The arguments as `twisted.python.usage` reads them: long options with two hyphens, one value each. `-c HOST PORT`
    becomes `--coordinator HOST:PORT`, and `-s A B` becomes `--skip A --skip B`; a file that is named first goes last.
    """
    left, made = list(arguments), []
    first = [left.pop(0)] if left and not left[0].startswith("-") else []
    while left:
        word = left.pop(0)
        if word in ("-c", "--coordinator") and len(left) >= 2 and left[1].isdecimal():
            made += ["--coordinator", f"{left.pop(0)}:{left.pop(0)}"]
        elif word in ("-s", "--skip"):
            if not left or left[0].startswith("-"):
                raise UsageError("-s names one node at least")
            while left and not left[0].startswith("-"):
                made += ["--skip", left.pop(0)]
        else:
            made.append(_LONG.get(word, word))
    return made + first


class ListenOptions(Options):
    """What commands with ports for clients take, mixed in."""

    def opt_listen(self, value: str) -> None:
        """Endpoint string of one more port for clients, such as ssl:8443:privateKey=KEY.pem:certKey=CERTIFICATE.pem;
        may be given several times
        """
        self.setdefault("listened", []).append(str(EndpointString.parse(value).with_absolute_paths()))

    def listened(self, security: Security) -> tuple[str, ...]:
        """What was given; SettingsError for what cannot be listened on."""
        endpoints = tuple(self.get("listened", ()))
        check_endpoints(endpoints, token=security.token_file is not None, insecure=security.insecure)
        return endpoints


class MemberOptions(Options):
    """What every command takes."""

    optParameters = [
        ["id", None, None, "The id, as the configuration has it."],
        ["cfg", None, None, "Configuration, YAML or JSON."],
        ["var", "v", None, f"Folder for all that is kept [default: {DEFAULT_VAR}/ID]"],
        ["log", "l", None, "Write the log to this file."],
        ["update", "u", UPDATE_SECONDS, "Seconds between looks for a newer configuration.", float],
        ["max-ahead", None, MAX_AHEAD, "Seconds that a timestamp may be ahead of the clock here.", float],
        ["token-file", None, None, "File of the token that all processes of the cluster share."],
        ["tls-key", None, None, "PEM file of this process's key and certificate: nodes talk TLS to each other."],
        ["tls-ca", None, None, "PEM file of the authority that the others' certificates have to be from."],
    ]
    optFlags = [["insecure", None, "Listen on other addresses than loopback without a token: for everybody."]]
    needs_id = True

    def __init__(self) -> None:
        super().__init__()
        self["coordinators"] = []

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Called by twistd. A mistake ends the process with status 1 and a sentence, not with the whole help."""
        try:
            super().parseOptions(translate(sys.argv[1:] if options is None else options))
        except UsageError as problem:
            print(f"{problem}\n(--help shows all options.)", file=sys.stderr)
            raise SystemExit(1)
        except (SettingsError, StartError) as problem:
            print(problem, file=sys.stderr)
            raise SystemExit(1)

    def opt_coordinator(self, value: str) -> None:
        """HOST PORT of a coordinator; may be given several times (-c)"""
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise UsageError(f"-c takes HOST PORT, not {value!r}")
        self["coordinators"].append((host, int(port)))

    def postOptions(self) -> None:
        """Say what is wrong before twistd forks."""
        if self.needs_id and not self["id"]:
            raise UsageError("-id is missing: which node, proxy or coordinator is this?")
        for name in ("update", "max-ahead"):
            if not 0 < self[name] < 1e9:
                raise UsageError(f"--{name} takes seconds above 0")
        self["settings"] = self.settings()

    def settings(self) -> Any:
        """The settings; SettingsError says what is wrong."""
        raise NotImplementedError

    def folder(self) -> str:
        """Where all is kept. Of a process of its own by default where `tako-cluster` would have it, too."""
        return os.path.abspath(self["var"] or os.path.join(DEFAULT_VAR, self["id"]))

    def security(self) -> Security:
        """Who may come."""
        paths = {name: self[name] and os.path.abspath(self[name]) for name in ("token-file", "tls-key", "tls-ca")}
        return Security(paths["token-file"], paths["tls-key"], paths["tls-ca"], bool(self["insecure"]))

    def read_file(self) -> Callable[[], str] | None:
        """What reads the configuration's file; None when none was named."""
        if self["cfg"] is None:
            return None
        path = Path(self["cfg"]).absolute()

        def read() -> str:
            try:
                return path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                raise SettingsError(f"{path}: this is not UTF-8")

        return read

    def read_now(self) -> str | None:
        """The configuration's text, so that a mistake shows before twistd forks."""
        read = self.read_file()
        try:
            return None if read is None else read()
        except OSError as problem:
            raise SettingsError(f"The configuration cannot be read: {problem.strerror}: {problem.filename}.")


def write_log(path: str | None) -> None:
    """Let the log go to a file, too."""
    if path is not None:
        file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - open as long as the process
        globalLogPublisher.addObserver(FileLogObserver(file, formatEventAsClassicLogText))


def run_twistd(plugin: str, arguments: Sequence[str]) -> None:
    """Run a plugin in the foreground until it ends."""
    from twisted.scripts.twistd import run

    words = list(arguments)
    log = next((words[at + 1] for at, word in enumerate(words[:-1]) if word in ("-l", "--log")), None)
    twistd = ["twistd", "--nodaemon", "--pidfile="]
    if log is not None:
        twistd += ["--logfile", log]
        at = next(at for at, word in enumerate(words) if word in ("-l", "--log"))
        del words[at : at + 2]
    sys.argv = [*twistd, plugin, *words]
    run()


def service_of(make: Callable[[Any, Any], IService], options: Any, process: Any, reactor: Any) -> IService:
    """What twistd runs; it opens nothing before twistd has forked."""
    from taba.real import running_on

    write_log(options["log"])
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    return running_on(make, options["settings"], process, reactor)


def port_of(text: str) -> int:
    """A port of the command line; ValueError when it is none."""
    if not re.fullmatch(r"\d{1,5}", text) or int(text) > 65_535:
        raise ValueError(f"{text!r} is no port")
    return int(text)
