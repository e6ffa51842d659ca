"""The removal of expired keys at their time: a master tells its replicas soon, whether anybody asks for the key or not.

A real server samples keys ten times a second; this one knows which key is next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from taba.testing.redis.turns import Timer

if TYPE_CHECKING:
    from taba.testing.redis.engine import Engine

_AFTER = 0.001  # seconds behind the time of a key, so that rounding never comes before it


@define(eq=False)
class ExpiryTimer:
    """Wakes a master when the next of its keys expires. The wall clock may step: the timer looks again, and sets itself
    again.
    """

    engine: Engine
    _timer: Timer | None = field(default=None, init=False)
    _deadline: int | None = field(default=None, init=False)

    def set(self) -> None:
        """Wake for the key that expires first."""
        engine = self.engine
        deadlines = [each for keyspace in engine.databases.values() if (each := keyspace.next_deadline()) is not None]
        earliest = min(deadlines, default=None)
        if engine.is_replica() or earliest is None or (self._deadline is not None and self._deadline <= earliest):
            return
        self.cancel()
        self._deadline = earliest
        delay = max(0, earliest - engine.wall_ms()) / 1000 + _AFTER
        self._timer = engine.turns.later(delay, self._fire)

    def cancel(self) -> None:
        """Do not wake."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._deadline = None

    def _fire(self) -> None:
        self._timer = self._deadline = None
        self.engine.remove_expired()
        self.set()
