"""States and Partials: folding, reducing, and what they hold."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from taba.native.core import (
    COUNTER_GROUP,
    COUNTER_GROUP_LEVELS,
    GAUGE,
    PERCENTILE_GROUP,
    UNIQUE_GROUP,
    UNIQUE_GROUP_LEVELS,
    blob_of,
    blobs,
    bytes_of,
    doubles,
    ffi,
    lib,
    new_buffer,
    verify,
)
from taba.native.sketches import SketchSummary, summary_of


@frozen
class Window:
    """Count and total of the events of a window or bucket."""

    count: int
    total: float


@frozen
class UniqueWindow:
    """The number of events of a window or bucket, and of distinct values among them: exact up to 32, else an estimate
    of standard error 1.62 %, which need not be whole and is not above the count.
    """

    count: int
    unique: float


@frozen
class GaugeEntry:
    """One structured event: seconds, the agent's arrival stamp in microseconds, JSON in UTF-8."""

    time: float
    stamp: int
    value: bytes


def fold(type: int, state: bytes, partials: Sequence[bytes]) -> bytes:
    """The State that `state` (b"" for the empty one) becomes by folding Partials, in their order."""
    array_of_blobs, _alive = blobs(partials)
    out = new_buffer()
    verify(lib.taba_fold(type, blob_of(state), array_of_blobs, len(partials), out))
    return bytes_of(out)


def reduce(type: int, states: Sequence[bytes]) -> bytes:
    """The State of all clients or tabs whose States are given."""
    array_of_blobs, _alive = blobs(states)
    out = new_buffer()
    verify(lib.taba_reduce(type, array_of_blobs, len(states), out))
    return bytes_of(out)


def check(blob: bytes) -> int:
    """The first byte (Type, and 0x80 for a Partial) of a whole, canonical State or Partial; CodecError for other
    bytes.
    """
    type = ffi.new("int *")
    verify(lib.taba_check(blob_of(blob), type))
    return int(type[0])


def partial_extent(partial: bytes) -> tuple[int, float]:
    """The number of events in a Partial and the time of its newest one (rounded down to its bucket)."""
    events, newest = ffi.new("uint64_t *"), ffi.new("double *")
    verify(lib.taba_partial_extent(blob_of(partial), events, newest))
    return events[0], newest[0]


def state_newest(state: bytes) -> float:
    """The time of the newest event in a CounterGroup's, PercentileGroup's, UniqueGroup's or Gauge's State, rounded
    down to what the State keeps (1 s; 15 s; 15 s; not at all); 0.0 for the empty one. CodecError for what is none.
    """
    newest = ffi.new("double *")
    verify(lib.taba_state_newest(blob_of(state), newest))
    return float(newest[0])


def counter_group_summary(
    state: bytes, time: float, quantiles: Sequence[float]
) -> tuple[list[Window], SketchSummary, list[float]]:
    """A CounterGroup's windows (1m, 10m, 1h, 1d) that end at `time`, its sketch of all time, and quantiles of that."""
    windows, all_time = ffi.new("taba_window[4]"), ffi.new("taba_sketch_summary *")
    values = ffi.new("double[]", len(quantiles))
    verify(
        lib.taba_counter_group_summary(
            blob_of(state), time, windows, all_time, doubles(quantiles), len(quantiles), values, new_buffer()
        )
    )
    return [Window(each.count, each.total) for each in windows], summary_of(all_time), list(values)


def counter_group_buckets(state: bytes, time: float, level: int) -> tuple[int, list[Window]]:
    """All buckets of window `level` (0..3) at `time`, oldest first, and the start of the oldest in seconds."""
    out = ffi.new("taba_window[]", COUNTER_GROUP_LEVELS[level][1])
    first = ffi.new("int64_t *")
    verify(lib.taba_counter_group_buckets(blob_of(state), time, level, first, out))
    return first[0], [Window(each.count, each.total) for each in out]


def percentile_group_summary(
    state: bytes, time: float, quantiles: Sequence[float]
) -> list[tuple[SketchSummary, list[float]]]:
    """Per window (1m, 10m, 1h, 1d) that ends at `time`: summary and quantiles."""
    out = ffi.new("taba_sketch_summary[4]")
    n = len(quantiles)
    values = ffi.new("double[]", 4 * n)
    verify(lib.taba_percentile_group_summary(blob_of(state), time, out, doubles(quantiles), n, values, new_buffer()))
    return [(summary_of(each), list(values[i * n : i * n + n])) for i, each in enumerate(out)]


def unique_hash(value: bytes) -> int:
    """What a UniqueGroup knows of a value: the upper 53 bits of the XXH64 of its bytes."""
    return int(lib.taba_unique_hash(ffi.from_buffer("uint8_t[]", value), len(value)))


def unique_group_summary(state: bytes, time: float) -> list[UniqueWindow]:
    """A UniqueGroup's windows (1m, 10m, 1h, 1d) that end at `time`."""
    out = ffi.new("taba_unique_window[4]")
    verify(lib.taba_unique_group_summary(blob_of(state), time, out, new_buffer()))
    return [UniqueWindow(each.count, each.unique) for each in out]


def unique_group_buckets(state: bytes, time: float, level: int) -> tuple[int, list[UniqueWindow]]:
    """All buckets of window `level` (0..3) at `time`, oldest first, and the start of the oldest in seconds."""
    out = ffi.new("taba_unique_window[]", UNIQUE_GROUP_LEVELS[level][1])
    first = ffi.new("int64_t *")
    verify(lib.taba_unique_group_buckets(blob_of(state), time, level, first, out, new_buffer()))
    return first[0], [UniqueWindow(each.count, each.unique) for each in out]


RENDERED: Final = frozenset((COUNTER_GROUP, PERCENTILE_GROUP, GAUGE, UNIQUE_GROUP))
"""The kinds whose States `render` takes."""


def render(kind: int, states: Sequence[bytes], time: float, detailed: bool = False) -> list[str]:
    """States as text, as they are at `time`; with `detailed` as JSON_DETAILED has them. "" for one that cannot be read,
    and for a Gauge's that the core leaves to Python (see native/include/taba.h).
    """
    array_of_blobs, _alive = blobs(states)
    out, ends = new_buffer(), new_buffer()
    verify(lib.taba_render(kind, detailed, array_of_blobs, len(states), time, out, ends))
    text, shown, start = bytes_of(out), [], 0
    for (end,) in struct.iter_unpack("@N", bytes_of(ends)):
        shown.append(text[start:end].decode())
        start = end
    return shown


def _entries(step: Any, blob: bytes) -> list[GaugeEntry]:
    view, offset, out = ffi.from_buffer("uint8_t[]", blob), ffi.new("size_t *"), ffi.new("taba_gauge_entry *")
    entries = []
    while (code := step((view, len(blob)), offset, out)) == lib.TABA_OK:
        entries.append(GaugeEntry(out.time, out.stamp, ffi.buffer(out.value.bytes, out.value.length)[:]))
    if code != lib.TABA_ELIMIT:
        verify(code)
    return entries


def gauge_entries(state: bytes) -> list[GaugeEntry]:
    """The entries of a Gauge State, ascending by (value, time, stamp)."""
    return _entries(lib.taba_gauge_next, state)


def raw_events(partial: bytes) -> list[GaugeEntry]:
    """The events of a raw Partial, in their order."""
    return _entries(lib.taba_raw_next, partial)
