"""Which batches follow from what was committed: the numbers of lanes, and the pieces that wait for a seal. Pure.

A seal takes all pieces of one (incarnation, vbucket) that wait, in the order of their commits, as the lane's next
number. What an older incarnation committed but had not sealed is sealed alone, under that incarnation, with the time
of its commit.

Sections that were committed before the cluster was known are not divided by vbuckets yet, and may be a whole spool's.
They stay on disk, and are divided and sealed one stretch after another. Where a stretch ends follows from the spool
alone, never from times or answers: an agent that starts from a copy of the disk must give the same numbers to the same
events. Of one incarnation a stretch goes from behind the last commit that seals hold, whole sections up to
DIVIDE_BYTES (one at least), and all that it gives is sealed in one write, in batches that have nothing else.

Invariants: a number is given once, and means the same bytes for ever; a piece is sealed once, after all of its lane
that were committed before it; the bytes that were read again and wait for a seal are DIVIDE_BYTES and READ_BYTES at
most, each with one section or batch beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import define, evolve, field, frozen

from taba.agent.extents import Extents, SealedBatch
from taba.agent.held import Held
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
"""With so many waiting bytes of all lanes together, all are sealed, unless an agent's budget says otherwise."""
DIVIDE_BYTES = 4 << 20
"""Undivided sections are divided in stretches of this size. Part of the format: see the invariants above."""
READ_BYTES = 4 << 20
"""So much of what a restart found is read again for one turn's seals."""


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
    part: bool = False
    """Whether it is a part of an undivided section."""


@define(eq=False)
class Sealed:
    """A seal with the pieces that it takes, whose bytes are in the body only."""

    seal: Seal
    pieces: Sequence[Piece]
    body: bytes = field(repr=False)

    def held(self) -> Held:
        """The batch as lanes take it, once all pieces have their place in the spool."""
        where = Extents.of([piece.extent for piece in self.pieces if piece.extent is not None])
        return SealedBatch(self.seal, where).held()


@frozen
class Dealt:
    """What came of a stretch of undivided sections."""

    incarnation: str
    through: int
    """Its last commit."""
    parts: Sequence[tuple[int, int]]
    """(vbucket, commit) of the parts that wait."""
    lost: int
    """The events of sections that are given up."""
    change: int
    """By how many events more waits now than was counted before."""


@define
class Sealing:
    """The lanes' numbers and what waits. Nothing is sealed before the cluster is known."""

    checksum: Callable[[bytes], int]
    max_waiting: int = MAX_WAITING
    numbers: dict[LaneKey, LaneNumbers] = field(factory=dict)
    waiting: dict[LaneKey, list[Piece]] = field(factory=dict)
    undivided: dict[str, list[Piece]] = field(factory=dict)
    """Incarnation -> the sections of commits made before the cluster was known, in order; none without any."""
    through: Mapping[LaneKey, int] = field(factory=dict)
    """Lane -> the last commit that seals of earlier lives hold: parts of undivided sections up to there are sealed."""
    size: int = 0
    """What waits, of all lanes."""
    _reached: dict[str, int] = field(factory=dict, init=False)  # incarnation -> the highest of `through`
    _dealt: frozenset[LaneKey] = field(default=frozenset(), init=False)  # lanes that the last stretch had parts for

    def recover(self, recovered: Recovered) -> None:
        """Take what a spool gave back."""
        self.numbers = dict(recovered.snapshot.lanes)
        self.through = recovered.through
        for key, waiting in recovered.waiting.items():
            for each in waiting:
                self._wait(key, _recovered(each))
        for (incarnation, _), commit in self.through.items():
            self._reached[incarnation] = max(commit, self._reached.get(incarnation, 0))
        for each in recovered.undivided:
            piece = _recovered(each)
            if piece.commit <= self._reached.get(each.incarnation, 0):
                piece.events = 0  # they are in batches
            self.undivided.setdefault(each.incarnation, []).append(piece)

    def _wait(self, key: LaneKey, piece: Piece) -> None:
        self.waiting.setdefault(key, []).append(piece)
        self.size += piece.length

    def events(self) -> int:
        """The events of all that waits."""
        waiting = sum(piece.events for pieces in self.waiting.values() for piece in pieces)
        return waiting + sum(piece.events for pieces in self.undivided.values() for piece in pieces)

    def size_of(self, key: LaneKey) -> int:
        """The bytes that wait of one lane."""
        return sum(piece.length for piece in self.waiting.get(key, ()))

    def oldest(self) -> float | None:
        """Wall time of the oldest commit of which something waits."""
        waiting = [pieces[0].time for pieces in (*self.waiting.values(), *self.undivided.values()) if pieces]
        return min(waiting, default=None)

    def add(self, commit: Commit) -> list[Piece]:
        """The sections of a commit wait from now on; answers with their pieces, in the order of the sections."""
        pieces = []
        for section in commit.sections:
            piece = Piece(commit.number, commit.time, section.events, len(section.data), section.data)
            pieces.append(piece)
            if commit.divided:
                self._wait((commit.incarnation, section.vbucket), piece)
            else:
                self.undivided.setdefault(commit.incarnation, []).append(piece)
        return pieces

    def ripe(self, incarnation: str, now: float, unsent: Callable[[str, int], int]) -> list[LaneKey]:
        """The lanes to seal at wall time `now`: all of older incarnations, and of this one those whose batches are
        being sent.

        `unsent` tells how many batches of a lane still are to be sent. Sealing more of such a lane only makes more
        and smaller batches, so it waits, within limits, and while the servers are away memory grows slowly.
        """
        ready = {key: pieces for key in self.waiting if (pieces := self._ready(key))}
        if self.size > self.max_waiting:
            return sorted(ready)
        return sorted(
            key
            for key, pieces in ready.items()
            if key[0] != incarnation
            or unsent(*key) < 2
            or pieces[0].time + RIPE_SECONDS <= now
            or sum(piece.length for piece in pieces) >= RIPE_BYTES
        )

    def _ready(self, key: LaneKey) -> list[Piece]:
        """What waits of a lane and may be sealed: nothing behind a section that is not divided yet."""
        pieces, undivided = self.waiting.get(key, []), self.undivided.get(key[0])
        return [piece for piece in pieces if piece.commit < undivided[0].commit] if undivided else pieces

    def unread(self, keys: Sequence[LaneKey]) -> list[Piece]:
        """The pieces whose bytes have to be read for the next batches of these lanes, as many as fit into memory."""
        missing: list[Piece] = []
        size = 0
        for batch in (batch for key in keys for batch in _batches(self._ready(key))):
            absent = [piece for piece in batch if piece.data is None]
            if absent and size >= READ_BYTES:
                break
            if absent:
                size += sum(piece.length for piece in batch)
                missing += absent
        return missing

    def give_up(self, tries: int) -> int:
        """Drop the waiting pieces that could not be read so often; answers with their events."""
        events = 0
        for key, pieces in list(self.waiting.items()):
            lost = [piece for piece in pieces if piece.data is None and piece.tries >= tries]
            if lost:
                events += sum(piece.events for piece in lost)
                self.size -= sum(piece.length for piece in lost)
                self._keep(key, [piece for piece in pieces if piece not in lost])
        return events

    def _keep(self, key: LaneKey, pieces: list[Piece]) -> None:
        if pieces:
            self.waiting[key] = pieces
        else:
            self.waiting.pop(key, None)

    def seal(self, keys: Sequence[LaneKey]) -> list[Sealed]:
        """Seal what waits for these lanes, as far as it has its bytes. A lane with much gets several batches."""
        sealed = []
        for key in keys:
            count = 0
            for batch in _batches(self._ready(key)):
                parts = [piece.data for piece in batch if piece.data is not None]
                if len(parts) < len(batch):
                    break
                sealed.append(self._seal(key, batch, b"".join(parts)))
                count += len(batch)
            self._keep(key, self.waiting.get(key, [])[count:])
        return sealed

    def _seal(self, key: LaneKey, pieces: list[Piece], body: bytes) -> Sealed:
        lane = self.numbers.get(key, NO_NUMBERS)
        for piece in pieces:
            piece.data = None
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

    def next_stretch(self, unsent: Callable[[str, int], int]) -> tuple[str, list[Piece]] | None:
        """The undivided sections to read and divide next, and their incarnation; None when there are none, or while
        all that the last stretch gave is still to be sent, as `unsent` tells.
        """
        if not self.undivided or (self._dealt and all(unsent(*key) >= 2 for key in self._dealt)):
            return None
        incarnation, pieces = next(iter(self.undivided.items()))
        reached, size, stretch = self._reached.get(incarnation, 0), 0, list[Piece]()
        for piece in pieces:
            size += piece.length
            if stretch and (size > DIVIDE_BYTES or stretch[0].commit <= reached < piece.commit):
                break
            stretch.append(piece)
        return incarnation, stretch

    def deal(self, incarnation: str, stretch: Sequence[Piece], divided: Sequence[Sequence[Section]]) -> Dealt:
        """Let the parts of a stretch wait for their lanes; those that are sealed already do not wait again.

        A part has the extent of the whole: where it is read again, the whole is divided again. A section that is given
        up has no parts.
        """
        parts: list[tuple[int, int]] = []
        found = lost = 0
        for piece, sections in zip(stretch, divided, strict=True):
            lost += 0 if sections else piece.events
            extent = evolve(piece.extent, undivided=True) if piece.extent is not None else None
            for each in sections:
                key = (incarnation, each.vbucket)
                if piece.commit > self.through.get(key, 0):
                    length, data = len(each.data), each.data
                    self._wait(key, Piece(piece.commit, piece.time, each.events, length, data, extent, part=True))
                    parts.append((each.vbucket, piece.commit))
                    found += each.events
        self._dealt = frozenset((incarnation, vbucket) for vbucket, _ in parts)
        for key in self._dealt:
            self.waiting[key].sort(key=lambda piece: piece.commit)  # later commits may have been divided before these
        left = self.undivided.pop(incarnation)[len(stretch) :]
        if left:
            self.undivided = {incarnation: left, **self.undivided}  # they go on being the first
        change = found - sum(piece.events for piece in stretch)
        return Dealt(incarnation, stretch[-1].commit, parts, lost, change)


def _batches(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces of one lane, cut into batches: of BATCH_BYTES at most, or of one piece, and parts of undivided sections
    apart from others.
    """
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        if batch and (size + piece.length > BATCH_BYTES or piece.part != batch[0].part):
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += piece.length
    if batch:
        yield batch


def _recovered(waiting: Waiting) -> Piece:
    return Piece(waiting.commit, waiting.time, waiting.events, waiting.extent.length, None, waiting.extent)
