"""What a spool's files say after a restart. Pure: bytes of segments in, `Recovery` out; nothing is written.

Segments are numbered without gaps. Each opens with a snapshot that says how many bytes of the one before it count. So
what a failed sync left behind is not read again once a new segment has taken its place; the last segment, which nothing
follows, is read to its first damage above what was durable.

What the last segment holds above that line may stand in the memory of the kernel only (after a sync that failed,
reading and syncing again prove nothing). It is written again, as the first part of the next segment: `Recovery.prefix`
has these bytes. Nothing of that may be acted upon before that segment is durable: batches of the lanes that
`Recovered.doubtful` names are not sent, segments from `Recovery.doubtful_from` on are not removed, and nobody is told
what number of his was the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import define, evolve, field, frozen

from taba.agent.encoding import Kind, Mark, Noted, Seals, Written, decode
from taba.agent.extents import SealedBatch
from taba.agent.holdings import Holdings
from taba.agent.numbers import Numbers
from taba.agent.records import Aside, Checksum, Commit, Extent, Hole, LaneKey, Snapshot, Waiting
from taba.agent.replay import Damage, Replay
from taba.agent.segments import Frame, FrameWriter, Position, Scan, scan, section_extents
from taba.errors import CorruptBlob

__all__ = ["Damage", "Recovered", "Recovery", "recover"]


@frozen
class Recovered:
    """What the life before has left."""

    snapshot: Snapshot
    """All numbers. What is waiting was committed under older incarnations, and is sealed under theirs."""
    batches: Mapping[LaneKey, tuple[SealedBatch, ...]] = field(repr=False)
    """The batches that are not known to be confirmed, by lane, ascending."""
    waiting: Mapping[LaneKey, tuple[Waiting, ...]] = field(repr=False)
    """Sections that were committed but not sealed, by lane, in order."""
    undivided: tuple[Waiting, ...] = field(repr=False)
    """Sections that were not divided when they were committed, in order. Of their parts, those of a lane in commits up
    to `through` are sealed, and may be in `batches`; the others wait.
    """
    through: Mapping[LaneKey, int] = field(repr=False)
    """Lane -> the last commit that its seals hold; a lane that sealed nothing is missing."""
    holdings: Holdings = field(repr=False)
    """What is needed of the spool."""
    damage: Damage | None
    """What was found damaged, and was not accounted for by an earlier start."""
    torn: int
    """Bytes at the end that were written, but not durable and not whole: they are cut off."""
    doubtful: frozenset[LaneKey]
    """The lanes of which something is not known to be durable. All, when damage was found."""


@frozen
class Recovery:
    """What was recovered, and where the spool goes on."""

    recovered: Recovered
    numbers: Numbers
    writer: FrameWriter
    """For the next segment, behind `prefix`."""
    prefix: bytes = field(repr=False)
    """What the next segment begins with; empty when it begins with its snapshot."""
    previous_end: int
    """How many bytes of the segment before that one count."""
    holes: tuple[Hole, ...]
    """All damage that is accounted for once the next segment is durable."""
    firsts: Mapping[int, int]
    """Segment -> the first commit that may be in it."""
    first_commit: int
    """The first commit that may be in the next segment."""
    doubtful_from: int
    """The oldest commit of which something is not needed any more only if what is not known to be durable is so. 0
    when damage was found.
    """


def recover(
    present: Sequence[int], load: Callable[[int], bytes], read: Callable[[Extent], bytes], checksum: Checksum
) -> Recovery:
    """Recover a spool from its segments, whose numbers ascend.

    `load` gives a segment, `read` a part of one; both always the same for the same argument. Whatever the bytes are,
    nothing is raised but by them.
    """
    return _Recovering(present, load, read, checksum).run()


@define
class _Carry:
    """What the next segment begins with: numbers as they are known to be durable, and the records that are not."""

    writer: FrameWriter
    opening: Noted
    parts: list[bytes] = field(factory=list)
    length: int = 0
    first_commit: int = 1

    def add(self, record: Written, numbers: Numbers, position: Position) -> int:
        """Write a record again, as at its old position; where its frame ends. `numbers` are those before it."""
        self.writer.position = position
        if not self.parts:
            self.first_commit = position.commit
            opening = evolve(self.opening, snapshot=numbers.snapshot(), through=dict(numbers.through))
            self._write(opening)
            self._write(opening)
        self._write(record)
        return self.length

    def _write(self, record: Written) -> None:
        self.parts.append(self.writer.frame(record, self.length, None))
        self.length += len(self.parts[-1])


@define
class _Recovering:
    """One recovery."""

    present: Sequence[int]
    load: Callable[[int], bytes]
    read: Callable[[Extent], bytes]
    checksum: Checksum
    replay: Replay = field(factory=Replay)
    firsts: dict[int, int] = field(factory=dict)
    doubtful: set[LaneKey] = field(factory=set)
    aside_from: int | None = None
    """The oldest commit of a batch whose aside is not known to be durable."""

    def run(self) -> Recovery:
        if not self.present:
            return self._result(self._carry(1, 0), 0)
        last = self._scan(self.present[-1])
        torn = last.size - last.cut()
        self.replay.noted = self._noted(last)
        for found, following in self._pairs(last):
            self._limit(found, following)
            self._take(found, None)
        carry = self._carry(*_place(last))
        self._take(last, carry)
        return self._result(carry, torn)

    def _scan(self, number: int) -> Scan:
        return scan(number, self.load(number), self.checksum)

    def _pairs(self, last: Scan) -> Iterator[tuple[Scan, Scan]]:
        """Each segment but the last one, with the next that is there."""
        found = None
        for number in self.present:
            following = last if number == last.number else self._scan(number)
            if found is not None:
                yield found, following
            found = following

    def _noted(self, last: Scan) -> tuple[Hole, ...]:
        """The holes that an earlier start accounted for: those in the newest snapshot."""
        for number in reversed(self.present):
            found = last if number == last.number else self._scan(number)
            for frame in reversed(found.frames):
                record = _decoded(frame) if frame.kind in (Kind.OPENING, Kind.SNAPSHOT) else None
                if isinstance(record, Noted):
                    return record.holes
        return ()

    def _limit(self, found: Scan, following: Scan) -> None:
        """Leave of a segment what counts: the one after it says, if it is there and can be read."""
        opening = _opening(following) if following.number == found.number + 1 else None
        if opening is None:
            found.cut()
        else:
            found.end_at(opening.previous_end)

    def _carry(self, number: int, previous_end: int) -> _Carry:
        writer = FrameWriter(number, Position(), self.checksum)
        noted = Noted(self.replay.numbers.snapshot(), previous_end, tuple(self.replay.noted), {}, opening=True)
        return _Carry(writer, noted)

    def _take(self, found: Scan, carry: _Carry | None) -> None:
        """Replay a segment. With `carry`, what is not known to be durable is written again."""
        replay = self.replay
        if self.firsts and (missing := max(self.firsts) + 1) != found.number:
            replay.hole(Hole(missing, 0, 0))
        self.firsts[found.number] = (found.frames[0].position if found.frames else replay.position).commit
        holes = list(found.holes)
        for frame in found.frames:
            while holes and holes[0].offset < frame.offset:
                replay.hole(holes.pop(0))
            record, segment, end = _decoded(frame), found.number, frame.end
            if record is None:
                replay.hole(Hole(segment, frame.offset, end - frame.offset))
                continue
            if carry is not None and carry.writer.segment > segment and _doubtful(frame, record, found):
                self._doubt(record)
                end, segment = carry.add(record, replay.numbers, frame.position), carry.writer.segment
            extents = section_extents(record, segment, end) if isinstance(record, Commit) else ()
            replay.record(record, frame.position, extents)
        for hole in holes:
            replay.hole(hole)

    def _doubt(self, record: Written) -> None:
        """Note what a record is about that is not known to be durable; what it says is not taken yet."""
        if isinstance(record, Seals):
            self.doubtful.update(seal.key for seal in record.seals)
        elif isinstance(record, Aside):
            self.doubtful.add(record.key)
            batch = self.replay.batches.get(record.key, {}).get(record.seq)
            if batch is not None:
                first = batch.seal.first_commit
                self.aside_from = first if self.aside_from is None else min(first, self.aside_from)

    def _result(self, carry: _Carry, torn: int) -> Recovery:
        replay = self.replay
        replay.finish(self.read, self.checksum)
        for decision in replay.decisions():
            position = carry.writer.position if carry.parts else replay.position
            carry.add(decision, replay.numbers, position)
        if not carry.parts:
            carry.writer.position = replay.position
        holes = [hole for hole in replay.noted if hole.segment >= min(self.present, default=0)]
        recovered = self._recovered(torn)
        next_commit = recovered.snapshot.next_commit
        return Recovery(
            recovered,
            replay.numbers,
            carry.writer,
            b"".join(carry.parts),
            carry.opening.previous_end,
            (*holes, *replay.holes),
            self.firsts,
            carry.first_commit if carry.parts else replay.position.commit,
            0 if recovered.damage is not None else next_commit if self.aside_from is None else self.aside_from,
        )

    def _recovered(self, torn: int) -> Recovered:
        replay = self.replay
        snapshot = replay.numbers.snapshot()
        holdings, batches = Holdings(snapshot.next_commit), replay.held()
        for held in batches.values():
            for batch in held:
                holdings.seal(batch.seal)
        for pieces in replay.waiting.values():
            for piece in pieces:
                holdings.wait(piece.incarnation, piece.vbucket, piece.commit)
        undivided = tuple([piece for pieces in replay.undivided.values() for piece in pieces])
        for piece in undivided:
            holdings.wait(piece.incarnation, None, piece.commit)
        waiting = {key: tuple(pieces) for key, pieces in replay.waiting.items()}
        through, damage = dict(replay.through), replay.damage()
        doubtful = frozenset(self.doubtful if damage is None else {*batches, *self.doubtful})
        return Recovered(snapshot, batches, waiting, undivided, through, holdings, damage, torn, doubtful)


def _place(last: Scan) -> tuple[int, int]:
    """The number of the next segment, and how much of the one before it counts.

    A last segment that holds nothing but snapshots is replaced: restarts alone do not make the spool longer.
    """
    opening = _opening(last)
    if opening is not None and not last.holes and all(_is_bare(frame) for frame in last.frames):
        return last.number, opening.previous_end
    # A damaged end counts, so that the next start finds the hole, and that it is accounted for.
    return last.number + 1, max([last.synced, *(hole.offset + hole.length for hole in last.holes)])


def _is_bare(frame: Frame) -> bool:
    return frame.kind in (Kind.OPENING, Kind.SNAPSHOT, Kind.MARK)


def _doubtful(frame: Frame, record: Written, found: Scan) -> bool:
    return frame.offset >= found.synced and not isinstance(record, Mark)


def _opening(found: Scan) -> Noted | None:
    """What opens a segment, if it can be read."""
    for frame in found.frames:
        record = _decoded(frame) if frame.kind == Kind.OPENING else None
        if isinstance(record, Noted):
            return record
    return None


def _decoded(frame: Frame) -> Written | None:
    try:
        return decode(frame.kind, frame.payload, frame.position.commit)
    except CorruptBlob:
        return None
