"""The worst relative error of quantiles over the sixty data sets of tests/native/test_quantile_error.py."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from taba import native
from tests.benchmarks.report import Figure
from tests.native import test_quantile_error as promise
from tests.strategies import NEWEST
from tests.twin import percentile_group
from tests.twin.blobs import PERCENTILE_GROUP


def _worst(values: Sequence[float], given: Sequence[float]) -> float:
    """The worst relative error of the quantiles of some values."""
    ordered = sorted(values)
    worst = 0.0
    for q, found in zip(promise.QUANTILES, given, strict=True):
        exact = ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else 0.0
        if exact != found:
            worst = max(worst, abs(found - exact) / abs(exact))
    return worst


def run() -> Iterator[Figure]:
    """Percent, over all data sets and windows, of each client and merged."""
    chance = random.Random(promise.SEED)
    worst = 0.0
    for _, events in promise._data_sets():
        states = promise._states(PERCENTILE_GROUP, events, chance)
        for client, state in [*enumerate(states), (None, native.reduce(PERCENTILE_GROUP, states))]:
            mine = [event for event in events if client in (None, event.client)]
            shown = native.percentile_group_summary(state, float(NEWEST), promise.QUANTILES)
            for level, (_, given) in zip(percentile_group.LEVELS, shown, strict=True):
                window = level.shown(float(NEWEST))
                worst = max(worst, _worst([each.value for each in mine if level.index(each.time) in window], given))
    yield Figure("quantile error, 60 data sets, all windows", [worst * 100], "percent", 0.55, less_is_better=True)
