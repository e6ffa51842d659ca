"""How much waits here for servers that take batches, and not for such as are away. Pure: times are passed in.

A shard that is away says nothing of how fast the others are, and what gathers for it makes nothing later that is for
them. So what waits in a lane counts for nothing while the lane does not get on: when no lane of its shard got on for
AWAY_SECONDS, or itself not for STUCK_SECONDS, as where one vbucket alone cannot be written. The lineage in the answers
tells which lanes are of one shard; lanes that were never answered count as one. A lane that gets on again counts from
then on, and what it brings with it is told apart: that much was taken while it did not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from attrs import define, field, frozen

from taba.agent.keeping_up import AWAY_SECONDS
from taba.agent.lanes import Lane, Lanes
from taba.agent.sealing import Sealing

STUCK_SECONDS = 60.0
"""So long a lane may need for one batch beside others of its shard; it is out of the count when it needs longer."""


class WaitingLane(Protocol):
    """What is to be known of a lane; see `taba.agent.lane`."""

    @property
    def lineage(self) -> str:
        """The lineage of its last answer."""

    @property
    def reached(self) -> int:
        """The first number that the log is not known to have."""

    @property
    def unsent(self) -> int:
        """How many batches the log is not known to have."""


Each = TypeVar("Each", bound=WaitingLane)


@frozen
class Looked(Generic[Each]):
    """The lanes in which something waits that counts; those of them that did not at the last look; and those that do
    not any more.
    """

    counting: Sequence[Each]
    back: Sequence[Each]
    gone: Sequence[Each]


@define(eq=False)
class WaitingLanes(Generic[Each]):
    """The lanes of one agent as they were at the last look, each with the time since when it has been waiting without
    getting on.
    """

    away: frozenset[Each] = field(default=frozenset(), init=False)
    """Those that do not count."""
    _seen: dict[Each, tuple[int, float | None]] = field(factory=dict, init=False)  # reached, waiting since
    _got_on: dict[str, float] = field(factory=dict, init=False)  # lineage -> when a lane was last seen to have got on

    def look(self, now: float, lanes: Iterable[Each]) -> Looked[Each]:
        """Take all lanes as they are."""
        seen: dict[Each, tuple[int, float | None]] = {}
        waiting: list[tuple[Each, float]] = []
        for lane in lanes:
            reached, since = self._seen.get(lane, (lane.reached, None))
            if reached != lane.reached:
                self._got_on[lane.lineage], since = now, None
            if lane.unsent:
                since = now if since is None else since
                waiting.append((lane, now - since))
            seen[lane] = lane.reached, since if lane.unsent else None
        self._seen = seen
        self._got_on = {lineage: at for lineage, at in self._got_on.items() if now - at < AWAY_SECONDS}
        before = self.away
        self.away = frozenset(lane for lane, seconds in waiting if self._is_away(lane, seconds))
        counting = [lane for lane, _ in waiting if lane not in self.away]
        back, gone = [lane for lane in counting if lane in before], self.away - before
        return Looked(counting, back, [lane for lane, _ in waiting if lane in gone])

    def _is_away(self, lane: Each, seconds: float) -> bool:
        """Whether a lane that has waited for so many seconds without getting on does not count."""
        return seconds >= STUCK_SECONDS or (seconds >= AWAY_SECONDS and lane.lineage not in self._got_on)


@frozen
class Counted:
    """What a look at an agent found, in bytes."""

    waiting: int = 0
    """What waits for servers that take batches."""
    back: int = 0
    """Of these, what waits in lanes that did not count before, less what waits in such as do not count any more."""


@define(eq=False)
class Gathered:
    """What waits in one agent, sealed or not. It looks at the lanes one by one when all hold `least` bytes or more."""

    _lanes: Lanes
    _sealing: Sealing
    _least: int
    _waiting: WaitingLanes[Lane] = field(factory=WaitingLanes, init=False)

    def look(self, now: float) -> Counted:
        """What counts now. Time goes by all lanes, and by all batches of those that count and wait."""
        sealing = self._sealing
        if self._lanes.totals().bytes < self._least:
            self._waiting = WaitingLanes()
            return Counted(sealing.size)
        looked = self._waiting.look(now, self._lanes.each())
        unsealed = sealing.size - sum(map(self._unsealed, self._waiting.away))
        return Counted(
            unsealed + sum(lane.unsent_bytes for lane in looked.counting),
            sum(map(self._bytes, looked.back)) - sum(map(self._bytes, looked.gone)),
        )

    def _bytes(self, lane: Lane) -> int:
        return lane.unsent_bytes + self._unsealed(lane)

    def _unsealed(self, lane: Lane) -> int:
        return self._sealing.size_of((lane.incarnation, lane.vbucket))
