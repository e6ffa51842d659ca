"""All lanes of an agent: which of them are due, what one request takes of them, and what an answer means to them. Pure.

An agent has a lane for each vbucket and incarnation, hundreds to thousands, most of them idle at any time. What is
done here costs time by the lanes that have something to do, never by those that have not: ready lanes stand in a queue,
the others in a heap by the time at which they fall due.

A change of lineage that one lane hears of makes the quiet lanes of the old lineage look at once: they are on the shard
that failed over, and their last batches may be gone from its log.

The lanes are to be used in one thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import islice

from attrs import define, field, frozen

from taba.agent.held import Action, Confirmed, Held, Lost, NewIncarnation, SetAside
from taba.agent.lane import CONFIRM_SECONDS, NEVER, NOW, Lane, LaneState, Outgoing
from taba.errors import LocalProtocolError
from taba.interfaces import Append, Outcome, Verdict

__all__ = [
    "CONFIRM_SECONDS",
    "NOW",
    "Action",
    "Confirmed",
    "Held",
    "Lane",
    "LaneState",
    "Lanes",
    "Lost",
    "NewIncarnation",
    "Outgoing",
    "SetAside",
    "Totals",
]


@frozen
class Totals:
    """What the lanes hold, and what has become of the rest: sealed == events + confirmed + set_aside, always."""

    batches: int = 0
    """Batches that are held, not yet confirmed."""
    events: int = 0
    """Their events."""
    bytes: int = 0
    """The bytes of their bodies."""
    sealed: int = 0
    """Events of all batches that were added or recovered."""
    confirmed: int = 0
    """Events of confirmed batches."""
    set_aside: int = 0
    """Events of batches that were set aside."""


@define
class _Counts:
    """The running form of `Totals`; the events that are held follow from the others."""

    batches: int = 0
    bytes: int = 0
    sealed: int = 0
    confirmed: int = 0
    set_aside: int = 0

    def take(self, batch: Held) -> None:
        """Count a batch that is held from now on."""
        self.batches += 1
        self.bytes += batch.length
        self.sealed += batch.events

    def let_go(self, batch: Held) -> int:
        """Count a batch that is not held any more; returns its events."""
        self.batches -= 1
        self.bytes -= batch.length
        return batch.events


@define(eq=False)
class Lanes:
    """The lanes of one agent. Times are seconds of a monotonic clock; `now` never goes back."""

    confirm_seconds: float = CONFIRM_SECONDS
    phase: float = 0.0
    """See `Lane`; by chance, and the same for all lanes of an agent."""
    _lanes: dict[tuple[str, int], Lane] = field(factory=dict, init=False)
    _ready: dict[Lane, None] = field(factory=dict, init=False)  # those due, the longest due first
    _alarms: list[tuple[float, int, Lane]] = field(factory=list, init=False)  # a heap; some entries are out of date
    _alarm_of: dict[Lane, float] = field(factory=dict, init=False)  # the entry that counts
    _order: int = field(default=0, init=False)
    _betrayed: set[str] = field(factory=set, init=False)  # incarnations that were found to be used twice
    _counts: _Counts = field(factory=_Counts, init=False)

    # -- what the lanes hold

    def add(self, incarnation: str, vbucket: int, batch: Held) -> None:
        """Take a lane's next batch; its seal is synced. Raises LocalProtocolError when it is not the next one."""
        lane = self._lane(incarnation, vbucket)
        lane.add(batch)
        self._counts.take(batch)
        self._place(lane)

    def recover(
        self,
        incarnation: str,
        vbucket: int,
        batches: Sequence[Held] = (),
        *,
        given: int = 0,
        follows: int = 0,
        so_far: int = 0,
    ) -> None:
        """Take a lane from a spool: the batches that it still holds, ascending, and the numbers of `Lane`.

        The lane looks what the log has before it sends a body. Raises LocalProtocolError for one that holds something.
        """
        old = self._lanes.get((incarnation, vbucket))
        if old is not None and old.state is not LaneState.EMPTY:
            raise LocalProtocolError(f"lane {incarnation}/{vbucket} is not new")
        lane = Lane(incarnation, vbucket, self.confirm_seconds, given, follows, so_far, self.phase)
        self._lanes[incarnation, vbucket] = lane
        lane.recover(list(batches))
        for batch in batches:
            self._counts.take(batch)
        self._place(lane)

    def forget(self, incarnation: str) -> int:
        """Drop the empty lanes of an incarnation under which nothing is sealed any more; how many of it are left."""
        mine = [lane for lane in self._lanes.values() if lane.incarnation == incarnation]
        for lane in mine:
            if lane.state is LaneState.EMPTY:
                del self._lanes[lane.incarnation, lane.vbucket]
                self._alarm_of.pop(lane, None)
        return sum(lane.state is not LaneState.EMPTY for lane in mine)

    def each(self) -> Iterator[Lane]:
        """Every lane, for status pages. To be read only."""
        return iter(self._lanes.values())

    def unsent(self, incarnation: str, vbucket: int) -> int:
        """About how many batches of a lane the log is not known to have.

        While there are some, sealing more of them only makes them smaller.
        """
        lane = self._lanes.get((incarnation, vbucket))
        return lane.unsent if lane else 0

    def totals(self) -> Totals:
        """What the lanes hold, and what has become of the rest."""
        counts = self._counts
        return Totals(
            counts.batches,
            counts.sealed - counts.confirmed - counts.set_aside,
            counts.bytes,
            counts.sealed,
            counts.confirmed,
            counts.set_aside,
        )

    # -- sending

    def next_due(self) -> float | None:
        """When `gather` has something: NOW, a time, or None while there is nothing to wait for."""
        if self._ready:
            return NOW
        while self._alarms:
            at, _, lane = self._alarms[0]
            if self._alarm_of.get(lane) == at == lane.due:
                return at
            self._ring(at)
        return None

    def gather(self, now: float, max_bytes: int, max_batches: int) -> list[Outgoing]:
        """What one request takes: batches and looks of the lanes that are due, the longest due first.

        At most `max_batches` of both, and at most `max_bytes` of bodies, but for a first body that is larger alone.
        Each is in flight until `answered`, `failed` or `unreadable`.
        """
        while self._alarms and self._alarms[0][0] <= now:
            self._ring(now)
        gathered: list[Outgoing] = []
        size = 0
        for lane in tuple(islice(self._ready, max_batches)):
            size += lane.next_length
            if size > max_bytes and gathered:
                break
            del self._ready[lane]
            gathered.append(lane.send())  # it was due when it got into the line, and has not been sent since
        return gathered

    def failed(self, sent: Sequence[Outgoing], now: float) -> None:
        """Nothing is known of what was sent, and no answer will come: it will be sent again."""
        for outgoing in sent:
            if outgoing.lane.flight is outgoing:
                outgoing.lane.failed(now)
                self._place(outgoing.lane)

    def unreadable(self, outgoing: Outgoing, now: float) -> None:
        """The body cannot be read any more, and was not sent."""
        if outgoing.lane.flight is outgoing:
            outgoing.lane.unreadable(now)
            self._place(outgoing.lane)

    def noted(self, incarnation: str, vbucket: int, now: float) -> None:
        """The spool has noted what this lane set aside."""
        lane = self._lanes[incarnation, vbucket]
        lane.noted(now)
        self._place(lane)

    # -- answers

    def answered(
        self, sent: Sequence[Outgoing], outcomes: Sequence[Outcome], sent_at: float, now: float
    ) -> list[Action]:
        """Take the answer to what one request carried, gathered at `sent_at`.

        Nothing is known of a lane that it does not mention. Such a lane comes back later, and later each time, as after
        `moved`: at once it would ask a server that goes on leaving it out without a pause.
        """
        by_lane = {(outcome.incarnation, outcome.vbucket): outcome for outcome in outcomes}
        actions: list[Action] = []
        ended: set[str] = set()
        for outgoing in sent:
            lane = outgoing.lane
            if lane.flight is not outgoing:
                continue
            outcome, lineage = by_lane.get((lane.incarnation, lane.vbucket)), lane.lineage
            if outcome is None or outcome.seq != outgoing.append.seq:
                outcome = _left_out(outgoing.append)
            actions += lane.answered(outcome, sent_at, now)
            if lane.lineage != lineage:
                ended.add(lineage)
            self._place(lane)
        ended.discard("")
        if ended:
            self._suspect(ended)
        return self._accounted(actions)

    def _suspect(self, ended: set[str]) -> None:
        """Let the quiet lanes of lineages that have ended look at once. Rare, so it may go through all lanes."""
        for lane in self._lanes.values():
            if lane.lineage in ended:
                lane.suspect()
                self._place(lane)

    def _accounted(self, actions: list[Action]) -> list[Action]:
        """Count what was confirmed and set aside; a twin betrays itself in many lanes, and is told once."""
        told: list[Action] = []
        for action in actions:
            if isinstance(action, Confirmed):
                self._counts.confirmed += sum([self._counts.let_go(batch) for batch in action.batches])
            elif isinstance(action, SetAside):
                self._counts.set_aside += self._counts.let_go(action.batch)
            elif isinstance(action, NewIncarnation):
                if action.incarnation in self._betrayed:
                    continue
                self._betrayed.add(action.incarnation)
            told.append(action)
        return told

    # -- the queue and the heap

    def _lane(self, incarnation: str, vbucket: int) -> Lane:
        lane = self._lanes.get((incarnation, vbucket))
        if lane is None:
            lane = Lane(incarnation, vbucket, self.confirm_seconds, phase=self.phase)
            self._lanes[incarnation, vbucket] = lane
        return lane

    def _place(self, lane: Lane) -> None:
        """Put a lane where its due time belongs. A heap entry that is too early stays: it finds the lane's new time."""
        if lane.due == NOW:
            self._ready[lane] = None
            return
        self._ready.pop(lane, None)
        if lane.due < self._alarm_of.get(lane, NEVER):
            self._order += 1
            self._alarm_of[lane] = lane.due
            heappush(self._alarms, (lane.due, self._order, lane))

    def _ring(self, now: float) -> None:
        """Take the earliest heap entry: its lane is ready at `now`, or gets an entry of its present time, or none."""
        at, _, lane = heappop(self._alarms)
        if self._alarm_of.get(lane) != at:
            return
        del self._alarm_of[lane]
        if NOW < lane.due <= now:
            self._ready[lane] = None
        else:
            self._place(lane)


def _left_out(append: Append) -> Outcome:
    """What an answer that does not mention a lane is taken for."""
    return Outcome(append.vbucket, append.incarnation, append.seq, Verdict.MOVED, 0, None, "")
