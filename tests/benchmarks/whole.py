"""The whole way of events, by the clock on the wall: `python -m tests.benchmarks whole [SECONDS]`.

Columns of 200 tabs x 300 to an agent, from there to a server, into two shards of Redis and the States: all processes
on this machine, the sender among them. It is over when the server's ledger says that every acknowledged event is
folded; then the counts of all tabs must add up to them.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tests.benchmarks.asked import AS_USUAL, Asked
from tests.benchmarks.counting import check
from tests.benchmarks.fleet import Fleet, started_fleet
from tests.benchmarks.intake import workloads_of
from tests.benchmarks.report import Figure, Run, figure_of
from tests.benchmarks.sending import Sent, send
from tests.benchmarks.workloads import Workload
from tests.processes.surroundings import until

SECONDS = 60.0
CONNECTIONS = 32
"""An answer waits for the commit, at most ten a second: so many requests share one."""
PATIENCE = 600.0
MANY = 1 << 40


def run(asked: Asked = AS_USUAL) -> Iterator[Figure]:
    """One client and 300, or the workloads that are chosen."""
    if shutil.which("redis-sentinel") is None:
        print("redis-sentinel is not installed: the whole way is not measured")
        return
    seconds = float(asked.words[0]) if asked.words else SECONDS
    usual = [Workload("columns", clients=clients) for clients in (1, 300)]
    for workload in [each for each, _ in workloads_of(asked)] if asked.axes else usual:
        asked.tell(f"whole way: {workload}, {seconds:g} s")
        yield from _way(workload, seconds)


def _way(workload: Workload, seconds: float) -> Iterator[Figure]:
    prepared = workload.prepare()
    with started_fleet(1) as fleet:
        send(fleet.agent.port, prepared, CONNECTIONS, CONNECTIONS)
        warm = CONNECTIONS * workload.per_request
        _all_folded(fleet, warm)
        cpu, began = fleet.cpu(), time.monotonic()
        sent: Sent = send(fleet.agent.port, prepared, MANY, CONNECTIONS, seconds)
        events = sent.requests * workload.per_request
        _all_folded(fleet, warm + events)
        wall = time.monotonic() - began
        used = {kind: value - cpu[kind] for kind, value in fleet.cpu().items()}
        answer = json.loads(fleet.servers[0].ask("/supertabs?re=1&name=bench_tab_", Accept="application/json").text)
        count_of(answer, warm + events)
        peaks = fleet.peaks()
    what = f"whole way: {workload}"
    yield Figure(what, [events / wall / 1e6], "million events per second of the wall clock", 10.0)
    yield Figure(f"{what}: until all was acknowledged", [events / sent.wall / 1e6], "million events per second")
    for kind, spent in used.items():
        yield figure_of(f"{what}: {kind}", [Run(events, spent, wall, peaks[kind], sent.cpu)])


def count_of(answer: Mapping[str, Any], events: int) -> None:
    """Compare what a query for all tabs counts with what was sent. Raises Miscounted."""
    check("whole way", int(answer["pct"]["count"]), events)


def _all_folded(fleet: Fleet, events: int) -> None:
    """Wait until the ledger says so."""
    until(lambda: fleet.folded() >= events, PATIENCE, lambda: f"{fleet.folded()} of {events} are folded")
