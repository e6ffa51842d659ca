"""What queries may see of a store: all but be's own notes and graves (see `notes`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks

from taba.interfaces import AggregateRow, IStore, Selection, StateRow
from taba.server.notes import is_note

Row = TypeVar("Row", StateRow, AggregateRow)


class Visible:
    """The part of `IStore` that queries use, without the names that are not tabs. Its methods are those of `IStore`."""

    def __init__(self, store: IStore) -> None:
        self._store = store

    def tabs(self, wanted: frozenset[str] | None = None) -> Deferred[dict[str, str]]:
        """See `IStore.tabs`."""
        return self._store.tabs(wanted).addCallback(
            lambda types: {tab: type for tab, type in types.items() if not is_note(tab)}
        )

    @inlineCallbacks
    def clients(self, tabs: frozenset[str] | None):  # type: ignore[no-untyped-def]
        """See `IStore.clients`. Where there are notes, a client that only a grave knows is none."""
        if tabs is None:
            names = yield self._store.tabs()
            if any(is_note(name) for name in names):
                tabs = frozenset(names)
        wanted = tabs and frozenset(tab for tab in tabs if not is_note(tab))
        return (yield self._store.clients(wanted))

    def each_state(
        self, selection: Selection, consume: Callable[[Sequence[StateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """See `IStore.each_state`."""
        return self._store.each_state(_visible(selection), _seeing(consume))

    def each_aggregate(
        self, selection: Selection, consume: Callable[[Sequence[AggregateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """See `IStore.each_aggregate`."""
        return self._store.each_aggregate(_visible(selection), _seeing(consume))


def _visible(selection: Selection) -> Selection:
    if selection.tabs is None or not any(map(is_note, selection.tabs)):
        return selection
    return evolve(selection, tabs=frozenset(tab for tab in selection.tabs if not is_note(tab)))


def _seeing(
    consume: Callable[[Sequence[Row]], Deferred[Any] | None],
) -> Callable[[Sequence[Row]], Deferred[Any] | None]:
    def page(rows: Sequence[Row]) -> Deferred[Any] | None:
        seen = [row for row in rows if not is_note(row.tab)]
        return consume(seen) if seen else None

    return page
