"""How the original Taba wrote numbers, to the character; shared by the Handlers of counters and percentiles."""

from __future__ import annotations

from collections.abc import Sequence

from taba.native import SketchSummary, Window

QUANTILES = (0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 0.999)
"""The percentiles that every rendering shows, in this order."""

WINDOW_NAMES = ("1m", "10m", "1h", "1d")


def window(each: Window) -> str:
    """Count, total and average of a window; the average of nothing is 0."""
    average = each.total / each.count if each.count else 0.0
    return f'{{"count": {each.count}, "total": {each.total:.2f}, "average": {average:.2f}}}'


def percentiles(summary: SketchSummary, values: Sequence[float]) -> str:
    """Count, total and the values at `QUANTILES`."""
    listed = ", ".join(f"{value:.2f}" for value in values)
    return f'{{"count": {summary.count}, "total": {summary.sum:f}, "pct": [{listed}]}}'
