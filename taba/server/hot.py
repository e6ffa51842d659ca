"""Folding where the States are: those that a be has in memory, of Types that the native core folds, without a Python
object for each. Pure.

A (tab, client) is hot from the checkpoint on that folded into it first. What comes for it then waits natively; all
else, and all that anything is wrong with, waits as before and is folded by its Handler. Whichever way a Partial goes,
it comes to the same State, to the same Aggregate (of fractions: to rounding, for the order of clients may differ), and
into the same line of the ledger.

Every hot (tab, client) that something waits for has its State here; so what waits natively becomes what waits otherwise
(`Generation.unpack`) before a State is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, field

from taba import native
from taba.handlers.counter_group import CounterGroup
from taba.handlers.gauge import Gauge
from taba.handlers.percentile_group import PercentileGroup
from taba.handlers.registry import Registry
from taba.handlers.unique_group import UniqueGroup
from taba.interfaces import RETIRED, Checkpoint, IHandler
from taba.server.generations import Failed, Generation, Key, Pending, fold_aggregates, fold_state

NATIVE = frozenset((CounterGroup, PercentileGroup, Gauge, UniqueGroup))
"""The Handlers that do nothing but what the native core does."""

Known = Sequence[tuple[str, Sequence[tuple[str, bytes]]]]
"""See `Checkpoint.known`."""


def is_native(handler: IHandler | None) -> bool:
    """Whether a Type's States may be hot: one of somebody else's Handler, under whatever name, may not."""
    return type(handler) in NATIVE


@define
class Prepared:
    """What a generation comes to."""

    states: dict[Key, bytes | None] = field(factory=dict)
    known: Known = ()
    aggregates: dict[str, bytes | None] = field(factory=dict)


@define
class HotFold:
    """The fold of one generation, by its Handlers and by the native core."""

    registry: Registry
    hot: native.HotStates
    generation: Generation
    failed: Failed
    _by_tab: dict[str, list[bytes]] = field(factory=dict, init=False)
    _handlers: dict[str, IHandler] = field(factory=dict, init=False)
    _prepared: Prepared = field(factory=Prepared, init=False)

    def fold(self, states: Mapping[Key, bytes], aggregates: Mapping[str, bytes]) -> Prepared:
        """Fold what waits. `states` and `aggregates` are what there is of those that `Folding.needed` names."""
        waiting = self.generation.waiting
        for key, pending in self.generation.pending.items():
            self._fold_state(key, pending, states.get(key, b""))
        if waiting is None:
            self._fold_aggregates(aggregates)
            return self._prepared
        self._prepared.known = self._fold_hot(waiting)
        self._fold_aggregates(aggregates)
        done = self._prepared.aggregates
        for tab, type in waiting.missing():
            self._warm(tab, type, aggregates.get(tab, b""))
        for tab, aggregate in done.items():
            self.hot.update(tab, native.AGGREGATE, aggregate)
        folded, damaged = waiting.fold_aggregates()
        if counted := sum(tab in done or tab not in self._by_tab for tab in damaged):
            self.generation.ledger["aggregates damaged"] += counted
        done.update(folded)
        return self._prepared

    def _fold_state(self, key: Key, pending: Pending, state: bytes) -> None:
        handler = self.registry.get(pending.type)
        assert handler is not None, "only Partials of known Types are pending"
        state, taken = fold_state(handler, state, key, pending, self.generation, self.failed)
        if taken:
            self._prepared.states[key] = state
            if handler.running_aggregate:
                self._by_tab.setdefault(key[0], []).extend(taken)
                self._handlers[key[0]] = handler

    def _fold_hot(self, waiting: native.WaitingPartials) -> Known:
        """Fold into hot States: the new ones. A State that what waits otherwise was folded into goes on from there."""
        both = [key for key, state in self._prepared.states.items() if self.hot.update(*key, state)]
        waiting.missing()  # it puts them in order
        known = waiting.fold()
        if both:
            folded = {(tab, client) for tab, states in known for client, _ in states}
            for key in both:
                if key in folded:
                    del self._prepared.states[key]
        for key, pending in _by_key(waiting).items():
            self._fold_state(key, pending, self.hot.get(*key) or b"")
        return known

    def _fold_aggregates(self, aggregates: Mapping[str, bytes]) -> None:
        self._prepared.aggregates.update(
            fold_aggregates(self._by_tab, self._handlers, aggregates, self.generation, self.failed)
        )

    def _warm(self, tab: str, type: str, aggregate: bytes) -> None:
        """Let a tab's Aggregate be hot."""
        handler = self.registry.get(type)
        assert handler is not None, "only States of known Types are hot"
        self.hot.put(tab, native.AGGREGATE, type, handler.kind, True, aggregate)


def _by_key(waiting: native.WaitingPartials) -> dict[Key, Pending]:
    """What the native core could not fold, as it waits otherwise."""
    found: dict[Key, Pending] = {}
    for tab, client, type, events, partial in waiting.rows(failed=True):
        pending = found.setdefault((tab, client), Pending(type))
        pending.partials.append(partial)
        pending.events.append(events)
    return found


def learn(hot: native.HotStates, registry: Registry, generation: Generation, checkpoint: Checkpoint) -> set[Key]:
    """Let the States that a checkpoint is about to write be hot, where they may; those that are. `generation` is what
    it was made of.
    """
    learnt: set[Key] = set()
    for key, state in checkpoint.states.items():
        pending = generation.pending.get(key)
        handler = None if pending is None else registry.get(pending.type)
        if pending is not None and handler is not None and state and is_native(handler) and key[1] != RETIRED:
            hot.put(*key, pending.type, handler.kind, handler.running_aggregate, state)
            learnt.add(key)
        elif hot.update(*key, state):
            learnt.add(key)
    return learnt
