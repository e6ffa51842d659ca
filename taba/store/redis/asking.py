"""Asking a shard: every command of the store goes through here, so that each kind of refusal is treated alike.

Whatever goes wrong becomes `StoreUnavailable`, with a sentence that says what to do. When the server's words show that
it is no master any more, or was emptied of its functions, the shard's links are dropped and looked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taba.errors import StoreUnavailable
from taba.store.redis.link import Link, RedisRefused
from taba.store.redis.shard import Shard

Command = tuple[Any, ...]

_REMEDIES = {
    "OOM": "Redis has no memory left: raise its maxmemory, or add shards; agents hold the events meanwhile",
    "NOREPLICAS": "too few replicas are connected for min-replicas-to-write: start them, or lower that setting",
    "MISCONF": "Redis cannot save to disk, and takes nothing more: see its log, mend the disk",
    "NOPERM": "the ACL user of the settings may not do this: see the ACL line in docs/guide/redis.md",
    "NOAUTH": "Redis asks for a password: set it in DB_SETTINGS",
    "WRONGPASS": "Redis refuses user name or password: correct them in DB_SETTINGS",
    "WRONGTYPE": "a key of Taba's holds something else: give this Taba a KEY_PREFIX of its own",
    "BUSY": "a script of somebody else keeps Redis busy",
    "LOADING": "Redis is still loading its data",
}
"""What to do, by the code of an error. It stands before the words of Redis, which may be long and get cut."""
_LOST = frozenset({"READONLY", "MASTERDOWN", "LOADING", "UNBLOCKED"})
"""What a server says that is no master, or not yet."""


def unavailable(shard: Shard, link: Link, refused: RedisRefused) -> StoreUnavailable:
    """What callers of the store hear of an error reply."""
    if refused.code in _LOST or "Function not found" in refused.sentence:
        shard.lost(f"shard {shard.name} at {link.address} refuses: {refused.sentence}", link)
    remedy = _REMEDIES.get(refused.code)
    return StoreUnavailable(f"shard {shard.name}: " + (f"{remedy} ({refused})" if remedy else refused.sentence))


async def ask(shard: Shard, role: str, *arguments: Any) -> Any:
    """The reply to one command on the shard's link of a role."""
    return await ask_on(shard, shard.link(role), *arguments)


async def ask_on(shard: Shard, link: Link, *arguments: Any) -> Any:
    """The reply to one command on a link."""
    try:
        return await link.call(*arguments)
    except RedisRefused as refused:
        raise unavailable(shard, link, refused) from refused


async def ask_all(shard: Shard, link: Link, commands: Sequence[Command]) -> list[Any]:
    """The replies to commands that are sent at once, in order, on one link; fails when one of them is refused, once all
    are answered.
    """
    if not commands:
        return []
    replies = await link.call_all(commands)
    for reply in replies:
        if isinstance(reply, RedisRefused):
            raise unavailable(shard, link, reply) from reply
    return replies
