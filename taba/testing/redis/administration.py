"""ROLE, REPLICAOF, TIME, SAVE, BGSAVE, LASTSAVE, MEMORY USAGE, SHUTDOWN."""

from __future__ import annotations

from taba.testing.redis.command import SYNTAX, Call, command, integer, table
from taba.testing.redis.dumping import dump_value
from taba.testing.redis.resp import NO_REPLY, OK, Reply, ReplyError, Status, shown

_SHUTDOWN_OPTIONS = (b"NOSAVE", b"SAVE", b"NOW", b"FORCE")


def role(call: Call) -> Reply:
    """ROLE."""
    engine = call.engine
    if engine.link is not None:
        offset = engine.history.offset if engine.link.is_up() else -1
        return [b"slave", engine.link.host.encode(), engine.link.port, engine.link.state.encode(), offset]
    rows: list[Reply] = [
        [each.host().encode(), b"%d" % each.port, b"%d" % each.acknowledged] for each in engine.replicas.online()
    ]
    return [b"master", engine.history.offset, rows]


def replicaof(call: Call) -> Reply:
    """REPLICAOF host port, REPLICAOF NO ONE."""
    engine, host, port = call.engine, call.argv[1], call.argv[2]
    if host.upper() == b"NO" and port.upper() == b"ONE":
        engine.lead()
        return OK
    number = integer(port, "ERR Invalid master port")
    if not 0 <= number <= 65535:
        raise ReplyError("ERR Invalid master port")
    if engine.link is not None and (engine.link.host, engine.link.port) == (shown(host), number):
        return Status("OK Already connected to specified master")
    engine.follow(shown(host), number)
    return OK


def time(call: Call) -> Reply:
    """TIME: seconds and microseconds of the wall clock."""
    microseconds = int(call.engine.wall() * 1_000_000)
    return [b"%d" % (microseconds // 1_000_000), b"%d" % (microseconds % 1_000_000)]


def save(call: Call) -> Reply:
    """SAVE."""
    if call.engine.disk.fails:
        raise ReplyError("ERR")
    call.engine.save()
    return OK


def bgsave(call: Call) -> Reply:
    """BGSAVE [SCHEDULE]: done at once."""
    if not call.engine.disk.fails:
        call.engine.save()
    return Status("Background saving started")


def lastsave(call: Call) -> Reply:
    """LASTSAVE."""
    return int(call.engine.last_save)


def memory_usage(call: Call) -> Reply:
    """MEMORY USAGE key: an estimate."""
    value = call.keyspace.find(call.argv[2])
    return None if value is None else 56 + len(call.argv[2]) + len(dump_value(value))


def shutdown(call: Call) -> Reply:
    """SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE]: the process ends, and the connection with it."""
    words = [word.upper() for word in call.argv[1:]]
    if any(word not in _SHUTDOWN_OPTIONS for word in words):
        raise ReplyError(SYNTAX)
    if b"NOSAVE" not in words and (b"SAVE" in words or call.engine.configuration.text("save")):
        call.engine.save()
    call.engine.disk.sync()
    call.engine.turns.later(0, call.engine.on_shutdown)
    return NO_REPLY


COMMANDS = table(
    [
        command("ROLE", role, 1, "noscript loading stale"),
        command("REPLICAOF", replicaof, 3, "noscript stale"),
        command("SLAVEOF", replicaof, 3, "noscript stale"),
        command("TIME", time, 1, "loading stale"),
        command("SAVE", save, 1, "noscript no_multi"),
        command("BGSAVE", bgsave, -1, "noscript"),
        command("LASTSAVE", lastsave, 1, "loading stale"),
        command("MEMORY|USAGE", memory_usage, -3, "readonly", (2, 2, 1)),
        command("SHUTDOWN", shutdown, -1, "noscript loading stale no_multi"),
    ]
)
