"""Dropping what waits in the logs of one shard, when an operator wants it gone.

Each vbucket is flushed by one call of a function, which moves its position: what its owner has folded meanwhile is not
written any more, because a checkpoint watches and compares the position.
"""

from __future__ import annotations

from collections.abc import Sequence

from taba.store.redis.asking import Command, ask_all
from taba.store.redis.durability import Durability
from taba.store.redis.keys import ENTRIES, LEDGER, LOG, MARKERS, POSITION, Keys
from taba.store.redis.shard import Shard

VBUCKETS_AT_ONCE = 32
"""How many calls are sent together. Each is done in no time, but for the memory of its log, which the server frees."""


async def flush_shard(shard: Shard, keys: Keys, durability: Durability, vbuckets: Sequence[int]) -> int:
    """Flush vbuckets of a shard; answers with how many events were dropped, once that is durable. By the link of the
    appends, of which alone WAIT is asked.
    """
    link = shard.link("append")
    events = 0
    for start in range(0, len(vbuckets), VBUCKETS_AT_ONCE):
        some = vbuckets[start : start + VBUCKETS_AT_ONCE]
        events += sum(await ask_all(shard, link, [_call(keys, vbucket) for vbucket in some]))
    await durability.confirm(shard, link)
    return events


def _call(keys: Keys, vbucket: int) -> Command:
    letters = (MARKERS, LOG, POSITION, LEDGER, ENTRIES)
    return "FCALL", "taba_flush", len(letters), *(keys.of(letter, vbucket) for letter in letters)
