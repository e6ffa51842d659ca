"""Events of both protocols into an agent over HTTP: `python -m tests.benchmarks intake`, or `intake-all` for every
workload.

Each answer is durable: it is given after the commit that holds the request's events is synced. The servers are away,
so that the agent takes in and keeps, and sends nothing. At the end of each run the agent's ledger must show every event
that was sent, and no more. So many connections are kept busy that commits have many requests each, as under load they
do; the processor time is the agent's own, user and system, of all its threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from tests.benchmarks import processes
from tests.benchmarks.report import Figure, Run, figure_of
from tests.benchmarks.sending import send
from tests.benchmarks.workloads import Workload

RUNS = 5
SETTINGS = {"MAX_BODY_BYTES": 64 << 20, "AGENT_MEMORY_BYTES": 1 << 30}
"""A million events of protocol 1 are more than the 32 MiB that a body may have otherwise, and several such bodies at a
time more than the memory.
"""
EVENTS = 12_000_000
"""So many events a run has, three times as many in columns, or MOST_REQUESTS."""
MOST_REQUESTS = 4_000


@frozen
class Case:
    """A workload, the connections that bring it, and the millions of events per CPU second aimed at."""

    workload: Workload
    connections: int
    goal: float | None = None

    @property
    def requests(self) -> int:
        """Requests of a run: at least as many as connections."""
        events = EVENTS * (3 if self.workload.protocol == "columns" else 1)
        return max(self.connections, min(MOST_REQUESTS, events // self.workload.per_request))


CASES = (
    Case(Workload(), 16, 10.0),
    Case(Workload(events=10), 256, 4.0),
    Case(Workload(tabs=20_000, events=50), 4, 6.0),
    Case(Workload("columns"), 16, 40.0),
    Case(Workload("columns", events=10), 256),
    Case(Workload("columns", tabs=20_000, events=50), 4),
)
FURTHER = (
    Case(Workload(clients=300), 16),
    Case(Workload(events=10, clients=300), 256),
    Case(Workload(events=1), 256),
    Case(Workload(tabs=20_000, events=1), 16),
    Case(Workload(tabs=200_000, events=1), 4),
    Case(Workload(values="integral"), 16),
    Case(Workload(values="log-normal"), 16),
    Case(Workload(type="PercentileGroup"), 16),
    Case(Workload(type="PercentileGroup", tabs=20_000, events=10), 4),
    Case(Workload(type="Gauge", events=10), 256),
    Case(Workload("columns", clients=300), 16),
    Case(Workload("columns", values="log-normal"), 16),
    Case(Workload("columns", type="PercentileGroup"), 16),
    Case(Workload("columns", tabs=200_000, events=1), 4),
)


def run() -> Iterator[Figure]:
    """The workloads that figures are aimed at."""
    return _figures(CASES)


def run_all(_: Sequence[str]) -> Iterator[Figure]:
    """All workloads."""
    return _figures((*CASES, *FURTHER))


def _figures(cases: Sequence[Case]) -> Iterator[Figure]:
    for case in cases:
        runs = [_run(case) for _ in range(RUNS)]
        yield figure_of(f"intake: {case.workload}", runs, case.goal)


def _run(case: Case) -> Run:
    prepared = case.workload.prepare()
    with processes.agent(processes.free_port(), SETTINGS) as agent:
        send(agent.port, prepared, min(case.requests, 2 * case.connections), case.connections)
        cpu, before = agent.cpu_seconds(), _received(agent)
        sent = send(agent.port, prepared, case.requests, case.connections)
        cpu = agent.cpu_seconds() - cpu
        events = case.requests * case.workload.per_request
        if _received(agent) - before != events:
            raise RuntimeError(f"{_received(agent) - before} events counted, {events} sent")
        return Run(events, cpu, sent.wall, agent.peak_memory(), sent.cpu)


def _received(agent: processes.Serving) -> int:
    ledger = agent.json("status", agent.port)["ledger"]
    assert isinstance(ledger, dict)
    return int(ledger["pending"])
