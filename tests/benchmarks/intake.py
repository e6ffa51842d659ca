"""Events of both protocols into an agent over HTTP, each answer durable."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from tests.benchmarks import bodies, processes
from tests.benchmarks.report import Figure

RUNS = 3


@frozen
class Shape:
    """A kind of requests: how many on each of how many connections, and millions of events per CPU second aimed at."""

    protocol: str
    path: str
    make: Callable[..., bytes]
    tabs: int
    events: int
    times: int
    connections: int
    goal: float | None = None


SHAPES = (
    Shape("protocol 1", "/post", bodies.body, 200, 300, 60, 2, 3.0),
    Shape("protocol 1", "/post", bodies.body, 200, 10, 400, 2),
    Shape("protocol 1", "/post", bodies.body, 20_000, 5, 6, 2),
    Shape("columns", "/v2/events", bodies.frame, 200, 300, 30, 8, 15.0),
    Shape("columns", "/v2/events", bodies.frame, 200, 10, 100, 8),
    Shape("columns", "/v2/events", bodies.frame, 20_000, 50, 6, 2),
)


def run() -> Iterator[Figure]:
    """Events per CPU second of the agent."""
    for shape in SHAPES:
        clients = range(max(4, shape.connections))
        prepared = [shape.make(f"client_{i}", shape.tabs, shape.events, seed=i) for i in clients]
        rates = [_rate(shape, prepared) for _ in range(RUNS)]
        name = f"{shape.protocol}, durable, {shape.tabs} tabs x {shape.events}, {shape.connections} connections"
        yield Figure(name, rates, "million events per CPU second", shape.goal)


def _rate(shape: Shape, prepared: list[bytes]) -> float:
    nobody = processes.free_port()  # the server is away: the agent keeps everything
    with processes.agent(nobody) as agent:
        bodies.send(agent.port, prepared, 1, shape.path, shape.connections)
        before, count = agent.cpu_seconds(), _received(agent)
        bodies.send(agent.port, prepared, shape.times, shape.path, shape.connections)
        cpu = agent.cpu_seconds() - before
        sent = shape.connections * shape.times * shape.tabs * shape.events
        if _received(agent) - count != sent:
            raise RuntimeError(f"{_received(agent) - count} events counted, {sent} sent")
        return sent / cpu / 1e6


def _received(agent: processes.Serving) -> int:
    ledger = agent.json("status", agent.port)["ledger"]
    assert isinstance(ledger, dict)
    return int(ledger["pending"])
