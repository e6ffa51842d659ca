"""The promise of percentiles: within 0.55 % of the exact value of the rank, whatever the values, windows and merges.

Sixty data sets of every shape, each within 64 octaves, are folded as clients of a fleet would: in Partials of commits,
in States of clients, reduced over clients. Every window's quantiles are compared with the sorted values themselves. The
seed is printed with a failure and taken from TABA_SEED, so that a failure can be run again.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Sequence

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from tests.strategies import NEWEST
from tests.twin import counter_group, percentile_group
from tests.twin.blobs import COUNTER_GROUP, PERCENTILE_GROUP

SEED = int(os.environ.get("TABA_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
BOUND = 0.0055
QUANTILES = sorted({i / 200 for i in range(201)} | {0.001, 0.999, 0.9999, 1 / 3, 0.9499999})
CLIENTS = 3
LARGEST_SET = 5000

Shape = Callable[[random.Random], float]

SHAPES: dict[str, Shape] = {
    "uniform": lambda r: r.uniform(0.0, 1000.0),
    "uniform far from zero": lambda r: r.uniform(1e9, 1e9 + 1000.0),
    "exponential": lambda r: r.expovariate(0.01),
    "log-normal": lambda r: r.lognormvariate(0.0, 1.0),
    "wide log-normal": lambda r: math.exp(min(max(r.gauss(0.0, 6.0), -20.0), 20.0)),
    "pareto": lambda r: r.paretovariate(1.16),
    "heavy pareto": lambda r: min(r.paretovariate(0.3), 1e15),
    "weibull": lambda r: r.weibullvariate(5.0, 0.7),
    "gamma": lambda r: r.gammavariate(2.0, 3.0),
    "beta": lambda r: max(r.betavariate(2.0, 5.0), 1e-12),
    "normal": lambda r: r.gauss(100.0, 15.0),
    "normal around zero": lambda r: round(r.gauss(0.0, 1.0), 9),
    "bimodal": lambda r: r.gauss(10.0, 1.0) if r.random() < 0.7 else r.gauss(5000.0, 50.0),
    "two values": lambda r: r.choice((1.0, 1e6)),
    "constant": lambda r: 12.34,
    "constant zero": lambda r: 0.0,
    "heavy ties": lambda r: float(int(r.expovariate(0.7))),
    "integers": lambda r: float(r.randint(1, 10**6)),
    "small integers": lambda r: float(r.randint(0, 50)),
    "negative integers": lambda r: float(-r.randint(1, 10**4)),
    "negative exponential": lambda r: -r.expovariate(3.0),
    "mixed signs": lambda r: r.choice((-1.0, 1.0)) * r.lognormvariate(0.0, 3.0),
    "mixed signs and zeros": lambda r: r.choice((-1.0, 0.0, 1.0)) * r.uniform(1.0, 2.0),
    "powers of two": lambda r: math.ldexp(1.0, r.randint(-31, 31)),
    "edges of buckets": lambda r: 2.0 ** (r.randint(-1900, 1900) / 64),
    "beside the edges": lambda r: math.nextafter(2.0 ** (r.randint(-1900, 1900) / 64), math.inf),
    "63 octaves": lambda r: math.exp(r.uniform(-31.5, 31.5) * math.log(2.0)),
    "tiny": lambda r: r.uniform(1.0, 2.0) * 1e-290,
    "huge": lambda r: r.uniform(1.0, 2.0) * 1e290,
    "milliseconds": lambda r: round(r.lognormvariate(3.0, 1.5), 3) + 0.001,
}


@frozen
class Event:
    """One event of one client."""

    client: int
    time: float
    value: float


def _data_sets() -> list[tuple[str, list[Event]]]:
    """Two sets of each shape: one whose events lie close together, one over a day and a half."""
    chance = random.Random(SEED)
    sets = []
    for name, shape in SHAPES.items():
        for spread in (50, 130_000):
            n = chance.choice((1, 20, 33, 100, 1000, LARGEST_SET))
            events = [
                Event(chance.randrange(CLIENTS), NEWEST - chance.random() ** 3 * spread, shape(chance))
                for _ in range(n)
            ]
            sets.append((f"{name}, {n} events over {spread} s", [*events, Event(0, float(NEWEST), shape(chance))]))
    return sets


def _states(type_number: int, events: Sequence[Event], chance: random.Random) -> list[bytes]:
    """Each client's State, folded commit by commit from Partials of some events each."""
    partial = counter_group.Partial if type_number == COUNTER_GROUP else percentile_group.Partial
    states = []
    for client in range(CLIENTS):
        mine = [(event.time, event.value) for event in events if event.client == client]
        state = b""
        while mine:
            commit = chance.choice((1, 10, 400))
            state = native.fold(type_number, state, [partial.of(mine[:commit]).encode()])
            del mine[:commit]
        states.append(state)
    return states


class QuantileErrorTests(SynchronousTestCase):
    """Percentiles against the sorted values."""

    def _check(self, name: str, values: Sequence[float], given: Sequence[float], count: int) -> None:
        told = f"{name}; run again with TABA_SEED={SEED}"
        self.assertEqual(count, len(values), told)
        ordered = sorted(values)
        for q, found in zip(QUANTILES, given, strict=True):
            exact = ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else 0.0
            self.assertLessEqual(abs(found - exact), BOUND * abs(exact), f"q={q}: {found} for {exact}; {told}")

    def test_sets_are_sixty_and_within_64_octaves(self) -> None:
        """The data sets are those that the promise is about."""
        sets = _data_sets()
        self.assertEqual(len(sets), 60)
        for name, events in sets:
            for sign in (1.0, -1.0):
                sizes = [event.value * sign for event in events if event.value * sign > 0.0]
                self.assertTrue(not sizes or math.log2(max(sizes)) - math.log2(min(sizes)) < 64.0, name)

    def test_sketches_of_all_values(self) -> None:
        """One sketch of all, and one merged from parts."""
        for name, events in _data_sets():
            values = [event.value for event in events]
            whole, merged = native.Sketch(), native.Sketch()
            whole.add(values)
            for start in range(0, len(values), 97):
                part = native.Sketch()
                part.add(values[start : start + 97])
                merged.merge(part)
            for sketch in (whole, merged):
                self._check(name, values, sketch.quantiles(QUANTILES), sketch.summary().count)
                self.assertLessEqual(sketch.summary().error, BOUND)

    def test_counter_group_over_all_time(self) -> None:
        """CounterGroup's percentiles, of each client and of all of them."""
        chance = random.Random(SEED + 1)
        for name, events in _data_sets()[::3]:
            states = _states(COUNTER_GROUP, events, chance)
            for client, state in enumerate(states):
                mine = [event.value for event in events if event.client == client]
                _, summary, given = native.counter_group_summary(state, float(NEWEST), QUANTILES)
                self._check(name, mine, given, summary.count)
            _, summary, given = native.counter_group_summary(
                native.reduce(COUNTER_GROUP, states), float(NEWEST), QUANTILES
            )
            self._check(name, [event.value for event in events], given, summary.count)

    def test_percentile_group_over_every_window(self) -> None:
        """PercentileGroup's four windows, of each client and of all of them."""
        chance = random.Random(SEED + 2)
        for name, events in _data_sets():
            states = _states(PERCENTILE_GROUP, events, chance)
            merged = native.reduce(PERCENTILE_GROUP, states)
            for client, state in [*enumerate(states), (None, merged)]:
                mine = [event for event in events if client in (None, event.client)]
                shown = native.percentile_group_summary(state, float(NEWEST), QUANTILES)
                for level, (summary, given) in zip(percentile_group.LEVELS, shown, strict=True):
                    window = level.shown(float(NEWEST))
                    values = [event.value for event in mine if level.index(event.time) in window]
                    self._check(f"{name}, client {client}, {level.width} s", values, given, summary.count)
