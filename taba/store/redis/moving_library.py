"""The functions of moving.lua, a library of its own: loaded by whoever moves vbuckets, into the shards that take part.

It is not a part of the library `taba`, so that servers of an older version go on with that one.
"""

from __future__ import annotations

from importlib.resources import files

from taba.errors import StartError
from taba.store.redis.asking import unavailable
from taba.store.redis.link import Link, RedisRefused
from taba.store.redis.shard import Shard

VERSION = 1
"""Of moving.lua, which says the same."""


def moving_source() -> str:
    """The text of the library."""
    return files("taba.store.redis").joinpath("moving.lua").read_text("utf-8")


async def ensure_moving_library(shard: Shard, link: Link) -> None:
    """Load the library where it is missing or older. Raises StartError when there is a newer one, or it may not be
    loaded; StoreUnavailable when it cannot be loaded now.
    """
    present = 0
    try:
        present = int(await link.call("FCALL", "taba_moving_version", 0))
    except RedisRefused as refused:
        if "Function not found" not in refused.sentence:
            raise unavailable(shard, link, refused) from refused
    if present > VERSION:
        raise StartError(
            f"Shard {shard.name} has functions of a newer Taba for moving vbuckets (version {present}; this one has"
            f" {VERSION}): use the newer taba-cli."
        )
    if present == VERSION:
        return
    try:
        await link.call("FUNCTION", "LOAD", "REPLACE", moving_source())
    except RedisRefused as refused:
        if refused.code != "NOPERM":
            raise unavailable(shard, link, refused) from refused
        raise StartError(
            f"The Redis user of the settings may not load functions on shard {shard.name}: {refused.sentence}. Allow it"
            " FUNCTION LOAD, or load them yourself, in taba/store/redis: `cat moving.lua | redis-cli -x FUNCTION LOAD"
            " REPLACE`."
        ) from refused
