"""The worst relative error of quantiles over the data sets of tests/native/test_quantile_error.py."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.report import Figure


def run() -> Iterator[Figure]:
    """Percent, over all data sets, windows, and States merged and not."""
    from tests.native.test_quantile_error import worst_error

    worst = worst_error() * 100
    yield Figure("quantile error, 60 data sets, all windows", [worst], "percent", 0.55, less_is_better=True)
