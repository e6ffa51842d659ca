"""The shards of some settings, connected for as long as a piece of work on them takes: a migration, a mover."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.defer import TimeoutError, maybeDeferred
from twisted.internet.interfaces import IReactorTime

from taba.errors import StoreUnavailable
from taba.store.redis.opening import Parts

OPEN_SECONDS = 10.0
"""How long is waited for the connection to each shard."""


@asynccontextmanager
async def reached(parts: Parts, clock: IReactorTime) -> AsyncIterator[None]:
    """Connected to the masters of all shards within the block; StoreUnavailable says which does not come. Everything is
    closed at its end, however that came.
    """
    try:
        await _open(parts, clock)
        yield
    finally:
        await _close(parts)


async def _open(parts: Parts, clock: IReactorTime) -> None:
    if parts.sentinels is not None:
        parts.sentinels.startService()
    for shard in parts.shards.values():
        shard.startService()
    for shard in parts.shards.values():
        try:
            await shard.when_open().addTimeout(OPEN_SECONDS, clock)
        except TimeoutError:
            raise StoreUnavailable(str(shard.state()["problem"]))


async def _close(parts: Parts) -> None:
    stopping: list[Awaitable[Any]] = [maybeDeferred(shard.stopService) for shard in parts.shards.values()]
    if parts.sentinels is not None:
        stopping.append(maybeDeferred(parts.sentinels.stopService))
    for each in stopping:
        await each
