"""A mover: what connects to the shards of settings, moves vbuckets, and is over."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from taba.process import Process
from taba.settings import DatabaseSettings
from taba.store.redis.opening import parts_of
from taba.store.redis.reaching import reached
from taba.store.redis.resharding import CONFIRM_SECONDS, Figures, Move, Progress, Resharding


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
    async with reached(parts, process.reactor):
        if task is Task.RUN:
            return [], await resharding.run()
        if task is Task.ABORT:
            return [], await resharding.abort()
        return await resharding.plan(), resharding.figures
