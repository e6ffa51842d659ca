"""What the answers of a key's nodes mean, for one read and one write. Sans-IO: they are told answers and failures, and
tell when the level is reached, when it cannot be reached, and what is to be repaired.

Versions with stamps above `limit`, the latest that the clock here accepts, count as if they were not there: they come
from a clock that is wrong, and must not hide what came after. But one that two nodes hold, or the only one that there
is, was accepted by another clock than the one that stamped it: then the clock here is behind, and the version counts.
"""

from __future__ import annotations

from enum import Enum

from attrs import define, field

from taba.tako.levels import Level, Replicas
from taba.tako.records import Version, is_newer


class Verdict(Enum):
    """Where a round stands."""

    WAITING = "waiting"
    REACHED = "reached"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@define(eq=False)
class Round:
    """What reads and writes have in common."""

    replicas: Replicas
    level: Level
    limit: int
    """Microseconds since 1970."""
    failures: dict[str, str] = field(factory=dict, init=False)
    """Node -> why it did not answer."""
    answered: set[str] = field(factory=set, init=False)

    def failed(self, node: str, reason: str) -> None:
        """A node did not answer, or refused."""
        self.failures[node] = reason

    @property
    def complete(self) -> bool:
        """Whether nothing more is to come."""
        return len(self.answered) + len(self.failures) >= len(self.replicas.nodes)

    def verdict(self) -> Verdict:
        """Where the round stands."""
        if self.replicas.reached(self.level, self.answered):
            return Verdict.REACHED
        if self.replicas.hopeless(self.level, set(self.failures)):
            return Verdict.FAILED
        return Verdict.WAITING


@define(eq=False)
class WriteRound(Round):
    """One version, offered to all nodes of its key."""

    version: Version = field(kw_only=True)
    may_lose: bool = field(kw_only=True)
    """Whether a newer version may win: the client chose the stamp. Else the write has to be stamped again."""
    newer: Version | None = field(default=None, init=False)
    """The newest version that some node held before."""
    met_future: bool = field(default=False, init=False)
    """Whether some node holds a version that the clock here does not accept."""

    def holds(self, node: str, version: Version) -> None:
        """A node answered with the version that it holds now."""
        if version.stamp > self.limit and version != self.version:
            self.met_future = True
            self.failed(node, "it holds a version from the future")
            return
        if is_newer(version, self.version) and is_newer(version, self.newer):
            self.newer = version
        self.answered.add(node)

    def verdict(self) -> Verdict:
        """Where the round stands."""
        if self.newer is not None and not self.may_lose:
            return Verdict.SUPERSEDED
        return super().verdict()

    def missing(self) -> list[str]:
        """The nodes that lack the version, once the round is complete."""
        return [node for node in self.replicas.nodes if node not in self.answered]


@define(eq=False)
class ReadRound(Round):
    """One key, asked of its nodes."""

    versions: dict[str, Version | None] = field(factory=dict, init=False)
    _newest: Version | None = field(default=None, init=False)
    _ahead: dict[str, Version] = field(factory=dict, init=False)

    def found(self, node: str, version: Version | None) -> None:
        """A node answered with what it holds, None for nothing."""
        self.answered.add(node)
        self.versions[node] = version
        if version is None:
            return
        if version.stamp > self.limit:
            self._found_ahead(node, version)
        elif is_newer(version, self._newest):
            self._newest = version

    def _found_ahead(self, node: str, version: Version) -> None:
        """Hide a version from the future until a second node has it, too."""
        self._ahead[node] = version
        alike = [each for each, other in self._ahead.items() if other == version]
        believed = len(alike) >= min(2, len(self.replicas.nodes))
        for each in alike:
            self.versions[each] = version if believed else None
        if believed and is_newer(version, self._newest):
            self._newest = version

    def newest(self) -> Version | None:
        """The newest version so far."""
        return self._newest

    def holders(self) -> list[str]:
        """The nodes that hold the newest version, in the order of the key's nodes."""
        version = self.newest()
        return [node for node in self.replicas.nodes if version is not None and self.versions.get(node) == version]

    def outdated(self) -> list[str]:
        """The nodes that answered with less than the newest."""
        version = self.newest()
        return [] if version is None else [node for node in self.answered if self.versions[node] != version]
