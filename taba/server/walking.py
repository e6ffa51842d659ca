"""Reading the States of tabs for maintenance: the first, as many as one step may change, or all, step by step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from taba.interfaces import IStore, Selection, StateRow
from taba.server.generations import Key
from taba.server.sleeping import Sleeping

CHUNK_STATES = 500
CHUNK_BYTES = 4 << 20
"""What one step reads, and changes, at most, about."""
PAUSE_SECONDS = 0.02
"""Between two steps."""
STEPS = 8
"""How many steps the first walk through a tab takes before others have their turn."""
REMEMBERED = 1000
"""Of how many tabs it is known how long their last walk was."""


class Enough(Exception):
    """Ends the reading of States: there are as many as are wanted."""


class Walking:
    """The readings of one maintenance; `pauses` are its own. Used in the reactor thread only."""

    def __init__(self, store: IStore, pauses: Sleeping) -> None:
        self._store = store
        self._pauses = pauses
        self._patience: dict[str, int] = {}
        """By the name of a tab: how many steps the next walk through it may take."""

    async def read(self, vbucket: int, tabs: frozenset[str], take: Callable[[Sequence[StateRow]], Any]) -> bool:
        """Give the States of tabs to `take`, page by page; False when it wanted no more (raised Enough)."""

        async def page(rows: Sequence[StateRow]) -> None:
            taken = take(rows)
            if taken is not None:
                await taken

        try:
            where = Selection(tabs, vbucket=vbucket)
            await self._store.each_state(where, lambda rows: Deferred.fromCoroutine(page(rows)))
        except Enough:
            return False
        return True

    async def some(self, vbucket: int, tab: str) -> tuple[list[StateRow], bool]:
        """The first States of a tab, as many as one step may change; and whether these are all."""
        rows: list[StateRow] = []
        size = 0

        def take(page: Sequence[StateRow]) -> None:
            nonlocal size
            for row in page:
                if _is_full(rows, size, row):
                    raise Enough
                rows.append(row)
                size += len(row.state)

        return rows, await self.read(vbucket, frozenset((tab,)), take)

    async def are_all(self, vbucket: int, tabs: Sequence[str], known: Collection[Key]) -> bool:
        """Whether the store has no States of tabs but those known by (tab, client)."""

        def take(page: Sequence[StateRow]) -> None:
            if any((row.tab, row.client) not in known for row in page):
                raise Enough

        return await self.read(vbucket, frozenset(tabs), take)

    async def walk(
        self, vbucket: int, tabs: Sequence[str], step: Callable[[list[StateRow], bool], Awaitable[bool]]
    ) -> None:
        """Give the States of tabs to `step`, as many at a time as one step may change, and whether these are the last,
        until it says no; twice as many in a walk as in the one before, so that others have their turn.

        What is read may be from before a checkpoint that was under way: a step that goes by it is to look again
        (`are_all`) when no other checkpoint is.

        Where a walk begins, a store lists all clients of a tab. To begin anew for every step would take time that grows
        with the square of their number; so it takes little more than one listing.
        """
        rows: list[StateRow] = []
        size, left = 0, self._patience.get(tabs[0], STEPS)
        if len(self._patience) >= REMEMBERED:
            self._patience.clear()
        self._patience[tabs[0]] = 2 * left

        async def take(page: Sequence[StateRow]) -> None:
            nonlocal rows, size, left
            for row in page:
                if _is_full(rows, size, row):
                    done, rows, size, left = rows, [], 0, left - 1
                    if not await step(done, False) or left <= 0 or self._pauses.stopping:
                        raise Enough
                    await self._pauses.sleep(PAUSE_SECONDS)
                rows.append(row)
                size += len(row.state)

        if await self.read(vbucket, frozenset(tabs), take):
            self._patience.pop(tabs[0], None)
            await step(rows, True)


def _is_full(rows: Sequence[StateRow], size: int, row: StateRow) -> bool:
    return bool(rows) and (len(rows) >= CHUNK_STATES or size + len(row.state) > CHUNK_BYTES)
