"""Commands of lists."""

from __future__ import annotations

from taba.testing.redis.command import FIRST_KEY, Call, command, integer, table
from taba.testing.redis.keyspace import Items
from taba.testing.redis.resp import OK, Reply


def _items(call: Call) -> list[bytes]:
    found = call.keyspace.items(call.argv[1])
    return [] if found is None else found.items


def _push(call: Call, front: bool) -> Reply:
    key = call.argv[1]
    found = call.keyspace.items(key)
    made = Items() if found is None else found
    made.push(call.argv[2:], front)
    if found is None:
        call.keyspace.put(key, made)
    else:
        call.keyspace.touch(key)
    call.changed += len(call.argv) - 2
    return len(made.items)


def rpush(call: Call) -> Reply:
    """RPUSH key element ...: the length after it."""
    return _push(call, front=False)


def lpush(call: Call) -> Reply:
    """LPUSH key element ...: the length after it."""
    return _push(call, front=True)


def llen(call: Call) -> Reply:
    """LLEN key."""
    return len(_items(call))


def lindex(call: Call) -> Reply:
    """LINDEX key index: nil for a place that there is not."""
    items, place = _items(call), integer(call.argv[2])
    return items[place] if -len(items) <= place < len(items) else None


def _range(call: Call, length: int) -> tuple[int, int]:
    """The half-open range of two arguments, of which negative ones count from the end."""
    first, last = integer(call.argv[2]), integer(call.argv[3])
    first = max(0, first + length) if first < 0 else first
    last = last + length if last < 0 else last
    return first, min(length, last + 1)


def lrange(call: Call) -> Reply:
    """LRANGE key start stop, both included."""
    items = _items(call)
    first, end = _range(call, len(items))
    return list(items[first:end]) if first < end else []


def ltrim(call: Call) -> Reply:
    """LTRIM key start stop: keeps these, both included."""
    key = call.argv[1]
    found = call.keyspace.items(key)
    first, end = _range(call, 0 if found is None else len(found.items))
    if found is None:
        return OK
    gone = found.keep(first, end)
    if not found.items:
        call.keyspace.remove(key)
    else:
        call.keyspace.touch(key)
    call.changed += gone
    return OK


COMMANDS = table(
    [
        command("RPUSH", rpush, -3, "write denyoom", FIRST_KEY),
        command("LPUSH", lpush, -3, "write denyoom", FIRST_KEY),
        command("LLEN", llen, 2, "readonly", FIRST_KEY),
        command("LINDEX", lindex, 3, "readonly", FIRST_KEY),
        command("LRANGE", lrange, 4, "readonly", FIRST_KEY),
        command("LTRIM", ltrim, 4, "write", FIRST_KEY),
    ]
)
