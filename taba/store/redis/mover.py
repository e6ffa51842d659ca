"""A mover: what connects to the shards of settings, moves vbuckets, and is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

from twisted.internet.defer import TimeoutError, maybeDeferred

from taba.errors import StoreUnavailable
from taba.process import Process
from taba.settings import DatabaseSettings
from taba.store.redis.opening import Parts, parts_of
from taba.store.redis.resharding import CONFIRM_SECONDS, Figures, Move, Progress, Resharding

OPEN_SECONDS = 10.0
"""How long is waited for the connections to all shards."""


class Task(Enum):
    """What a mover is to do."""

    PLAN = "plan"
    """Look what there is to do, and write nothing."""
    RUN = "run"
    ABORT = "abort"


async def move_vbuckets(
    settings: DatabaseSettings,
    process: Process,
    task: Task,
    told: Callable[[Progress], None] = lambda progress: None,
    confirm_seconds: float = CONFIRM_SECONDS,
) -> tuple[list[Move], Figures]:
    """Bring vbuckets to where the settings have them, or undo that, or only say what there is to do.

    Raises SettingsError, StartError for what an operator has to mend, StoreUnavailable when shards cannot be reached.
    """
    parts = parts_of(settings, process)
    resharding = Resharding(
        process, parts.shards, parts.ranges, parts.keys, replicas=settings.wait_replicas,
        wait_seconds=settings.wait_seconds, confirm_seconds=confirm_seconds, told=told,
    )  # fmt: skip
    try:
        await _open(parts, process.reactor)
        if task is Task.RUN:
            return [], await resharding.run()
        if task is Task.ABORT:
            return [], await resharding.abort()
        return await resharding.plan(), resharding.figures
    finally:
        await _close(parts)


async def _open(parts: Parts, clock: Any) -> None:
    """Start, and wait for the masters of all shards; StoreUnavailable says which does not come."""
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
