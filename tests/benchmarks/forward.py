"""From an agent to fe: `python -m tests.benchmarks forward`.

Prepared requests go to an agent, as fast as it takes them, and from there, sealed into batches every 0.25 s, to a
server. On Redis that is fe alone: nothing is folded; the run is over when the lanes' own count in Redis says that every
event was appended, once. On the embedded store, which is of one process, fe and be together are measured, until
everything is folded. What agent and server cost are two rows of one run: that of the agent has taking the events in
(`intake`) in it.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator

from attrs import frozen

from tests.benchmarks import processes
from tests.benchmarks.asked import AS_USUAL, Asked
from tests.benchmarks.counting import check
from tests.benchmarks.intake import SETTINGS, connections_for, workloads_of
from tests.benchmarks.redis import DB_SETTINGS, VBUCKETS, Redis, running_redis
from tests.benchmarks.report import Figure, Run, figure_of
from tests.benchmarks.sending import send
from tests.benchmarks.workloads import Workload

RUNS = 3
EVENTS = 12_000_000
MOST_REQUESTS = 4_000
PATIENCE = 300.0
"""Seconds until what is not there is taken for lost."""
AGAIN_SECONDS = 0.3
"""After what was sent is there the count is looked at once more: what comes twice comes later."""
USUAL = (
    Workload(),
    Workload(events=10),
    Workload(tabs=20_000, events=50),
    Workload("columns"),
    Workload("columns", clients=300),
    Workload("columns", type="PercentileGroup"),
)


@frozen
class Case:
    """A workload on its way to a server over a store."""

    store: str
    workload: Workload
    connections: int
    patience: float = PATIENCE

    def requests_of(self, events: int | None) -> int:
        """Requests of a run."""
        return max(self.connections, min(MOST_REQUESTS, (events or EVENTS) // self.workload.per_request))

    @property
    def server(self) -> str:
        """What of the server is measured."""
        return "fe, Redis" if self.store == "redis" else "fe and be, embedded"

    def __str__(self) -> str:
        return f"agent to {self.server}: {self.workload}"


def run(asked: Asked = AS_USUAL) -> Iterator[Figure]:
    """The usual workloads, or those that are chosen, on each store."""
    stores = [each["store"] for each in asked.combinations(store=["redis", "embedded"])]
    if set(asked.axes) - {"store"}:
        chosen = [(each, many or connections_for(each)) for each, many in workloads_of(asked)]
    else:
        chosen = [(each, connections_for(each)) for each in USUAL]
    for store in stores:
        if store == "redis" and shutil.which("redis-server") is None:
            print("redis-server is not installed: fe alone is not measured")
            continue
        for workload, connections in chosen:
            yield from _figures(Case(store, workload, connections), asked)


def _figures(case: Case, asked: Asked) -> Iterator[Figure]:
    agents, servers = [], []
    for _ in asked.rounds(str(case), RUNS):
        agent, server = _run(case, case.requests_of(asked.events))
        agents.append(agent)
        servers.append(server)
    yield figure_of(f"{case}: the agent", agents)
    yield figure_of(f"{case}: the server", servers)


def _run(case: Case, requests: int) -> tuple[Run, Run]:
    with contextlib.ExitStack() as left:
        if case.store == "redis":
            redis = left.enter_context(running_redis())
            database = {**DB_SETTINGS, "REDIS_URL": f"redis://127.0.0.1:{redis.port}"}
            server = left.enter_context(processes.server({"DB_SETTINGS": database, "SERVER_ROLES": "fe"}))
            agent = left.enter_context(processes.agent(server.port, SETTINGS))
            return measure(agent, server, case, requests, lambda: appended(redis))
        # Without an agent of its own, the server cannot count what it records of itself among the others' events.
        alone = {"EMBEDDED_AGENT": False, "AGENT_PORT": processes.free_port()}
        server = left.enter_context(processes.server(alone))
        agent = left.enter_context(processes.agent(server.port, SETTINGS))
        return measure(agent, server, case, requests, lambda: folded(server))


def measure(
    agent: processes.Serving, server: processes.Serving, case: Case, requests: int, counted: Callable[[], int]
) -> tuple[Run, Run]:
    """Send to the agent until the server has it all: what that cost the agent, and the server. Miscounted unless every
    event is there, once.
    """
    prepared, each = case.workload.prepare(), case.workload.per_request
    warm = min(requests, 2 * case.connections)
    send(agent.port, prepared, warm, case.connections)
    _settle(case, counted, warm * each)
    before, began = (agent.cpu_seconds(), server.cpu_seconds()), time.monotonic()
    sent = send(agent.port, prepared, requests, case.connections)
    _settle(case, counted, (warm + requests) * each)
    wall = time.monotonic() - began
    used = agent.cpu_seconds() - before[0], server.cpu_seconds() - before[1]
    time.sleep(AGAIN_SECONDS)
    check(str(case), counted(), (warm + requests) * each)
    events = requests * each
    return (
        Run(events, used[0], wall, agent.peak_memory(), sent.cpu),
        Run(events, used[1], wall, server.peak_memory(), sent.cpu),
    )


def _settle(case: Case, counted: Callable[[], int], events: int) -> None:
    """Wait for all of them. Miscounted if they do not come, or there are more."""
    deadline = time.monotonic() + case.patience
    while (count := counted()) < events and time.monotonic() < deadline:
        time.sleep(0.2)
    check(str(case), count, events)


def appended(redis: Redis) -> int:
    """Events that fe appended, by the dedup rows of all lanes: `LAST:CHECKSUM:EVENTS:TOUCHED`."""
    rows = [row for vbucket in range(VBUCKETS) for row in redis.ask("HVALS", f"D:{vbucket}")]
    return sum(int(row.split(b":")[2]) for row in rows)


def folded(server: processes.Serving) -> int:
    """Events that a server says it has folded."""
    return int(str(server.json("ledger")["folded"]))
