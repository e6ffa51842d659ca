"""An embedded store moves to shards in memory: with everything, once, and with nothing half done visible."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StartError, StoreUnavailable
from taba.interfaces import Verdict
from taba.store.exporting import Export, open_export
from taba.store.folder import open_folder
from taba.store.redis.migrating import Differs, Migration, Progress
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import ShardRange, shard_map
from taba.store.redis.store import RedisStore
from taba.testing.machine import machine_of
from tests.contracts.store_harness import VBUCKETS, A, batch, look
from tests.store.filled import BUSY, PLAIN, QUIET, contents, filled, now, put
from tests.store.harnesses import Surroundings
from tests.store.redis.stage import Stage

SLOW = 60.0


class MigrationCase(SynchronousTestCase):
    """A filled store in a folder, and two empty shards."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.surroundings = Surroundings()
        store = filled(self.surroundings, self.path)
        self.before = contents(store)
        now(store.stopService())
        self.stage = Stage(shards=2, marked=False)
        self.addCleanup(self.stage.close)
        self.told: list[Progress] = []

    def export(self) -> Export:
        export = open_export(open_folder(self.path))
        self.addCleanup(export.close)
        return export

    def migration(self, export: Export | None = None) -> Migration:
        stage = self.stage
        return Migration(export or self.export(), stage.shards, stage.map, stage.keys, None, self.told.append)

    def run_migration(self, export: Export | None = None) -> Progress:
        progress: Progress = self.stage.get(self.migration(export).run(), SLOW)
        return progress

    def store(self) -> RedisStore:
        """A server's store on the shards, started, or being started."""
        process = machine_of(self.stage.world.node(f"server-{len(self.stage.world.nodes)}").start())
        shards = {
            name: Shard(name, process, source=self.stage.witnesses[name]) for name in self.stage.witnesses
        }
        store = RedisStore(process, shards, self.stage.map, self.stage.keys)
        self.stage.world.result_of(store.startService())
        self.addCleanup(lambda: self.stage.world.result_of(store.stopService()))
        return store

    def get(self, deferred: Any) -> Any:
        return self.stage.get(deferred, SLOW)

    def marker(self, vbucket: int) -> Any:
        server = self.stage.servers[self.stage.map.shard_of(vbucket)]
        return server.ask("GET", self.stage.keys.of("O", vbucket))


class MoveTests(MigrationCase):
    def test_exact(self) -> None:
        """A server on Redis finds everything that the one on the folder had: also logs, ids, and what is set aside."""
        progress = self.run_migration()
        self.assertEqual(progress.stage, "comparing")
        self.assertGreater(progress.values, 1500)
        self.assertEqual(contents(self.store(), self.get), self.before)

    def test_goes_on(self) -> None:
        """Lanes go on with their numbers, logs with theirs, positions and epochs with theirs."""
        self.run_migration()
        store = self.store()
        (known, gap, next_one, quiet) = self.get(store.append([
            batch(3, vbucket=BUSY), batch(5, vbucket=BUSY, after=4), batch(4, vbucket=BUSY),
            batch(6, vbucket=QUIET, before=35, after=5),
        ]))  # fmt: skip
        self.assertEqual([each.verdict for each in (known, gap, next_one, quiet)],
                         [Verdict.OK, Verdict.GAP, Verdict.OK, Verdict.OK])  # fmt: skip
        self.assertFalse(known.appended)
        for vbucket, last in ((BUSY, 4), (QUIET, 3)):
            self.assertEqual([each.id for each in self.get(store.read({vbucket: last}, 1 << 20, 0))], [last + 1])
        lease = self.get(store.acquire([BUSY], "be-9", 5.0))[BUSY]
        self.assertEqual(lease.epoch, 2)
        loaded = self.get(store.load(lease))
        self.assertEqual((loaded.position.folded, loaded.position.commits), (2, 1))
        self.assertEqual(loaded.ledger, {"folded": 20, "refused.type": 1})
        (found,) = self.get(store.append([look(5, vbucket=QUIET, lane=A)]))
        self.assertEqual(found.verdict, Verdict.OK)

    def test_nothing_left_over(self) -> None:
        """Afterwards nothing tells of the migration, and every vbucket is active."""
        self.run_migration()
        for name, server in self.stage.servers.items():
            meta = server.ask("HGETALL", self.stage.keys.meta)
            self.assertNotIn(b"migration", meta, name)
            self.assertIn(b"ready", meta)
            self.assertEqual(server.ask("EXISTS", "t:migrating"), 0)
        self.assertEqual({self.marker(vbucket) for vbucket in range(VBUCKETS)}, {b"A:1"})

    def test_source_stays(self) -> None:
        """The folder is not changed, and can be started again."""
        self.run_migration(export := self.export())
        export.close()
        store = self.surroundings.embedded(open_folder(self.path))
        now(store.startService())
        self.addCleanup(store.stopService)
        self.assertEqual(contents(store), self.before)

    def test_replicas(self) -> None:
        """With replicas it ends when they have it, and the durability is theirs."""
        self.stage.close()
        self.stage = Stage(shards=2, replicas=1, marked=False)
        self.run_migration()
        self.assertEqual(self.store().cluster.durability, "replicated")


class InterruptedTests(MigrationCase):
    def break_at(self, word: str, times: int = 1) -> None:
        """Lose the connections of the first shard when a command with this word is about to be sent."""
        self.stage.shard.before(word, self.stage.reopen_later)

    def test_resumes(self) -> None:
        """Whatever it is cut off at, another run goes on, and the result is the same."""
        export = self.export()
        for word in ("taba_found", self.stage.keys.of("L", BUSY), self.stage.keys.of("A", BUSY), "XRANGE"):
            self.break_at(word)  # type: ignore[arg-type]
            with self.assertRaises(StoreUnavailable):
                self.run_migration(export)
            self.stage.world.result_of(self.stage.shard.when_open())
        self.run_migration(export)
        self.assertEqual(contents(self.store(), self.get), self.before)

    def test_does_not_copy_again(self) -> None:
        """What is complete is not copied again."""
        export = self.export()
        self.break_at("XRANGE")  # the first thing that is compared of a log
        with self.assertRaises(StoreUnavailable):
            self.run_migration(export)
        self.stage.world.result_of(self.stage.shard.when_open())
        self.assertEqual(self.get(self.migration(export).look()), VBUCKETS)
        self.run_migration(export)
        copied = [progress.values for progress in self.told if progress.stage == "copying"]
        self.assertEqual(copied[-1], 0)

    def test_source_went_on(self) -> None:
        """What a server changed on the folder between two runs is copied again."""
        export = self.export()
        self.break_at("XRANGE")
        with self.assertRaises(StoreUnavailable):
            self.run_migration(export)
        self.stage.world.result_of(self.stage.shard.when_open())
        export.close()
        store = self.surroundings.embedded(open_folder(self.path))
        now(store.startService())
        put(store, PLAIN, states={("käse", "client"): b"new"}, types={"gone deleted 1700000000000": None})
        before = contents(store)
        now(store.stopService())
        self.run_migration()
        self.assertEqual(contents(self.store(), self.get), before)

    def test_nobody_is_served_half(self) -> None:
        """A server that starts on what is half copied takes nothing: appends are moved, leases are not granted; and it
        founds no other cluster.
        """
        export = self.export()
        self.break_at("XRANGE")
        with self.assertRaises(StoreUnavailable):
            self.run_migration(export)
        self.stage.world.result_of(self.stage.shard.when_open())
        store = self.store()
        self.assertEqual(store.cluster.id, self.before["cluster"][0])
        outcomes = self.get(store.append([batch(1, vbucket=vbucket) for vbucket in range(VBUCKETS)]))
        self.assertEqual({outcome.verdict for outcome in outcomes}, {Verdict.MOVED})
        self.assertEqual(self.get(store.acquire(range(VBUCKETS), "be-1", 5.0)), {})
        self.get(store.stopService())
        self.run_migration(export)
        self.assertEqual(contents(self.store(), self.get), self.before)

    def test_half_active(self) -> None:
        """Cut off between the shards' activations, another run activates the rest."""
        export = self.export()
        shard = self.stage.shards["shard2"]
        shard.before(b"A:1", lambda: shard.lost("the test says so"))
        with self.assertRaises(StoreUnavailable):
            self.run_migration(export)
        self.stage.world.result_of(shard.when_open())
        self.assertEqual((self.marker(0), self.marker(VBUCKETS - 1)), (b"A:1", b"I:1"))
        self.run_migration(export)
        self.assertEqual(contents(self.store(), self.get), self.before)


class RefusedTests(MigrationCase):
    def assertRefused(self, *words: str) -> None:
        with self.assertRaises(StartError) as caught:
            self.run_migration()
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_another_cluster(self) -> None:
        """A Redis that holds another cluster is not touched."""
        store = self.store()
        other = store.cluster.id
        self.get(store.append([batch(1, vbucket=2)]))
        self.assertRefused(other, "KEY_PREFIX", "nothing was written")
        self.assertEqual(len(self.get(store.read({2: 0}, 1 << 20, 0))), 1)

    def test_twice(self) -> None:
        """A second move of the same store onto what servers use is refused."""
        export = self.export()
        self.run_migration(export)
        with self.assertRaises(StartError) as caught:
            self.run_migration(export)
        self.assertIn("moved here before", str(caught.exception))

    def test_other_vbuckets(self) -> None:
        """Another NUM_VBUCKETS is refused, with the right number."""
        self.stage.map = shard_map(4, [ShardRange("shard1", 0, 1), ShardRange("shard2", 2, 3)])
        self.assertRefused("NUM_VBUCKETS", str(VBUCKETS))

    def test_markers_without_a_name(self) -> None:
        """A shard whose `meta` is lost, but not its vbuckets, is somebody's."""
        self.stage.server.ask("SET", self.stage.keys.of("O", 0), "A:1")
        self.assertRefused("shard1")

    def test_look_writes_nothing(self) -> None:
        """A look, as of a dry run, leaves the shards as they were."""
        self.assertEqual(self.get(self.migration().look()), 0)
        self.assertEqual([server.ask("DBSIZE") for server in self.stage.servers.values()], [0, 0])

    def test_something_else_writes(self) -> None:
        """What was changed behind the migration's back is found, and nothing becomes active."""
        export = self.export()
        key = self.stage.keys.states(BUSY, "tab")
        self.stage.shard.before("HMGET", lambda: self.stage.server.ask("HSET", key, "client0003", "other"))
        with self.assertRaises(Differs):
            self.run_migration(export)
        self.assertEqual(self.marker(BUSY), b"I:1")
        self.run_migration(export)
        self.assertEqual(contents(self.store(), self.get), self.before)
