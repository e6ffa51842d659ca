"""The virtual clock: order, cancelling and moving of calls, and the ways to let time pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from hypothesis import strategies as st
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from taba.testing import ClockStalled, HeapClock
from tests.strategies import law


@define(eq=False)
class Owner:
    """A process that remembers what its calls raised."""

    name: str = "owner"
    failures: list[Failure] = field(factory=list)

    def call_failed(self, failure: Failure) -> None:
        self.failures.append(failure)


class HeapClockTests(SynchronousTestCase):
    """A user schedules calls and lets time pass."""

    def setUp(self) -> None:
        self.clock = HeapClock()
        self.called: list[tuple[float, str]] = []

    def call(self, name: str) -> Callable[[], None]:
        return lambda: self.called.append((self.clock.seconds(), name))

    def test_provides(self) -> None:
        """The clock and its calls provide what Twisted asks of them."""
        self.assertTrue(verifyObject(IReactorTime, self.clock))
        self.assertTrue(verifyObject(IDelayedCall, self.clock.callLater(1, int)))

    def test_runs_in_order_of_time(self) -> None:
        """Calls run at their times, the earlier one first."""
        self.clock.callLater(2, self.call("b"))
        self.clock.callLater(1, self.call("a"))
        self.clock.advance(3)
        self.assertEqual(self.called, [(1.0, "a"), (2.0, "b")])
        self.assertEqual(self.clock.seconds(), 3.0)

    def test_equal_times_keep_their_order(self) -> None:
        """Of calls for the same time the one scheduled first runs first."""
        for number in range(100):
            self.clock.callLater(1, self.call(f"{number:02d}"))
        self.clock.advance(1)
        self.assertEqual([name for _time, name in self.called], sorted(name for _time, name in self.called))

    def test_calls_scheduled_on_the_way_run_too(self) -> None:
        """What a call schedules within the time that passes runs within it."""
        self.clock.callLater(1, lambda: self.clock.callLater(1, self.call("second")))
        self.clock.advance(2)
        self.assertEqual(self.called, [(2.0, "second")])

    def test_zero_delay_waits_for_the_next_turn(self) -> None:
        """A call in 0 seconds does not run before callLater returns, and needs no time to pass."""
        self.clock.callLater(0, self.call("now"))
        self.assertEqual(self.called, [])
        self.clock.advance(0)
        self.assertEqual(self.called, [(0.0, "now")])

    def test_arguments(self) -> None:
        """Arguments reach the function."""
        seen: list[object] = []
        self.clock.callLater(1, lambda *args, **kw: seen.append((args, kw)), 1, two=2)
        self.clock.advance(1)
        self.assertEqual(seen, [((1,), {"two": 2})])

    def test_cancelled_call_never_runs(self) -> None:
        """A cancelled call does not run, and cannot be cancelled or moved again."""
        call = self.clock.callLater(1, self.call("never"))
        call.cancel()
        self.clock.advance(2)
        self.assertEqual(self.called, [])
        self.assertFalse(call.active())
        self.assertRaises(AlreadyCancelled, call.cancel)
        self.assertRaises(AlreadyCancelled, call.reset, 1)

    def test_call_that_ran_cannot_be_changed(self) -> None:
        """A call that ran says so, also while it runs."""
        active: list[bool] = []
        call = self.clock.callLater(1, lambda: active.append(call.active()))
        self.clock.advance(1)
        self.assertEqual(active, [False])
        self.assertRaises(AlreadyCalled, call.cancel)
        self.assertRaises(AlreadyCalled, call.delay, 1)

    def test_reset_counts_from_now(self) -> None:
        """reset moves a call to so many seconds from now, later or earlier."""
        later = self.clock.callLater(2, self.call("later"))
        earlier = self.clock.callLater(9, self.call("earlier"))
        self.clock.advance(1)
        later.reset(5)
        earlier.reset(2)
        self.assertEqual((later.getTime(), earlier.getTime()), (6.0, 3.0))
        self.clock.advance(10)
        self.assertEqual(self.called, [(3.0, "earlier"), (6.0, "later")])

    def test_delay_counts_from_the_old_time(self) -> None:
        """delay moves a call by so many seconds; into the past means now."""
        call = self.clock.callLater(2, self.call("moved"))
        call.delay(3)
        self.assertEqual(call.getTime(), 5.0)
        self.clock.advance(1)
        call.delay(-100)
        self.assertEqual(call.getTime(), 1.0)

    def test_negative_delays_are_refused(self) -> None:
        """No call can be scheduled for the past, nor for a time that is no number."""
        for delay in (-0.001, float("nan"), float("inf")):
            self.assertRaises(ValueError, self.clock.callLater, delay, int)
        self.assertRaises(ValueError, self.clock.advance, -1)

    def test_delayed_calls_are_listed_in_order(self) -> None:
        """getDelayedCalls gives what is to come, in the order of running, without what was cancelled."""
        late = self.clock.callLater(5, int)
        gone = self.clock.callLater(1, int)
        early = self.clock.callLater(3, int)
        early.reset(4)
        gone.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [early, late])

    def test_error_comes_out_of_advance(self) -> None:
        """What a call of nobody raises reaches the test; time stands at that call, and the rest can go on."""
        self.clock.callLater(1, lambda: 1 / 0)
        self.clock.callLater(2, self.call("after"))
        self.assertRaises(ZeroDivisionError, self.clock.advance, 3)
        self.assertEqual(self.clock.seconds(), 1.0)
        self.clock.advance(1)
        self.assertEqual(self.called, [(2.0, "after")])

    def test_error_of_an_owned_call_goes_to_its_owner(self) -> None:
        """What a process's call raises is the process's affair, and time goes on."""
        owner = Owner()
        self.clock.schedule(owner, 1, lambda: 1 / 0, (), {})
        self.clock.advance(3)
        self.assertEqual(self.clock.seconds(), 3.0)
        self.assertEqual([failure.type for failure in owner.failures], [ZeroDivisionError])

    def test_dropped_owner_is_silent(self) -> None:
        """drop forgets the calls of one owner and no others."""
        owner, other = Owner(), Owner("other")
        dropped = self.clock.schedule(owner, 1, self.call("owner"), (), {})
        self.clock.schedule(other, 1, self.call("other"), (), {})
        self.clock.drop(owner)
        self.assertEqual(self.clock.calls_of(owner), [])
        self.clock.advance(1)
        self.assertEqual(self.called, [(1.0, "other")])
        self.assertFalse(dropped.active())

    def test_time_cannot_be_moved_in_a_call(self) -> None:
        """A call that tries to let time pass is told so."""
        self.clock.callLater(2, int)
        self.clock.callLater(1, lambda: self.clock.advance(5))
        self.assertRaises(RuntimeError, self.clock.advance, 1)

    def test_standing_time_is_found(self) -> None:
        """A call that schedules itself in 0 seconds for ever ends in an error that names it, not in a hang."""
        clock = HeapClock(stall_limit=50)

        def again() -> None:
            clock.callLater(0, again)

        again()
        error = self.assertRaises(ClockStalled, clock.advance, 1)
        self.assertIn("again", str(error))

    def test_many_turns_over_time_are_no_stall(self) -> None:
        """Calls without delay are counted for each instant, not in all."""
        clock = HeapClock(stall_limit=50)
        for _ in range(200):
            clock.callLater(0, self.call("turn"))
            clock.advance(0.1)
        self.assertEqual(len(self.called), 200)

    def test_run_until_stops_at_the_call(self) -> None:
        """run_until leaves time at the call that made the predicate true."""
        for second in range(1, 6):
            self.clock.callLater(second, self.call(str(second)))
        self.assertTrue(self.clock.run_until(lambda: len(self.called) == 3, 100))
        self.assertEqual(self.clock.seconds(), 3.0)

    def test_run_until_gives_up(self) -> None:
        """run_until says no after its limit, and at once when nothing can happen any more."""
        self.clock.callLater(50, int)
        self.assertFalse(self.clock.run_until(lambda: False, 10))
        self.assertEqual(self.clock.seconds(), 10.0)
        self.assertFalse(self.clock.run_until(lambda: False, 1000))
        self.assertEqual(self.clock.seconds(), 50.0)

    def test_run_until_idle(self) -> None:
        """run_until_idle runs all there is, and says no when it never ends."""
        self.clock.callLater(1, lambda: self.clock.callLater(1, self.call("last")))
        self.assertTrue(self.clock.run_until_idle())
        self.assertEqual(self.called, [(2.0, "last")])

        def tick() -> None:
            self.clock.callLater(1, tick)

        tick()
        self.assertFalse(self.clock.run_until_idle(limit=10))

    def test_cancelled_calls_take_no_room(self) -> None:
        """A timer that is set and cancelled, or moved, a thousand times leaves next to nothing behind."""
        moved = self.clock.callLater(10, int)
        for _ in range(1000):
            self.clock.callLater(10, int).cancel()
            moved.reset(9)
            moved.reset(5)
        self.assertLess(len(self.clock._heap), 200)


class LikeTaskClockTests(SynchronousTestCase):
    """The clock does what `task.Clock` does."""

    @law(
        st.lists(
            st.tuples(
                st.sampled_from(["call", "cancel", "reset", "delay", "advance"]),
                st.integers(0, 5),
                st.integers(0, 20),
            ),
            max_size=60,
        ),
        examples=200,
    )
    def test_same_calls_at_the_same_times(self, deeds: list[tuple[str, int, int]]) -> None:
        """After any deeds the same calls have run at the same times as on Twisted's clock."""
        self.assertEqual(self.run_on(HeapClock(), deeds), self.run_on(Clock(), deeds))

    def run_on(self, clock: Any, deeds: list[tuple[str, int, int]]) -> object:
        ran: list[tuple[float, int]] = []
        calls: list[Any] = []
        for deed, amount, which in deeds:
            if deed == "call":
                number = len(calls)
                calls.append(clock.callLater(amount, lambda number=number: ran.append((clock.seconds(), number))))
            elif deed == "advance":
                for step in [0] + [1] * amount:  # task.Clock shows its calls the time at the end of a step
                    clock.advance(step)
            elif which < len(calls) and calls[which].active():
                getattr(calls[which], deed)(*([] if deed == "cancel" else [amount]))
        left = sorted(call.getTime() for call in clock.getDelayedCalls())
        for step in [0] + [1] * 100:
            clock.advance(step)
        return sorted(ran), left
