"""When a shard's logs are too full for further batches. Pure: what waits, and chance, are passed in.

Below `soft` bytes every batch is taken, from `hard` on none; between them one in so many requests is refused, with a
probability that rises in a straight line, so that agents slow down together before all of them have to stop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from attrs import define, field, frozen

from taba.interfaces import LogDepth


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
    at. A `soft` limit that is not below `hard` is none. `shard_of` says where a vbucket is.
    """

    soft: int
    hard: int
    shard_of: Callable[[int], str]
    waiting: Counter[str] = field(factory=Counter)
    refused: Counter[str] = field(factory=Counter)
    """Shard -> batches refused in the life of the process."""
    _refusing: set[str] = field(factory=set)

    def looked(self, depths: Iterable[LogDepth]) -> list[Change]:
        """Take what the logs hold now; answers with what is to be told the operator."""
        self.waiting = Counter()
        for each in depths:
            self.waiting[self.shard_of(each.vbucket)] += each.bytes
        refusing = {shard for shard in self.waiting if self.probability(shard) > 0.0}
        changes = [Change(shard, True, self.waiting[shard]) for shard in sorted(refusing - self._refusing)]
        changes += [Change(shard, False, self.waiting[shard]) for shard in sorted(self._refusing - refusing)]
        self._refusing = refusing
        return changes

    def probability(self, shard: str) -> float:
        """How probably a request is refused, as far as it is for this shard."""
        waiting = self.waiting[shard]
        if waiting > self.hard:
            return 1.0
        if waiting <= self.soft or self.soft >= self.hard:
            return 0.0
        return (waiting - self.soft) / (self.hard - self.soft)

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
