"""Gauge: the latest value of each client; and raw events, which are kept as they came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, field, frozen

from tests.twin.blobs import GAUGE, PARTIAL, RAW, check_canonical, head, open_blob
from tests.twin.errors import CorruptBlob
from tests.twin.primitives import encode_f64, encode_uvarint


@frozen
class GaugeEntry:
    """A value (JSON, UTF-8), the time of its event, and the agent's arrival stamp in microseconds."""

    time: float
    stamp: int
    value: bytes

    def lateness(self) -> tuple[float, int, bytes]:
        """The greater, the later."""
        return self.time, self.stamp, self.value

    def place(self) -> tuple[bytes, float, int]:
        """The order within a State."""
        return self.value, self.time, self.stamp


def encode_string(value: bytes) -> bytes:
    """`uvarint length`, then the bytes."""
    return encode_uvarint(len(value)) + value


@define
class State:
    """One entry a client, in ascending order of (value bytes, time, stamp)."""

    entries: list[GaugeEntry] = field(factory=list)

    def encode(self) -> bytes:
        """The one encoding."""
        if not self.entries:
            return b""
        encoded = [head(GAUGE), encode_uvarint(len(self.entries))]
        for entry in sorted(self.entries, key=GaugeEntry.place):
            encoded += [encode_string(entry.value), encode_f64(entry.time), encode_uvarint(entry.stamp)]
        return b"".join(encoded)

    @classmethod
    def decode(cls, blob: bytes) -> State:
        """A State; an empty blob is the empty one."""
        if not blob:
            return cls()
        reader = open_blob(blob, GAUGE)
        entries = []
        for _ in range(reader.uvarint()):
            value = reader.string()
            entries.append(GaugeEntry(reader.f64(), reader.uvarint(), value))
        reader.end()
        check_canonical(blob, cls(entries).encode())
        return cls(entries)


@define
class Partial:
    """The latest of one commit's events, and their number."""

    count: int
    latest: GaugeEntry

    @classmethod
    def of(cls, entries: Sequence[GaugeEntry]) -> Partial:
        """The Partial of these events, one at least."""
        return cls(len(entries), max(entries, key=GaugeEntry.lateness))

    def add(self, entry: GaugeEntry) -> None:
        """Add one event."""
        self.count += 1
        self.latest = max(self.latest, entry, key=GaugeEntry.lateness)

    def events(self) -> int:
        """How many events it holds."""
        return self.count

    def newest(self) -> float:
        """The time of the latest."""
        return self.latest.time

    def encode(self) -> bytes:
        """The one encoding."""
        encoded = head(PARTIAL | GAUGE) + encode_uvarint(self.count) + encode_f64(self.latest.time)
        return encoded + encode_uvarint(self.latest.stamp) + encode_string(self.latest.value)

    @classmethod
    def decode(cls, blob: bytes) -> Partial:
        """A Partial. It holds one event at least."""
        reader = open_blob(blob, PARTIAL | GAUGE)
        count = reader.uvarint()
        partial = cls(count, GaugeEntry(reader.f64(), reader.uvarint(), reader.string()))
        reader.end()
        if not count:
            raise CorruptBlob("a Partial without events")
        return partial


@define
class RawPartial:
    """Events of a Type whose Handler is not native, in their order."""

    entries: list[GaugeEntry]

    def events(self) -> int:
        """How many events it holds."""
        return len(self.entries)

    def newest(self) -> float:
        """The greatest of the times."""
        return max(entry.time for entry in self.entries)

    def encode(self) -> bytes:
        """The one encoding."""
        encoded = [head(PARTIAL | RAW), encode_uvarint(len(self.entries))]
        for entry in self.entries:
            encoded += [encode_f64(entry.time), encode_uvarint(entry.stamp), encode_string(entry.value)]
        return b"".join(encoded)

    @classmethod
    def decode(cls, blob: bytes) -> RawPartial:
        """A Partial. It holds one event at least."""
        reader = open_blob(blob, PARTIAL | RAW)
        entries = [GaugeEntry(reader.f64(), reader.uvarint(), reader.string()) for _ in range(reader.uvarint())]
        reader.end()
        if not entries:
            raise CorruptBlob("a Partial without events")
        return cls(entries)


def fold(state: bytes, partials: Sequence[bytes]) -> bytes:
    """The State of one client with these Partials. ValueError for a State of several."""
    entries = State.decode(state).entries
    if len(entries) > 1:
        raise ValueError("a State of several clients is not folded into")
    entries = entries + [Partial.decode(blob).latest for blob in partials]
    return State([max(entries, key=GaugeEntry.lateness)] if entries else []).encode()


def reduce(states: Iterable[bytes]) -> bytes:
    """The union of all entries; equal ones stay, each."""
    return State([entry for state in states for entry in State.decode(state).entries]).encode()
