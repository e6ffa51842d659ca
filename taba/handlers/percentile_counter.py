"""PercentileCounter: count, total and percentiles of all time, with a bounded relative error.

Its events travel as CounterGroup's do, so that what is no number is refused alone where it comes in. The laws of
`taba.interfaces.IHandler` hold bit for bit while values are whole numbers; totals of fractions agree to rounding. A
State never expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from zope.interface import implementer

from taba import native
from taba.errors import CorruptBlob
from taba.handlers.encoding import Reader, head
from taba.handlers.minute_sketches import minute_sketches
from taba.handlers.rendering import QUANTILES, percentiles
from taba.interfaces import IHandler, Style

STATE: Final = 0x05
"""The first byte of a State."""
VERSION: Final = 1


def _decode(state: bytes) -> native.Sketch:
    """The sketch of all time; CodecError for what is no State."""
    if not state:
        return native.Sketch()
    reader = Reader.of_state(state, STATE, VERSION)
    sketch = native.Sketch.decode(state[reader.offset :])
    if not sketch.summary().count:
        raise CorruptBlob("a State without events")
    return sketch


def _encode(sketch: native.Sketch) -> bytes:
    return head(STATE, VERSION) + sketch.encode() if sketch.summary().count else b""


@implementer(IHandler)
class PercentileCounter:
    """Events carry a number; `true` counts 1, `false` 0."""

    name = "PercentileCounter"
    kind = native.COUNTER_GROUP
    running_aggregate = True
    version = VERSION

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """See `IHandler.fold`."""
        sketch = _decode(state)
        for partial in partials:
            for each in minute_sketches(partial):
                sketch.merge(each)
        return _encode(sketch)

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """See `IHandler.reduce`."""
        sketch = native.Sketch()
        for state in states:
            sketch.merge(_decode(state))
        return _encode(sketch)

    def render(self, state: bytes, time: float, style: Style) -> str:
        """Count, total and percentiles, the same in every style and at any time."""
        sketch = _decode(state)
        return percentiles(sketch.summary(), sketch.quantiles(QUANTILES))

    def expired(self, state: bytes, time: float) -> bool:
        """Never: the percentiles are of all time."""
        return False

    def upgrade(self, state: bytes) -> bytes:
        """There is one version so far."""
        return state
