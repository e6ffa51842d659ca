"""The files of the spool: how records lie in a segment, and how a segment is read that may be torn or damaged. Pure.

A segment is nothing but frames, one after the other: a header of 52 bytes, then the record's payload. The header has
two checks, its own and the payload's, so that a damaged payload does not hide where the next frame begins; its own
depends on the number of the segment, so that bytes which belong to another segment are not taken for this one's. What
else it says:

* `synced`: how many bytes of this segment were durable when the frame was written. The highest of them tells damage
  from a torn end: what is not readable below it was durable once; what lies above may never have been.
* `position`: how many commits, events and seals were written before, in the life of the spool. The first frame after a
  hole so tells exactly how much the hole swallowed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from attrs import define, field, frozen

from taba.agent.encoding import Noted, Seals, Written, encode, kind_of
from taba.agent.records import Aside, Checksum, Commit, Extent, Hole, Seal

MARKER = b"\xf5Tb\x01"
"""Begins every frame; the last byte is the version of the format."""
HEADER_BYTES = 52

_PREFIX = struct.Struct("<4sI")  # marker, check of the fields
_FIELDS = struct.Struct("<IIB3xQQQQ")  # check of the payload, its length, kind, synced, commit, events, seals
_CHECK = struct.Struct("<I")
_NUMBER = struct.Struct("<Q")

_NAME = "segment-"
OPENING_NAME = "opening"
"""The file in which a segment is prepared; it gets its name when its opening is durable."""


def segment_name(number: int) -> str:
    """The name of a segment's file."""
    return f"{_NAME}{number:016x}"


def segment_number(name: str) -> int | None:
    """The number in a file's name; None for files that are no segments."""
    digits = name.removeprefix(_NAME)
    if not digits.isalnum() or not digits.isascii():
        return None
    try:
        number = int(digits, 16)
    except ValueError:
        return None
    return number if segment_name(number) == name else None


def damaged_name(hole: Hole) -> str:
    """The name of the copy of a damaged stretch."""
    return f"damaged-{hole.segment:016x}-{hole.offset:x}"


@frozen
class Position:
    """How much was written before, in the life of a spool."""

    commit: int = 1
    """The number of the next commit."""
    events: int = 0
    seals: int = 0

    def after(self, record: Written) -> Position:
        """The position behind a record that is written here."""
        if isinstance(record, Commit):
            events = sum([section.events for section in record.sections])
            return Position(self.commit + 1, self.events + events, self.seals)
        if isinstance(record, Seals):
            return Position(self.commit, self.events, self.seals + len(record.seals))
        return self


@frozen
class Frame:
    """A frame that was found whole."""

    offset: int
    kind: int
    synced: int
    position: Position
    payload: bytes = field(repr=False)

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.offset + HEADER_BYTES + len(self.payload)


@define
class FrameWriter:
    """Makes the frames of one segment, each with the position that follows from those before it."""

    segment: int
    position: Position
    _checksum: Checksum
    _seed: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._seed = segment_seed(self.segment, self._checksum)

    def frame(self, record: Written, offset: int, synced: int | None) -> bytes:
        """The frame of a record that is written at `offset` while `synced` bytes are durable.

        With `synced` None it says that itself is durable: so in a file that gets its place in the folder only when all
        of it is. ValueError or struct.error when the record cannot be written; the position stays then.
        """
        return b"".join(self._pieces(record, offset, synced))

    def _pieces(self, record: Written, offset: int, synced: int | None) -> list[bytes]:
        payload, at = encode(record), self.position
        length, check = sum(map(len, payload)), 0
        for piece in payload:
            check = self._checksum(piece, check)
        fields = _FIELDS.pack(
            check,
            length,
            kind_of(record),
            offset + HEADER_BYTES + length if synced is None else synced,
            at.commit,
            at.events,
            at.seals,
        )
        self.position = at.after(record)
        return [_PREFIX.pack(MARKER, self._checksum(fields, self._seed)), fields, *payload]

    def lay_out(
        self, records: Iterable[Written], offset: int, synced: int | None
    ) -> tuple[bytes, list[tuple[Extent, ...]]]:
        """The frames of records that are written from `offset` on, and where the sections of each commit will stand."""
        pieces: list[bytes] = []
        extents, at = [], offset
        for record in records:
            frame = self._pieces(record, at, synced)
            at += sum(map(len, frame))
            pieces += frame
            if isinstance(record, Commit):
                extents.append(section_extents(record, self.segment, at))
        return b"".join(pieces), extents


Packed = Commit | Seal | Aside | Noted
"""A record that may be written, with what is noted beside a snapshot."""


def pack(records: Iterable[Packed]) -> Iterator[Written]:
    """What is written for records: seals that follow one another together, snapshots twice.

    Twice, so that one damaged spot does not take all numbers away. Snapshots have been noted.
    """
    seals: list[Seal] = []
    for record in records:
        if isinstance(record, Seal):
            seals.append(record)
            continue
        if seals:
            yield Seals(tuple(seals))
            seals = []
        if isinstance(record, Noted):
            yield record
        yield record
    if seals:
        yield Seals(tuple(seals))


def section_extents(commit: Commit, segment: int, end: int) -> tuple[Extent, ...]:
    """Where the sections of a commit stand whose frame ends at `end`: they are the last thing in it."""
    at = end - sum([len(section.data) for section in commit.sections])
    extents, undivided = [], not commit.divided
    for section in commit.sections:
        length = len(section.data)
        extents.append(Extent(segment, at, length, undivided))
        at += length
    return tuple(extents)


def segment_seed(number: int, checksum: Checksum) -> int:
    """What the checks of a segment's headers start from."""
    return checksum(_NUMBER.pack(number), 0)


@define
class Scan:
    """What was found in a segment: whole frames, and the holes between them, both ascending."""

    number: int
    size: int
    frames: list[Frame] = field(factory=list)
    holes: list[Hole] = field(factory=list)
    synced: int = 0
    """The bytes that were durable for certain."""

    def damage(self, begin: int, end: int) -> None:
        """Note a hole; one that goes on the last one lengthens it."""
        if self.holes and self.holes[-1].offset + self.holes[-1].length == begin:
            begin = self.holes.pop().offset
        self.holes.append(Hole(self.number, begin, end - begin))

    def cut(self) -> int:
        """Forget what begins at the first hole that is no damage, because it was never durable; where that is.

        An opening is durable before the segment gets its name, so that a hole at the very beginning is damage.
        """
        torn = [hole.offset for hole in self.holes if hole.offset >= max(self.synced, 1)]
        if not torn:
            return self.size
        self.end_at(torn[0])
        return torn[0]

    def end_at(self, end: int) -> None:
        """Take no notice of what lies beyond `end`; what is missing of it is a hole."""
        self.frames = [frame for frame in self.frames if frame.end <= end]
        self.holes = [hole for hole in self.holes if hole.offset < end]
        if self.size < end:
            self.damage(self.size, end)


def scan(number: int, content: bytes, checksum: Checksum) -> Scan:
    """Find the frames of a segment. What is between them is holes; nothing is raised, whatever the bytes are."""
    seed, found, at = segment_seed(number, checksum), Scan(number, len(content)), 0
    if not content:
        found.damage(0, 0)
    while at < len(content):
        header = _header(content, at, seed, checksum)
        if header is None:
            end = content.find(MARKER, at + 1)
            end = len(content) if end < 0 else end
            found.damage(at, end)
        else:
            check, length, kind, synced, *position = header
            found.synced = max(found.synced, synced)
            begin, end = at + HEADER_BYTES, min(at + HEADER_BYTES + length, len(content))
            payload = content[begin:end]
            if len(payload) == length and checksum(payload, 0) == check:
                found.frames.append(Frame(at, kind, synced, Position(*position), payload))
            else:
                found.damage(at, end)
        at = end
    return found


def _header(content: bytes, at: int, seed: int, checksum: Checksum) -> tuple[int, ...] | None:
    """The fields of the header at an offset, when there is one."""
    prefix, fields = content[at : at + _PREFIX.size], content[at + _PREFIX.size : at + HEADER_BYTES]
    if len(fields) < _FIELDS.size or not prefix.startswith(MARKER):
        return None
    (check,) = _CHECK.unpack(prefix[len(MARKER) :])
    return _FIELDS.unpack(fields) if checksum(fields, seed) == check else None
