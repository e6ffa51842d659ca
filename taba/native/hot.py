"""States that a be keeps in memory, and the Partials that wait for them: no Python object for each."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from taba.native.batches import ENTRY, read_index
from taba.native.core import blob_of, blobs, bytes_of, ffi, lib, new_buffer, owned, verify

AGGREGATE: Final = ""
"""The client under which a tab's running Aggregate is kept."""

_ROW: Final = struct.Struct("@IIIPNQ")
"""A taba_waiting_row."""
_STATE: Final = struct.Struct("@IINNN")
"""A taba_hot_state."""
_PLACE: Final = struct.Struct("@III")
"""What taba_waiting_vacant tells."""
_TAB: Final = struct.Struct("@I")
_TYPED: Final = struct.Struct("@II")

Changed = list[tuple[str, list[tuple[str, bytes]]]]
"""Of each tab its changed States: (client, State)."""
Taken = tuple[str, str, str, int, bytes, int, int, float]
"""See `batch_partials`."""
Learn = Callable[[Sequence[Taken]], bool]
"""See `WaitingPartials.take`."""


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

    def know(self, tab: str, type: str, kind: int, running: bool) -> None:
        """From now on Partials of a tab and this Type may be taken for any client; with kind 0 none is, and it is not
        asked again what the tab is.
        """
        verify(lib.taba_hot_know(self._hot, blob_of(tab.encode()), blob_of(type.encode()), kind, running))

    def forget_tabs(self) -> None:
        """What was said of tabs may be true no more."""
        lib.taba_hot_forget_tabs(self._hot)

    def fill(self, places: Sequence[int], states: Sequence[bytes], stored: bool) -> None:
        """Give States to places (see `WaitingPartials.vacant`); `stored` is whether the store has them."""
        array_of_blobs, _alive = blobs(states)
        numbers = ffi.from_buffer("uint32_t[]", array("I", places))
        verify(lib.taba_hot_fill(self._hot, numbers, array_of_blobs, len(states), stored))

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

    def take(self, batch: bytes, newest: float, learn: Learn) -> tuple[list[Taken], int]:
        """Take what can be taken of a batch, none newer than `newest`: what is left of it, as `batch_partials` has it,
        and how many events were taken. CodecError when the batch is malformed; nothing is taken then.

        `learn` is given, of each tab that is not known, the first Partial in the same form; it makes tabs known, and
        says whether it did: then what was left is tried again.
        """
        left, unknown, events = new_buffer(), new_buffer(), ffi.new("uint64_t *")
        before, hot, blob = len(self), self._hot._hot, blob_of(batch)
        verify(lib.taba_hot_take(hot, self._waiting, blob, newest, left, unknown, events))
        taken = events[0]
        if lib.taba_buffer_length(unknown) and learn(list(read_index(batch, _picked(left, unknown)))):
            still = new_buffer()
            verify(lib.taba_hot_take_left(hot, self._waiting, blob, newest, left, still, events))
            left, taken = still, taken + events[0]
        if len(self) > before:
            self._batches.append(batch)  # it holds what was taken
        return list(read_index(batch, bytes_of(left))), taken

    def vacant(self) -> list[tuple[int, str, str]]:
        """The States that something waits for and that are not here: (place, tab, client)."""
        out = new_buffer()
        verify(lib.taba_waiting_vacant(self._waiting, self._hot._hot, out))
        names = self._hot._known()
        return [(place, names[tab], names[client]) for place, tab, client in _PLACE.iter_unpack(bytes_of(out))]

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

    def fold(self) -> tuple[Changed, dict[tuple[str, str], bytes]]:
        """Fold into the States: the new ones, tab by tab, and by (tab, client) those that the store has none of yet."""
        changed, fresh, _ = self._fold(False)
        return changed, fresh

    def fold_aggregates(self) -> tuple[dict[str, bytes], list[str]]:
        """After `fold`, fold into the Aggregates: the new ones, and the tabs whose Aggregate is damaged, or missing."""
        changed, _, damaged = self._fold(True)
        return {tab: states[0][1] for tab, states in changed}, damaged

    def _fold(self, aggregates: bool) -> tuple[Changed, dict[tuple[str, str], bytes], list[str]]:
        states, index, damaged = new_buffer(), new_buffer(), new_buffer()
        verify(lib.taba_hot_fold(self._hot._hot, self._waiting, aggregates, states, index, damaged))
        names, view = self._hot._known(), bytes_of(states)
        changed: Changed = []
        fresh: dict[tuple[str, str], bytes] = {}
        last = -1
        some: list[tuple[str, bytes]] = []
        for tab, client, offset, length, is_fresh in _STATE.iter_unpack(bytes_of(index)):
            if is_fresh:
                fresh[names[tab], names[client]] = view[offset : offset + length]
                continue
            if tab != last:
                last = tab
                some = []
                changed.append((names[tab], some))
            some.append((names[client], view[offset : offset + length]))
        return changed, fresh, [names[tab] for (tab,) in _TAB.iter_unpack(bytes_of(damaged))]


def _picked(left: Any, places: Any) -> bytes:
    """Some rows of an array of taba_entry."""
    rows, size = bytes_of(left), ENTRY.size
    return b"".join(rows[at * size : at * size + size] for (at,) in struct.iter_unpack("@Q", bytes_of(places)))
