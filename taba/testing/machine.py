# mypy: untyped-calls-exclude="twisted"
"""Production services on simulated machines: what a `Node` needs to run them as twistd does.

`machine_of` gives them the `taba.process.Process` they take; `running` starts and stops them under `Running`, as the
taps do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define, field
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from taba.process import Process as Machine
from taba.running import Running
from taba.testing.node import Process
from taba.testing.reactor import OwnThread

T = TypeVar("T")


@define(eq=False)
class ThreadOfProcess:
    """A `taba.process.Worker` over a simulated thread."""

    _thread: OwnThread
    _last: Deferred[Any] | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)

    def __call__(self, function: Callable[..., T], *arguments: Any, **named: Any) -> Deferred[T]:
        """See `taba.process.Worker`."""
        if self._stopped:
            raise RuntimeError("the worker has stopped")
        return self._thread(function, *arguments, **named)

    def stop(self) -> Deferred[None]:
        """See `taba.process.Worker`."""
        self._stopped = True
        return self._thread(lambda: None)


def machine_of(process: Process) -> Machine:
    """A simulated process life as production code wants its machine."""
    log = Logger(namespace="taba")

    def say(sentence: str) -> None:
        log.info("{sentence}", sentence=sentence)

    return Machine(
        reactor=process.reactor,
        wall=process.wall,
        random=process.random,
        open_folder=lambda path: process.disk.folder(path.strip("/")),
        worker=lambda name: ThreadOfProcess(process.own_thread()),
        host=process.node.name,
        say=say,
    )


def running(make: Callable[[Machine], IService]) -> Callable[[Process], IService]:
    """What `Node.start` takes, for a service of production: made and run as twistd does, and ended when it cannot
    start.
    """

    def start(process: Process) -> IService:
        def end() -> None:
            if process.reactor.stopping:
                return
            if process.reactor.running:
                process.reactor.stop()
            else:
                process.reactor.callWhenRunning(process.reactor.stop)

        return Running(lambda: make(machine_of(process)), end)

    return start
