"""Answers queries from the store: Aggregates, Projections, names.

Rows come page by page and are rendered as they come, so that an answer of any length needs the memory of one page.
Rendering takes the time `now - latency`: windows end there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, inlineCallbacks

from taba.errors import CodecError
from taba.handlers.registry import Registry
from taba.interfaces import RETIRED, AggregateRow, IStore, Selection, StateRow, Style
from taba.server.parameters import ParameterError, Parameters

Emit = Callable[[Sequence[tuple[str, str]]], Any]
"""Takes (name, rendering) pairs, ascending by name; may return a Deferred to slow the query down."""
EmitStates = Callable[[Sequence[tuple[str, str, str]]], Any]
"""Takes (tab, client, rendering) triples."""


class Query:
    """The queries of one server process. `latency` is how far, in seconds, windows end before now."""

    def __init__(
        self,
        store: IStore,
        registry: Registry,
        wall: Callable[[], float],
        latency: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._store = store
        self._registry = registry
        self._wall = wall
        self._latency = latency

    def _shown(self, asked: Parameters, style: Style) -> _Shown:
        """How the States of this query are shown: all as of one time."""
        return _Shown(self._registry, self._wall() - min(30.0, self._latency()), style, asked.raw)

    @inlineCallbacks
    def aggregates(self, asked: Parameters, style: Style, emit: Emit):  # type: ignore[no-untyped-def]
        """Give the Aggregates of the selected tabs to `emit`; with `client`, of the selected clients only."""
        types = yield self._store.tabs()
        tabs = asked.tabs(types)
        shown = self._shown(asked, style)
        if asked.client is not None:
            clients = asked.clients((yield self._store.clients(None)))
            yield self._reduced(Selection(tabs, clients), shown, emit)
            return
        reduced = frozenset(
            tab for tab, type in types.items() if (tabs is None or tab in tabs) and not self._runs(type)
        )
        running = None if tabs is None and not reduced else frozenset(tabs if tabs is not None else types) - reduced
        collected: list[tuple[str, str]] = []
        if reduced:
            yield self._reduced(Selection(reduced), shown, collected.extend)
        merge = _Merge(collected, emit)
        if running is None or running:
            yield self._store.each_aggregate(
                Selection(running),
                lambda rows: merge.add([(row.tab, shown.state(row.type, row.aggregate)) for row in rows]),
            )
        yield merge.end()

    def _runs(self, type: str) -> bool:
        handler = self._registry.get(type)
        return handler is not None and handler.running_aggregate

    def _reduced(self, selection: Selection, shown: _Shown, emit: Emit) -> Deferred[None]:
        """Reduce the selected States tab by tab."""
        waiting: list[StateRow] = []

        def page(rows: Sequence[StateRow]) -> Any:
            waiting.extend(rows)
            last = waiting[-1].tab
            whole = [row for row in waiting if row.tab != last]
            del waiting[: len(whole)]
            return emit([shown.reduced(tab, list(group)) for tab, group in _by_tab(whole)])

        def end(_: None) -> Any:
            return emit([shown.reduced(tab, list(group)) for tab, group in _by_tab(waiting)])

        done = self._store.each_state(selection, page)
        done.addCallback(end)
        return done

    @inlineCallbacks
    def projections(self, asked: Parameters, style: Style, emit: EmitStates):  # type: ignore[no-untyped-def]
        """Give every selected State to `emit`."""
        selection = yield self.selection(asked)
        shown = self._shown(asked, style)

        def page(rows: Sequence[StateRow]) -> Any:
            return emit(
                [(row.tab, row.client, shown.state(row.type, row.state)) for row in rows if row.client != RETIRED]
            )

        yield self._store.each_state(selection, page)

    @inlineCallbacks
    def super_aggregate(self, asked: Parameters, style: Style):  # type: ignore[no-untyped-def]
        """The selected States reduced over clients and tabs, rendered; None when there is none.

        ParameterError when the selected tabs are of several Types.
        """
        types = yield self._store.tabs()
        tabs = asked.tabs(types)
        chosen = {types[tab] for tab in (types if tabs is None else tabs)}
        if not chosen:
            return None
        if len(chosen) > 1:
            raise ParameterError(
                f"The selected tabs are of several Types ({', '.join(sorted(chosen))}); name those of one Type."
            )
        type = chosen.pop()
        handler = self._registry.get(type)
        if handler is None:
            raise ParameterError(f"There is no Handler for Type {type} here.")
        states: list[bytes] = []

        def reduce_page(page: Iterable[bytes]) -> None:
            states[:] = [handler.reduce([*states, *page])]

        if asked.client is None and handler.running_aggregate:
            yield self._store.each_aggregate(Selection(tabs), lambda rows: reduce_page(_aggregates(rows, type)))
        else:
            clients = asked.clients((yield self._store.clients(None))) if asked.client is not None else None
            yield self._store.each_state(Selection(tabs, clients), lambda rows: reduce_page(_states(rows, type)))
        return self._shown(asked, style).state(type, states[0]) if states else None

    @inlineCallbacks
    def selection(self, asked: Parameters):  # type: ignore[no-untyped-def]
        """The store's selection for a request."""
        tabs = asked.tabs((yield self._store.tabs())) if asked.name is not None else None
        clients = asked.clients((yield self._store.clients(None))) if asked.client is not None else None
        return Selection(tabs, clients)

    @inlineCallbacks
    def names(self, asked: Parameters):  # type: ignore[no-untyped-def]
        """The selected tabs; with `client`, those in which a selected client has a State."""
        types = yield self._store.tabs()
        tabs = asked.tabs(types)
        if asked.client is None:
            return sorted(types if tabs is None else tabs)
        clients = asked.clients((yield self._store.clients(None)))
        found: set[str] = set()
        yield self._store.each_state(Selection(tabs, clients), lambda rows: found.update(row.tab for row in rows))
        return sorted(found)

    @inlineCallbacks
    def clients(self, asked: Parameters):  # type: ignore[no-untyped-def]
        """The selected clients."""
        known = yield self._store.clients(None)
        selected = asked.clients(known)
        return sorted(known if selected is None else selected)

    @inlineCallbacks
    def types(self, asked: Parameters):  # type: ignore[no-untyped-def]
        """Tab -> Type of the selected tabs, ascending."""
        types = yield self._store.tabs()
        tabs = asked.tabs(types)
        return {tab: types[tab] for tab in sorted(types if tabs is None else tabs)}


def _by_tab(rows: Sequence[StateRow]) -> Iterable[tuple[str, Iterable[StateRow]]]:
    return groupby(rows, key=lambda row: row.tab)


def _states(rows: Sequence[StateRow], type: str) -> list[bytes]:
    """Those of the Type: a tab may have been made between two reads."""
    return [row.state for row in rows if row.type == type]


def _aggregates(rows: Sequence[AggregateRow], type: str) -> list[bytes]:
    return [row.aggregate for row in rows if row.type == type]


@frozen
class _Shown:
    """Renders States for one query. What cannot be rendered says so in its place, so that it breaks no listing."""

    registry: Registry
    time: float
    style: Style
    raw: bool

    def state(self, type: str, state: bytes) -> str:
        """One State; a raw one as the repr of its bytes, in JSON as their hexadecimal digits."""
        if self.raw:
            return repr(state) if self.style is Style.TEXT else f'"{state.hex()}"'
        handler = self.registry.get(type)
        if handler is None:
            return f'{{"error": "no Handler for Type {type}"}}'
        try:
            return handler.render(state, self.time, self.style)
        except CodecError as problem:
            return f'{{"error": "damaged State: {problem}"}}'

    def reduced(self, tab: str, rows: Sequence[StateRow]) -> tuple[str, str]:
        """The States of a tab as one, with its name."""
        handler = self.registry.get(rows[0].type)
        state = rows[0].state
        if handler is not None and len(rows) > 1:
            try:
                state = handler.reduce([row.state for row in rows])
            except CodecError as problem:
                return tab, f'{{"error": "damaged State: {problem}"}}'
        return tab, self.state(rows[0].type, state)


class _Merge:
    """Puts sorted pairs that are already there between sorted pages, so that a listing stays sorted."""

    def __init__(self, waiting: list[tuple[str, str]], emit: Emit) -> None:
        self._waiting = waiting
        self._emit = emit

    def add(self, page: list[tuple[str, str]]) -> Any:
        """The next page."""
        last = page[-1][0]
        before = [pair for pair in self._waiting if pair[0] < last]
        del self._waiting[: len(before)]
        return self._emit(sorted(before + page) if before else page)

    def end(self) -> Any:
        """No page follows."""
        return self._emit(self._waiting) if self._waiting else None
