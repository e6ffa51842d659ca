"""Backups of a store that runs, and restoring into one that does not."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from pathlib import Path

from taba.cli import copying
from taba.cli.copying import CopyError, back_up, put_back
from taba.interfaces import Verdict
from taba.store.embedded import EmbeddedStore
from taba.store.folder import open_folder
from taba.store.transactions import DATABASE
from tests.cli.cli_case import AnswersCase
from tests.contracts.store_harness import batch
from tests.store.filled import BUSY, appended, contents, filled, now, put
from tests.store.harnesses import Surroundings


class BackupCase(AnswersCase):
    """A filled store in a folder, that runs."""

    def setUp(self) -> None:
        super().setUp()
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.data, self.file = self.base / "data", self.base / "copy.db"
        self.surroundings = Surroundings()
        self.store = filled(self.surroundings, str(self.data))
        self.addCleanup(lambda: self.store.stopService())

    def start(self, path: Path) -> EmbeddedStore:
        """Another start of a store, on a folder."""
        self.store = self.surroundings.embedded(open_folder(str(path)))
        now(self.store.startService())
        return self.store

    def backup(self, *more: str) -> str:
        result = self.run_cli("backup", str(self.file), "--data-dir", str(self.data), *more)
        self.assertEqual((result.exit_code, result.stderr), (0, ""), result.output)
        return result.stdout


class BackupTests(BackupCase):
    def test_while_it_runs(self) -> None:
        """The backup has what the store has, while the store runs and goes on."""
        before = contents(self.store)
        said = self.backup()
        self.assertIn(f"cluster {self.store.cluster.id}, 5 tabs, 1504 States, 20 events", said)
        self.assertIn("it is whole", said)
        appended(self.store, batch(4, vbucket=BUSY))
        now(self.store.stopService())
        self.assertEqual(self.run_cli("restore", str(self.file), "-d", str(self.base / "new"), "--yes").exit_code, 0)
        self.assertEqual(contents(self.start(self.base / "new")), before)

    def test_file(self) -> None:
        """It is one file that only its owner may read, and nothing is left beside it."""
        self.backup()
        self.assertEqual(sorted(os.listdir(self.base)), ["copy.db", "data"])
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertTrue({path.name for path in self.data.iterdir()} >= {DATABASE, "lock"})

    def test_one_moment(self) -> None:
        """What is written while it copies is not in it, and does not make it begin again."""
        before = contents(self.store)
        told: list[tuple[int, int]] = []
        pages = copying.PAGES
        self.addCleanup(setattr, copying, "PAGES", pages)
        copying.PAGES = 10

        def write(done: int, of: int) -> None:
            told.append((done, of))
            put(self.store, BUSY, states={("tab", "client0001"): b"later %d" % len(told)})

        back_up(self.data, self.file, write)
        self.assertEqual([done for done, _ in told], sorted({done for done, _ in told}), "it did not begin again")
        self.assertGreater(len(told), 3)
        now(self.store.stopService())
        self.run_cli("restore", str(self.file), "-d", str(self.base / "new"), "--yes")
        self.assertEqual(contents(self.start(self.base / "new"))["states"], before["states"])

    def test_json(self) -> None:
        """For programs what it holds."""
        facts = json.loads(self.backup("--json"))
        self.assertEqual((facts["tabs"], facts["states"], facts["events_in_logs"]), (5, 1504, 20))

    def test_not_over_another_file(self) -> None:
        """A file that is there is replaced only with --force."""
        self.file.write_text("precious")
        result = self.run_cli("backup", str(self.file), "--data-dir", str(self.data))
        self.assertEqual((result.exit_code, self.file.read_text()), (5, "precious"))
        self.assertIn("--force", result.stderr)
        self.backup("--force")

    def test_nothing_to_copy(self) -> None:
        """A folder without a store, a file that is none, and a place that cannot be written are told; nothing stays."""
        empty = self.base / "empty"
        empty.mkdir()
        result = self.run_cli("backup", str(self.file), "--data-dir", str(empty))
        self.assertEqual(result.exit_code, 5)
        self.assertIn("--data-dir", result.stderr)
        (empty / DATABASE).write_bytes(b"no database at all" * 500)
        self.assertEqual(self.run_cli("backup", str(self.file), "--data-dir", str(empty)).exit_code, 5)
        nowhere = self.base / "nowhere" / "copy.db"
        result = self.run_cli("backup", str(nowhere), "--data-dir", str(self.data))
        self.assertEqual(result.exit_code, 5)
        self.assertIn("cannot be written", result.stderr)
        self.assertFalse(self.file.exists())


class RestoreTests(BackupCase):
    def setUp(self) -> None:
        super().setUp()
        self.before = contents(self.store)
        self.backup()
        self.lineage = self.store.cluster.lineage
        appended(self.store, batch(4, vbucket=BUSY), batch(5, vbucket=BUSY))
        put(self.store, BUSY, 6, states={("tab", "client0001"): None})
        self.after = contents(self.store)

    def restore(self, *more: str, typed: str | None = None, code: int = 0) -> str:
        result = self.run_cli("restore", str(self.file), "--data-dir", str(self.data), *more, typed=typed)
        self.assertEqual(result.exit_code, code, result.output)
        return result.output

    def test_restore(self) -> None:
        """The store is as it was; the one that was there is kept."""
        now(self.store.stopService())
        said = self.restore(typed="y\n")
        self.assertIn("What came after the backup is lost, unless agents still hold it", said)
        self.assertEqual(contents(self.start(self.data)), self.before)
        now(self.store.stopService())
        kept = self.data / f"{DATABASE}.replaced-1"
        self.assertIn(str(kept), said)
        other = self.base / "other"
        other.mkdir()
        os.rename(kept, other / DATABASE)
        self.assertEqual(contents(self.start(other)), self.after)

    def test_lineage(self) -> None:
        """Agents see another lineage, and a gap where the backup ends: they send again what they still hold."""
        now(self.store.stopService())
        self.restore("--yes")
        store = self.start(self.data)
        self.assertNotEqual(store.cluster.lineage, self.lineage)
        (gap,) = now(store.append([batch(5, vbucket=BUSY)]))
        self.assertEqual((gap.verdict, gap.last), (Verdict.GAP, 3))
        outcomes = now(store.append([batch(4, vbucket=BUSY), batch(5, vbucket=BUSY)]))
        self.assertEqual([(each.verdict, each.appended) for each in outcomes], [(Verdict.OK, True)] * 2)

    def test_what_nobody_holds(self) -> None:
        """What no agent holds any more is counted as lost."""
        now(self.store.stopService())
        self.restore("--yes")
        store = self.start(self.data)
        appended(store, batch(6, vbucket=BUSY, after=3))
        self.assertEqual(now(store.ledger())["lost"], 5 + 20)

    def test_in_use(self) -> None:
        """While a server uses the folder nothing is restored."""
        self.assertIn("Stop the server", self.restore("--yes", code=5))
        self.assertEqual(contents(self.store), self.after)

    def test_asks_back(self) -> None:
        """Anything but yes changes nothing, and the folder is free again."""
        now(self.store.stopService())
        self.assertIn("nothing was changed", self.restore(typed="n\n", code=1))
        self.assertEqual(contents(self.start(self.data)), self.after)

    def test_damaged_backup(self) -> None:
        """A backup that is damaged, or none, is refused before anything is asked."""
        now(self.store.stopService())
        whole = self.file.read_bytes()
        self.file.write_bytes(whole[: 8 * 4096] + b"\x55" * 4096 * 4 + whole[12 * 4096 :])
        for content in (self.file.read_bytes(), b"hello" * 1000):
            self.file.write_bytes(content)
            said = self.restore("--yes", code=5)
            self.assertIn(f"the backup {self.file} is damaged", said)
            self.assertIn("Use another copy of it, or another backup.", said)
            self.assertNotIn("restore the folder", said)
        self.file.write_bytes(b"hello")
        self.restore("--yes", code=5)
        self.file.unlink()
        self.assertIn("no file", self.restore("--yes", code=5))
        self.assertEqual(contents(self.start(self.data)), self.after)

    def test_another_programs_database(self) -> None:
        """Another program's database is no backup of ours; nor is one of a newer version."""
        now(self.store.stopService())
        with sqlite3.connect(self.file) as database:
            database.execute("PRAGMA user_version = 999")
        database.close()
        self.assertIn("newer version", self.restore("--yes", code=5))
        self.file.unlink()
        with sqlite3.connect(self.file) as database:
            database.execute("CREATE TABLE t (x)")
        database.close()
        self.assertIn("no store of Taba", self.restore("--yes", code=5))

    def test_over_a_damaged_store(self) -> None:
        """A store that is damaged, with a write-ahead log beside it, is replaced, and its log does not get into the
        one of the backup.
        """
        now(self.store.stopService())
        (self.data / DATABASE).write_bytes(b"damaged" * 5000)
        (self.data / f"{DATABASE}-wal").write_bytes(b"\x37\x7f\x06\x82" + b"leftover" * 100)
        self.assertIn("cannot be read", self.restore(typed="y\n"))
        self.assertEqual(contents(self.start(self.data)), self.before)

    def test_another_cluster(self) -> None:
        """That the backup is of another cluster is said before."""
        now(self.store.stopService())
        other = filled(self.surroundings, str(self.base / "second"))
        now(other.stopService())
        result = self.run_cli("restore", str(self.file), "-d", str(self.base / "second"), typed="n\n")
        self.assertIn("ANOTHER CLUSTER", result.output)

    def test_write_ahead_log_that_was_left(self) -> None:
        """What a killed server left in its write-ahead log stays with its own store."""
        shot = {name: (self.data / name).read_bytes() for name in (DATABASE, f"{DATABASE}-wal")}
        now(self.store.stopService())
        for name, content in shot.items():
            (self.data / name).write_bytes(content)
        self.restore("--yes")
        self.assertEqual(contents(self.start(self.data)), self.before)
        now(self.store.stopService())
        other = self.base / "other"
        other.mkdir()
        os.rename(self.data / f"{DATABASE}.replaced-1", other / DATABASE)
        self.assertEqual(contents(self.start(other)), self.after)

    def test_full_disk(self) -> None:
        """When the copy cannot be made the folder keeps what it had."""
        now(self.store.stopService())
        folder = open_folder(str(self.data))
        folder.lock()

        def full(done: int, pages: int) -> None:
            raise OSError(28, "No space left on device", str(self.data))

        self.assertIn("No space left", str(self.assertRaises(CopyError, put_back, self.file, folder, full)))
        folder.unlock()
        self.assertNotIn(f"{DATABASE}.restoring", os.listdir(self.data))
        self.assertEqual(contents(self.start(self.data)), self.after)

    def test_json(self) -> None:
        """For programs where the former store is."""
        now(self.store.stopService())
        result = self.run_cli("restore", str(self.file), "--data-dir", str(self.data), "--yes", "--json")
        self.assertEqual(json.loads(result.stdout)["kept"], str(self.data / f"{DATABASE}.replaced-1"))
