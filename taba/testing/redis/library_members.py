"""members.lua in Python: the processes that published themselves, in the hash P."""

from __future__ import annotations

from taba.testing.redis.functions import FunctionCall
from taba.testing.redis.library_calls import Arguments, items
from taba.testing.redis.library_calls import now as time_of
from taba.testing.redis.resp import Reply


def _lives(value: bytes, now: float) -> bool:
    expires, milliseconds, _ = value.split(b":", 2)
    return 0 < float(expires) - now <= int(milliseconds) / 100


def publish(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    """taba_publish."""
    name, milliseconds, facts = args
    now = time_of(call)
    for member, value in _members_of(call, keys[0]):
        if not _lives(value, now):
            call("HDEL", keys[0], member)
    if milliseconds == b"0":
        return call("HDEL", keys[0], name)
    call("HSET", keys[0], name, b"%.6f:%s:%s" % (now + int(milliseconds) / 1000, milliseconds, facts))
    return 1


def members(call: FunctionCall, keys: Arguments, args: Arguments) -> Reply:
    """taba_members."""
    now = time_of(call)
    living = [(name, value) for name, value in _members_of(call, keys[0]) if _lives(value, now)]
    return [each for name, value in living for each in (name, value.split(b":", 2)[2])]


def _members_of(call: FunctionCall, key: bytes) -> list[tuple[bytes, bytes]]:
    flat = items(call("HGETALL", key))
    return list(zip(flat[::2], flat[1::2], strict=True))
