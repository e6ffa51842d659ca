"""Two servers that found a cluster at once, command by command, and servers that end in the middle of it.

Each founder's commands wait until they are let through, one at a time, in every order that there is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from attrs import define, field
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StartError, StoreUnavailable
from taba.store.redis.durability import Level
from taba.store.redis.founding import READY, Founding, Identity
from taba.store.redis.keys import Keys
from taba.store.redis.library import source
from taba.store.redis.shard_map import ShardRange, shard_map
from taba.testing import World
from taba.testing.redis import RedisServer
from taba.testing.redis.library import taba_library
from tests.store.redis.stage import Stage
from tests.strategies import law

VBUCKETS = 4
KEYS = Keys("t:")


@define(eq=False)
class Founder:
    """One server that starts: its commands wait in a queue."""

    name: str
    waiting: deque[tuple[RedisServer, Any, Deferred[Any]]] = field(factory=deque)
    results: list[Any] = field(factory=list)

    def let_through(self) -> None:
        """Do the command that waits longest, and let the founder hear of it."""
        server, command, answered = self.waiting.popleft()
        if isinstance(command, list):
            answered.callback([_plain(server.ask(*each)) for each in command])
        else:
            answered.callback(_plain(server.ask(*command)))


def _plain(reply: Any) -> Any:
    return [_plain(each) for each in reply] if isinstance(reply, list) else reply


@define(eq=False)
class HeldShard:
    """A shard whose commands wait until they are let through; the link to it as well."""

    name: str
    _server: RedisServer
    _founder: Founder
    address: str = "redis:6379"

    def link(self, role: str) -> Any:
        """Itself."""
        return self

    def vouched(self) -> bool:
        """See `Shard`."""
        return True

    def state(self) -> dict[str, object]:
        """There are no replicas."""
        return {"replicas": []}

    def call(self, *command: Any) -> Deferred[Any]:
        """See `Link.call`."""
        return self._wait(command)

    def call_all(self, commands: Sequence[Any]) -> Deferred[Any]:
        """See `Link.call_all`."""
        return self._wait(list(commands))

    def _wait(self, command: Any) -> Deferred[Any]:
        answered: Deferred[Any] = Deferred()
        self._founder.waiting.append((self._server, command, answered))
        return answered


class Race:
    """Shards without data, and founders."""

    def __init__(self, shards: int) -> None:
        self.world = World(seed=1)
        names = [f"shard{number + 1}" for number in range(shards)]
        self.servers = {
            name: RedisServer(self.world.node(name), libraries={"taba": taba_library()}).start() for name in names
        }
        share = VBUCKETS // shards
        self.map = shard_map(
            VBUCKETS, [ShardRange(name, at * share, (at + 1) * share - 1) for at, name in enumerate(names)]
        )
        self.ids = count(1)

    def clear(self) -> None:
        """Begin anew."""
        for server in self.servers.values():
            server.ask("FLUSHALL")
            server.ask("FUNCTION", "LOAD", "REPLACE", source())

    def founder(self, name: str, known: Identity | None = None) -> Founder:
        """A server begins."""
        founder, founding = self.prepared(name)
        found = founding.establish(lambda: Deferred.fromCoroutine(_in_memory()), known)
        Deferred.fromCoroutine(found).addBoth(founder.results.append)
        return founder

    def looker(self) -> Founder:
        """Somebody who only looks."""
        founder, founding = self.prepared("looker")
        Deferred.fromCoroutine(founding.look()).addBoth(founder.results.append)
        return founder

    def prepared(self, name: str) -> tuple[Founder, Founding]:
        """A server, and what founds for it."""
        founder = Founder(name)
        shards: Any = {each: HeldShard(each, server, founder) for each, server in self.servers.items()}
        return founder, Founding(shards, self.map, KEYS, lambda: f"{next(self.ids):032x}")

    def clusters(self) -> set[Any]:
        """The clusters that the shards are of."""
        return {server.ask("HGET", KEYS.meta, "cluster") for server in self.servers.values()}

    def complete(self) -> bool:
        """Whether all shards are ready, with all their markers."""
        states = {server.ask("HGET", KEYS.meta, "state") for server in self.servers.values()}
        markers = [
            self.servers[self.map.shard_of(vbucket)].ask("GET", KEYS.of("O", vbucket)) for vbucket in range(VBUCKETS)
        ]
        return states == {READY.encode()} and markers == [b"A:1"] * VBUCKETS


async def _in_memory() -> Level:
    return Level.MEMORY


def finish(founder: Founder) -> None:
    """Let all of a founder's commands through."""
    while founder.waiting:
        founder.let_through()


class RaceCase(SynchronousTestCase):
    """Founders at once."""

    shards = 1

    def setUp(self) -> None:
        self.race = Race(self.shards)
        self.addCleanup(self.race.world.close)

    def check(self, founders: Sequence[Founder]) -> None:
        """All that came to an end know the same cluster, which is whole."""
        for founder in founders:
            (result,) = founder.results
            if isinstance(result, Failure):
                result.raiseException()
            self.assertEqual(result.cluster.encode(), *self.race.clusters())
            self.assertEqual((result.missing, result.epochs), ({}, dict.fromkeys(range(VBUCKETS), 1)))
        self.assertTrue(self.race.complete())


class OneShardTests(RaceCase):
    """One shard, in every order."""

    def orders(self) -> Iterator[list[int]]:
        """Every order in which the commands of two founders can be let through: each is tried, and the next one follows
        from what was possible.
        """
        order: list[int] = []
        while True:
            self.race.clear()
            founders = [self.race.founder(name) for name in "ab"]
            last: list[bool] = []  # whether each choice was the last one that there was
            while ready := [number for number, each in enumerate(founders) if each.waiting]:
                place = len(last)
                if place == len(order):
                    order.append(ready[0])
                last.append(order[place] == ready[-1])
                founders[order[place]].let_through()
            self.check(founders)
            yield order
            while order and last[len(order) - 1]:
                order.pop()
            if not order:
                return
            order[-1] = 1

    def test_every_order(self) -> None:
        """Whatever the order, both servers are of one cluster, and nothing is lacking."""
        self.assertGreater(sum(1 for _ in self.orders()), 60)

    def test_every_end(self) -> None:
        """A founder may end before any of its commands: the next server makes it good."""
        ends = 0
        while True:
            self.race.clear()
            first = self.race.founder("a")
            for _ in range(ends):
                if first.waiting:
                    first.let_through()
            if first.results:
                break
            second = self.race.founder("b")
            finish(second)
            self.check([second])
            ends += 1
        self.assertGreater(ends, 3)


class TwoShardsTests(RaceCase):
    """Two shards: what one founder does on one and another on the other."""

    shards = 2

    @law(st.lists(st.booleans(), max_size=40), examples=60)
    def test_any_order(self, order: list[bool]) -> None:
        """Whatever the order, both servers are of one cluster, and nothing is lacking."""
        self.race.clear()
        founders = [self.race.founder(name) for name in "ab"]
        for chosen in order:
            if founders[chosen].waiting:
                founders[chosen].let_through()
        for founder in founders:
            finish(founder)
        self.check(founders)

    @law(st.lists(st.integers(0, 2), max_size=40), st.integers(0, 20), st.integers(0, 20), examples=60)
    def test_any_end(self, order: list[int], first: int, second: int) -> None:
        """Two founders end anywhere; a third one makes it good."""
        self.race.clear()
        lives = [first, second]
        founders = [self.race.founder(name) for name in "ab"]
        for chosen in order:
            if chosen < 2 and founders[chosen].waiting and lives[chosen]:
                lives[chosen] -= 1
                founders[chosen].let_through()
        third = self.race.founder("c")
        finish(third)
        self.check([third])

    def test_every_end(self) -> None:
        """A founder may end before any of its commands: the next server makes it good."""
        ends = 0
        while True:
            self.race.clear()
            first = self.race.founder("a")
            for _ in range(ends):
                if first.waiting:
                    first.let_through()
            if first.results:
                break
            second = self.race.founder("b")
            finish(second)
            self.check([second])
            ends += 1
        self.assertGreater(ends, 6)

    def test_claims_that_a_failover_took_back(self) -> None:
        """When the first shard forgets who founds it, two clusters meet on the second one: it is said, and tried again
        by the one, while the other one goes on.
        """
        self.race.clear()
        first, second = self.race.founder("a"), self.race.founder("b")
        for _ in range(2):
            second.let_through()  # it has seen nothing
        for _ in range(4):
            first.let_through()
        self.race.servers["shard1"].ask("FLUSHALL")
        finish(second)
        (failure,) = second.results
        self.assertTrue(failure.check(StoreUnavailable))
        self.assertIn("another server founds another cluster", str(failure.value))

    def test_readiness_that_a_failover_took_back(self) -> None:
        """A founder that does not find what it wrote tries again; it is not a defect."""
        self.race.clear()
        founder = self.race.founder("a")
        while not all(server.ask("HGET", KEYS.meta, "state") == b"ready" for server in self.race.servers.values()):
            founder.let_through()
        for server in self.race.servers.values():
            server.ask("HSET", KEYS.meta, "state", "founding")
        finish(founder)
        (failure,) = founder.results
        self.assertTrue(failure.check(StoreUnavailable))
        again = self.race.founder("a")
        finish(again)
        self.check([again])

    def test_nothing_is_founded_by_who_knows_a_cluster(self) -> None:
        """A server that was at work makes no markers on shards that were emptied."""
        self.race.clear()
        founder = self.race.founder("a")
        finish(founder)
        self.race.clear()
        looking = self.race.founder("a", founder.results[0])
        finish(looking)
        self.assertEqual(looking.results[0].missing, {"shard1": [0, 1], "shard2": [2, 3]})
        self.assertEqual(looking.results[0].cluster, founder.results[0].cluster)
        self.assertEqual(self.race.clusters(), {None})

    def test_other_cluster_in_the_place_of_the_known_one(self) -> None:
        """A server that was at work does not take other data for its own."""
        self.race.clear()
        founder = self.race.founder("a")
        finish(founder)
        self.race.clear()
        finish(self.race.founder("b"))
        looking = self.race.founder("a", founder.results[0])
        finish(looking)
        self.assertTrue(looking.results[0].check(StartError))
        self.assertIn("start the server again", str(looking.results[0].value))

    def test_looking(self) -> None:
        """Who only looks writes nothing: it sees a cluster when it is founded, and what it lacks."""
        self.race.clear()
        for step in range(20):
            before = {name: server.ask("DBSIZE") for name, server in self.race.servers.items()}
            looker = self.race.looker()
            finish(looker)
            self.assertEqual(before, {name: server.ask("DBSIZE") for name, server in self.race.servers.items()})
            (seen,) = looker.results
            if seen is not None:
                break
            founder = self.race.founder("a")
            for _ in range(step):
                founder.let_through()
        self.assertEqual(seen.cluster.encode(), *self.race.clusters())
        self.race.servers["shard2"].ask("DEL", KEYS.of("O", 3))
        looker = self.race.looker()
        finish(looker)
        self.assertEqual(looker.results[0].missing, {"shard2": [3]})


class ReplicaTests(SynchronousTestCase):
    """A cluster with replicas."""

    def test_readiness_is_replicated(self) -> None:
        """That a cluster is founded is waited for on a replica of each shard, so that a failover keeps it."""
        stage = Stage(shards=2, replicas=1, marked=False)
        self.addCleanup(stage.close)
        founding = Founding(stage.shards, stage.map, stage.keys, stage.process.new_id)
        stage.get(founding.establish(lambda: Deferred.fromCoroutine(_in_memory())))
        for name, (replica,) in stage.replicas.items():
            self.assertEqual(stage.shards[name].words().count("WAIT"), 2)  # for the markers, and for their being ready
            self.assertEqual(replica.ask("HGET", stage.keys.meta, "state"), b"ready")
