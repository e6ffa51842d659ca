"""The stopwatch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from taba.client import Client
from taba.client.timer import Timer


class TimerTests(SynchronousTestCase):
    """The clock goes on by a quarter of a second whenever it is looked at."""

    def setUp(self) -> None:
        self.durations: list[tuple[str, object]] = []
        self.counts: list[str] = []
        clock: Iterator[float] = (0.25 * i for i in count())
        self.timer = Timer(
            lambda name, value: self.durations.append((name, value)), self.counts.append, "t_ms", clock.__next__
        )

    def test_block(self) -> None:
        """A block's duration is recorded in milliseconds."""
        with self.timer:
            self.assertEqual(self.durations, [])
        self.assertEqual((self.durations, self.counts), ([("t_ms", 250.0)], []))

    def test_block_that_raises(self) -> None:
        """A block that raises is measured and counted, and its exception goes on."""
        with self.assertRaises(KeyError), self.timer:
            dict[str, int]()["missing"]
        self.assertEqual((self.durations, self.counts), ([("t_ms", 250.0)], ["t_ms_exceptions"]))

    def test_function(self) -> None:
        """A function is measured at each call, and keeps its name and its result."""

        @self.timer
        def double(number: int) -> int:
            """Its docstring."""
            return 2 * number

        self.assertEqual((double(3), double(number=4)), (6, 8))
        self.assertEqual((double.__name__, double.__doc__), ("double", "Its docstring."))
        self.assertEqual(self.durations, [("t_ms", 250.0)] * 2)

    def test_function_that_raises(self) -> None:
        """A function that raises is measured and counted, and its exception goes on."""

        @self.timer
        def broken() -> None:
            raise KeyError

        self.assertRaises(KeyError, broken)
        self.assertEqual((self.durations, self.counts), ([("t_ms", 250.0)], ["t_ms_exceptions"]))

    def test_coroutine(self) -> None:
        """A coroutine is measured to its end."""
        gate: Deferred[int] = Deferred()

        @self.timer
        async def wait() -> int:
            return 1 + await gate

        result = Deferred.fromCoroutine(wait())
        self.assertEqual(self.durations, [])
        gate.callback(1)
        self.assertEqual((self.successResultOf(result), self.durations), (2, [("t_ms", 250.0)]))

    def test_coroutine_that_raises(self) -> None:
        """A coroutine that raises is measured and counted."""

        @self.timer
        async def broken() -> None:
            raise KeyError

        self.failureResultOf(Deferred.fromCoroutine(broken()), KeyError)
        self.assertEqual((self.durations, self.counts), ([("t_ms", 250.0)], ["t_ms_exceptions"]))

    def test_deferred(self) -> None:
        """A function that returns a Deferred is measured until that fires, and the result is passed on."""
        gate: Deferred[int] = Deferred()
        result = self.timer(lambda: gate)()
        self.assertEqual(self.durations, [])
        gate.callback(5)
        self.assertEqual((self.successResultOf(result), self.durations), (5, [("t_ms", 250.0)]))

    def test_deferred_that_fails(self) -> None:
        """A failure is measured, counted and passed on."""
        self.failureResultOf(self.timer(lambda: fail(KeyError()))(), KeyError)
        self.assertEqual(self.counts, ["t_ms_exceptions"])
        self.successResultOf(self.timer(lambda: succeed(None))())
        self.assertEqual((len(self.durations), self.counts), (2, ["t_ms_exceptions"]))

    def test_timer_of_a_client(self) -> None:
        """A client gives timers for its tabs, which do no harm where it does not run."""
        client = Client()
        with client.timer("t_ms"):
            self.assertEqual(client.get_status()["not_running"], 0)
        self.assertEqual(client.get_status()["not_running"], 1)
