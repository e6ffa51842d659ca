"""Leases as a state machine, and the small parts beside it: waiting readers, pages, limits."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba.interfaces import AggregateRow, Lease, StateRow
from taba.store.arrivals import Arrivals
from taba.store.leases import Leases
from taba.store.limits import Limits
from taba.store.pages import give_pages, take_page
from tests.store.harnesses import Surroundings


class LeasesTests(SynchronousTestCase):
    """Grants, expiry, epochs."""

    def setUp(self) -> None:
        self.leases = Leases({1: 41})

    def grant(self, owner: str, now: float, vbucket: int = 1, ttl: float = 2.0) -> Lease | None:
        return self.leases.grant([vbucket], owner, ttl, now).get(vbucket)

    def test_epochs_go_on_where_they_were(self) -> None:
        """The first grant is above all epochs of before; a vbucket that had none begins at 1."""
        self.assertEqual(self.grant("a", 0), Lease(1, "a", 42))
        self.assertEqual(self.grant("a", 0, vbucket=2), Lease(2, "a", 1))

    def test_lease_is_held_until_it_expires(self) -> None:
        """Held before the end, not at the end, and then somebody else's to take."""
        lease = self.grant("a", 10)
        assert lease
        self.assertEqual([self.leases.holds(lease, now) for now in (10, 11.9, 12, 13)], [True, True, False, False])
        self.assertIsNone(self.grant("b", 11.9))
        self.assertEqual(self.grant("b", 12), Lease(1, "b", 43))

    def test_expired_lease_stays_expired(self) -> None:
        """A clock that is asked again with an older time gives nothing back once another has the lease."""
        first = self.grant("a", 0)
        assert first
        self.grant("b", 5)
        self.assertFalse(self.leases.holds(first, 0))

    def test_vbucket_asked_for_twice_is_granted_once(self) -> None:
        """One call grants one epoch."""
        self.assertEqual(self.leases.grant([1, 1], "a", 2, 0), {1: Lease(1, "a", 42)})

    def test_prolonged_by_its_own_ttl(self) -> None:
        """A checkpoint prolongs by what the lease was granted or renewed with."""
        lease = self.grant("a", 0, ttl=5.0)
        assert lease
        self.leases.prolong(lease, 4)
        self.assertTrue(self.leases.holds(lease, 8.9))
        self.leases.renew([lease], 1.0, 8)
        self.leases.prolong(lease, 8.5)
        self.assertEqual([self.leases.holds(lease, now) for now in (9.4, 9.6)], [True, False])

    def test_slow_write_costs_no_lease(self) -> None:
        """A lease that ran out while its checkpoint was written, and that nobody took, is held again."""
        lease = self.grant("a", 0)
        assert lease
        self.leases.prolong(lease, 3)
        self.assertTrue(self.leases.holds(lease, 4.9))

    def test_only_the_newest_grant_is_prolonged(self) -> None:
        """What was granted again, or given back, while the checkpoint was written, stays so."""
        old = self.grant("a", 0)
        assert old
        new = self.grant("b", 5)
        assert new
        self.leases.prolong(old, 6)
        self.assertFalse(self.leases.holds(old, 6))
        self.leases.release([new])
        self.leases.prolong(new, 6)
        self.assertFalse(self.leases.holds(new, 6))


class ArrivalsTests(SynchronousTestCase):
    """Readers that wait."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.arrivals = Arrivals(self.clock)

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_all_who_wait_for_it_are_woken(self) -> None:
        """An announcement wakes everybody who waits for one of its vbuckets, and nobody else."""
        waiting = [self.arrivals.wait(vbuckets, 10) for vbuckets in ([1, 2], [2], [3])]
        self.arrivals.announce([2, 5])
        self.assertEqual([one.called for one in waiting], [True, True, False])
        self.arrivals.announce_all()
        self.assertTrue(waiting[2].called)

    def test_patience_ends(self) -> None:
        """Without an announcement the time that was given ends the waiting."""
        waiting = self.arrivals.wait([1], 10)
        self.clock.advance(9.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.assertIsNone(self.successResultOf(waiting))
        self.arrivals.announce([1])

    def test_cancelled_readers_are_forgotten(self) -> None:
        """Whoever stops waiting is not woken, and leaves no timer."""
        waiting = self.arrivals.wait([1], 10)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.arrivals.announce([1])

    def test_woken_reader_may_cancel_another(self) -> None:
        """What one does when it wakes breaks nothing for the rest."""
        first, second = self.arrivals.wait([1], 10), self.arrivals.wait([1], 10)
        first.addCallback(lambda _: second.cancel())
        self.arrivals.announce([1])
        self.failureResultOf(second, CancelledError)

    def test_woken_reader_may_wait_again(self) -> None:
        """Waiting again waits for the next announcement, not for the same one."""
        again: list[Deferred[None]] = []
        self.arrivals.wait([1], 10).addCallback(lambda _: again.append(self.arrivals.wait([1], 10)))
        self.arrivals.announce([1])
        self.assertNoResult(again[0])
        self.arrivals.announce([1])
        self.successResultOf(again[0])


class PagesTests(SynchronousTestCase):
    """Pages of queries."""

    def rows(self, *sizes: int) -> list[StateRow]:
        return [StateRow("tab", str(number), "Gauge", b"x" * size) for number, size in enumerate(sizes)]

    def test_page_ends_with_its_last_row(self) -> None:
        """A page has at most so many rows, and the next one goes on behind it."""
        rows = iter(self.rows(1, 1, 1))
        self.assertEqual([len(take_page(rows, 2, 100)) for _ in range(3)], [2, 1, 0])

    def test_page_ends_with_its_bytes(self) -> None:
        """The row that fills a page is its last, and a row that is larger than a page is a page."""
        rows = iter(self.rows(4, 6, 1, 50, 1))
        self.assertEqual([len(take_page(rows, 100, 10)) for _ in range(4)], [2, 2, 1, 0])

    def test_aggregates_have_a_size_too(self) -> None:
        """Aggregates fill pages like States."""
        rows = iter([AggregateRow("a", "t", b"x" * 10), AggregateRow("b", "t", b"x")])
        self.assertEqual([len(take_page(rows, 100, 10)) for _ in range(3)], [1, 1, 0])

    def test_consumer_that_is_done_at_once(self) -> None:
        """A consumer that answers nothing, or a Deferred that has fired, is not waited for."""
        rows = iter(self.rows(*[1] * 1000))
        given: list[int] = []

        def consume(page: Sequence[StateRow]) -> Deferred[None] | None:
            given.append(len(page))
            return succeed(None) if len(given) % 2 else None

        query = Deferred.fromCoroutine(give_pages(lambda: succeed(take_page(rows, 1, 100)), consume))
        self.successResultOf(query)
        self.assertEqual(given, [1] * 1000)


class LimitsTests(SynchronousTestCase):
    """Settings that make no sense are refused."""

    def test_limits(self) -> None:
        """Bounds below zero and pages without rows are no limits; bounds of zero are."""
        for wrong in ("aside_rows", "aside_bytes"):
            self.assertRaises(ValueError, Limits, **{wrong: -1})
            self.assertEqual(getattr(Limits(**{wrong: 0}), wrong), 0)
        for wrong in ("page_rows", "page_bytes"):
            self.assertRaises(ValueError, Limits, **{wrong: 0})

    def test_dedup_days(self) -> None:
        """Batches are taken for a day less than lanes are remembered: that has to leave something."""
        surroundings = Surroundings()
        with self.assertRaises(ValueError):
            surroundings.memory(dedup_days=1.0)
