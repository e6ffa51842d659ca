"""Protocol 1 into an agent over HTTP, each answer durable."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks import bodies, processes
from tests.benchmarks.report import Figure

RUNS = 3
SHAPES = ((200, 300, 60, 3.0), (200, 10, 400, None), (20_000, 5, 6, None))
"""Tabs, events per tab and request, requests per connection, millions of events per CPU second aimed at."""


def run() -> Iterator[Figure]:
    """Events per CPU second of the agent."""
    for tabs, events, times, goal in SHAPES:
        prepared = [bodies.body(f"client_{i}", tabs, events, seed=i) for i in range(4)]
        rates = [_rate(prepared, tabs * events, times) for _ in range(RUNS)]
        yield Figure(
            f"protocol 1 into the agent, durable, {tabs} tabs x {events}", rates, "million events per CPU second", goal
        )


def _rate(prepared: list[bytes], events: int, times: int) -> float:
    nobody = processes.free_port()  # the server is away: the agent keeps everything
    with processes.agent(nobody) as agent:
        bodies.send(agent.port, prepared, 1)
        before, count = agent.cpu_seconds(), _received(agent)
        bodies.send(agent.port, prepared, times)
        cpu = agent.cpu_seconds() - before
        sent = bodies.CONNECTIONS * times * events
        if _received(agent) - count != sent:
            raise RuntimeError(f"{_received(agent) - count} events counted, {sent} sent")
        return sent / cpu / 1e6


def _received(agent: processes.Serving) -> int:
    ledger = agent.json("status", agent.port)["ledger"]
    assert isinstance(ledger, dict)
    return int(ledger["pending"])
