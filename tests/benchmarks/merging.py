"""What merging a request costs as tabs grow, and how much memory an event of each tab takes: the native core alone.

One request after another is merged into an accumulator and encoded, as a commit does it. The cost must stay flat: a tab
among 200,000 may cost 2.5 times what one of 200 does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from taba import native
from tests.benchmarks.asked import AS_USUAL, Asked
from tests.benchmarks.counting import check
from tests.benchmarks.report import Figure
from tests.benchmarks.workloads import Workload

FEW, MANY = 200, 200_000
ROUNDS = 5
TYPES = {"CounterGroup": native.COUNTER_GROUP, "PercentileGroup": native.PERCENTILE_GROUP}


def run(asked: Asked = AS_USUAL) -> Iterator[Figure]:
    """Ratios within one run, and bytes."""
    for events in (1, 10):
        spent = [(_merging(FEW, events), _merging(MANY, events)) for _ in asked.rounds("merging", ROUNDS)]
        what = f"merge, {events} an event of a tab" if events == 1 else f"merge, {events} events of a tab"
        yield Figure(f"{what}, {FEW} tabs", [few * 1e9 for few, _ in spent], "ns of CPU per event")
        yield Figure(f"{what}, {MANY} tabs", [many * 1e9 for _, many in spent], "ns of CPU per event")
        ratios = [many / few for few, many in spent]
        yield Figure(f"{what}, {MANY} tabs to {FEW}", ratios, "of the cost", 2.5, less_is_better=True)
    for type in TYPES:
        partials, whole = _memory(type)
        yield Figure(f"a live {type} Partial of one event, by itself", [partials], "bytes", 200, less_is_better=True)
        what = f"a live {type} Partial with its entry, names and index, {MANY} tabs"
        yield Figure(what, [whole], "bytes", less_is_better=True)


def _parsed(tabs: int, events: int, type: str = "CounterGroup") -> native.Scratch:
    prepared = Workload(tabs=tabs, events=events, type=type).prepare()
    scratch = native.Scratch(native.Limits(), TYPES)
    scratch.feed(prepared.heads[0] + prepared.rest)
    scratch.finish()
    return scratch


def _timed(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def _merging(tabs: int, events: int) -> float:
    """Seconds per event of merging into an accumulator that is emptied between commits; the least of some commits."""
    scratch, accumulator = _parsed(tabs, events), native.Accumulator()
    times = max(1, MANY // tabs // 20)
    spent = []
    for _ in range(4):
        seconds = 0.0
        for _ in range(times):
            seconds += _timed(lambda: accumulator.merge(scratch, 0))
            accumulator.clear()
        spent.append(seconds / times)
    return min(spent) / (tabs * events)


def _memory(type: str) -> tuple[float, float]:
    """Bytes for each tab: those that Partials take, and all of them."""
    accumulator = native.Accumulator()
    accumulator.merge(_parsed(MANY, 1, type), 0)
    check(f"merging: {type}", accumulator.summary()[0], MANY)
    return accumulator.partials_memory() / MANY, accumulator.summary()[2] / MANY
