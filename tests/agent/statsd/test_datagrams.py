"""Sockets of datagrams, as the kernel has them: what it drops, and how much it holds.

REAL: sockets on loopback; no processes, and waiting only for the kernel.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SkipTest

from taba.agent.statsd import datagrams
from taba.agent.statsd.datagrams import DatagramPort
from taba.agent.statsd.endpoints import BUFFER_BYTES, parse
from tests.agent.statsd.gathering_case import GatheringCase

PATIENCE = 60.0
"""Seconds that the kernel may take on a busy machine."""


class Readers:
    """A reactor, as far as a port needs one."""

    def __init__(self) -> None:
        self.reading: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """See IReactorFDSet."""
        if reader not in self.reading:
            self.reading.append(reader)

    def removeReader(self, reader: Any) -> None:
        """See IReactorFDSet."""
        if reader in self.reading:
            self.reading.remove(reader)


class PortCase(GatheringCase):
    """A port before an agent."""

    def open(self, endpoint: str) -> DatagramPort:
        """Open a port."""
        self.begin()
        self.reactor = Readers()
        self.port = DatagramPort(self.reactor, parse(endpoint), self.gatherer)
        self.addCleanup(self.port.close)
        return self.port

    def read_until(self, done: Callable[[], bool]) -> None:
        """Read as a reactor does, until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            self.assertLess(time.monotonic(), deadline, "the kernel does not hand over what was sent")
            for each in list(self.reactor.reading):
                each.doRead()
                each.look()


class UdpTests(PortCase):
    """Datagrams from the network."""

    def sender(self) -> socket.socket:
        """Somebody who sends to the port."""
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(opened.close)
        opened.connect(("127.0.0.1", self.port.port))
        return opened

    def test_kernel_drops(self) -> None:
        """What came faster than it was read, and had no room in the kernel, is known to the last datagram: in the
        ledger, in /metrics.
        """
        port = self.open("udp:0:buffer=4096")
        try:
            port._socket.getsockopt(socket.SOL_SOCKET, datagrams.SO_MEMINFO, datagrams.MEMINFO_BYTES)
        except OSError:
            raise SkipTest("this system does not tell what it drops")
        sender, sent = self.sender(), 500
        for _ in range(sent):
            sender.send(b"a:1|c\n" * 100)
        counts = self.gatherer.counts
        self.read_until(lambda: counts["datagrams"] + counts["dropped_by_kernel"] >= sent)
        self.pass_time(1)
        dropped = counts["dropped_by_kernel"]
        self.assertEqual((counts["datagrams"] + dropped, dropped > 0), (sent, True))
        self.assertEqual(self.total(), (100 * counts["datagrams"], 100 * counts["datagrams"]))
        self.assertEqual(self.ledger("dropped.datagrams.kernel"), {"dropped.datagrams.kernel": dropped})
        self.assertIn(f'taba_agent_statsd_dropped_datagrams_total{{by="kernel"}} {dropped}\n', self.metrics())
        self.assertEqual(datagrams.dropped(port._socket), dropped)

    def test_buffer(self) -> None:
        """The receive buffer is as large as asked for, or as the system allows."""
        port = self.open("udp:0")
        with open("/proc/sys/net/core/rmem_max") as most:
            allowed = min(BUFFER_BYTES, int(most.read()))
        self.assertGreaterEqual(port._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), allowed)

    def test_ipv6(self) -> None:
        """An address of IPv6, with its colons escaped."""
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            try:
                sender.bind(("::1", 0))
            except OSError:
                raise SkipTest("there is no IPv6 here")
            self.open(r"udp:0:interface=\:\:1")
            self.assertEqual(self.port.name(), f"udp://[::1]:{self.port.port}")
            sender.sendto(b"a:1|c", ("::1", self.port.port))
            self.read_until(lambda: self.gatherer.counts["datagrams"] >= 1)

    def test_dropped_by_the_agent(self) -> None:
        """While the agent takes nothing, datagrams are received all the same, and counted."""
        self.open("udp:0")
        self.refuse()
        sender = self.sender()
        for _ in range(40):
            sender.send(b"a:1|c\nb:1|c\r\n\nc:1|c")
        self.read_until(lambda: self.gatherer.counts["dropped"] >= 40)
        self.accept()
        sender.send(b"a:1|c")
        self.read_until(lambda: self.gatherer.counts["datagrams"] >= 41)
        self.pass_time(1)
        self.assertEqual(self.total(), (1, 1))
        self.assertEqual(self.ledger("dropped.datagrams"), {"dropped.datagrams": 40})
