"""Runs a service whose start takes time and may fail, as a child of twistd.

Start and stop follow one another, whatever comes between; a start that fails tells the operator one sentence and ends
the process with status 1.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.application.service import IService, Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba.errors import StartError


@frozen
class Deadline:
    """A stop may take `seconds` by `clock`; then `end` lets the process end, whatever still hangs."""

    clock: IReactorTime
    seconds: float
    end: Callable[[], None]


class Running(Service):
    """`make` builds the service, in the process that is to run it: twistd forks after makeService. `end` ends the
    process after a failed start. Without a `deadline` a stop takes as long as it takes.

    A service may have a method `interrupt`: it is called when the process is to end while the service still starts, and
    lets a start that waits for others, such as a database that is down, fail with CancelledError.
    """

    _log = Logger()

    def __init__(
        self, make: Callable[[], IService], end: Callable[[], None], deadline: Deadline | None = None
    ) -> None:
        self._make = make
        self._end = end
        self._deadline = deadline
        self.service: IService | None = None
        self._started: Deferred[Any] | None = None

    def startService(self) -> None:
        """Begin to start."""
        super().startService()
        self._started = maybeDeferred(self._start)
        self._started.addErrback(self._failed)

    def _start(self) -> Any:
        self.service = self._make()
        return self.service.startService()

    def _failed(self, failure: Failure) -> Deferred[None]:
        """Say why, stop what did start (its threads would keep the process), and end."""
        if failure.check(CancelledError) and not self.running:
            return succeed(None)  # it was interrupted: stopService stops what did start
        if failure.check(StartError):
            self._log.critical("Taba cannot start: {problem}", problem=str(failure.value))
        else:
            self._log.failure("Taba cannot start", failure)
        ended = self._stop()
        ended.addCallback(lambda _: self._end())
        return ended

    def _stop(self) -> Deferred[Any]:
        service, self.service = self.service, None
        stopped = maybeDeferred(service.stopService) if service is not None else succeed(None)
        stopped.addErrback(lambda failure: self._log.failure("Stopping failed", failure))
        return stopped

    def stopService(self) -> Deferred[Any]:
        """Fires when the service has stopped, or its time is over; a start that is under way is interrupted, or waited
        for.
        """
        super().stopService()
        interrupt = getattr(self.service, "interrupt", None)
        if interrupt is not None and self._started is not None and not self._started.called:
            interrupt()
        stopped: Deferred[Any] = Deferred()
        if self._started is None:
            stopped.callback(None)
            return stopped

        def stop(_: Any) -> None:
            self._stop().addCallback(stopped.callback)

        self._started.addBoth(stop)  # whatever becomes of a start, the stop comes to its end
        return stopped if self._deadline is None else self._in_time(stopped, self._deadline)

    def _in_time(self, stopped: Deferred[Any], deadline: Deadline) -> Deferred[Any]:
        over: Deferred[Any] = Deferred()

        def give_up() -> None:
            self._log.error(
                "Not everything came to rest within {seconds} s (STOP_SECONDS). What was acknowledged is in spools and"
                " logs, and goes on from there.",
                seconds=deadline.seconds,
            )
            deadline.end()
            over.callback(None)

        late = deadline.clock.callLater(deadline.seconds, give_up)

        def done(result: Any) -> None:
            if late.active():
                late.cancel()
                over.callback(result)

        stopped.addBoth(done)
        return over

    def reload(self, reload: Callable[[Any], object]) -> None:
        """Let the service take settings that `reload` reads again for it, if it runs."""
        service = getattr(self.service, "inner", self.service)
        if not self.running or self._started is None or not self._started.called or service is None:
            self._log.warn("The settings are not read again while the process starts or stops.")
            return
        try:
            reload(service)
        except Exception:
            self._log.failure("The settings could not be read again")


def end_with_failure(reactor: Any) -> Callable[[], None]:
    """What ends a twistd process whose service cannot start: its status is 1, which twistd itself does not offer."""

    def end() -> None:
        atexit.register(os._exit, 1)
        try:
            if reactor.running:
                reactor.stop()
            else:
                reactor.callWhenRunning(reactor.stop)
        except ReactorNotRunning:
            pass  # it is stopping already

    return end
