"""What a command must pass before it runs: the checks of a Redis server, in its order.

Who asks, memory, disk, replicas, role, subscriptions, staleness, loading, a busy script. Whatever is refused spoils the
transaction that is being written down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taba.testing.redis.access import check
from taba.testing.redis.command import Command
from taba.testing.redis.commands import find_command
from taba.testing.redis.resp import ReplyError, shown
from taba.testing.redis.session import Session

if TYPE_CHECKING:
    from taba.testing.redis.engine import Engine

OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'."
NO_REPLICAS = "NOREPLICAS Not enough good replicas to write."
BROKEN_DISK = (
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that "
    "may modify the data set are disabled, because this instance is configured to report errors during writes if RDB "
    "snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB "
    "error."
)
BROKEN_LOG = "MISCONF Errors writing to the AOF file: No space left on device"
BUSY = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
_ENDS_TRANSACTION = frozenset(("EXEC", "DISCARD", "QUIT", "RESET"))
_WHILE_BUSY = frozenset(("SHUTDOWN", "MULTI", "DISCARD", "WATCH", "UNWATCH", "REPLCONF"))
_FOR_SUBSCRIBERS = frozenset(("PING", "QUIT", "RESET"))


def pass_gate(engine: Engine, session: Session, asked: Command, argv: list[bytes]) -> None:
    """Raise the ReplyError with which a server refuses a command now; return when it may run."""
    _check_rights(engine, session, asked, argv)
    flags = _flags(engine, asked, argv)
    if asked.name == "EXEC":
        for queued in session.queue or ():
            flags |= _flags(engine, find_command(queued), queued)
    writes = "write" in flags
    in_transaction = session.queue is not None and asked.name not in _ENDS_TRANSACTION
    if ("denyoom" in flags or in_transaction) and engine.is_out_of_memory():
        raise ReplyError(OUT_OF_MEMORY)
    if (writes or asked.name == "PING") and (broken := broken_disk(engine)):
        raise ReplyError(broken)
    if writes and not engine.replicas.enough():
        raise ReplyError(NO_REPLICAS)
    if writes and engine.is_replica() and engine.configuration.is_on("replica-read-only"):
        raise ReplyError("READONLY You can't write against a read only replica.")
    if (session.channels or session.patterns) and "pubsub" not in flags and asked.name not in _FOR_SUBSCRIBERS:
        raise ReplyError(
            f"ERR Can't execute '{asked.lower()}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
            "allowed in this context"
        )
    if engine.is_stale() and "stale" not in flags:
        raise ReplyError("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
    if engine.loading and "loading" not in flags:
        raise ReplyError("LOADING Redis is loading the dataset in memory")
    if engine.busy and not ("noauth" in flags or asked.name in _WHILE_BUSY):
        raise ReplyError(BUSY)


def _check_rights(engine: Engine, session: Session, asked: Command, argv: list[bytes]) -> None:
    if not session.authenticated and not engine.users.is_open() and "noauth" not in asked.flags:
        raise ReplyError("NOAUTH Authentication required.")
    if session.queue is not None and "no_multi" in asked.flags:
        raise ReplyError("ERR Command not allowed inside a transaction")
    if session.user is not None and "noauth" not in asked.flags:
        check(session.user, asked, argv)


def _flags(engine: Engine, asked: Command, argv: list[bytes]) -> frozenset[str]:
    if asked.name in ("FCALL", "FCALL_RO"):
        return engine.functions.command_flags(shown(argv[1]), asked.flags)
    return asked.flags


def broken_disk(engine: Engine) -> str:
    """The error with which a server whose disk fails refuses writes; empty when it does not."""
    if not engine.disk.fails or engine.is_replica():
        return ""
    if engine.configuration.is_on("appendonly"):
        return BROKEN_LOG
    saves = engine.configuration.text("save") and engine.configuration.is_on("stop-writes-on-bgsave-error")
    return BROKEN_DISK if saves else ""
