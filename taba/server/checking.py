"""Whether the States of tabs can be read, and whether each running Aggregate is the reduced States.

A tab is read while be goes on writing it: its Aggregate and retired State, all States, and the first two again. When
these are unchanged, so is the rest; else the tab is read again, up to `TRIES` times. Used in the reactor thread only.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from taba.handlers.registry import Registry
from taba.interfaces import RETIRED, IHandler, IStore, Selection, StateRow, Style
from taba.server.operations import REBUILD, Operations, vbucket_of
from taba.server.reducing import Reducing
from taba.server.turns import Turns

TRIES = 10
"""How often a tab that changes meanwhile is read."""
RELATIVE = 1e-9
"""How far numbers may differ that are equal but for rounding: totals of fractions depend on the order of adding."""

NOT_REDUCED = "the Aggregate is not the reduced States"
TOO_BUSY = f"too busy: it changed each of {TRIES} times that it was read"


@frozen
class Finding:
    """Something that is not as it should be."""

    tab: str
    client: str | None
    """None where it is about the whole tab."""
    problem: str
    repaired: bool = False
    """Whether it was asked of be, durably, to put it right."""


@define
class _Reading:
    """A tab as it was read once."""

    reducing: Reducing
    damaged: list[Finding] = field(factory=list)
    retired: bytes | None = None

    def take(self, rows: Sequence[StateRow]) -> None:
        handler = self.reducing.handler
        for row in rows:
            if row.client == RETIRED:
                self.retired = row.state
            try:
                upgraded = handler.upgrade(row.state)
                handler.reduce([upgraded])
            except Exception as problem:  # a Handler may be anybody's code
                self.damaged.append(Finding(row.tab, row.client, f"damaged State: {problem}"))
            else:
                self.reducing.add([upgraded])


class Checking:
    """Checks the tabs of one store."""

    def __init__(
        self,
        store: IStore,
        registry: Registry,
        operations: Operations,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        self._store = store
        self._registry = registry
        self._operations = operations
        self._clock = clock
        self._wall = wall

    async def check(
        self, tabs: Sequence[tuple[str, str]], repair: bool, by: str, emit: Callable[[Finding], Awaitable[None]]
    ) -> None:
        """Check tabs, given with their Types, and give what is found to `emit`. With `repair`, be is asked to make
        wrong Aggregates anew; `by` says for whom.
        """
        turns = Turns(self._clock)
        for tab, type in tabs:
            for finding in await self._findings(tab, type):
                if repair and finding.problem == NOT_REDUCED:
                    await self._operations.send(REBUILD, tab, {}, by)
                    finding = Finding(tab, None, NOT_REDUCED, repaired=True)
                await emit(finding)
            if turns.over():
                await turns.next()

    async def _findings(self, tab: str, type: str) -> list[Finding]:
        handler = self._registry.get(type)
        if handler is None:
            return [Finding(tab, None, f"there is no Handler for Type {type}")]
        vbucket = vbucket_of(tab, self._store.cluster.vbuckets)
        for _ in range(TRIES):
            before = await self._store.aggregates(vbucket, [tab])
            reading = _Reading(Reducing(handler))
            await self._store.each_state(Selection(frozenset((tab,))), _consumer(reading.take, Turns(self._clock)))
            after = await self._store.aggregates(vbucket, [tab])
            retired = (await self._store.states(vbucket, [(tab, RETIRED)])).get((tab, RETIRED))
            if before != after or retired != reading.retired:
                continue
            if reading.damaged or not handler.running_aggregate:
                return reading.damaged
            same = self._same(handler, before.get(tab, b""), reading.reducing.result() or b"")
            return [] if same else [Finding(tab, None, NOT_REDUCED)]
        return [Finding(tab, None, TOO_BUSY)]

    def _same(self, handler: IHandler, aggregate: bytes, reduced: bytes) -> bool:
        """Whether two States are equal, but for rounding."""
        if aggregate == reduced:
            return True
        time = self._wall()
        try:
            shown = [
                (handler.render(handler.upgrade(aggregate), time, style), handler.render(reduced, time, style))
                for style in (Style.DETAILED, Style.TEXT)
            ]
            return bool(aggregate) == bool(reduced) and all(_alike(_parsed(a), _parsed(b)) for a, b in shown)
        except Exception:  # damaged, or a Handler that anybody wrote
            return False


def _consumer(
    take: Callable[[Sequence[StateRow]], None], turns: Turns
) -> Callable[[Sequence[StateRow]], Deferred[None] | None]:
    def page(rows: Sequence[StateRow]) -> Deferred[None] | None:
        take(rows)
        return turns.next() if turns.over() else None

    return page


def _parsed(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def _alike(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, but for rounding: of their fractions, and of the last digit shown of these."""
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        last_digit = Decimal(1).scaleb(max(int(one.as_tuple().exponent), int(other.as_tuple().exponent)))
        grain = last_digit if last_digit >= Decimal("1e-6") else Decimal(0)  # else all digits of a float are shown
        return abs(one - other) <= max(grain, Decimal(RELATIVE) * max(abs(one), abs(other)))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return type(one) is type(other) and bool(one == other)
