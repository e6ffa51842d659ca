"""How a query gives out what it found: page by page, at the pace of whoever takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from taba.interfaces import AggregateRow, StateRow

Row = TypeVar("Row", StateRow, AggregateRow)


def take_page(rows: Iterator[Row], max_rows: int, max_bytes: int) -> list[Row]:
    """The next rows, up to and with the one that makes them `max_rows`, or `max_bytes` bytes; [] at the end."""
    page: list[Row] = []
    size = 0
    for row in islice(rows, max_rows):
        page.append(row)
        size += len(row.state) if isinstance(row, StateRow) else len(row.aggregate)
        if size >= max_bytes:
            break
    return page


async def give_pages(
    next_page: Callable[[], Deferred[list[Row]]], consume: Callable[[Sequence[Row]], Deferred[Any] | None]
) -> None:
    """Give pages to `consume` until one is empty. The next is fetched only when `consume` is done with the one
    before.
    """
    while page := await next_page():
        taken = consume(page)
        if taken is not None:
            await taken
