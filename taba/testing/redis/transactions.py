"""MULTI, EXEC, DISCARD, WATCH, UNWATCH.

A command that is refused while a transaction is being written down makes EXEC refuse all of it; one that fails inside
EXEC fails alone. EXEC answers nil when a watched key has changed or expired. What it wrote goes to replicas and disk
as one step.
"""

from __future__ import annotations

from taba.testing.redis.command import Call, command, table
from taba.testing.redis.resp import NIL_ARRAY, OK, Reply, ReplyError


def multi(call: Call) -> Reply:
    """MULTI."""
    if call.session.queue is not None:
        raise ReplyError("ERR MULTI calls can not be nested")
    call.session.queue = []
    return OK


def discard(call: Call) -> Reply:
    """DISCARD."""
    if call.session.queue is None:
        raise ReplyError("ERR DISCARD without MULTI")
    call.session.end_transaction()
    return OK


def exec_(call: Call) -> Reply:
    """EXEC: the replies of the commands."""
    session = call.session
    if session.queue is None:
        raise ReplyError("ERR EXEC without MULTI")
    queue, failed, spoiled = session.queue, session.queue_failed, session.watch_failed()
    session.end_transaction()
    if failed:
        raise ReplyError("EXECABORT Transaction discarded because of previous errors.")
    if spoiled:
        return NIL_ARRAY
    return [call.engine.run_queued(session, argv) for argv in queue]


def watch(call: Call) -> Reply:
    """WATCH key ..."""
    if call.session.queue is not None:
        raise ReplyError("ERR WATCH inside MULTI is not allowed")
    for key in call.argv[1:]:
        call.session.watch(call.keyspace, key)
    return OK


def unwatch(call: Call) -> Reply:
    """UNWATCH."""
    call.session.unwatch()
    return OK


COMMANDS = table(
    [
        command("MULTI", multi, 1, "noscript loading stale"),
        command("EXEC", exec_, 1, "noscript loading stale"),
        command("DISCARD", discard, 1, "noscript loading stale"),
        command("WATCH", watch, -2, "noscript loading stale", (1, -1, 1)),
        command("UNWATCH", unwatch, 1, "noscript loading stale"),
    ]
)
