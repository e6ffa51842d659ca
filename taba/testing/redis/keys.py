"""Commands that take keys of any type, and whole databases: DEL, EXISTS, expiry, TYPE, RENAME, SCAN, KEYS, FLUSHALL."""

from __future__ import annotations

from taba.testing.redis.command import (
    ALL_KEYS,
    FIRST_KEY,
    SYNTAX,
    Call,
    Options,
    command,
    integer,
    table,
)
from taba.testing.redis.keyspace import type_name
from taba.testing.redis.resp import OK, Reply, ReplyError, Status
from taba.testing.redis.scanning import glob, page, read_cursor, read_options

_LARGEST = 2**63 - 1


def delete(call: Call) -> Reply:
    """DEL and UNLINK key ...: how many were there."""
    gone = sum([call.keyspace.find(key) is not None and call.keyspace.remove(key) for key in call.argv[1:]])
    call.changed += gone
    return gone


def exists(call: Call) -> Reply:
    """EXISTS key ...: how many are there, counting repetitions."""
    return sum(call.keyspace.find(key) is not None for key in call.argv[1:])


def type_(call: Call) -> Reply:
    """TYPE key."""
    return Status(type_name(call.keyspace.find(call.argv[1])))


def _expire(call: Call, unit_ms: int, absolute: bool) -> Reply:
    name = call.argv[0].decode().lower()
    key, number = call.argv[1], integer(call.argv[2])
    base = 0 if absolute else call.now_ms()
    if not -_LARGEST <= number * unit_ms + base <= _LARGEST:
        raise ReplyError(f"ERR invalid expire time in '{name}' command")
    deadline = number * unit_ms + base
    conditions = {word.upper() for word in call.argv[3:]}
    _check_conditions(conditions, call.argv[3:])
    if call.keyspace.find(key) is None:
        return 0
    old = call.keyspace.deadlines.get(key)
    if not _allowed(conditions, old, deadline):
        return 0
    call.changed += 1
    if deadline <= call.now_ms() and not call.keyspace.sees_expired():
        call.keyspace.remove(key)
        call.stands_for("DEL", key)
    else:
        call.keyspace.set_deadline(key, deadline)
        call.stands_for("PEXPIREAT", key, deadline)
    return 1


def _check_conditions(conditions: set[bytes], words: list[bytes]) -> None:
    for word in words:
        if word.upper() not in (b"NX", b"XX", b"GT", b"LT"):
            raise ReplyError(f"ERR Unsupported option {word.decode('utf-8', 'surrogateescape')}")
    if b"NX" in conditions and len(conditions) > 1:
        raise ReplyError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= conditions:
        raise ReplyError("ERR GT and LT options at the same time are not compatible")


def _allowed(conditions: set[bytes], old: int | None, new: int) -> bool:
    if b"NX" in conditions:
        return old is None
    if b"XX" in conditions and old is None:
        return False
    if b"GT" in conditions and (old is None or new <= old):
        return False
    return not (b"LT" in conditions and old is not None and new >= old)


def expire(call: Call) -> Reply:
    """EXPIRE key seconds [NX | XX | GT | LT]."""
    return _expire(call, 1000, False)


def pexpire(call: Call) -> Reply:
    """PEXPIRE key milliseconds [NX | XX | GT | LT]."""
    return _expire(call, 1, False)


def expireat(call: Call) -> Reply:
    """EXPIREAT key seconds [NX | XX | GT | LT]."""
    return _expire(call, 1000, True)


def pexpireat(call: Call) -> Reply:
    """PEXPIREAT key milliseconds [NX | XX | GT | LT]."""
    return _expire(call, 1, True)


def persist(call: Call) -> Reply:
    """PERSIST key."""
    key = call.argv[1]
    if call.keyspace.find(key) is None or key not in call.keyspace.deadlines:
        return 0
    call.keyspace.set_deadline(key, None)
    call.changed += 1
    return 1


def pttl(call: Call) -> Reply:
    """PTTL key: milliseconds; -1 without expiry, -2 without key."""
    if call.keyspace.find(call.argv[1]) is None:
        return -2
    deadline = call.keyspace.deadlines.get(call.argv[1])
    return -1 if deadline is None else max(0, deadline - call.now_ms())


def ttl(call: Call) -> Reply:
    """TTL key: seconds, as PTTL."""
    left = pttl(call)
    assert isinstance(left, int)
    return left if left < 0 else (left + 500) // 1000


def rename(call: Call) -> Reply:
    """RENAME key newkey."""
    value = call.keyspace.find(call.argv[1])
    if value is None:
        raise ReplyError("ERR no such key")
    if call.argv[1] != call.argv[2]:
        deadline = call.keyspace.deadlines.get(call.argv[1])
        call.keyspace.remove(call.argv[1])
        call.keyspace.put(call.argv[2], value)
        if deadline is not None:
            call.keyspace.set_deadline(call.argv[2], deadline)
        call.changed += 1
    return OK


def scan(call: Call) -> Reply:
    """SCAN cursor [MATCH pattern] [COUNT n] [TYPE type]."""
    cursor = read_cursor(call.argv[1])
    matches, count, kind = read_options(Options(call.argv, 2), with_type=True)
    following, names = page(list(call.keyspace.values), cursor, count)
    found: list[Reply] = []
    for name in names:
        value = call.keyspace.find(name)
        fits = kind is None or type_name(value).encode() == kind.lower()
        if value is not None and fits and (matches is None or matches(name)):
            found.append(name)
    return [b"%d" % following, found]


def keys(call: Call) -> Reply:
    """KEYS pattern."""
    matches = glob(call.argv[1])
    return [key for key in call.keyspace.living_keys() if matches(key)]


def dbsize(call: Call) -> Reply:
    """DBSIZE: how many keys, those that have expired and are not yet removed among them."""
    return len(call.keyspace)


def _flush_mode(call: Call) -> None:
    if len(call.argv) > 2 or (len(call.argv) == 2 and call.argv[1].upper() not in (b"ASYNC", b"SYNC")):
        raise ReplyError(SYNTAX)


def flushdb(call: Call) -> Reply:
    """FLUSHDB [ASYNC | SYNC]."""
    _flush_mode(call)
    call.keyspace.clear()
    call.changed += 1
    return OK


def flushall(call: Call) -> Reply:
    """FLUSHALL [ASYNC | SYNC]: all databases."""
    _flush_mode(call)
    call.engine.clear_databases()
    call.changed += 1
    return OK


COMMANDS = table(
    [
        command("DEL", delete, -2, "write", ALL_KEYS),
        command("UNLINK", delete, -2, "write", ALL_KEYS),
        command("EXISTS", exists, -2, "readonly", ALL_KEYS),
        command("TYPE", type_, 2, "readonly", FIRST_KEY),
        command("EXPIRE", expire, -3, "write", FIRST_KEY),
        command("PEXPIRE", pexpire, -3, "write", FIRST_KEY),
        command("EXPIREAT", expireat, -3, "write", FIRST_KEY),
        command("PEXPIREAT", pexpireat, -3, "write", FIRST_KEY),
        command("PERSIST", persist, 2, "write", FIRST_KEY),
        command("TTL", ttl, 2, "readonly", FIRST_KEY),
        command("PTTL", pttl, 2, "readonly", FIRST_KEY),
        command("RENAME", rename, 3, "write", (1, 2, 1)),
        command("SCAN", scan, -2, "readonly"),
        command("KEYS", keys, 2, "readonly"),
        command("DBSIZE", dbsize, 1, "readonly"),
        command("FLUSHDB", flushdb, -1, "write"),
        command("FLUSHALL", flushall, -1, "write"),
    ]
)
