"""States that a be keeps in memory, and the Partials that wait for them: no Python object for each."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from taba.native.batches import read_index
from taba.native.core import blob_of, bytes_of, ffi, lib, new_buffer, owned, verify

AGGREGATE: Final = ""
"""The client under which a tab's running Aggregate is kept."""

_ROW: Final = struct.Struct("@IIIPNQ")
"""A taba_waiting_row."""
_STATE: Final = struct.Struct("@IINN")
"""A taba_hot_state."""
_TAB: Final = struct.Struct("@I")
_TYPED: Final = struct.Struct("@II")

Changed = list[tuple[str, list[tuple[str, bytes]]]]
"""Of each tab its changed States: (client, State)."""
Taken = tuple[str, str, str, int, bytes, int, int, float]
"""See `batch_partials`."""


class HotStates:
    """The States of one vbucket, and with client `AGGREGATE` the running Aggregates, of native Types. One thread at a
    time.
    """

    def __init__(self) -> None:
        self._hot = owned(lib.taba_hot_new(ffi.NULL), lib.taba_hot_free)
        self._names: list[str] = []

    @property
    def memory(self) -> int:
        """Bytes held."""
        return int(lib.taba_hot_memory(self._hot))

    def put(self, tab: str, client: str, type: str, kind: int, running: bool, state: bytes) -> None:
        """Keep a State: from now on Partials of this (tab, client, Type) may be taken."""
        names = [blob_of(name.encode()) for name in (tab, client, type)]
        verify(lib.taba_hot_put(self._hot, *names, kind, running, blob_of(state)))

    def update(self, tab: str, client: str, state: bytes | None) -> bool:
        """Replace a State that is there, or with None forget it; whether it was there."""
        found = ffi.new("int *")
        given = ffi.NULL if state is None else ffi.new("taba_blob *", blob_of(state))
        verify(lib.taba_hot_update(self._hot, blob_of(tab.encode()), blob_of(client.encode()), given, found))
        return bool(found[0])

    def get(self, tab: str, client: str) -> bytes | None:
        """A State; None when it is not there."""
        out = ffi.new("taba_blob *")
        verify(lib.taba_hot_get(self._hot, blob_of(tab.encode()), blob_of(client.encode()), out))
        return None if out.bytes == ffi.NULL else bytes(ffi.buffer(out.bytes, out.length))

    def sweep(self, keep: bool) -> None:
        """Forget what was not used since the last call, or, without `keep`, everything. No Partial may be waiting."""
        verify(lib.taba_hot_sweep(self._hot, keep))
        self._names.clear()

    def _known(self) -> list[str]:
        """The names, by their numbers."""
        names = self._names
        out = ffi.new("taba_blob *")
        for number in range(len(names), lib.taba_hot_names(self._hot)):
            verify(lib.taba_hot_name(self._hot, number, out))
            names.append(bytes(ffi.buffer(out.bytes, out.length)).decode())
        return names


class WaitingPartials:
    """The Partials that wait for one checkpoint of hot States."""

    def __init__(self, hot: HotStates) -> None:
        self._hot = hot
        self._waiting = owned(lib.taba_waiting_new(ffi.NULL), lib.taba_waiting_free)
        self._batches: list[bytes] = []

    def __len__(self) -> int:
        return int(lib.taba_waiting_count(self._waiting))

    @property
    def memory(self) -> int:
        """Bytes held, without the batches."""
        return int(lib.taba_waiting_memory(self._waiting))

    def take(self, batch: bytes, newest: float) -> tuple[list[Taken], int]:
        """Take what can be taken of a batch, none newer than `newest`: what is left of it, as `batch_partials` has it,
        and how many events were taken. CodecError when the batch is malformed; nothing is taken then.
        """
        left, events = new_buffer(), ffi.new("uint64_t *")
        before = len(self)
        verify(lib.taba_hot_take(self._hot._hot, self._waiting, blob_of(batch), newest, left, events))
        if len(self) > before:
            self._batches.append(batch)  # it holds what was taken
        return list(read_index(batch, left)), events[0]

    def rows(self, failed: bool = False) -> Iterator[tuple[str, str, str, int, bytes]]:
        """What waits, State by State: tab, client, Type, events, Partial; with `failed` of those States only that the
        last fold could not fold into.
        """
        out = new_buffer()
        verify(lib.taba_waiting_rows(self._waiting, self._hot._hot, failed, out))
        names = self._hot._known()
        for tab, client, type, partial, length, events in _ROW.iter_unpack(bytes_of(out)):
            found = bytes(ffi.buffer(ffi.cast("char *", partial), length))
            yield names[tab], names[client], names[type], events, found

    def missing(self) -> list[tuple[str, str]]:
        """The tabs, with their Types, whose Aggregate the fold needs and that is not hot. To be called before each
        fold, and these to be put.
        """
        out = new_buffer()
        verify(lib.taba_waiting_tabs(self._waiting, self._hot._hot, out))
        names = self._hot._known()
        return [(names[tab], names[type]) for tab, type in _TYPED.iter_unpack(bytes_of(out))]

    def fold(self) -> Changed:
        """Fold into the States: the new ones, tab by tab."""
        changed, _ = self._fold(False)
        return changed

    def fold_aggregates(self) -> tuple[dict[str, bytes], list[str]]:
        """After `fold`, fold into the Aggregates: the new ones, and the tabs whose Aggregate is damaged, or missing."""
        changed, damaged = self._fold(True)
        return {tab: states[0][1] for tab, states in changed}, damaged

    def _fold(self, aggregates: bool) -> tuple[Changed, list[str]]:
        states, index, damaged = new_buffer(), new_buffer(), new_buffer()
        verify(lib.taba_hot_fold(self._hot._hot, self._waiting, aggregates, states, index, damaged))
        names, view = self._hot._known(), bytes_of(states)
        changed: Changed = []
        last = -1
        some: list[tuple[str, bytes]] = []
        for tab, client, offset, length in _STATE.iter_unpack(bytes_of(index)):
            if tab != last:
                last = tab
                some = []
                changed.append((names[tab], some))
            some.append((names[client], view[offset : offset + length]))
        return changed, [names[tab] for (tab,) in _TAB.iter_unpack(bytes_of(damaged))]
