"""What makes a process act, through one door: timers, bytes that came, connections that ended.

`Turns.hang` is SIGSTOP: nothing of the process runs, while the kernel goes on accepting connections and buffering
bytes for it. `Turns.wake` is SIGCONT: all that has come, timers that are due among it, runs in the order in which it
came, also what was sent by those who have given up waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime


@define(eq=False)
class Timer:
    """A call to come. Cancelling is idempotent, and holds back a call that is due and could not run yet."""

    _turns: Turns
    _function: Callable[[], object] | None
    _call: IDelayedCall | None = None

    def schedule(self, delay: float) -> Timer:
        """Call in `delay` seconds."""
        self._call = self._turns.reactor.callLater(max(0.0, delay), self._turns.take, self._fire)
        return self

    def cancel(self) -> None:
        """Do not call."""
        self._function = None
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _fire(self) -> None:
        function, self._function = self._function, None
        if function is not None:
            function()


@define(eq=False)
class Turns:
    """The timers and inputs of one process life."""

    reactor: IReactorTime
    hung: bool = field(default=False, init=False)
    _waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = field(factory=deque, init=False)

    def seconds(self) -> float:
        """The monotonic time."""
        return self.reactor.seconds()

    def later(self, delay: float, function: Callable[[], object]) -> Timer:
        """Call `function` in `delay` seconds."""
        return Timer(self, function).schedule(delay)

    def take(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call now, or on waking up when the process hangs."""
        if self.hung:
            self._waiting.append((function, arguments))
        else:
            function(*arguments)

    def hang(self) -> None:
        """Stop acting."""
        self.hung = True

    def wake(self) -> None:
        """Act on all that has come, and go on."""
        self.hung = False
        while self._waiting and not self.hung:
            function, arguments = self._waiting.popleft()
            function(*arguments)
