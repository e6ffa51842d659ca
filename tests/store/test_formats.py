"""Databases that older versions of the embedded store wrote: brought to the present format when they are opened."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from taba.errors import StartError
from taba.interfaces import RETIRED, Position, SetAside
from taba.store import schema
from taba.store.aside_ids import vbucket_of
from taba.store.folder import open_folder
from taba.store.transactions import DATABASE
from tests.contracts.store_aside import partial
from tests.contracts.store_harness import VBUCKETS, B, V, batch, look, selection
from tests.store.test_embedded import EmbeddedSuite

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "store"


class FormatTests(EmbeddedSuite):
    """What a version before this one left is all there, and goes on."""

    def restore(self, name: str) -> None:
        """Make the database that a golden file describes."""
        os.mkdir(self.path)
        database = sqlite3.connect(os.path.join(self.path, DATABASE))
        database.executescript((GOLDEN / name).read_text("utf-8"))
        database.close()

    def test_format_1_is_all_there(self) -> None:
        """Logs, lanes, States, Types, Aggregates, ledger, cluster and what is set aside are as they were."""
        self.restore("format-1.sql")
        store = self.start()
        self.assertEqual(self.rows("PRAGMA user_version"), [(schema.FORMAT,)])
        self.assertEqual(store.cluster.id, f"{1:032x}")
        entries = self.successResultOf(store.read({V: 0}, 1000, 0))
        self.assertEqual([(entry.id, entry.body) for entry in entries], [(3, b"third"), (4, batch(5, lane=B).body)])
        outcomes = self.successResultOf(store.append([look(3), look(5, lane=B), batch(4, previous=607264868)]))
        self.assertEqual([outcome.last for outcome in outcomes], [3, 5, 4])
        rows: list[tuple[str, str, bytes]] = []
        self.successResultOf(
            store.each_state(selection(), lambda page: rows.extend((r.tab, r.client, r.state) for r in page))
        )
        self.assertEqual(rows, [("b", "c2", b"2"), ("tab", RETIRED, b"0"), ("tab", "c1", b"1")])
        self.assertEqual(self.successResultOf(store.tabs()), {"tab": "TotalsCounter", "b": "Gauge"})
        self.assertEqual(self.successResultOf(store.aggregates(V, ["tab"])), {"tab": b"sum"})
        self.assertEqual(self.successResultOf(store.clients(None)), {"c1", "c2"})
        self.assertEqual(self.successResultOf(store.ledger()), {"folded": 20, "lost": 40, "flushed": 0})
        lease = self.successResultOf(store.acquire([V], "be-2", 10.0))[V]
        self.assertEqual((lease.epoch, self.successResultOf(store.load(lease)).position), (2, Position(2, 1)))

    def test_what_format_1_set_aside(self) -> None:
        """It gets ids, and is of the vbucket of its tab; ids that come after are others, and it can be folded again."""
        self.restore("format-1.sql")
        store = self.start()
        tab, other = vbucket_of("tab", VBUCKETS), vbucket_of("other", VBUCKETS)
        there = [
            SetAside("undecodable", "other", "c2", "Gauge", 4, b"partial 2", other, "00000000-2"),
            SetAside("unknown type", "tab", "c1", "X", 3, b"partial 1", tab, "00000000-1"),
        ]
        self.assertEqual(self.successResultOf(store.aside(9)), there)
        for one in there:
            self.put(store, one.vbucket, self.folded(one.vbucket), refolded=[one.id])
        self.assertEqual(self.successResultOf(store.aside(9)), [])
        self.put(store, 0, set_aside=[partial(3)])
        self.assertEqual([one.id[8:] for one in self.successResultOf(store.aside(9))], ["-3"])

    def folded(self, vbucket: int) -> int:
        ((folded,),) = self.rows(f"SELECT folded FROM vbuckets WHERE vbucket = {vbucket}")
        return int(folded)

    def test_tables_are_those_of_a_new_database(self) -> None:
        """Nothing tells a database that was migrated from one that is new."""

        def columns() -> dict[str, list[tuple[str, str]]]:
            names = [name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {
                name: sorted((row[1], row[2]) for row in self.rows(f"PRAGMA table_info({name})")) for name in names
            }

        self.restore("format-1.sql")
        self.stop(self.start())
        migrated = columns()
        self.path += "-new"
        self.stop(self.start())
        self.assertEqual(migrated, columns())

    def test_goes_on_after_another_start(self) -> None:
        """It is migrated once."""
        self.restore("format-1.sql")
        store = self.start()
        self.assertEqual(self.successResultOf(store.flush()), 20)
        self.stop(store)
        store = self.start()
        self.assertEqual(self.successResultOf(store.ledger()), {"folded": 20, "lost": 40, "flushed": 20})
        self.assertEqual(len(self.successResultOf(store.aside(9))), 2)

    def test_migration_that_fails_leaves_it_as_it_was(self) -> None:
        """What cannot be migrated is of format 1 afterwards, whole, and migrated when it can be."""
        self.restore("format-1.sql")
        self.change("CREATE TABLE aside_1 (x)")
        before = self.rows("SELECT sql FROM sqlite_master")
        store = self.surroundings.embedded(open_folder(self.path))
        self.failureResultOf(store.startService(), StartError)
        self.assertEqual(self.rows("SELECT sql FROM sqlite_master"), before)
        self.assertEqual(self.rows("PRAGMA user_version"), [(1,)])
        self.change("DROP TABLE aside_1")
        self.assertEqual(len(self.successResultOf(self.start().aside(9))), 2)

    def test_other_number_of_vbuckets_is_refused_before(self) -> None:
        """What is not started on is not migrated either."""
        self.restore("format-1.sql")
        store = self.surroundings.embedded(open_folder(self.path), 16)
        self.failureResultOf(store.startService(), StartError)
        self.assertEqual(self.rows("PRAGMA user_version"), [(1,)])
