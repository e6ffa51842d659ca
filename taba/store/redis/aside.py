"""What is set aside, in the stream X of each shard: what of it is written, and how it is read. See aside.lua.

The id of a Partial is `LINEAGE-NUMBER` as in taba.store.aside_ids; its number is the id of its entry in the stream,
where the `-0` of the first entry of a millisecond is left out. Entries that an older version wrote say neither vbucket
nor lineage; they are of the vbucket of their tab.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from attrs import define

from taba.interfaces import Checkpoint, SetAside
from taba.store.aside_ids import NO_LINEAGE, aside_id, read_aside_id, vbucket_of
from taba.store.limits import Limits
from taba.store.redis import rows
from taba.store.redis.asking import Command, ask_all
from taba.store.redis.keys import Keys
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import LiveMap, ShardMap
from taba.store.redis.side_by_side import together

_NUMBER = re.compile(r"(?:0|[1-9]\d{0,14})(?:-[1-9]\d{0,14})?", re.ASCII)
"""A number as it stands in an id: each part as Redis writes it, and small enough for it."""


def stream_id_of(text: str) -> tuple[bytes, bytes] | None:
    """The digits of the lineage, and the entry's id in the stream, of a Partial's id; None for what is no id of ours.
    """
    read = read_aside_id(text)
    if read is None or not text.isascii() or not _NUMBER.fullmatch(read[1]):
        return None
    lineage, number = read
    return lineage.encode(), (number if "-" in number else f"{number}-0").encode()


def read_aside(stream_id: bytes, fields: Sequence[bytes], vbuckets: int) -> SetAside:
    """An entry of the stream, in a cluster of so many vbuckets."""
    named = rows.pairs(fields)
    reason, tab, client, type_name = (named[key].decode() for key in "rtcy")
    vbucket = int(named["v"]) if named.get("v") else vbucket_of(tab, vbuckets)
    lineage = named["l"].decode() if "l" in named else NO_LINEAGE
    partial_id = aside_id(lineage, stream_id.decode().removesuffix("-0"))
    return SetAside(reason, tab, client, type_name, int(named["n"]), named["p"], vbucket, partial_id)


def set_aside_commands(keys: Keys, checkpoint: Checkpoint, limits: Limits) -> list[Command]:
    """What a checkpoint forgets and sets aside, as a part of its transaction."""
    vbucket = checkpoint.lease.vbucket
    commands: list[Command] = []
    ids = [argument for pair in map(stream_id_of, checkpoint.refolded) if pair is not None for argument in pair]
    if ids:
        commands.append(("FCALL", "taba_refolded", 2, *keys.aside, vbucket, *ids))
    kept = _newest_within(checkpoint.set_aside, limits)
    if len(kept) < len(checkpoint.set_aside):  # what leaves no room for older ones need not be sent, nor they stay
        commands.append(("DEL", *keys.aside))
    if checkpoint.set_aside:
        arguments = [
            argument
            for each in kept
            for argument in (each.reason, each.tab, each.client, each.type, each.events, each.partial)
        ]
        call = ("FCALL", "taba_set_aside", 2, *keys.aside, limits.aside_rows, limits.aside_bytes, *arguments, vbucket)
        commands.append(call)
    return commands


def _newest_within(partials: Sequence[SetAside], limits: Limits) -> list[SetAside]:
    """The newest of some Partials, as many as may be set aside at all, in their order."""
    kept: list[SetAside] = []
    total = 0
    for each in reversed(partials):
        total += len(each.partial)
        if len(kept) == limits.aside_rows or total > limits.aside_bytes:
            break
        kept.append(each)
    return kept[::-1]


@define(eq=False)
class Asides:
    """What all shards have set aside."""

    _shards: Mapping[str, Shard]
    _map: ShardMap | LiveMap
    _keys: Keys

    async def newest(self, limit: int) -> list[SetAside]:
        """See `IStore.aside`."""
        if limit <= 0:
            return []

        async def of_shard(shard: Shard) -> list[tuple[tuple[int, ...], SetAside]]:
            command = ("XREVRANGE", self._keys.aside[0], "+", "-", "COUNT", limit)
            (found,) = await ask_all(shard, shard.link("query"), [command])
            all_there = [(_time_of(stream_id), self._read(stream_id, fields)) for stream_id, fields in found]
            # While a vbucket moves, both shards may have it.
            return [each for each in all_there if self._is_of(each[1].vbucket, shard.name)]

        some = await together(of_shard(shard) for shard in self._shards.values())
        newest = sorted((one for of_one in some for one in of_one), key=lambda one: one[0], reverse=True)
        return [each for _, each in newest[:limit]]

    async def find(self, vbucket: int, ids: Iterable[str]) -> list[SetAside]:
        """See `IStore.aside_of`."""
        if not 0 <= vbucket < self._map.vbuckets:
            return []
        shard = self._shards[self._map.shard_of(vbucket)]
        pairs = [pair for pair in map(stream_id_of, ids) if pair is not None]
        commands = [("XRANGE", self._keys.aside[0], stream_id, stream_id) for _, stream_id in pairs]
        replies = await ask_all(shard, shard.link("be"), commands)
        found = [
            (pair, self._read(stream_id, fields))
            for pair, reply in zip(pairs, replies, strict=True)
            for stream_id, fields in reply
        ]
        return [each for pair, each in found if each.vbucket == vbucket and stream_id_of(each.id) == pair]

    def _is_of(self, vbucket: int, name: str) -> bool:
        return not 0 <= vbucket < self._map.vbuckets or self._map.shard_of(vbucket) == name

    def _read(self, stream_id: bytes, fields: Sequence[bytes]) -> SetAside:
        return read_aside(stream_id, fields, self._map.vbuckets)


def _time_of(stream_id: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in stream_id.split(b"-"))
