"""The embedded store beyond its contract: starting, stopping, disks that fail, and what it leaves in its database."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from taba.errors import FolderLocked, NotHere, StartError, StoreUnavailable
from taba.interfaces import Checkpoint, IFolder, Lease, Position, StateRow, Verdict, Written
from taba.store import log_rows, schema
from taba.store.database import explain
from taba.store.embedded import EmbeddedStore
from taba.store.folder import RealFolder, open_folder
from taba.store.transactions import DATABASE
from taba.testing.disk import MemoryDisk
from tests.contracts.store_aside import partial
from tests.contracts.store_harness import DAY, DEDUP_DAYS, START, VBUCKETS, A, V, W, batch, look, selection
from tests.store.harnesses import InlineWorker, QueuedWorker, Surroundings, started


class EmbeddedSuite(SynchronousTestCase):
    """Stores in a real folder."""

    def setUp(self) -> None:
        self.surroundings = Surroundings()
        self.path = os.path.abspath(self.mktemp())

    def start(self, folder: IFolder | None = None, **more: Any) -> EmbeddedStore:
        """A store that runs, and is stopped after the test."""
        store: EmbeddedStore = started(self.surroundings.embedded(folder or open_folder(self.path), **more))
        self.addCleanup(store.stopService)
        return store

    def stop(self, store: EmbeddedStore) -> None:
        self.successResultOf(store.stopService())

    def checkpoint(self, store: EmbeddedStore, vbucket: int = V, folded: int = 0, **fields: Any) -> Checkpoint:
        """The checkpoint that may follow in a vbucket."""
        lease = self.successResultOf(store.acquire([vbucket], "be-1", 10.0))[vbucket]
        loaded = self.successResultOf(store.load(lease))
        position = Position(folded, loaded.position.commits + 1)
        return Checkpoint(lease, loaded.lineage, loaded.position, position, **fields)

    def put(self, store: EmbeddedStore, vbucket: int = V, folded: int = 0, **fields: Any) -> None:
        checkpoint = self.checkpoint(store, vbucket, folded, **fields)
        self.assertEqual(self.successResultOf(store.checkpoint([checkpoint])), [Written.DONE])

    def rows(self, statement: str) -> list[Any]:
        """What another program finds in the database."""
        database = sqlite3.connect(os.path.join(self.path, DATABASE))
        try:
            return database.execute(statement).fetchall()
        finally:
            database.close()

    def change(self, statement: str) -> None:
        """What another program does to the database."""
        database = sqlite3.connect(os.path.join(self.path, DATABASE), isolation_level=None)
        database.execute(statement)
        database.close()


class StartTests(EmbeddedSuite):
    """Starting, and not starting."""

    def assertRefused(self, *words: str, **more: Any) -> None:
        """A store does not start, says why, and leaves no lock and no thread behind."""
        writer, reader = InlineWorker(), InlineWorker()
        store = self.surroundings.embedded(open_folder(self.path), writer=writer, reader=reader, **more)
        text = str(self.failureResultOf(store.startService(), StartError).value)
        for word in (self.path, *words):
            self.assertIn(word, text)
        self.assertEqual((writer.stopped, reader.stopped, bool(store.running)), (True, True, False))
        self.successResultOf(store.stopService())
        open_folder(self.path).lock()

    def test_cluster_stays_the_same(self) -> None:
        """The cluster gets its id at the first start and keeps it; every start begins another lineage."""
        first = self.start()
        self.stop(first)
        second = self.start()
        self.assertEqual(first.cluster.id, second.cluster.id)
        self.assertNotEqual(first.cluster.lineage, second.cluster.lineage)
        self.assertEqual((second.cluster.vbuckets, second.cluster.durability), (VBUCKETS, "fsynced"))

    def test_other_number_of_vbuckets_is_refused(self) -> None:
        """NUM_VBUCKETS cannot change: the sentence names both numbers and what to do."""
        self.stop(self.start())
        self.assertRefused("NUM_VBUCKETS 8", "say 16", "--data-dir", vbuckets=16)
        self.assertEqual(self.rows("SELECT count(*) FROM vbuckets"), [(8,)])

    def test_numbers_of_vbuckets_that_are_none(self) -> None:
        """There is at least one, and the keys of the log have room for so many."""
        for vbuckets in (0, -1, schema.MAX_VBUCKETS + 1):
            store = self.surroundings.embedded(open_folder(self.path), vbuckets)
            self.failureResultOf(store.startService(), StartError)

    def test_newer_format_is_refused(self) -> None:
        """The data of a newer version is left alone."""
        self.stop(self.start())
        self.change(f"PRAGMA user_version = {schema.FORMAT + 1}")
        self.assertRefused("newer version of Taba", str(schema.FORMAT + 1))

    def test_database_of_somebody_else_is_refused(self) -> None:
        """A database of the same name that is not Taba's is left alone."""
        os.mkdir(self.path)
        self.change("CREATE TABLE precious (x)")
        self.assertRefused("not Taba's", "--data-dir")
        self.assertEqual(self.rows("SELECT name FROM sqlite_master"), [("precious",)])
        self.assertEqual(self.rows("PRAGMA journal_mode"), [("delete",)])

    def test_damaged_database_is_refused(self) -> None:
        """What is no database is not written to."""
        os.mkdir(self.path)
        with open(os.path.join(self.path, DATABASE), "wb") as file:
            file.write(b"no database at all" * 1000)
        self.assertRefused("damaged", "backup")
        with open(os.path.join(self.path, DATABASE), "rb") as file:
            self.assertEqual(file.read(), b"no database at all" * 1000)

    def test_folder_in_use_is_refused(self) -> None:
        """Two servers do not share a folder; the first one goes on."""
        store = self.start()
        other = self.surroundings.embedded(open_folder(self.path))
        self.failureResultOf(other.startService(), FolderLocked)
        self.assertTrue(self.successResultOf(store.append([batch(1)]))[0].appended)

    def test_start_that_was_cut_short_is_made_up_for(self) -> None:
        """A crash before the tables are committed leaves an empty database, which is then made."""
        os.mkdir(self.path)
        self.change("PRAGMA journal_mode = WAL")
        self.start()

    def test_commits_are_synced(self) -> None:
        """The database is in the mode in which a commit waits for the disk."""
        self.start()
        self.assertEqual(self.rows("PRAGMA journal_mode"), [("wal",)])
        database = open_folder(self.path).database(DATABASE)
        schema.open_writer(database, self.path)
        self.assertGreaterEqual(database.execute("PRAGMA synchronous").fetchone()[0], 2)
        database.close()

    def test_files_are_private(self) -> None:
        """Nobody else can read the data."""
        self.start()
        for name in os.listdir(self.path):
            self.assertEqual(os.stat(os.path.join(self.path, name)).st_mode & 0o077, 0, name)


class StopTests(EmbeddedSuite):
    """Stopping waits for what is under way."""

    def setUp(self) -> None:
        super().setUp()
        self.writer, self.reader = QueuedWorker(), QueuedWorker()
        self.store = self.surroundings.embedded(open_folder(self.path), writer=self.writer, reader=self.reader)

    def begin(self) -> None:
        starting = self.store.startService()
        self.writer.finish()
        self.successResultOf(starting)

    def test_appends_under_way_are_finished(self) -> None:
        """What was asked before the stop is done and answered; the stop comes after."""
        self.begin()
        appending, asking = self.store.append([batch(1)]), self.store.tabs()
        stopping = self.store.stopService()
        self.assertNoResult(stopping)
        self.reader.finish()
        self.successResultOf(asking)
        self.assertNoResult(stopping)
        self.writer.step()
        self.assertTrue(self.successResultOf(appending)[0].appended)
        self.assertNoResult(stopping)
        self.writer.finish()
        self.successResultOf(stopping)
        self.assertTrue(self.writer.stopped and self.reader.stopped)

    def test_everything_is_closed_and_unlocked(self) -> None:
        """After the stop the database is one file, and the folder is free."""
        self.begin()
        asking = self.store.tabs()
        self.reader.finish()
        self.successResultOf(asking)
        stopping = self.store.stopService()
        self.reader.finish()
        self.writer.finish()
        self.successResultOf(stopping)
        self.assertEqual(sorted(os.listdir(self.path)), ["lock", DATABASE])
        open_folder(self.path).lock()

    def test_waiting_reads_end(self) -> None:
        """A be that waits for entries is told that there will be none."""
        self.begin()
        reading = self.store.read({V: 0}, 1000, 60)
        self.assertNoResult(reading)
        self.store.stopService()
        self.failureResultOf(reading, StoreUnavailable)
        self.assertEqual(self.surroundings.clock.getDelayedCalls(), [])

    def test_queries_under_way_end(self) -> None:
        """A query that waits for its consumer fails when it comes back for more."""
        self.begin()
        lease = self.store.acquire([V], "be-1", 10)
        self.writer.finish()
        states = {("tab", f"c{number}"): b"1" for number in range(10)}
        checkpoint = Checkpoint(
            self.successResultOf(lease)[V], self.store.cluster.lineage, Position(0, 0), Position(0, 1), states
        )
        self.store.checkpoint([checkpoint])
        self.writer.finish()
        gate: Deferred[None] = Deferred()
        query = self.store.each_state(selection(), lambda page: gate)
        self.reader.finish()
        self.store.stopService()
        gate.callback(None)
        self.failureResultOf(query, StoreUnavailable)

    def test_stop_during_the_start(self) -> None:
        """A store that is stopped before it has started does both, and is closed."""
        starting, stopping = self.store.startService(), self.store.stopService()
        self.reader.finish()
        self.writer.finish()
        self.successResultOf(starting)
        self.successResultOf(stopping)
        self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable)
        open_folder(self.path).lock()

    def test_stopping_twice(self) -> None:
        """Once is enough."""
        self.begin()
        self.store.stopService()
        self.successResultOf(self.store.stopService())
        self.successResultOf(Surroundings().embedded(open_folder(self.path)).stopService())

    def test_calls_before_the_start(self) -> None:
        """A store that has not started says that it is closed."""
        for call in (
            self.store.append([batch(1)]),
            self.store.read({V: 0}, 1000, 0),
            self.store.acquire([V], "be-1", 10),
            self.store.load(Lease(V, "be-1", 1)),
            self.store.tabs(),
        ):
            self.failureResultOf(call, StoreUnavailable)


@define(eq=False)
class Connection:
    """A connection that may be told to fail: `fault` is asked before each statement and may raise, or do it itself."""

    real: sqlite3.Connection
    fault: Callable[[sqlite3.Connection, str], None]

    def execute(self, statement: str, *parameters: Any) -> Any:
        self.fault(self.real, statement)
        return self.real.execute(statement, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@define(eq=False)
class FaultyFolder:
    """A real folder whose database connections fail as told."""

    real: RealFolder
    faults: dict[str, Callable[[sqlite3.Connection], None]]
    opened: int = 0

    def database(self, name: str) -> Any:
        self.opened += 1
        return Connection(self.real.database(name), self.fault)

    def fault(self, database: sqlite3.Connection, statement: str) -> None:
        for beginning, fault in list(self.faults.items()):
            if statement.startswith(beginning):
                fault(database)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def disk_error(_: sqlite3.Connection) -> None:
    raise sqlite3.OperationalError("disk I/O error")


def committed_and_lost(database: sqlite3.Connection) -> None:
    database.execute("COMMIT")
    raise sqlite3.OperationalError("disk I/O error")


class DiskTroubleTests(EmbeddedSuite):
    """Errors of the disk in the middle of things."""

    def setUp(self) -> None:
        super().setUp()
        self.faults: dict[str, Callable[[sqlite3.Connection], None]] = {}
        self.folder = FaultyFolder(open_folder(self.path), self.faults)
        self.store = self.start(self.folder)  # type: ignore[arg-type]

    def commit_and_lose_once(self, database: sqlite3.Connection) -> None:
        self.faults.clear()
        committed_and_lost(database)

    def last(self) -> int:
        return self.successResultOf(self.store.append([look(1)]))[0].last

    def test_statement_that_fails(self) -> None:
        """A call that fails in the middle leaves nothing; the store goes on."""
        self.faults["SELECT last_id"] = disk_error
        error = self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable).value
        self.assertIn(self.path, str(error))
        self.faults.clear()
        self.assertEqual(self.last(), 0)
        self.assertTrue(self.successResultOf(self.store.append([batch(1)]))[0].appended)

    def test_commit_that_fails(self) -> None:
        """A commit that was not done is as if it had not been asked for."""
        self.faults["COMMIT"] = disk_error
        self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable)
        self.faults.clear()
        self.assertEqual((self.last(), self.store.log_bytes), (0, 0))

    def test_commit_that_was_done_all_the_same(self) -> None:
        """A commit whose success did not come through is found out: what it appended is read, and counted."""
        reading = self.store.read({V: 0}, 1000, 60)
        self.faults["COMMIT"] = self.commit_and_lose_once
        self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable)
        self.assertEqual([entry.body for entry in self.successResultOf(reading)], [batch(1).body])
        self.assertEqual(self.store.log_bytes, len(batch(1).body or b""))
        self.assertEqual([depth.entries for depth in self.successResultOf(self.store.depth())], [1])
        self.assertEqual(self.successResultOf(self.store.append([batch(1)]))[0].verdict, Verdict.OK)

    def test_what_is_in_doubt_stays_in_doubt_while_the_disk_fails(self) -> None:
        """Until the database answers again nobody is told how much waits in the logs."""

        def lost_for_good(database: sqlite3.Connection) -> None:
            self.faults["BEGIN"] = disk_error
            committed_and_lost(database)

        self.faults["COMMIT"] = lost_for_good
        self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable)
        self.failureResultOf(self.store.read({V: 0}, 1000, 60), StoreUnavailable)
        self.failureResultOf(self.store.depth(), StoreUnavailable)
        self.faults.clear()
        self.assertEqual([depth.entries for depth in self.successResultOf(self.store.depth())], [1])
        self.assertEqual(len(self.successResultOf(self.store.read({V: 0}, 1000, 0))), 1)

    def test_rollback_that_fails(self) -> None:
        """A connection that cannot roll back is given up for another one, and nothing of it is left."""
        opened = self.folder.opened
        self.faults.update({"COMMIT": disk_error, "ROLLBACK": disk_error})
        self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable)
        self.faults.clear()
        self.assertTrue(self.successResultOf(self.store.append([batch(1)]))[0].appended)
        self.assertGreater(self.folder.opened, opened)

    def test_folder_that_goes_away(self) -> None:
        """While the folder cannot be reached every call fails; when it is back, it works."""
        self.faults.update({"COMMIT": disk_error, "ROLLBACK": disk_error, "PRAGMA": disk_error})
        for _ in range(3):
            self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable)
        self.faults.clear()
        self.assertTrue(self.successResultOf(self.store.append([batch(1)]))[0].appended)

    def test_query_that_fails(self) -> None:
        """A reader's error ends the query, and the next one works."""
        self.put(self.store, types={"tab": "Gauge"}, states={("tab", "c"): b"1"})
        self.faults["SELECT coalesce(client"] = disk_error
        self.failureResultOf(self.store.each_state(selection(), lambda page: None), StoreUnavailable)
        self.faults.clear()
        self.successResultOf(self.store.each_state(selection(), lambda page: None))

    def test_list_of_checkpoints_that_fails(self) -> None:
        """When the transaction fails, none of its checkpoints is written, and each can be written again."""
        checkpoints = [self.checkpoint(self.store, v, states={("tab", "c"): b"1"}) for v in (V, W)]
        self.faults["COMMIT"] = disk_error
        self.failureResultOf(self.store.checkpoint(checkpoints), StoreUnavailable)
        self.faults.clear()
        self.assertEqual(self.successResultOf(self.store.clients(None)), set())
        self.assertEqual(self.successResultOf(self.store.checkpoint(checkpoints)), [Written.DONE] * 2)

    def test_epoch_that_is_not_written(self) -> None:
        """A grant that could not be made durable is not given; the next one is above it."""
        self.faults["COMMIT"] = disk_error
        self.failureResultOf(self.store.acquire([V], "be-1", 10), StoreUnavailable)
        self.faults.clear()
        self.assertEqual(self.successResultOf(self.store.acquire([V], "be-1", 10))[V].epoch, 2)

    def test_values_that_have_no_place(self) -> None:
        """A number beyond 64 bits is the caller's error; nothing of its call is kept, and the store goes on."""
        self.failureResultOf(self.store.append([batch(1), batch(1, vbucket=W, before=1 << 70)]), OverflowError)
        self.assertEqual(self.last(), 0)
        self.assertTrue(self.successResultOf(self.store.append([batch(1)]))[0].appended)


class FullDiskTests(SynchronousTestCase):
    """A simulated disk that is full, read-only, or in somebody else's hands."""

    def setUp(self) -> None:
        self.disk = MemoryDisk(Random(1))
        self.addCleanup(self.disk.close)
        self.store: EmbeddedStore = started(Surroundings().embedded(self.disk.folder()))
        self.addCleanup(self.store.stopService)

    def test_full_disk(self) -> None:
        """A full disk is named as such; nothing of a call is kept, and the store works again when there is room."""
        self.disk.fill()
        batches = [batch(1), batch(1, vbucket=W, body=bytes(100_000))]
        error = self.failureResultOf(self.store.append(batches), StoreUnavailable).value
        self.assertIn("is full", str(error))
        self.disk.fill(False)
        self.assertEqual(
            [o.last for o in self.successResultOf(self.store.append([look(1), look(1, vbucket=W)]))], [0, 0]
        )
        self.assertEqual(self.store.log_bytes, 0)
        self.assertTrue(all(outcome.appended for outcome in self.successResultOf(self.store.append(batches))))

    def test_name_of_the_database_is_made_durable(self) -> None:
        """A store whose new database might not be found after a power cut does not start."""
        disk = MemoryDisk(Random(1))
        disk.fail_next_sync(".")
        store = Surroundings().embedded(disk.folder())
        error = self.failureResultOf(store.startService(), StartError).value
        self.assertIn("cannot be opened", str(error))
        disk.close()

    def test_read_only_disk(self) -> None:
        """A disk that became read-only is named as such; queries go on."""
        self.disk.read_only()
        error = self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable).value
        self.assertIn("cannot be written", str(error))
        self.assertEqual(self.successResultOf(self.store.tabs()), {})
        self.disk.read_only(False)
        self.assertTrue(self.successResultOf(self.store.append([batch(1)]))[0].appended)

    def test_database_in_use(self) -> None:
        """Another program that holds the database is named as such."""
        other = self.disk.folder().database(DATABASE)
        other.execute("BEGIN IMMEDIATE")
        error = self.failureResultOf(self.store.append([batch(1)]), StoreUnavailable).value
        self.assertIn("another program", str(error))
        other.execute("ROLLBACK")
        self.assertTrue(self.successResultOf(self.store.append([batch(1)]))[0].appended)


class SentenceTests(SynchronousTestCase):
    """What is said of errors."""

    def test_sentences(self) -> None:
        """Each kind of error has its sentence, with the folder, the remedy and SQLite's own words."""
        for code, words in (
            (sqlite3.SQLITE_FULL, "make room"),
            (sqlite3.SQLITE_READONLY, "writable"),
            (sqlite3.SQLITE_BUSY, "close it"),
            (sqlite3.SQLITE_LOCKED, "close it"),
            (sqlite3.SQLITE_CORRUPT, "backup"),
            (sqlite3.SQLITE_NOTADB, "backup"),
            (sqlite3.SQLITE_CANTOPEN, "permissions"),
            (sqlite3.SQLITE_IOERR, "system's log"),
            (sqlite3.SQLITE_IOERR_FSYNC, "system's log"),
            (sqlite3.SQLITE_ERROR, "failed"),
            (None, "failed"),
        ):
            error = sqlite3.OperationalError("its own words")
            error.sqlite_errorcode = code  # type: ignore[assignment]
            text = explain(error, "/the/folder")
            for part in ("/the/folder", words, "its own words"):
                self.assertIn(part, text)
        self.assertIn("no such place", explain(OSError("no such place"), "/the/folder"))


class ContentTests(EmbeddedSuite):
    """What is in the database, and what is not any more."""

    def test_nothing_is_left_of_what_was_deleted(self) -> None:
        """When all States and tabs are deleted, their names are gone, too."""
        store = self.start()
        names = {("a", "c1"): b"1", ("a", "c2"): b"1", ("b", "c1"): b"1", ("b", " "): b"1"}
        self.put(store, states=names, aggregates={"a": b"1"}, types={"a": "Gauge", "b": "Buffer"})
        self.put(store, states=dict.fromkeys(names), aggregates={"a": None}, types={"a": None, "b": None})
        for table in ("tabs", "clients", "states", "aggregates"):
            self.assertEqual(self.rows(f"SELECT count(*) FROM {table}"), [(0,)], table)

    def test_tab_stays_while_anything_is_kept_under_it(self) -> None:
        """A State, an Aggregate or a Type keeps its tab's name."""
        store = self.start()
        self.put(store, states={("a", "c"): b"1"}, aggregates={"b": b"1"}, types={"a": "x", "b": "y", "c": "z"})
        self.put(store, types={"a": None, "b": None})
        self.assertEqual(self.rows("SELECT tab, type FROM tabs ORDER BY tab"), [("a", None), ("b", None), ("c", "z")])
        self.put(store, states={("a", "c"): None}, aggregates={"b": None})
        self.assertEqual(self.rows("SELECT tab FROM tabs"), [("c",)])

    def test_clients_are_counted(self) -> None:
        """The count of each client's States follows every write, over and over."""
        store = self.start()
        random = Random(1)
        kept: set[tuple[str, str]] = set()
        for _ in range(30):
            states: dict[tuple[str, str], bytes | None] = {}
            for _ in range(10):
                name = random.choice("abcd"), random.choice(["c1", "c2", "c3", " "])
                states[name] = random.choice([b"1", None])
            kept = (kept | set(states)) - {name for name, state in states.items() if state is None}
            self.put(store, states=states)
            counts = {client: sum(name[1] == client for name in kept) for _, client in kept if client != " "}
            self.assertEqual(dict(self.rows("SELECT client, tabs FROM clients")), counts)

    def test_log_is_empty_after_everything_is_folded(self) -> None:
        """Folded entries take no room in the table, and the counts say so."""
        store = self.start()
        self.successResultOf(store.append([batch(1), batch(2), batch(1, vbucket=W)]))
        self.assertGreater(store.log_bytes, 0)
        self.put(store, V, folded=2)
        self.put(store, W, folded=1)
        self.assertEqual(self.rows("SELECT count(*) FROM log"), [(0,)])
        self.assertEqual(self.rows("SELECT sum(log_bytes) FROM vbuckets"), [(0,)])
        self.assertEqual(store.log_bytes, 0)

    def test_log_bytes_after_a_restart(self) -> None:
        """How much waits is known from the start."""
        store = self.start()
        self.successResultOf(store.append([batch(1), batch(2), batch(3)]))
        self.put(store, folded=1)
        before = store.log_bytes, self.successResultOf(store.depth())
        self.stop(store)
        store = self.start()
        self.assertEqual((store.log_bytes, self.successResultOf(store.depth())), before)

    def test_lanes_take_little_room(self) -> None:
        """A lane takes less than the 110 bytes that operators are told to plan with."""
        store = self.start()
        for number in range(50):
            lane = f"{number:032x}"
            self.successResultOf(store.append([batch(1, lane=lane, vbucket=v) for v in range(VBUCKETS)]))
        self.stop(store)
        try:
            ((pages,),) = self.rows("SELECT count(*) FROM dbstat WHERE name = 'lanes'")
        except sqlite3.OperationalError:
            raise SkipTest("this SQLite cannot tell what a table takes")
        self.assertLess(pages * 4096 / (50 * VBUCKETS), 110)

    def test_prune_goes_through_all_lanes_in_pieces(self) -> None:
        """Pieces of any size find the same idle lanes, each once."""
        database = sqlite3.connect(":memory:", isolation_level=None)
        schema.establish(database, "", VBUCKETS, lambda: A)
        for rows in (1, 2, 3, 7, 8, 100):
            database.executemany(
                "INSERT INTO lanes VALUES (?, ?, 1, 1, 1, ?)",
                [(bytes([lane]) * 16, v, float(lane % 2)) for lane in range(5) for v in range(4)],
            )
            pruned, pieces = 0, 0
            at: log_rows.Cursor | None = log_rows.FIRST_LANE
            while at is not None:
                gone, at = log_rows.prune_lanes(database, at, rows, 10.5, 10.0)
                pruned, pieces = pruned + gone, pieces + 1
            self.assertEqual(pruned, 12)
            self.assertGreaterEqual(pieces, 20 // rows)
            self.assertEqual(database.execute("SELECT count(*) FROM lanes WHERE touched < 0.5").fetchall(), [(0,)])
            database.execute("DELETE FROM lanes")
        database.close()

    def test_prune_of_many_lanes(self) -> None:
        """Many lanes are pruned in several transactions, and counted together."""
        store = self.start()
        self.stop(store)
        database = sqlite3.connect(os.path.join(self.path, DATABASE))
        database.executemany(
            "INSERT INTO lanes VALUES (?, ?, 1, 1, 1, ?)",
            [(lane.to_bytes(16, "big"), 1, START - lane) for lane in range(25_000)],
        )
        database.commit()
        database.close()
        store = self.start()
        now = START + DEDUP_DAYS * DAY - 10_000
        self.assertEqual(self.successResultOf(store.prune(now)), 15_000)
        self.assertEqual(self.rows("SELECT count(*) FROM lanes"), [(10_000,)])

    def test_more_tabs_than_are_looked_up_at_a_time(self) -> None:
        """Queries over thousands of tabs are complete and in order, whether the tabs are named or not."""
        store = self.start()
        names = [f"tab {number}" for number in range(1100)]
        self.put(store, states={(name, "c"): b"1" for name in names}, aggregates=dict.fromkeys(names, b"1"))
        for selected in (selection(), selection({*names, "unknown"})):
            rows: list[StateRow] = []
            self.successResultOf(store.each_state(selected, rows.extend))
            self.assertEqual([row.tab for row in rows], sorted(names))
            self.assertEqual(self.successResultOf(store.clients(selected.tabs)), {"c"})

    def test_set_aside_partials_beyond_all_bounds(self) -> None:
        """A Partial that is larger than the bound is not kept, and throws out the rest."""
        store = self.start()
        self.put(store, set_aside=[partial(1), partial(2, 100_000)])
        self.assertEqual(self.successResultOf(store.aside(10)), [])


class CallTests(EmbeddedSuite):
    """Odd calls."""

    def test_vbuckets_that_do_not_exist(self) -> None:
        """A vbucket beyond NUM_VBUCKETS is not here, and has nothing to read."""
        store = self.start()
        lease = Lease(VBUCKETS, "be-1", 1)
        for call in (store.load(lease), store.states(VBUCKETS, []), store.aggregates(-1, [])):
            self.failureResultOf(call, NotHere)
        self.assertEqual(self.successResultOf(store.read({VBUCKETS: 0}, 1000, 0)), [])
        checkpoint = Checkpoint(lease, store.cluster.lineage, Position(0, 0), Position(0, 1))
        self.assertEqual(self.successResultOf(store.checkpoint([checkpoint])), [Written.FENCED])

    def test_checkpoint_beyond_the_log(self) -> None:
        """A position that the log has not reached is stale: what comes under those ids would not be folded."""
        store = self.start()
        self.successResultOf(store.append([batch(1)]))
        checkpoint = self.checkpoint(store, folded=2)
        self.assertEqual(self.successResultOf(store.checkpoint([checkpoint])), [Written.STALE])
        good = evolve(checkpoint, position=Position(1, 1))
        self.assertEqual(self.successResultOf(store.checkpoint([good])), [Written.DONE])

    def test_read_beyond_the_log(self) -> None:
        """A reader whose id the log has not reached, as after a rollback, waits."""
        store = self.start()
        reading = store.read({V: 5}, 1000, 60)
        self.successResultOf(store.append([batch(1)]))
        self.assertNoResult(reading)
        reading.cancel()
        self.failureResultOf(reading, CancelledError)

    def test_append_whose_caller_went_away(self) -> None:
        """An append that is cancelled while it is under way is done all the same, and read."""
        writer = QueuedWorker()
        store = self.surroundings.embedded(open_folder(self.path), writer=writer)
        store.startService()
        writer.finish()
        reading = store.read({V: 0}, 1000, 60)
        appending = store.append([batch(1)])
        appending.cancel()
        self.failureResultOf(appending, CancelledError)
        writer.finish()
        self.assertEqual([entry.body for entry in self.successResultOf(reading)], [batch(1).body])
        store.stopService()
        writer.finish()

    def test_lease_outlives_a_slow_disk(self) -> None:
        """A checkpoint that was asked for in time is written, and its lease is held on, however slow the disk is."""
        writer = QueuedWorker()
        store = self.surroundings.embedded(open_folder(self.path), writer=writer)
        store.startService()
        writer.finish()
        acquiring = store.acquire([V], "be-1", 2.0)
        writer.finish()
        lease = self.successResultOf(acquiring)[V]
        checkpoint = Checkpoint(lease, store.cluster.lineage, Position(0, 0), Position(0, 1))
        writing = store.checkpoint([checkpoint])
        self.surroundings.clock.advance(5)
        writer.finish()
        self.assertEqual(self.successResultOf(writing), [Written.DONE])
        self.assertEqual(self.successResultOf(store.renew([lease], 2.0)), {V})
        store.stopService()
        writer.finish()

    def test_successor_loads_what_its_predecessor_wrote_last(self) -> None:
        """A checkpoint that was asked for before its lease went to another is in what the other loads."""
        writer = QueuedWorker()
        store = self.surroundings.embedded(open_folder(self.path), writer=writer)
        store.startService()
        writer.finish()
        acquiring = store.acquire([V], "be-1", 2.0)
        writer.finish()
        checkpoint = Checkpoint(
            self.successResultOf(acquiring)[V], store.cluster.lineage, Position(0, 0), Position(0, 1)
        )
        writing = store.checkpoint([checkpoint])
        self.surroundings.clock.advance(5)
        acquiring = store.acquire([V], "be-2", 2.0)
        late = store.checkpoint([evolve(checkpoint, expected=Position(0, 1), position=Position(0, 2))])
        writer.finish()
        self.assertEqual(self.successResultOf(writing), [Written.DONE])
        self.assertEqual(self.successResultOf(late), [Written.FENCED])
        loaded = self.successResultOf(store.load(self.successResultOf(acquiring)[V]))
        self.assertEqual(loaded.position, Position(0, 1))
        store.stopService()
        writer.finish()
