"""The twin with the names and signatures of `taba.native`, so that one suite of laws runs on both, and results compare.

Its values compare with those of `taba.native` by `attrs.astuple`; its errors by the names of their classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from tests.twin import accumulator, columns, counter_group, hll, percentile_group, protocol1, unique_group
from tests.twin.batches import Entry, Section, batch_entries, batch_split
from tests.twin.blobs import COUNTER_GROUP, GAUGE, PARTIAL, PERCENTILE_GROUP, RAW, UNIQUE_GROUP
from tests.twin.crc import crc32, crc32c
from tests.twin.errors import BodySyntaxError, ColumnsError, CorruptBlob, LimitReached, UnknownVersion, WrongType
from tests.twin.gauge import GaugeEntry, RawPartial, State
from tests.twin.protocol1 import Limits
from tests.twin.sketch import Sketch, SketchSummary
from tests.twin.states import check, fold, partial_extent, reduce, state_newest

__all__ = [
    "COUNTER_GROUP",
    "GAUGE",
    "PARTIAL",
    "PERCENTILE_GROUP",
    "RAW",
    "UNIQUE_GROUP",
    "Accumulator",
    "BodySyntaxError",
    "Columns",
    "ColumnsError",
    "ColumnsFacts",
    "CorruptBlob",
    "Entry",
    "GaugeEntry",
    "LimitReached",
    "Limits",
    "Scratch",
    "Section",
    "Sketch",
    "SketchSummary",
    "UnknownVersion",
    "WrongType",
    "batch_entries",
    "batch_split",
    "check",
    "counter_group_buckets",
    "counter_group_summary",
    "crc32",
    "crc32c",
    "fold",
    "gauge_entries",
    "partial_extent",
    "percentile_group_summary",
    "raw_events",
    "reduce",
    "state_newest",
    "unique_group_buckets",
    "unique_group_summary",
    "unique_hash",
]

counter_group_buckets = counter_group.buckets
counter_group_summary = counter_group.summary
percentile_group_summary = percentile_group.summary
unique_group_buckets = unique_group.buckets
unique_group_summary = unique_group.summary
unique_hash = hll.unique_hash


def gauge_entries(state: bytes) -> list[GaugeEntry]:
    """The entries of a Gauge State, in their order."""
    return State.decode(state).entries


def raw_events(partial: bytes) -> list[GaugeEntry]:
    """The events of a raw Partial, in their order."""
    return RawPartial.decode(partial).entries


@frozen
class ScratchSummary:
    """What a parsed request holds. The twin counts no memory."""

    accepted: int
    refused: Mapping[str, int]
    samples: Sequence[tuple[int, str]]
    line: int
    tabs: Sequence[str] = ()


class Scratch:
    """Collects the pieces of a body and reads it once it is whole."""

    def __init__(self, limits: Limits, types: Mapping[str, int]) -> None:
        self._limits = limits
        self._types = types
        self._body = b""
        self.parsed = protocol1.Parsed()

    def feed(self, data: bytes) -> None:
        """The next piece."""
        self._body += data

    def finish(self) -> None:
        """The body is whole. BodySyntaxError when its structure is wrong."""
        self.parsed = protocol1.parse(self._body, self._limits, self._types)

    def summary(self) -> ScratchSummary:
        """What was read."""
        parsed = self.parsed
        return ScratchSummary(len(parsed.events), dict(parsed.refused), parsed.samples, parsed.lines)


@frozen
class ColumnsFacts:
    """What the header of a frame of columns says beside the events."""

    client: str
    instance: str | None
    batch: int | None
    unsent: bytes


class Columns(Scratch):
    """Collects the pieces of a frame and reads it once it is whole."""

    def finish(self) -> None:
        """The body is whole. ColumnsError when it is no frame, LimitReached when it is too large."""
        self.parsed = columns.parse(self._body, self._limits, self._types)

    def facts(self) -> ColumnsFacts:
        """What the header says."""
        frame = self.parsed
        assert isinstance(frame, columns.Frame)
        return ColumnsFacts(frame.client, frame.instance, frame.batch, frame.unsent)

    def summary(self) -> ScratchSummary:
        """What was read."""
        frame = self.parsed
        assert isinstance(frame, columns.Frame)
        return ScratchSummary(len(frame.events), dict(frame.refused), frame.samples, frame.lines, frame.tabs)


class Accumulator:
    """(tab, client, Type) -> Partial."""

    def __init__(self) -> None:
        self._accumulator = accumulator.Accumulator()

    def merge(self, scratch: Scratch, stamp: int) -> int:
        """Add all events of a finished scratch. Returns the first stamp not used."""
        return self._accumulator.merge(scratch.parsed.events, stamp)

    def encode(self, num_vbuckets: int) -> list[Section]:
        """One section per vbucket that has Partials."""
        return self._accumulator.encode(num_vbuckets)

    def summary(self) -> tuple[int, int, int]:
        """Events and Partials held; the twin counts no memory."""
        return self._accumulator.events(), len(self._accumulator.partials), 0

    def clear(self) -> None:
        """Forget everything."""
        self._accumulator = accumulator.Accumulator()
