"""The pauses of loops that a service runs: all end at once when it stops."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Sleeping:
    """The pauses of one service; `clock` is monotonic. Used in the reactor thread only."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._sleeping: dict[IDelayedCall, Deferred[None]] = {}
        self.stopping = False

    def sleep(self, seconds: float) -> Deferred[None]:
        """Fires after `seconds`, or when the service stops."""
        waiter: Deferred[None] = Deferred()
        if self.stopping:
            waiter.callback(None)
            return waiter

        def awake() -> None:
            del self._sleeping[call]
            waiter.callback(None)

        call = self._clock.callLater(seconds, awake)
        self._sleeping[call] = waiter
        return waiter

    def wake(self) -> None:
        """End all pauses of this moment."""
        for call, waiter in list(self._sleeping.items()):
            if self._sleeping.pop(call, None) is not None:
                call.cancel()
                waiter.callback(None)

    def stop(self) -> None:
        """End all pauses, and let there be none until `begin`."""
        self.stopping = True
        self.wake()

    def begin(self) -> None:
        """Let there be pauses again."""
        self.stopping = False
