"""aside.lua in Python: what is set aside, in the stream X, with the sizes in the list XM."""

from __future__ import annotations

from taba.store.redis import rows
from taba.testing.redis.functions import FunctionCall
from taba.testing.redis.library_calls import Arguments, items
from taba.testing.redis.library_calls import lineage as lineage_of
from taba.testing.redis.resp import Reply


def set_aside(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    """taba_set_aside."""
    most_rows, most_bytes = int(args[0]), int(args[1])
    vbucket = args[-1] if len(args) % 6 == 3 else b""
    lineage = lineage_of(call)[-8:]
    for at in range(2, len(args) - 5, 6):
        fields = [each for pair in zip("rtcynp", args[at : at + 6], strict=True) for each in pair]
        added = call("XADD", keys[0], "*", *fields, "v", vbucket, "l", lineage)
        assert isinstance(added, bytes)
        call("RPUSH", keys[1], b"%d:%s" % (len(args[at + 5]), added))
    sizes = [_size_of(item) for item in items(call("LRANGE", keys[1], 0, -1))]
    gone = 0
    while len(sizes) - gone > most_rows or sum(sizes[gone:]) > most_bytes:
        gone += 1
    if gone:
        call("XTRIM", keys[0], "MAXLEN", "=", len(sizes) - gone)
        call("LTRIM", keys[1], gone, -1)
    return gone


def _size_of(item: bytes) -> int:
    return int(item.partition(b":")[0])


def refolded(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    """taba_refolded."""
    vbucket, *pairs = args
    gone: list[bytes] = []
    for lineage, stream_id in zip(pairs[::2], pairs[1::2], strict=True):
        for found, fields in items(call("XRANGE", keys[0], stream_id, stream_id)):
            named = rows.pairs(fields)
            own = named.get("l", b"00000000") == lineage and named.get("v", b"") in (b"", vbucket)
            if found == stream_id and own:
                call("XDEL", keys[0], found)
                gone.append(b"%d:%s" % (len(named["p"]), found))
    if gone:
        _forget_sizes(call, keys[1], gone)
    return len(gone)


def _forget_sizes(call: FunctionCall, sizes: bytes, gone: list[bytes]) -> None:
    left: list[bytes] = items(call("LRANGE", sizes, 0, -1))
    for own in gone:
        wanted = own if own in left else own.partition(b":")[0]
        if wanted in left:
            left.remove(wanted)
    call("DEL", sizes)
    for at in range(0, len(left), 1000):
        call("RPUSH", sizes, *left[at : at + 1000])
