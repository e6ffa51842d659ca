"""StatsD into an agent's intake: what senders see, and what becomes of it."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from taba import native
from taba.agent.statsd.gathering import Gatherer
from tests.agent.statsd.gathering_case import GatheringCase


class GatheringTests(GatheringCase):
    """What comes in."""

    def test_durable_soon(self) -> None:
        """What a sender sent is durable after two commits' time, and comes to the servers."""
        self.begin()
        protocol, _ = self.connect()
        protocol.dataReceived(b"a:1|c\na:2")
        protocol.dataReceived(b"|c\n")
        self.gatherer.datagram(b"a:4|c")
        self.pass_time(0.25)
        self.assertEqual(self.ledger("received", "pending"), {"received": 3, "pending": 3})
        self.pass_time(1)
        self.assertEqual(self.total(), (3, 7))
        self.assertEqual(self.agent.intake.receiving if self.agent.intake else None, 0)

    def test_crash(self) -> None:
        """What was committed outlives a kill of the agent; what was only gathered does not."""
        self.begin()
        self.gatherer.datagram(b"a:1|c\na:2|c")
        self.pass_time(0.3)
        self.gatherer.datagram(b"a:4|c")
        self.crash()
        self.begin()
        self.pass_time(1)
        self.assertEqual(self.total(), (2, 3))

    def test_stop(self) -> None:
        """An agent that stops in good order has what came last, but for the line that a sender had begun."""
        self.begin()
        protocol, transport = self.connect()
        self.gatherer.datagram(b"a:1|c")
        protocol.dataReceived(b"a:1|c")
        self.gatherer.stop()
        self.factory.close()
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.stop()
        self.begin()
        self.pass_time(1)
        self.assertEqual(self.total(), (1, 1))

    def test_ends_of_connections(self) -> None:
        """A last line without LF counts when the sender closed in order; else it may be cut, and is refused."""
        self.begin()
        for reason, sent in ((ConnectionDone(), b"a:1|c\na:1|c"), (ConnectionLost(), b"a:1|c\na:1|c")):
            protocol, _ = self.connect()
            protocol.dataReceived(sent)
            protocol.connectionLost(Failure(reason))
        self.pass_time(1)
        self.assertEqual(self.total(), (3, 3))
        self.assertEqual(self.ledger("received", "refused.syntax"), {"received": 4, "refused.syntax": 1})

    def test_account(self) -> None:
        """Bad lines are counted by reason, in the ledger and in metrics; what is nothing for Taba is counted apart."""
        self.begin()
        self.gatherer.datagram(b"a:1|c\nbad\na:x|c\na:1|q\nu:x|s\na:1|d\n_e{1,1}:a|b\n_sc|a|0\na b:1|c\na_b:1|c")
        self.pass_time(0.3)
        self.assertEqual(
            {line: count for line, count in self.agent.ledger().items() if line != "pending"},
            {"received": 7, "refused.syntax": 1, "refused.value": 1, "refused.type": 2, "ignored.event": 1,
             "ignored.check": 1, "ignored.unused": 1},
        )  # fmt: skip
        self.assertEqual(self.gatherer.counts["collisions"], 1)
        self.assertIn('taba_agent_statsd_refused_total{reason="type"} 2\n', self.metrics())

    def test_samples(self) -> None:
        """Of many bad lines one is logged, a minute later another one."""
        self.begin()
        logged: list[str] = []
        self.patch(Gatherer, "_log", type("Log", (), {"warn": lambda _, text, **facts: logged.append(facts["line"])})())
        for turn in range(4):
            self.gatherer.datagram(b"bad\x00%d" % turn)
            self.pass_time(0.2)
        self.pass_time(61)
        self.gatherer.datagram(b"worse")
        self.pass_time(0.2)
        self.assertEqual(logged, ["'bad\\x000'", "'worse'"])

    def test_new_types(self) -> None:
        """A Type that the servers teach the agent is taken from the next lines on."""
        self.begin()
        self.gatherer.datagram(b"u:x|s")
        self.pass_time(0.2)
        assert self.agent.intake is not None
        self.agent.intake.kinds = {**self.agent.intake.kinds, "UniqueGroup": native.RAW}
        self.gatherer.datagram(b"u:x|s")
        self.pass_time(0.2)
        expected = {"received": 2, "refused.type": 1, "pending": 1}
        self.assertEqual(self.ledger(*expected), expected)

    def test_wrong_type(self) -> None:
        """A set cannot become a Type of numbers: its lines are refused, nothing else is harmed."""
        self.begin()
        self.gatherer._types = {"c": "CounterGroup", "s": "CounterGroup"}
        self.gatherer.datagram(b"u:x|s\na:1|c")
        self.pass_time(0.3)
        self.assertEqual(self.ledger("received", "refused.type"), {"received": 2, "refused.type": 1})
        self.assertEqual(len(self.flushLoggedErrors()), 0)
