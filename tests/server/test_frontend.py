"""fe over stores whose logs fill up, have shards, or cannot be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import FrameError, StoreUnavailable
from taba.interfaces import Append, LogDepth, Verdict
from taba.server.frontend import DEPTH_SECONDS, Frontend, WrongClusterError
from taba.server.observation import Observer
from taba.server.throttle import Placing
from taba.store.embedded import EmbeddedStore
from taba.store.memory import MemoryStore
from taba.store.redis.store import RedisStore
from taba.testing.stores import FaultyStore
from taba.wire.v2 import AppendAnswer, AppendRequest
from tests.server.making import NOW, Lanes, Silent, memory_store, registry, sections

SOFT, HARD = 400, 4_000
BIG = "x" * 300


class ShardedStore(FaultyStore):
    """A memory store with four vbuckets on two shards, `even` and `odd`."""

    speechless = False

    def shard_of(self, vbucket: int) -> str:
        """See `Placing`."""
        return ("even", "odd")[vbucket % 2]

    def depth(self) -> Deferred[list[LogDepth]]:
        """Not known while it is speechless, as when one of its shards is away."""
        if self.speechless:
            return fail(StoreUnavailable("a shard is away"))
        return super().depth()


class FrontendCase(SynchronousTestCase):
    """fe with small limits, without a be: what it takes stays in the logs."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = memory_store(self.clock, vbuckets=4)
        self.store: Any = self.memory
        self.lanes = Lanes()
        self.drawn: list[float] = []

    def make(self, chance: float = 0.5) -> Frontend:
        """fe; chance always says the same."""

        def draw() -> float:
            self.drawn.append(chance)
            return chance

        observer = Observer(Silent(), lambda: NOW)
        return Frontend(
            self.store, registry(), self.clock, lambda: NOW, observer,
            queue_capacity=HARD, throttle_capacity=SOFT, chance=draw,
        )  # fmt: skip

    def batches(self, *vbuckets: int) -> list[Append]:
        """One batch of some 350 bytes for each of these vbuckets."""
        (section,) = sections([(BIG, "tab", "CounterGroup", NOW, "1")])
        return self.lanes.appends([evolve(section, vbucket=each) for each in vbuckets])

    def request(self, batches: Sequence[Append]) -> AppendRequest:
        """A request; what was seen of the logs is too old for it."""
        self.clock.advance(2 * DEPTH_SECONDS)
        return AppendRequest(self.memory.cluster.id, NOW, tuple(batches))

    def append(self, frontend: Frontend, batches: Sequence[Append]) -> list[Verdict]:
        """What fe says of batches."""
        answer: AppendAnswer = self.successResultOf(frontend.append(self.request(batches)))
        self.assertEqual([each.seq for each in answer.outcomes], [each.seq for each in batches])
        return [each.verdict for each in answer.outcomes]

    def assertFull(self, frontend: Frontend, batches: Sequence[Append]) -> None:
        """The request fails, with words that name the settings."""
        problem = self.failureResultOf(frontend.append(self.request(batches)), StoreUnavailable)
        self.assertIn("QUEUE_THROTTLE_CAPACITY", str(problem.value))

    def waiting(self) -> int:
        """Bytes in the logs."""
        return sum(each.bytes for each in self.successResultOf(self.memory.depth()))

    def fill(self, frontend: Frontend, *vbuckets: int, until: Callable[[], bool]) -> None:
        """Append to the store itself."""
        while not until():
            self.successResultOf(self.memory.append(self.batches(*vbuckets)))


class OneStoreTests(FrontendCase):
    """A store that is one shard."""

    def test_takes_everything_below(self) -> None:
        """As long as little waits, nothing is refused, and chance is not asked."""
        frontend = self.make(chance=0.0)
        self.assertEqual(self.append(frontend, self.batches(0)), [Verdict.OK])
        self.assertEqual(self.drawn, [])

    def test_by_chance_between(self) -> None:
        """Between the limits chance decides about the whole request."""
        frontend = self.make(chance=0.0)
        self.fill(frontend, 0, until=lambda: SOFT < self.waiting() < HARD)
        refused = self.batches(1, 2)
        self.assertFull(frontend, refused)
        self.assertEqual(self.append(self.make(chance=0.99), refused), [Verdict.OK, Verdict.OK])
        self.assertEqual(self.drawn, [0.0, 0.99])

    def test_always_above(self) -> None:
        """Above the hard limit every request with batches is refused, and a look is answered all the same."""
        frontend = self.make(chance=0.99)
        first = self.batches(3)
        self.assertEqual(self.append(frontend, first), [Verdict.OK])
        self.fill(frontend, 0, until=lambda: self.waiting() > HARD)
        self.assertFull(frontend, self.batches(1))
        look = evolve(first[0], body=None)
        self.assertEqual(self.append(frontend, [look]), [Verdict.OK])
        self.assertEqual(self.drawn, [])

    def test_takes_again(self) -> None:
        """What was refused is taken once the logs are short again."""
        frontend = self.make()
        self.fill(frontend, 0, until=lambda: self.waiting() > HARD)
        batches = self.batches(1)
        self.assertFull(frontend, batches)
        self.assertFull(frontend, batches)
        self.successResultOf(self.memory.flush())
        self.assertEqual(self.append(frontend, batches), [Verdict.OK])
        self.assertEqual(frontend.throttle.refused[""], 2)

    def test_no_such_vbucket(self) -> None:
        """What belongs to no vbucket is for the store to refuse."""
        self.store = ShardedStore(self.memory)
        self.assertEqual(self.append(self.make(), self.batches(9)), [Verdict.REFUSED])

    def test_other_cluster(self) -> None:
        """An agent that was configured for other servers is told of both clusters, and nothing is taken."""
        request = evolve(self.request(self.batches(0)), cluster="f" * 32)
        problem = self.failureResultOf(self.make().append(request), WrongClusterError)
        self.assertEqual((problem.value.asked, problem.value.here), ("f" * 32, self.memory.cluster.id))
        self.assertEqual(self.waiting(), 0)

    def test_what_agents_ask_first(self) -> None:
        """Cluster, vbuckets, durability and Types are those of the store and of this server."""
        topology, cluster = self.make().topology(), self.memory.cluster
        self.assertEqual(
            (topology.cluster, topology.vbuckets, topology.durability, topology.time),
            (cluster.id, 4, cluster.durability, NOW),
        )
        self.assertEqual((set(topology.partials), set(topology.types)), (set(registry().handlers),) * 2)

    def test_looks_are_always_answered(self) -> None:
        """Full logs or not: a question costs them nothing."""
        frontend = self.make()
        self.fill(frontend, 1, until=lambda: self.waiting() > HARD)
        look = Append(1, self.lanes.incarnation, 1)
        self.assertEqual(self.append(frontend, [look]), [Verdict.OK])
        self.assertFull(frontend, self.batches(1))

    def test_seen_a_moment_ago(self) -> None:
        """What waits in the logs is looked at some ten times a second, not for every request."""
        frontend = self.make()
        self.append(frontend, self.batches(0))
        self.fill(frontend, 0, until=lambda: self.waiting() > HARD)
        at_once = AppendRequest(self.memory.cluster.id, NOW, tuple(self.batches(0)))
        answer = self.successResultOf(frontend.append(at_once))
        self.assertEqual([each.verdict for each in answer.outcomes], [Verdict.OK])
        self.assertFull(frontend, self.batches(0))

    def test_damaged_on_its_way(self) -> None:
        """Nothing of a request is taken of which one body is not what its agent sent; the answer names the batch."""
        sound, damaged = self.batches(0, 1)
        damaged = evolve(damaged, body=(damaged.body or b"")[:-1] + b"!")
        problem = self.failureResultOf(self.make().append(self.request([sound, damaged])), FrameError)
        self.assertIn("batch 1 of vbucket 1", str(problem.value))
        self.assertEqual(self.waiting(), 0)
        self.assertEqual(self.append(self.make(), [sound]), [Verdict.OK])


class ShardTests(FrontendCase):
    """A store of two shards."""

    def test_redis_says_where(self) -> None:
        """The Redis store says which shard has a vbucket; the others are one."""
        self.assertTrue(issubclass(RedisStore, Placing))
        self.assertFalse(issubclass(MemoryStore, Placing))
        self.assertFalse(issubclass(EmbeddedStore, Placing))

    def setUp(self) -> None:
        super().setUp()
        self.store = ShardedStore(self.memory)

    def test_full_shard_leaves_others_alone(self) -> None:
        """Batches for a full shard are to come again later; those beside them for another one are taken now."""
        frontend = self.make()
        self.fill(frontend, 1, until=lambda: self.waiting() > HARD)
        batches = self.batches(0, 1, 2, 3)
        self.assertEqual(
            self.append(frontend, batches), [Verdict.OK, Verdict.MOVED, Verdict.OK, Verdict.MOVED]
        )
        self.assertEqual(frontend.throttle.refused, {"odd": 2})
        self.assertFull(frontend, self.batches(1, 3))

    def test_shard_away(self) -> None:
        """While the store cannot say what waits, it is believed to be as it was: the other shards go on."""
        frontend = self.make()
        self.fill(frontend, 1, until=lambda: self.waiting() > HARD)
        self.append(frontend, self.batches(0, 1))
        self.store.speechless = True
        batches = self.batches(0, 3)
        self.assertEqual(self.append(frontend, batches), [Verdict.OK, Verdict.MOVED])
