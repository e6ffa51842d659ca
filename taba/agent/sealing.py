"""Which batches follow from what was committed: the numbers of lanes, and the pieces that wait for a seal. Pure.

A seal takes all pieces of one (incarnation, vbucket) that wait, in the order of their commits, as the lane's next
number. What an older incarnation committed but had not sealed is sealed alone, under that incarnation, with the time
of its commit.

Invariants: a number is given once, and means the same bytes for ever; a piece is sealed once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, evolve, field

from taba.agent.numbers import NO_NUMBERS
from taba.agent.records import Aside, Commit, Extent, LaneKey, LaneNumbers, Seal, Waiting
from taba.agent.recovery import Recovered
from taba.native import Section

RIPE_BYTES = 1 << 20
"""So many waiting bytes of a lane are sealed although earlier batches of it were not sent yet."""
RIPE_SECONDS = 60.0
"""So old they may get before."""
BATCH_BYTES = 2 << 20
"""A batch gets no further piece beyond this: servers limit the size of requests."""
MAX_WAITING = 32 << 20
"""With so many waiting bytes of all lanes together, all are sealed."""


@define(eq=False)
class Piece:
    """One vbucket's section of one commit, waiting for its seal."""

    commit: int
    time: float
    events: int
    length: int
    data: bytes | None = field(default=None, repr=False)
    """None when it has to be read from `extent` again."""
    extent: Extent | None = None
    """Where it stands in the spool; None until it is written."""
    tries: int = 0
    """How often it could not be read."""


@define(eq=False)
class Sealed:
    """A seal with the pieces that it takes, and their bytes."""

    seal: Seal
    pieces: Sequence[Piece]
    body: bytes = field(repr=False)


@define
class Sealing:
    """The lanes' numbers and what waits. Nothing is sealed before the cluster is known."""

    checksum: Callable[[bytes], int]
    numbers: dict[LaneKey, LaneNumbers] = field(factory=dict)
    waiting: dict[LaneKey, list[Piece]] = field(factory=dict)
    undivided: list[tuple[str, Piece]] = field(factory=list)
    """(incarnation, section) of commits made before the cluster was known, in order."""
    through: Mapping[LaneKey, int] = field(factory=dict)
    """Lane -> the last commit that seals of earlier lives hold: parts of undivided sections up to there are sealed."""
    size: int = 0
    """What waits, of all lanes."""

    def recover(self, recovered: Recovered) -> None:
        """Take what a spool gave back."""
        self.numbers = dict(recovered.snapshot.lanes)
        self.through = recovered.through
        for key, waiting in recovered.waiting.items():
            for each in waiting:
                self._wait(key, _recovered(each))
        self.undivided = [(each.incarnation, _recovered(each)) for each in recovered.undivided]

    def _wait(self, key: LaneKey, piece: Piece) -> None:
        self.waiting.setdefault(key, []).append(piece)
        self.size += piece.length

    def events(self) -> int:
        """The events of all that waits."""
        waiting = sum(piece.events for pieces in self.waiting.values() for piece in pieces)
        return waiting + sum(piece.events for _, piece in self.undivided)

    def add(self, commit: Commit) -> list[Piece]:
        """The sections of a commit wait from now on; answers with their pieces, in the order of the sections."""
        pieces = []
        for section in commit.sections:
            piece = Piece(commit.number, commit.time, section.events, len(section.data), section.data)
            pieces.append(piece)
            if commit.divided:
                self._wait((commit.incarnation, section.vbucket), piece)
            else:
                self.undivided.append((commit.incarnation, piece))
        return pieces

    def ripe(self, incarnation: str, now: float, unsent: Callable[[str, int], int]) -> list[LaneKey]:
        """The lanes to seal at wall time `now`: all of older incarnations, and of this one those whose batches are
        being sent.

        `unsent` tells how many batches of a lane still are to be sent. Sealing more of such a lane only makes more
        and smaller batches, so it waits, within limits, and while the servers are away memory grows slowly.
        """
        if self.size > MAX_WAITING:
            return sorted(self.waiting)
        return sorted(
            key
            for key, pieces in self.waiting.items()
            if key[0] != incarnation
            or unsent(*key) < 2
            or pieces[0].time + RIPE_SECONDS <= now
            or sum(piece.length for piece in pieces) >= RIPE_BYTES
        )

    def unread(self, keys: Sequence[LaneKey]) -> list[Piece]:
        """The waiting pieces of these lanes whose bytes have to be read before they can be sealed."""
        return [piece for key in keys for piece in self.waiting[key] if piece.data is None]

    def readable(self, key: LaneKey) -> bool:
        """Whether something waits for a lane, and all of it has its bytes."""
        return key in self.waiting and all(piece.data is not None for piece in self.waiting[key])

    def give_up(self, tries: int) -> int:
        """Drop the pieces that could not be read so often; answers with their events."""
        events = 0
        for key, pieces in list(self.waiting.items()):
            lost = [piece for piece in pieces if piece.data is None and piece.tries >= tries]
            if lost:
                events += sum(piece.events for piece in lost)
                self.size -= sum(piece.length for piece in lost)
                self.waiting[key] = [piece for piece in pieces if piece not in lost]
                if not self.waiting[key]:
                    del self.waiting[key]
        lost_whole = [each for each in self.undivided if each[1].data is None and each[1].tries >= tries]
        self.undivided = [each for each in self.undivided if each not in lost_whole]
        return events + sum(piece.events for _, piece in lost_whole)

    def seal(self, keys: Sequence[LaneKey]) -> list[Sealed]:
        """Seal what waits for these lanes; all its pieces have their bytes. A lane with much gets several batches."""
        sealed = []
        for key in keys:
            pieces = self.waiting.pop(key)
            while pieces:
                n = _that_fit(pieces)
                sealed.append(self._seal(key, pieces[:n]))
                pieces = pieces[n:]
        return sealed

    def _seal(self, key: LaneKey, pieces: list[Piece]) -> Sealed:
        lane = self.numbers.get(key, NO_NUMBERS)
        body = b"".join([_bytes_of(piece) for piece in pieces])
        self.size -= len(body)
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

    def aside(self, aside: Aside) -> None:
        """A batch was set aside. When it is passed over its events were not given, and the next batch does not follow
        it.
        """
        lane = self.numbers.get(aside.key)
        if aside.pass_over and lane is not None:
            follows = aside.after if lane.follows == aside.seq else lane.follows
            self.numbers[aside.key] = LaneNumbers(lane.given, lane.events - aside.events, follows)

    def divide(self, split: Callable[[bytes], Sequence[Section]]) -> dict[str, list[tuple[int, int]]]:
        """Deal what is undivided to the cluster's vbuckets; all its pieces have their bytes.

        A part has the extent of the whole: where it is read again, the whole is divided again. Answers, by
        incarnation, with the (vbucket, commit) of the parts that wait now.
        """
        undivided, self.undivided = self.undivided, []
        parts: dict[str, list[tuple[int, int]]] = {}
        for incarnation, piece in undivided:
            extent = evolve(piece.extent, undivided=True) if piece.extent is not None else None
            waiting = parts.setdefault(incarnation, [])
            for part in split(_bytes_of(piece)):
                key = (incarnation, part.vbucket)
                if piece.commit > self.through.get(key, 0):
                    self._wait(key, Piece(piece.commit, piece.time, part.events, len(part.data), part.data, extent))
                    waiting.append((part.vbucket, piece.commit))
        for pieces in self.waiting.values():
            pieces.sort(key=lambda piece: piece.commit)  # later commits may have been divided before these
        return parts


def _that_fit(pieces: Sequence[Piece]) -> int:
    """How many of the first pieces make one batch: at least one."""
    size = 0
    for n, piece in enumerate(pieces):
        size += piece.length
        if n and size > BATCH_BYTES:
            return n
    return len(pieces)


def _recovered(waiting: Waiting) -> Piece:
    return Piece(waiting.commit, waiting.time, waiting.events, waiting.extent.length, None, waiting.extent)


def _bytes_of(piece: Piece) -> bytes:
    if piece.data is None:
        raise ValueError(f"the section of commit {piece.commit} was not read")
    return piece.data
