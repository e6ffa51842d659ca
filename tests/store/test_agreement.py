"""The embedded store, the Redis store and the memory store, asked the same, say the same.

The memory store is a few dicts that can be checked by reading; whatever is drawn, the others have to come to the same
answers. Crashes are among the steps, so the embedded store has to come to them from its disk, too, and the Redis store
by new connections to a server that was started again.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any
from zlib import crc32

from attrs import define, evolve, field
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import LocalProtocolError
from taba.interfaces import RETIRED, Append, Checkpoint, Lease, Loaded, LogDepth, LogEntry, Position, SetAside
from taba.store.memory import Contents
from taba.testing.disk import MemoryDisk
from tests.contracts.store_harness import DAY, A, B, selection
from tests.store.harnesses import Surroundings, started
from tests.store.redis.harness import MemoryRedisHarness
from tests.strategies import law, mostly

VBUCKETS = 3

vbuckets = st.integers(0, VBUCKETS - 1)
tabs = st.sampled_from(["a", "b", "B"])
names = st.sampled_from(["a", "b", "B", "a deleted 1"])
clients = st.sampled_from(["c1", "c2", RETIRED])
values = st.none() | st.binary(max_size=3)
batches = st.tuples(
    vbuckets,
    st.sampled_from([A, B]),
    mostly(st.just(1), st.integers(-2, 4)),  # the number, counted from the lane's last
    mostly(st.just(1), st.integers(-1, 4)),  # how many numbers before that the batch follows
    mostly(st.booleans().map(lambda known: "last" if known else None), st.just("other")),
    mostly(st.just(0), st.integers(-20, 20)),  # events more than the lane's last batch gave
    mostly(st.binary(max_size=20), st.none()),
    mostly(st.just(0.0), st.sampled_from([5 * DAY, 20 * DAY])),  # age
)
changes = st.fixed_dictionaries(
    {
        "states": st.dictionaries(st.tuples(tabs, clients), values, max_size=5),
        "aggregates": st.dictionaries(tabs, values, max_size=2),
        "types": st.dictionaries(tabs, st.none() | st.sampled_from(["Gauge", "Buffer"]), max_size=2),
        "ledger": st.dictionaries(st.sampled_from(["folded", "refused", "lost"]), st.integers(0, 9), max_size=2),
        "aside": st.lists(st.binary(max_size=600), max_size=3),
        "refolded": st.lists(st.integers(0, 9), max_size=2),
        "renames": mostly(st.just({}), st.dictionaries(names, names, max_size=3)),
    }
)
checkpoints = st.tuples(vbuckets, mostly(st.booleans(), st.none()), changes)
"""Of a vbucket, folding what waits or nothing (None: without loading before)."""
owners = mostly(st.just("be-1"), st.just("be-2"))

appends = st.tuples(st.just("append"), st.lists(batches, min_size=1, max_size=5))
writes = st.tuples(st.just("checkpoint"), st.tuples(owners, st.lists(checkpoints, min_size=1, max_size=3)))
others = st.one_of(
    st.tuples(st.just("acquire"), st.tuples(owners, st.lists(vbuckets, max_size=3))),
    st.tuples(st.just("pass_time"), st.sampled_from([1.0, 3.0, 5 * DAY, 15 * DAY])),
    st.tuples(st.just("prune"), st.none()),
    st.tuples(st.just("release"), owners),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("flush"), st.none()),
    st.tuples(st.just("publish"), st.tuples(owners, st.sampled_from([1e6, 1e6, 0.0]))),
)
steps = st.one_of(appends, writes, appends, writes, others)


@define(eq=False)
class Side:
    """One of both stores, with what its bes remember."""

    store: Any
    restart: Callable[[], Any]
    surroundings: Surroundings
    leases: dict[tuple[int, str], Lease] = field(factory=dict)
    loaded: dict[tuple[int, str], tuple[Loaded, Lease]] = field(factory=dict)
    given: dict[tuple[str, int], tuple[int, int | None, int]] = field(factory=dict)
    """(incarnation, vbucket) -> number, checksum and events of the lane's last batch in the log."""
    ids: list[str] = field(factory=list)
    """The ids of what was set aside, in that order: each store has its own."""

    def get(self, deferred: Deferred[Any]) -> Any:
        results: list[Any] = []
        deferred.addBoth(results.append)
        (result,) = results
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    def do_append(self, drawn: list[tuple[Any, ...]]) -> Any:
        asked = [self.batch(*one) for one in drawn]
        # Each store has a lineage of its own.
        outcomes = self.get(self.store.append(asked))
        for batch, outcome in zip(asked, outcomes, strict=True):
            if outcome.appended:
                self.given[batch.incarnation, batch.vbucket] = batch.seq, batch.checksum, batch.before + batch.events
        return [(o.verdict, o.last, o.checksum, o.reason, o.appended) for o in outcomes]

    def batch(
        self, v: int, lane: str, ahead: int, back: int, previous: str | None, more: int, body: bytes | None, age: float
    ) -> Append:
        last, checksum, events = self.given.get((lane, v), (0, None, 0))
        seq = max(1, last + ahead)
        after = max(0, seq - back)
        named = {"last": checksum if after == last else None, "other": 1, None: None}[previous]
        checksum = crc32(body) if body is not None else 0
        sealed = self.surroundings.wall() - age
        return Append(v, lane, seq, after, named, max(0, events + more), 10, sealed, checksum, body)

    def do_acquire(self, drawn: tuple[str, list[int]]) -> Any:
        owner, wanted = drawn
        granted = self.get(self.store.acquire(wanted, owner, 2.0))
        self.leases.update({(vbucket, owner): lease for vbucket, lease in granted.items()})
        return granted

    def load(self, vbucket: int, owner: str) -> Loaded:
        lease = self.leases.get((vbucket, owner), Lease(vbucket, owner, 1))
        loaded: Loaded = self.get(self.store.load(lease))
        self.loaded[vbucket, owner] = loaded, lease
        return loaded

    def do_checkpoint(self, drawn: tuple[str, list[tuple[int, bool | None, dict[str, Any]]]]) -> Any:
        owner, wanted = drawn
        asked = []
        for vbucket, folds, change in wanted:
            if folds is not None or (vbucket, owner) not in self.loaded:
                self.do_acquire((owner, [vbucket]))
                self.load(vbucket, owner)
            loaded, lease = self.loaded[vbucket, owner]
            position = Position(loaded.position.folded, loaded.position.commits + 1)
            waiting = [entry.id for entry in self.log(vbucket) if entry.id > position.folded]
            if folds and waiting:
                position = Position(waiting[len(waiting) // 2], position.commits)
            aside = [SetAside("why", "a", "c1", "Gauge", 1, body) for body in change["aside"]]
            refolded = [self.ids[place] if place < len(self.ids) else "unknown" for place in change["refolded"]]
            rest = {name: value for name, value in change.items() if name not in ("aside", "refolded")}
            asked.append(
                Checkpoint(
                    lease, loaded.lineage, loaded.position, position, set_aside=aside, refolded=refolded, **rest
                )
            )
        if not any(each.renames for each in asked):
            return self.get(self.store.checkpoint(asked)), self.aside()
        # Of a call that fails it is open what was written, and of which store.
        return [self.written(each) for each in asked], self.aside()

    def written(self, checkpoint: Checkpoint) -> Any:
        """What becomes of one checkpoint that may be a defect."""
        try:
            return self.get(self.store.checkpoint([checkpoint]))
        except LocalProtocolError as problem:
            return str(problem)

    def aside(self) -> list[SetAside]:
        """What is set aside, with numbers for ids."""
        found = self.get(self.store.aside(100))
        self.ids += [one.id for one in reversed(found) if one.id not in self.ids]
        assert all(self.get(self.store.aside_of(one.vbucket, [one.id])) == [one] for one in found)
        return [evolve(one, id=str(self.ids.index(one.id))) for one in found]

    def do_flush(self, _: None) -> Any:
        return self.get(self.store.flush())

    def do_publish(self, drawn: tuple[str, float]) -> Any:
        member, ttl = drawn
        return self.get(self.store.publish(member, {"ttl": ttl}, ttl)), self.get(self.store.members())

    def do_pass_time(self, seconds: float) -> Any:
        self.surroundings.clock.advance(seconds)

    def do_prune(self, _: None) -> Any:
        return self.get(self.store.prune(self.surroundings.wall()))

    def do_release(self, owner: str) -> Any:
        return self.get(self.store.release([lease for (_, who), lease in self.leases.items() if who == owner]))

    def do_crash(self, _: None) -> Any:
        self.store = self.restart()
        for member in ("be-1", "be-2"):  # a store in one process has forgotten them
            self.get(self.store.publish(member, {}, 0))

    def log(self, vbucket: int) -> Any:
        return [evolve(each, lineage="") for each in self.get(self.store.read({vbucket: 0}, 1 << 20, 0))]

    def log_bytes(self) -> int:
        """The bytes that wait in all logs."""
        waiting: int = self.store.log_bytes
        return waiting

    def everything(self) -> dict[str, Any]:
        """All that can be asked for."""
        states: list[Any] = []
        aggregates: list[Any] = []
        self.get(self.store.each_state(selection(), lambda page: states.extend(page)))
        self.get(self.store.each_aggregate(selection(), lambda page: aggregates.extend(page)))
        some: list[Any] = []
        self.get(self.store.each_state(selection({"a", "B"}, {"c1", RETIRED}), lambda page: some.extend(page)))
        keys = [(tab, client) for tab in ("a", "b", "B", "a deleted 1") for client in ("c1", "c2", RETIRED)]
        return {
            "logs": [self.log(vbucket) for vbucket in range(VBUCKETS)],
            "states": sorted(states, key=repr),
            "in order": [(row.tab, row.client) for row in states],
            "some": sorted(some, key=repr),
            "aggregates": sorted(aggregates, key=repr),
            "by key": [self.get(self.store.states(vbucket, keys)) for vbucket in range(VBUCKETS)],
            "by tab": [self.get(self.store.aggregates(vbucket, ["a", "b", "B"])) for vbucket in range(VBUCKETS)],
            "clients": self.get(self.store.clients(None)),
            "clients of a": self.get(self.store.clients(frozenset(["a"]))),
            "ledger": self.get(self.store.ledger()),
            "depth": self.get(self.store.depth()),
            "log_bytes": self.log_bytes(),
            "aside": self.aside(),
            "members": self.get(self.store.members()),
            "loaded": [
                (loaded.position, dict(loaded.types), dict(loaded.ledger))
                for loaded in (self.load(vbucket, "nobody") for vbucket in range(VBUCKETS))
            ],
        }


def memory_side() -> Side:
    """The memory store; a crash takes its leases and gives it a new lineage."""
    surroundings = Surroundings()
    contents = Contents.empty(A, VBUCKETS)

    def start() -> Any:
        return started(surroundings.memory(contents, VBUCKETS))

    return Side(start(), start, surroundings)


def embedded_side() -> tuple[Side, MemoryDisk]:
    """The embedded store, on a simulated disk that crashes."""
    surroundings = Surroundings()
    disk = MemoryDisk(Random(1))

    def start() -> Any:
        disk.crash()
        return started(surroundings.embedded(disk.folder(), VBUCKETS))

    return Side(start(), start, surroundings), disk


@define(eq=False)
class RedisSide(Side):
    """The Redis store on a server in memory. Every answer takes time, so the times in answers are nobody's concern."""

    harness: MemoryRedisHarness = field(kw_only=True)

    def get(self, deferred: Deferred[Any]) -> Any:
        return self.harness.world.result_of(deferred)

    def do_pass_time(self, seconds: float) -> Any:
        self.harness.advance(seconds)

    def log_bytes(self) -> int:
        return sum(each.bytes for each in self.get(self.store.depth()))


def redis_side() -> RedisSide:
    """The Redis store. A crash is that of its server, which keeps what it had."""
    harness = MemoryRedisHarness()

    def restart() -> Any:
        harness.crash()
        return harness.redis

    surroundings: Any = harness  # it has the wall time
    return RedisSide(harness.redis, restart, surroundings, harness=harness)


def timeless(answer: Any) -> Any:
    """An answer, without times of logs."""
    if isinstance(answer, dict):
        return {name: timeless(value) for name, value in answer.items()}
    if isinstance(answer, list):
        return [timeless(each) for each in answer]
    if isinstance(answer, LogEntry):
        return evolve(answer, appended=0.0)
    return evolve(answer, oldest=0.0) if isinstance(answer, LogDepth) else answer


class RedisAgreementTests(SynchronousTestCase):
    """The Redis store beside the memory store, step by step."""

    @law(st.lists(steps, min_size=5, max_size=40), examples=15)
    def test_redis_agrees(self, drawn: list[tuple[str, Any]]) -> None:
        """Whatever is done, in whatever order, over restarts of the server, both answer alike and hold the same."""
        memory, redis = memory_side(), redis_side()
        try:
            for verb, given in drawn:
                # Leases end with the memory store, and live on in Redis; and no lease is to end while steps take time.
                more = [("pass_time", 3.0)] if verb == "crash" else []
                for each, value in [(verb, given if given != 1.0 else 0.8), *more]:
                    answers = [getattr(side, f"do_{each}")(value) for side in (memory, redis)]
                    self.assertEqual(timeless(answers[0]), timeless(answers[1]), each)
                behind = redis.harness.wall() - memory.surroundings.wall()
                memory.surroundings.clock.advance(max(0.0, behind))
            self.assertEqual(timeless(memory.everything()), timeless(redis.everything()))
        finally:
            redis.harness.close()


class AgreementTests(SynchronousTestCase):
    """Both stores, step by step."""

    @law(st.lists(steps, min_size=5, max_size=40), examples=60)
    def test_both_stores_agree(self, drawn: list[tuple[str, Any]]) -> None:
        """Whatever is done, in whatever order, over crashes, both answer alike and hold the same."""
        memory = memory_side()
        embedded, disk = embedded_side()
        try:
            for verb, given in drawn:
                answers = [getattr(side, f"do_{verb}")(given) for side in (memory, embedded)]
                self.assertEqual(answers[0], answers[1], verb)
            self.assertEqual(memory.everything(), embedded.everything())
        finally:
            disk.close()
