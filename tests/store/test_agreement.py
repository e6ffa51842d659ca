"""The embedded store and the memory store, asked the same, say the same.

The memory store is a few dicts that can be checked by reading; whatever is drawn, the database has to come to the same
answers. Crashes are among the steps, so the embedded store has to come to them from its disk, too.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taba.interfaces import RETIRED, Append, Checkpoint, Lease, Loaded, Position, SetAside
from taba.store.memory import Contents
from taba.testing.disk import MemoryDisk
from tests.contracts.store_harness import DAY, DEDUP_DAYS, A, B, selection
from tests.store.harnesses import Surroundings, started
from tests.strategies import law

VBUCKETS = 3
OWNERS = ("be-1", "be-2")

vbuckets = st.integers(0, VBUCKETS - 1)
tabs = st.sampled_from(["a", "b", "B"])
clients = st.sampled_from(["c1", "c2", RETIRED])
values = st.none() | st.binary(max_size=3)
batches = st.tuples(
    vbuckets,
    st.sampled_from([A, B]),
    st.integers(1, 6),
    st.integers(0, 6),
    st.none() | st.integers(1, 2),
    st.integers(0, 60),
    st.integers(1, 2),
    st.none() | st.binary(max_size=20),
    st.sampled_from([0.0, 0.0, 0.0, 5 * DAY, 20 * DAY]),
)
changes = st.fixed_dictionaries(
    {
        "states": st.dictionaries(st.tuples(tabs, clients), values, max_size=5),
        "aggregates": st.dictionaries(tabs, values, max_size=2),
        "types": st.dictionaries(tabs, st.none() | st.sampled_from(["Gauge", "Buffer"]), max_size=2),
        "ledger": st.dictionaries(st.sampled_from(["folded", "refused", "lost"]), st.integers(0, 9), max_size=2),
        "aside": st.lists(st.binary(max_size=600), max_size=3),
    }
)
steps = st.one_of(
    st.tuples(st.just("append"), st.lists(batches, min_size=1, max_size=5)),
    st.tuples(st.just("acquire"), st.tuples(st.sampled_from(OWNERS), st.lists(vbuckets, max_size=3))),
    st.tuples(
        st.just("checkpoint"), st.lists(st.tuples(vbuckets, st.sampled_from(OWNERS), changes), min_size=1, max_size=3)
    ),
    st.tuples(st.just("load"), st.tuples(vbuckets, st.sampled_from(OWNERS))),
    st.tuples(st.just("pass_time"), st.sampled_from([1.0, 3.0, 5 * DAY, 15 * DAY])),
    st.tuples(st.just("prune"), st.none()),
    st.tuples(st.just("release"), st.sampled_from(OWNERS)),
    st.tuples(st.just("crash"), st.none()),
)


@define(eq=False)
class Side:
    """One of both stores, with what its bes remember."""

    store: Any
    restart: Callable[[], Any]
    surroundings: Surroundings
    leases: dict[tuple[int, str], Lease] = field(factory=dict)
    loaded: dict[tuple[int, str], tuple[Loaded, Lease]] = field(factory=dict)

    def get(self, deferred: Deferred[Any]) -> Any:
        results: list[Any] = []
        deferred.addBoth(results.append)
        (result,) = results
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    def do_append(self, drawn: list[tuple[Any, ...]]) -> Any:
        now = self.surroundings.wall()
        asked = [
            Append(v, lane, seq, after, previous, before, 10, now - age, checksum, body)
            for v, lane, seq, after, previous, before, checksum, body, age in drawn
        ]
        # Each store has a lineage of its own; the memory store's bytes are compared by `everything`.
        return [(o.verdict, o.last, o.checksum, o.reason, o.appended) for o in self.get(self.store.append(asked))]

    def do_acquire(self, drawn: tuple[str, list[int]]) -> Any:
        owner, wanted = drawn
        granted = self.get(self.store.acquire(wanted, owner, 2.0))
        self.leases.update({(vbucket, owner): lease for vbucket, lease in granted.items()})
        return granted

    def do_load(self, drawn: tuple[int, str]) -> Any:
        lease = self.leases.get(drawn, Lease(drawn[0], drawn[1], 1))
        loaded = self.get(self.store.load(lease))
        self.loaded[drawn] = loaded, lease
        return loaded.position, dict(loaded.types), dict(loaded.ledger)

    def do_checkpoint(self, drawn: list[tuple[int, str, dict[str, Any]]]) -> Any:
        asked = []
        for vbucket, owner, change in drawn:
            if (vbucket, owner) not in self.loaded:
                continue
            loaded, lease = self.loaded[vbucket, owner]
            folded = max([entry.id for entry in self.log(vbucket)] or [loaded.position.folded])
            position = Position(max(folded - len(change["types"]), loaded.position.folded), loaded.position.commits + 1)
            aside = [SetAside("why", "a", "c1", "Gauge", 1, body) for body in change["aside"]]
            rest = {name: value for name, value in change.items() if name != "aside"}
            asked.append(Checkpoint(lease, loaded.lineage, loaded.position, position, set_aside=aside, **rest))
        return self.get(self.store.checkpoint(asked))

    def do_pass_time(self, seconds: float) -> Any:
        self.surroundings.clock.advance(seconds)

    def do_prune(self, _: None) -> Any:
        return self.get(self.store.prune(self.surroundings.wall()))

    def do_release(self, owner: str) -> Any:
        return self.get(self.store.release([lease for (_, who), lease in self.leases.items() if who == owner]))

    def do_crash(self, _: None) -> Any:
        self.store = self.restart()

    def log(self, vbucket: int) -> Any:
        return self.get(self.store.read({vbucket: 0}, 1 << 20, 0))

    def everything(self) -> dict[str, Any]:
        """All that can be asked for."""
        states: list[Any] = []
        aggregates: list[Any] = []
        self.get(self.store.each_state(selection(), lambda page: states.extend(page)))
        self.get(self.store.each_aggregate(selection(), lambda page: aggregates.extend(page)))
        some: list[Any] = []
        self.get(self.store.each_state(selection({"a", "B"}, {"c1", RETIRED}), lambda page: some.extend(page)))
        keys = [(tab, client) for tab in ("a", "b", "B") for client in ("c1", "c2", RETIRED)]
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
            "log_bytes": self.store.log_bytes,
            "aside": self.get(self.store.aside(100)),
            "loaded": [self.do_load((vbucket, "nobody")) for vbucket in range(VBUCKETS)],
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


class AgreementTests(SynchronousTestCase):
    """Both stores, step by step."""

    @law(st.lists(steps, min_size=5, max_size=40), examples=60)
    def test_both_stores_agree(self, drawn: list[tuple[str, Any]]) -> None:
        """Whatever is done, in whatever order, over crashes, both answer alike and hold the same."""
        memory = memory_side()
        embedded, disk = embedded_side()
        self.assertGreater(DEDUP_DAYS, 5)
        try:
            for verb, given in drawn:
                answers = [getattr(side, f"do_{verb}")(given) for side in (memory, embedded)]
                self.assertEqual(answers[0], answers[1], verb)
            self.assertEqual(memory.everything(), embedded.everything())
        finally:
            disk.close()
