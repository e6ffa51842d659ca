"""What is to be done next for a vbucket that moves from one shard to another, decided from what both say of it. Pure.

    announced    the source's row says `moving:TARGET`. For CONFIRM_SECONDS nothing else happens: by then every server
                 that answers for the vbucket looks at both shards, and no failover takes the row back
    copied       by vbucket_copy.py: the mover takes the lease, imports everything at the target, seals the source,
                 imports what came meanwhile, and activates the target, under a higher epoch
    confirmed    for CONFIRM_SECONDS the target was active and the source sealed, each under one lineage: no failover
                 takes that back. Until then the source keeps everything, and the import may be done again from it
    retired      the source keeps nothing but its marker, and the row `gone:TARGET`

Nothing is remembered but the times, and these begin anew with a new mover: whatever ends a move, the next mover goes on
from what the shards say. Undoing a move goes `undoing:TARGET`, then the target's import is made impossible, then the
source is unsealed under a yet higher epoch, then CONFIRM_SECONDS as above, then the row goes.
"""

from __future__ import annotations

from enum import Enum

from attrs import define, field, frozen

from taba.store.redis.placing import ACTIVE, GONE, IMPORTING, MOVING, SEALED, UNDOING, Marker, MoveRow


@frozen
class Site:
    """What a shard says of a vbucket."""

    lineage: str
    marker: Marker | None = None
    row: MoveRow | None = None
    position: bytes = b""
    token: bytes = b""

    def stands(self, letter: str) -> bool:
        """Whether the marker is of this kind."""
        return self.marker is not None and self.marker.letter == letter

    @property
    def epoch(self) -> int:
        """Of the marker, 0 where there is none."""
        return self.marker.epoch if self.marker is not None else 0


@frozen
class Pair:
    """What both shards say of a vbucket."""

    source: Site
    target: Site
    target_name: str

    @property
    def arrived(self) -> bool:
        """Whether the target is active, and the source is not under a higher epoch."""
        return self.target.stands(ACTIVE) and self.target.epoch > self.source.epoch

    @property
    def stage(self) -> str:
        """What the source says becomes of it, if that concerns this target."""
        row = self.source.row
        return row.stage if row is not None and row.shard == self.target_name else ""

    @property
    def next_epoch(self) -> int:
        """Higher than any that was."""
        return max(self.source.epoch, self.target.epoch) + 1


class Step(Enum):
    """What is to be done."""

    ANNOUNCE = "announce"
    WAIT = "wait"
    COPY = "copy"
    SEAL_AGAIN = "seal again"
    """A failover of the source took the seal back, and the target is active."""
    RETIRE = "retire"
    REVOKE = "revoke"
    """The move is to be undone: from here on the source is not sealed any more."""
    LET_ARRIVE = "let arrive"
    """It is too late to undo the move: the target is active."""
    MAKE_IMPOSSIBLE = "make impossible"
    """The target's import must never be activated."""
    UNSEAL = "unseal"
    SETTLE = "settle"
    """Drop the row of a move that was undone."""
    DONE = "done"
    LOST = "lost"
    """The source has no data of it, and the target not either."""
    BUSY = "busy"
    """Somebody else moves it elsewhere, or undoes this."""


@define(eq=False)
class Confirmation:
    """For how long something was seen to be so, of each vbucket, under the same lineages. `seconds` is how long it
    takes until no failover can take it back.
    """

    seconds: float
    _since: dict[int, tuple[tuple[object, ...], float]] = field(factory=dict, init=False)

    def holds(self, vbucket: int, facts: tuple[object, ...], now: float) -> bool:
        """Whether these very facts were seen `seconds` ago, and ever since."""
        known = self._since.get(vbucket)
        if known is None or known[0] != facts:
            self._since[vbucket] = facts, now
            return False
        return now - known[1] >= self.seconds

    def left(self, now: float) -> float:
        """Seconds until the last of them is confirmed, if all goes well."""
        return max((since + self.seconds - now for _, since in self._since.values()), default=0.0)

    def forget(self, vbucket: int) -> None:
        """It is over, or begins anew."""
        self._since.pop(vbucket, None)


def moving_step(vbucket: int, pair: Pair, confirmation: Confirmation, now: float) -> Step:
    """The next step towards the target."""
    source, target = pair.source, pair.target
    if pair.stage == GONE and not source.stands(ACTIVE):
        return Step.DONE
    if pair.stage == UNDOING or (source.row is not None and source.row.stage != GONE and not pair.stage):
        return Step.BUSY
    if pair.arrived and pair.stage == MOVING:
        if source.stands(ACTIVE):
            return Step.SEAL_AGAIN
        facts: tuple[object, ...] = ("arrived", source.lineage, source.marker, target.lineage, target.marker)
        return Step.RETIRE if confirmation.holds(vbucket, facts, now) else Step.WAIT
    if pair.stage != MOVING:
        if pair.arrived:
            return Step.DONE
        return Step.ANNOUNCE if source.stands(ACTIVE) else Step.LOST
    if source.stands(ACTIVE):
        facts = ("announced", source.lineage)
        return Step.COPY if confirmation.holds(vbucket, facts, now) else Step.WAIT
    return Step.COPY if source.stands(SEALED) else Step.LOST


def undoing_step(vbucket: int, pair: Pair, confirmation: Confirmation, now: float) -> Step:
    """The next step back to the source. A vbucket that has arrived stays where it is: see `moving_step`."""
    source, target = pair.source, pair.target
    if pair.stage in ("", GONE):
        return Step.DONE
    if pair.arrived:
        return Step.LET_ARRIVE if pair.stage == UNDOING else Step.DONE
    if pair.stage == MOVING:
        return Step.REVOKE
    if not (source.stands(ACTIVE) or source.stands(SEALED)):
        return Step.LOST
    if target.stands(IMPORTING) or target.stands(ACTIVE):
        return Step.MAKE_IMPOSSIBLE
    if source.stands(SEALED):
        return Step.UNSEAL
    facts = ("undone", source.lineage, source.marker, target.lineage, target.marker)
    return Step.SETTLE if confirmation.holds(vbucket, facts, now) else Step.WAIT
