"""PercentileCounter: count, total and percentiles of all time, with a bounded relative error.

Its events travel as CounterGroup's do, so that what is no number is refused alone where it comes in. The laws of
`taba.interfaces.IHandler` hold bit for bit while values are whole numbers; totals of fractions agree to rounding. A
State never expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import define, field
from zope.interface import implementer

from taba import native
from taba.errors import CorruptBlob
from taba.handlers.encoding import Reader, encode_svarint, head, present
from taba.handlers.minute_sketches import minute_sketches, newest_second
from taba.handlers.rendering import QUANTILES, percentiles
from taba.interfaces import IHandler, Style

STATE: Final = 0x05
"""The first byte of a State."""
VERSION: Final = 1


@define
class Percentiles:
    """What a State holds: the sketch of all time, and the start of the newest event's second, in whole seconds since
    1970 (without a meaning while there are no events).
    """

    sketch: native.Sketch = field(factory=native.Sketch)
    newest: int = 0

    @property
    def empty(self) -> bool:
        """Whether there are no events."""
        return not self.sketch.summary().count

    def add(self, sketch: native.Sketch, newest: int) -> None:
        """Add a sketch that is not empty, and when its newest event was."""
        self.newest = newest if self.empty else max(self.newest, newest)
        self.sketch.merge(sketch)

    def encode(self) -> bytes:
        """The one encoding."""
        return b"" if self.empty else head(STATE, VERSION) + encode_svarint(self.newest) + self.sketch.encode()

    @classmethod
    def decode(cls, state: bytes) -> Percentiles:
        """What a State holds; CodecError for what is none."""
        if not state:
            return cls()
        reader = Reader.of_state(state, STATE, VERSION)
        newest = reader.second()
        held = cls(native.Sketch.decode(state[reader.offset :]), newest)
        if held.empty:
            raise CorruptBlob("a State without events")
        return held


@implementer(IHandler)
class PercentileCounter:
    """Events carry a number; `true` counts 1, `false` 0."""

    name = "PercentileCounter"
    kind = native.COUNTER_GROUP
    running_aggregate = True
    version = VERSION

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """See `IHandler.fold`."""
        held = Percentiles.decode(state)
        for partial in partials:
            sketches = minute_sketches(partial)
            newest = newest_second(partial)
            for each in sketches:
                held.add(each, newest)
        return held.encode()

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """See `IHandler.reduce`."""
        held = Percentiles()
        for state in filter(None, states):
            other = Percentiles.decode(state)
            held.add(other.sketch, other.newest)
        return held.encode()

    def render(self, state: bytes, time: float, style: Style) -> str:
        """Count, total and percentiles, the same in every style and at any time."""
        sketch = Percentiles.decode(state).sketch
        return percentiles(sketch.summary(), sketch.quantiles(QUANTILES))

    def expired(self, state: bytes, time: float) -> bool:
        """Never: the percentiles are of all time."""
        return False

    def upgrade(self, state: bytes) -> bytes:
        """There is one version so far; CodecError for a State of another version or Type."""
        return present(state, STATE, VERSION)

    def newest(self, state: bytes) -> float:
        """See `IHandler.newest`: the start of its newest second."""
        return float(Percentiles.decode(state).newest)

    def merge(self, older: bytes, newer: bytes) -> bytes:
        """See `IHandler.merge`."""
        return self.reduce([older, newer])
