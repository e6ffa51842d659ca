"""What the spool's records say, as frozen objects. Their bytes are in `encoding`, their place in a file in `segments`.

Four kinds of record are written: a `Commit` (the events of one group commit, with the client batch numbers and counts
noted with them), a `Seal` (which of them became a batch of a lane), an `Aside` (a batch that will not be sent any more)
and a `Snapshot` (all numbers, so that what is older need not be read). The order in which they are written is the order
in which they count.

Ids (instances, incarnations, clusters) are 32 hexadecimal digits in lower case. Times are wall time, in seconds since
1970.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import field, frozen

from taba.agent.held import SetAside

Checksum = Callable[[bytes, int], int]
"""CRC-32C of some bytes, going on from that of the bytes before them (0 at the start); see `taba.native.crc32c`."""

LaneKey = tuple[str, int]
"""(incarnation, vbucket)."""

REFUSED = "refused."
"""An `Aside` counts its events in the ledger under this and its reason."""
DAMAGED_LINE = "lost.damaged"
"""The ledger line of the events that damage to the spool made uncertain."""


@frozen
class Section:
    """What one commit holds for one vbucket. The spool does not look into `data`."""

    vbucket: int
    events: int
    data: bytes = field(repr=False)


@frozen
class Commit:
    """One group commit: all of it is durable, or none."""

    number: int
    """From 1, without gaps, unique over the life of a spool."""
    incarnation: str
    time: float
    """When the oldest of its events came in, or the commit was made: the seal time of its events."""
    instances: Mapping[str, int]
    """Instance -> the last of its batch numbers that this commit holds."""
    ledger: Mapping[str, int]
    """Ledger line -> what this commit adds to it."""
    sections: tuple[Section, ...]
    """At most one for each vbucket."""
    divided: int
    """The NUM_VBUCKETS by which the sections were divided; 0: not divided, one section that stands for all vbuckets."""


@frozen
class Seal:
    """Batch `seq` of a lane: what of its vbucket waits in commits `first_commit` to `last_commit`, in their order."""

    incarnation: str
    vbucket: int
    seq: int
    after: int
    """The number it follows."""
    before: int
    """The number of events that the lane gave before it."""
    events: int
    sealed: float
    """The time of the oldest commit in it."""
    checksum: int
    """CRC-32C of the body: the sections, one after the other."""
    first_commit: int
    last_commit: int
    length: int
    """Bytes of the body."""

    @property
    def key(self) -> LaneKey:
        """The lane."""
        return (self.incarnation, self.vbucket)


@frozen
class Aside:
    """Batch `seq` of a lane will not be sent any more. Its events are counted as refused for `reason`, once.

    With `pass_over` the store will never have the number: the next batch follows `after`, and the lane's count of
    events is without this batch's. So it is for batches that were sealed before this was written, too.
    """

    incarnation: str
    vbucket: int
    seq: int
    reason: str
    pass_over: bool
    after: int
    """What the batch followed."""
    events: int

    @classmethod
    def of(cls, action: SetAside) -> Aside:
        """The record of what a lane decided."""
        batch = action.batch
        return cls(
            action.incarnation, action.vbucket, batch.seq, action.reason, action.pass_over, batch.after, batch.events
        )

    @property
    def key(self) -> LaneKey:
        """The lane."""
        return (self.incarnation, self.vbucket)


@frozen
class LaneNumbers:
    """The numbers of a lane: what its next batch goes on from."""

    given: int
    """The last number given, 0 for none."""
    events: int
    """The events of the batches given, without those that were passed over."""
    follows: int
    """The last number given that was not passed over."""


@frozen
class Snapshot:
    """All numbers of a spool, between two commits: it notes no number whose events are not in a record before it."""

    incarnation: str
    """The one under which commits are made; empty in a spool that is new."""
    cluster: str | None
    """The cluster that the spool's batches belong to, None until the agent met it."""
    vbuckets: int
    """That cluster's NUM_VBUCKETS, 0 until then."""
    next_commit: int
    instances: Mapping[str, tuple[int, float]] = field(factory=dict, repr=False)
    """Instance -> (its last batch number, when it was last used)."""
    lanes: Mapping[LaneKey, LaneNumbers] = field(factory=dict, repr=False)
    ledger: Mapping[str, int] = field(factory=dict)
    """Ledger line -> total over the life of the spool."""
    first_needed: int = 0
    """The oldest commit of which something was neither confirmed nor set aside. Batches that begin before it are not
    sent again after a restart.
    """
    types: Mapping[str, int] = field(factory=dict)
    """The Types that the agent takes because its servers fold them -> the shape of their payloads, ascending."""


Record = Commit | Seal | Aside | Snapshot
"""What may be written."""


@frozen
class Discard:
    """Written by recovery only: what waits of a lane in commits up to `through` is given up, uncertain by damage.

    Whether they were sealed, and under which number, cannot be known any more: sealing them might count them twice.
    With `vbucket` None it is the undivided sections of the incarnation.
    """

    incarnation: str
    vbucket: int | None
    through: int


@frozen
class Extent:
    """Where the bytes of one section stand."""

    segment: int
    offset: int
    length: int
    undivided: bool = False
    """Whether the bytes hold all vbuckets, so that a batch has only its vbucket's part of them."""


@frozen
class Waiting:
    """A section that is committed but not sealed."""

    incarnation: str
    vbucket: int
    """0 when it is undivided."""
    commit: int
    time: float
    events: int
    extent: Extent


@frozen
class Hole:
    """A stretch of a segment that does not hold what was once durable there. Length 0: the whole segment is missing."""

    segment: int
    offset: int
    length: int

    def covers(self, other: Hole) -> bool:
        """Whether `other` is a part of this one."""
        return (
            self.segment == other.segment
            and self.offset <= other.offset
            and other.offset + other.length <= self.offset + self.length
        )
