"""What stands in the values of the Redis store's keys, written and read. Pure.

The strings are those that functions.lua writes and reads, too: decimal numbers between colons. Times are seconds since
1970 with six decimals.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from taba.errors import StoreUnavailable
from taba.interfaces import Append, Lease, LogDepth, LogEntry, Outcome, Position, Verdict
from taba.store.judge import LaneRow


def lease_value(lease: Lease) -> bytes:
    """The value of E:v while `lease` is held."""
    return f"{lease.owner}:{lease.epoch}".encode()


def position_value(position: Position, epoch: int) -> bytes:
    """The value of Q:v."""
    return f"{position.folded}:{position.commits}:{epoch}".encode()


def read_position(value: bytes) -> Position:
    """The position in a value of Q:v."""
    folded, commits, _ = value.split(b":")
    return Position(int(folded), int(commits))


def lane_value(row: LaneRow) -> bytes:
    """The value of a dedup row."""
    return f"{row.last}:{row.checksum}:{row.events}:{row.touched:.6f}".encode()


def read_lane(value: bytes) -> LaneRow:
    """A dedup row."""
    last, checksum, events, touched = value.split(b":")
    return LaneRow(int(last), int(checksum), int(events), float(touched))


def ledger_value(ledger: Mapping[str, int]) -> bytes:
    """The field `row` of C:v."""
    return json.dumps(ledger).encode()


def read_ledger(value: bytes) -> dict[str, int]:
    """The lines of be in a vbucket's ledger row."""
    ledger: dict[str, int] = json.loads(value)
    return ledger


@frozen
class EntrySize:
    """An item of M:v: what of a log entry can be known without reading it, but for its events."""

    appended: float
    size: int
    total: int
    """The sizes of all entries up to this one, since the log was empty for the last time."""


def read_entry_size(value: bytes) -> EntrySize:
    """An item of M:v."""
    appended, size, total = value.split(b":")[:3]
    return EntrySize(float(appended), int(size), int(total))


def entry_size_value(appended: float, size: int, total: int, events: int, total_events: int) -> bytes:
    """An item of M:v. Both totals are of all entries up to this one, since the log was empty for the last time."""
    return f"{appended:.6f}:{size}:{total}:{events}:{total_events}".encode()


def depth(vbucket: int, entries: int, oldest: bytes, newest: bytes) -> LogDepth:
    """What waits in a log, from the first and last item of M:v."""
    first, last = read_entry_size(oldest), read_entry_size(newest)
    return LogDepth(vbucket, entries, last.total - first.total + first.size, first.appended)


def log_id(entry: int) -> bytes:
    """The id of a stream entry."""
    return b"0-%d" % entry


def read_entries(vbucket: int, lineage: str, rows: Sequence[Sequence[Any]]) -> list[LogEntry]:
    """The entries of one stream in a reply of XREAD."""
    entries = []
    for stream_id, fields in rows:
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        number = int(stream_id[stream_id.index(b"-") + 1 :])
        entries.append(LogEntry(vbucket, number, float(named[b"t"]), int(named[b"n"]), lineage, named[b"b"]))
    return entries


def append_arguments(place: int, batch: Append) -> tuple[Any, ...]:
    """The ten arguments of a batch for taba_append; `place` is that of its vbucket, from 1."""
    if batch.body is None:
        return place, batch.incarnation, batch.seq, b"", b"", b"", b"", b"", b"", b""
    return (
        place,
        batch.incarnation,
        batch.seq,
        batch.after,
        b"" if batch.previous is None else batch.previous,
        batch.before,
        batch.events,
        f"{batch.sealed:.6f}",
        batch.checksum,
        batch.body,
    )


def read_outcome(batch: Append, answer: bytes, lineage: str) -> Outcome:
    """What taba_append answered for a batch: `verdict last checksum appended reason`."""
    verdict, last, checksum, appended, reason = answer.decode().split(" ", 4)
    return Outcome(
        batch.vbucket,
        batch.incarnation,
        batch.seq,
        Verdict(verdict),
        int(last),
        None if checksum == "-" else int(checksum),
        lineage,
        reason,
        appended == "1",
    )


def pairs(flat: Sequence[bytes]) -> dict[str, bytes]:
    """A hash, as HGETALL answers; its fields are names."""
    return {flat[at].decode(): flat[at + 1] for at in range(0, len(flat), 2)}


def expect(condition: object, what: str) -> None:
    """Complain when the server's answer is not what its protocol allows: nothing is known then."""
    if not condition:
        raise StoreUnavailable(f"Redis answered what it never should: {what}")
