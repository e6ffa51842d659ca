"""What of the spool is still needed: sections that wait for their seal, and batches that may be sent again. Pure.

Segments go from the old end only, so that one question counts: which is the oldest commit of which something is needed.
A hundred bytes or so are kept for each batch, and none of its body.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush

from attrs import define, evolve, field

from taba.agent.records import Commit, LaneKey, Seal, Snapshot


@define(eq=False)
class Holdings:
    """What is needed. To be told `add` in the order of commits, `seal` and `release`, each when it is durable."""

    next_commit: int = 1
    """The commit that comes next here. Later ones may be on their way to the disk: they are needed, all of them."""
    _waiting: dict[LaneKey, list[int]] = field(factory=dict, init=False)  # commits with a section for the lane
    _undivided: dict[str, list[int]] = field(factory=dict, init=False)  # commits, by incarnation
    _batches: dict[LaneKey, dict[int, int]] = field(factory=dict, init=False)  # number -> first commit
    _counts: dict[int, int] = field(factory=dict, init=False)  # commit -> how many of the above begin with it
    _heap: list[int] = field(factory=list, init=False)  # the commits in _counts, and some that are not any more

    # -- in

    def add(self, commit: Commit) -> None:
        """The sections of a durable commit wait. ValueError when it is not the next one."""
        if commit.number != self.next_commit:
            raise ValueError(f"commit {commit.number} where {self.next_commit} is due")
        self.next_commit += 1
        for section in commit.sections:
            self.wait(commit.incarnation, section.vbucket if commit.divided else None, commit.number)

    def wait(self, incarnation: str, vbucket: int | None, commit: int) -> None:
        """A section waits; one that is not divided has no vbucket."""
        if vbucket is None:
            self._undivided.setdefault(incarnation, []).append(commit)
        else:
            self._waiting.setdefault((incarnation, vbucket), []).append(commit)
        self._hold(commit)

    def divide(self, incarnation: str, through: int, parts: Iterable[tuple[int, int]]) -> None:
        """The undivided sections of an incarnation in commits up to `through` were divided; `parts` are those not
        sealed: (vbucket, commit).
        """
        undivided = self._undivided.pop(incarnation, [])
        if later := [commit for commit in undivided if commit > through]:
            self._undivided[incarnation] = later
        for vbucket, commit in parts:
            self.wait(incarnation, vbucket, commit)
        for commit in undivided[: len(undivided) - len(later)]:
            self._drop(commit)

    def seal(self, seal: Seal) -> None:
        """A batch is held: what of its lane waited, up to its last commit."""
        waiting = self._waiting.pop(seal.key, [])
        later = [commit for commit in waiting if commit > seal.last_commit]
        self._batches.setdefault(seal.key, {})[seal.seq] = seal.first_commit
        self._hold(seal.first_commit)
        for commit in waiting:
            if commit <= seal.last_commit:
                self._drop(commit)
        if later:
            self._waiting[seal.key] = later

    # -- out

    def release(self, incarnation: str, vbucket: int, seq: int) -> None:
        """A batch is confirmed, or set aside durably. Idempotent."""
        batches = self._batches.get((incarnation, vbucket), {})
        first = batches.pop(seq, None)
        if first is not None:
            self._drop(first)
            if not batches:
                del self._batches[incarnation, vbucket]

    # -- questions

    def holds(self, key: LaneKey) -> bool:
        """Whether anything of a lane is needed, so that its numbers are, too."""
        return key in self._batches or key in self._waiting or key[0] in self._undivided

    def first_needed(self) -> int:
        """The oldest commit of which something is needed; the next one when nothing is."""
        while self._heap and self._heap[0] not in self._counts:
            heappop(self._heap)
        return self._heap[0] if self._heap else self.next_commit

    def trim(self, snapshot: Snapshot, idle_before: float = 0.0) -> Snapshot:
        """A snapshot without what nobody needs any more.

        That is: the lanes of older incarnations of which nothing is held, and instances not used since `idle_before`.
        """
        return evolve(
            snapshot,
            lanes={
                key: lane for key, lane in snapshot.lanes.items() if key[0] == snapshot.incarnation or self.holds(key)
            },
            instances={each: last for each, last in snapshot.instances.items() if last[1] >= idle_before},
            first_needed=self.first_needed(),
        )

    def _hold(self, commit: int) -> None:
        count = self._counts.get(commit, 0)
        if not count:
            heappush(self._heap, commit)
        self._counts[commit] = count + 1

    def _drop(self, commit: int) -> None:
        count = self._counts[commit] - 1
        if count:
            self._counts[commit] = count
        else:
            del self._counts[commit]
