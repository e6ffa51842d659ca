"""The processes that published themselves, in the hash P of one shard; see members.lua.

It is the shard of vbucket 0, because every server knows of it by the same settings. While it cannot be reached nobody
learns of members, and nothing else is hindered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from taba.store.redis import rows
from taba.store.redis.asking import ask
from taba.store.redis.keys import Keys
from taba.store.redis.shard import Shard


async def publish(shard: Shard, keys: Keys, member: str, facts: Mapping[str, Any], ttl: float) -> None:
    """See `IStore.publish`. Raises TypeError or ValueError for facts that JSON cannot hold."""
    text = json.dumps(facts, allow_nan=False)
    milliseconds = max(1, round(ttl * 1000)) if ttl > 0 else 0
    await ask(shard, "be", "FCALL", "taba_publish", 1, keys.members, member, milliseconds, text)


async def members(shard: Shard, keys: Keys) -> dict[str, Mapping[str, Any]]:
    """See `IStore.members`."""
    found = await ask(shard, "be", "FCALL", "taba_members", 1, keys.members)
    return {name: json.loads(facts) for name, facts in sorted(rows.pairs(found).items())}
