"""What a store says to a batch of a lane, and to a checkpoint: the rules that exactly once rests on, as pure
functions.

Every store asks these functions, so that all of them decide alike; what they keep, and how they make a call atomic,
is their own. The rules of lanes in short, for a lane with last number `last`:

    after <= last < seq   append (CONFLICT when the batch follows another batch `last`; REFUSED when it is too old)
    seq <= last           a duplicate: OK, and the row is touched (CONFLICT when it is another batch `last`)
    after > last          GAP: the log has lost what the agent believes to be there, or never had it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, field, frozen

from taba.interfaces import Append, Checkpoint, Outcome, Position, Verdict, Written
from taba.store.limits import DAY

LOST = "lost"
"""A line of the ledger that stores keep: events that lanes gave and the log never had."""
FLUSHED = "flushed"
"""A line of the ledger that stores keep: events that an operator had dropped from the log."""
OWN_LINES = frozenset({LOST, FLUSHED})
"""The lines that no checkpoint writes."""
TOO_OLD = "too old"
"""The reason of a batch that is REFUSED because a copy of it may have been forgotten."""
NO_SUCH_VBUCKET = "no such vbucket"
"""The reason of a batch that is REFUSED because the cluster has fewer vbuckets."""
BAD_NUMBER = "bad number"
"""The reason of a batch that is REFUSED because it does not follow a smaller number, from 0."""


@frozen
class LaneRow:
    """What a store remembers of a lane: its dedup row."""

    last: int
    """The number of the last batch in the log."""
    checksum: int
    """The checksum of that batch."""
    events: int
    """The events the lane gave up to and with that batch, as that batch said."""
    touched: float
    """Wall time of the last append or duplicate; the row may go DEDUP_DAYS later."""


@frozen
class Judgement:
    """What is to be done with one batch, or look."""

    verdict: Verdict
    reason: str = ""
    row: LaneRow | None = None
    """The row to remember from now on; None when nothing changes."""
    lost: int = 0
    """Events that the lane gave before this batch and the log never had."""
    appended: bool = False
    """Whether the batch goes into the log."""


def judge(row: LaneRow | None, batch: Append, now: float, dedup_seconds: float) -> Judgement:
    """Say what becomes of `batch` in a lane whose row is `row`, None for an unknown lane. `now` is wall time."""
    last = row.last if row else 0
    if batch.body is None:
        # Not even `touched`: lanes await confirmation for seconds and their rows live for days, so looks, which are
        # many, need not write.
        return Judgement(Verdict.OK if batch.seq <= last else Verdict.GAP)
    if not 0 <= batch.after < batch.seq:
        # No agent numbers so. Taken for a duplicate, as a number below 1 would be, it would be acknowledged and in
        # no log.
        return Judgement(Verdict.REFUSED, BAD_NUMBER)
    if row and batch.seq <= last:
        # Before the age: the store has this batch, so a copy of it is a duplicate however late it comes. Refused,
        # its events would stand in the ledger as too old although they are folded.
        return _judge_duplicate(row, batch, now)
    if batch.after > last:
        return Judgement(Verdict.GAP)
    if batch.after == last and batch.previous not in (None, row.checksum if row else None):
        # The chain: number `last` is here, but it is not the one this agent sent. A twin on a copied disk used it
        # after a rollback; appended, this batch would hide that the original's number `last` is missing.
        return Judgement(Verdict.CONFLICT)
    if now - batch.sealed > dedup_seconds - DAY:
        # Rows go after `dedup_seconds` without a touch, so nobody can tell any more whether an old batch was here. A
        # day of margin covers the way of the batch and clocks that differ.
        return Judgement(Verdict.REFUSED, TOO_OLD)
    return _judge_next(row, batch, now)


def _judge_duplicate(row: LaneRow, batch: Append, now: float) -> Judgement:
    """The judgement of a batch whose number is not above the last."""
    if batch.seq == row.last and batch.checksum != row.checksum:
        # Only of the last number the checksum is known. Two agents use this lane.
        return Judgement(Verdict.CONFLICT)
    # The touch keeps the row for as long as copies arrive. Time that steps back must not shorten its life.
    return Judgement(Verdict.OK, row=LaneRow(row.last, row.checksum, row.events, max(now, row.touched)))


def _judge_next(row: LaneRow | None, batch: Append, now: float) -> Judgement:
    """The judgement of a batch that is appended."""
    known, touched = (row.events, row.touched) if row else (0, now)
    return Judgement(
        Verdict.OK,
        row=LaneRow(batch.seq, batch.checksum, batch.before + batch.events, max(now, touched)),
        # A batch that passes over numbers says how many events came before it: those that this log never had are
        # lost.
        lost=max(0, batch.before - known),
        appended=True,
    )


Lane = tuple[str, int]
"""(incarnation, vbucket)."""


@define
class Judged:
    """What one call of `append` comes to."""

    outcomes: list[Outcome] = field(factory=list)
    """One for each batch, in order."""
    rows: dict[Lane, LaneRow] = field(factory=dict)
    """The rows to remember."""
    appended: list[Append] = field(factory=list)
    """The batches that go into their logs, in order."""
    lost: dict[int, int] = field(factory=dict)
    """Vbucket -> events to be added to its line `lost`."""


def judge_in_order(
    batches: Sequence[Append],
    row_of: Callable[[str, int], LaneRow | None],
    *,
    vbuckets: int,
    lineage: str,
    now: float,
    dedup_seconds: float,
) -> Judged:
    """Judge the batches of one call, each on top of those before it; `row_of` reads the row of (incarnation,
    vbucket).
    """
    judged = Judged()
    for batch in batches:
        lane = batch.incarnation, batch.vbucket
        if not 0 <= batch.vbucket < vbuckets:
            outcome = _outcome(batch, Judgement(Verdict.REFUSED, NO_SUCH_VBUCKET), None, lineage)
        else:
            row = judged.rows.get(lane) or row_of(*lane)
            judgement = judge(row, batch, now, dedup_seconds)
            if judgement.row:
                row = judged.rows[lane] = judgement.row
            if judgement.appended:
                judged.appended.append(batch)
            if judgement.lost:
                judged.lost[batch.vbucket] = judged.lost.get(batch.vbucket, 0) + judgement.lost
            outcome = _outcome(batch, judgement, row, lineage)
        judged.outcomes.append(outcome)
    return judged


def _outcome(batch: Append, judgement: Judgement, row: LaneRow | None, lineage: str) -> Outcome:
    """The answer to a batch whose lane has `row` after it."""
    return Outcome(
        batch.vbucket,
        batch.incarnation,
        batch.seq,
        judgement.verdict,
        row.last if row else 0,
        row.checksum if row else None,
        lineage,
        judgement.reason,
        judgement.appended,
    )


def is_idle(touched: float, now: float, dedup_seconds: float) -> bool:
    """Whether a lane touched last at `touched` may be forgotten at `now`."""
    return now - touched >= dedup_seconds


def judge_checkpoint(checkpoint: Checkpoint, *, held: bool, lineage: str, position: Position, last_id: int) -> Written:
    """Say what becomes of a checkpoint. `held` is whether its lease is; `lineage`, `position` and `last_id` are the
    store's.
    """
    if not held:
        return Written.FENCED
    # A be that folded what the log does not have (any more) would, if it were believed, make the log drop entries
    # that come later under the same ids: nobody would ever fold them.
    if (checkpoint.lineage, checkpoint.expected) != (lineage, position) or checkpoint.position.folded > last_id:
        return Written.STALE
    return Written.DONE


def breaks_rules(checkpoint: Checkpoint) -> str:
    """What is wrong with a checkpoint that no be may ask for: a sentence, or "" when nothing is."""
    if checkpoint.position.commits <= checkpoint.expected.commits:
        # Else a commit that only prunes could be followed by a late one that was read before it.
        return "a checkpoint must raise the count of commits"
    if checkpoint.position.folded < checkpoint.expected.folded:
        return "a checkpoint must not go back in the log"
    return _breaks_rules_of_renames(checkpoint)


def _breaks_rules_of_renames(checkpoint: Checkpoint) -> str:
    """What is wrong with the renames of a checkpoint, as far as it can be seen without the store."""
    if not checkpoint.renames:
        return ""
    named = {tab for tab, _ in (*checkpoint.states, *checkpoint.known)}
    named |= checkpoint.aggregates.keys() | checkpoint.types.keys()
    freed: set[str] = set()
    taken: set[str] = set()
    for old, new in checkpoint.renames.items():
        if new == old or new in taken or (new in named and new not in freed):
            return name_taken(new)
        taken = taken - {old} | {new}
        freed.add(old)
    return ""


def names_to_be_free(renames: Mapping[str, str]) -> list[str]:
    """The new names that must be free before the first rename: all that no rename before them frees."""
    freed: set[str] = set()
    needed = []
    for old, new in renames.items():
        if new not in freed:
            needed.append(new)
        freed.add(old)
    return needed


def name_taken(tab: str) -> str:
    """The sentence about a rename to a tab that there is."""
    return f"a tab cannot be renamed to {tab!r}: there is a tab of that name"


def own_ledger(checkpoint: Checkpoint) -> dict[str, int]:
    """The ledger row that a checkpoint writes: without the store's own lines."""
    return {line: count for line, count in checkpoint.ledger.items() if line not in OWN_LINES}
