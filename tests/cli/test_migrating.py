"""`migrate` as a user meets it, but for the move itself: tests/store/redis and tests/redis have that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from taba.cli import migrating
from taba.cli.migrating import migration_on
from taba.errors import StoreUnavailable
from taba.settings import DatabaseSettings
from taba.store.exporting import open_export
from taba.store.folder import open_folder
from taba.store.redis.keys import Keys
from taba.store.redis.migrating import Progress
from taba.store.redis.opening import Parts
from taba.store.redis.shard_map import ShardRange, shard_map
from tests.cli.cli_case import AnswersCase
from tests.contracts.store_harness import VBUCKETS
from tests.store.filled import filled, now
from tests.store.harnesses import Surroundings
from tests.store.redis.stage import Stage


class MigrateCase(AnswersCase):
    def setUp(self) -> None:
        super().setUp()
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.data = self.base / "data"
        self.store = filled(Surroundings(), str(self.data))
        now(self.store.stopService())
        self.settings = self.base / "settings.json"
        self.write(REDIS_URL="redis://127.0.0.1:1", NUM_VBUCKETS=VBUCKETS)
        self.moved: list[bool] = []
        self.outcome: Any = Progress("comparing", VBUCKETS, VBUCKETS, 1600, 123_456)

    def write(self, **database: Any) -> None:
        self.settings.write_text(json.dumps({"DB_SETTINGS": database}))

    def move(self, session: Any, export: Any, database: Any, dry_run: bool) -> Any:
        """Stands in for Redis."""
        self.moved.append(dry_run)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def migrate(self, *more: str, code: int = 0, **given: Any) -> str:
        self.patch(migrating, "_on_redis", self.move)
        result = self.run_cli("migrate", "--from", str(self.data), "--to", str(self.settings), *more, **given)
        self.assertEqual(result.exit_code, code, result.output)
        return result.output


class CommandTests(MigrateCase):
    def test_move(self) -> None:
        """It says what there is, asks back, and then what was moved and what to do next."""
        said = self.migrate(typed="y\n")
        self.assertIn(f"cluster {self.store.cluster.id}, {VBUCKETS} vbuckets, 5 tabs, 1504 States", said)
        self.assertIn("1600 values, 120.6 KiB, were read back and are the same", said)
        self.assertEqual(self.moved, [False])

    def test_asks_back(self) -> None:
        """Anything but yes changes nothing, and the folder is free again."""
        self.migrate(typed="n\n", code=1)
        self.assertEqual(self.moved, [])
        open_folder(str(self.data)).lock()

    def test_dry_run(self) -> None:
        """A dry run asks nothing, writes nothing, and says whether it can be done."""
        self.outcome = 3
        said = self.migrate("--dry-run")
        self.assertEqual(self.moved, [True])
        self.assertIn("copied 3 vbuckets", said)
        self.assertIn("Nothing was written", said)

    def test_json(self) -> None:
        """For programs the counts, and what was compared."""
        facts = json.loads(self.migrate("--yes", "--json"))
        self.assertEqual((facts["store"]["states"], facts["compared"]), (1504, 1600))

    def test_trouble(self) -> None:
        """Whatever ends it is told, with the exit code of what cannot be used."""
        self.outcome = StoreUnavailable("shard shard1: it is gone")
        self.assertIn("taba-cli: shard shard1: it is gone", self.migrate("--yes", code=5))

    def test_in_use(self) -> None:
        """A folder that a server uses is refused."""
        folder = open_folder(str(self.data))
        folder.lock()
        self.assertIn("in use by another Taba process", self.migrate("--yes", code=5))
        folder.unlock()

    def test_settings_without_redis(self) -> None:
        """Settings that name no Redis, that are wrong, or that are not there, are told before anything is opened."""
        self.write(NUM_VBUCKETS=VBUCKETS)
        self.assertIn("no Redis in its DB_SETTINGS", self.migrate("--yes", code=5))
        self.settings.write_text("{")
        self.migrate("--yes", code=5)
        self.settings.unlink()
        self.migrate("--yes", code=5)
        self.assertEqual(self.moved, [])

    def test_no_folder(self) -> None:
        """A folder that is not there is told, and not made."""
        self.data = self.base / "nothing"
        self.assertIn("no folder", self.migrate("--yes", code=5))
        self.assertFalse(self.data.exists())

    def test_usage(self) -> None:
        """Without settings it is wrong usage."""
        self.assertEqual(self.run_cli("migrate").exit_code, 2)


class OnShardsTests(MigrateCase):
    """With shards in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.stage = Stage(shards=2, marked=False, opened=False)
        self.addCleanup(self.stage.close)
        self.told: list[Progress] = []

    def on_shards(self, dry_run: bool) -> Any:
        chart = shard_map(VBUCKETS, [ShardRange("shard1", 0, 3), ShardRange("shard2", 4, 7)])
        parts = Parts(self.stage.shards, chart, Keys("t:"), None)
        export = open_export(open_folder(str(self.data)))
        clock = self.stage.process.reactor
        work = migration_on(parts, DatabaseSettings(), export, dry_run, self.told.append, clock)
        try:
            return self.stage.get(Deferred.fromCoroutine(work), 60.0)
        finally:
            export.close()

    def test_dry_run_then_move(self) -> None:
        """The connections are opened and closed; a dry run tells how far an earlier run came."""
        self.assertEqual(self.on_shards(True), 0)
        self.assertTrue(all(not shard.running for shard in self.stage.shards.values()))
        self.assertEqual(self.on_shards(False).done, VBUCKETS)
        self.assertEqual({each.stage for each in self.told}, {"copying", "comparing"})

    def test_redis_away(self) -> None:
        """A shard that is not there is told, after a while."""
        self.stage.servers["shard2"].kill()
        with self.assertRaises(StoreUnavailable) as caught:
            self.on_shards(False)
        self.assertIn("shard2", str(caught.exception))
