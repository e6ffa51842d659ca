"""StatsD into a double agent (DOUBLE_AGENT): each line reaches both clusters, in each of them once."""

from __future__ import annotations

from twisted.internet.testing import StringTransport

from taba import native
from taba.agent.double import MISSED
from taba.agent.statsd.gathering import Gatherer
from taba.agent.statsd.streams import StatsdFactory, StatsdProtocol
from taba.errors import WrongType
from taba.interfaces import IStore
from tests.agent.agent_case import Away
from tests.agent.double_case import DoubleCase

TYPES = {"c": "CounterGroup", "g": "Gauge", "ms": "CounterGroup"}


class DoubleStatsdTests(DoubleCase):
    """A double agent with StatsD before it."""

    def setUp(self) -> None:
        super().setUp()
        self.take_statsd()

    def take_statsd(self) -> None:
        """StatsD before the agent that lives."""
        self.gatherer = Gatherer(self.agent, native.Statsd("host"), TYPES, self.clock, 0.1)
        self.factory = StatsdFactory(self.gatherer)

    def connect(self) -> tuple[StatsdProtocol, StringTransport]:
        """A sender by TCP."""
        protocol, transport = self.factory.buildProtocol(None), StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def gauges(self, store: IStore) -> list[bytes]:
        """What gauges were set to, in the order in which a store got it."""
        entries = self.successResultOf(store.read(dict.fromkeys(range(4), 0), 1 << 30, 0.0))
        found = [each for entry in entries for each in native.batch_entries(entry.body) if each.type == "Gauge"]
        values = [native.gauge_entries(native.fold(native.GAUGE, b"", [each.partial])) for each in found]
        return [each.value for one in sorted(values, key=lambda some: some[0].time) for each in one]

    def test_both_get_every_line(self) -> None:
        """Datagrams and streams, sampled lines and packed values: both clusters have every event, once."""
        protocol, _ = self.connect()
        for _ in range(5):
            protocol.dataReceived(b"a:1|c\na:2|c\nb:3|ms|@0.5\n")
            self.gatherer.datagram(b"a:4:5|c|#k:v")
            self.pass_time(0.15)
        self.assertEqual(self.totals(), ((5 * 6, 5 * 18), (5 * 6, 5 * 18)))
        self.assertEqual((self.agent.ledger()["received"], self.agent.second.ledger()["received"]), (30, 30))
        self.assertEqual(self.line(MISSED), 0)

    def test_changes_of_gauges(self) -> None:
        """A change is worked out before it is copied: both clusters show the same value."""
        for line in (b"g:10|g", b"g:+5|g", b"g:-2|g"):
            self.gatherer.datagram(line)
            self.pass_time(0.3)
        self.pass_time(2)
        self.assertEqual(self.gauges(self.store), [b"10", b"15", b"13"])
        self.assertEqual(self.gauges(self.second_store), [b"10", b"15", b"13"])

    def test_second_servers_away(self) -> None:
        """Neither senders nor the first cluster wait for the second one, which gets all when it is back."""
        self.stop()
        self.begin(second=Away())
        self.take_statsd()
        protocol, transport = self.connect()
        protocol.dataReceived(b"a:1|c\n" * 100)
        self.assertEqual((self.totals(), transport.producerState), (((100, 100), (0, 0)), "producing"))
        self.stop()
        self.begin()
        self.assertEqual(self.totals(), ((100, 100), (100, 100)))

    def test_second_spool_full(self) -> None:
        """Lines for which the second spool has no room are counted as missed there; the first cluster has them, and
        senders go on.
        """
        self.second_disk.fill(True)
        protocol, transport = self.connect()
        sent = 0
        while self.line(MISSED) == 0:
            protocol.dataReceived(b"a:1|c\n" * 10)
            sent += 10
            self.pass_time(0.2)
        self.second_disk.fill(False)
        self.pass_time(5)
        protocol.dataReceived(b"a:1|c\n")
        (first, _), (second, _) = self.totals()
        self.assertEqual((first, transport.producerState), (sent + 1, "producing"))
        self.assertEqual(second + self.line(MISSED), sent + 1)

    def test_first_spool_full(self) -> None:
        """What the first agent has no room for waits, or is dropped and counted, and comes to neither or to both."""
        protocol, transport = self.connect()
        self.patch(self.agent, "obstacle", lambda: "the disk is broken")
        protocol.dataReceived(b"a:1|c\n")
        self.gatherer.datagram(b"a:2|c")
        self.assertEqual((self.totals(), transport.producerState), (((0, 0), (0, 0)), "paused"))
        del self.agent.obstacle
        self.assertEqual(self.totals(), ((1, 1), (1, 1)))
        self.assertEqual((transport.producerState, self.line("dropped.datagrams")), ("producing", 1))

    def test_killed(self) -> None:
        """Kill -9 loses in both what was not committed yet, and doubles nothing in either."""
        self.gatherer.datagram(b"a:1|c\na:2|c")
        self.pass_time(0.3)
        self.gatherer.datagram(b"a:4|c")
        self.crash()
        self.begin()
        self.take_statsd()
        self.gatherer.datagram(b"a:8|c")
        self.assertEqual(self.totals(), ((3, 11), (3, 11)))

    def test_killed_between_commits(self) -> None:
        """Each spool commits for itself: what only one of them had on disk is in that cluster, once, and not in the
        other.
        """
        for left_behind, expected in ((1, ((1, 1), (0, 0))), (0, ((1, 1), (1, 2)))):
            self.workers[left_behind].hold()
            self.gatherer.datagram(b"a:%d|c" % (2 - left_behind))
            self.pass_time(0.5)
            self.crash()
            self.begin()
            self.take_statsd()
            self.assertEqual(self.totals(), expected)

    def test_strange_to_the_second(self) -> None:
        """What the second agent cannot take is missing there alone, and is not counted as refused."""
        self.patch(self.agent.second, "apply", lambda *_: (_ for _ in ()).throw(WrongType("another kind")))
        self.gatherer.datagram(b"a:1|c")
        self.assertEqual(self.totals(), ((1, 1), (0, 0)))
        self.assertEqual((self.line(MISSED), self.line("received"), self.line("refused.memory")), (1, 1, 0))

    def test_refused(self) -> None:
        """A bad line is counted once, by the first agent, which is the one that senders see."""
        self.gatherer.datagram(b"bad\na:1|c")
        self.assertEqual(self.totals(), ((1, 1), (1, 1)))
        self.assertEqual((self.line("received"), self.line("refused.syntax")), (2, 1))
        self.assertEqual(self.agent.second.ledger()["received"], 1)
