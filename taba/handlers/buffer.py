"""Buffer: the values of many events, each shown until it expires; the 1,000 that stay longest.

A State is a function of the set of its events alone: the newest of their times, and the entries that may still be
shown, in a total order (the longest expiry first, then by time, the agent's arrival stamp and the bytes of the value).
So the laws of `taba.interfaces.IHandler` hold bit for bit for any values. Folding reads no clock: an entry leaves when
it expired before `HINDSIGHT` seconds ahead of the newest event, since no answer is of an earlier time than that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import field, frozen
from zope.interface import implementer

from taba import native
from taba.errors import CorruptBlob
from taba.handlers.encoding import Reader, check_canonical, encode_f64, encode_uvarint, head, present
from taba.handlers.expiring import Entry, arrived, decode_json, read_entries, written
from taba.interfaces import IHandler, Style

STATE: Final = 0x07
"""The first byte of a State."""
VERSION: Final = 1
MAX_ENTRIES: Final = 1000
HINDSIGHT: Final = 90.0
"""Seconds: events may be 60 s (MAX_CLOCK_SKEW) ahead of the time of asking, and answers 30 s behind it."""
LIFETIME: Final = 24 * 3600.0
"""Seconds after its time for which a bare value is shown."""


def _place(entry: Entry) -> tuple[float, float, int, bytes]:
    return -entry.expiry, entry.time, entry.stamp, entry.value


@frozen
class Held:
    """What a State holds: the time of the newest event, and entries in their order."""

    newest: float
    entries: Sequence[Entry] = field(repr=False)

    @classmethod
    def of(cls, newest: float, entries: Iterable[Entry]) -> Held:
        """Those of `entries` that a State with that newest event keeps."""
        oldest = newest - HINDSIGHT
        kept = sorted((entry for entry in entries if entry.expiry > oldest), key=_place)
        return cls(newest, kept[:MAX_ENTRIES])

    def encode(self) -> bytes:
        """The one encoding."""
        front = head(STATE, VERSION) + encode_f64(self.newest) + encode_uvarint(len(self.entries))
        return front + b"".join(entry.encode() for entry in self.entries)

    @classmethod
    def decode(cls, state: bytes) -> Held:
        """What a State, not the empty one, holds; CodecError for what is none."""
        reader = Reader.of_state(state, STATE, VERSION)
        newest = reader.f64()
        entries = read_entries(reader)
        reader.end()
        if any(entry.time > newest for entry in entries):
            raise CorruptBlob("an entry that is newer than the newest")
        held = cls.of(newest, entries)
        check_canonical(state, held.encode())
        return held


def _merged(parts: Sequence[Held]) -> bytes:
    if not parts:
        return b""
    newest = max(part.newest for part in parts)
    return Held.of(newest, (entry for part in parts for entry in part.entries)).encode()


@implementer(IHandler)
@frozen
class Buffer:
    """Events carry [VALUE, EXPIRY]: any JSON, and the time in seconds since 1970 until which it is shown; or a bare
    VALUE, any JSON but an array of two whose second is a number.
    """

    lifetime: float = LIFETIME
    """Seconds after its time for which a bare value is shown."""

    name = "Buffer"
    kind = native.RAW
    running_aggregate = False
    version = VERSION

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """See `IHandler.fold`."""
        parts = [Held.decode(state)] if state else []
        for partial in partials:
            entries = list(arrived(partial, self.lifetime))
            parts.append(Held(max(entry.time for entry in entries), entries))
        return _merged(parts)

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """See `IHandler.reduce`; of all clients together 1,000 entries stay, too."""
        return _merged([Held.decode(state) for state in states if state])

    def render(self, state: bytes, time: float, style: Style) -> str:
        """`[[VALUE, TIME], ...]` of what has not expired, the longest expiry first; the same in every style."""
        entries = Held.decode(state).entries if state else ()
        shown = [[decode_json(entry.value), entry.time] for entry in entries if entry.expiry > time]
        return written(json.dumps(shown, ensure_ascii=False))

    def expired(self, state: bytes, time: float) -> bool:
        """Whether every entry has expired at `time`."""
        return not state or all(entry.expiry <= time for entry in Held.decode(state).entries)

    def upgrade(self, state: bytes) -> bytes:
        """There is one version so far; CodecError for a State of another version or Type."""
        return present(state, STATE, VERSION)

    def newest(self, state: bytes) -> float:
        """See `IHandler.newest`: the exact time, whether or not that event has an entry."""
        return Held.decode(state).newest if state else 0.0

    def merge(self, older: bytes, newer: bytes) -> bytes:
        """See `IHandler.merge`."""
        return self.reduce([older, newer])
