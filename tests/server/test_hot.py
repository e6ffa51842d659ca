"""States in memory that the native core folds into: whatever happens, a be comes to what it comes to without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from taba.handlers.counter_group import CounterGroup
from taba.handlers.gauge import Gauge
from taba.handlers.percentile_group import PercentileGroup
from taba.handlers.registry import Registry
from taba.handlers.unique_group import UniqueGroup
from taba.interfaces import RETIRED, IHandler, Lease, Loaded, LogEntry, Position
from taba.server.chores import Change
from taba.server.folding import Folding
from taba.server.holding import Holding
from taba.store.contents import Vbucket
from tests.server.making import NOW, sections
from tests.server.test_folding import KINDS, Event, Told, counter, delete
from tests.strategies import law


class PlainCounters(CounterGroup):
    """The same Handler under another class, which the native core does not fold for."""


class PlainPercentiles(PercentileGroup):
    """As above."""


class PlainGauge(Gauge):
    """As above."""


class PlainUniques(UniqueGroup):
    """As above."""


NATIVE: Sequence[IHandler] = (CounterGroup(), PercentileGroup(), Gauge(), UniqueGroup())
PLAIN: Sequence[IHandler] = (PlainCounters(), PlainPercentiles(), PlainGauge(), PlainUniques())


@define
class Vbuckets:
    """The part of a store that a be reads States from."""

    kept: Vbucket = field(factory=Vbucket)

    def states(self, vbucket: int, keys: Sequence[tuple[str, str]]) -> Deferred[dict[tuple[str, str], bytes]]:
        """See `IStore.states`."""
        states = self.kept.states
        return succeed({key: states[key[0]][key[1]] for key in keys if key[1] in states.get(key[0], {})})

    def aggregates(self, vbucket: int, tabs: Sequence[str]) -> Deferred[dict[str, bytes]]:
        """See `IStore.aggregates`."""
        return succeed({tab: self.kept.aggregates[tab] for tab in tabs if tab in self.kept.aggregates})


class Be:
    """A be of one vbucket, step by step."""

    def __init__(self, handlers: Sequence[IHandler]) -> None:
        self.store = Vbuckets()
        self.holding = Holding(self.store, 1 << 30)  # type: ignore[arg-type]
        loaded = Loaded(0, Position(0, 0), "lineage", {}, {})
        self.folding = Folding.loaded(Lease(0, "be", 1), loaded, Registry(handlers), 60.0)
        self.holding.folding[0] = self.folding
        self.told = Told()
        self.native = 0
        self._found: tuple[Mapping[Any, bytes], Mapping[str, bytes]] = ({}, {})

    def take(self, events: Sequence[Event]) -> None:
        """The next batch of the log."""
        for section in sections(events, types=KINDS):
            entry = LogEntry(0, self.folding.folded + 1, NOW, section.events, "lineage", section.data)
            self.store.kept.last_id = entry.id
            self.folding.take(entry)
            self.native += len(self.folding.generation.waiting or ())

    def begin(self) -> None:
        """Begin a checkpoint."""
        if self.folding.dirty:
            self.folding.close()
            self._found = self.holding.states_of(0, *self.folding.needed()).result

    def end(self) -> None:
        """Write the one that was begun."""
        if self.folding.closed is not None:
            checkpoint = self.folding.prepare(*self._found, self.told)
            self.holding.remember(checkpoint)
            self.store.kept.apply(checkpoint)
            self.folding.written()

    def forget(self, tab: str, client: str) -> None:
        """A chore removes a State."""
        if client not in self.store.kept.states.get(tab, {}):
            return
        if self.folding.begin_chore() is not None:
            checkpoint = self.folding.chore(Change(states={(tab, client): None}))
            assert checkpoint is not None
            self.holding.remember(checkpoint)
            self.store.kept.apply(checkpoint)
            self.folding.written()

    def cool(self, keep: bool) -> None:
        """Let States go from memory."""
        self.folding.cool(keep)

    def all(self) -> tuple[Any, ...]:
        """All that it came to."""
        while self.folding.dirty or self.folding.closed is not None:
            self.begin()
            self.end()
        kept = self.store.kept
        return kept.states, kept.aggregates, kept.types, kept.ledger, kept.position


TYPES = {"a": "CounterGroup", "b": "CounterGroup", "p": "PercentileGroup", "g": "Gauge", "u": "UniqueGroup"}

EVENT = st.builds(
    lambda client, tab, other, ago, value: (
        client, tab, "Gauge" if other == 0 else TYPES[tab], NOW + (300.0 if other == 1 else -ago), str(value)
    ),
    st.sampled_from("xyz"), st.sampled_from("abpgu"), st.integers(0, 30), st.integers(0, 100), st.integers(-5, 5),
)  # fmt: skip
STEP = st.one_of(
    st.tuples(st.just("take"), st.lists(EVENT, min_size=1, max_size=6)),
    st.tuples(st.just("take"), st.lists(EVENT, min_size=1, max_size=6)),
    st.just(("begin",)),
    st.just(("end",)),
    st.tuples(st.just("cool"), st.booleans()),
    st.tuples(st.just("forget"), st.sampled_from("abpgu"), st.sampled_from("xyz")),
    st.builds(lambda tab: ("take", [delete(tab)]), st.sampled_from("abg")),
)


class HotLawTests(SynchronousTestCase):
    """The same log, with States that the native core folds into and without."""

    @law(st.lists(STEP, max_size=25))
    def test_nobody_can_tell(self, steps: list[tuple[Any, ...]]) -> None:
        """Whenever checkpoints, deletions, chores and lack of memory come between: States, Aggregates, ledger."""
        one, other = Be(NATIVE), Be(PLAIN)
        for name, *arguments in steps:
            for be in (one, other):
                getattr(be, name)(*arguments)
        self.assertEqual(one.all(), other.all())
        self.assertEqual(other.native, 0)


class HotTests(SynchronousTestCase):
    """What waits natively, and what comes of it."""

    def setUp(self) -> None:
        """A be that has folded one event of two clients each."""
        self.be = Be(NATIVE)
        self.be.take([counter("x", "a"), counter("y", "a")])
        self.be.begin()
        self.be.end()

    def test_known_states_wait_natively(self) -> None:
        """What comes for a State that is in memory needs no Python object, and is written as known."""
        self.be.take([counter("x", "a"), counter("y", "a"), counter("new", "a")])
        self.assertEqual((self.be.native, list(self.be.folding.generation.pending)), (2, [("a", "new")]))
        self.be.begin()
        checkpoint = self.be.folding.prepare(*self.be._found, self.be.told)
        clients = [client for tab, states in checkpoint.known for client, _ in states]
        self.assertEqual((clients, list(checkpoint.states), checkpoint.changes), (["x", "y"], [("a", "new")], 3))
        self.assertEqual(checkpoint.ledger["folded"], 5)

    def test_damaged_state_costs_only_its_own(self) -> None:
        """A State in memory that cannot be folded into: its Partials are set aside, those of others are folded."""
        self.assertTrue(self.be.folding.hot.update("a", "x", b"\x01\x01?"))
        self.be.take([counter("x", "a"), counter("y", "a")])
        self.be.begin()
        checkpoint = self.be.folding.prepare(*self.be._found, self.be.told)
        self.assertEqual([(aside.client, aside.events) for aside in checkpoint.set_aside], [("x", 1)])
        self.assertEqual([client for _, states in checkpoint.known for client, _ in states], ["y"])
        self.assertEqual((checkpoint.ledger["folded"], checkpoint.ledger["refused.undecodable"]), (3, 1))

    def test_damaged_aggregate_is_counted(self) -> None:
        """An Aggregate that cannot be folded into stays as it is, and the ledger says so."""
        self.be.folding.hot.put("a", "", "CounterGroup", 1, True, b"\x01\x01?")
        self.be.take([counter("x", "a")])
        self.be.begin()
        checkpoint = self.be.folding.prepare(*self.be._found, self.be.told)
        self.assertEqual((dict(checkpoint.aggregates), checkpoint.ledger["aggregates damaged"]), ({}, 1))

    def test_memory_is_bounded(self) -> None:
        """However many States a be is asked for, what it keeps of them stays near its limit, and nothing is lost."""
        self.be.holding._max_bytes = 40_000
        for number in range(40):
            self.be.take([counter(f"client_{number * 20 + i}", "a") for i in range(20)])
            self.be.begin()
            self.be.end()
            self.be.holding.shrink()
            self.assertLessEqual(self.be.folding.hot.memory + self.be.holding.cache.held, 40_000)
        self.be.take([counter(f"client_{number}", "a") for number in range(800)])
        states, _, _, ledger, _ = self.be.all()
        self.assertEqual((len(states["a"]), ledger["folded"]), (802, 1602))
        self.assertNotIn(RETIRED, states["a"])
