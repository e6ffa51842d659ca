"""TotalsCounter: how many, how much and how much on average, of all time.

Its events travel as CounterGroup's do, so that what is no number is refused alone where it comes in. The laws of
`taba.interfaces.IHandler` hold bit for bit while values are whole numbers; totals of fractions agree to rounding. A
State never expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen
from zope.interface import implementer

from taba import native
from taba.errors import CorruptBlob
from taba.handlers.encoding import (
    MAX_COUNT,
    Reader,
    add,
    add_counts,
    check_canonical,
    encode_number,
    encode_svarint,
    encode_uvarint,
    head,
    present,
)
from taba.handlers.minute_sketches import minute_sketches, newest_second
from taba.handlers.rendering import window
from taba.interfaces import IHandler, Style

STATE: Final = 0x04
"""The first byte of a State."""
VERSION: Final = 1


@frozen
class Totals:
    """What a State holds: the number of events, the sum of their values, and the second of the newest one."""

    count: int = 0
    total: float = 0.0
    newest: int = 0
    """Its start, in whole seconds since 1970; without a meaning while there are no events."""

    def plus(self, other: Totals) -> Totals:
        """These and further events. ValueError for more than 2**61."""
        if not self.count or not other.count:
            return self if self.count else other
        total = add(self.total, other.total)
        return Totals(add_counts(self.count, other.count), total, max(self.newest, other.newest))

    def plus_partial(self, partial: bytes) -> Totals:
        """These and the events of a CounterGroup's Partial. CodecError for other bytes."""
        totals = self
        sketches = minute_sketches(partial)
        newest = newest_second(partial)
        for sketch in sketches:
            summary = sketch.summary()
            totals = totals.plus(Totals(summary.count, summary.sum, newest))
        return totals

    def encode(self) -> bytes:
        """The one encoding."""
        if not self.count:
            return b""
        kind, total = encode_number(self.total)
        return head(STATE, VERSION) + bytes((kind,)) + encode_uvarint(self.count) + total + encode_svarint(self.newest)

    @classmethod
    def decode(cls, state: bytes) -> Totals:
        """What a State holds; CodecError when it is none."""
        if not state:
            return cls()
        reader = Reader.of_state(state, STATE, VERSION)
        kind = reader.u8()
        totals = cls(reader.uvarint(), reader.number(kind), reader.second())
        reader.end()
        if not 1 <= totals.count <= MAX_COUNT:
            raise CorruptBlob(f"a count of {totals.count}")
        check_canonical(state, totals.encode())
        return totals


@implementer(IHandler)
class TotalsCounter:
    """Events carry a number; `true` counts 1, `false` 0."""

    name = "TotalsCounter"
    kind = native.COUNTER_GROUP
    running_aggregate = True
    version = VERSION

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """See `IHandler.fold`."""
        totals = Totals.decode(state)
        for partial in partials:
            totals = totals.plus_partial(partial)
        return totals.encode()

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """See `IHandler.reduce`."""
        totals = Totals()
        for each in map(Totals.decode, states):
            totals = totals.plus(each)
        return totals.encode()

    def render(self, state: bytes, time: float, style: Style) -> str:
        """Count, total and average, the same in every style and at any time."""
        totals = Totals.decode(state)
        return window(native.Window(totals.count, totals.total))

    def expired(self, state: bytes, time: float) -> bool:
        """Never: totals are of all time."""
        return False

    def upgrade(self, state: bytes) -> bytes:
        """There is one version so far; CodecError for a State of another version or Type."""
        return present(state, STATE, VERSION)

    def newest(self, state: bytes) -> float:
        """See `IHandler.newest`: the start of its newest second."""
        return float(Totals.decode(state).newest)

    def merge(self, older: bytes, newer: bytes) -> bytes:
        """See `IHandler.merge`."""
        return self.reduce([older, newer])
