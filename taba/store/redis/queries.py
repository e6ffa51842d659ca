"""What queries read of the shards. Names are held whole, States only page by page.

Rows come sorted by (tab, client), from all shards together; a page is of as many tabs as make it full. What a page
has of one tab is of one moment, and so is its Type; the States of a tab with more clients than a page holds come in
several. How many rows make `page_bytes` is guessed from the pages before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred

from taba.interfaces import RETIRED, AggregateRow, LogDepth, Selection, StateRow
from taba.store.judge import FLUSHED, LOST
from taba.store.limits import Limits
from taba.store.redis import rows
from taba.store.redis.asking import Command, ask, ask_all
from taba.store.redis.keys import AGGREGATES, CLIENTS, ENTRIES, LEDGER, TYPES, Keys
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import LiveMap, ShardMap
from taba.store.redis.side_by_side import together

T = TypeVar("T")

TABS_PER_CALL = 200
"""How many tabs one round trip asks the size of."""
NAMES_PER_CALL = 100
"""Of so many tabs, at most, every vbucket is asked by name."""
FIRST_GUESS = 4096.0
"""The bytes of a row before one was seen."""

OWN = (LOST, FLUSHED)
"""The store's own lines of the ledger; they are fields beside be's row."""

Tab = tuple[str, int, str]
"""(tab, vbucket, Type)."""
Consume = Callable[[Sequence[Any]], "Deferred[Any] | None"]


@define(eq=False)
class _Pace:
    """How many rows one page of a query takes."""

    _limits: Limits
    _size: float = field(default=FIRST_GUESS, init=False)

    @property
    def rows(self) -> int:
        """As many as are about `page_bytes`, at least one, at most `page_rows`."""
        return max(1, min(int(self._limits.page_rows), int(self._limits.page_bytes / self._size)))

    def seen(self, sizes: Sequence[int]) -> None:
        """The sizes of the rows of a page."""
        self._size = max(1.0, self._size / 2, sum(sizes) / len(sizes))


@define(eq=False)
class _Ledgers:
    """Sums the rows of all vbuckets. Of most nothing has changed since somebody asked the last time, seconds ago: what
    has not is not taken apart again.
    """

    _found: Mapping[int, Any] = field(factory=dict, init=False)
    _lines: dict[int, Mapping[str, int]] = field(factory=dict, init=False)
    _total: dict[str, int] = field(factory=dict, init=False)

    def total(self, found: Mapping[int, Sequence[bytes | None]]) -> dict[str, int]:
        """The sum, with the store's own lines in any case. `found`: vbucket -> be's row, and the values of OWN."""
        if found != self._found or not self._total:
            before = self._found
            self._lines = {
                v: self._lines[v] if v in self._lines and before.get(v) == each else _lines_of(*each)
                for v, each in found.items()
            }
            total = dict.fromkeys(OWN, 0)
            for lines in self._lines.values():
                for line, count in lines.items():
                    total[line] = total.get(line, 0) + count
            self._found, self._total = found, total
        return dict(self._total)


def _lines_of(row: bytes | None, *own: bytes | None) -> dict[str, int]:
    """The lines of one vbucket's ledger: be's, and the store's own that are not zero."""
    lines = rows.read_ledger(row or b"{}")
    for line, count in zip(OWN, own, strict=True):
        if count:
            lines[line] = lines.get(line, 0) + int(count)
    return lines


@define(eq=False)
class Queries:
    """The queries of one process."""

    _shards: Mapping[str, Shard]
    _map: ShardMap | LiveMap
    _keys: Keys
    _limits: Limits
    _ledgers: _Ledgers = field(factory=_Ledgers, init=False)

    # ------------------------------------------------------------------------------------------ asking all vbuckets

    async def _of_vbuckets(self, command: Callable[[int], Command], only: int | None = None) -> dict[int, Any]:
        """The reply to one command for each vbucket, or for one, from all shards at once."""

        async def of_shard(name: str) -> dict[int, Any]:
            shard = self._shards[name]
            vbuckets = self._map.vbuckets_of(name) if only is None else [only]
            return dict(
                zip(vbuckets, await ask_all(shard, shard.link("query"), [command(v) for v in vbuckets]), strict=True)
            )

        names = self._map.names() if only is None else [self._map.shard_of(only)]
        return _merged(await together(of_shard(name) for name in names))

    async def _of_tabs(self, tabs: Sequence[Tab], command: Callable[[Tab], Command]) -> list[Any]:
        """The reply to one command for each tab, in order."""

        async def of_shard(name: str, places: Sequence[int]) -> dict[int, Any]:
            shard = self._shards[name]
            commands = [command(tabs[place]) for place in places]
            return dict(zip(places, await ask_all(shard, shard.link("query"), commands), strict=True))

        places_of: dict[str, list[int]] = {}
        for place, (_, vbucket, _) in enumerate(tabs):
            places_of.setdefault(self._map.shard_of(vbucket), []).append(place)
        found = _merged(await together(of_shard(name, places) for name, places in places_of.items()))
        return [found[place] for place in range(len(tabs))]

    # ------------------------------------------------------------------------------------------------ names and sums

    async def _all_tabs(self, wanted: frozenset[str] | None = None, vbucket: int | None = None) -> list[Tab]:
        """The selected tabs that there are, of all vbuckets or of one, sorted; those without Type, too."""
        if wanted is not None and len(wanted) <= NAMES_PER_CALL:
            return await self._named_tabs(sorted(wanted), vbucket)
        types = await self._of_vbuckets(lambda v: ("HGETALL", self._keys.of(TYPES, v)), vbucket)
        return sorted(
            (tab, vbucket, name.decode())
            for vbucket, flat in types.items()
            for tab, name in rows.pairs(flat).items()
            if wanted is None or tab in wanted
        )

    async def _named_tabs(self, names: Sequence[str], vbucket: int | None = None) -> list[Tab]:
        """Those of some tabs that there are: of few it is cheaper to ask than to read the names of all."""
        if not names:
            return []
        found = await self._of_vbuckets(lambda v: ("HMGET", self._keys.of(TYPES, v), *names), vbucket)
        return sorted(
            (tab, vbucket, name.decode())
            for vbucket, types in found.items()
            for tab, name in zip(names, types, strict=True)
            if name is not None
        )

    async def tabs(self, wanted: frozenset[str] | None = None) -> dict[str, str]:
        """See `IStore.tabs`."""
        return {tab: name for tab, _, name in await self._all_tabs(wanted) if name}

    async def clients(self, tabs: frozenset[str] | None) -> set[str]:
        """See `IStore.clients`."""
        if tabs is None:
            found = await self._of_vbuckets(lambda vbucket: ("HKEYS", self._keys.of(CLIENTS, vbucket)))
            names = {client for some in found.values() for client in some}
        else:
            some_tabs = await self._all_tabs(tabs)
            names = {client for some in await self._of_tabs(some_tabs, self._client_names) for client in some}
        return {name.decode() for name in names} - {RETIRED}

    def _client_names(self, tab: Tab) -> Command:
        return "HKEYS", self._keys.states(tab[1], tab[0])

    async def ledger(self) -> dict[str, int]:
        """See `IStore.ledger`."""
        found = await self._of_vbuckets(lambda vbucket: ("HMGET", self._keys.of(LEDGER, vbucket), "row", *OWN))
        return self._ledgers.total(found)

    async def depth(self) -> list[LogDepth]:
        """See `IStore.depth`."""

        async def of_shard(name: str) -> list[LogDepth]:
            vbuckets = self._map.vbuckets_of(name)
            keys = [self._keys.of(ENTRIES, vbucket) for vbucket in vbuckets]
            found = await ask(self._shards[name], "query", "FCALL", "taba_depth", len(keys), *keys)
            rows_of_four = zip(found[::4], found[1::4], found[2::4], found[3::4], strict=True)
            return [rows.depth(vbuckets[place - 1], *rest) for place, *rest in rows_of_four]

        some = await together(of_shard(name) for name in self._map.names())
        return sorted((each for of_one in some for each in of_one), key=lambda each: each.vbucket)

    # --------------------------------------------------------------------------------------------------------- pages

    async def each_state(self, selection: Selection, consume: Consume) -> None:
        """See `IStore.each_state`."""
        clients = None if selection.clients is None else sorted(selection.clients - {RETIRED})
        async for page in self._state_pages(await self._all_tabs(selection.tabs, selection.vbucket), clients):
            await _give(page, consume)

    async def _state_pages(self, tabs: Sequence[Tab], clients: Sequence[str] | None) -> AsyncIterator[list[StateRow]]:
        pace = _Pace(self._limits)
        for start in range(0, len(tabs) if clients != [] else 0, TABS_PER_CALL):
            some = tabs[start : start + TABS_PER_CALL]
            sizes = [len(clients)] * len(some) if clients is not None else await self._sizes(some)
            for first, last in _runs(sizes, lambda: pace.rows):
                if sizes[first] > pace.rows:
                    async for page in self._parts_of_tab(some[first], clients, pace):
                        yield page
                elif page := await self._whole_tabs(some[first:last], clients, pace):
                    yield page

    async def _sizes(self, tabs: Sequence[Tab]) -> list[int]:
        return await self._of_tabs(tabs, lambda tab: ("HLEN", self._keys.states(tab[1], tab[0])))

    async def _whole_tabs(self, tabs: Sequence[Tab], clients: Sequence[str] | None, pace: _Pace) -> list[StateRow]:
        """All wanted States of some tabs."""

        async def read(some: Sequence[Tab]) -> list[dict[str, bytes | None]]:
            if clients is not None:
                found = await self._of_tabs(some, lambda tab: ("HMGET", self._keys.states(tab[1], tab[0]), *clients))
                return [dict(zip(clients, states, strict=True)) for states in found]
            found = await self._of_tabs(some, lambda tab: ("HGETALL", self._keys.states(tab[1], tab[0])))
            return [dict(sorted(rows.pairs(flat).items())) for flat in found]

        page = [
            StateRow(tab, client, name, state)
            for (tab, _, name), states in await self._with_types(tabs, read)
            for client, state in states.items()
            if state is not None
        ]
        if page:
            pace.seen([len(row.state) for row in page])
        return page

    async def _parts_of_tab(
        self, tab: Tab, clients: Sequence[str] | None, pace: _Pace
    ) -> AsyncIterator[list[StateRow]]:
        """The wanted States of one tab with many clients."""
        if clients is None:
            (names,) = await self._of_tabs([tab], self._client_names)
            clients = sorted(name.decode() for name in names)
        start = 0
        while start < len(clients):
            some = clients[start : start + pace.rows]
            start += len(some)
            if page := await self._whole_tabs([tab], some, pace):
                yield page

    async def each_aggregate(self, selection: Selection, consume: Consume) -> None:
        """See `IStore.each_aggregate`."""
        tabs = await self._all_tabs(selection.tabs, selection.vbucket)
        pace = _Pace(self._limits)
        start = 0
        while start < len(tabs):
            some = tabs[start : start + pace.rows]
            start += len(some)
            page = [
                AggregateRow(tab, name, aggregate)
                for (tab, _, name), aggregate in await self._with_types(some, self._aggregates)
                if aggregate is not None
            ]
            if page:
                pace.seen([len(row.aggregate) for row in page])
                await _give(page, consume)

    async def _with_types(
        self, tabs: Sequence[Tab], read: Callable[[Sequence[Tab]], Awaitable[list[T]]]
    ) -> list[tuple[Tab, T]]:
        """What `read` finds of tabs that are there, with the Types that they have then.

        Since they were listed, a tab may have got another name, and its own may be that of a new one, of another Type.
        So the Types are read once more, behind what `read` sent; what is not of the Type that it had is read again.
        """
        found: dict[tuple[str, int], tuple[Tab, T]] = {}
        left = list(tabs)
        while left:
            values, types = await together([read(left), self._fields(TYPES, left)])
            again: list[Tab] = []
            for (tab, vbucket, name), value, present in zip(left, values, types, strict=True):
                if present == name.encode():
                    found[tab, vbucket] = (tab, vbucket, name), value
                elif present is not None:
                    again.append((tab, vbucket, present.decode()))
            left = again
        return [found[tab, vbucket] for tab, vbucket, _ in tabs if (tab, vbucket) in found]

    async def _aggregates(self, tabs: Sequence[Tab]) -> list[bytes | None]:
        """The Aggregates of some tabs, in order."""
        return await self._fields(AGGREGATES, tabs)

    async def _fields(self, letter: str, tabs: Sequence[Tab]) -> list[bytes | None]:
        """What stands under the names of some tabs in one of the hashes of their vbuckets, in order; one command for
        all tabs of a vbucket.
        """
        by_vbucket: dict[int, list[str]] = {}
        for tab, vbucket, _ in tabs:
            by_vbucket.setdefault(vbucket, []).append(tab)
        groups = [(names[0], vbucket, "") for vbucket, names in by_vbucket.items()]
        found = await self._of_tabs(
            groups, lambda group: ("HMGET", self._keys.of(letter, group[1]), *by_vbucket[group[1]])
        )
        named = {
            (vbucket, tab): value
            for (_, vbucket, _), values in zip(groups, found, strict=True)
            for tab, value in zip(by_vbucket[vbucket], values, strict=True)
        }
        return [named[vbucket, tab] for tab, vbucket, _ in tabs]


def _runs(sizes: Sequence[int], most: Callable[[], int]) -> Iterator[tuple[int, int]]:
    """Cut a list into runs of at most `most` together, or of one that is larger; `most` is asked as each run ends."""
    first = total = 0
    for place, size in enumerate(sizes):
        if place > first and total + size > most():
            yield first, place
            first, total = place, 0
        total += size
    if first < len(sizes):
        yield first, len(sizes)


async def _give(page: Sequence[Any], consume: Consume) -> None:
    taken = consume(page)
    if taken is not None:
        await taken


def _merged(parts: Iterable[Mapping[int, Any]]) -> dict[int, Any]:
    return {key: value for part in parts for key, value in part.items()}
