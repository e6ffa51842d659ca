"""Vbuckets move between shards in memory while a server uses them: with everything, once, whatever fails when."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StartError, StoreUnavailable
from taba.interfaces import Append, Verdict
from taba.store.exporting import open_export
from taba.store.folder import open_folder
from taba.store.redis.migrating import Migration
from taba.store.redis.resharding import Figures, Move, Progress, Resharding
from taba.store.redis.rows import append_arguments
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import ShardMap, ShardRange, shard_map
from taba.store.redis.store import RedisStore
from taba.testing.machine import machine_of
from tests.contracts.store_harness import VBUCKETS, A, batch, look
from tests.store.filled import BUSY, QUIET, contents, filled, now
from tests.store.harnesses import Surroundings
from tests.store.redis.stage import Stage, WatchedShard

CONFIRM = 10.0
SLOW = 120.0
SWAPPED = {"shard1": (4, 7), "shard2": (0, 3)}


class ReshardingCase(SynchronousTestCase):
    """Two shards with the contents of a filled store, a server's store, and movers."""

    replicas = 0

    def setUp(self) -> None:
        self.stage = Stage(shards=2, replicas=self.replicas, marked=False)
        self.addCleanup(lambda: self.stage.close())
        path = os.path.abspath(self.mktemp())
        now(filled(Surroundings(), path).stopService())
        export = open_export(open_folder(path))
        self.get(Migration(export, self.stage.shards, self.stage.map, self.stage.keys, None).run())
        export.close()
        self.said: list[str] = []
        self.store = self.server()
        self.told: list[Progress] = []
        self.movers: list[dict[str, Any]] = []

    def process(self, name: str) -> Any:
        return machine_of(self.stage.world.node(f"{name}-{len(self.stage.world.nodes)}").start())

    def links(self, process: Any, *names: str) -> dict[str, Any]:
        """Links of their own to all shards."""
        shards: dict[str, Any] = {}
        for name in names or tuple(self.stage.witnesses):
            shards[name] = WatchedShard(Shard(name, process, source=self.stage.witnesses[name]))
        return shards

    def server(self, chart: ShardMap | None = None) -> RedisStore:
        """The store of a server, started."""
        process = self.process("server")
        process.say = self.said.append
        shards = self.links(process)
        store = RedisStore(process, shards, chart or self.stage.map, self.stage.keys)
        self.stage.world.result_of(store.startService())
        self.addCleanup(lambda: self.stage.world.result_of(store.stopService()))
        return store

    def chart(self, ranges: dict[str, tuple[int, int]]) -> ShardMap:
        return shard_map(VBUCKETS, [ShardRange(name, *both) for name, both in ranges.items()])

    def mover(self, ranges: dict[str, tuple[int, int]] | None = None, **more: Any) -> Resharding:
        """A mover, connected."""
        process = self.process("mover")
        shards = self.links(process)
        for shard in shards.values():
            shard.startService()
            self.stage.world.result_of(shard.when_open())
        self.addCleanup(self.stop_mover, process, shards)
        self.movers.append(shards)
        chart = self.chart(ranges or SWAPPED)
        return Resharding(
            process, shards, chart, self.stage.keys, confirm_seconds=CONFIRM, told=self.told.append, **more
        )

    def stop_mover(self, process: Any, shards: dict[str, Any]) -> None:
        """Close the links of one that was not killed."""
        for shard in shards.values() if process.reactor.running else ():
            self.stage.world.result_of(shard.stopService())

    def get(self, work: Any, limit: float = SLOW) -> Any:
        return self.stage.get(work, limit)

    def begin(self, mover: Resharding) -> Deferred[Figures]:
        running = self.stage.begin(mover.run())
        running.addErrback(lambda failure: failure)
        return running

    def kill_mover(self) -> None:
        """The newest mover does nothing any more."""
        node = next(each for name, each in reversed(self.stage.world.nodes.items()) if name.startswith("mover"))
        node.crash()

    def ask(self, shard: str, *words: Any) -> Any:
        return self.stage.servers[shard].ask(*words)

    def marker(self, vbucket: int) -> list[Any]:
        return [self.ask(name, "GET", self.stage.keys.of("O", vbucket)) for name in ("shard1", "shard2")]

    def until(self, condition: Any, what: str = "it") -> None:
        self.stage.world.run_until(condition, SLOW, what)

    def verdict(self, each: Append) -> Verdict:
        (outcome,) = self.get(self.store.append([each]))
        verdict: Verdict = outcome.verdict
        return verdict


def plain(found: dict[str, Any]) -> dict[str, Any]:
    """Contents, without the names of what was set aside, which are of the shard that it is on."""
    aside = sorted((each.reason, each.tab, each.events, each.partial, each.vbucket) for each in found["aside"])
    return {**found, "aside": aside}


class MoveTests(ReshardingCase):
    def test_exact(self) -> None:
        """All vbuckets change places: a server finds the same everywhere, and the old shards keep only the markers."""
        before = plain(contents(self.store, self.get))
        figures = self.get(self.mover().run())
        self.assertEqual((figures.moved, figures.left, len(figures.sealed_seconds)), (VBUCKETS, [], VBUCKETS))
        self.assertEqual(plain(contents(self.store, self.get)), before)
        self.assertEqual(plain(contents(self.server(), self.get)), before)
        self.assertEqual([self.store.shard_of(v) for v in range(VBUCKETS)], ["shard2"] * 4 + ["shard1"] * 4)
        for name, (first, last) in {"shard1": (0, 3), "shard2": (4, 7)}.items():
            keys = {each.decode() for each in self.ask(name, "KEYS", "*")}
            for vbucket in range(first, last + 1):
                left = {key for key in keys if key.split(":")[2:3] == [str(vbucket)]}
                self.assertEqual(left, {f"t:O:{vbucket}"})
        self.assertEqual(self.marker(0), [b"S:1", b"A:2"])
        self.assertEqual(self.told[-1].done, VBUCKETS)

    def test_there_and_back(self) -> None:
        """They come back, with everything."""
        before = plain(contents(self.store, self.get))
        self.get(self.mover().run())
        self.get(self.mover({"shard1": (0, 3), "shard2": (4, 7)}).run())
        self.assertEqual(plain(contents(self.store, self.get)), before)
        self.assertEqual(self.marker(0), [b"A:3", b"S:2"])
        self.assertEqual(self.ask("shard1", "HGETALL", "t:moves")[1::2], [b"gone:shard2"] * 4)

    def test_goes_on(self) -> None:
        """Lanes go on with their numbers, logs with theirs, positions with theirs."""
        self.get(self.mover().run())
        found = [self.verdict(each) for each in (
            batch(3, vbucket=BUSY), batch(5, vbucket=BUSY, after=4), batch(4, vbucket=BUSY),
            batch(6, vbucket=QUIET, before=35, after=5), look(5, vbucket=QUIET, lane=A),
        )]  # fmt: skip
        self.assertEqual(found, [Verdict.OK, Verdict.GAP, Verdict.OK, Verdict.OK, Verdict.OK])
        for vbucket, last in ((BUSY, 4), (QUIET, 3)):
            self.assertEqual([each.id for each in self.get(self.store.read({vbucket: last}, 1 << 20, 0))], [last + 1])
        lease = self.get(self.store.acquire([BUSY], "be-9", 5.0))[BUSY]
        loaded = self.get(self.store.load(lease))
        self.assertEqual((loaded.position.folded, loaded.position.commits), (2, 1))

    def test_nothing_to_do(self) -> None:
        """Where all is where it is to be, nothing is written."""
        mover = self.mover({"shard1": (0, 3), "shard2": (4, 7)})
        self.assertEqual(self.get(mover.plan()), [])
        self.assertEqual(self.get(mover.run()).moved, 0)

    def test_plan(self) -> None:
        """The plan writes nothing, and names those first that are on their way."""
        chart = {"shard1": (0, 1), "shard2": (2, 7)}
        before = self.ask("shard1", "KEYS", "*")
        moves = self.get(self.mover(chart).plan())
        self.assertEqual(moves, [Move(2, "shard1", "shard2"), Move(3, "shard1", "shard2")])
        self.assertEqual(self.ask("shard1", "KEYS", "*"), before)
        self.ask("shard1", "HSET", "t:moves", 3, "moving:shard2")
        self.assertEqual(self.get(self.mover(chart).plan()), [moves[1], moves[0]])

    def test_new_shard(self) -> None:
        """A shard that has nothing yet gets vbuckets; a server that does not know it takes nothing for these."""
        self.assertEqual(self.verdict(batch(1, vbucket=7)), Verdict.OK)
        self.stage.add("shard3")
        chart = {"shard1": (0, 3), "shard2": (4, 6), "shard3": (7, 7)}
        knowing = self.server(self.chart(chart))
        self.assertIn("SHARDS has vbucket 7 on shard3, and its data is on shard2", " ".join(self.said))
        self.get(self.mover(chart).run())
        self.assertEqual(knowing.shard_of(7), "shard3")
        self.stage.world.advance(3.0)
        self.assertEqual(self.verdict(batch(2, vbucket=7)), Verdict.MOVED)
        self.assertIn("1 vbuckets are on shard shard3", self.store.problem())
        (outcome,) = self.get(knowing.append([batch(2, vbucket=7)]))
        self.assertEqual(outcome.verdict, Verdict.OK)
        self.assertEqual(self.verdict(batch(1, vbucket=6)), Verdict.OK)

    def test_new_shard_that_no_server_knows(self) -> None:
        """The new shard becomes one of the cluster by the command itself."""
        self.stage.add("shard3")
        figures = self.get(self.mover({"shard1": (0, 3), "shard2": (4, 6), "shard3": (7, 7)}).run())
        self.assertEqual(figures.moved, 1)
        meta = self.ask("shard3", "HMGET", "t:meta", "cluster", "state", "shard")
        self.assertEqual(meta, [self.store.cluster.id.encode(), b"ready", b"shard3"])

    def test_no_cluster(self) -> None:
        """Where no cluster is, or one has lost data, or ranges do not name its shards, nothing is moved."""
        self.ask("shard2", "DEL", self.stage.keys.of("O", 5))
        with self.assertRaises(StartError):
            self.get(self.mover().plan())
        for name in ("shard1", "shard2"):
            self.ask(name, "FLUSHALL")
        self.assertIn("no cluster", str(self.get(self.fails(self.mover().plan()))))

    async def fails(self, work: Any) -> Any:
        try:
            await work
        except StartError as problem:
            return problem


class UnderLoadTests(ReshardingCase):
    """What servers do meanwhile."""

    def test_lease_is_taken(self) -> None:
        """Who folds loses the lease while the vbucket is copied, and gets it on the new shard."""
        lease = self.get(self.store.acquire([BUSY], "be", 600.0))[BUSY]
        running = self.begin(self.mover())
        self.until(lambda: self.marker(BUSY) == [b"S:1", b"A:2"], "the move")
        self.stage.world.advance(1.0)
        self.assertEqual(self.get(self.store.renew([lease], 2.0)), set())
        self.assertEqual(list(self.get(self.store.acquire([BUSY], "be", 600.0))), [BUSY])
        self.get(running)

    def test_announced_first(self) -> None:
        """For the time of a confirmation nothing but the announcement is there, and batches are taken."""
        running = self.begin(self.mover())
        self.stage.world.advance(CONFIRM - 1.0)
        self.assertEqual(self.ask("shard1", "HGET", "t:moves", 0), b"moving:shard2")
        self.assertEqual(self.marker(0), [b"A:1", None])
        self.assertEqual(self.verdict(batch(1, vbucket=0)), Verdict.OK)
        self.get(running)

    def test_appends_all_the_while(self) -> None:
        """Whatever was taken while vbuckets move is in the log in the end, once and in order."""
        running, seq, refused = self.begin(self.mover()), 4, 0
        while not running.called:
            (outcome,) = self.get(self.store.append([batch(seq, vbucket=BUSY)]))
            if outcome.verdict is Verdict.OK:
                seq += 1
            else:
                self.assertIs(outcome.verdict, Verdict.MOVED)
                refused += 1
            self.stage.world.advance(0.01)
        found = self.get(self.store.read({BUSY: 4}, 1 << 24, 0))
        while found[-1].id < seq:
            found += self.get(self.store.read({BUSY: found[-1].id}, 1 << 24, 0))
        self.assertEqual([each.id for each in found], list(range(5, seq + 1)))
        self.assertEqual(found[-1].body, batch(seq - 1, vbucket=BUSY).body)
        self.assertGreater(seq, 100)

    def test_not_looked_at(self) -> None:
        """While a vbucket moves, nobody is answered for it who cannot look at both shards; others are answered."""
        running = self.begin(self.mover({"shard1": (0, 2), "shard2": (3, 7)}))
        self.stage.world.advance(3.0)
        process = next(each for name, each in self.stage.world.nodes.items() if name.startswith("server"))
        self.stage.world.network.partition(process.name, "redis-2")
        self.stage.world.advance(8.0)
        with self.assertRaises(StoreUnavailable):
            self.get(self.store.append([batch(4, vbucket=BUSY)]))
        self.assertEqual(self.verdict(batch(1, vbucket=0)), Verdict.OK)
        self.stage.world.network.heal(process.name, "redis-2")
        self.get(running)
        self.stage.world.advance(3.0)
        self.assertEqual(self.verdict(batch(4, vbucket=BUSY)), Verdict.OK)


class BetweenTests(ReshardingCase):
    """What happens in the middle of a copy."""

    def before_seal(self, done: Any) -> Resharding:
        """A mover; when it is about to seal the first vbucket that is copied, something is done."""
        mover = self.mover({"shard1": (0, 2), "shard2": (3, 7)})
        self.movers[-1]["shard1"].before("taba_move_seal", done)
        return mover

    def append(self, number: int) -> Any:
        """A batch is appended by another server, just now."""
        keys = [f"t:{letter}:{BUSY}" for letter in "OLDCM"]
        arguments = 1209600, 1, 1, *append_arguments(1, batch(number, vbucket=BUSY))
        return self.ask("shard1", "FCALL", "taba_append", 5, *keys, *arguments)

    def test_batch_before_the_seal(self) -> None:
        """A batch that comes when all was copied is copied, too, with its number: sent again it is known."""
        self.get(self.before_seal(lambda: self.append(4)).run())
        entries = self.get(self.store.read({BUSY: 4}, 1 << 20, 0))
        self.assertEqual([each.body for each in entries], [batch(4, vbucket=BUSY).body])
        (outcome,) = self.get(self.store.append([batch(4, vbucket=BUSY)]))
        self.assertEqual((outcome.verdict, outcome.appended), (Verdict.OK, False))

    def test_checkpoint_before_the_seal(self) -> None:
        """A lease that ran out, and a checkpoint of who took it then: the copy is not what the shard has any more, and
        is made again.
        """

        def fold() -> None:
            self.ask("shard1", "DEL", f"t:E:{BUSY}")
            lease = self.ask("shard1", "FCALL", "taba_acquire", 3, *(f"t:{each}:{BUSY}" for each in "OEQ"), "be", 5000)
            folded, commits, _ = self.ask("shard1", "GET", f"t:Q:{BUSY}").split(b":")
            self.ask("shard1", "SET", f"t:Q:{BUSY}", b"%s:%d:%d" % (folded, int(commits) + 1, lease[0]))
            self.ask("shard1", "HSET", f"t:H:{BUSY}:other", "client0001", "newer")

        figures = self.get(self.before_seal(fold).run())
        self.assertEqual((figures.moved, len(figures.sealed_seconds)), (1, 1))
        states = self.get(self.store.states(BUSY, [("other", "client0001")]))
        self.assertEqual(states, {("other", "client0001"): b"newer"})

    def test_aborted_before_the_seal(self) -> None:
        """Somebody undoes the move: the vbucket is not sealed any more."""
        figures = self.get(
            self.before_seal(lambda: self.ask("shard1", "HSET", "t:moves", BUSY, "undoing:shard2")).run(), 600.0
        )
        self.assertEqual(figures.left, [BUSY])
        self.assertEqual(self.marker(BUSY)[0], b"A:1")


class InterruptedTests(ReshardingCase):
    """The mover dies, or loses its connections."""

    WORDS = (
        "taba_move_turn", "taba_move_take", "taba_move_begin", "hash", "taba_move_import_aside", "string", "end", "log",
        "taba_move_seal", "list", "taba_move_frozen", "taba_move_activate", "taba_move_retire",
    )  # fmt: skip

    def test_goes_on_after_a_lost_connection(self) -> None:
        """Whatever it is that fails, it is tried again, and all is the same in the end."""
        before = plain(contents(self.store, self.get))
        mover = self.mover()
        for shard in self.movers[-1].values():
            for word in self.WORDS:
                shard.before(word, lambda shard=shard: shard._shard.lost("the test says so"))
        self.assertEqual(self.get(mover.run(), 600.0).moved, VBUCKETS)
        self.assertEqual(plain(contents(self.store, self.get)), before)

    def test_functions_go(self) -> None:
        """The functions by which it moves are gone, as after a failover that took them back: they are loaded again."""
        running = self.begin(self.mover())
        self.stage.world.advance(CONFIRM - 1.0)
        for name in ("shard1", "shard2"):
            self.ask(name, "FUNCTION", "DELETE", "taba_moving")
        self.assertEqual(self.get(running).moved, VBUCKETS)

    def test_killed_at_each_step(self) -> None:
        """So it is when the mover is killed at any step, and another one is started."""
        before = plain(contents(self.store, self.get))
        for word in self.WORDS:
            running = self.begin(self.mover())
            met: list[str] = []
            for shard in self.movers[-1].values():
                shard.before(word, lambda met=met: met.append("there"))
            self.until(lambda met=met, running=running: met or running.called, word)
            self.kill_mover()
            self.stage.world.advance(0.5)
        self.assertEqual(self.get(self.mover().run(), 600.0).left, [])
        self.assertEqual(plain(contents(self.store, self.get)), before)
        self.assertEqual([self.store.shard_of(v) for v in (0, 7)], ["shard2", "shard1"])

    def test_aborted_at_each_step(self) -> None:
        """When it is killed at any step, and undone, each vbucket is where it was, or has arrived; and all is there."""
        before = plain(contents(self.store, self.get))
        for word in self.WORDS:
            running = self.begin(self.mover())
            met: list[str] = []
            for shard in self.movers[-1].values():
                shard.before(word, lambda met=met: met.append("there"))
            self.until(lambda met=met, running=running: met or running.called, word)
            self.kill_mover()
            figures = self.get(self.mover().abort(), 600.0)
            self.assertEqual(figures.left, [])
            self.stage.world.advance(3.0)
            self.assertEqual(plain(contents(self.store, self.get)), before, word)
            moves = [row for name in ("shard1", "shard2") for row in self.ask(name, "HGETALL", "t:moves")[1::2]]
            self.assertEqual([row for row in moves if not row.startswith(b"gone")], [], word)

    def test_another_mover(self) -> None:
        """Two movers at once: one hinders the other, and no more."""
        before = plain(contents(self.store, self.get))
        one, other = self.begin(self.mover()), self.begin(self.mover())
        self.get(one, 600.0)
        self.get(other, 600.0)
        self.assertEqual(plain(contents(self.store, self.get)), before)

    def test_late_commands(self) -> None:
        """What a mover sent that another one has followed changes nothing."""
        running = self.begin(self.mover())
        self.until(lambda: self.marker(BUSY)[1] == b"I:2", "the import")
        token = self.ask("shard2", "HGET", "t:coming", BUSY)
        self.kill_mover()
        other = self.begin(self.mover())
        self.until(lambda: self.ask("shard2", "HGET", "t:coming", BUSY) not in (token, None), "the other")
        late = ("t:O:3", "t:coming", "t:H:3:tab", 3, 2, token, "hash", "client", "old")
        self.assertEqual(self.ask("shard2", "FCALL", "taba_move_import", 3, *late), 0)
        self.get(other, 600.0)
        self.assertEqual(self.ask("shard2", "FCALL", "taba_move_import", 3, *late), 0)
        self.assertNoResult(running)
