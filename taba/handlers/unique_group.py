"""UniqueGroup: how many events, and how many distinct values among them, over 1m, 10m, 1h and 1d.

Each window is PercentileGroup's four buckets. Up to 32 distinct values in a window are counted exactly; beyond that the
number is an estimate with a standard error of 1.62 %, for one client and for any merge of clients and tabs, as a value
that several of them saw is one value. The laws of `taba.interfaces.IHandler` hold bit for bit; besides, reducing States
that have seen the same values leaves the number as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from taba import native
from taba.handlers.encoding import present
from taba.handlers.rendering import WINDOW_NAMES
from taba.interfaces import IHandler, Style


@implementer(IHandler)
class UniqueGroup:
    """Events carry a value: a string, or a number, which is the text that it was sent as (3 and "3" are one value)."""

    name = "UniqueGroup"
    kind = native.UNIQUE_GROUP
    running_aggregate = True
    version = 1

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """See `IHandler.fold`."""
        return native.fold(self.kind, state, partials)

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """See `IHandler.reduce`."""
        return native.reduce(self.kind, states)

    def render(self, state: bytes, time: float, style: Style) -> str:
        """Events and distinct values of the windows that end at `time`; DETAILED gives [start, count, unique] of each
        bucket.
        """
        if style is Style.DETAILED:
            return self._buckets(state, time)
        windows = native.unique_group_summary(state, time)
        shown = [
            f'"{name}": {{"count": {each.count}, "unique": {each.unique:.0f}}}'
            for name, each in zip(WINDOW_NAMES, windows, strict=True)
        ]
        return f"{{{', '.join(shown)}}}"

    def _buckets(self, state: bytes, time: float) -> str:
        levels = []
        for level, (width, _) in enumerate(native.UNIQUE_GROUP_LEVELS):
            first, buckets = native.unique_group_buckets(state, time, level)
            starts = (float(first + i * width) for i in range(len(buckets)))
            rows = (
                f"[{start!r}, {each.count}, {each.unique:.0f}]" for start, each in zip(starts, buckets, strict=True)
            )
            levels.append(f"[{', '.join(rows)}]")
        return f"[{', '.join(levels)}]"

    def expired(self, state: bytes, time: float) -> bool:
        """Whether every window is empty at `time`."""
        return all(each.count == 0 for each in native.unique_group_summary(state, time))

    def upgrade(self, state: bytes) -> bytes:
        """There is one version so far; CodecError for a State of another version or Type."""
        return present(state, self.kind, self.version)

    def newest(self, state: bytes) -> float:
        """See `IHandler.newest`: the start of its newest 15 seconds."""
        return native.state_newest(self.upgrade(state))

    def merge(self, older: bytes, newer: bytes) -> bytes:
        """See `IHandler.merge`."""
        return self.reduce([older, newer])
