"""Commands of hashes."""

from __future__ import annotations

from collections.abc import Sequence

from taba.testing.redis.command import FIRST_KEY, Call, Options, command, integer, table, wrong_arity
from taba.testing.redis.keyspace import Hash
from taba.testing.redis.resp import OK, Reply, ReplyError
from taba.testing.redis.scanning import page, read_cursor, read_options

_SMALL = 512  # fields of a hash that HSCAN gives at once, as Redis does with its compact encoding
_LARGEST = 2**63 - 1


def _fields(call: Call) -> dict[bytes, bytes]:
    found = call.keyspace.hash(call.argv[1])
    return {} if found is None else found.fields


def _put(call: Call, pairs: Sequence[bytes]) -> int:
    key = call.argv[1]
    found = call.keyspace.hash(key)
    made = Hash() if found is None else found
    new = sum(made.put(pairs[place], pairs[place + 1]) for place in range(0, len(pairs), 2))
    if found is None:
        call.keyspace.put(key, made)
    else:
        call.keyspace.touch(key)
    call.changed += 1
    return new


def hset(call: Call) -> Reply:
    """HSET key field value ...: how many fields are new."""
    if len(call.argv) % 2:
        raise wrong_arity("hset")
    return _put(call, call.argv[2:])


def hmset(call: Call) -> Reply:
    """HMSET key field value ..."""
    if len(call.argv) % 2:
        raise wrong_arity("hmset")
    _put(call, call.argv[2:])
    return OK


def hsetnx(call: Call) -> Reply:
    """HSETNX key field value."""
    return 0 if call.argv[2] in _fields(call) else _put(call, call.argv[2:])


def hget(call: Call) -> Reply:
    """HGET key field."""
    return _fields(call).get(call.argv[2])


def hmget(call: Call) -> Reply:
    """HMGET key field ..."""
    fields = _fields(call)
    return [fields.get(name) for name in call.argv[2:]]


def hgetall(call: Call) -> Reply:
    """HGETALL key: fields and values in turn."""
    return [each for pair in _fields(call).items() for each in pair]


def hkeys(call: Call) -> Reply:
    """HKEYS key."""
    return list(_fields(call))


def hvals(call: Call) -> Reply:
    """HVALS key."""
    return list(_fields(call).values())


def hdel(call: Call) -> Reply:
    """HDEL key field ...: how many were there."""
    found = call.keyspace.hash(call.argv[1])
    if found is None:
        return 0
    gone = sum(map(found.remove, call.argv[2:]))
    if gone:
        call.changed += gone
        if found.fields:
            call.keyspace.touch(call.argv[1])
        else:
            call.keyspace.remove(call.argv[1])
    return gone


def hlen(call: Call) -> Reply:
    """HLEN key."""
    return len(_fields(call))


def hexists(call: Call) -> Reply:
    """HEXISTS key field."""
    return int(call.argv[2] in _fields(call))


def hstrlen(call: Call) -> Reply:
    """HSTRLEN key field."""
    return len(_fields(call).get(call.argv[2], b""))


def hincrby(call: Call) -> Reply:
    """HINCRBY key field amount."""
    amount = integer(call.argv[3])
    old = _fields(call).get(call.argv[2])
    total = (integer(old, "ERR hash value is not an integer") if old is not None else 0) + amount
    if not -_LARGEST - 1 <= total <= _LARGEST:
        raise ReplyError("ERR increment or decrement would overflow")
    _put(call, [call.argv[2], b"%d" % total])
    return total


def hscan(call: Call) -> Reply:
    """HSCAN key cursor [MATCH pattern] [COUNT n]; small hashes come whole."""
    cursor = read_cursor(call.argv[2])
    fields = _fields(call)
    if not fields:
        return [b"0", []]
    matches, count, _kind = read_options(Options(call.argv, 3), with_type=False)
    if len(fields) <= _SMALL and all(len(value) <= 64 for pair in fields.items() for value in pair):
        following, names = 0, list(fields)
    else:
        following, names = page(fields, cursor, count)
    found: list[Reply] = []
    for name in names:
        if matches is None or matches(name):
            found += [name, fields[name]]
    return [b"%d" % following, found]


COMMANDS = table(
    [
        command("HSET", hset, -4, "write denyoom", FIRST_KEY),
        command("HMSET", hmset, -4, "write denyoom", FIRST_KEY),
        command("HSETNX", hsetnx, 4, "write denyoom", FIRST_KEY),
        command("HGET", hget, 3, "readonly", FIRST_KEY),
        command("HMGET", hmget, -3, "readonly", FIRST_KEY),
        command("HGETALL", hgetall, 2, "readonly", FIRST_KEY),
        command("HKEYS", hkeys, 2, "readonly", FIRST_KEY),
        command("HVALS", hvals, 2, "readonly", FIRST_KEY),
        command("HDEL", hdel, -3, "write", FIRST_KEY),
        command("HLEN", hlen, 2, "readonly", FIRST_KEY),
        command("HEXISTS", hexists, 3, "readonly", FIRST_KEY),
        command("HSTRLEN", hstrlen, 3, "readonly", FIRST_KEY),
        command("HINCRBY", hincrby, 4, "write denyoom", FIRST_KEY),
        command("HSCAN", hscan, -3, "readonly", FIRST_KEY),
    ]
)
