"""The function library that Taba loads into Redis, and its version.

A library that is there already is used when it is of this version, replaced when it is older, and never replaced when
it is newer: a newer server put it there, and an older one must not take it away from under it. Servers of two versions
run side by side while one after the other is renewed: a newer library says which versions' servers it serves
(`taba_serves`), and those use it; only the others do not go on.
"""

from __future__ import annotations

from importlib.resources import files

from taba.errors import StartError
from taba.store.redis.asking import unavailable
from taba.store.redis.link import Link, RedisRefused
from taba.store.redis.shard import Shard

VERSION = 2
"""Of functions.lua, which says the same."""
SERVES = 2
"""The oldest version whose servers this library serves, as functions.lua has it."""
FORMAT = 1
"""Of the data, as functions.lua notes it in `meta`."""
PARTS = ("functions.lua", "aside.lua", "members.lua")
"""The files that the library is made of, in order."""


def source() -> str:
    """The text of the library."""
    folder = files("taba.store.redis")
    return "\n".join(folder.joinpath(part).read_text("utf-8") for part in PARTS)


async def present_version(shard: Shard, link: Link) -> int:
    """The version of the library that the shard's master has, 0 for none.

    Raises StartError when Redis is too old for functions, or has newer ones that do not serve this version;
    StoreUnavailable when it does not say.
    """
    present = await _answer(shard, link, "taba_version")
    if present > VERSION and not 0 < await _answer(shard, link, "taba_serves") <= VERSION:
        raise StartError(
            f"Shard {shard.name} has the functions of a newer Taba (version {present}; this one has {VERSION}): start"
            " that version, or a newer one, here too."
        )
    return present


async def _answer(shard: Shard, link: Link, function: str) -> int:
    """What a function without arguments answers, 0 where there is none of that name."""
    try:
        return int(await link.call("FCALL", function, 0))
    except RedisRefused as refused:
        if "unknown command" in refused.sentence.lower():
            raise StartError(
                f"Shard {shard.name} at {link.address} is older than Redis 7, which Taba needs for its functions:"
                " use Redis 7.0 or newer."
            ) from refused
        if "Function not found" not in refused.sentence:
            raise unavailable(shard, link, refused) from refused
        return 0


async def ensure_library(shard: Shard, link: Link) -> None:
    """Load the library into the shard's master if it is not there, or older.

    Raises StartError when Redis is too old for functions, forbids loading them, or has newer ones; StoreUnavailable
    when it cannot load them now.
    """
    if await present_version(shard, link) < VERSION:
        await _load(shard, link)


async def _load(shard: Shard, link: Link) -> None:
    try:
        await link.call("FUNCTION", "LOAD", "REPLACE", source())
    except RedisRefused as refused:
        if refused.code != "NOPERM":
            raise unavailable(shard, link, refused) from refused
        raise StartError(
            f"The Redis user of the settings may not load functions on shard {shard.name}: {refused.sentence}. Allow it"
            f" FUNCTION LOAD, or load them yourself, in taba/store/redis: `cat {' '.join(PARTS)} | redis-cli -x"
            " FUNCTION LOAD REPLACE`."
        ) from refused
