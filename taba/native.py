"""The native core as Python objects: the only module that touches `taba._native`.

Bytes in, bytes out; the manual is native/include/taba.h, the encodings are docs/reference/states-and-partials.md and
batches.md. Codes become the exceptions of `taba.errors`. Calls release the GIL. A `Sketch`, `Scratch` or
`Accumulator` belongs to one thread at a time; the functions may be called in any thread.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

import taba
from taba.errors import BodySyntaxError, CorruptBlob, LimitReached, UnknownVersion, WrongType

try:
    from taba._native import ffi, lib
except ImportError as problem:
    raise ImportError(
        f"taba._native is missing or does not fit this Python ({problem}). Install Taba with pip, which builds it: "
        "'pip install .' in a checkout, with a C compiler and the Python headers at hand."
    ) from problem

RAW: Final[int] = lib.TABA_RAW
COUNTER_GROUP: Final[int] = lib.TABA_COUNTER_GROUP
PERCENTILE_GROUP: Final[int] = lib.TABA_PERCENTILE_GROUP
GAUGE: Final[int] = lib.TABA_GAUGE
PARTIAL: Final[int] = lib.TABA_PARTIAL
"""Or-ed to the kind in the first byte of a Partial."""

COUNTER_GROUP_LEVELS: Final = ((1, 60), (10, 60), (30, 120), (900, 96))
"""(width in seconds, number of buckets) of CounterGroup's windows 1m, 10m, 1h, 1d."""

VERSION: Final[str] = ffi.string(lib.taba_version()).decode()
if taba.__version__ != VERSION:
    raise ImportError(
        f"taba._native is of version {VERSION}, the package of {taba.__version__}. Install Taba again: 'pip install .'"
    )

REFUSED: Final[tuple[str, ...]] = tuple(
    ffi.string(lib.taba_refused_name(reason)).decode() for reason in range(lib.TABA_REFUSED_REASONS)
)
"""The reasons for which a single event is refused, in the order of their numbers."""


@frozen
class Window:
    """Count and total of the events of a window or bucket."""

    count: int
    total: float


@frozen
class SketchSummary:
    """What a sketch knows exactly, and the bound of the relative error of its quantiles (0 while it is exact)."""

    count: int
    sum: float
    min: float
    max: float
    error: float


@frozen
class GaugeEntry:
    """One structured event: seconds, the agent's arrival stamp in microseconds, JSON in UTF-8."""

    time: float
    stamp: int
    value: bytes


@frozen
class Limits:
    """What a request may hold; see `taba_limits` in the header. `newest` is the latest time that is not in the
    future.
    """

    newest: float = math.inf
    max_name: int = 512
    max_payload: int = 1 << 20
    max_depth: int = 64
    max_memory: int = 1 << 30


@frozen
class ScratchSummary:
    """What a parsed request holds: events accepted, refused by reason, the first refused ones as (line, reason)."""

    accepted: int
    refused: Mapping[str, int]
    samples: Sequence[tuple[int, str]]
    memory: int
    line: int


@frozen
class Section:
    """The Partials of one vbucket, encoded, and how many events they hold."""

    vbucket: int
    events: int
    data: bytes = field(repr=False)


_ENTRY = struct.Struct("@8NQQdii")
"""A taba_entry."""


@frozen
class Entry:
    """One Partial of a batch with its names."""

    tab: str
    client: str
    type: str
    events: int
    partial: bytes = field(repr=False)


def _check(code: int) -> None:
    """Raise what a status code stands for."""
    if code == lib.TABA_OK:
        return
    sentence = ffi.string(lib.taba_strerror(code)).decode()
    if code == lib.TABA_ENOMEM:
        raise MemoryError(sentence)
    raise {
        lib.TABA_ECORRUPT: CorruptBlob,
        lib.TABA_ETYPE: WrongType,
        lib.TABA_EVERSION: UnknownVersion,
        lib.TABA_ELIMIT: LimitReached,
    }.get(code, ValueError)(sentence)


def _owned(pointer: Any, free: Any) -> Any:
    """A handle that is freed with its Python object."""
    if pointer == ffi.NULL:
        raise MemoryError("out of memory")
    return ffi.gc(pointer, free)


def _buffer() -> Any:
    return _owned(lib.taba_buffer_new(ffi.NULL), lib.taba_buffer_free)


def _bytes(buffer: Any) -> bytes:
    result: bytes = ffi.buffer(lib.taba_buffer_bytes(buffer), lib.taba_buffer_length(buffer))[:]
    return result


def _blob(data: bytes) -> tuple[Any, int]:
    return (ffi.from_buffer("uint8_t[]", data), len(data))


def _blobs(parts: Sequence[bytes]) -> tuple[Any, Any]:
    """An array of blobs, and what must stay alive as long as it is used.

    The parts are joined, and the array is written as numbers: a view of each part costs ten times as much.
    """
    view = ffi.from_buffer("uint8_t[]", b"".join(parts))
    at = int(ffi.cast("uintptr_t", view))
    rows = array("L")  # as wide as a pointer and a size_t
    for part in parts:
        length = len(part)
        rows.append(at)
        rows.append(length)
        at += length
    return ffi.from_buffer("taba_blob[]", rows), (view, rows)


def _doubles(values: Iterable[float]) -> Any:
    return ffi.from_buffer("double[]", values if isinstance(values, array) else array("d", values))


def crc32c(data: bytes, crc: int = 0) -> int:
    """CRC-32C (Castagnoli) of `data`, going on from `crc`."""
    return int(lib.taba_crc32c(crc, ffi.from_buffer("uint8_t[]", data), len(data)))


def crc32(data: bytes, crc: int = 0) -> int:
    """The CRC-32 of zlib, by which tabs are dealt to vbuckets."""
    return int(lib.taba_crc32(crc, ffi.from_buffer("uint8_t[]", data), len(data)))


def _summary(out: Any) -> SketchSummary:
    return SketchSummary(out.count, out.sum, out.min, out.max, out.error)


class Sketch:
    """An exponential histogram with a bounded relative error; see the header."""

    def __init__(self) -> None:
        self._sketch = _owned(lib.taba_sketch_new(ffi.NULL), lib.taba_sketch_free)

    def add(self, values: Sequence[float]) -> None:
        """Add finite values; ValueError, and none is added, when one is not finite."""
        _check(lib.taba_sketch_add(self._sketch, _doubles(values), len(values)))

    def merge(self, other: Sketch) -> None:
        """Add all that another sketch holds."""
        if other is self:
            raise ValueError("a sketch cannot be merged into itself")
        _check(lib.taba_sketch_merge(self._sketch, other._sketch))

    def summary(self) -> SketchSummary:
        """Count, sum, minimum, maximum and error bound."""
        out = ffi.new("taba_sketch_summary *")
        lib.taba_sketch_summary_of(self._sketch, out)
        return _summary(out)

    def quantiles(self, quantiles: Sequence[float]) -> list[float]:
        """The values of rank min(trunc(q * count), count - 1); 0.0 when empty. ValueError for a q outside [0, 1]."""
        out = ffi.new("double[]", len(quantiles))
        _check(lib.taba_sketch_quantiles(self._sketch, _doubles(quantiles), len(quantiles), out))
        return list(out)

    def encode(self) -> bytes:
        """The sketch as bytes."""
        out = _buffer()
        _check(lib.taba_sketch_encode(self._sketch, out))
        return _bytes(out)

    @classmethod
    def decode(cls, data: bytes) -> Sketch:
        """The sketch that `data` is the encoding of; CodecError when it is none, or when bytes follow."""
        sketch = cls()
        used = ffi.new("size_t *")
        _check(lib.taba_sketch_decode(sketch._sketch, *_blob(data), used))
        if used[0] != len(data):
            raise CorruptBlob("bytes after the end of a sketch")
        return sketch


def fold(type: int, state: bytes, partials: Sequence[bytes]) -> bytes:
    """The State that `state` (b"" for the empty one) becomes by folding Partials, in their order."""
    array_of_blobs, alive = _blobs(partials)
    out = _buffer()
    _check(lib.taba_fold(type, _blob(state), array_of_blobs, len(partials), out))
    return _bytes(out)


def reduce(type: int, states: Sequence[bytes]) -> bytes:
    """The State of all clients or tabs whose States are given."""
    array_of_blobs, alive = _blobs(states)
    out = _buffer()
    _check(lib.taba_reduce(type, array_of_blobs, len(states), out))
    return _bytes(out)


def check(blob: bytes) -> int:
    """The first byte (Type, and 0x80 for a Partial) of a whole, canonical State or Partial; CodecError for other
    bytes.
    """
    type = ffi.new("int *")
    _check(lib.taba_check(_blob(blob), type))
    return int(type[0])


def partial_extent(partial: bytes) -> tuple[int, float]:
    """The number of events in a Partial and the time of its newest one (rounded down to its bucket)."""
    events, newest = ffi.new("uint64_t *"), ffi.new("double *")
    _check(lib.taba_partial_extent(_blob(partial), events, newest))
    return events[0], newest[0]


def counter_group_summary(
    state: bytes, time: float, quantiles: Sequence[float]
) -> tuple[list[Window], SketchSummary, list[float]]:
    """A CounterGroup's windows (1m, 10m, 1h, 1d) that end at `time`, its sketch of all time, and quantiles of that."""
    windows, all_time = ffi.new("taba_window[4]"), ffi.new("taba_sketch_summary *")
    values = ffi.new("double[]", len(quantiles))
    _check(
        lib.taba_counter_group_summary(
            _blob(state), time, windows, all_time, _doubles(quantiles), len(quantiles), values, _buffer()
        )
    )
    return [Window(each.count, each.total) for each in windows], _summary(all_time), list(values)


def counter_group_buckets(state: bytes, time: float, level: int) -> tuple[int, list[Window]]:
    """All buckets of window `level` (0..3) at `time`, oldest first, and the start of the oldest in seconds."""
    out = ffi.new("taba_window[]", COUNTER_GROUP_LEVELS[level][1])
    first = ffi.new("int64_t *")
    _check(lib.taba_counter_group_buckets(_blob(state), time, level, first, out))
    return first[0], [Window(each.count, each.total) for each in out]


def percentile_group_summary(
    state: bytes, time: float, quantiles: Sequence[float]
) -> list[tuple[SketchSummary, list[float]]]:
    """Per window (1m, 10m, 1h, 1d) that ends at `time`: summary and quantiles."""
    out = ffi.new("taba_sketch_summary[4]")
    n = len(quantiles)
    values = ffi.new("double[]", 4 * n)
    _check(lib.taba_percentile_group_summary(_blob(state), time, out, _doubles(quantiles), n, values, _buffer()))
    return [(_summary(each), list(values[i * n : i * n + n])) for i, each in enumerate(out)]


def _entries(step: Any, blob: bytes) -> list[GaugeEntry]:
    view, offset, out = ffi.from_buffer("uint8_t[]", blob), ffi.new("size_t *"), ffi.new("taba_gauge_entry *")
    entries = []
    while (code := step((view, len(blob)), offset, out)) == lib.TABA_OK:
        entries.append(GaugeEntry(out.time, out.stamp, ffi.buffer(out.value.bytes, out.value.length)[:]))
    if code != lib.TABA_ELIMIT:
        _check(code)
    return entries


def gauge_entries(state: bytes) -> list[GaugeEntry]:
    """The entries of a Gauge State, ascending by (value, time, stamp)."""
    return _entries(lib.taba_gauge_next, state)


def raw_events(partial: bytes) -> list[GaugeEntry]:
    """The events of a raw Partial, in their order."""
    return _entries(lib.taba_raw_next, partial)


class Scratch:
    """What one request holds, in columns, and the protocol 1 parser that fills it. Merged once into an Accumulator,
    or dropped.
    """

    def __init__(self, limits: Limits, types: Mapping[str, int]) -> None:
        """`types` maps the names of the Types that events may have to RAW, COUNTER_GROUP, PERCENTILE_GROUP or GAUGE."""
        native_limits = ffi.new(
            "taba_limits *",
            (limits.max_name, limits.max_payload, limits.max_depth, limits.max_memory, limits.newest),
        )
        self._scratch = _owned(lib.taba_scratch_new(native_limits, ffi.NULL), lib.taba_scratch_free)
        for name, kind in types.items():
            encoded = name.encode()
            _check(lib.taba_scratch_add_type(self._scratch, encoded, len(encoded), kind))
        self._parser = _owned(lib.taba_parser_new(self._scratch, ffi.NULL), lib.taba_parser_free)

    def feed(self, data: bytes) -> None:
        """The next bytes of the body. BodySyntaxError, LimitReached and MemoryError end it: the scratch is to be
        dropped.
        """
        self._parsed(lib.taba_parser_feed(self._parser, *_blob(data)))

    def finish(self) -> None:
        """The body is whole. Raises as `feed`."""
        self._parsed(lib.taba_parser_finish(self._parser))

    def _parsed(self, code: int) -> None:
        if code == lib.TABA_ESYNTAX:
            out = ffi.new("taba_scratch_summary *")
            lib.taba_scratch_summary_of(self._scratch, out)
            problem = "not a protocol 1 body" if out.problem == ffi.NULL else ffi.string(out.problem).decode()
            raise BodySyntaxError(out.line, problem)
        if code == lib.TABA_ELIMIT:
            raise LimitReached("memory of one request")
        _check(code)

    def summary(self) -> ScratchSummary:
        """What was parsed so far."""
        out = ffi.new("taba_scratch_summary *")
        lib.taba_scratch_summary_of(self._scratch, out)
        return ScratchSummary(
            accepted=out.accepted,
            refused={REFUSED[i]: count for i, count in enumerate(out.refused) if count},
            samples=[(out.sample[i].line, REFUSED[out.sample[i].reason]) for i in range(out.samples)],
            memory=out.memory,
            line=out.line,
        )


class Accumulator:
    """(tab, client, Type) -> Partial, between two commits."""

    def __init__(self) -> None:
        self._accumulator = _owned(lib.taba_accumulator_new(ffi.NULL), lib.taba_accumulator_free)

    def merge(self, scratch: Scratch, stamp: int) -> int:
        """Fold the whole of a finished scratch, or, with MemoryError, nothing. Structured events get the stamps from
        `stamp` (microseconds) on; answers with the first stamp not used.
        """
        next_stamp = ffi.new("uint64_t *")
        _check(lib.taba_accumulator_merge(self._accumulator, scratch._scratch, stamp, next_stamp))
        return int(next_stamp[0])

    def encode(self, num_vbuckets: int) -> list[Section]:
        """One section per vbucket that has Partials, ascending. With 0, where the cluster is not known yet, one of
        vbucket 0.
        """
        out, index = _buffer(), _buffer()
        _check(lib.taba_accumulator_encode(self._accumulator, num_vbuckets, out, index))
        return _sections(out, index)

    def summary(self) -> tuple[int, int, int]:
        """(events, Partials, bytes of memory)."""
        out = ffi.new("taba_accumulator_summary *")
        lib.taba_accumulator_summary_of(self._accumulator, out)
        return out.events, out.partials, out.memory

    def clear(self) -> None:
        """Forget everything."""
        lib.taba_accumulator_clear(self._accumulator)


def _sections(out: Any, index: Any) -> list[Section]:
    n = lib.taba_buffer_length(index) // ffi.sizeof("taba_section")
    rows = ffi.cast("taba_section *", lib.taba_buffer_bytes(index))
    data = lib.taba_buffer_bytes(out)
    return [
        Section(row.vbucket, row.events, ffi.buffer(data + row.offset, row.length)[:])
        for row in (rows[i] for i in range(n))
    ]


def batch_entries(batch: bytes) -> list[Entry]:
    """The Partials of a batch, with their names. CodecError when the batch is malformed."""
    index = _buffer()
    _check(lib.taba_batch_index(_blob(batch), index))
    n = lib.taba_buffer_length(index) // ffi.sizeof("taba_entry")
    rows = ffi.cast("taba_entry *", lib.taba_buffer_bytes(index))
    entries = []
    for i in range(n):
        row = rows[i]
        tab, client, type, partial = row.tab, row.client, row.type, row.partial
        entries.append(
            Entry(
                batch[tab : tab + row.tab_length].decode(),
                batch[client : client + row.client_length].decode(),
                batch[type : type + row.type_length].decode(),
                row.events,
                batch[partial : partial + row.partial_length],
            )
        )
    return entries


def batch_partials(batch: bytes) -> Iterator[tuple[str, str, str, int, bytes, int, int, float]]:
    """The Partials of a batch with their names and extents, for whoever takes many of them: tab, client, Type, events
    as the batch says, the Partial, its first byte (-1 when its extent cannot be read), its own events, the time of
    the newest. CodecError, at the first step, when the batch is malformed.
    """
    index = _buffer()
    _check(lib.taba_batch_index(_blob(batch), index))
    names: dict[int, str] = {}
    rows = ffi.buffer(lib.taba_buffer_bytes(index), lib.taba_buffer_length(index))
    for (
        tab, tab_length, client, client_length, type, type_length, partial, length, events, own, newest, status, first
    ) in _ENTRY.iter_unpack(rows):  # fmt: skip
        yield (
            names.get(tab) or names.setdefault(tab, batch[tab : tab + tab_length].decode()),
            names.get(client) or names.setdefault(client, batch[client : client + client_length].decode()),
            names.get(type) or names.setdefault(type, batch[type : type + type_length].decode()),
            events,
            batch[partial : partial + length],
            first if status == lib.TABA_OK else -1,
            own,
            newest,
        )


def batch_split(batch: bytes, num_vbuckets: int) -> list[Section]:
    """A batch cut into one section per vbucket, ascending."""
    out, index = _buffer(), _buffer()
    _check(lib.taba_batch_split(_blob(batch), num_vbuckets, out, index))
    return _sections(out, index)
