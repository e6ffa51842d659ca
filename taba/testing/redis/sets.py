"""Commands of sets. Members come in the order in which they were added, which Redis does not promise."""

from __future__ import annotations

from taba.testing.redis.command import FIRST_KEY, Call, Options, command, table
from taba.testing.redis.keyspace import Members
from taba.testing.redis.resp import Reply
from taba.testing.redis.scanning import page, read_cursor, read_options


def _names(call: Call) -> dict[bytes, None]:
    found = call.keyspace.members(call.argv[1])
    return {} if found is None else found.names


def sadd(call: Call) -> Reply:
    """SADD key member ...: how many are new."""
    key = call.argv[1]
    found = call.keyspace.members(key)
    made = Members() if found is None else found
    new = sum(map(made.add, call.argv[2:]))
    if found is None:
        call.keyspace.put(key, made)
    elif new:
        call.keyspace.touch(key)
    call.changed += new
    return new


def srem(call: Call) -> Reply:
    """SREM key member ...: how many were there."""
    found = call.keyspace.members(call.argv[1])
    if found is None:
        return 0
    gone = sum(map(found.remove, call.argv[2:]))
    if gone:
        call.changed += gone
        if found.names:
            call.keyspace.touch(call.argv[1])
        else:
            call.keyspace.remove(call.argv[1])
    return gone


def smembers(call: Call) -> Reply:
    """SMEMBERS key."""
    return list(_names(call))


def sismember(call: Call) -> Reply:
    """SISMEMBER key member."""
    return int(call.argv[2] in _names(call))


def scard(call: Call) -> Reply:
    """SCARD key."""
    return len(_names(call))


def sscan(call: Call) -> Reply:
    """SSCAN key cursor [MATCH pattern] [COUNT n]."""
    cursor = read_cursor(call.argv[2])
    names = _names(call)
    if not names:
        return [b"0", []]
    matches, count, _kind = read_options(Options(call.argv, 3), with_type=False)
    following, found = page(names, cursor, count)
    return [b"%d" % following, [name for name in found if matches is None or matches(name)]]


COMMANDS = table(
    [
        command("SADD", sadd, -3, "write denyoom", FIRST_KEY),
        command("SREM", srem, -3, "write", FIRST_KEY),
        command("SMEMBERS", smembers, 2, "readonly", FIRST_KEY),
        command("SISMEMBER", sismember, 3, "readonly", FIRST_KEY),
        command("SCARD", scard, 2, "readonly", FIRST_KEY),
        command("SSCAN", sscan, -3, "readonly", FIRST_KEY),
    ]
)
