"""CounterGroup: how many, how much and how much on average over 1m, 10m, 1h and 1d, and percentiles of all time.

Laws (see `taba.interfaces.IHandler`) hold bit for bit while values are whole numbers; totals of fractions agree to
rounding. A State never expires: its percentiles are of all time.
"""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from taba import native
from taba.handlers.encoding import present
from taba.handlers.rendering import QUANTILES, WINDOW_NAMES, percentiles, window
from taba.interfaces import IHandler, Style


@implementer(IHandler)
class CounterGroup:
    """Events carry a number; `true` counts 1, `false` 0."""

    name = "CounterGroup"
    kind = native.COUNTER_GROUP
    running_aggregate = True
    version = 1

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """See `IHandler.fold`."""
        return native.fold(self.kind, state, partials)

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """See `IHandler.reduce`."""
        return native.reduce(self.kind, states)

    def render(self, state: bytes, time: float, style: Style) -> str:
        """The windows that end at `time`, then `pct` of all time; DETAILED gives [start, count, total] of each
        bucket.
        """
        if style is Style.DETAILED:
            return self._buckets(state, time)
        windows, summary, values = native.counter_group_summary(state, time, QUANTILES)
        shown = [f'"{name}": {window(each)}' for name, each in zip(WINDOW_NAMES, windows, strict=True)]
        return f'{{{", ".join(shown)}, "pct": {percentiles(summary, values)}}}'

    def _buckets(self, state: bytes, time: float) -> str:
        levels = []
        for level, (width, _) in enumerate(native.COUNTER_GROUP_LEVELS):
            first, buckets = native.counter_group_buckets(state, time, level)
            rows = (f"[{float(first + i * width)!r}, {each.count}, {each.total!r}]" for i, each in enumerate(buckets))
            levels.append(f"[{', '.join(rows)}]")
        return f"[{', '.join(levels)}]"

    def expired(self, state: bytes, time: float) -> bool:
        """Never: the percentiles of all time stay."""
        return False

    def upgrade(self, state: bytes) -> bytes:
        """There is one version so far; CodecError for a State of another version or Type."""
        return present(state, self.kind, self.version)

    def newest(self, state: bytes) -> float:
        """See `IHandler.newest`: the start of its newest second."""
        return native.state_newest(self.upgrade(state))

    def merge(self, older: bytes, newer: bytes) -> bytes:
        """See `IHandler.merge`."""
        return self.reduce([older, newer])
