"""`tako-cluster`: all coordinators, the nodes and a proxy of a configuration, each as a process of its own on this
host.

A process that ends by itself is started again after a moment. When the command stops, all of them are asked to stop,
and killed when they do not. When it is killed, they stop by themselves.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger

from taba.process import Process
from taba.tako.configuration import Configuration

AGAIN_SECONDS = 1.0
STOP_SECONDS = 15.0
"""After which a process that was asked to stop is killed."""


@frozen
class ClusterSettings:
    """What `tako-cluster` was told."""

    path: str
    """The configuration's file."""
    configuration: Configuration
    var: str
    ports: tuple[int, ...]
    """Of the proxy; none when there is to be no proxy."""
    skip: frozenset[str] = frozenset()
    update_seconds: float = 10.0
    passed_on: tuple[str, ...] = ()
    """Arguments for every process."""
    cache: int = 32
    """MiB of memory of each node for records."""
    stop_seconds: float = 2 * STOP_SECONDS


@frozen
class Command:
    """One process of the cluster."""

    name: str
    arguments: tuple[str, ...]


def commands(settings: ClusterSettings) -> list[Command]:
    """The processes of a cluster: coordinators first, then nodes, then the proxy."""
    configuration = settings.configuration
    update = ("-u", str(settings.update_seconds), *settings.passed_on)
    config: tuple[str, ...] = ("-cfg", settings.path)
    if configuration.coordinators:
        config = tuple(
            word for host, port in configuration.coordinators.values() for word in ("-c", host, str(port))
        )
    made = [
        Command(name, ("tako-coordinator", "-id", name, "-cfg", settings.path, *_var(settings, name), *update))
        for name in configuration.coordinators
        if name not in settings.skip
    ]
    made += [
        Command(
            name,
            ("tako-node", "-id", name, "--cache", str(settings.cache), *config, *_var(settings, name), *update),
        )
        for name in configuration.nodes()
        if name not in settings.skip
    ]
    if settings.ports:
        ports = tuple(word for port in settings.ports for word in ("-p", str(port)))
        proxy = ("tako-proxy", "-id", "proxy", *ports, *config, *_var(settings, "proxy"), *update)
        made.append(Command("proxy", proxy))
    return made


def _var(settings: ClusterSettings, name: str) -> tuple[str, ...]:
    folder = os.path.join(settings.var, name)
    return ("-v", folder)


_RUN = (
    "import sys; from taba.tako.cluster import end_with_parent; end_with_parent({parent}); "
    "from taba.tako.command_line import run_twistd; run_twistd(sys.argv[1], sys.argv[2:])"
)
_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Let this process be asked to stop when the one that started it, `parent`, dies, however that comes, or has died
    already; on Linux alone.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            raise SystemExit(1)


class _Child(ProcessProtocol):
    """One process; its output goes to a file of its own."""

    def __init__(self, service: TakoCluster, command: Command) -> None:
        self.ended: Deferred[None] = Deferred()
        self._service, self._command = service, command

    def processEnded(self, reason: Any) -> None:
        """Called by Twisted."""
        self._service.child_ended(self._command, reason)
        self.ended.callback(None)


@define(eq=False, slots=False)
class TakoCluster(Service):
    """The processes of a cluster."""

    settings: ClusterSettings
    process: Process
    _children: dict[str, tuple[Any, _Child]] = field(factory=dict, init=False)
    _timers: dict[str, Any] = field(factory=dict, init=False)
    _log = Logger()

    def startService(self) -> None:
        """Start all processes; they find each other."""
        super().startService()
        for command in commands(self.settings):
            self._start(command)
        ports = " ".join(f"http://127.0.0.1:{port}/" for port in self.settings.ports)
        count, var = len(self._children), self.settings.var
        self.process.say(f"Tako cluster: {count} processes, data and logs in {var}. {ports}")

    def _start(self, command: Command) -> None:
        self._timers.pop(command.name, None)
        folder = os.path.join(self.settings.var, command.name)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        child = _Child(self, command)
        output = os.open(os.path.join(folder, "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            running = self.process.reactor.spawnProcess(
                child,
                sys.executable,
                [sys.executable, "-c", _RUN.format(parent=os.getpid()), *command.arguments],
                env=None,
                childFDs={0: nothing, 1: output, 2: output},
            )
        finally:
            os.close(output)
            os.close(nothing)
        self._children[command.name] = (running, child)

    def child_ended(self, command: Command, reason: Any) -> None:
        """Start it again, unless all is to stop."""
        del self._children[command.name]
        if self.running:
            self._log.warn("{name} ended ({why}); it is started again", name=command.name, why=reason.value)
            self._timers[command.name] = self.process.reactor.callLater(AGAIN_SECONDS, self._start, command)

    def pids(self) -> dict[str, int]:
        """The processes that run."""
        return {name: running.pid for name, (running, _) in self._children.items()}

    def stopService(self) -> Deferred[Any]:
        """Fires when all have ended."""
        super().stopService()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        ending = [child.ended for _, child in self._children.values()]
        self._signal(signal.SIGTERM)
        kill = self.process.reactor.callLater(STOP_SECONDS, self._signal, signal.SIGKILL)

        def ended(_: object) -> None:
            if kill.active():
                kill.cancel()

        return DeferredList(ending).addCallback(ended)

    def _signal(self, number: int) -> None:
        for running, _ in list(self._children.values()):
            running.signalProcess(number)


def make_cluster(settings: ClusterSettings, process: Process) -> TakoCluster:
    """The service of `tako-cluster`."""
    return TakoCluster(settings, process)


def skip_check(configuration: Configuration, skip: Sequence[str]) -> str | None:
    """What is wrong with the names to be skipped; None when all are known."""
    known = {*configuration.nodes(), *configuration.coordinators}
    wrong = [name for name in skip if name not in known]
    return f"-s: the configuration has no {', '.join(wrong)}" if wrong else None
