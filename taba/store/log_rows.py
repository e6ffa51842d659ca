"""What the embedded store writes and reads of its logs: appends, dedup rows, entries; each a function for one
transaction.

Those that change logs answer with the `LogEnd`s of these, which the store keeps in memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from attrs import frozen

from taba.interfaces import Append, LogEntry, Outcome
from taba.store.judge import LaneRow, judge_in_order
from taba.store.schema import last_log_key, log_key

Cursor = tuple[bytes, int]
"""How far a walk over all dedup rows has come."""
FIRST_LANE: Cursor = (b"", -1)
"""Before all dedup rows."""


@frozen
class LogEnd:
    """How much waits in the log of a vbucket."""

    last_id: int
    entries: int
    bytes: int
    oldest: float
    """Wall time of the oldest entry's append; 0.0 when there is none."""


LogEnds = dict[int, LogEnd]


def read_ends(database: sqlite3.Connection) -> LogEnds:
    """The ends of all logs."""
    return {vbucket: read_end(database, vbucket) for (vbucket,) in database.execute("SELECT vbucket FROM vbuckets")}


def read_end(database: sqlite3.Connection, vbucket: int) -> LogEnd:
    """The end of one log."""
    last_id, folded, size = database.execute(
        "SELECT last_id, folded, log_bytes FROM vbuckets WHERE vbucket = ?", (vbucket,)
    ).fetchone()
    # A checkpoint trims exactly up to its position, and ids are dense: what is not folded waits.
    if last_id == folded:
        return LogEnd(last_id, 0, 0, 0.0)
    oldest = database.execute("SELECT appended FROM log WHERE key = ?", (log_key(vbucket, folded + 1),)).fetchone()[0]
    return LogEnd(last_id, last_id - folded, size, oldest)


def append(
    database: sqlite3.Connection,
    batches: Sequence[Append],
    *,
    vbuckets: int,
    lineage: str,
    now: float,
    dedup_seconds: float,
) -> tuple[list[Outcome], LogEnds]:
    """`IStore.append` at wall time `now`; answers with the ends of the logs that grew, too."""
    judged = judge_in_order(
        batches,
        lambda incarnation, vbucket: _read_lane(database, incarnation, vbucket),
        vbuckets=vbuckets,
        lineage=lineage,
        now=now,
        dedup_seconds=dedup_seconds,
    )
    database.executemany(
        "INSERT INTO lanes VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (incarnation, vbucket) DO UPDATE SET"
        " last = excluded.last, checksum = excluded.checksum, events = excluded.events, touched = excluded.touched",
        [
            (bytes.fromhex(incarnation), vbucket, row.last, row.checksum, row.events, row.touched)
            for (incarnation, vbucket), row in judged.rows.items()
        ],
    )
    database.executemany(
        "UPDATE vbuckets SET lost = lost + ? WHERE vbucket = ?",
        [(events, vbucket) for vbucket, events in judged.lost.items()],
    )
    return judged.outcomes, _add_entries(database, judged.appended, now)


def _read_lane(database: sqlite3.Connection, incarnation: str, vbucket: int) -> LaneRow | None:
    row = database.execute(
        "SELECT last, checksum, events, touched FROM lanes WHERE incarnation = ? AND vbucket = ?",
        (bytes.fromhex(incarnation), vbucket),
    ).fetchone()
    return LaneRow(*row) if row else None


def _add_entries(database: sqlite3.Connection, batches: Sequence[Append], now: float) -> LogEnds:
    """Put batches into their logs, in order, under the next ids."""
    ends: LogEnds = {}
    entries = []
    for batch in batches:
        assert batch.body is not None
        end = ends.get(batch.vbucket) or read_end(database, batch.vbucket)
        entries.append((log_key(batch.vbucket, end.last_id + 1), now, batch.events, batch.body))
        ends[batch.vbucket] = LogEnd(
            end.last_id + 1, end.entries + 1, end.bytes + len(batch.body), end.oldest if end.entries else now
        )
    database.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", sorted(entries))
    database.executemany(
        "UPDATE vbuckets SET last_id = ?, log_bytes = ? WHERE vbucket = ?",
        [(end.last_id, end.bytes, vbucket) for vbucket, end in ends.items()],
    )
    return ends


def read_entries(
    database: sqlite3.Connection, after: Sequence[tuple[int, int]], max_bytes: int, lineage: str
) -> list[LogEntry]:
    """The entries above the id of each (vbucket, id), in that order of vbuckets, up to `max_bytes`; at least one."""
    entries: list[LogEntry] = []
    size = 0
    for vbucket, entry_id in after:
        rows = database.execute(
            "SELECT key, appended, events, body FROM log WHERE key BETWEEN ? AND ? ORDER BY key",
            (log_key(vbucket, entry_id) + 1, last_log_key(vbucket)),
        )
        for key, appended, events, body in rows:
            size += len(body)
            if entries and size > max_bytes:
                rows.close()
                return entries
            entries.append(LogEntry(vbucket, key - log_key(vbucket, 0), appended, events, lineage, body))
    return entries


def flush(database: sqlite3.Connection, vbucket: int) -> tuple[int, LogEnds]:
    """`IStore.flush` of one vbucket: how many events were dropped; and the end of its log."""
    key = log_key(vbucket, 0), last_log_key(vbucket)
    entries, events = database.execute(
        "SELECT count(*), coalesce(sum(events), 0) FROM log WHERE key BETWEEN ? AND ?", key
    ).fetchone()
    if entries:
        database.execute(
            "UPDATE vbuckets SET folded = last_id, commits = commits + 1, flushed = flushed + ?, log_bytes = 0"
            " WHERE vbucket = ?",
            (events, vbucket),
        )
        database.execute("DELETE FROM log WHERE key BETWEEN ? AND ?", key)
    return events, {vbucket: read_end(database, vbucket)}


def prune_lanes(
    database: sqlite3.Connection, after: Cursor, rows: int, now: float, dedup_seconds: float
) -> tuple[int, Cursor | None]:
    """Look at the next `rows` dedup rows, drop those that are idle; how many went, and how to go on (None: at the
    end).
    """
    end = database.execute(
        "SELECT incarnation, vbucket FROM lanes WHERE (incarnation, vbucket) > (?, ?)"
        " ORDER BY incarnation, vbucket LIMIT 1 OFFSET ?",
        (*after, rows - 1),
    ).fetchone()
    # The condition is that of `judge.is_idle`.
    idle = "DELETE FROM lanes WHERE (incarnation, vbucket) > (?, ?) AND ? - touched >= ?"
    if end is None:
        return database.execute(idle, (*after, now, dedup_seconds)).rowcount, None
    piece = database.execute(idle + " AND (incarnation, vbucket) <= (?, ?)", (*after, now, dedup_seconds, *end))
    return piece.rowcount, end
