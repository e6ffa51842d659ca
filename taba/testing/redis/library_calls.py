"""What the functions of Taba's library in Python ask Redis for, with the types that its answers have."""

from __future__ import annotations

from typing import Any

from taba.testing.redis.functions import FunctionCall
from taba.testing.redis.resp import Reply

Arguments = list[bytes]
"""The keys, or the arguments, of a function."""


def now(call: FunctionCall) -> float:
    """The time of the server, in seconds."""
    seconds, microseconds = items(call("TIME"))
    return int(seconds) + int(microseconds) / 1e6


def whole(reply: Reply) -> int:
    """A reply that is a whole number."""
    assert isinstance(reply, int)
    return reply


def items(reply: Reply) -> list[Any]:
    """A reply that is an array."""
    assert isinstance(reply, list)
    return reply


def lineage(call: FunctionCall) -> bytes:
    """The first 32 digits of the replication id."""
    info = call("INFO", "replication")
    assert isinstance(info, bytes)
    start = info.index(b"\nmaster_replid:") + len(b"\nmaster_replid:")
    return info[start : start + 32]


def get(call: FunctionCall, *argv: bytes | str | int) -> bytes | None:
    """The reply to a command that is answered with a string, or with nil."""
    value = call(*argv)
    assert value is None or isinstance(value, bytes)
    return value
