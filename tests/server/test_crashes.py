"""be that dies at any step while it folds, carries out operations and prunes: another one comes to what a plain recount
of events and operations says.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.errors import StoreUnavailable
from taba.interfaces import RETIRED, AggregateRow, Selection, StateRow
from taba.server.backend import Backend
from taba.server.gc import Pruning
from taba.server.keeping import Keeping
from taba.server.maintenance import Maintenance
from taba.server.notes import Kind, parse
from taba.server.observation import Observer
from taba.server.operations import DELETE, REBUILD, TYPES, UNDELETE, UPGRADE
from taba.settings import TabSettings
from taba.store.memory import MemoryStore
from taba.testing.stores import FaultyStore
from tests.server.making import NOW, Lanes, Silent, memory_store, registry, sections
from tests.server.recount import Asked, Batch, Event, Recount

KINDS = {**registry().kinds(), **dict.fromkeys(TYPES, native.RAW)}
VBUCKETS = 2
TTL = 600.0
OLD = NOW - 2 * TTL
KEEPING = Keeping([TabSettings("merged", "merge"), TabSettings("kept", "keep")])
ASKED = ("states", "aggregates", "checkpoint", "each_state", "load", "read")


class DyingStore(FaultyStore):
    """A store that a process can reach until its n-th call; that one is done, or not, and nobody hears of it."""

    def __init__(self, store: MemoryStore, calls: int, done: bool) -> None:
        super().__init__(store)
        self.left, self.done = calls, done

    def _call(self, method: str, call: Callable[..., Deferred[Any]], *arguments: Any) -> Deferred[Any]:
        if method in ASKED:
            self.left -= 1
        if self.left < 0:
            self.unavailable()
        elif self.left == 0 and method in ASKED:
            if self.done:
                call(*arguments)
            self.unavailable()
            return fail(StoreUnavailable("the process is dead"))
        return super()._call(method, call, *arguments)


def event_of(name: str, n: int, old: bool) -> Event:
    """An event of a tab of that name, whose value is n."""
    client = f"c{n % 3}"
    if name.startswith("gauge"):
        return client, name, "Gauge", NOW - 1 / (n + 1), str(n)
    return client, name, "CounterGroup", OLD if old else NOW - 1.0, str(n + 1)


def batches() -> st.SearchStrategy[list[list[Event | Asked]]]:
    """What one agent sends: events and operations of a few tabs."""
    tabs = st.sampled_from(["a", "b", "gauge", "merged", "kept"])
    numbers = st.integers(0, 50)
    event = st.builds(event_of, tabs, numbers, st.booleans())
    other = st.builds(lambda tab: ("c9", tab, "PercentileGroup", NOW, "1"), tabs)
    types = st.sampled_from([DELETE, DELETE, UNDELETE, UNDELETE, UPGRADE, REBUILD])
    asked = st.builds(Asked, types, tabs, st.sampled_from([NOW, NOW + 1.0, NOW + 2.5]))
    return st.lists(st.lists(st.one_of(event, event, asked, asked, other), min_size=1, max_size=5), max_size=8)


def grave_of(tab: str, milliseconds: int) -> str:
    """How graves are compared: a deletion is named a millisecond later where an earlier one of its moment has not been
    merged back yet, which it may have been, or not.
    """
    return f"{tab} {milliseconds // 500}"


class Life:
    """One life of a be on a store."""

    def __init__(self, store: Any, clock: Clock, name: str, *, gc: bool) -> None:
        self.clock = clock
        types = registry()
        self.backend = Backend(
            store, types, clock, lambda: NOW, name, Observer(Silent(), lambda: NOW), keeping=KEEPING,
            checkpoint_seconds=0.05,
        )  # fmt: skip
        self.maintenance = Maintenance(
            store, types, self.backend, clock, lambda: NOW, Pruning(types, KEEPING, TTL),
            gc_seconds=0.3 if gc else 1e9,
        )  # fmt: skip
        self.backend.startService()
        self.maintenance.startService()

    def stop(self) -> None:
        """End it, whatever it does."""
        for service in (self.maintenance, self.backend):
            stopped = service.stopService()
            for _ in range(100):
                self.clock.advance(0.1)
            assert stopped is None or stopped.called


class Schedule:
    """Batches, folded by a be that dies at its n-th call of the store, and by another one after it."""

    def __init__(self, case: SynchronousTestCase, given: Sequence[Batch], *, gc: bool = True) -> None:
        self.case, self.given, self.gc = case, given, gc
        self.recount = Recount()
        for batch in given:
            self.recount.take(batch)

    def run(self, calls: int = 10**9, done: bool = False) -> bool:
        """Go through it; whether the first be died."""
        clock = Clock()
        memory = memory_store(clock, VBUCKETS)
        dying = DyingStore(memory, calls, done)
        first = Life(dying, clock, "be-1", gc=self.gc)
        lanes = Lanes()
        for number, batch in enumerate(self.given):
            made = sections([each.event() if isinstance(each, Asked) else each for each in batch], VBUCKETS, KINDS)
            self.case.successResultOf(memory.append(lanes.appends(made)))
            for _ in range(1 + 3 * (number % 2)):
                clock.advance(0.05)
        for _ in range(40):
            clock.advance(0.05)
        died = dying.left <= 0
        second = Life(memory, clock, "be-2", gc=self.gc) if died else None
        for _ in range(140):
            clock.advance(0.05)
        self.check(memory)
        for life in (first, second):
            if life is not None:
                life.stop()
        return died

    def check(self, memory: MemoryStore) -> None:
        """The store holds what the recount says, and nothing waits."""
        case, recount = self.case, self.recount
        case.assertEqual(case.successResultOf(memory.depth()), [])
        types = case.successResultOf(memory.tabs())
        notes = [note for note in map(parse, types) if note and note.kind is Kind.DELETED]
        graves = {grave_of(note.tab, note.milliseconds) for note in notes}
        left = [name for name in types if (note := parse(name)) and note.kind is not Kind.DELETED]
        case.assertEqual(left, [], "something is left to be done")
        case.assertEqual(
            {tab: type for tab, type in types.items() if " " not in tab},
            {tab: held.type for tab, held in recount.tabs.items()},
        )
        case.assertEqual(graves, {grave_of(*each) for each in recount.graves})
        rows: list[StateRow] = []
        case.successResultOf(memory.each_state(Selection(), rows.extend))
        aggregates: list[AggregateRow] = []
        case.successResultOf(memory.each_aggregate(Selection(), aggregates.extend))
        self._check_tabs(rows)
        self._check_aggregates(rows, aggregates)
        ledger = case.successResultOf(memory.ledger())
        lines = {"folded": recount.folded, "refused.other type": recount.refused, "operations": recount.operations}
        case.assertEqual({key: n for key, n in ledger.items() if n}, {key: n for key, n in lines.items() if n})

    def _check_tabs(self, rows: Sequence[StateRow]) -> None:
        """Every event of a tab, and of a grave, is in its States once; of a gauge's the latest is what counts."""
        found: dict[str, Counter[str]] = {}
        for row in rows:
            note = parse(row.tab) if " " in row.tab else None
            counted = found.setdefault(row.tab if note is None else grave_of(note.tab, note.milliseconds), Counter())
            if row.type == "CounterGroup":
                summary = native.counter_group_summary(row.state, NOW, ())[1]
                counted.update(count=summary.count, total=int(summary.sum))
            elif row.type == "PercentileGroup":
                counted.update(count=native.percentile_group_summary(row.state, NOW, ())[3][0].count)
            else:
                for entry in native.gauge_entries(row.state):
                    counted[row.client] = max(counted[row.client], json.loads(entry.value) + 1)
        expected: dict[str, Counter[str]] = {}
        held = [*self.recount.tabs.items()]
        held += [(grave_of(*each), grave) for each, grave in self.recount.graves.items()]
        for name, each in held:  # deletions of one moment are counted together
            there = expected.setdefault(name, Counter())
            for client, _, value in each.events:
                if each.type == "Gauge":  # a higher value is a later one
                    there[client] = max(there[client], int(value) + 1)
                else:
                    there.update(count=1, total=int(value) if each.type == "CounterGroup" else 0)
        self.case.assertEqual(
            {name: +counted for name, counted in found.items() if +counted},
            {name: +counted for name, counted in expected.items() if +counted},
        )

    def _check_aggregates(self, rows: Sequence[StateRow], aggregates: Sequence[AggregateRow]) -> None:
        """Every Aggregate is the reduced States."""
        types = registry()
        states: dict[str, list[StateRow]] = {}
        for row in rows:
            states.setdefault(row.tab, []).append(row)
        running = {tab: each for tab, each in states.items() if types.handlers[each[0].type].running_aggregate}
        self.case.assertEqual(
            {row.tab: row.aggregate for row in aggregates},
            {tab: types.handlers[each[0].type].reduce([row.state for row in each]) for tab, each in running.items()},
        )
        if self.gc:
            for tab in ("merged", "a", "b"):
                clients = {row.client for row in states.get(tab, ()) if row.type == "CounterGroup"}
                if tab == "merged":
                    self.case.assertLessEqual(clients, {RETIRED})


HAND_MADE: Sequence[Batch] = (
    [event_of("a", 1, True), event_of("a", 2, False), event_of("gauge", 1, False), event_of("merged", 3, False)],
    [event_of("a", 3, False), Asked(DELETE, "a")],
    [event_of("a", 4, False), event_of("a", 5, True), event_of("gauge", 2, False)],
    [Asked(DELETE, "gauge"), Asked(DELETE, "merged"), Asked(REBUILD, "a")],
    [event_of("gauge", 4, False), Asked(UNDELETE, "a")],
    [Asked(UNDELETE, "gauge"), event_of("merged", 9, False), Asked(UNDELETE, "merged"), Asked(UPGRADE, "a")],
    [event_of("a", 6, False), Asked(DELETE, "a", NOW + 1.0), event_of("b", 1, False)],
    [Asked(UNDELETE, "a"), event_of("b", 2, True), Asked(DELETE, "b"), Asked(UNDELETE, "b")],
)


class CrashTests(SynchronousTestCase):
    """One be dies, another goes on."""

    def test_every_step(self) -> None:
        """be dies at its first call of the store, at its second ...: before it was done, and after."""
        schedule = Schedule(self, HAND_MADE)
        for done in (False, True):
            calls = 1
            while schedule.run(calls, done):
                calls += 1
            self.assertGreater(calls, 40)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(batches(), st.integers(1, 60), st.booleans(), st.booleans())
    def test_any_schedule(self, given: list[Batch], calls: int, done: bool, gc: bool) -> None:
        """Whatever is sent, and whenever be dies."""
        Schedule(self, given, gc=gc).run(calls, done)
