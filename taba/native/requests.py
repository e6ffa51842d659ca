"""Requests: what one holds, the parsers that fill it, and the accumulator that they are merged into."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from taba.errors import BodySyntaxError, ColumnsError, LimitReached
from taba.native.batches import Section, sections_of
from taba.native.core import REFUSED, blob_of, ffi, lib, new_buffer, owned, verify


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
    max_header: int = 16 << 20
    """Bytes of the header of a frame of columns."""
    max_rows: int = 1 << 18
    """Rows of `tabs` in it."""


@frozen
class ScratchSummary:
    """What a parsed request holds: events accepted, refused by reason, the first refused ones as (line, reason).

    Of columns `line` is the number of bytes; those of the samples are the events' numbers within their rows, from 0,
    and `tabs` has the names in these rows.
    """

    accepted: int
    refused: Mapping[str, int]
    samples: Sequence[tuple[int, str]]
    memory: int
    line: int
    tabs: Sequence[str] = ()


class Scratch:
    """What one request holds, in columns, and the protocol 1 parser that fills it. Merged once into an Accumulator,
    or dropped.
    """

    kept = True
    """Whether who sent it keeps it when it is refused, and sends it again."""

    def __init__(self, limits: Limits, types: Mapping[str, int]) -> None:
        """`types` maps the names of the Types that events may have to RAW, RAW_NUMBER,
        RAW_EXPIRING, COUNTER_GROUP, PERCENTILE_GROUP, UNIQUE_GROUP or GAUGE.
        """
        native_limits = ffi.new(
            "taba_limits *",
            (limits.max_name, limits.max_payload, limits.max_depth, limits.max_memory, limits.newest),
        )
        self._scratch = owned(lib.taba_scratch_new(native_limits, ffi.NULL), lib.taba_scratch_free)
        for name, kind in types.items():
            encoded = name.encode()
            verify(lib.taba_scratch_add_type(self._scratch, encoded, len(encoded), kind))
        self.types = types
        """As they were given."""
        self._limits = limits
        self._parser: Any = self._parser_for(limits)
        self._out = ffi.new("taba_scratch_summary *")
        self._told: ScratchSummary | None = None

    def _parser_for(self, limits: Limits) -> Any:
        return owned(lib.taba_parser_new(self._scratch, ffi.NULL), lib.taba_parser_free)

    def renew(self, newest: float) -> None:
        """Forget the request, and be there for another one, in which times up to `newest` are taken. The memory stays:
        to have it ready, in place and in the caches, saves a quarter of the time of a large body.
        """
        self._parser = None  # the old one goes first
        lib.taba_scratch_clear(self._scratch, newest)
        self._parser = self._parser_for(self._limits)
        self._told = None

    def feed(self, data: bytes) -> None:
        """The next bytes of the body. BodySyntaxError, LimitReached and MemoryError end it: the scratch is to be
        dropped.
        """
        self._parsed(lib.taba_parser_feed(self._parser, *blob_of(data)))

    def finish(self) -> None:
        """The body is whole. Raises as `feed`."""
        self._parsed(lib.taba_parser_finish(self._parser))

    def _parsed(self, code: int) -> None:
        self._told = None
        if code == lib.TABA_ESYNTAX:
            out = ffi.new("taba_scratch_summary *")
            lib.taba_scratch_summary_of(self._scratch, out)
            problem = "not a protocol 1 body" if out.problem == ffi.NULL else ffi.string(out.problem).decode()
            raise BodySyntaxError(out.line, problem)
        if code == lib.TABA_ELIMIT:
            raise LimitReached("memory of one request")
        verify(code)

    def memory(self) -> int:
        """Bytes held: `summary().memory`."""
        lib.taba_scratch_summary_of(self._scratch, self._out)
        return int(self._out.memory)

    def summary(self) -> ScratchSummary:
        """What was parsed so far."""
        if self._told is not None:
            return self._told  # nothing came since
        out = self._out
        lib.taba_scratch_summary_of(self._scratch, out)
        self._told = self._summary_of(out)
        return self._told

    def _summary_of(self, out: Any) -> ScratchSummary:
        return ScratchSummary(
            accepted=out.accepted,
            refused={REFUSED[i]: count for i, count in enumerate(out.refused) if count},
            samples=[(out.sample[i].line, REFUSED[out.sample[i].reason]) for i in range(out.samples)],
            memory=out.memory,
            line=out.line,
        )


@frozen
class ColumnsFacts:
    """What the header of a frame of columns says beside the events: client, number (None for none), `unsent` as JSON
    (b"" for none).
    """

    client: str
    instance: str | None
    batch: int | None
    unsent: bytes


class Columns(Scratch):
    """What one request holds, filled from a frame of columns (POST /v2/events) instead of protocol 1."""

    def _parser_for(self, limits: Limits) -> Any:
        new = lib.taba_columns_new(self._scratch, limits.max_header, limits.max_rows, ffi.NULL)
        return owned(new, lib.taba_columns_free)

    def feed(self, data: bytes) -> None:
        """The next bytes of the body. ColumnsError, LimitReached and MemoryError end it: the scratch is to be
        dropped.
        """
        self._parsed(lib.taba_columns_feed(self._parser, *blob_of(data)))

    def finish(self) -> None:
        """The body is at its end. Raises as `feed`."""
        self._parsed(lib.taba_columns_finish(self._parser))

    def _parsed(self, code: int) -> None:
        self._told = None
        if code == lib.TABA_OK:
            return
        out = ffi.new("taba_scratch_summary *")
        lib.taba_scratch_summary_of(self._scratch, out)
        problem = "not a frame of columns" if out.problem == ffi.NULL else ffi.string(out.problem).decode()
        if code == lib.TABA_ESYNTAX:
            raise ColumnsError(out.line, problem)
        if code == lib.TABA_ELIMIT:
            raise LimitReached(problem)
        verify(code)

    def facts(self) -> ColumnsFacts:
        """What the header says; to be asked once it was read, at the latest after `finish`."""
        out = ffi.new("taba_columns_facts *")
        verify(lib.taba_columns_facts_of(self._parser, out))
        return ColumnsFacts(
            client=_bytes(out.client).decode(),
            instance=_bytes(out.instance).decode() or None,
            batch=out.batch if out.batch >= 0 else None,
            unsent=_bytes(out.unsent),
        )

    def _summary_of(self, out: Any) -> ScratchSummary:
        names = [_bytes(out.sample[i].tab).decode("utf-8", "replace") for i in range(out.samples)]
        return evolve(super()._summary_of(out), tabs=names)


def _bytes(blob: Any) -> bytes:
    result: bytes = ffi.buffer(blob.bytes, blob.length)[:] if blob.length else b""
    return result


class Accumulator:
    """(tab, client, Type) -> Partial, between two commits."""

    def __init__(self) -> None:
        self._accumulator = owned(lib.taba_accumulator_new(ffi.NULL), lib.taba_accumulator_free)

    def merge(self, scratch: Scratch, stamp: int) -> int:
        """Fold the whole of a finished scratch, or, with MemoryError, nothing. Structured events get the stamps from
        `stamp` (microseconds) on; answers with the first stamp not used.
        """
        next_stamp = ffi.new("uint64_t *")
        verify(lib.taba_accumulator_merge(self._accumulator, scratch._scratch, stamp, next_stamp))
        return int(next_stamp[0])

    def encode(self, num_vbuckets: int) -> list[Section]:
        """One section per vbucket that has Partials, ascending. With 0, where the cluster is not known yet, one of
        vbucket 0.
        """
        out, index = new_buffer(), new_buffer()
        verify(lib.taba_accumulator_encode(self._accumulator, num_vbuckets, out, index))
        return sections_of(out, index)

    def summary(self) -> tuple[int, int, int]:
        """(events, Partials, bytes of memory)."""
        out = ffi.new("taba_accumulator_summary *")
        lib.taba_accumulator_summary_of(self._accumulator, out)
        return out.events, out.partials, out.memory

    def partials_memory(self) -> int:
        """Of the bytes of memory those that Partials take."""
        out = ffi.new("taba_accumulator_summary *")
        lib.taba_accumulator_summary_of(self._accumulator, out)
        return int(out.of_partials)

    def clear(self) -> None:
        """Forget everything."""
        lib.taba_accumulator_clear(self._accumulator)
