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
    encode_uvarint,
    head,
)
from taba.handlers.minute_sketches import minute_sketches
from taba.handlers.rendering import window
from taba.interfaces import IHandler, Style

STATE: Final = 0x04
"""The first byte of a State."""
VERSION: Final = 1


@frozen
class Totals:
    """What a State holds: the number of events and the sum of their values."""

    count: int = 0
    total: float = 0.0

    def plus(self, count: int, total: float) -> Totals:
        """These and further events. ValueError for more than 2**61."""
        return Totals(add_counts(self.count, count), add(self.total, total))

    def encode(self) -> bytes:
        """The one encoding."""
        if not self.count:
            return b""
        kind, total = encode_number(self.total)
        return head(STATE, VERSION) + bytes((kind,)) + encode_uvarint(self.count) + total

    @classmethod
    def decode(cls, state: bytes) -> Totals:
        """What a State holds; CodecError when it is none."""
        if not state:
            return cls()
        reader = Reader.of_state(state, STATE, VERSION)
        kind = reader.u8()
        totals = cls(reader.uvarint(), reader.number(kind))
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
            for sketch in minute_sketches(partial):
                summary = sketch.summary()
                totals = totals.plus(summary.count, summary.sum)
        return totals.encode()

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """See `IHandler.reduce`."""
        totals = Totals()
        for each in map(Totals.decode, states):
            totals = totals.plus(each.count, each.total)
        return totals.encode()

    def render(self, state: bytes, time: float, style: Style) -> str:
        """Count, total and average, the same in every style and at any time."""
        totals = Totals.decode(state)
        return window(native.Window(totals.count, totals.total))

    def expired(self, state: bytes, time: float) -> bool:
        """Never: totals are of all time."""
        return False

    def upgrade(self, state: bytes) -> bytes:
        """There is one version so far."""
        return state
