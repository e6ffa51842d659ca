"""Making sure that what was written to a shard lasts, as far as that can be known at once."""

from __future__ import annotations

from attrs import frozen

from taba.errors import StoreUnavailable
from taba.store.redis.asking import ask_all, ask_on
from taba.store.redis.durability import Durability, Level
from taba.store.redis.keys import Keys
from taba.store.redis.shard import Shard

ROLE = "be"
"""The link by which everything is written here: WAIT answers for one connection."""


@frozen
class Settling:
    """Waits for replicas, and asks for the Sentinels' word."""

    _keys: Keys
    _durability: Durability

    async def settle(self, shard: Shard) -> None:
        """Until what was written before is as durable as the settings say, and on a replica in any case where there is
        one. Raises StoreUnavailable when it is not in time, or no majority of the Sentinels names this master.
        """
        link = shard.link(ROLE)
        # What went before may have written nothing, having been done already: then WAIT would wait for nothing.
        await ask_all(shard, link, [("HINCRBY", self._keys.meta, "writes", 1)])
        await self._durability.confirm(shard, link)
        if self._durability.level is Level.MEMORY and shard.state()["replicas"]:
            wait = max(1, round(self._durability.seconds * 1000))
            if not await ask_on(shard, link, "WAIT", 1, wait):
                raise StoreUnavailable(f"{shard.name}: no replica had it within {self._durability.seconds:g} s")
        if not shard.vouched():
            raise StoreUnavailable(f"{shard.name}: no majority of the Sentinels names its master now")

