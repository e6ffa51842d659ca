"""What StatsD costs an agent as if it had a processor for itself: `python -m tests.benchmarks.statsd`.

In one process: prepared lines go through a protocol of TCP into a whole agent, in pieces of 256 KiB; it commits to a
spool in memory, seals, and sends to a frontend over a store in memory, all of whose CPU counts, too. Its clock goes on
by the CPU time that was used. So it shows what `tests.benchmarks.peers` shows where nobody else wants the processor:
there commits and seals, which come by the clock, are shared by as many events as the processor can take. What is not in
it: the kernel's part of receiving, HTTP, and the disk. Every count is checked.
"""

from __future__ import annotations

import statistics
import time

from twisted.internet.testing import StringTransport

from taba import native
from taba.agent.statsd.gathering import Gatherer
from taba.agent.statsd.streams import StatsdFactory
from tests.agent.agent_case import KINDS, AgentCase, Gate
from tests.benchmarks import statsd_lines

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

    def measure(self, data: bytes) -> float:
        """Events per second of CPU."""
        self.setUp()
        KINDS["PercentileGroup"] = native.PERCENTILE_GROUP
        self.agent = self.start(Gate(self.local), max_memory_bytes=1 << 30)
        gatherer = Gatherer(self.agent, native.Statsd("host"), TYPES, self.clock, 0.1)
        protocol = StatsdFactory(gatherer).buildProtocol(None)
        protocol.makeConnection(StringTransport())  # type: ignore[arg-type]
        sent, began = 0, time.process_time()
        last = began
        while last - began < SECONDS:
            for at in range(0, len(data), PIECE):
                protocol.dataReceived(data[at : at + PIECE])
                now = time.process_time()
                self.clock.advance(now - last)
                last = now
            sent += LINES
        gatherer.flush()
        self.clock.advance(1.0)
        used = time.process_time() - began
        if self.agent.ledger()["received"] != sent:
            raise RuntimeError(f"{self.agent.ledger()['received']} events of {sent} are durable")
        return sent / used


def main() -> None:
    """Print a table."""
    print("| | names | k events per CPU-second | spread |\n| --- | ---: | ---: | ---: |")
    for name, make in (("counters", statsd_lines.counters), ("timers", statsd_lines.timers)):
        for names in (200, 20_000):
            data = b"".join(make(statsd_lines.names(names), LINES // names))
            rates = [Rig().measure(data) / 1e3 for _ in range(RUNS)]
            print(f"| {name} | {names:,} | {statistics.median(rates):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} |")


if __name__ == "__main__":
    main()
