"""StatsD into an agent: `python -m tests.benchmarks intake-statsd`, over TCP and UDP.

As for `intake` the servers are away, so that the agent takes in, commits and keeps, and sends nothing; the processor
time is its own. A run sends prepared lines over and over, and ends when the agent's ledger says that it has them all,
durably. StatsD has no answers: over TCP the agent holds the sender back, over UDP the sender sees to it that never more
waits than the receive queue holds, so that nothing is lost, which is checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from attrs import frozen

from tests.benchmarks import processes, statsd_lines
from tests.benchmarks.asked import AS_USUAL, Asked
from tests.benchmarks.counting import check
from tests.benchmarks.peers import sending
from tests.benchmarks.peers.measuring import WINDOW_BYTES
from tests.benchmarks.report import Figure, Run, figure_of
from tests.benchmarks.statsd_lines import Prepared

RUNS = 3
EVENTS = 12_000_000
LINES = 200_000
"""So many are prepared, about, where it is not said how many of each name."""
PATIENCE = 120.0
AGAIN_SECONDS = 0.3
"""After what was sent is there the count is looked at once more: what comes twice comes later."""
SETTINGS = {"AGENT_MEMORY_BYTES": 1 << 30}
MAKERS = {"counters": statsd_lines.counters, "percentiles": statsd_lines.timers, "gauges": statsd_lines.gauges}
GOALS = {("tcp", "counters", 200): 8.0, ("tcp", "percentiles", 200): 5.0,
         ("tcp", "counters", 20_000): 4.0, ("tcp", "percentiles", 20_000): 2.5,
         ("udp", "counters", 200): 6.5, ("udp", "percentiles", 200): 4.0}  # fmt: skip


@frozen
class Case:
    """What is sent."""

    transport: str
    kind: str
    names: int
    rounds: int
    """Lines of each name in what is prepared."""
    patience: float = 10.0
    """Seconds without another event counted, until the rest is taken for lost."""

    def __str__(self) -> str:
        kind = "timers" if self.kind == "percentiles" else self.kind
        return f"{self.transport.upper()}, {kind}, {self.names} names"

    def prepare(self) -> Prepared:
        """The lines, in blocks."""
        size = statsd_lines.STREAM_BYTES if self.transport == "tcp" else statsd_lines.DATAGRAM_BYTES
        return statsd_lines.pack(MAKERS[self.kind](statsd_lines.names(self.names), self.rounds), size)


def run(asked: Asked = AS_USUAL) -> Iterator[Figure]:
    """Counters and timers of 200 and 20,000 names, or what is chosen."""
    for each in asked.combinations(
        transport=["tcp", "udp"], kind=["counters", "percentiles"], tabs=[200, 20_000], per_tab=None
    ):
        rounds = each["per_tab"] or max(1, LINES // each["tabs"])
        case = Case(each["transport"], each["kind"], each["tabs"], rounds)
        what = f"StatsD intake: {case}"
        runs = asked.repeat(what, RUNS, partial(_run, case, asked.events or EVENTS))
        yield figure_of(what, runs, GOALS.get((case.transport, case.kind, case.names)))


def _run(case: Case, events: int) -> Run:
    port = processes.free_port()
    with processes.agent(processes.free_port(), SETTINGS, "--statsd", f"{case.transport}:{port}") as agent:
        return measure(agent, port, case, events)


def measure(agent: processes.Serving, port: int, case: Case, events: int) -> Run:
    """Send about so many events to an agent, after each name came once; Miscounted unless it has got them all."""
    prepared = case.prepare()
    times = max(1, events // prepared.events)
    _sent(case, port, prepared, 1)
    _settle(agent, prepared.events, case)
    cpu, began = agent.cpu_seconds(), time.monotonic()
    spent = _sent(case, port, prepared, times)
    _settle(agent, prepared.events * (times + 1), case)
    wall, cpu = time.monotonic() - began, agent.cpu_seconds() - cpu
    time.sleep(AGAIN_SECONDS)
    check(f"StatsD intake: {case}", _received(agent), prepared.events * (times + 1))
    return Run(prepared.events * times, cpu, wall, agent.peak_memory(), spent)


def _sent(case: Case, port: int, prepared: Prepared, times: int) -> float:
    """Send it all so many times, by a process of its own: the processor time that this process took."""
    whole = Prepared(prepared.blocks * times, prepared.counts * times)
    send: Callable[..., tuple[int, int]] = sending.stream
    limits: tuple[object, ...] = (None,)
    if case.transport == "udp":
        send, limits = sending.paced, (None, WINDOW_BYTES)
    sent = sending.in_own_process(send, port, whole, *limits)
    check(f"sent: {case}", sent.events, whole.events)
    return sent.cpu


def _settle(agent: processes.Serving, events: int, case: Case) -> None:
    """Wait until the ledger has that many, durably. Miscounted if it has not, or has more."""
    deadline = time.monotonic() + PATIENCE
    last, changed = -1, time.monotonic()
    while (count := _received(agent)) < events and time.monotonic() < deadline:
        if count != last:
            last, changed = count, time.monotonic()
        if time.monotonic() - changed > case.patience:
            break
        time.sleep(0.05)
    check(f"StatsD intake: {case}", count, events)


def _received(agent: processes.Serving) -> int:
    ledger = agent.json("status", agent.port)["ledger"]
    assert isinstance(ledger, dict)
    return int(ledger["pending"])
