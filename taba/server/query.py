"""Answers queries from the store: Aggregates, Projections, names.

Rows come page by page and are rendered one by one; whoever takes them sets the pace. So an answer of any length needs
the memory of one page, of the State that a tab's States are being reduced to, and of the names that the store lists
(those of all tabs, where it has to be known which are selected). States by client, which no store gives in that order,
need more: see `by_client`. Of be's own notes and graves nothing is shown.

A query gives up the reactor's turn every `TURN_SECONDS`; only what a Handler does in one call, and one page of the
store, cannot be divided. Rendering takes the time `now - latency`: windows end there. Cancelling a query ends it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from heapq import merge
from itertools import groupby, islice
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from taba.handlers.registry import Registry
from taba.interfaces import RETIRED, AggregateRow, IStore, Selection, StateRow, Style
from taba.server.by_client import Reading
from taba.server.parameters import Choice, ParameterError, Parameters
from taba.server.showing import Reduced, Shown
from taba.server.turns import Turns
from taba.server.visible import Visible

T = TypeVar("T")

EmitName = Callable[[str], Deferred[None] | None]
"""Takes a name. Of each of these: a Deferred that it returns is waited for before the next comes."""
Emit = Callable[[str, str], Deferred[None] | None]
"""Takes (name, rendering)."""
EmitState = Callable[[str, str, str], Deferred[None] | None]
"""Takes (tab, client, rendering)."""

HELD_BYTES = 16 << 20
"""What all queries of States by client may hold together."""
LEAST_HELD_BYTES = 1 << 20
"""What each of them may hold, however many there are."""
TABS_AT_A_TIME = 256
"""Of how many tabs Aggregates are read at a time, where some have to be reduced, and a listing needs both in order."""
NAMES_AT_A_TIME = 4096
"""How many names are sorted at a time."""


class Query:
    """The queries of one server process. `latency` is how far, in seconds, windows end before now."""

    def __init__(
        self,
        store: IStore,
        registry: Registry,
        wall: Callable[[], float],
        clock: IReactorTime,
        latency: Callable[[], float] = lambda: 0.0,
        *,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        self._store = Visible(store)
        self._registry = registry
        self._wall = wall
        self._clock = clock
        self._latency = latency
        self._held_bytes = held_bytes
        self._by_client = 0  # queries of States by client that are under way

    def _shown(self, asked: Parameters, style: Style) -> Shown:
        """How the States of this query are shown: all as of one time."""
        return Shown(self._registry, self._wall() - min(30.0, self._latency()), style, asked.raw)

    # ------------------------------------------------------------------------------------------ Aggregates

    async def aggregates(self, asked: Parameters, style: Style, emit: Emit) -> None:
        """Give the Aggregates of the selected tabs to `emit`, ascending; with `client`, of the selected clients only.
        """
        turns = Turns(self._clock)
        chosen, clients = asked.tabs(), await self._clients(asked, turns)
        shown = self._shown(asked, style)
        if clients is not None:
            await self._reduced(Selection(await self._tabs(asked, turns), clients), shown, turns, emit)
            return
        types = await self._store.tabs(_listed(chosen))
        tabs = await _chosen(chosen, types, turns)
        selected = types if tabs is None else tabs
        if all(self._runs(type) for type in {types[tab] for tab in selected}):
            await self._running(Selection(tabs), shown, turns, emit)
            return
        names = await _ascending(selected, turns)
        while some := list(islice(names, TABS_AT_A_TIME)):
            running = frozenset(tab for tab in some if self._runs(types[tab]))
            await self._both(running, frozenset(some) - running, shown, turns, emit)

    def _runs(self, type: str) -> bool:
        handler = self._registry.get(type)
        return handler is not None and handler.running_aggregate

    async def _both(
        self, running: frozenset[str], reduced: frozenset[str], shown: Shown, turns: Turns, emit: Emit
    ) -> None:
        """The running Aggregates of some tabs, and those of others that have to be reduced, in one order."""
        waiting: deque[tuple[str, str]] = deque()

        async def emit_up_to(tab: str | None) -> None:
            while waiting and (tab is None or waiting[0][0] < tab):
                await _given(emit(*waiting.popleft()))

        async def emit_between(tab: str, rendering: str) -> None:
            await emit_up_to(tab)
            await _given(emit(tab, rendering))

        if running:
            await self._running(Selection(running), shown, turns, lambda *pair: waiting.append(pair))
        if reduced:
            await self._reduced(
                Selection(reduced), shown, turns, lambda *pair: Deferred.fromCoroutine(emit_between(*pair))
            )
        await emit_up_to(None)

    async def _running(self, selection: Selection, shown: Shown, turns: Turns, emit: Emit) -> None:
        async def page(rows: Sequence[AggregateRow]) -> None:
            states = shown.states([(row.type, row.aggregate) for row in rows])
            for row, state in zip(rows, states, strict=True):
                waiting = emit(row.tab, state)
                if waiting is not None:
                    await waiting
                if turns.over():
                    await turns.next()

        await self._store.each_aggregate(selection, _consumer(page))

    async def _reduced(self, selection: Selection, shown: Shown, turns: Turns, emit: Emit) -> None:
        """Reduce the selected States tab by tab."""
        under_way: tuple[str, Reduced] | None = None

        async def finish() -> None:
            if under_way is not None:
                tab, reduced = under_way
                await _given(emit(tab, reduced.rendering() or ""))

        async def page(rows: Sequence[StateRow]) -> None:
            nonlocal under_way
            for (tab, type), group in groupby(rows, key=lambda row: (row.tab, row.type)):
                if under_way is None or under_way[0] != tab:
                    await finish()
                    under_way = tab, Reduced(type, shown)
                under_way[1].take([row.state for row in group])
                await _rested(turns)

        await self._store.each_state(selection, _consumer(page))
        await finish()

    async def super_aggregate(self, asked: Parameters, style: Style) -> str | None:
        """The selected States reduced over clients and tabs, rendered; None when there is none.

        ParameterError when the selected tabs are of several Types.
        """
        turns = Turns(self._clock)
        choice, clients = asked.tabs(), await self._clients(asked, turns)
        types = await self._store.tabs(_listed(choice))
        tabs = await _chosen(choice, types, turns)
        kinds = {types[tab] for tab in (types if tabs is None else tabs)}
        if not kinds:
            return None
        if len(kinds) > 1:
            raise ParameterError(
                f"The selected tabs are of several Types ({', '.join(sorted(kinds))}); name those of one Type."
            )
        type = kinds.pop()
        if self._registry.get(type) is None:
            raise ParameterError(f"There is no Handler for Type {type} here.")
        reduced = Reduced(type, self._shown(asked, style))

        async def page(rows: Sequence[StateRow] | Sequence[AggregateRow]) -> None:
            # A tab may have been made, of another Type, since the tabs were read.
            reduced.take([_blob(row) for row in rows if row.type == type])
            await _rested(turns)

        if clients is None and self._runs(type):
            await self._store.each_aggregate(Selection(tabs), _consumer(page))
        else:
            await self._store.each_state(Selection(tabs, clients), _consumer(page))
        return reduced.rendering()

    # ----------------------------------------------------------------------------------------- Projections

    async def projections(self, asked: Parameters, style: Style, emit: EmitState) -> None:
        """Give every selected State to `emit`, ascending by (tab, client)."""
        turns = Turns(self._clock)
        selection = await self._selection(asked, turns)
        await self._states(selection, self._shown(asked, style), turns, emit)

    async def _states(self, selection: Selection, shown: Shown, turns: Turns, emit: EmitState) -> None:
        async def page(rows: Sequence[StateRow]) -> None:
            some = [row for row in rows if row.client != RETIRED]
            states = shown.states([(row.type, row.state) for row in some])
            for row, state in zip(some, states, strict=True):
                waiting = emit(row.tab, row.client, state)
                if waiting is not None:
                    await waiting
                if turns.over():
                    await turns.next()

        await self._store.each_state(selection, _consumer(page))

    async def projections_by_client(self, asked: Parameters, style: Style, emit: EmitState) -> None:
        """Give every selected State to `emit`, ascending by (client, tab)."""
        turns = Turns(self._clock)
        selection = await self._selection(asked, turns)
        shown = self._shown(asked, style)
        self._by_client += 1
        try:
            after: str | None = None
            while True:
                after, more = await self._some_clients(selection, after, shown, turns, emit)
                if not more:
                    return
        finally:
            self._by_client -= 1

    async def _some_clients(
        self, selection: Selection, after: str | None, shown: Shown, turns: Turns, emit: EmitState
    ) -> tuple[str | None, bool]:
        """Give the States of the next clients, as many as may be held, or of one that has more than that.

        Answers with the last client that is done, and whether there are others.
        """
        clients = selection.clients
        if clients is not None and after is not None:
            clients = frozenset(client for client in clients if client > after)
        reading = Reading(after, max(LEAST_HELD_BYTES, self._held_bytes // self._by_client))

        async def page(rows: Sequence[StateRow]) -> None:
            reading.take(rows)
            await _rested(turns)

        await self._store.each_state(Selection(selection.tabs, clients), _consumer(page))
        done = after
        for client, kept in reading.clients():
            states = shown.states([(type, state) for _, type, state in kept])
            for (tab, _, _), state in zip(kept, states, strict=True):
                await _given(emit(tab, client, state))
                await _rested(turns)
            done = client
        if reading.limit is not None and done == after:
            done = reading.limit
            await self._states(Selection(selection.tabs, frozenset((done,))), shown, turns, emit)
        return done, reading.limit is not None

    # ----------------------------------------------------------------------------------------------- names

    async def names(self, asked: Parameters, emit: EmitName) -> None:
        """Give the selected tabs to `emit`, ascending; with `client`, those in which a selected client has a State."""
        turns = Turns(self._clock)
        clients = await self._clients(asked, turns)
        if clients is None:
            choice = asked.tabs()
            await self._listed(choice, await self._store.tabs(_listed(choice)), turns, emit)
            return
        last: str | None = None

        async def page(rows: Sequence[StateRow]) -> None:
            nonlocal last
            for row in rows:
                if row.tab != last:
                    last = row.tab
                    await _given(emit(last))
            await _rested(turns)

        await self._store.each_state(Selection(await self._tabs(asked, turns), clients), _consumer(page))

    async def clients(self, asked: Parameters, emit: EmitName) -> None:
        """Give the selected clients to `emit`, ascending."""
        await self._listed(asked.clients(), await self._store.clients(None), Turns(self._clock), emit)

    async def types(self, asked: Parameters, emit: Emit) -> None:
        """Give the selected tabs and their Types to `emit`, ascending."""
        choice = asked.tabs()
        types = await self._store.tabs(_listed(choice))
        await self._listed(choice, types, Turns(self._clock), lambda tab: emit(tab, types[tab]))

    async def _listed(self, choice: Choice | None, known: Collection[str], turns: Turns, emit: EmitName) -> None:
        chosen = await _chosen(choice, known, turns)
        for name in await _ascending(known if chosen is None else chosen, turns):
            await _given(emit(name))
            await _rested(turns)

    async def _selection(self, asked: Parameters, turns: Turns) -> Selection:
        """The store's selection for a request."""
        return Selection(await self._tabs(asked, turns), await self._clients(asked, turns))

    async def _tabs(self, asked: Parameters, turns: Turns) -> frozenset[str] | None:
        """The selected tabs, those that do not exist perhaps among them; None for all."""
        choice = asked.tabs()
        if choice is None or choice.listed is not None:
            return None if choice is None else choice.listed
        return await _chosen(choice, await self._store.tabs(), turns)

    async def _clients(self, asked: Parameters, turns: Turns) -> frozenset[str] | None:
        """The selected clients, those that do not exist perhaps among them; None for all."""
        choice = asked.clients()
        if choice is None or choice.listed is not None:
            return None if choice is None else choice.listed
        return await _chosen(choice, await self._store.clients(None), turns)


def _listed(choice: Choice | None) -> frozenset[str] | None:
    """The names that a choice lists, which need not be looked for among all; None for a pattern, and for all."""
    return None if choice is None else choice.listed


async def _given(waiting: Deferred[None] | None) -> None:
    """Wait until there is room for more."""
    if waiting is not None:
        await waiting


async def _rested(turns: Turns) -> None:
    """Give up the turn when it is over."""
    if turns.over():
        await turns.next()


def _consumer(page: Callable[[Sequence[T]], Awaitable[None]]) -> Callable[[Sequence[T]], Deferred[None]]:
    """What a store gives its pages to."""
    return lambda rows: Deferred.fromCoroutine(page(rows))  # type: ignore[arg-type]


async def _chosen(choice: Choice | None, known: Collection[str], turns: Turns) -> frozenset[str] | None:
    """Those of the known names that are chosen; None for all."""
    if choice is None:
        return None
    if choice.listed is not None:
        return frozenset(name for name in choice.listed if name in known)
    chosen = set()
    for name in known:
        if choice.takes(name):
            chosen.add(name)
        await _rested(turns)
    return frozenset(chosen)


async def _ascending(names: Collection[str], turns: Turns) -> Iterator[str]:
    """Names in their order, sorted some at a time."""
    rest = iter(names)
    runs = []
    while some := list(islice(rest, NAMES_AT_A_TIME)):
        runs.append(sorted(some))
        await _rested(turns)
    return merge(*runs)


def _blob(row: StateRow | AggregateRow) -> bytes:
    return row.state if isinstance(row, StateRow) else row.aggregate
