"""Which batches follow from what was committed: the numbers of lanes, and the pieces that wait for a seal. Pure.

A seal takes all pieces of one (incarnation, vbucket) that wait, in the order of their commits, as the lane's next number. What an older incarnation committed but had not sealed is
sealed alone, under that incarnation, with the time of its commit.

Invariants: a number is given once, and means the same bytes for ever; a piece is sealed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import define, field

from taba.agent.records import Commit, Extent, LaneNumbers, Seal

LaneKey = tuple[str, int]
"""(incarnation, vbucket)."""


@define(eq=False)
class Piece:
    """One vbucket's section of one commit, waiting for its seal. `data` is None when it has to be read from `extent` again."""

    commit: int
    time: float
    events: int
    length: int
    data: bytes | None = field(default=None, repr=False)
    extent: Extent | None = None
    """Where it stands in the spool; None until it is written."""


@define(eq=False)
class Sealed:
    """A seal with the pieces it takes."""

    seal: Seal
    pieces: Sequence[Piece]
    body: bytes | None = field(default=None, repr=False)


@define
class Sealing:
    """The lanes' numbers and what waits. `vbuckets` is 0 until the cluster is known; nothing is sealed before."""

    checksum: Callable[[bytes], int]
    numbers: dict[LaneKey, LaneNumbers] = field(factory=dict)
    waiting: dict[LaneKey, list[Piece]] = field(factory=dict)

    @classmethod
    def recovered(
        cls,
        checksum: Callable[[bytes], int],
        numbers: Mapping[LaneKey, LaneNumbers],
        waiting: Mapping[LaneKey, Sequence[Piece]],
    ) -> Sealing:
        """What a spool gave back."""
        return cls(checksum, dict(numbers), {key: list(pieces) for key, pieces in waiting.items()})

    def add(self, commit: Commit) -> list[Piece]:
        """The sections of a commit wait from now on; answers with their pieces, in the order of the sections."""
        pieces = []
        for section in commit.sections:
            piece = Piece(commit.number, commit.time, section.events, len(section.data), section.data)
            self.waiting.setdefault((commit.incarnation, section.vbucket), []).append(piece)
            pieces.append(piece)
        return pieces

    def unread(self) -> list[Piece]:
        """The waiting pieces whose bytes have to be read before they can be sealed."""
        return [piece for pieces in self.waiting.values() for piece in pieces if piece.data is None]

    def seal(self) -> list[Sealed]:
        """Seal everything that waits; all pieces have their bytes."""
        sealed = [self._seal(key, pieces) for key, pieces in sorted(self.waiting.items())]
        self.waiting = {}
        return sealed

    def _seal(self, key: LaneKey, pieces: list[Piece]) -> Sealed:
        lane = self.numbers.get(key) or LaneNumbers(given=0, events=0, follows=0)
        body = b"".join(piece.data or b"" for piece in pieces)
        events = sum(piece.events for piece in pieces)
        seal = Seal(
            incarnation=key[0],
            vbucket=key[1],
            seq=lane.given + 1,
            after=lane.follows,
            before=lane.events,
            events=events,
            sealed=min(piece.time for piece in pieces),
            checksum=self.checksum(body),
            first_commit=pieces[0].commit,
            last_commit=pieces[-1].commit,
            length=len(body),
        )
        self.numbers[key] = LaneNumbers(given=seal.seq, events=lane.events + events, follows=seal.seq)
        return Sealed(seal, pieces, body)

    def pass_over(self, key: LaneKey, seq: int, after: int, events: int) -> None:
        """The store will never take batch `seq` of a lane: its events were not given, and the next batch does not follow it."""
        lane = self.numbers[key]
        self.numbers[key] = LaneNumbers(
            given=lane.given,
            events=lane.events - events,
            follows=after if lane.follows == seq else lane.follows,
        )

    def divide(self, split: Callable[[bytes], Iterable[tuple[int, int, bytes]]]) -> None:
        """The cluster is known now: deal what waits undivided (as vbucket 0) to its vbuckets. All pieces have their bytes.

        `split` gives (vbucket, events, bytes) of a section. The parts stand nowhere in the spool by themselves; their batch is read by dividing again.
        """
        undivided, self.waiting = self.waiting, {}
        for (incarnation, _), pieces in undivided.items():
            for piece in pieces:
                for vbucket, events, data in split(piece.data or b""):
                    part = Piece(piece.commit, piece.time, events, len(data), data, piece.extent)
                    self.waiting.setdefault((incarnation, vbucket), []).append(part)
