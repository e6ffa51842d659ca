"""Who waits for a log to grow.

A reader that has read everything waits here for the next append to one of its vbuckets. Only vbuckets are told:
whoever wakes looks again, so waking for nothing costs a look and missing nothing needs no care beyond waiting in the
turn of the look.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure


@define(eq=False)
class Arrivals:
    """The waiting readers of one store."""

    _clock: IReactorTime
    _waiting: dict[Deferred[None], frozenset[int]] = field(factory=dict, init=False)

    def wait(self, vbuckets: Iterable[int], seconds: float) -> Deferred[None]:
        """Fires when an append to one of `vbuckets` is announced, or after `seconds`. Cancelling it is allowed."""
        waiting: Deferred[None] = Deferred(self._forget)
        self._waiting[waiting] = frozenset(vbuckets)
        timeout = self._clock.callLater(seconds, self._wake, waiting)

        def tidy(result: Failure | None) -> Failure | None:
            if timeout.active():
                timeout.cancel()
            return result

        waiting.addBoth(tidy)
        return waiting

    def announce(self, vbuckets: Iterable[int]) -> None:
        """Wake those who wait for one of `vbuckets`."""
        grown = frozenset(vbuckets)
        for waiting in [waiting for waiting, wanted in self._waiting.items() if wanted & grown]:
            self._wake(waiting)

    def announce_all(self) -> None:
        """Wake everybody: what the logs have is not known to be what it was."""
        for waiting in list(self._waiting):
            self._wake(waiting)

    def _wake(self, waiting: Deferred[None]) -> None:
        # One that is woken may cancel, or wake, another one of the same announcement.
        if self._waiting.pop(waiting, None) is not None:
            waiting.callback(None)

    def _forget(self, waiting: Deferred[None]) -> None:
        self._waiting.pop(waiting, None)
