"""What an ok of an append promises, and how a shard is asked for it.

    memory      the master has it in memory
    replicated  a replica has it in memory, too (WAIT)
    fsynced     it is on the disks of the master and of a replica, if there is one (WAITAOF, Redis 7.2; before that
                `appendfsync always`, and WAIT)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from attrs import frozen

from taba.errors import StartError, StoreUnavailable
from taba.store.redis.asking import ask_on
from taba.store.redis.link import Link
from taba.store.redis.shard import Shard


class Level(Enum):
    """The levels, by their names in settings."""

    MEMORY = "memory"
    REPLICATED = "replicated"
    FSYNCED = "fsynced"


@frozen
class Durability:
    """A level, with what it takes on the shards of a cluster."""

    level: Level
    replicas: int = 1
    """How many replicas must have it; 0 for a server without replicas."""
    seconds: float = 1.0
    """How long to wait for them."""
    waits_for_disk: bool = False
    """Whether the server knows WAITAOF."""

    async def confirm(self, shard: Shard, link: Link) -> None:
        """Wait until what was written on a link before is durable; raises StoreUnavailable when it is not in time."""
        if self.level is Level.MEMORY:
            return
        if self.level is Level.FSYNCED and self.waits_for_disk:
            local, replicas = await ask_on(shard, link, "WAITAOF", 1, self.replicas, self._milliseconds())
            if local < 1:
                raise StoreUnavailable(f"{shard.name}: the master's disk did not have it within {self.seconds:g} s")
        elif self.replicas:
            replicas = await ask_on(shard, link, "WAIT", self.replicas, self._milliseconds())
        else:
            return
        if replicas < self.replicas:
            raise StoreUnavailable(
                f"{shard.name}: {replicas} of {self.replicas} replicas had it within {self.seconds:g} s. Agents hold"
                " their events and ask again. Are the replicas running, and connected?"
            )

    def _milliseconds(self) -> int:
        return max(1, round(self.seconds * 1000))


async def choose(shards: Mapping[str, Shard], level: Level, replicas: int, seconds: float) -> Durability:
    """What a level takes on these shards.

    Raises StartError when they cannot give it: `fsynced` needs `appendonly yes`, and where one of the servers has no
    WAITAOF (Redis 7.2), `appendfsync always` on all of them.
    """
    if level is not Level.FSYNCED:
        return Durability(level, replicas, seconds)
    waits_for_disk = True
    for shard in shards.values():
        link = shard.link("be")
        waits_for_disk = _version(await ask_on(shard, link, "INFO", "server")) >= (7, 2) and waits_for_disk
        if b"\naof_enabled:1" not in await ask_on(shard, link, "INFO", "persistence"):
            raise StartError(
                f"DURABILITY is `fsynced`, and shard {shard.name} at {link.address} keeps no append-only file: give it,"
                " and its replicas, `appendonly yes`, or another DURABILITY."
            )
    for shard in () if waits_for_disk else shards.values():
        link = shard.link("be")
        found = await ask_on(shard, link, "CONFIG", "GET", "appendfsync")
        if found[1:] != [b"always"]:
            raise StartError(
                f"DURABILITY is `fsynced`, and not every server has WAITAOF (Redis 7.2): give all of them, and their"
                f" replicas, `appendfsync always`, which shard {shard.name} at {link.address} does not have, or another"
                " DURABILITY."
            )
    watched = all(shard.state()["replicas"] for shard in shards.values())
    return Durability(level, replicas if watched else 0, seconds, waits_for_disk)


def _version(server: bytes) -> tuple[int, int]:
    """The version of a server, from its INFO; (0, 0) when it does not say."""
    found = re.search(rb"redis_version:(\d+)\.(\d+)", server)
    return (int(found[1]), int(found[2])) if found else (0, 0)
