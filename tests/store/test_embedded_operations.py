"""Renames, flushes and Partials that were set aside in the embedded store: what they write, and disks that fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from taba.errors import LocalProtocolError, StoreUnavailable
from taba.interfaces import Written
from taba.store.folder import open_folder
from tests.contracts.store_aside import partial
from tests.contracts.store_harness import A, V, W, batch
from tests.store.harnesses import QueuedWorker
from tests.store.test_embedded import EmbeddedSuite, FaultyFolder, committed_and_lost, disk_error


class RowTests(EmbeddedSuite):
    """What is written."""

    def test_rename_writes_one_row(self) -> None:
        """The States keep their keys, however many there are."""
        store = self.start()
        self.put(store, states={("tab", f"c{number}"): b"1" for number in range(100)}, types={"tab": "Gauge"})
        before = self.rows("SELECT key FROM states")
        tabs = self.rows("SELECT id, vbucket, type FROM tabs")
        self.put(store, renames={"tab": "tab deleted 1"})
        self.assertEqual(self.rows("SELECT key FROM states"), before)
        self.assertEqual(self.rows("SELECT id, vbucket, type FROM tabs"), tabs)
        self.assertEqual(self.rows("SELECT tab FROM tabs"), [("tab deleted 1",)])

    def test_lanes_outlive_it(self) -> None:
        """Renames and flushes touch no lane."""
        store = self.start()
        self.successResultOf(store.append([batch(1)]))
        before = self.rows("SELECT * FROM lanes")
        self.put(store, types={"tab": "Gauge"})
        self.put(store, renames={"tab": "other"})
        self.successResultOf(store.flush())
        self.assertEqual((self.rows("SELECT * FROM lanes"), before[0][0]), (before, bytes.fromhex(A)))

    def test_ids_of_partials_are_never_used_again(self) -> None:
        """Not even when the newest went."""
        store = self.start()
        for number in range(3):
            self.put(store, set_aside=[partial(number)])
            (one,) = self.successResultOf(store.aside(9))
            self.assertTrue(one.id.endswith(f"-{number + 1}"), one.id)
            self.put(store, refolded=[one.id])

    def test_flush_is_one_transaction_for_each_vbucket(self) -> None:
        """Appends need not wait until everything is dropped, and what comes meanwhile is not lost track of."""
        writer = QueuedWorker()
        store = self.surroundings.embedded(open_folder(self.path), writer=writer)
        starting = store.startService()
        writer.finish()
        self.successResultOf(starting)
        appending = store.append([batch(1), batch(1, vbucket=W, events=7)])
        writer.finish()
        self.successResultOf(appending)
        flushing = store.flush()
        later = store.append([batch(2), batch(2, vbucket=W)])
        writer.step()
        self.assertNoResult(flushing)
        writer.finish()
        self.successResultOf(later)
        # The batch of V came after V was flushed, that of W before.
        self.assertEqual(self.successResultOf(flushing), 10 + 7 + 10)
        self.assertEqual([depth.vbucket for depth in self.successResultOf(store.depth())], [V])
        self.assertEqual(store.log_bytes, len(batch(2).body or b""))
        stopping = store.stopService()
        writer.finish()
        self.successResultOf(stopping)

    def test_two_flushes_at_once(self) -> None:
        """Two operators who flush at the same moment drop the events once, and they are counted once."""
        writer = QueuedWorker()
        store = self.surroundings.embedded(open_folder(self.path), writer=writer)
        starting = store.startService()
        writer.finish()
        self.successResultOf(starting)
        appending = store.append([batch(1)])
        writer.finish()
        self.successResultOf(appending)
        flushing = [store.flush(), store.flush()]
        writer.finish()
        self.assertEqual([self.successResultOf(each) for each in flushing], [10, 0])
        self.assertEqual(self.successResultOf(store.depth()), [])
        self.assertEqual(self.successResultOf(store.ledger())["flushed"], 10)
        stopping = store.stopService()
        writer.finish()
        self.successResultOf(stopping)


class DiskTests(EmbeddedSuite):
    """A disk that fails in the middle."""

    def setUp(self) -> None:
        super().setUp()
        self.faults: dict[str, Callable[[sqlite3.Connection], None]] = {}
        folder = FaultyFolder(open_folder(self.path), self.faults)
        self.store = self.start(folder)  # type: ignore[arg-type]

    def test_flush_that_fails(self) -> None:
        """Nothing of that vbucket is dropped or counted; asked again, it is."""
        self.successResultOf(self.store.append([batch(1)]))
        self.faults["DELETE FROM log"] = disk_error
        self.failureResultOf(self.store.flush(), StoreUnavailable)
        self.faults.clear()
        self.assertEqual(self.successResultOf(self.store.ledger())["flushed"], 0)
        self.assertEqual(len(self.successResultOf(self.store.read({V: 0}, 1000, 0))), 1)
        self.assertEqual(self.successResultOf(self.store.flush()), 10)

    def test_flush_that_was_done_all_the_same(self) -> None:
        """How much waits is found out anew; the ledger has what the answer should have said."""
        self.successResultOf(self.store.append([batch(1)]))

        def once(database: sqlite3.Connection) -> None:
            self.faults.clear()
            committed_and_lost(database)

        self.faults["COMMIT"] = once
        self.failureResultOf(self.store.flush(), StoreUnavailable)
        self.assertEqual((self.store.log_bytes, self.successResultOf(self.store.depth())), (0, []))
        self.assertEqual(self.successResultOf(self.store.flush()), 0)
        self.assertEqual(self.rows("SELECT sum(flushed) FROM vbuckets"), [(10,)])

    def test_rename_that_fails(self) -> None:
        """Nothing of its checkpoint is written, and it can be written again."""
        self.put(self.store, types={"tab": "Gauge"})
        checkpoint = self.checkpoint(self.store, types={"other": "Gauge"}, renames={"tab": "grave"})
        self.faults["UPDATE tabs SET tab"] = disk_error
        self.failureResultOf(self.store.checkpoint([checkpoint]), StoreUnavailable)
        self.faults.clear()
        self.assertEqual(self.successResultOf(self.store.tabs()), {"tab": "Gauge"})
        self.assertEqual(self.successResultOf(self.store.checkpoint([checkpoint])), [Written.DONE])
        self.assertEqual(self.successResultOf(self.store.tabs()), {"grave": "Gauge", "other": "Gauge"})

    def test_rename_that_breaks_the_rules_spoils_nothing(self) -> None:
        """All of its call is rolled back, and the store goes on."""
        self.put(self.store, types={"tab": "Gauge", "taken": "Gauge"})
        good = self.checkpoint(self.store, W, types={"good": "Gauge"})
        bad = self.checkpoint(self.store, renames={"tab": "taken"})
        self.failureResultOf(self.store.checkpoint([good, bad]), LocalProtocolError)
        self.assertEqual(self.successResultOf(self.store.tabs()), {"tab": "Gauge", "taken": "Gauge"})
        self.assertEqual(self.successResultOf(self.store.checkpoint([good])), [Written.DONE])

    def test_known_states_that_are_not_there_spoil_nothing(self) -> None:
        """Who says that States are there, and is wrong, has written nothing of all of its call."""
        self.put(self.store, states={("tab", "c"): b"1"}, types={"tab": "Gauge"})
        good = self.checkpoint(self.store, W, types={"good": "Gauge"})
        for known in ([("tab", [("c", b"2"), ("d", b"2")])], [("other", [("c", b"2")])]):
            bad = self.checkpoint(self.store, known=known)
            self.failureResultOf(self.store.checkpoint([good, bad]), LocalProtocolError)
            self.assertEqual(self.rows("SELECT tab FROM tabs"), [("tab",)])
            self.assertEqual(self.rows("SELECT state FROM states"), [(b"1",)])
