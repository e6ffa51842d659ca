"""Sizes of States, and the error of quantiles."""

from __future__ import annotations

import random
from collections.abc import Iterator

from taba import native
from tests.benchmarks.report import Figure

NOW = 1_700_000_000.0
DAY = 86_400.0
TYPES = {"CounterGroup": native.COUNTER_GROUP, "PercentileGroup": native.PERCENTILE_GROUP}
GOALS = {("CounterGroup", 300): 920, ("CounterGroup", 50_000): 4_700,
         ("PercentileGroup", 300): 2_700, ("PercentileGroup", 50_000): 8_000}


def state(type: str, events: int, span: float, seed: int) -> bytes:
    """A State after events over `span` seconds, folded in batches of 100 in the order of time."""
    chance = random.Random(seed)
    times = sorted(NOW - chance.random() * span for _ in range(events))
    folded = b""
    for first in range(0, events, 100):
        scratch = native.Scratch(native.Limits(), TYPES)
        lines = [f'["{type}", {time:.3f}, "{chance.expovariate(1):.3f}"]\n' for time in times[first : first + 100]]
        scratch.feed(f"1\n\nclient\n\ntab\n{''.join(lines)}".encode())
        scratch.finish()
        accumulator = native.Accumulator()
        accumulator.merge(scratch, 1)
        entries = native.batch_entries(accumulator.encode(1)[0].data)
        folded = native.fold(TYPES[type], folded, [entry.partial for entry in entries])
    return folded


def run() -> Iterator[Figure]:
    """Bytes of a State, values exponential with three decimals."""
    for (type, events), goal in GOALS.items():
        span, words = (1.0, "in 1 s") if events == 300 else (DAY, "over a day")
        sizes = [float(len(state(type, events, span, seed))) for seed in range(3)]
        yield Figure(f"State of {type} after {events} events {words}", sizes, "bytes", goal, less_is_better=True)
