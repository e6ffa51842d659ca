"""How many nodes must have answered: one, a quorum, or all. Pure.

While a migration is under way a key has the nodes of two deployments, and a quorum is a majority of each of the two
groups. So whoever reads or writes by one deployment alone, before the migration or after it, meets a node that knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from attrs import frozen


class Level(Enum):
    """How many of a key's nodes must have answered."""

    ONE = "one"
    QUORUM = "quorum"
    ALL = "all"


def majority(count: int) -> int:
    """The least number of `count` nodes of which two choices always meet."""
    return count // 2 + 1


@frozen
class Replicas:
    """The nodes of a key."""

    active: tuple[str, ...]
    """In the active deployment, the nearest bucket's first."""
    target: tuple[str, ...]
    """In the target deployment."""
    nodes: tuple[str, ...]
    """All of them, once each."""

    @classmethod
    def of(cls, active: Iterable[str], target: Iterable[str]) -> Replicas:
        """Those of two deployments, which may be the same."""
        first, second = tuple(active), tuple(target)
        return cls(first, second, tuple(dict.fromkeys((*first, *second))))

    def reached(self, level: Level, answered: set[str]) -> bool:
        """Whether the nodes in `answered` are enough."""
        if level is Level.ONE:
            return bool(answered)
        if level is Level.ALL:
            return len(answered) >= len(self.nodes)
        if self.active == self.target:
            return len(answered) >= majority(len(self.active))
        return all(
            sum(node in answered for node in group) >= majority(len(group)) for group in (self.active, self.target)
        )

    def hopeless(self, level: Level, failed: set[str]) -> bool:
        """Whether the level cannot be reached any more when the nodes in `failed` do not answer."""
        return bool(failed) and not self.reached(level, set(self.nodes) - failed)
