"""Commands of strings: GET, SET, MGET, MSET, SETEX, PSETEX, SETNX, GETDEL, APPEND, STRLEN, INCR and their relatives."""

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
    wrong_arity,
)
from taba.testing.redis.keyspace import WRONG_TYPE
from taba.testing.redis.resp import OK, Reply, ReplyError

_LARGEST = 2**63 - 1
_UNITS = {b"EX": (1000, False), b"PX": (1, False), b"EXAT": (1000, True), b"PXAT": (1, True)}
"""Milliseconds of a unit, and whether the time is absolute."""


def get(call: Call) -> Reply:
    """GET key."""
    return call.keyspace.string(call.argv[1])


def mget(call: Call) -> Reply:
    """MGET key ...: nil for what is no string."""
    values = (call.keyspace.find(key) for key in call.argv[1:])
    return [value if isinstance(value, bytes) else None for value in values]


def deadline_of(call: Call, text: bytes, unit_ms: int, absolute: bool, name: str) -> int:
    """The wall time in milliseconds that an expiry means; raises as Redis does when it is not above zero."""
    number = integer(text)
    base = 0 if absolute else call.now_ms()
    if number <= 0 or number > (_LARGEST - base) // unit_ms:
        raise ReplyError(f"ERR invalid expire time in '{name}' command")
    return base + number * unit_ms


def set_(call: Call) -> Reply:
    """SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]."""
    key, value = call.argv[1], call.argv[2]
    options = Options(call.argv, 3)
    condition = keep = wants_old = None
    unit: bytes | None = None
    time = b""
    while options:
        word = options.word()
        if word in (b"NX", b"XX") and condition in (None, word):
            condition = word
        elif word == b"GET":
            wants_old = True
        elif word == b"KEEPTTL" and unit is None:
            keep = True
        elif word in _UNITS and unit is None and not keep:
            unit, time = word, options.value()
        else:
            raise ReplyError(SYNTAX)
    deadline = None if unit is None else deadline_of(call, time, *_UNITS[unit], "set")
    old = call.keyspace.string(key) if wants_old else None
    there = call.keyspace.find(key) is not None
    if (condition == b"NX" and there) or (condition == b"XX" and not there):
        return old if wants_old else None
    _store(call, key, value, deadline, bool(keep))
    return old if wants_old else OK


def _store(call: Call, key: bytes, value: bytes, deadline: int | None, keep: bool = False) -> None:
    call.keyspace.put(key, value, keep_deadline=keep)
    if deadline is not None:
        call.keyspace.set_deadline(key, deadline)
        call.stands_for("SET", key, value, "PXAT", deadline)
    call.changed += 1


def setnx(call: Call) -> Reply:
    """SETNX key value."""
    if call.keyspace.find(call.argv[1]) is not None:
        return 0
    _store(call, call.argv[1], call.argv[2], None)
    return 1


def setex(call: Call) -> Reply:
    """SETEX key seconds value."""
    deadline = deadline_of(call, call.argv[2], 1000, False, "setex")
    _store(call, call.argv[1], call.argv[3], deadline)
    return OK


def psetex(call: Call) -> Reply:
    """PSETEX key milliseconds value."""
    deadline = deadline_of(call, call.argv[2], 1, False, "psetex")
    _store(call, call.argv[1], call.argv[3], deadline)
    return OK


def mset(call: Call) -> Reply:
    """MSET key value ..."""
    if len(call.argv) % 2 == 0:
        raise wrong_arity("mset")
    for place in range(1, len(call.argv), 2):
        call.keyspace.put(call.argv[place], call.argv[place + 1])
        call.changed += 1
    return OK


def getdel(call: Call) -> Reply:
    """GETDEL key."""
    value = call.keyspace.string(call.argv[1])
    if value is not None:
        call.keyspace.remove(call.argv[1])
        call.changed += 1
        call.stands_for("DEL", call.argv[1])
    return value


def append(call: Call) -> Reply:
    """APPEND key value: the new length."""
    value = (call.keyspace.string(call.argv[1]) or b"") + call.argv[2]
    call.keyspace.put(call.argv[1], value, keep_deadline=True)
    call.changed += 1
    return len(value)


def strlen(call: Call) -> Reply:
    """STRLEN key."""
    return len(call.keyspace.string(call.argv[1]) or b"")


def add_to(call: Call, amount: int) -> Reply:
    """Add to the number at a key."""
    key = call.argv[1]
    old = call.keyspace.find(key)
    if old is not None and not isinstance(old, bytes):
        raise ReplyError(WRONG_TYPE)
    total = (integer(old) if old is not None else 0) + amount
    if not -_LARGEST - 1 <= total <= _LARGEST:
        raise ReplyError("ERR increment or decrement would overflow")
    call.keyspace.put(key, b"%d" % total, keep_deadline=True)
    call.changed += 1
    return total


def incr(call: Call) -> Reply:
    """INCR key."""
    return add_to(call, 1)


def decr(call: Call) -> Reply:
    """DECR key."""
    return add_to(call, -1)


def incrby(call: Call) -> Reply:
    """INCRBY key amount."""
    return add_to(call, integer(call.argv[2]))


def decrby(call: Call) -> Reply:
    """DECRBY key amount."""
    amount = integer(call.argv[2])
    if amount == -_LARGEST - 1:
        raise ReplyError("ERR decrement would overflow")
    return add_to(call, -amount)


COMMANDS = table(
    [
        command("GET", get, 2, "readonly", FIRST_KEY),
        command("MGET", mget, -2, "readonly", ALL_KEYS),
        command("SET", set_, -3, "write denyoom", FIRST_KEY),
        command("SETNX", setnx, 3, "write denyoom", FIRST_KEY),
        command("SETEX", setex, 4, "write denyoom", FIRST_KEY),
        command("PSETEX", psetex, 4, "write denyoom", FIRST_KEY),
        command("MSET", mset, -3, "write denyoom", (1, -1, 2)),
        command("GETDEL", getdel, 2, "write", FIRST_KEY),
        command("APPEND", append, 3, "write denyoom", FIRST_KEY),
        command("STRLEN", strlen, 2, "readonly", FIRST_KEY),
        command("INCR", incr, 2, "write denyoom", FIRST_KEY),
        command("DECR", decr, 2, "write denyoom", FIRST_KEY),
        command("INCRBY", incrby, 3, "write denyoom", FIRST_KEY),
        command("DECRBY", decrby, 3, "write denyoom", FIRST_KEY),
    ]
)
