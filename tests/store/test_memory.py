"""The memory store beyond its contract."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import NotHere, StartError, StoreUnavailable
from taba.interfaces import Checkpoint, Lease, Position, Written
from taba.store.memory import Contents
from tests.contracts.store_harness import VBUCKETS, A, V, batch
from tests.store.harnesses import Surroundings, started


class MemoryStoreTests(SynchronousTestCase):
    """Starting, stopping, and odd calls."""

    def setUp(self) -> None:
        self.surroundings = Surroundings()

    def test_new_cluster(self) -> None:
        """Without contents it is a new cluster each time, which promises nothing beyond its process."""
        one, two = started(self.surroundings.memory()), started(self.surroundings.memory())
        self.assertNotEqual(one.cluster.id, two.cluster.id)
        self.assertEqual((one.cluster.durability, one.cluster.vbuckets), ("memory", VBUCKETS))

    def test_number_of_vbuckets(self) -> None:
        """It is at least one, and that of the contents."""
        for store in (
            self.surroundings.memory(vbuckets=0),
            self.surroundings.memory(Contents.empty(A, 4), vbuckets=8),
            self.surroundings.memory(Contents.empty(A, 0), vbuckets=0),
        ):
            self.failureResultOf(store.startService(), StartError)

    def test_copies_are_independent(self) -> None:
        """A copy of the contents does not change with them."""
        contents = Contents.empty(A, VBUCKETS)
        store = started(self.surroundings.memory(contents))
        copy = contents.copy()
        self.successResultOf(store.append([batch(1)]))
        older = started(self.surroundings.memory(copy))
        self.assertEqual(self.successResultOf(older.read({V: 0}, 1000, 0)), [])

    def test_waiting_reads_end_with_the_store(self) -> None:
        """A be that waits for entries is told that there will be none."""
        store = started(self.surroundings.memory())
        reading = store.read({V: 0}, 1000, 60)
        self.successResultOf(store.stopService())
        self.failureResultOf(reading, StoreUnavailable)
        self.assertEqual(self.surroundings.clock.getDelayedCalls(), [])

    def test_stopping_twice(self) -> None:
        """Once is enough, and a store that never started has nothing to stop."""
        store = started(self.surroundings.memory())
        self.successResultOf(store.stopService())
        self.successResultOf(store.stopService())
        self.successResultOf(self.surroundings.memory().stopService())

    def test_calls_before_the_start(self) -> None:
        """A store that has not started says that it is closed."""
        store = self.surroundings.memory()
        for call in (store.append([batch(1)]), store.tabs(), store.acquire([V], "be-1", 10)):
            self.failureResultOf(call, StoreUnavailable)

    def test_vbuckets_that_do_not_exist(self) -> None:
        """A vbucket beyond NUM_VBUCKETS is not here, and has nothing to read."""
        store = started(self.surroundings.memory())
        for call in (
            store.load(Lease(VBUCKETS, "be-1", 1)),
            store.states(VBUCKETS, []),
            store.aggregates(-1, []),
        ):
            self.failureResultOf(call, NotHere)
        self.assertEqual(self.successResultOf(store.read({VBUCKETS: 0, -1: 0}, 1000, 0)), [])

    def test_log_bytes(self) -> None:
        """The bytes of all logs."""
        store = started(self.surroundings.memory())
        self.successResultOf(store.append([batch(1, body=b"123"), batch(1, vbucket=1, body=b"45")]))
        self.assertEqual(store.log_bytes, 5)

    def test_checkpoint_beyond_the_log(self) -> None:
        """A position that the log has not reached is stale."""
        store = started(self.surroundings.memory())
        lease = self.successResultOf(store.acquire([V], "be-1", 10))[V]
        checkpoint = Checkpoint(lease, store.cluster.lineage, Position(0, 0), Position(1, 1))
        self.assertEqual(self.successResultOf(store.checkpoint([checkpoint])), [Written.STALE])
        good = evolve(checkpoint, position=Position(0, 1))
        self.assertEqual(self.successResultOf(store.checkpoint([good])), [Written.DONE])
