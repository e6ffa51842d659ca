"""StatsD when AGENT_MEMORY_BYTES is full, since the disk takes nothing for a while: nothing is lost silently."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from tests.agent.double_case import Held
from tests.agent.statsd.gathering_case import GatheringCase

NAMES = 2000
"""In a datagram of this test: each is a Partial, so that few datagrams take the memory."""


class MemoryTests(GatheringCase):
    """An agent with the least memory, whose disk can be kept from taking anything."""

    def setUp(self) -> None:
        super().setUp()
        self.disk_worker = Held()
        self.begin(max_memory_bytes=96 << 20)

    def worker(self, name: str) -> Any:
        """The disk of the spool."""
        return self.disk_worker

    def datagrams(self) -> Iterator[bytes]:
        """Datagrams with NAMES lines each, and as many names."""
        for number in range(1000):
            yield b"".join(b"%d.%s.%d:1|c\n" % (number, b"x" * 20, each) for each in range(NAMES))

    def fill(self) -> int:
        """Send datagrams until the agent takes no more; how many lines it took."""
        self.disk_worker.hold()
        taken = 0
        for datagram in self.datagrams():
            self.gatherer.datagram(datagram)
            taken += NAMES
            self.pass_time(0.15)
            if self.gatherer.dropping():
                return taken
        raise AssertionError("the memory does not fill")

    def test_datagrams_are_counted(self) -> None:
        """Datagrams that come then are dropped: they, and their lines with the reason, stand in the ledger and in
        /metrics, and the log says it, once. What was taken before is counted when the disk goes on.
        """
        logged: list[str] = []

        @implementer(ILogObserver)
        def observer(event: LogEvent) -> None:
            logged.append(str(event.get("why", "")))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        taken = self.fill()
        for _ in range(3):
            self.gatherer.datagram(b"late:1|c\n\nlate:1|c")
            self.pass_time(0.2)
        self.disk_worker.go_on()
        self.pass_time(1)
        self.gatherer.datagram(b"after:1|c")
        self.pass_time(2)
        self.assertEqual(self.total(), (taken + 1, taken + 1))
        self.assertEqual(
            self.ledger("received", "dropped.datagrams", "dropped.lines.memory", "refused.memory"),
            {"received": taken + 1, "dropped.datagrams": 3, "dropped.lines.memory": 6, "refused.memory": 0},
        )
        self.assertIn('taba_agent_statsd_dropped_lines_total{reason="memory"} 6\n', self.metrics())
        self.assertIn('taba_agent_statsd_dropped_lines_total{reason="disk"} 0\n', self.metrics())
        self.assertEqual(len([why for why in logged if "AGENT_MEMORY_BYTES" in why]), 1)

    def test_streams_wait(self) -> None:
        """Streams are not read until there is room again: everything sent is counted, nothing is dropped."""
        protocol, transport = self.connect()
        self.disk_worker.hold()
        sent = 0
        for datagram in self.datagrams():
            if transport.producerState == "paused":
                break
            protocol.dataReceived(datagram)
            sent += NAMES
            self.pass_time(0.15)
        self.assertEqual(transport.producerState, "paused")
        self.pass_time(2)
        self.assertEqual(transport.producerState, "paused")
        self.disk_worker.go_on()
        self.pass_time(3)
        self.assertEqual((transport.producerState, self.total()), ("producing", (sent, sent)))
        self.assertEqual(self.ledger("dropped.datagrams", "refused.memory"),
                         {"dropped.datagrams": 0, "refused.memory": 0})  # fmt: skip

    def test_other_reasons(self) -> None:
        """A full spool, a failing disk, and an agent that has not begun are named as such."""
        self.patch(self.agent, "obstacle", lambda: "why")
        full = self.patch(type(self.agent.committer), "full", property(lambda _: True))
        self.gatherer.datagram(b"a:1|c\r\n")
        full.restore()
        self.patch(type(self.agent.committer), "problem", property(lambda _: "the disk is broken"))
        self.gatherer.datagram(b"a:1|c\na:1|c")
        intake, self.agent.intake = self.agent.intake, None
        self.gatherer.datagram(b"\n\r\na:1|c\n")
        self.agent.intake = intake
        self.assertEqual(
            {name: count for name, count in self.gatherer.counts.items() if name.startswith("dropped_lines")},
            {"dropped_lines.spool": 1, "dropped_lines.disk": 2, "dropped_lines.starting": 1},
        )
