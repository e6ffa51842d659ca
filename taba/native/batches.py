"""Batches: sections of Partials with their names."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from attrs import field, frozen

from taba.native.core import blob_of, ffi, lib, new_buffer, verify

_ENTRY = struct.Struct("@8NQQdii")
"""A taba_entry."""


@frozen
class Section:
    """The Partials of one vbucket, encoded, and how many events they hold."""

    vbucket: int
    events: int
    data: bytes = field(repr=False)


@frozen
class Entry:
    """One Partial of a batch with its names."""

    tab: str
    client: str
    type: str
    events: int
    partial: bytes = field(repr=False)


def sections_of(out: Any, index: Any) -> list[Section]:
    """The sections that a call wrote, by the index that it wrote."""
    n = lib.taba_buffer_length(index) // ffi.sizeof("taba_section")
    rows = ffi.cast("taba_section *", lib.taba_buffer_bytes(index))
    data = lib.taba_buffer_bytes(out)
    return [
        Section(row.vbucket, row.events, ffi.buffer(data + row.offset, row.length)[:])
        for row in (rows[i] for i in range(n))
    ]


def batch_entries(batch: bytes) -> list[Entry]:
    """The Partials of a batch, with their names. CodecError when the batch is malformed."""
    return [Entry(*row[:5]) for row in batch_partials(batch)]


def batch_partials(batch: bytes) -> Iterator[tuple[str, str, str, int, bytes, int, int, float]]:
    """The Partials of a batch with their names and extents, for whoever takes many of them: tab, client, Type, events
    as the batch says, the Partial, its first byte (-1 when its extent cannot be read), its own events, the time of
    the newest. CodecError, at the first step, when the batch is malformed.
    """
    index = new_buffer()
    verify(lib.taba_batch_index(blob_of(batch), index))
    yield from read_index(batch, index)


def read_index(batch: bytes, index: Any) -> Iterator[tuple[str, str, str, int, bytes, int, int, float]]:
    """The Partials of a batch that an index, a buffer of taba_entry, names: see `batch_partials`."""
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
    out, index = new_buffer(), new_buffer()
    verify(lib.taba_batch_split(blob_of(batch), num_vbuckets, out, index))
    return sections_of(out, index)
