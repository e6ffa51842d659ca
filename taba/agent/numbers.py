"""The numbers that follow from the spool's records, taken in order. Pure.

The same fold serves recovery and the running spool: what it gives after the last durable record is what a segment that
replaces a failed one opens with, so that no snapshot ever notes a number whose events are not on disk.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from taba.agent.records import REFUSED, Aside, Commit, LaneKey, LaneNumbers, Record, Seal, Snapshot
from taba.errors import LocalProtocolError

MAX_COUNT = 2**62
"""A line of the ledger stays there: its encoding has 64 bits."""
NO_NUMBERS = LaneNumbers(given=0, events=0, follows=0)
"""Those of a lane that has given nothing."""


@define
class Numbers:
    """All numbers of a spool."""

    incarnation: str = ""
    cluster: str | None = None
    vbuckets: int = 0
    next_commit: int = 1
    first_needed: int = 0
    instances: dict[str, tuple[int, float]] = field(factory=dict)
    lanes: dict[LaneKey, LaneNumbers] = field(factory=dict)
    through: dict[LaneKey, int] = field(factory=dict)
    """Lane -> the last commit that its seals hold."""
    ledger: dict[str, int] = field(factory=dict)
    types: dict[str, int] = field(factory=dict)
    """Of the last snapshot."""

    def apply(self, record: Record) -> None:
        """Take the next record."""
        if isinstance(record, Commit):
            self.commit(record)
        elif isinstance(record, Seal):
            self.seal(record)
        elif isinstance(record, Aside):
            self.aside(record)
        else:
            self.replace(record)

    def commit(self, commit: Commit) -> None:
        """A commit: its number, its instances, its counts."""
        self.next_commit = commit.number + 1
        for instance, number in commit.instances.items():
            self.instances[instance] = (number, commit.time)
        for line, count in commit.ledger.items():
            self.ledger[line] = min(MAX_COUNT, self.ledger.get(line, 0) + count)

    def seal(self, seal: Seal) -> None:
        """A seal. Of a number that was given before nothing is noted.

        The lane's own count goes before what the seal says, which may have been made before a batch was passed over.
        """
        key = seal.key
        lane = self.lanes.get(key)
        if lane is None or seal.seq > lane.given + 1:
            before = seal.before
        elif seal.seq == lane.given + 1:
            before = lane.events
        else:
            return
        self.lanes[key] = LaneNumbers(seal.seq, before + seal.events, seal.seq)
        self.through[key] = seal.last_commit

    def aside(self, aside: Aside) -> None:
        """A batch that was set aside."""
        line = REFUSED + aside.reason
        self.ledger[line] = min(MAX_COUNT, self.ledger.get(line, 0) + aside.events)
        lane = self.lanes.get(aside.key)
        if aside.pass_over and lane is not None:
            follows = aside.after if lane.follows == aside.seq else lane.follows
            self.lanes[aside.key] = LaneNumbers(lane.given, lane.events - aside.events, follows)

    def replace(self, snapshot: Snapshot, through: Mapping[LaneKey, int] | None = None) -> None:
        """A snapshot: it says all there is to say."""
        known = self.through if through is None else through
        self.incarnation, self.cluster, self.vbuckets = snapshot.incarnation, snapshot.cluster, snapshot.vbuckets
        self.next_commit, self.first_needed = snapshot.next_commit, snapshot.first_needed
        self.instances, self.lanes, self.ledger = dict(snapshot.instances), dict(snapshot.lanes), dict(snapshot.ledger)
        self.through = {key: known.get(key, 0) for key in snapshot.lanes}
        self.types = dict(snapshot.types)

    def snapshot(self) -> Snapshot:
        """The numbers as they are now."""
        return Snapshot(
            self.incarnation,
            self.cluster,
            self.vbuckets,
            self.next_commit,
            dict(self.instances),
            dict(self.lanes),
            dict(self.ledger),
            self.first_needed,
            dict(self.types),
        )

    def copy(self) -> Numbers:
        """Numbers that go on by themselves."""
        copied = Numbers()
        copied.replace(self.snapshot(), self.through)
        return copied

    def check(self, snapshot: Snapshot) -> None:
        """Raise LocalProtocolError when a snapshot notes what these numbers do not hold. It may leave things out.

        A number noted without its events would let the next life take a batch for counted that is lost.
        """
        if snapshot.next_commit != self.next_commit:
            raise LocalProtocolError(f"a snapshot before commit {snapshot.next_commit}, at {self.next_commit}")
        for instance, (number, _) in snapshot.instances.items():
            if self.instances.get(instance, (-1, 0.0))[0] != number:
                raise LocalProtocolError(f"a snapshot with number {number} of instance {instance}, not so committed")
        for key, lane in snapshot.lanes.items():
            if self.lanes.get(key) != lane:
                raise LocalProtocolError(f"a snapshot with {lane} of lane {key}, not {self.lanes.get(key)}")
