"""What StatsD costs an agent as if it had a processor for itself: `python -m tests.benchmarks.statsd`.

In one process: prepared lines go through a protocol of TCP into a whole agent, in pieces of 256 KiB; it commits to a
spool in memory, seals, and sends to a frontend over a store in memory, all of whose CPU counts, too. Its clock goes on
by the CPU time that was used. So it shows what `tests.benchmarks.peers` shows where nobody else wants the processor:
there commits and seals, which come by the clock, are shared by as many events as the processor can take. What is not in
it: the kernel's part of receiving, HTTP, and the disk. Every count is checked.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

from twisted.internet.testing import StringTransport

from taba import native
from taba.agent.statsd.gathering import Gatherer
from taba.agent.statsd.streams import StatsdFactory
from tests.agent.agent_case import KINDS, AgentCase, Gate
from tests.benchmarks import statsd_lines
from tests.benchmarks.asked import AS_USUAL, Asked
from tests.benchmarks.counting import check
from tests.benchmarks.report import HEADER, Figure, Run, figure_of

SECONDS = 3.0
"""Of CPU, in each run."""
RUNS = 3
LINES = 400_000
PIECE = 256 << 10
TYPES = {"c": "CounterGroup", "ms": "PercentileGroup"}


class Rig(AgentCase):
    """One agent in front of a store in memory."""

    def runTest(self) -> None:
        """It is no test."""

    def measure(self, data: bytes, lines: int = LINES, seconds: float = SECONDS) -> Run:
        """About so much CPU, with data of so many lines over and over. Raises Miscounted."""
        self.setUp()
        KINDS["PercentileGroup"] = native.PERCENTILE_GROUP
        self.agent = self.start(Gate(self.local), max_memory_bytes=1 << 30)
        gatherer = Gatherer(self.agent, native.Statsd("host"), TYPES, self.clock, 0.1)
        protocol = StatsdFactory(gatherer).buildProtocol(None)
        protocol.makeConnection(StringTransport())
        sent, began, started = 0, time.process_time(), time.monotonic()
        last = began
        while last - began < seconds:
            for at in range(0, len(data), PIECE):
                protocol.dataReceived(data[at : at + PIECE])
                now = time.process_time()
                self.clock.advance(now - last)
                last = now
            sent += lines
        gatherer.flush()
        self.clock.advance(1.0)
        used = time.process_time() - began
        check("StatsD in one process", self.agent.ledger()["received"], sent)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Run(sent, used, time.monotonic() - started, peak)


def run(asked: Asked = AS_USUAL) -> Iterator[Figure]:
    """Counters and timers of 200 and 20,000 names."""
    for name, make in (("counters", statsd_lines.counters), ("timers", statsd_lines.timers)):
        for names in (200, 20_000):
            data = b"".join(make(statsd_lines.names(names), LINES // names))
            what = f"StatsD in one process, with sending and a frontend: {name}, {names} names"
            runs = asked.repeat(what, RUNS, lambda data=data: Rig().measure(data))  # type: ignore[misc]
            yield figure_of(what, runs)


def main() -> None:
    """Print a table."""
    print(HEADER)
    for figure in run():
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
