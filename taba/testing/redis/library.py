"""The functions of Taba's Redis store in Python, for the server in memory: what functions.lua does, by the same
names.

The rules of lanes come from `taba.store.judge`, which the Lua code states a second time; one suite of tests runs
against both, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taba.interfaces import Append
from taba.store.judge import is_idle, judge
from taba.store.redis import rows
from taba.store.redis.library import FORMAT, SERVES, VERSION
from taba.testing.redis.functions import FunctionCall, FunctionLibrary
from taba.testing.redis.library_aside import refolded, set_aside
from taba.testing.redis.library_calls import Arguments
from taba.testing.redis.library_calls import get as _get
from taba.testing.redis.library_calls import items as _list
from taba.testing.redis.library_calls import lineage as _lineage
from taba.testing.redis.library_calls import now as _now
from taba.testing.redis.library_calls import whole as _whole
from taba.testing.redis.library_members import members, publish
from taba.testing.redis.resp import Reply, ReplyError

_BATCH = 10
"""The arguments of one batch."""


def _version(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    return VERSION


def _serves(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    return SERVES


# ------------------------------------------------------------------------------------------------------------ append


def _append(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    dedup, vbuckets = float(args[0]), int(args[1])
    now = _now(call)
    answers: list[Reply] = [_lineage(call)]
    for at in range(2 + vbuckets, len(args), _BATCH):
        place = int(args[at])
        answers.append(
            _append_one(call, keys[5 * (place - 1) : 5 * place], args[1 + place], args[at : at + _BATCH], dedup, now)
        )
    return answers


def _append_one(
    call: FunctionCall, keys: Sequence[bytes], epoch: bytes, args: Sequence[bytes], dedup: float, now: float
) -> bytes:
    marker, log, lanes, ledger, entries = keys
    batch = _read_batch(args)
    value = _get(call, "HGET", lanes, batch.incarnation)
    row = rows.read_lane(value) if value is not None else None
    if _get(call, "GET", marker) != b"A:" + epoch:
        return _answer("moved", row, False, "")
    judged = judge(row, batch, now, dedup)
    if judged.appended:
        assert batch.body is not None
        stamp = f"{now:.6f}"
        newest = _entry_parts(call, entries, -1)
        total, before = (int(newest[place]) if len(newest) > place else 0 for place in (2, 4))
        size, count = len(batch.body), batch.events
        call("XADD", log, "0-*", "t", stamp, "n", count, "b", batch.body)
        call("RPUSH", entries, rows.entry_size_value(now, size, total + size, count, before + count))
    if judged.row is not None:
        row = judged.row
        call("HSET", lanes, batch.incarnation, rows.lane_value(row))
    if judged.lost:
        call("HINCRBY", ledger, "lost", judged.lost)
    return _answer(judged.verdict.value, row, judged.appended, judged.reason)


def _read_batch(args: Sequence[bytes]) -> Append:
    _, incarnation, seq, after, previous, before, events, sealed, checksum, body = args
    if not after:
        return Append(0, incarnation.decode(), int(seq))
    return Append(
        0,
        incarnation.decode(),
        int(seq),
        int(after),
        int(previous) if previous else None,
        int(before),
        int(events),
        float(sealed),
        int(checksum),
        body,
    )


def _answer(verdict: str, row: Any, appended: bool, reason: str) -> bytes:
    last, checksum = (row.last, row.checksum) if row is not None else (0, "-")
    return f"{verdict} {last} {checksum} {int(appended)} {reason}".encode()


def _prune(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    now, dedup, gone = min(float(args[0]), _now(call)), float(args[1]), 0
    for incarnation in args[2:]:
        value = _get(call, "HGET", keys[0], incarnation)
        if value is not None and is_idle(rows.read_lane(value).touched, now, dedup):
            call("HDEL", keys[0], incarnation)
            gone += 1
    return gone


# ------------------------------------------------------------------------------------------------------------- owners


def _acquire(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    owner, milliseconds = args
    granted: list[Reply] = []
    for at in range(0, len(keys), 3):
        marker, lease = _get(call, "GET", keys[at]), _get(call, "GET", keys[at + 1])
        epoch = 0
        if marker and not marker.startswith(b"I:") and (lease is None or lease.rpartition(b":")[0] == owner):
            folded, commits, highest = (_get(call, "GET", keys[at + 2]) or b"0:0:0").split(b":")
            epoch = int(highest) + 1
            call("SET", keys[at + 2], b"%s:%s:%d" % (folded, commits, epoch))
            call("SET", keys[at + 1], b"%s:%d" % (owner, epoch), "PX", milliseconds)
        elif lease is not None and _whole(call("PTTL", keys[at + 1])) > 10 * int(milliseconds):
            call("PEXPIRE", keys[at + 1], milliseconds)
        granted.append(epoch)
    return granted


def _renew(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    held: list[Reply] = []
    for key, lease in zip(keys, args[1:], strict=True):
        if _get(call, "GET", key) != lease:
            held.append(0)
            continue
        held.append(1)
        if args[0] == b"0":
            call("DEL", key)
        else:
            call("PEXPIRE", key, args[0])
    return held


def _load(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    position, row = _get(call, "GET", keys[1]), _get(call, "HGET", keys[2], "row")
    types = call("HGETALL", keys[3])
    return [_get(call, "GET", keys[0]), _lineage(call), position or b"0:0:0", row or b"{}", types]


def _guard(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    present = _lineage(call)
    answers: list[Reply] = []
    for at in range(0, len(keys), 4):
        lease, lineage, expected, folded = args[at : at + 4]
        marker, position = _get(call, "GET", keys[at]), _get(call, "GET", keys[at + 2]) or b"0:0:0"
        length = call("LLEN", keys[at + 3])
        assert isinstance(length, int)
        if _get(call, "GET", keys[at + 1]) != lease or not marker or marker.startswith(b"I:"):
            answers.append(b"fenced")
        elif (present, position) != (lineage, expected) or int(folded) > int(position.split(b":")[0]) + length:
            answers.append(b"stale")
        else:
            answers.append(b"done")
    return answers


def _entry_parts(call: FunctionCall, entries: bytes, place: int) -> list[bytes]:
    """An item of M; [] where there is none."""
    item = _get(call, "LINDEX", entries, place)
    return item.split(b":") if item is not None else []


def _waiting_events(call: FunctionCall, log: bytes, entries: bytes) -> int:
    first, last = _entry_parts(call, entries, 0), _entry_parts(call, entries, -1)
    if len(first) > 4 and len(last) > 4:
        return int(last[4]) - int(first[4]) + int(first[3])
    found = _list(call("XRANGE", log, "-", "+"))
    return sum(int(rows.pairs(fields)["n"]) for _, fields in found)


def _flush(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    markers, log, position, ledger, entries = keys
    marker, waiting = _get(call, "GET", markers), _whole(call("LLEN", entries))
    if not waiting or not marker or marker.startswith(b"I:"):
        return 0
    events = _waiting_events(call, log, entries)
    folded, commits, epoch = (_get(call, "GET", position) or b"0:0:0").split(b":")
    end = int(folded) + waiting
    call("HINCRBY", ledger, "flushed", events)
    call("SET", position, b"%d:%d:%s" % (end, int(commits) + 1, epoch))
    call("XTRIM", log, "MINID", rows.log_id(end + 1))
    call("DEL", entries)
    return events


def _depth(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    found: list[Reply] = []
    for place, key in enumerate(keys, 1):
        if entries := call("LLEN", key):
            found += [place, entries, *(b":".join(_entry_parts(call, key, at)[:3]) for at in (0, -1))]
    return found


# -------------------------------------------------------------------------------------------------------- checkpoints


def _present(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    digits, at = b"", 0
    for key in keys:
        clients = args[at + 1 : at + 1 + int(args[at])]
        digits += b"".join(b"%d" % int(bool(call("HEXISTS", key, client))) for client in clients)
        at += 1 + len(clients)
    return digits


def _count_clients(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    for client, more in zip(args[::2], args[1::2], strict=True):
        count = call("HINCRBY", keys[0], client, more)
        assert isinstance(count, int)
        if count <= 0:
            call("HDEL", keys[0], client)
    return len(args) // 2


def _tidy(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    types, aggregates, *states = keys
    for key, tab, drops in zip(states, args[::2], args[1::2], strict=True):
        if drops == b"1" or _get(call, "HGET", types, tab) == b"":
            if call("EXISTS", key) or call("HEXISTS", aggregates, tab):
                call("HSET", types, tab, b"")
            else:
                call("HDEL", types, tab)
    return len(args) // 2


def _rename(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    types, aggregates, states, new_states = keys
    tab, new = args
    kind = _get(call, "HGET", types, tab)
    if kind is None:
        return 0
    if call("HEXISTS", types, new) or call("EXISTS", new_states):
        return ReplyError("ERR there is a tab of the new name")
    aggregate = _get(call, "HGET", aggregates, tab)
    call("HSET", types, new, kind)
    call("HDEL", types, tab)
    if aggregate is not None:
        call("HSET", aggregates, new, aggregate)
        call("HDEL", aggregates, tab)
    if call("EXISTS", states):
        call("RENAME", states, new_states)
    return 1


# ------------------------------------------------------------------------------------------------------------ founding


def _found(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    meta, *markers = keys
    cluster, vbuckets, durability, shard, begin_anew = args
    call("HSETNX", meta, "cluster", cluster)
    owner = _get(call, "HGET", meta, "cluster")
    if owner != cluster:
        return [owner, b"other"]
    for name, value in (("vbuckets", vbuckets), ("durability", durability), ("shard", shard)):
        call("HSETNX", meta, name, value)
    call("HSETNX", meta, "format", FORMAT)
    call("HSETNX", meta, "state", "founding")
    state = _get(call, "HGET", meta, "state")
    if state == b"founding" or begin_anew == b"1":
        for marker in markers:
            call("SETNX", marker, "A:1")
    return [owner, state]


_FUNCTIONS = {
    "taba_version": _version,
    "taba_serves": _serves,
    "taba_append": _append,
    "taba_prune": _prune,
    "taba_acquire": _acquire,
    "taba_renew": _renew,
    "taba_load": _load,
    "taba_guard": _guard,
    "taba_depth": _depth,
    "taba_present": _present,
    "taba_count_clients": _count_clients,
    "taba_tidy": _tidy,
    "taba_rename": _rename,
    "taba_flush": _flush,
    "taba_set_aside": set_aside,
    "taba_refolded": refolded,
    "taba_publish": publish,
    "taba_members": members,
    "taba_found": _found,
}


def taba_library() -> FunctionLibrary:
    """The twin of functions.lua, to be given to servers under its name, `taba`."""
    return FunctionLibrary(
        "taba",
        _FUNCTIONS,
        read_only=frozenset(
            {"taba_version", "taba_serves", "taba_load", "taba_guard", "taba_depth", "taba_present", "taba_members"}
        ),
        allow_oom=frozenset(
            {
                "taba_prune",
                "taba_acquire",
                "taba_renew",
                "taba_count_clients",
                "taba_tidy",
                "taba_rename",
                "taba_flush",
                "taba_set_aside",
                "taba_refolded",
                "taba_publish",
            }
        ),
    )
