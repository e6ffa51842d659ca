"""When a shard's logs are too full, or too old, for further batches. Pure: what waits, times and chance are passed in.

Below `soft` bytes every batch is taken, from `hard` on none; between them one in so many requests is refused, with a
probability that rises in a straight line, so that agents slow down together before all of them have to stop.

Just so between `late` seconds and twice as many that a batch which came now would wait, while be is at work: what is
taken faster than it can fold only makes everything later that comes after. How long that is follows from how long the
oldest batch has waited, and from how fast be gets on: when it has come three seconds further in the log in the last
ten, a log of six seconds takes it twenty. While nothing is folded, because no be runs or none can write, logs take
what fits in; so does one log of which nothing is folded, whatever becomes of the others.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from attrs import define, field, frozen

from taba.interfaces import LogDepth

WORKING_SECONDS = 5.0
"""A shard on which nothing was folded for so long has no be at work."""
STILL_SECONDS = 15.0
"""A log of which nothing was folded for so long has no be at work, whatever becomes of the others of its shard: it does
not make those wait.
"""
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
    """Shard -> seconds that a batch which came now would wait; 0.0 while be is not at work there."""
    _refusing: set[str] = field(factory=set)
    _oldest: dict[int, float] = field(factory=dict)  # vbucket -> wall time of its oldest batch, at the last look
    _moved: dict[int, float] = field(factory=dict)  # vbucket -> wall time at which that was first seen so
    _first: dict[str, deque[tuple[float, float]]] = field(factory=dict)  # shard -> (wall, time of its oldest batch)
    _worked: dict[str, float] = field(factory=dict)  # shard -> wall time at which something was last seen to be folded

    def looked(self, depths: Iterable[LogDepth], wall: float = 0.0) -> list[Change]:
        """Take what the logs hold at a wall time; answers with what is to be told the operator."""
        self.waiting = Counter()
        oldest: dict[int, float] = {}
        first: dict[str, float] = {}
        for each in depths:
            shard = self.shard_of(each.vbucket)
            self.waiting[shard] += each.bytes
            if each.oldest > 0.0:
                oldest[each.vbucket] = each.oldest
                if self._oldest.get(each.vbucket) != each.oldest:
                    self._moved[each.vbucket] = wall
                if wall - self._moved[each.vbucket] < STILL_SECONDS:
                    first[shard] = min(each.oldest, first.get(shard, each.oldest))
        for vbucket, before in self._oldest.items():
            if before < oldest.get(vbucket, wall):
                self._worked[self.shard_of(vbucket)] = wall
        self._oldest = oldest
        self.lag = {shard: self._wait(shard, since, wall) for shard, since in first.items()}
        for shard in self._first.keys() - first.keys():
            del self._first[shard]
        refusing = {shard for shard in self.waiting if self.probability(shard) > 0.0}
        changes = [Change(shard, True, self.waiting[shard]) for shard in sorted(refusing - self._refusing)]
        changes += [Change(shard, False, self.waiting[shard]) for shard in sorted(self._refusing - refusing)]
        self._refusing = refusing
        return changes

    def _wait(self, shard: str, since: float, wall: float) -> float:
        """How long a batch would wait that came now to a shard whose oldest came at `since`."""
        seen = self._first.setdefault(shard, deque([(wall, since)]))
        seen.append((wall, since))
        while len(seen) > 2 and seen[1][0] <= wall - WINDOW_SECONDS:
            seen.popleft()
        if wall - self._worked.get(shard, 0.0) >= WORKING_SECONDS or wall <= seen[0][0]:
            return 0.0
        speed = (since - seen[0][1]) / (wall - seen[0][0])
        return max(0.0, wall - since) / min(1.0, max(LEAST_SPEED, speed))

    def probability(self, shard: str) -> float:
        """How probably a request is refused, as far as it is for this shard."""
        waiting, lag = self.waiting[shard], self.lag.get(shard, 0.0)
        if waiting > self.hard:
            return 1.0
        full = (waiting - self.soft) / (self.hard - self.soft) if self.soft < self.hard else 0.0
        old = lag / self.late - 1.0 if self.late is not None else 0.0
        return min(1.0, max(0.0, full, old))

    def refuses(self, vbuckets: Iterable[int], chance: Callable[[], float]) -> set[int]:
        """Those vbuckets of a request whose batches are not taken. `chance` gives numbers in [0, 1); it is asked once
        at most, so that a request is not the more likely to be refused the more shards it is for.
        """
        drawn: float | None = None
        refused: dict[str, bool] = {}
        found: set[int] = set()
        for vbucket in vbuckets:
            shard = self.shard_of(vbucket)
            if shard not in refused:
                probability = self.probability(shard)
                if drawn is None and 0.0 < probability < 1.0:
                    drawn = chance()
                refused[shard] = probability >= 1.0 or (drawn is not None and drawn < probability)
            if refused[shard]:
                found.add(vbucket)
                self.refused[shard] += 1
        return found
