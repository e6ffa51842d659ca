"""Events of both protocols into an agent over HTTP: `python -m tests.benchmarks intake`, or `intake-all` for many
workloads, or `intake --tabs 200000 --per-tab 1 ...` for chosen ones.

Each answer is durable: it is given after the commit that holds the request's events is synced. The servers are away,
so that the agent takes in and keeps, and sends nothing. At the end of each run the agent's ledger must show every event
that was sent, and no more. So many connections are kept busy that commits have many requests each, as under load they
do; the processor time is the agent's own, user and system, of all its threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from attrs import frozen

from tests.benchmarks import processes
from tests.benchmarks.asked import AS_USUAL, TYPES, Asked
from tests.benchmarks.counting import check
from tests.benchmarks.report import Figure, Run, figure_of
from tests.benchmarks.sending import Prepared, send
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

    def requests_of(self, events: int | None = None) -> int:
        """Requests of a run, of about so many events, or as many as usual: at least as many as connections."""
        if events is not None:
            return max(self.connections, events // self.workload.per_request)
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


def run(asked: Asked = AS_USUAL) -> Iterator[Figure]:
    """The workloads that figures are aimed at; with chosen ones, those alone."""
    return _figures(_chosen(asked) if asked.axes else CASES, asked)


def run_all(asked: Asked = AS_USUAL) -> Iterator[Figure]:
    """All workloads."""
    return _figures((*CASES, *FURTHER), asked)


def _chosen(asked: Asked) -> list[Case]:
    """The cases of all combinations of what is asked for; one that has an aim keeps it."""
    aims = {case.workload: case.goal for case in CASES}
    cases = []
    for workload, connections in workloads_of(asked):
        cases.append(Case(workload, connections or connections_for(workload), aims.get(workload)))
    return cases


def workloads_of(asked: Asked) -> list[tuple[Workload, int | None]]:
    """The workloads that are asked for, and the connections if that is said."""
    return [
        (
            Workload(
                each["protocol"], each["tabs"], each["per_tab"], each["clients"], TYPES[each["kind"]], each["values"]
            ),
            each["connections"],
        )
        for each in asked.combinations(
            protocol="1", tabs=200, per_tab=300, clients=1, kind="counters", values="decimal", connections=None
        )
    ]


def connections_for(workload: Workload) -> int:
    """So many that commits have many requests each, within the agent's memory."""
    return next(many for least, many in ((500_000, 4), (20_000, 16), (0, 256)) if workload.per_request >= least)


def _figures(cases: Sequence[Case], asked: Asked) -> Iterator[Figure]:
    for case in cases:
        what = f"intake: {case.workload}"
        runs = asked.repeat(what, RUNS, partial(_run, case, asked.events))
        yield figure_of(what, runs, case.goal)


def _run(case: Case, events: int | None = None) -> Run:
    prepared = case.workload.prepare()
    with processes.agent(processes.free_port(), SETTINGS) as agent:
        return measure(agent, prepared, case, case.requests_of(events))


def measure(agent: processes.Serving, prepared: Prepared, case: Case, requests: int) -> Run:
    """Send so many requests to an agent, after some to get it warm; Miscounted unless it has got every event."""
    send(agent.port, prepared, min(requests, 2 * case.connections), case.connections)
    cpu, before = agent.cpu_seconds(), _received(agent)
    sent = send(agent.port, prepared, requests, case.connections)
    cpu = agent.cpu_seconds() - cpu
    events = requests * case.workload.per_request
    check(f"intake: {case.workload}", _received(agent) - before, events)
    return Run(events, cpu, sent.wall, agent.peak_memory(), sent.cpu)


def _received(agent: processes.Serving) -> int:
    ledger = agent.json("status", agent.port)["ledger"]
    assert isinstance(ledger, dict)
    return int(ledger["pending"])
