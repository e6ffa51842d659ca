"""The choice among servers, and their clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.endpoints import (
    BACKOFF_SECONDS,
    CALM_SECONDS,
    FIRST_PORTION,
    MAX_BACKOFF_SECONDS,
    MAX_RETRY_AFTER,
    SAMPLES,
    Endpoints,
    EndpointStatus,
    ServerClock,
)


def taken(endpoints: Endpoints, now: float) -> str:
    """The endpoint that a request gets, for a test in which it gets one."""
    name = endpoints.take(now)
    assert name is not None
    return name


class ChoiceTests(SynchronousTestCase):
    """Requests go where they are answered soonest, and nowhere are they piled up."""

    def make(self, *names: str, parallel: int = 1, chance: Callable[[], float] | None = None) -> Endpoints:
        return Endpoints(names, chance or Random(7).random, parallel)

    def shares(self, endpoints: Endpoints, seconds: dict[str, float], requests: int = 1000) -> Counter[str]:
        """How many of a thousand requests each gets, one after another, each taking its server's time."""
        found: Counter[str] = Counter()
        now = 0.0
        for _ in range(requests):
            name = taken(endpoints, now)
            now += seconds[name]
            endpoints.answered(name, now, seconds[name])
            found[name] += 1
        return found

    def test_one_endpoint(self) -> None:
        """With one server there is no choice."""
        endpoints = self.make("a")
        self.assertEqual(endpoints.take(0.0), "a")

    def test_an_endpoint_is_needed(self) -> None:
        """An agent without servers is a mistake that is told at once."""
        self.assertRaises(ValueError, self.make)

    def test_no_more_requests_than_allowed(self) -> None:
        """An endpoint has at most so many requests in flight."""
        endpoints = self.make("a", "b", parallel=2)
        self.assertEqual(Counter(endpoints.take(0.0) for _ in range(6)), {"a": 2, "b": 2, None: 2})
        self.assertIsNone(endpoints.next_at(0.0))
        endpoints.answered("b", 1.0, 1.0)
        self.assertEqual(endpoints.take(1.0), "b")

    def test_equal_endpoints_share(self) -> None:
        """Servers that are alike get about the same."""
        shares = self.shares(self.make("a", "b", "c", "d"), dict.fromkeys("abcd", 0.01))
        self.assertLess(max(shares.values()), 2 * min(shares.values()))

    def test_queue_counts(self) -> None:
        """Of two servers that are alike the one with fewer requests in flight is taken."""
        endpoints = self.make("a", "b", parallel=8)
        self.assertEqual(Counter(endpoints.take(0.0) for _ in range(8)), {"a": 4, "b": 4})

    def test_slow_endpoint_gets_little(self) -> None:
        """A server that takes ten times as long gets few requests, but some: it may have become faster."""
        shares = self.shares(self.make("a", "b"), {"a": 0.1, "b": 1.0})
        self.assertLess(shares["b"], 250)
        self.assertGreaterEqual(shares["b"], 2)

    def test_slow_endpoint_that_recovered(self) -> None:
        """A server that was slow gets its share again when it is not any more."""
        endpoints = self.make("a", "b")
        self.shares(endpoints, {"a": 0.1, "b": 3.0}, 50)
        shares = self.shares(endpoints, {"a": 0.1, "b": 0.1}, 2000)
        self.assertGreater(shares["b"], 600)

    def test_failing_endpoint_is_left_alone(self) -> None:
        """After a failure the other one gets all requests for a while; then the first one is tried again."""
        endpoints = self.make("a", "b", chance=lambda: 0.0)
        self.assertEqual(taken(endpoints, 0.0), "a")
        endpoints.failed("a", 0.0)
        self.assertEqual(endpoints.take(0.1), "b")
        self.assertIsNone(endpoints.take(0.1))
        self.assertEqual(endpoints.take(BACKOFF_SECONDS), "a")

    def test_pauses_double(self) -> None:
        """A server that goes on failing is tried less and less often, but never given up."""
        endpoints = self.make("a", chance=lambda: 0.999999)
        now, pauses = 0.0, []
        for _ in range(12):
            taken(endpoints, now)
            endpoints.failed("a", now)
            self.assertIsNone(endpoints.take(now))
            back = endpoints.next_at(now)
            assert back is not None
            pauses.append(back - now)
            now = back
        self.assertAlmostEqual(pauses[0], BACKOFF_SECONDS, 3)
        self.assertAlmostEqual(pauses[1], 2 * BACKOFF_SECONDS, 3)
        self.assertAlmostEqual(pauses[-1], MAX_BACKOFF_SECONDS, 3)

    def test_pauses_are_jittered(self) -> None:
        """A thousand agents that lost the same server do not come back in the same instant."""
        backs = set()
        for seed in range(20):
            endpoints = self.make("a", chance=Random(seed).random)
            taken(endpoints, 0.0)
            endpoints.failed("a", 0.0)
            backs.add(endpoints.next_at(0.0))
        self.assertEqual(len(backs), 20)

    def test_server_says_when_to_come_back(self) -> None:
        """Retry-After is kept to, within reason."""
        for wanted, least, most in ((5.0, 5.0, 7.0), (0.0, 0.0, BACKOFF_SECONDS), (1e9, MAX_RETRY_AFTER, 400.0)):
            endpoints = self.make("a")
            taken(endpoints, 0.0)
            endpoints.failed("a", 0.0, wanted)
            back = endpoints.next_at(0.0)
            assert back is not None
            self.assertGreaterEqual(back, least)
            self.assertLessEqual(back, most)

    def test_comes_back_gently(self) -> None:
        """After its pause a server gets one request, and no second one beside it before that was answered."""
        endpoints = self.make("a", parallel=4)
        taken(endpoints, 0.0)
        endpoints.failed("a", 0.0)
        self.assertEqual((endpoints.take(10.0), endpoints.take(10.0)), ("a", None))
        endpoints.answered("a", 10.1, 0.1)
        self.assertEqual([endpoints.take(10.1) for _ in range(5)], ["a"] * 4 + [None])

    def test_late_failure_does_not_shorten_a_pause(self) -> None:
        """Several requests that fail one after another leave the longest pause standing."""
        endpoints = self.make("a", parallel=2)
        endpoints.take(0.0)
        endpoints.take(0.0)
        endpoints.failed("a", 0.0, 100.0)
        endpoints.failed("a", 0.1)
        back = endpoints.next_at(0.1)
        assert back is not None
        self.assertGreaterEqual(back, 100.0)

    def test_released(self) -> None:
        """A request that was not sent leaves nothing behind."""
        endpoints = self.make("a")
        endpoints.released(taken(endpoints, 0.0))
        self.assertEqual(endpoints.status(0.0), [EndpointStatus("a", 0, 0.0, 0.0, 0.0)])

    def test_status(self) -> None:
        """Status pages show what is thought of each server, fading with time."""
        endpoints = self.make("a", "b", chance=lambda: 0.0)
        self.assertEqual(taken(endpoints, 0.0), "a")
        endpoints.answered("a", 1.0, 1.0)
        taken(endpoints, 1.0)
        endpoints.failed("b", 1.0)
        self.assertEqual(
            endpoints.status(1.0),
            [EndpointStatus("a", 0, 1.0, 0.0, 0.0, 2 * FIRST_PORTION), EndpointStatus("b", 0, 0.0, 1.0, 0.25)],
        )
        later = endpoints.status(31.0)
        self.assertEqual((later[0].latency, later[1].errors, later[1].back_in), (0.125, 0.125, 0.0))

    def test_much_worse_is_not_used(self) -> None:
        """While the better server is busy, one that takes twenty times as long is left alone; once the better one has
        been silent for so long that it is no better any more, it is not.
        """
        endpoints = self.make("a", "b")
        for name, seconds in (("a", 0.02), ("b", 0.4)):
            while taken(endpoints, 0.0) != name:
                pass
            for each in endpoints.status(0.0):
                if each.in_flight:
                    endpoints.answered(each.name, 0.0, 0.02 if each.name == "a" else seconds)
        self.assertEqual(taken(endpoints, 0.0), "a")
        self.assertIsNone(endpoints.take(0.0))
        again = endpoints.next_at(0.0)
        assert again is not None
        self.assertTrue(0 < again < 1)
        self.assertEqual(endpoints.take(0.2), "b")

    def prove(self, endpoints: Endpoints, now: float) -> None:
        """Let every endpoint answer once."""
        names = []
        while (name := endpoints.take(now)) is not None:
            names.append(name)
        for name in names:
            endpoints.answered(name, now, 0.02)

    def test_overdue(self) -> None:
        """A request that takes long, while another server answers much faster, is overdue; its server gets nothing more
        until it has ended.
        """
        endpoints = self.make("a", "b", parallel=2)
        self.prove(endpoints, 0.0)
        slow = taken(endpoints, 0.0)
        other = "b" if slow == "a" else "a"
        self.assertFalse(endpoints.is_overdue(slow, 0.9, 0.9))
        self.assertTrue(endpoints.is_overdue(slow, 1.0, 1.0))
        self.assertEqual([endpoints.take(1.0) for _ in range(3)], [other, other, None])
        self.assertEqual([each.overdue for each in endpoints.status(1.0)], [slow == "a", slow == "b"])
        endpoints.settled(slow)
        endpoints.answered(slow, 5.0, 5.0)
        self.assertEqual(endpoints.portion(slow), 2 * FIRST_PORTION)
        self.assertFalse(any(each.overdue for each in endpoints.status(5.0)))

    def test_nothing_is_overdue_without_a_better_one(self) -> None:
        """It is not where there is no other server, or none that has proved itself, or none that is faster."""
        alone = self.make("a")
        self.prove(alone, 0.0)
        taken(alone, 0.0)
        self.assertFalse(alone.is_overdue("a", 9.0, 9.0))
        unproved = self.make("a", "b")
        self.assertFalse(unproved.is_overdue(taken(unproved, 0.0), 9.0, 9.0))
        both = self.make("a", "b")
        self.prove(both, 0.0)
        one, other = taken(both, 0.0), taken(both, 0.0)
        both.answered(other, 3.0, 3.0)
        self.assertFalse(both.is_overdue(one, 4.0, 4.0))
        self.assertTrue(both.is_overdue(one, 9.0, 9.0))
        endpoints = self.make("a", "b")
        self.prove(endpoints, 0.0)
        one, other = taken(endpoints, 0.0), taken(endpoints, 0.0)
        endpoints.failed(other, 1.0)
        self.assertFalse(endpoints.is_overdue(one, 9.0, 9.0))

    def test_portion(self) -> None:
        """A server that is new, or failed, gets little at first, and twice as much after each answer; a probe proves
        nothing.
        """
        endpoints = self.make("a")
        endpoints.answered(taken(endpoints, 0.0), 0.0, 0.01, probe=True)
        found = []
        for _ in range(8):
            found.append(endpoints.portion("a"))
            endpoints.answered(taken(endpoints, 0.0), 0.0, 0.01)
        self.assertEqual(found, [1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 1.0])
        endpoints.failed(taken(endpoints, 0.0), 0.0)
        self.assertEqual(endpoints.portion("a"), FIRST_PORTION)

    def test_coming_and_going(self) -> None:
        """A server that answers between its failures is left alone longer and longer; after a calm time all is
        forgotten.
        """
        endpoints = self.make("a", chance=lambda: 0.999999)
        now, pauses = 0.0, []
        for _ in range(8):
            endpoints.answered(taken(endpoints, now), now, 0.01)
            taken(endpoints, now + 0.5)
            endpoints.failed("a", now + 0.5)
            pauses.append(endpoints.status(now + 0.5)[0].back_in)
            now += 0.5 + pauses[-1]
        self.assertEqual([round(each, 2) for each in pauses], [0.5, 1, 2, 4, 8, 10, 10, 10])
        for at in (now, now + CALM_SECONDS, now + CALM_SECONDS + MAX_BACKOFF_SECONDS):
            endpoints.answered(taken(endpoints, at), at, 0.01)
        endpoints.failed(taken(endpoints, 99.0), 99.0)
        self.assertAlmostEqual(endpoints.status(99.0)[0].back_in, BACKOFF_SECONDS, 3)

    def test_other_endpoints(self) -> None:
        """Servers come and go: those that stay keep what is known of them, and one that goes may still answer."""
        endpoints = self.make("a", "b")
        self.prove(endpoints, 0.0)
        leaving = taken(endpoints, 0.0)
        staying = "b" if leaving == "a" else "a"
        endpoints.use([staying, "c"])
        self.assertIn(leaving, endpoints)
        self.assertEqual({taken(endpoints, 0.0), taken(endpoints, 0.1)}, {staying, "c"})
        self.assertIsNone(endpoints.take(0.1))
        endpoints.answered(leaving, 1.0, 1.0)
        self.assertNotIn(leaving, endpoints)
        self.assertEqual([(each.name, each.portion) for each in endpoints.status(0.0)],
                         [(staying, 2 * FIRST_PORTION), ("c", FIRST_PORTION)])  # fmt: skip
        self.assertRaises(ValueError, endpoints.use, [])

    def test_back_before_it_was_gone(self) -> None:
        """A server that left and is back before its last request ended is the same one."""
        endpoints = self.make("a", "b")
        self.prove(endpoints, 0.0)
        name = taken(endpoints, 0.0)
        endpoints.use(["b" if name == "a" else "a"])
        endpoints.use(["a", "b"])
        endpoints.answered(name, 1.0, 1.0)
        self.assertEqual({each.name: each.portion for each in endpoints.status(0.0)}[name], 4 * FIRST_PORTION)

    @settings(max_examples=100, deadline=None, database=None)
    @given(
        st.lists(st.tuples(st.sampled_from(["take", "answered", "failed"]), st.floats(0, 20)), max_size=60),
        st.randoms(),
    )
    def test_never_stuck(self, steps: list[tuple[str, float]], chance: Random) -> None:
        """Whatever happens, some endpoint is to be had at the time that `next_at` says, or when one answers."""
        endpoints = Endpoints(["a", "b", "c"], chance.random, 2)
        now, flying = 0.0, []
        for step, value in steps:
            now += value
            if step == "take":
                name = endpoints.take(now)
                if name is not None:
                    flying.append(name)
                else:
                    back = endpoints.next_at(now)
                    self.assertTrue(flying if back is None else back > now)
                self.assertLessEqual(max(each.in_flight for each in endpoints.status(now)), 2)
            elif flying:
                name = flying.pop()
                if step == "answered":
                    endpoints.answered(name, now, value)
                else:
                    endpoints.failed(name, now, value)
        self.assertEqual(sum(each.in_flight for each in endpoints.status(now)), len(flying))
        for name in flying:
            endpoints.failed(name, now)
        back = endpoints.next_at(now)
        assert back is not None
        self.assertIsNotNone(endpoints.take(back))


class ServerClockTests(SynchronousTestCase):
    """The servers' wall clock, as their answers tell it."""

    def test_unknown(self) -> None:
        """Before an answer nothing is known, and nothing corrected."""
        self.assertEqual(ServerClock().offset(5.0, 1.7e9), 0.0)

    def test_half_of_the_way(self) -> None:
        """The answer's way back took half of the time between question and answer."""
        clock = ServerClock()
        clock.heard(1_000_100.0, 10.0, 12.0)  # it is 1_000_101 there by now
        self.assertAlmostEqual(clock.offset(12.0, 1_000_000.0), 101.0)
        self.assertAlmostEqual(clock.offset(15.0, 1_000_003.0), 101.0)

    def test_one_odd_answer(self) -> None:
        """An answer that was held up does not move the clock."""
        clock = ServerClock()
        for turn in range(SAMPLES - 1):
            clock.heard(1_000_000.0 + turn, turn, turn)
        clock.heard(1_000_000.0, SAMPLES, SAMPLES + 60)
        self.assertAlmostEqual(clock.offset(100.0, 1_000_100.0), 0.0, 0)

    def test_step_of_the_clock_here(self) -> None:
        """When the wall clock here steps, the offset shows it before the next answer."""
        clock = ServerClock()
        clock.heard(1_000_000.0, 1.0, 1.0)
        self.assertAlmostEqual(clock.offset(2.0, 1_000_001.0), 0.0)
        self.assertAlmostEqual(clock.offset(2.0, 1_000_001.0 - 3600), 3600.0)

    def test_follows(self) -> None:
        """When the servers' clock steps, the offset follows within a few answers."""
        clock = ServerClock()
        for turn in range(20):
            clock.heard(1_000_000.0 + turn, turn, turn)
        for turn in range(20, 20 + SAMPLES // 2 + 1):
            clock.heard(1_000_500.0 + turn, turn, turn)
        self.assertAlmostEqual(clock.offset(30.0, 1_000_030.0), 500.0)
