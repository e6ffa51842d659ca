"""Sockets of datagrams, as the kernel has them: what it drops, how much it holds, and senders that wait.

REAL: sockets, on loopback and in a folder for the moment; no processes, and waiting only for the kernel.
"""

from __future__ import annotations

import os
import socket
import tempfile
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
        """While the agent takes nothing, datagrams are received all the same, and their lines are counted."""
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
        self.assertEqual(self.ledger("dropped.datagrams", "dropped.lines.memory"),
                         {"dropped.datagrams": 40, "dropped.lines.memory": 120})  # fmt: skip


class UnixTests(PortCase):
    """Datagrams on this host, whose senders can wait."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="taba-")  # a socket's path is short
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "sd.sock")
        self.open(f"unix:{self.path}")
        self.sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.sender.close)
        self.sender.connect(self.path)
        self.sender.setblocking(False)

    def send_until_full(self) -> int:
        """Send until the kernel lets the sender wait; how many datagrams it took."""
        for sent in range(1_000_000):
            try:
                self.sender.send(b"a:1|c")
            except BlockingIOError:
                return sent
        raise AssertionError("no sender ever waits")

    def test_senders_wait(self) -> None:
        """While the agent takes nothing the socket is not read, so that senders wait, and nothing is lost."""
        self.refuse()
        sent = self.send_until_full()
        self.port.doRead()
        self.assertEqual(self.reactor.reading, [])
        self.pass_time(1)
        self.assertEqual(self.reactor.reading, [])
        self.accept()
        self.pass_time(0.2)
        self.read_until(lambda: self.gatherer.counts["datagrams"] >= sent)
        self.sender.send(b"a:1|c")
        self.read_until(lambda: self.gatherer.counts["datagrams"] >= sent + 1)
        self.pass_time(1)
        self.assertEqual(self.total(), (sent + 1, sent + 1))
        self.assertEqual(self.ledger("dropped.datagrams"), {"dropped.datagrams": 0})

    def test_only_the_servers_behind(self) -> None:
        """While only the servers are behind, they are read: many a sender does not wait, but gives up."""
        self.patch(self.agent, "refusing", lambda: "the servers are behind")
        self.sender.send(b"a:1|c")
        self.read_until(lambda: self.gatherer.counts["datagrams"] >= 1)
        self.pass_time(1)
        self.assertEqual((self.total(), self.reactor.reading), ((1, 1), [self.port]))

    def test_closed_while_waiting(self) -> None:
        """A port that is closed then takes a last look at what waits, counts it as dropped, and is not read again."""
        self.refuse()
        self.sender.send(b"a:1|c\na:1|c")
        self.port.doRead()
        self.port.close()
        self.accept()
        self.pass_time(1)
        self.assertEqual((self.reactor.reading, self.total()), ([], (0, 0)))
        self.assertEqual(self.ledger("dropped.datagrams", "dropped.lines.memory"),
                         {"dropped.datagrams": 1, "dropped.lines.memory": 2})  # fmt: skip
        self.assertFalse(os.path.exists(self.path))
