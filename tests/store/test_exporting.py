"""Reading a whole embedded store."""

from __future__ import annotations

import os
import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from taba.errors import FolderLocked, StartError
from taba.interfaces import RETIRED
from taba.store.exporting import Export, open_export
from taba.store.folder import open_folder
from taba.store.transactions import DATABASE
from tests.contracts.store_harness import VBUCKETS, A, B
from tests.store.filled import BUSY, PLAIN, QUIET, filled, now
from tests.store.harnesses import Surroundings


class ExportTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.store = filled(Surroundings(), self.path)
        self.addCleanup(lambda: self.store.stopService())

    def export(self) -> Export:
        now(self.store.stopService())
        export = open_export(open_folder(self.path))
        self.addCleanup(export.close)
        return export

    def test_everything(self) -> None:
        """All rows of the store are there, in pages, under the names that they have now."""
        export = self.export()
        self.assertEqual((export.identity.cluster_id, export.identity.vbuckets), (self.store.cluster.id, VBUCKETS))
        self.assertEqual(export.types(BUSY), {"tab": "CounterGroup", "other": "Gauge"})
        self.assertEqual(export.types(QUIET), {"bare": ""})
        self.assertEqual(export.types(PLAIN), {"käse": "Buffer", "gone deleted 1700000000000": "Gauge"})
        pages = list(export.states(BUSY, "tab"))
        self.assertEqual([len(page) for page in pages], [1000, 501])
        states = dict(row for page in pages for row in page)
        self.assertEqual((len(states), states[RETIRED], states["client0008"]), (1501, b"retired", b"state 8state 8"))
        self.assertEqual(list(export.aggregates(BUSY)), [[("tab", b"aggregate")]])
        self.assertEqual(export.clients(BUSY)["client0001"], 2)
        self.assertEqual(export.clients(BUSY)[RETIRED], 1)
        lanes = dict(row for page in export.lanes(BUSY) for row in page)
        self.assertEqual({lane: row.last for lane, row in lanes.items()}, {A: 3, B: 1})
        log = [row for page in export.log(BUSY) for row in page]
        self.assertEqual([(row.id, row.body) for row in log], [(3, b"batch 3 of a"), (4, b"batch 1 of b")])
        self.assertEqual([each.reason for each in export.aside()], ["type", "future", "codec"])

    def test_vbuckets(self) -> None:
        """Positions, epochs and ledgers are those of the store."""
        row = self.export().vbucket(QUIET)
        self.assertEqual((row.last_id, row.folded, row.commits, row.lost, row.flushed), (3, 3, 1, 5, 0))
        self.assertEqual((row.epoch, dict(row.ledger)), (1, {"folded": 35}))

    def test_counts(self) -> None:
        """The counts say how much it is."""
        counts = self.export().counts()
        self.assertEqual((counts.tabs, counts.states, counts.entries, counts.events), (5, 1504, 2, 20))
        self.assertEqual((counts.lanes, counts.aside, counts.aggregates), (3, 3, 1))

    def test_in_use(self) -> None:
        """A folder that a server uses is not read; and none is used while it is read."""
        self.assertRaises(FolderLocked, open_export, open_folder(self.path))
        self.export()
        self.assertRaises(FolderLocked, open_folder(self.path).lock)

    def test_nothing_there(self) -> None:
        """A folder without a store, or with something else, is refused with what to do, and not kept locked."""
        path = os.path.abspath(self.mktemp())
        self.assertIn("no embedded store", str(self.assertRaises(StartError, open_export, open_folder(path))))
        with sqlite3.connect(os.path.join(path, DATABASE)) as database:
            database.execute("CREATE TABLE something (else_ TEXT)")
        database.close()
        self.assertRaises(StartError, open_export, open_folder(path))
        open_folder(path).lock()

    def test_damaged(self) -> None:
        """A file that is no database is told."""
        path = os.path.abspath(self.mktemp())
        folder = open_folder(path)
        with open(os.path.join(path, DATABASE), "wb") as file:
            file.write(b"no database" * 1000)
        self.assertIn("cannot be read", str(self.assertRaises(StartError, open_export, folder)))
