"""moving.lua in Python: the functions by which a vbucket moves from one shard to another, for servers in memory."""

from __future__ import annotations

from taba.store.redis.moving_library import VERSION
from taba.testing.redis.functions import FunctionCall, FunctionLibrary
from taba.testing.redis.library_calls import Arguments, get, items, lineage
from taba.testing.redis.resp import Reply


def _version(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    return VERSION


def _look(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    markers, position, moves, coming = keys
    found = [get(call, "GET", markers), get(call, "GET", position)]
    found += [get(call, "HGET", moves, args[0]), get(call, "HGET", coming, args[0])]
    return [lineage(call), *(each or b"" for each in found)]


def _turn(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    vbucket, marker, new_marker, row, new_row = args
    present = get(call, "GET", keys[0]) or b"", get(call, "HGET", keys[1], vbucket) or b""
    if present == (new_marker, new_row):
        return 1
    if present != (marker, row):
        return 0
    call("SET", keys[0], new_marker)
    if new_row:
        call("HSET", keys[1], vbucket, new_row)
    else:
        call("HDEL", keys[1], vbucket)
    return 1


# ------------------------------------------------------------------------------------------- the shard that it leaves


def _take(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    markers, lease, position, moves = keys
    vbucket, marker, row, owner, milliseconds = args
    if get(call, "GET", markers) != marker or get(call, "HGET", moves, vbucket) != row:
        return [lineage(call), b""]
    folded, commits, epoch = (get(call, "GET", position) or b"0:0:0").split(b":")
    granted = int(epoch) + 1
    value = b"%s:%s:%d" % (folded, commits, granted)
    call("SET", position, value)
    call("SET", lease, b"%s:%d" % (owner, granted), "PX", milliseconds)
    return [lineage(call), value]


def _hold(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    expected, position, lease, milliseconds = args
    if lineage(call) != expected or get(call, "GET", keys[1]) != position:
        return 0
    call("SET", keys[0], lease, "PX", milliseconds)
    return 1


def _seal(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    markers, position, entries, moves = keys
    vbucket, marker, sealed, row, expected, folded = args
    if get(call, "GET", markers) not in (marker, sealed) or get(call, "HGET", moves, vbucket) != row:
        return -1
    if lineage(call) != expected or get(call, "GET", position) != folded:
        return -1
    call("SET", markers, sealed)
    return call("LLEN", entries)


def _frozen(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    marker, expected, position = args
    present = get(call, "GET", keys[1])
    return int((get(call, "GET", keys[0]), lineage(call), present) == (marker, expected, position))


def _retire(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    marker, *gone = keys
    if get(call, "GET", marker) != args[0]:
        return 0
    for key in gone:
        call("UNLINK", key)
    return 1


# ------------------------------------------------------------------------------------------ the shard that it comes to


def _begin(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    marker, (vbucket, epoch, token) = get(call, "GET", keys[0]) or b"S:0", args
    present = int(marker[2:])
    if present > int(epoch) or (marker.startswith(b"A:") and present == int(epoch)):
        return [lineage(call), 0]
    call("SET", keys[0], b"I:" + epoch)
    call("HSET", keys[1], vbucket, token)
    return [lineage(call), 1]


def _importing(call: FunctionCall, keys: Arguments, args: Arguments) -> bool:
    vbucket, epoch, token = args[:3]
    own = get(call, "HGET", keys[1], vbucket) == token
    return get(call, "GET", keys[0]) == b"I:" + epoch and own


def _import(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    if not _importing(call, keys, args):
        return 0
    kind, parts, key = args[3], args[4:], keys[2]
    if kind == b"hash":
        call("HSET", key, *parts)
    elif kind == b"list":
        call("RPUSH", key, *parts)
    elif kind == b"string":
        call("SET", key, parts[0])
    elif kind == b"log":
        for at in range(0, len(parts), 4):
            entry, time, events, body = parts[at : at + 4]
            call("XADD", key, entry, "t", time, "n", events, "b", body)
    elif kind == b"end":
        call("XADD", key, parts[0], "t", "0.000000", "n", "0", "b", "")
        call("XTRIM", key, "MAXLEN", "=", 0)
    else:
        call("UNLINK", key)
    return 1


def _import_aside(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    if not _importing(call, keys, args):
        return 0
    for at in range(3, len(args), 6):
        fields = [each for pair in zip("rtcynp", args[at : at + 6], strict=True) for each in pair]
        added = call("XADD", keys[2], "*", *fields, "v", args[0], "l", lineage(call)[-8:])
        assert isinstance(added, bytes)
        call("RPUSH", keys[3], b"%d:%s" % (len(args[at + 5]), added))
    return 1


def _forget_aside(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    if get(call, "GET", keys[0]) != args[0]:
        return 0
    sizes: list[bytes] = items(call("LRANGE", keys[2], 0, -1))
    for size, entry in zip(args[1::2], args[2::2], strict=True):
        if call("XDEL", keys[1], entry) == 1:
            own = b"%s:%s" % (size, entry)
            wanted = own if own in sizes else size
            if wanted in sizes:
                sizes.remove(wanted)
    call("DEL", keys[2])
    for each in sizes:
        call("RPUSH", keys[2], each)
    return 1


def _activate(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    vbucket, epoch, _, expected = args
    if get(call, "GET", keys[0]) == b"A:" + epoch:
        return 1
    if not _importing(call, keys, args) or lineage(call) != expected:
        return 0
    call("SET", keys[0], b"A:" + epoch)
    call("HDEL", keys[1], vbucket)
    call("HDEL", keys[2], vbucket)
    return 1


def _unimport(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    vbucket, epoch, shard = args
    if (get(call, "GET", keys[0]) or b"").startswith(b"A:"):
        return 0
    call("SET", keys[0], b"S:" + epoch)
    call("HDEL", keys[1], vbucket)
    call("HSET", keys[2], vbucket, b"gone:" + shard)
    return 1


_FUNCTIONS = {
    "taba_moving_version": _version,
    "taba_move_look": _look,
    "taba_move_turn": _turn,
    "taba_move_take": _take,
    "taba_move_hold": _hold,
    "taba_move_seal": _seal,
    "taba_move_frozen": _frozen,
    "taba_move_begin": _begin,
    "taba_move_import": _import,
    "taba_move_import_aside": _import_aside,
    "taba_move_forget_aside": _forget_aside,
    "taba_move_activate": _activate,
    "taba_move_unimport": _unimport,
    "taba_move_retire": _retire,
}


def moving_library() -> FunctionLibrary:
    """The twin of moving.lua, to be given to servers under its name, `taba_moving`."""
    read_only = frozenset({"taba_moving_version", "taba_move_look", "taba_move_frozen"})
    return FunctionLibrary("taba_moving", _FUNCTIONS, read_only=read_only)
