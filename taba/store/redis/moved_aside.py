"""Partials that a vbucket has set aside, when it moves: they stand in the stream of their shard, among those of others.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from taba.store.aside_ids import vbucket_of
from taba.store.redis import rows
from taba.store.redis.asking import Command, ask
from taba.store.redis.keys import MARKERS, Keys
from taba.store.redis.shard import Shard

PAGE = 50
"""Entries that are read at once."""
CALL_PARTIALS = 20
"""Partials of one call."""
FIELDS = "rtcynp"


@frozen
class Entry:
    """An entry of X."""

    stream_id: bytes
    fields: tuple[bytes, ...]
    """Reason, tab, client, Type, events, Partial."""


async def of_vbucket(shard: Shard, keys: Keys, vbucket: int) -> list[Entry]:
    """What a vbucket has set aside on a shard, the oldest first."""
    stream, _ = keys.aside
    vbuckets = int(await ask(shard, "be", "HGET", keys.meta, "vbuckets") or 0)
    found: list[Entry] = []
    start = b"-"
    while True:
        page = await ask(shard, "be", "XRANGE", stream, start, "+", "COUNT", PAGE)
        for stream_id, fields in page:
            named = rows.pairs(fields)
            own = named.get("v") or b"%d" % vbucket_of(named["t"].decode(), vbuckets)  # older versions noted none
            if int(own) == vbucket:
                found.append(Entry(stream_id, tuple(named[letter] for letter in FIELDS)))
        if len(page) < PAGE:
            return found
        start = b"(" + page[-1][0]


def import_commands(entries: Sequence[Entry]) -> list[list[bytes]]:
    """The arguments of the calls that import them."""
    parts = [entries[start : start + CALL_PARTIALS] for start in range(0, len(entries), CALL_PARTIALS)]
    return [[field for entry in part for field in entry.fields] for part in parts]


def forget_commands(keys: Keys, vbucket: int, marker: bytes, entries: Sequence[Entry]) -> list[Command]:
    """The calls that drop them, where the marker is this one."""
    names = keys.of(MARKERS, vbucket), *keys.aside
    commands: list[Command] = []
    for start in range(0, len(entries), CALL_PARTIALS):
        some = entries[start : start + CALL_PARTIALS]
        arguments = [part for each in some for part in (len(each.fields[-1]), each.stream_id)]
        commands.append(("FCALL", "taba_move_forget_aside", len(names), *names, marker, *arguments))
    return commands
