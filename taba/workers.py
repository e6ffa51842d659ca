"""SERVER_WORKERS processes of one host, kept running by a parent.

Each worker is a whole server on a port of its own: BASE_PORT, BASE_PORT + 1, ... The parent starts them, writes what
they log to its own log, and starts again who ends: at once the first time, then later and later, as long as it keeps
ending soon. A worker has a pipe to its parent as standard input: when the parent is gone, however it went, the pipe
ends, and the worker stops in good order.

Invariants: at most one process per worker at any time; after `stopService` none is left, those that did not stop
within STOP_SECONDS, and some more, are killed.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessExitedAlready, ReactorNotRunning
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a worker is started again: the first, doubled each time that it ends soon, and the longest."""
SOUND_SECONDS = 60.0
"""A worker that lived so long is started again without a long pause."""
KILL_SECONDS = 5.0
"""How long after its STOP_SECONDS, within which it ends by itself, a worker is killed."""
OF_SYSTEMD = ("NOTIFY_", "WATCHDOG_", "LISTEN_")
LONGEST_LINE = 65_536
"""Bytes of a line that a worker logs; what is longer comes in pieces."""


@define
class Pauses:
    """How long to wait before a worker starts again. Pure."""

    _next: float = FIRST_PAUSE

    def after(self, lived: float) -> float:
        """The pause after a life of so many seconds."""
        if lived >= SOUND_SECONDS:
            self._next = FIRST_PAUSE
        pause = self._next
        self._next = min(2 * self._next, LONGEST_PAUSE)
        return pause


class WorkerProcess(ProcessProtocol):
    """One life of a worker. `said` is told each line that it writes, `ended` how it ended."""

    def __init__(self, said: Callable[[str], None], ended: Callable[[str], None]) -> None:
        self._said = said
        self._ended = ended
        self._rest = b""

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Cut what it writes into lines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._said(line.decode("utf-8", "replace"))

    def processEnded(self, reason: Failure) -> None:
        """It is gone, and all that it wrote was read."""
        if self._rest:
            self._said(self._rest.decode("utf-8", "replace"))
        problem: Any = reason.value
        number = getattr(problem, "signal", None)
        self._ended(f"signal {number}" if number is not None else f"status {problem.exitCode}")


@define(eq=False)
class Worker:
    """One worker, over all its lives."""

    number: int
    pauses: Pauses = field(factory=Pauses)
    transport: Any = None
    """Of the process that runs; None while none does."""
    started: float = 0.0
    again: IDelayedCall | None = None
    gone: Deferred[None] | None = None
    """Fires when the process has ended, once it is to."""


class Workers(Service):
    """The parent. `command` makes the arguments of a worker's process, the program first, from the worker's number.
    They run in `folder`, with the variables of `environment` but for those by which systemd speaks to the parent
    alone.
    """

    _log = Logger()

    def __init__(
        self,
        count: int,
        command: Callable[[int], Sequence[str]],
        reactor: Any,
        environment: Mapping[str, str],
        folder: str,
        *,
        stop_seconds: float,
        reloadable: Collection[str] = (),
    ) -> None:
        """`reloadable` are the keys of the settings that a worker takes while it runs."""
        self._kill_seconds = stop_seconds + KILL_SECONDS
        self.reloadable = reloadable
        self._command = command
        self._reactor = reactor
        self._environment = {name: value for name, value in environment.items() if not name.startswith(OF_SYSTEMD)}
        self._folder = folder
        self.workers = [Worker(number) for number in range(count)]

    def startService(self) -> None:
        """Start all of them."""
        super().startService()
        for worker in self.workers:
            self._start(worker)

    def _start(self, worker: Worker) -> None:
        worker.again = None
        worker.started = self._reactor.seconds()
        arguments = list(self._command(worker.number))
        protocol = WorkerProcess(
            lambda line: self._said(worker, line),
            lambda how: self._ended(worker, how),
        )
        worker.transport = self._reactor.spawnProcess(
            protocol,
            arguments[0],
            arguments,
            env=self._environment,
            path=self._folder,
            childFDs={0: "w", 1: "r", 2: "r"},
        )

    def _said(self, worker: Worker, line: str) -> None:
        """A line of a worker's log, which is JSON, or of anything else that it wrote."""
        try:
            event = json.loads(line)
            level = LogLevel.lookupByName(event["level"])
            text = event["message"]
        except (ValueError, KeyError, TypeError):
            level, text = LogLevel.info, line
        if line.strip():
            self._log.emit(level, "worker {worker}: {line}", worker=worker.number, line=text, log_same=text)

    def _ended(self, worker: Worker, how: str) -> None:
        worker.transport = None
        if worker.gone is not None:
            gone, worker.gone = worker.gone, None
            gone.callback(None)
            return
        if not self.running:
            return
        pause = worker.pauses.after(self._reactor.seconds() - worker.started)
        self._log.error(
            "Worker {worker} ended with {how}; it is started again in {pause} s",
            worker=worker.number, how=how, pause=pause,
        )  # fmt: skip
        worker.again = self._reactor.callLater(pause, self._start, worker)

    def stopService(self) -> Deferred[Any]:
        """Fires when every worker has ended."""
        super().stopService()
        return DeferredList([self._stop(worker) for worker in self.workers])

    def _stop(self, worker: Worker) -> Deferred[None]:
        gone: Deferred[None] = Deferred()
        if worker.again is not None:
            worker.again.cancel()
            worker.again = None
        if worker.transport is None:
            gone.callback(None)
            return gone
        worker.gone = gone
        self._signal(worker, signal.SIGTERM)
        kill = self._reactor.callLater(self._kill_seconds, self._kill, worker)
        gone.addCallback(lambda _: kill.cancel() if kill.active() else None)
        return gone

    def take_settings(self, settings: Any) -> None:
        """The settings have changed: every worker is to read them again."""
        for worker in self.workers:
            self._signal(worker, signal.SIGHUP)

    def _kill(self, worker: Worker) -> None:
        self._log.error("Worker {worker} did not stop in {seconds} s and is killed",
                        worker=worker.number, seconds=self._kill_seconds)  # fmt: skip
        self._signal(worker, signal.SIGKILL)

    def _signal(self, worker: Worker, number: signal.Signals) -> None:
        if worker.transport is not None:
            with suppress(ProcessExitedAlready):  # its end is on its way here
                worker.transport.signalProcess(number)


@implementer(IReadDescriptor)
class ParentWatch:
    """A worker's end of the pipe: `stop` is called, once, when the parent is gone. To be given to
    `reactor.addReader`.
    """

    def __init__(self, reactor: Any, stop: Callable[[], None], descriptor: int = 0) -> None:
        self._reactor = reactor
        self._stop: Callable[[], None] | None = stop
        self._descriptor = descriptor

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self._descriptor

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return "parent"

    def doRead(self) -> None:
        """The pipe has something, or has ended. Nobody writes to it."""
        if not os.read(self._descriptor, 4096):
            self._reactor.removeReader(self)
            self._gone()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has seen the end of the pipe by itself, or stops."""
        self._gone()

    def _gone(self) -> None:
        stop, self._stop = self._stop, None
        if stop is not None:
            with suppress(ReactorNotRunning):
                stop()
