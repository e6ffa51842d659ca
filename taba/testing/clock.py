"""Virtual time: one heap of calls for all processes of a simulated world.

`HeapClock` provides `IReactorTime` like `twisted.internet.task.Clock`, for the same use in plain unit tests, but
keeps its calls in a heap: scheduling, cancelling and moving a call cost O(log n), where `task.Clock` sorts all of
them every time.

Invariants:

* Time never goes back, and moves only inside `advance` and its relatives: it is monotonic, in seconds, from the
  given start.
* Calls run in the order of their times; calls of equal times run in the order in which they were scheduled, or last
  moved.
* Nothing here reads real time or real randomness, so a run repeats exactly.

A call may have an owner, the process that scheduled it. What an owned call raises goes to its owner, as a reactor
logs it; what an unowned call raises comes out of `advance`. `drop` forgets all calls of an owner at once: this is
what kill -9 does to timers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

STALL_LIMIT = 200_000  # calls
"""So many calls at one instant mean that a loop of `callLater(0, ...)` keeps time from moving."""

_NEVER = math.inf


class CallOwner(Protocol):
    """A process, as far as the clock knows it."""

    name: str

    def call_failed(self, failure: Failure) -> None:
        """Take what one of the owner's calls raised."""


class ClockStalled(AssertionError):
    """More than `stall_limit` calls ran without time moving: something schedules itself for ever."""


@implementer(IDelayedCall)
@define(eq=False, repr=False)
class VirtualCall:
    """One scheduled call, as `HeapClock.callLater` returns it; all times are virtual seconds.

    `func` is None from the moment the call runs or is cancelled. The heap may hold entries of a call that has moved:
    `entry` is the order of the one that counts.
    """

    clock: HeapClock
    time: float
    order: int
    entry: int
    func: Callable[..., Any] | None
    args: tuple[Any, ...]
    kw: dict[str, Any]
    owner: CallOwner | None
    cancelled: bool = False

    def getTime(self) -> float:
        """The time at which the call is to run."""
        return self.time

    def active(self) -> bool:
        """Whether the call is still to come."""
        return self.func is not None

    def cancel(self) -> None:
        """Forget the call; raises AlreadyCalled or AlreadyCancelled."""
        self._must_be_active()
        self.func = None
        self.cancelled = True
        self.clock.entry_died()

    def reset(self, secondsFromNow: float) -> None:
        """Let the call run `secondsFromNow` seconds from now instead; raises as `cancel` does."""
        self._must_be_active()
        self.clock.move(self, self.clock.seconds() + _seconds(secondsFromNow))

    def delay(self, secondsLater: float) -> None:
        """Let the call run `secondsLater` seconds later than it would have; raises as `cancel` does."""
        self._must_be_active()
        self.clock.move(self, max(self.time + secondsLater, self.clock.seconds()))

    def _must_be_active(self) -> None:
        if self.func is None:
            raise AlreadyCancelled() if self.cancelled else AlreadyCalled()

    def what(self) -> str:
        """The name of the function to call, for messages and traces; the same in every run."""
        return name_of(self.func)

    def __repr__(self) -> str:
        state = self.what() if self.func is not None else "cancelled" if self.cancelled else "called"
        owner = f" of {self.owner.name}" if self.owner is not None else ""
        return f"<VirtualCall at {self.time:.6f}{owner}: {state}>"


def name_of(function: object) -> str:
    """A name for a callable that holds no memory address: its qualified name, or else that of its class."""
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__qualname__


def _seconds(delay: float) -> float:
    if not 0 <= delay < _NEVER:
        raise ValueError(f"{delay!r} is not a number of seconds from now on")
    return delay


@implementer(IReactorTime)
@define(eq=False)
class HeapClock:
    """`IReactorTime` on a heap, moved by hand.

    `on_call`, when set, is told of every owned call before it runs. The methods that move time are for whoever runs
    the world, and must not be called inside a call.
    """

    _now: float = 0.0
    stall_limit: int = STALL_LIMIT
    on_call: Callable[[VirtualCall], None] | None = None
    _heap: list[tuple[float, int, VirtualCall]] = field(factory=list, init=False)
    _next_order: int = field(default=0, init=False)
    _dead: int = field(default=0, init=False)
    """Entries in the heap that will not run: cancelled or moved; an upper bound."""
    _at_this_instant: int = field(default=0, init=False)
    _running: bool = field(default=False, init=False)

    # ------------------------------------------------------------------------------------------- IReactorTime

    def seconds(self) -> float:
        """The virtual time, monotonic."""
        return self._now

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> VirtualCall:
        """Call `callable` in `delay` seconds (0 or more): never before this method has returned."""
        if not 0 <= delay < _NEVER:
            raise ValueError(f"{delay!r} is not a number of seconds from now on")
        self._next_order = order = self._next_order + 1
        time = self._now + delay
        call = VirtualCall(self, time, order, order, callable, args, kw, None)
        heappush(self._heap, (time, order, call))
        return call

    def getDelayedCalls(self) -> list[VirtualCall]:
        """All calls to come, those of processes included, in the order in which they will run."""
        calls = {id(call): call for _time, _order, call in self._heap if call.func is not None}
        return sorted(calls.values(), key=lambda call: (call.time, call.order))

    # ---------------------------------------------------------------------------------------- calls with owners

    def schedule(
        self, owner: CallOwner | None, delay: float, func: Callable[..., Any], args: tuple[Any, ...], kw: dict[str, Any]
    ) -> VirtualCall:
        """`callLater` on behalf of `owner`."""
        if not 0 <= delay < _NEVER:
            raise ValueError(f"{delay!r} is not a number of seconds from now on")
        self._next_order = order = self._next_order + 1
        time = self._now + delay
        call = VirtualCall(self, time, order, order, func, args, kw, owner)
        heappush(self._heap, (time, order, call))
        return call

    def drop(self, owner: CallOwner) -> list[object]:
        """Forget all calls of `owner`, as if they had been cancelled. O(all calls).

        What they would have called is returned, so that it can be kept: freeing it would run the `finally` blocks of
        the coroutines that wait there.
        """
        dropped: list[object] = []
        for _time, _order, call in self._heap:
            if call.owner is owner and call.func is not None:
                dropped.append((call.func, call.args, call.kw))
                call.func = None
                call.cancelled = True
        self._sweep()
        return dropped

    def calls_of(self, owner: CallOwner) -> list[VirtualCall]:
        """The calls of `owner` to come, in the order in which they will run. O(all calls)."""
        return [call for call in self.getDelayedCalls() if call.owner is owner]

    # ------------------------------------------------------------------------------------------------ running

    def advance(self, amount: float) -> None:
        """Move time on by `amount` seconds and run what is due on the way, also what that schedules in turn."""
        self.advance_to(self._now + _seconds(amount))

    def advance_to(self, target: float) -> None:
        """Move time on to `target` and run what is due on the way. When a call raises, time stands at that call."""
        while self.step(target):
            pass
        self._move_on(target)

    def run_until(self, predicate: Callable[[], object], limit: float) -> bool:
        """Run call after call until `predicate()` is true; True when it was, False when `limit` seconds passed or
        nothing is left to run.

        `predicate` is asked before the first call and after each one; time stands at the call that made it true.
        """
        end = self._now + _seconds(limit)
        while not predicate():
            if not self.step(end):
                if self.getDelayedCalls():  # else nothing will ever happen again, and waiting on would change nothing
                    self._move_on(end)
                return bool(predicate())
        return True

    def run_until_idle(self, limit: float = 86400.0) -> bool:
        """Run until nothing is scheduled; False when something still is after `limit` seconds."""
        end = self._now + limit
        while self.step(end):
            pass
        return not self.getDelayedCalls()

    def step(self, end: float = _NEVER) -> bool:
        """Run the next call, when one is due not later than `end`; False when none is."""
        if self._running:
            raise RuntimeError("time cannot be moved from inside a call of the same clock")
        heap = self._heap
        while heap and heap[0][0] <= end:
            time, order, call = heappop(heap)
            if call.func is None or call.entry != order:
                self._dead -= 1
            elif call.order != order:
                call.entry = call.order
                heappush(heap, (call.time, call.order, call))
            else:
                if time > self._now:
                    self._now = time
                    self._at_this_instant = 0
                self._run(call)
                return True
        return False

    def _move_on(self, time: float) -> None:
        if time > self._now:
            self._now = time
            self._at_this_instant = 0

    def _run(self, call: VirtualCall) -> None:
        self._at_this_instant += 1
        if self._at_this_instant > self.stall_limit:
            raise ClockStalled(f"{self.stall_limit} calls at {self._now!r}, the last one {call!r}")
        function, owner = call.func, call.owner
        assert function is not None
        if owner is not None and self.on_call is not None:
            self.on_call(call)
        call.func = None
        self._running = True
        try:
            function(*call.args, **call.kw)
        except Exception:
            if owner is None:
                raise
            owner.call_failed(Failure())
        finally:
            self._running = False

    # --------------------------------------------------------------------------- what VirtualCall needs of the heap

    def move(self, call: VirtualCall, time: float) -> None:
        """Let `call` run at `time`. A call that moves to later keeps its entry in the heap, which is put right when
        it comes up.
        """
        self._next_order = call.order = self._next_order + 1
        earlier = time < call.time
        call.time = time
        if earlier:
            call.entry = call.order
            heappush(self._heap, (time, call.order, call))
            self.entry_died()

    def entry_died(self) -> None:
        """Note that an entry of the heap has become useless, and sweep when they are many, so that memory stays
        bounded.
        """
        self._dead += 1
        if self._dead > 64 and self._dead * 2 > len(self._heap):
            self._sweep()

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].func is not None and entry[2].entry == entry[1]]
        heapify(self._heap)
        self._dead = 0
