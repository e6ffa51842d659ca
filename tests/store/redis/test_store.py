"""The whole store on several shards: what is answered while some of them are down, hang, or lost something."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import LocalProtocolError, NotHere, StoreUnavailable
from taba.interfaces import Append, Checkpoint, Lease, Position, Selection, Verdict, Written
from taba.store.limits import Limits
from taba.store.redis.durability import Level
from taba.store.redis.store import RedisStore
from taba.store.redis.tending import REFRESH_SECONDS
from taba.testing.redis import With
from tests.contracts.store_harness import START, batch, selection
from tests.store.redis.stage import VBUCKETS, Stage

TTL = 2.0
HERE, THERE = 0, 7
"""A vbucket of each shard."""


class StoreCase(SynchronousTestCase):
    """A store on two shards, not started yet."""

    shards = 2
    replicas = 0

    def setUp(self) -> None:
        self.stage = Stage(self.shards, self.replicas, opened=False)
        self.addCleanup(lambda: self.stage.close())
        self.said: list[str] = []
        self.stage.process.say = self.said.append
        self.store = self.make()
        self.addCleanup(lambda: self.stage.get(self.store.stopService()))

    def make(self, **more: Any) -> RedisStore:
        more.setdefault("level", Level.MEMORY)
        return RedisStore(
            self.stage.process, self.stage.shards, self.stage.map, self.stage.keys, limits=Limits(page_rows=4), **more
        )

    def start(self) -> None:
        self.stage.get(self.store.startService())

    def fails(self, deferred: Deferred[Any], error: type[Exception] = StoreUnavailable) -> str:
        with self.assertRaises(error) as raised:
            self.stage.get(deferred)
        return str(raised.exception)

    def verdicts(self, *batches: Append) -> list[Verdict]:
        return [outcome.verdict for outcome in self.stage.get(self.store.append(batches))]

    def back(self, name: str = "shard2") -> None:
        """Start a server again, and wait for the store to have seen it."""
        self.stage.servers[name].restart(With.ITS_DATA)
        self.stage.world.result_of(self.stage.shards[name].when_open())
        self.stage.world.advance(1.0)


class AllUpTests(StoreCase):
    """All is well."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def test_order_over_shards(self) -> None:
        """Outcomes come in the order of the batches, also of those that have no vbucket, or are there twice."""
        twice = batch(1, vbucket=THERE)
        batches = [twice, batch(1, vbucket=HERE), batch(1, vbucket=VBUCKETS), twice, batch(1, vbucket=-1)]
        outcomes = self.stage.get(self.store.append(batches))
        self.assertEqual([each.vbucket for each in outcomes], [each.vbucket for each in batches])
        self.assertEqual([each.appended for each in outcomes], [True, True, False, False, False])
        self.assertEqual([each.verdict.value for each in outcomes], ["ok", "ok", "refused", "ok", "refused"])
        self.assertEqual(self.stage.get(self.store.append([])), [])

    def test_leases_over_shards(self) -> None:
        """Leases of both shards, and of vbuckets that do not exist: these are held by nobody."""
        leases = self.stage.get(self.store.acquire([THERE, HERE, VBUCKETS], "be", TTL))
        self.assertEqual(set(leases), {HERE, THERE})
        gone = Lease(VBUCKETS, "be", 1)
        self.assertEqual(self.stage.get(self.store.renew([*leases.values(), gone], TTL)), {HERE, THERE})
        self.assertIsNone(self.stage.get(self.store.release([*leases.values(), gone])))
        self.assertEqual(self.stage.get(self.store.renew(list(leases.values()), TTL)), set())

    def test_checkpoints_over_shards(self) -> None:
        """Each is answered in its place; one of a vbucket that does not exist is fenced."""
        checkpoints = []
        for vbucket, lease in self.stage.get(self.store.acquire([THERE, HERE], "be", TTL)).items():
            loaded = self.stage.get(self.store.load(lease))
            checkpoints.append(Checkpoint(lease, loaded.lineage, loaded.position, Position(0, 1)))
            self.assertEqual(loaded.lineage, self.stage.shards[self.stage.map.shard_of(vbucket)].lineage)
        gone = Checkpoint(Lease(VBUCKETS, "be", 1), "f" * 32, Position(0, 0), Position(0, 1))
        written = self.stage.get(self.store.checkpoint([checkpoints[0], gone, checkpoints[1], checkpoints[0]]))
        self.assertEqual(written, [Written.DONE, Written.FENCED, Written.DONE, Written.STALE])
        bad = Checkpoint(Lease(HERE, "be", 1), "f" * 32, Position(0, 1), Position(0, 1))
        self.fails(self.store.checkpoint([bad]), LocalProtocolError)

    def test_vbuckets_that_do_not_exist(self) -> None:
        """What concerns one vbucket fails for it."""
        self.fails(self.store.load(Lease(VBUCKETS, "be", 1)), NotHere)
        self.fails(self.store.states(-1, [("t", "c")]), NotHere)
        self.fails(self.store.aggregates(VBUCKETS, ["t"]), NotHere)
        self.assertEqual(self.stage.get(self.store.read({VBUCKETS: 0}, 100, 0.5)), [])

    def test_read_over_shards(self) -> None:
        """Entries of both shards come."""
        self.verdicts(batch(1, vbucket=HERE), batch(1, vbucket=THERE))
        self.stage.world.advance(0.1)
        found = {entry.vbucket for _ in range(4) for entry in self.read_some()}
        self.assertEqual(found, {HERE, THERE})

    def read_some(self) -> list[Any]:
        entries: list[Any] = self.stage.get(self.store.read({HERE: 0, THERE: 0}, 1 << 20, 1.0))
        return entries

    def test_queries(self) -> None:
        """Every query goes to all shards."""
        self.assertEqual(self.stage.get(self.store.tabs()), {})
        self.assertEqual(self.stage.get(self.store.clients(None)), set())
        self.assertEqual(self.stage.get(self.store.ledger()), {"lost": 0, "flushed": 0})
        self.assertEqual(self.stage.get(self.store.depth()), [])
        self.assertEqual(self.stage.get(self.store.aside(3)), [])
        self.assertEqual(self.stage.get(self.store.prune(START)), 0)
        pages: list[Any] = []
        self.stage.get(self.store.each_state(selection(), pages.append))
        self.stage.get(self.store.each_aggregate(selection(), pages.append))
        self.assertEqual(pages, [])
        self.fails(self.store.each_aggregate(Selection(None, frozenset("c")), pages.append), LocalProtocolError)

    def test_stopped_while_it_looks(self) -> None:
        """A store that is stopped while it looks at a shard that has come back logs no error."""
        stopped: list[Deferred[Any]] = []
        self.stage.shards["shard2"].before("taba_version", lambda: stopped.append(self.store.stopService()))
        self.stage.shards["shard2"].lost("somebody closed it")
        self.stage.world.advance(2.0)
        self.stage.get(stopped[0])
        self.assertEqual([str(each.value) for each in self.flushLoggedErrors()], [])
        self.stage.world.check_quiet()

    def test_cluster(self) -> None:
        """The cluster keeps its id and number of vbuckets; the lineage is made of all of them, and stays while links
        are down.
        """
        before = self.store.cluster
        self.assertEqual((before.vbuckets, before.durability), (VBUCKETS, "memory"))
        self.stage.servers["shard2"].kill()
        self.stage.world.advance(1.0)
        self.assertEqual(self.store.cluster, before)
        self.back()
        self.assertEqual(self.store.cluster.id, before.id)
        self.assertNotEqual(self.store.cluster.lineage, before.lineage)

    def test_nothing_works_when_it_is_closed(self) -> None:
        """After a stop every call fails; a second stop does nothing."""
        self.stage.get(self.store.stopService())
        self.stage.get(self.store.stopService())
        lease = Lease(HERE, "be", 1)
        checkpoint = Checkpoint(lease, "f" * 32, Position(0, 0), Position(0, 1))
        for call in (
            self.store.append([batch(1)]),
            self.store.read({HERE: 0}, 1, 0.0),
            self.store.acquire([HERE], "be", TTL),
            self.store.renew([lease], TTL),
            self.store.release([lease]),
            self.store.load(lease),
            self.store.states(HERE, []),
            self.store.aggregates(HERE, []),
            self.store.checkpoint([checkpoint]),
            self.store.tabs(),
            self.store.aside_of(HERE, []),
            self.store.flush(),
            self.store.publish("be", {}, 1.0),
            self.store.members(),
            self.store.prune(0.0),
            self.store.accept_loss("shard1"),
        ):
            self.assertIn("closed", self.fails(call))


class OneDownTests(StoreCase):
    """One shard is down; the other one goes on."""

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.leases = self.stage.get(self.store.acquire([HERE, THERE], "be", TTL))
        self.loaded = {vbucket: self.stage.get(self.store.load(self.leases[vbucket])) for vbucket in self.leases}
        self.stage.servers["shard2"].kill()
        self.stage.world.advance(0.1)

    def test_appends(self) -> None:
        """Batches of the shard that is down are to be asked for again; alone, they fail."""
        self.assertEqual(
            self.verdicts(batch(1, vbucket=HERE), batch(1, vbucket=THERE)), [Verdict.OK, Verdict.MOVED]
        )
        self.fails(self.store.append([batch(1, vbucket=THERE)]))
        self.back()
        self.assertEqual(self.verdicts(batch(1, vbucket=HERE), batch(1, vbucket=THERE)), [Verdict.OK, Verdict.OK])

    def test_leases(self) -> None:
        """Leases there are missing, and not held."""
        self.assertEqual(set(self.stage.get(self.store.acquire([HERE, THERE], "be", TTL))), {HERE})
        self.leases = {**self.leases, **self.stage.get(self.store.acquire([HERE], "be", TTL))}
        self.assertEqual(self.stage.get(self.store.renew(list(self.leases.values()), TTL)), {HERE})
        self.assertIsNone(self.stage.get(self.store.release(list(self.leases.values()))))
        self.fails(self.store.renew([self.leases[THERE]], TTL))

    def test_checkpoints(self) -> None:
        """What became of checkpoints there is not known: they are stale."""
        checkpoints = [
            Checkpoint(self.leases[v], self.loaded[v].lineage, Position(0, 0), Position(0, 1)) for v in (THERE, HERE)
        ]
        self.assertEqual(self.stage.get(self.store.checkpoint(checkpoints)), [Written.STALE, Written.DONE])
        self.fails(self.store.checkpoint(checkpoints[:1]))

    def test_what_needs_all(self) -> None:
        """Queries, and what goes through all lanes, fail."""
        for call in (self.store.tabs(), self.store.prune(START), self.store.load(self.leases[THERE])):
            self.fails(call)
        self.assertEqual(self.stage.get(self.store.load(self.leases[HERE])).vbucket, HERE)

    def test_operator_is_told(self) -> None:
        """The shard that is down is named, as long as it is."""
        self.assertIn("redis-2", self.store.problem())
        states = {str(each["shard"]): each["open"] for each in self.store.shard_states()}
        self.assertEqual(states, {"shard1": True, "shard2": False})
        self.back()
        self.assertEqual(self.store.problem(), "")

    def test_functions_are_loaded_where_they_can_be(self) -> None:
        """A shard that lost its functions has them again, though another one is down."""
        self.stage.servers["shard1"].ask("FUNCTION", "FLUSH")
        self.fails(self.store.append([batch(1, vbucket=HERE)]))
        self.stage.world.advance(2.0)
        self.assertEqual(self.verdicts(batch(1, vbucket=HERE)), [Verdict.OK])


class OneHangsTests(StoreCase):
    """One shard hangs: the leases of the other are not to suffer."""

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.leases = self.stage.get(self.store.acquire([HERE, THERE], "be", TTL))
        self.stage.servers["shard2"].hang()

    def quick(self, deferred: Deferred[Any]) -> Any:
        """What comes, and it must come long before leases end."""
        before = self.stage.world.clock.seconds()
        result = self.stage.get(deferred)
        self.assertLess(self.stage.world.clock.seconds() - before, TTL / 3)
        return result

    def test_renewed_in_time(self) -> None:
        """A lease on a shard that does not answer is taken to be held, until its connection ends."""
        self.assertEqual(self.quick(self.store.renew(list(self.leases.values()), TTL)), {HERE, THERE})
        self.stage.world.advance(2.5)
        leases = self.quick(self.store.acquire([HERE], "be", TTL))
        self.assertEqual(self.quick(self.store.renew([*leases.values(), self.leases[THERE]], TTL)), {HERE})
        self.stage.servers["shard2"].wake()
        self.stage.world.advance(3.0)

    def test_acquired_in_time(self) -> None:
        """What cannot be granted now is missing, and can be had later by the same owner."""
        self.assertEqual(set(self.quick(self.store.acquire([HERE, THERE], "be", TTL))), {HERE})
        self.stage.servers["shard2"].wake()
        self.stage.world.advance(0.1)
        self.assertEqual(set(self.quick(self.store.acquire([HERE, THERE], "be", TTL))), {HERE, THERE})


class StartTests(StoreCase):
    """Starts, and what is found later."""

    replicas = 1

    def test_durability_that_fits(self) -> None:
        """Where every shard has a replica appends wait for it; that is kept with the data."""
        self.store = self.make(level=None)
        self.assertEqual(self.store.asked_durability, "auto")
        self.start()
        self.assertEqual(self.store.cluster.durability, "replicated")
        self.assertEqual(self.verdicts(batch(1, vbucket=HERE)), [Verdict.OK])
        for replica in [each for some in self.stage.replicas.values() for each in some]:
            replica.kill()
        self.stage.world.advance(1.0)
        self.assertIn("0 of 1 replicas", self.fails(self.store.append([batch(2, vbucket=HERE)])))
        self.assertIn("takes no batches", " ".join(self.said))
        self.assertIn("0 of 1 replicas", self.store.problem())
        self.stage.get(self.store.stopService())
        self.store = self.make(level=None)
        self.start()
        self.assertEqual(self.store.cluster.durability, "replicated")

    def test_a_replica_is_missing(self) -> None:
        """Where not every shard has one the operator is warned."""
        for replica in self.stage.replicas["shard2"]:
            replica.kill()
        self.stage.world.advance(2.0)
        self.store = self.make(level=None)
        self.start()
        self.assertEqual(self.store.cluster.durability, "memory")
        self.assertIn("DURABILITY is `memory`: not every shard has a replica", " ".join(self.said))

    def test_before_it_has_started(self) -> None:
        """Nothing is known of the cluster, and no call is answered."""
        with self.assertRaises(StoreUnavailable):
            self.assertIsNone(self.store.cluster)
        self.assertEqual(self.store.missing, {})
        self.fails(self.store.tabs())

    def test_interrupted(self) -> None:
        """A start that waits can be ended; what was started is stopped."""
        self.stage.servers["shard2"].kill()
        starting = self.store.startService()
        self.stage.world.advance(10.0)
        self.assertNoResult(starting)
        self.assertEqual(sum("Waiting for Redis" in each for each in self.said), 1)
        self.store.interrupt()
        self.stage.world.advance(2.0)
        self.failureResultOf(starting, CancelledError)
        self.store.interrupt()

    def test_stopped_while_it_starts(self) -> None:
        """So can it be by a stop."""
        self.stage.servers["shard2"].kill()
        starting = self.store.startService()
        self.stage.world.advance(3.0)
        stopped = self.store.stopService()
        self.stage.world.advance(2.0)
        self.failureResultOf(starting, CancelledError)
        self.assertIsNone(self.successResultOf(stopped))

    def test_sentinels_start_and_stop_with_it(self) -> None:
        """What finds the masters lives as long as the store."""
        sentinels = Service()
        self.store = self.make(sentinels=sentinels)
        self.start()
        self.assertTrue(sentinels.running)
        self.stage.get(self.store.stopService())
        self.assertFalse(sentinels.running)

    def test_nobody_names_the_master(self) -> None:
        """The operator is told that no majority names it."""
        self.start()
        self.stage.witnesses["shard1"].vouching = False
        self.assertIn("has named the master of shard shard1", self.store.problem())

    def test_functions_that_go_under_load(self) -> None:
        """A server whose functions were removed has them again soon, however much is asked of it meanwhile."""
        self.start()
        self.stage.server.ask("FUNCTION", "FLUSH")
        seq, answered = 1, []
        for _ in range(120):
            outcome: list[Any] = []
            self.store.append([batch(seq, vbucket=HERE)]).addBoth(outcome.append)
            self.store.depth().addErrback(lambda failure: failure.trap(StoreUnavailable))
            self.stage.world.advance(0.025)
            if outcome and isinstance(outcome[0], list):
                answered.append(outcome[0][0].verdict)
                seq += 1
        self.assertGreater(len(answered), 60)

    def test_stopped_while_it_looks(self) -> None:
        """A stop ends a look at the markers that is under way."""
        self.start()
        self.stage.world.advance(1.0)
        self.stage.shard.words()
        looking = lambda: "taba_version" in self.stage.shard.words()  # noqa: E731
        self.stage.world.run_until(looking, REFRESH_SECONDS + 1)
        self.stage.get(self.store.stopService())

    def test_trouble_is_told_once(self) -> None:
        """What has to be mended by somebody is said when it is found, and when it is mended."""
        self.start()
        cluster: Any = self.stage.server.ask("HGET", self.stage.keys.meta, "cluster")
        self.stage.server.ask("HSET", self.stage.keys.meta, "cluster", "b" * 32)
        self.stage.world.advance(REFRESH_SECONDS * 3)
        self.assertIn("different clusters", self.fails(self.store.tabs()))
        self.stage.server.ask("HSET", self.stage.keys.meta, "cluster", cluster)
        self.stage.world.advance(REFRESH_SECONDS + 1)
        told = [each for each in self.said if "The store is" in each]
        self.assertEqual([each[:30] for each in told], ["The store is not used any more", "The store is used again."])

    def test_strange_markers(self) -> None:
        """A vbucket with a marker that nobody of ours wrote is not used; the others are."""
        self.start()
        self.stage.server.ask("SET", self.stage.keys.of("O", 1), "strange")
        self.stage.world.advance(REFRESH_SECONDS * 2 + 1)
        self.assertEqual(self.verdicts(batch(1, vbucket=HERE), batch(1, vbucket=1)), [Verdict.OK, Verdict.MOVED])
        self.assertEqual(self.store.missing, {"shard1": [1]})

    def test_lost_data_while_the_store_is_asked(self) -> None:
        """Between the loss and its notice nothing is appended."""
        self.start()
        self.assertEqual(self.verdicts(batch(1, vbucket=HERE)), [Verdict.OK])
        self.stage.server.ask("FLUSHALL")
        self.assertEqual(self.verdicts(batch(2, vbucket=HERE)), [Verdict.MOVED])
        self.stage.world.advance(REFRESH_SECONDS + 1)
        self.assertIn("has lost the data of 4 vbuckets", self.store.problem())
        self.assertEqual(self.stage.get(self.store.acquire([HERE], "be", TTL)), {})
        self.assertEqual(self.stage.get(self.store.accept_loss("shard1")), 4)
        self.assertEqual(self.verdicts(batch(2, vbucket=HERE), batch(1, vbucket=HERE)), [Verdict.GAP, Verdict.OK])
        self.assertEqual(self.store.problem(), "")

    def test_loss_that_is_none(self) -> None:
        """A loss is not accepted where another cluster's data is."""
        self.start()
        self.stage.server.ask("HSET", self.stage.keys.meta, "cluster", "b" * 32)
        self.assertIn("different clusters", self.fails(self.store.accept_loss("shard1")))
