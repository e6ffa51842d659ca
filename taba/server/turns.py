"""Gives the reactor its turn in the middle of long work, so that appends, leases and other requests need not wait for
it.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

TURN_SECONDS = 0.01
"""How long one piece of work keeps the reactor, about."""


class Turns:
    """The turns of one piece of work; `clock` is monotonic. Used in the reactor thread only."""

    def __init__(self, clock: IReactorTime, seconds: float = TURN_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._until = clock.seconds() + seconds

    def over(self) -> bool:
        """Whether the turn has lasted long enough, so that `next` is to be awaited.

        Time in which the work waited for something else counts as well: one more turn given up costs little.
        """
        return self._clock.seconds() >= self._until

    def next(self) -> Deferred[None]:
        """Fires when the others had their turn. May be cancelled."""

        def canceller(_: Deferred[None]) -> None:
            call.cancel()

        def go_on() -> None:
            self._until = self._clock.seconds() + self._seconds
            waiting.callback(None)

        waiting: Deferred[None] = Deferred(canceller)
        call: IDelayedCall = self._clock.callLater(0.0, go_on)
        return waiting
