"""Records on their way to the disk: whether they may be written where they are to stand, and what is noted beside them.
Pure.

Commits have the numbers that come next, seals are of commits before them, and a snapshot notes no number whose events
are not in a record before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from taba.agent.encoding import Noted
from taba.agent.numbers import Numbers
from taba.agent.records import Commit, Extent, Hole, Record, Seal, Snapshot
from taba.agent.segments import Packed
from taba.errors import LocalProtocolError


def noted(
    records: Sequence[Record], due: int, durable: Numbers, unsynced: Sequence[Record], holes: tuple[Hole, ...]
) -> list[Packed]:
    """Records as they are packed, when commit `due` comes next and `durable` are the numbers without the records
    `unsynced`. LocalProtocolError for what may not be written.
    """
    for record in records:
        if isinstance(record, Commit):
            if record.number != due:
                raise LocalProtocolError(f"commit {record.number} where {due} is due")
            due += 1
        elif isinstance(record, Seal) and not record.first_commit <= record.last_commit < due:
            raise LocalProtocolError(f"a seal of what is not committed, or not in order: {record}")
    packed: list[Packed] = [record for record in records if not isinstance(record, Snapshot)]
    return packed if len(packed) == len(records) else _with_snapshots(records, durable, unsynced, holes)


def _with_snapshots(
    records: Sequence[Record], durable: Numbers, unsynced: Sequence[Record], holes: tuple[Hole, ...]
) -> list[Packed]:
    packed: list[Packed] = []
    numbers = durable.copy()
    for record in unsynced:
        numbers.apply(record)
    for record in records:
        if isinstance(record, Snapshot):
            numbers.check(record)
            packed.append(Noted(record, holes=holes, through=dict(numbers.through)))
        else:
            packed.append(record)
        numbers.apply(record)
    return packed


def only_snapshots(records: Sequence[Record]) -> bool:
    """Whether there is nothing else among them."""
    return all(isinstance(record, Snapshot) for record in records)


def by_record(records: Sequence[Record], extents: Sequence[tuple[Extent, ...]]) -> list[tuple[Extent, ...]]:
    """Deal the extents of commits to the records they are of; the other records have none."""
    left = iter(extents)
    return [next(left) if isinstance(record, Commit) else () for record in records]
