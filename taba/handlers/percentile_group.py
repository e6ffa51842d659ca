"""PercentileGroup: count, total and percentiles over 1m, 10m, 1h and 1d, with a bounded relative error.

Each window is four buckets (15, 150, 900, 21600 s), so that it spans three to four of them. The laws of
`taba.interfaces.IHandler` hold bit for bit while values are whole numbers; totals of fractions agree to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from taba import native
from taba.handlers.encoding import present
from taba.handlers.rendering import QUANTILES, WINDOW_NAMES, percentiles
from taba.interfaces import IHandler, Style


@implementer(IHandler)
class PercentileGroup:
    """Events carry a number; `true` counts 1, `false` 0."""

    name = "PercentileGroup"
    kind = native.PERCENTILE_GROUP
    running_aggregate = True
    version = 1

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """See `IHandler.fold`."""
        return native.fold(self.kind, state, partials)

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """See `IHandler.reduce`."""
        return native.reduce(self.kind, states)

    def render(self, state: bytes, time: float, style: Style) -> str:
        """The windows that end at `time`, the same in every style."""
        windows = native.percentile_group_summary(state, time, QUANTILES)
        shown = [f'"{name}": {percentiles(*each)}' for name, each in zip(WINDOW_NAMES, windows, strict=True)]
        return f"{{{', '.join(shown)}}}"

    def expired(self, state: bytes, time: float) -> bool:
        """Whether every window is empty at `time`."""
        return all(summary.count == 0 for summary, _ in native.percentile_group_summary(state, time, ()))

    def upgrade(self, state: bytes) -> bytes:
        """There is one version so far; CodecError for a State of another version or Type."""
        return present(state, self.kind, self.version)

    def newest(self, state: bytes) -> float:
        """See `IHandler.newest`: the start of its newest 15 seconds."""
        return native.state_newest(self.upgrade(state))

    def merge(self, older: bytes, newer: bytes) -> bytes:
        """See `IHandler.merge`."""
        return self.reduce([older, newer])
