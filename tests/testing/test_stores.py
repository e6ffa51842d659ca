"""The store that fails when it is told to."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.testing.stores import ANY, FaultyStore
from tests.contracts.store_harness import V, batch, look
from tests.store.harnesses import Surroundings, started


class FaultyStoreTests(SynchronousTestCase):
    """Faults are what was asked for, and nothing else."""

    def setUp(self) -> None:
        self.inner = Surroundings().memory()
        self.store: FaultyStore = started(FaultyStore(self.inner))
        self.addCleanup(self.store.stopService)

    def appended(self) -> int:
        """The last number of the lane, asked of the store behind."""
        (outcome,) = self.successResultOf(self.inner.append([look(1)]))
        return int(outcome.last)

    def test_without_faults(self) -> None:
        """Without faults it is the store behind."""
        self.assertTrue(self.successResultOf(self.store.append([batch(1)]))[0].appended)
        self.assertEqual(self.store.cluster, self.inner.cluster)

    def test_fail_before(self) -> None:
        """The call fails and is not done; the one after it is."""
        self.store.fail_before("append")
        self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable)
        self.assertEqual(self.appended(), 0)
        self.successResultOf(self.store.append([batch(1)]))

    def test_fail_after(self) -> None:
        """The call fails and is done all the same."""
        self.store.fail_after("append")
        self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable)
        self.assertEqual(self.appended(), 1)
        self.successResultOf(self.store.append([batch(1)]))

    def test_faults_are_of_a_method(self) -> None:
        """The calls of other methods are left alone."""
        self.store.fail_before("append", times=2)
        self.successResultOf(self.store.tabs())
        self.failureResultOf(self.store.append([]), StoreUnavailable)
        self.successResultOf(self.store.ledger())
        self.failureResultOf(self.store.append([]), StoreUnavailable)
        self.successResultOf(self.store.append([]))

    def test_faults_of_any_method(self) -> None:
        """ANY is the next call, whichever it is."""
        self.store.fail_before(ANY)
        self.store.fail_after(ANY)
        self.failureResultOf(self.store.tabs(), StoreUnavailable)
        self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable)
        self.assertEqual(self.appended(), 1)
        self.successResultOf(self.store.tabs())

    def test_unavailable(self) -> None:
        """All calls fail until the store is back."""
        self.store.unavailable()
        for _ in range(3):
            self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable)
        self.store.unavailable(False)
        self.assertEqual(self.appended(), 0)
        self.successResultOf(self.store.append([batch(1)]))

    def test_held_answers(self) -> None:
        """A held call is done at once and answered when it is let go, in order; lost answers stay lost."""
        self.store.hold("append")
        self.store.fail_after("append")
        lost, good = self.store.append([batch(1)]), self.store.append([batch(2)])
        self.assertEqual(self.appended(), 2)
        self.assertNoResult(lost)
        self.assertNoResult(good)
        self.successResultOf(self.store.tabs())
        self.store.let_go("append")
        self.failureResultOf(lost, StoreUnavailable)
        self.successResultOf(good)
        self.successResultOf(self.store.append([batch(3)]))

    def test_stopping(self) -> None:
        """The store behind is stopped, and nobody is left waiting."""
        self.store.hold("read")
        held = self.store.read({V: 0}, 1, 0)
        self.successResultOf(self.store.stopService())
        self.assertEqual(self.successResultOf(held), [])
        self.failureResultOf(self.inner.tabs(), StoreUnavailable)
