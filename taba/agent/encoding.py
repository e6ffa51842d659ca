"""The payloads of the spool's records, as docs/reference/spool.md has them byte by byte. Pure.

`decode(encode(record))` is the record. Decoders check every length, and raise CorruptBlob, and nothing else, for a
payload that is not one. Everything is little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import Any, TypeVar

from attrs import define, field, frozen

from taba.agent.records import (
    Aside,
    Commit,
    Discard,
    Hole,
    LaneKey,
    LaneNumbers,
    Seal,
    Section,
    Snapshot,
)
from taba.errors import CorruptBlob

K = TypeVar("K")
V = TypeVar("V")


class Kind(IntEnum):
    """What a record is."""

    OPENING = 1
    """The snapshot that opens a segment."""
    SNAPSHOT = 2
    """A snapshot at another place."""
    COMMIT = 3
    SEALS = 4
    ASIDE = 5
    DISCARD = 6
    MARK = 7
    """Says nothing but what its header says: what is durable by now."""


JOINED_BYTES = 1 << 16
"""Sections that are smaller in all are one piece with the rest of their commit."""
ID_BYTES = 16
NO_ID = "00" * ID_BYTES
NO_VBUCKET = 0xFFFFFFFF

_COMMIT = struct.Struct("<16sdIIII")  # incarnation, time, divided, instances, ledger lines, sections
_INSTANCE = struct.Struct("<16sQ")
_SECTION = struct.Struct("<IQI")  # vbucket, events, length
_SEAL = struct.Struct("<16sIQQQQdIQQQ")
_ASIDE = struct.Struct("<16sIQQQB")  # incarnation, vbucket, seq, after, events, pass over
_DISCARD = struct.Struct("<16sIQ")
_SNAPSHOT = struct.Struct("<Q16s16sIQIIII")  # ..., holes, instances, lanes, ledger lines
_HOLE = struct.Struct("<QQQ")
_USED = struct.Struct("<16sQd")
_LANE = struct.Struct("<16sIQQQQ")  # incarnation, vbucket, given, events, follows, sealed through
_COUNT = struct.Struct("<I")
_TEXT = struct.Struct("<H")
_TOTAL = struct.Struct("<q")
_KIND = struct.Struct("<H")


@frozen
class Noted:
    """A snapshot with what only the spool knows."""

    snapshot: Snapshot
    previous_end: int = 0
    """How many bytes of the segment before this one count; only in an opening."""
    holes: tuple[Hole, ...] = ()
    """Damage that is accounted for already."""
    through: Mapping[LaneKey, int] = field(factory=dict)
    """Lane -> the last commit that its seals hold."""
    opening: bool = False
    """Whether it opens its segment."""


@frozen
class Seals:
    """The seals that were written together."""

    seals: tuple[Seal, ...]


@frozen
class Mark:
    """An empty record."""


Written = Noted | Commit | Seals | Aside | Discard | Mark
"""What a payload decodes to."""


def kind_of(record: Written) -> Kind:
    """The kind that a record's header names."""
    if isinstance(record, Noted):
        return Kind.OPENING if record.opening else Kind.SNAPSHOT
    return _KINDS[type(record)]


def encode(record: Written) -> list[bytes]:
    """The payload of a record, in pieces. ValueError for an id that is none, struct.error for a number out of range.

    A large commit is copied only once, where all the pieces of a write are joined.
    """
    if isinstance(record, Commit):
        head, sections = _encode_head(record), [section.data for section in record.sections]
        return [head, *sections] if sum(map(len, sections)) > JOINED_BYTES else [b"".join((head, *sections))]
    return [_encode_small(record)]


def _encode_small(record: Written) -> bytes:
    if isinstance(record, Seals):
        return _COUNT.pack(len(record.seals)) + b"".join([_encode_seal(seal) for seal in record.seals])
    if isinstance(record, Aside):
        head = (_id(record.incarnation), record.vbucket, record.seq, record.after, record.events, record.pass_over)
        return _ASIDE.pack(*head) + _text(record.reason)
    if isinstance(record, Noted):
        return _encode_snapshot(record)
    if isinstance(record, Discard):
        vbucket = NO_VBUCKET if record.vbucket is None else record.vbucket
        return _DISCARD.pack(_id(record.incarnation), vbucket, record.through)
    return b""


def decode(kind: int, payload: bytes, next_commit: int) -> Written:
    """The record in a payload; `next_commit` is the commit number in its header. Raises CorruptBlob."""
    reader = _Reader(payload)
    try:
        record = _DECODERS[kind](reader, next_commit)
    except (KeyError, struct.error, UnicodeDecodeError):
        raise CorruptBlob(f"no record of kind {kind}")
    if reader.at != len(payload):
        raise CorruptBlob(f"a record of kind {kind} with {len(payload) - reader.at} bytes too many")
    return record


@define
class _Reader:
    """Takes a payload apart from the front."""

    payload: bytes
    at: int = 0

    def bytes(self, length: int) -> bytes:
        """The next bytes."""
        end = self.at + length
        if end > len(self.payload):
            raise CorruptBlob("a record ends too early")
        taken, self.at = self.payload[self.at : end], end
        return taken

    def one(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The next fields."""
        return layout.unpack(self.bytes(layout.size))

    def many(self, layout: struct.Struct, count: int) -> Iterator[tuple[Any, ...]]:
        """`count` times the same fields."""
        return layout.iter_unpack(self.bytes(count * layout.size))

    def text(self) -> str:
        """The next string."""
        return str(self.bytes(self.one(_TEXT)[0]), "utf-8")

    def ledger(self, count: int) -> dict[str, int]:
        """The next ledger lines."""
        return _unique({self.text(): self.one(_TOTAL)[0] for _ in range(count)}, count)


def _unique(mapping: dict[K, V], count: int) -> dict[K, V]:
    if len(mapping) != count:
        raise CorruptBlob("the same key twice in a record")
    return mapping


def _id(text: str) -> bytes:
    encoded = bytes.fromhex(text)
    if len(encoded) != ID_BYTES or encoded.hex() != text:
        raise ValueError(f"not an id: {text!r}")
    return encoded


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _TEXT.pack(len(encoded)) + encoded


def _ledger(lines: Mapping[str, int]) -> list[bytes]:
    return [_text(line) + _TOTAL.pack(count) for line, count in lines.items()]


def _encode_head(commit: Commit) -> bytes:
    """All of a commit but the bytes of its sections."""
    sections, instances, ledger = commit.sections, commit.instances, commit.ledger
    head = _COMMIT.pack(
        _id(commit.incarnation), commit.time, commit.divided, len(instances), len(ledger), len(sections)
    )
    table = [value for each in sections for value in (each.vbucket, each.events, len(each.data))]
    return b"".join(
        [
            head,
            *(_INSTANCE.pack(_id(instance), number) for instance, number in instances.items()),
            *_ledger(ledger),
            struct.pack("<" + "IQI" * len(sections), *table),  # all in one call: a commit has a section per vbucket
        ]
    )


def _decode_commit(reader: _Reader, number: int) -> Commit:
    incarnation, time, divided, n_instances, n_ledger, n_sections = reader.one(_COMMIT)
    instances = {instance.hex(): last for instance, last in reader.many(_INSTANCE, n_instances)}
    ledger = reader.ledger(n_ledger)
    table = reader.many(_SECTION, n_sections)
    parts = tuple([Section(vbucket, events, reader.bytes(length)) for vbucket, events, length in table])
    return Commit(number, incarnation.hex(), time, _unique(instances, n_instances), ledger, parts, divided)


def _encode_seal(seal: Seal) -> bytes:
    return _SEAL.pack(
        _id(seal.incarnation),
        seal.vbucket,
        seal.seq,
        seal.after,
        seal.before,
        seal.events,
        seal.sealed,
        seal.checksum,
        seal.first_commit,
        seal.last_commit,
        seal.length,
    )


def _decode_seals(reader: _Reader, _: int) -> Seals:
    seals = reader.many(_SEAL, reader.one(_COUNT)[0])
    return Seals(tuple([Seal(incarnation.hex(), *rest) for incarnation, *rest in seals]))


def _decode_aside(reader: _Reader, _: int) -> Aside:
    incarnation, vbucket, seq, after, events, pass_over = reader.one(_ASIDE)
    if pass_over > 1:
        raise CorruptBlob("a truth value that is neither 0 nor 1")
    return Aside(incarnation.hex(), vbucket, seq, reader.text(), bool(pass_over), after, events)


def _decode_discard(reader: _Reader, _: int) -> Discard:
    incarnation, vbucket, through = reader.one(_DISCARD)
    return Discard(incarnation.hex(), None if vbucket == NO_VBUCKET else vbucket, through)


def _encode_snapshot(noted: Noted) -> bytes:
    snapshot, through = noted.snapshot, noted.through
    head = _SNAPSHOT.pack(
        noted.previous_end,
        _id(snapshot.incarnation or NO_ID),
        _id(snapshot.cluster or NO_ID),
        snapshot.vbuckets,
        snapshot.first_needed,
        len(noted.holes),
        len(snapshot.instances),
        len(snapshot.lanes),
        len(snapshot.ledger),
    )
    return b"".join(
        [
            head,
            *(_HOLE.pack(hole.segment, hole.offset, hole.length) for hole in noted.holes),
            *(_USED.pack(_id(instance), last, used) for instance, (last, used) in snapshot.instances.items()),
            *(
                _LANE.pack(_id(key[0]), key[1], lane.given, lane.events, lane.follows, through.get(key, 0))
                for key, lane in snapshot.lanes.items()
            ),
            *_ledger(snapshot.ledger),
            *_types(snapshot.types),
        ]
    )


def _types(types: Mapping[str, int]) -> list[bytes]:
    """The Types that were learned: nothing at all when there are none, as in spools from before there were any."""
    rows = [_text(type) + _KIND.pack(kind) for type, kind in sorted(types.items())]
    return [_COUNT.pack(len(rows)), *rows] if rows else []


def _decode_types(reader: _Reader) -> dict[str, int]:
    if reader.at == len(reader.payload):
        return {}
    rows = [(reader.text(), reader.one(_KIND)[0]) for _ in range(reader.one(_COUNT)[0])]
    types = dict(rows)
    if not types or list(types) != sorted(types) or len(types) != len(rows):
        raise CorruptBlob("Types that do not ascend, or a list of none")
    return types


def _decode_opening(reader: _Reader, next_commit: int) -> Noted:
    return _decode_snapshot(reader, next_commit, opening=True)


def _decode_snapshot(reader: _Reader, next_commit: int, opening: bool = False) -> Noted:
    head = reader.one(_SNAPSHOT)
    previous_end, incarnation, cluster, vbuckets, first_needed, n_holes, n_instances, n_lanes, n_ledger = head
    holes = tuple([Hole(*fields) for fields in reader.many(_HOLE, n_holes)])
    instances = {instance.hex(): (last, time) for instance, last, time in reader.many(_USED, n_instances)}
    lanes, through = {}, {}
    for of, vbucket, given, events, follows, sealed in reader.many(_LANE, n_lanes):
        key = (of.hex(), vbucket)
        lanes[key], through[key] = LaneNumbers(given, events, follows), sealed
    snapshot = Snapshot(
        incarnation.hex() if any(incarnation) else "",
        cluster.hex() if any(cluster) else None,
        vbuckets,
        next_commit,
        _unique(instances, n_instances),
        _unique(lanes, n_lanes),
        reader.ledger(n_ledger),
        first_needed,
        _decode_types(reader),
    )
    return Noted(snapshot, previous_end, holes, through, opening)


_KINDS = {
    Commit: Kind.COMMIT,
    Seals: Kind.SEALS,
    Aside: Kind.ASIDE,
    Discard: Kind.DISCARD,
    Mark: Kind.MARK,
}
_DECODERS: dict[int, Callable[[_Reader, int], Written]] = {
    Kind.OPENING: _decode_opening,
    Kind.SNAPSHOT: _decode_snapshot,
    Kind.COMMIT: _decode_commit,
    Kind.SEALS: _decode_seals,
    Kind.ASIDE: _decode_aside,
    Kind.DISCARD: _decode_discard,
    Kind.MARK: lambda reader, next_commit: Mark(),
}
