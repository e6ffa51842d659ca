"""XREAD: from several streams at once, and waiting for what comes.

A session that waits is answered by the first stream of those it named that gets an entry, with entries of that one
alone; sessions that wait for the same stream are answered in the order in which they asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import field, frozen

from taba.testing.redis.command import SYNTAX, Call, Options, command, integer, table
from taba.testing.redis.keyspace import Keyspace
from taba.testing.redis.resp import NIL_ARRAY, NO_REPLY, Reply, ReplyError
from taba.testing.redis.stream import ZERO, Stream, StreamId, parse_id
from taba.testing.redis.streams import entry_reply

_UNBALANCED = "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."
_NO_GROUP = "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."


@frozen
class Wanted:
    """What an XREAD asks for: after which id of each stream, and how many entries at most of each."""

    places: dict[bytes, StreamId] = field(eq=False)
    count: int | None

    def of(self, keyspace: Keyspace, key: bytes) -> Reply | None:
        """The part of the answer that one stream gives now; None when it has nothing."""
        stream = keyspace.find(key)
        if not isinstance(stream, Stream):
            return None
        entries = stream.after(self.places[key], self.count)
        return [key, [entry_reply(each) for each in entries]] if entries else None


def _streams_at(argv: Sequence[bytes]) -> int:
    """The place of the first key; 0 when STREAMS is missing."""
    place = 1
    while place < len(argv):
        if argv[place].upper() == b"STREAMS":
            return place + 1
        place += 2
    return 0


def keys_of_xread(argv: Sequence[bytes]) -> list[bytes]:
    """The keys that an XREAD names."""
    start = _streams_at(argv)
    return list(argv[start : start + (len(argv) - start) // 2]) if start else []


def _read_options(call: Call) -> tuple[list[bytes], int | None, int | None]:
    """Keys and ids, the count, and the milliseconds to wait."""
    options, count, block = Options(call.argv, 1), None, None
    while options:
        word = options.word()
        if not options:
            raise ReplyError(SYNTAX)
        if word == b"COUNT":
            count = integer(options.value())
        elif word == b"BLOCK":
            if call.in_function:
                raise ReplyError("ERR xread command is not allowed with BLOCK option from scripts")
            block = integer(options.value(), "ERR timeout is not an integer or out of range")
            if block < 0:
                raise ReplyError("ERR timeout is negative")
        elif word == b"STREAMS":
            names = list(options.rest())
            if len(names) % 2:
                raise ReplyError(_UNBALANCED)
            return names, None if count is None or count <= 0 else count, block
        else:
            raise ReplyError(SYNTAX)
    raise ReplyError(SYNTAX)


def _place(call: Call, key: bytes, text: bytes) -> StreamId:
    stream = call.keyspace.stream(key)
    if text == b"$":
        return ZERO if stream is None else stream.last_id
    if text == b">":
        raise ReplyError(_NO_GROUP)
    return parse_id(text)


def xread(call: Call) -> Reply:
    """XREAD [COUNT n] [BLOCK ms] STREAMS key ... id ..."""
    names, count, block = _read_options(call)
    keys, ids = names[: len(names) // 2], names[len(names) // 2 :]
    places = [(key, _place(call, key, text)) for key, text in zip(keys, ids, strict=True)]
    found = (Wanted({key: place}, count).of(call.keyspace, key) for key, place in places)
    parts: list[Reply] = [part for part in found if part is not None]
    if parts:
        return parts
    if block is None or not call.may_block:
        return NIL_ARRAY
    # A key named twice waits for what the last mention asks for.
    call.session.wait_for_streams(call.keyspace, Wanted(dict(places), count), block / 1000)
    return NO_REPLY


COMMANDS = table([command("XREAD", xread, -4, "readonly", find_keys=keys_of_xread)])
