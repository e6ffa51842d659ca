"""When a shard's logs are too full, or too old, for further batches. Pure: what waits, times and chance are passed in.

Below `soft` bytes every batch is taken, from `hard` on none; between them one in so many requests is refused, with a
probability that rises in a straight line, so that agents slow down together before all of them have to stop.

Just so between `late` seconds and twice as many that a batch which came now would wait in its vbucket's log, while that
is folded: what is taken faster than it can be folded only makes everything later that comes after. How long that is
follows from how long the oldest batch has waited, and from how fast be gets on: when it has come three seconds further
in the log in the last ten, a log of six seconds takes it twenty; and it is no more than what waits takes at the rate at
which it goes, however much came at once. A log of which nothing is folded, because no be runs, or none has it since its
own died, or none can write it, takes what fits in: it was judged when be was last seen to get on with it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from attrs import define, field, frozen

from taba.interfaces import LogDepth

WORKING_SECONDS = 5.0
"""A log of which nothing was folded for so long has no be at work."""
PAUSE_SECONDS = 2.0
"""A be that got on with a log after so long has just come, or come back: its speed shows from then on."""
WINDOW_SECONDS = 6.0
"""Over so long it is seen how fast be gets on."""
LEAST_SPEED = 0.1
"""No be is taken to be slower than that: it may just have been away."""


@runtime_checkable
class Placing(Protocol):
    """What a store whose vbuckets are on several shards can be asked beside `IStore`."""

    def shard_of(self, vbucket: int) -> str:
        """The name of the shard that has a vbucket, which must exist."""


@frozen
class Change:
    """A shard begins to refuse batches, or has stopped to."""

    shard: str
    refuses: bool
    waiting: int
    """Bytes in its logs."""


@define
class _Log:
    """A log in which something waits, as be gets on with it."""

    seen: deque[tuple[float, float]]
    """(wall time, the append of its oldest batch) at first, and whenever that was another one."""
    lag: float = 0.0
    """Seconds that a batch would have waited that came when be was last seen to get on."""
    bytes: int = 0
    """What waits."""
    gone: deque[tuple[float, int]] = field(factory=deque)
    """(wall time, by how many bytes less waited than a look before), of the last looks."""

    def look(self, wall: float, oldest: float, size: int) -> None:
        """The oldest batch was appended at `oldest`, it is found at `wall`; so many bytes wait."""
        self.gone.append((wall, max(0, self.bytes - size)))
        self.bytes = size
        while self.gone[0][0] <= wall - WINDOW_SECONDS:
            self.gone.popleft()
        before, known = self.seen[-1]
        if oldest == known:
            return
        if wall - before >= PAUSE_SECONDS:
            self.seen.clear()
        self.seen.append((wall, oldest))
        while len(self.seen) > 2 and self.seen[1][0] <= wall - WINDOW_SECONDS:
            self.seen.popleft()
        begun, first = self.seen[0]
        speed = (oldest - first) / (wall - begun) if wall > begun else 1.0
        self.lag = max(0.0, wall - oldest) / min(1.0, max(LEAST_SPEED, speed))

    def lag_at(self, wall: float) -> float:
        """Seconds that a batch which came now would wait; 0.0 while no be is at work."""
        if wall - self.seen[-1][0] >= WORKING_SECONDS:
            return 0.0
        gone = sum(size for _, size in self.gone)
        return min(self.lag, WINDOW_SECONDS * self.bytes / gone) if gone else self.lag


@define
class Throttle:
    """The limits of one server, in bytes of logs of a shard, and what its shards' logs held when they were last looked
    at. A `soft` limit that is not below `hard` is none, nor is a `late` that is None. `shard_of` says where a vbucket
    is.
    """

    soft: int
    hard: int
    shard_of: Callable[[int], str]
    late: float | None = None
    waiting: Counter[str] = field(factory=Counter)
    refused: Counter[str] = field(factory=Counter)
    """Shard -> batches refused in the life of the process."""
    lag: dict[str, float] = field(factory=dict)
    """Shard -> seconds that a batch which came now would wait in the latest of its logs that are folded."""
    _refusing: set[str] = field(factory=set)
    _logs: dict[int, _Log] = field(factory=dict)
    _lag_of: dict[int, float] = field(factory=dict)  # vbucket -> its part of `lag`

    def looked(self, depths: Iterable[LogDepth], wall: float = 0.0) -> list[Change]:
        """Take what the logs hold at a wall time; answers with what is to be told the operator."""
        self.waiting, self.lag = Counter(), {}
        logs: dict[int, _Log] = {}
        for each in depths:
            shard = self.shard_of(each.vbucket)
            self.waiting[shard] += each.bytes
            if each.oldest > 0.0:
                log = logs[each.vbucket] = self._logs.get(each.vbucket) or _Log(deque([(wall, each.oldest)]))
                log.look(wall, each.oldest, each.bytes)
                self.lag[shard] = max(self.lag.get(shard, 0.0), log.lag_at(wall))
        self._logs = logs
        self._lag_of = {vbucket: log.lag_at(wall) for vbucket, log in logs.items()}
        refusing = {shard for shard in self.waiting if max(self._full(shard), self._late(self.lag.get(shard, 0.0))) > 0}
        changes = [Change(shard, True, self.waiting[shard]) for shard in sorted(refusing - self._refusing)]
        changes += [Change(shard, False, self.waiting[shard]) for shard in sorted(self._refusing - refusing)]
        self._refusing = refusing
        return changes

    def _full(self, shard: str) -> float:
        waiting = self.waiting[shard]
        if waiting > self.hard:
            return 1.0
        return (waiting - self.soft) / (self.hard - self.soft) if self.soft < self.hard else 0.0

    def _late(self, lag: float) -> float:
        return lag / self.late - 1.0 if self.late is not None else 0.0

    def probability(self, vbucket: int) -> float:
        """How probably a batch is refused: its shard's logs may be too full, or its own too late."""
        return min(1.0, max(0.0, self._full(self.shard_of(vbucket)), self._late(self._lag_of.get(vbucket, 0.0))))

    def refuses(self, vbuckets: Iterable[int], chance: Callable[[], float]) -> set[int]:
        """Those vbuckets of a request whose batches are not taken. `chance` gives numbers in [0, 1); it is asked once
        at most, so that a request is not the more likely to be refused the more logs it is for.
        """
        drawn: float | None = None
        found: set[int] = set()
        for vbucket in vbuckets:
            probability = self.probability(vbucket)
            if drawn is None and 0.0 < probability < 1.0:
                drawn = chance()
            if probability >= 1.0 or (drawn is not None and drawn < probability):
                found.add(vbucket)
                self.refused[self.shard_of(vbucket)] += 1
        return found
