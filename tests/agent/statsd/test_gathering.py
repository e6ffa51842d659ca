"""StatsD into an agent's intake: what senders see, and what becomes of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from taba import native
from taba.agent.statsd import gathering
from taba.agent.statsd.gathering import Gatherer
from taba.agent.statsd.streams import StatsdFactory, StatsdProtocol
from taba.agent.statsd.telling import expose_statsd
from taba.errors import WrongType
from taba.metrics import Exposition
from tests.agent.agent_case import AgentCase, Gate

TYPES = {"c": "CounterGroup", "g": "Gauge", "ms": "CounterGroup", "s": "UniqueGroup", "d": ""}


class GatheringCase(AgentCase):
    """An agent with StatsD before it, and a server."""

    def begin(self, **settings: Any) -> None:
        """Start the agent."""
        self.agent = self.start(Gate(self.local), **settings)
        self.gatherer = Gatherer(self.agent, native.Statsd("host"), TYPES, self.clock, 0.1)
        self.factory = StatsdFactory(self.gatherer)

    def connect(self) -> tuple[StatsdProtocol, StringTransport]:
        """A sender by TCP."""
        protocol, transport = self.factory.buildProtocol(None), StringTransport()
        protocol.makeConnection(transport)  # type: ignore[arg-type]
        return protocol, transport

    def ledger(self, *lines: str) -> dict[str, int]:
        """Some lines of the agent's ledger."""
        return {line: self.agent.ledger().get(line, 0) for line in lines}


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
        into = Exposition()
        expose_statsd(into, "taba_agent", self.gatherer)
        self.assertIn('taba_agent_statsd_refused_total{reason="type"} 2\n', into.text())

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


class OverloadTests(GatheringCase):
    """More than the agent takes."""

    def refuse(self) -> None:
        """The disk refuses everything from now on."""
        self.patch(self.agent, "obstacle", lambda: "the disk is broken")

    def accept(self) -> None:
        """It is well again."""
        del self.agent.obstacle

    def test_back_pressure(self) -> None:
        """While the agent refuses events, streams are not read, and what was read is kept until it takes them again."""
        self.begin()
        protocol, transport = self.connect()
        self.refuse()
        protocol.dataReceived(b"a:1|c\n")
        self.assertEqual(transport.producerState, "paused")
        self.pass_time(0.5)
        self.assertEqual(transport.producerState, "paused")
        self.accept()
        self.pass_time(1)
        self.assertEqual((transport.producerState, self.total()), ("producing", (1, 1)))

    def test_datagrams(self) -> None:
        """Meanwhile datagrams are dropped, and counted in the ledger."""
        self.begin()
        self.refuse()
        for _ in range(3):
            self.gatherer.datagram(b"a:1|c")
        self.accept()
        self.gatherer.dropped_by_kernel(5)
        self.gatherer.datagram(b"a:1|c")
        self.pass_time(1)
        self.assertEqual(self.total(), (1, 1))
        self.assertEqual(
            self.ledger("received", "dropped.datagrams", "dropped.datagrams.kernel"),
            {"received": 1, "dropped.datagrams": 3, "dropped.datagrams.kernel": 5},
        )

    def test_behind(self) -> None:
        """While only the servers are behind, streams wait, and datagrams are taken: nobody would send them again."""
        self.begin()
        protocol, transport = self.connect()
        self.patch(self.agent, "refusing", lambda: "the servers are behind")
        protocol.dataReceived(b"a:1|c\n")
        self.gatherer.datagram(b"a:2|c")
        self.pass_time(1)
        self.assertEqual((transport.producerState, self.total()), ("paused", (2, 3)))
        del self.agent.refusing
        self.pass_time(0.2)
        self.assertEqual(transport.producerState, "producing")

    def test_memory_is_full(self) -> None:
        """With AGENT_MEMORY_BYTES full streams are not read and lose nothing; datagrams are dropped, and counted."""
        self.begin()
        protocol, transport = self.connect()
        full = self.agent.budget.intake + 1
        self.agent.receiving(full)  # requests that are coming in
        self.assertIn("AGENT_MEMORY_BYTES", self.agent.obstacle() or "")
        protocol.dataReceived(b"a:1|c\n" * 3)
        for _ in range(2):
            self.gatherer.datagram(b"a:1|c\na:1|c")
        self.pass_time(1)
        self.assertEqual((transport.producerState, self.total()), ("paused", (0, 0)))
        self.agent.receiving(-full)
        self.pass_time(1)
        self.assertEqual((transport.producerState, self.total()), ("producing", (3, 3)))
        self.assertEqual(self.ledger("received", "dropped.datagrams"), {"received": 3, "dropped.datagrams": 2})
        metrics = Exposition()
        expose_statsd(metrics, "taba_agent", self.gatherer)
        self.assertIn('taba_agent_statsd_dropped_datagrams_total{by="agent"} 2', metrics.text())

    def test_gone_meanwhile(self) -> None:
        """A sender that leaves while it was not read is not woken."""
        self.begin()
        protocol, transport = self.connect()
        self.refuse()
        protocol.dataReceived(b"a:1|c\n")
        protocol.connectionLost(Failure(ConnectionDone()))
        self.accept()
        self.pass_time(1)
        self.assertEqual((transport.producerState, self.total()), ("paused", (1, 1)))

    def test_much_at_once(self) -> None:
        """Many events are applied before their time is over, and come to their exact number."""
        self.begin()
        self.patch(gathering, "LEAST_WINDOW", 1000)
        self.gatherer._window = 1000
        self.gatherer.datagram(b"a:1:1:1:1:1|c\n" * 1000)
        assert self.agent.intake is not None
        self.assertEqual(self.agent.intake.open.accumulator.summary()[0], 5000)

    def test_sampled_timers_while_refused(self) -> None:
        """Lines that stand for very many events, and come just when the agent refuses some, are all counted later."""
        self.begin()
        protocol, transport = self.connect()
        self.refuse()
        protocol.dataReceived(b"a:1|ms|@0.001\n" * 5000)
        self.pass_time(0.5)
        self.accept()
        self.pass_time(2)
        self.assertEqual((transport.producerState, self.total()), ("producing", (5_000_000, 5_000_000)))

    def test_little_memory(self) -> None:
        """An agent with the least memory applies in more steps what it cannot hold at once."""
        self.begin(max_memory_bytes=96 << 20)
        self.gatherer.datagram(b"a:1|ms|@0.001\n" * 2000)
        self.pass_time(2)
        self.assertEqual((self.total(), self.ledger("refused.memory")), ((2_000_000, 2_000_000), {"refused.memory": 0}))

    def test_names(self) -> None:
        """Names that take too much memory are forgotten; counting goes on."""
        self.begin()
        self.patch(gathering, "LEAST_NAMES_BYTES", 100_000)
        self.patch(gathering, "NAMES_PART", 1 << 30)
        self.gatherer.datagram(b"".join(b"name.%06d:1|c\n" % number for number in range(20_000)))
        self.pass_time(0.5)
        self.gatherer.datagram(b"name.000001:1|c\n")
        self.pass_time(0.5)
        self.assertEqual((self.gatherer.counts["resets"], self.gatherer.tabs), (1, 1))
        self.assertEqual(self.ledger("received"), {"received": 20_001})

    def test_no_memory(self) -> None:
        """What even an empty request cannot hold is counted as refused."""
        self.begin()
        self.patch(gathering, "StatsdScratch", Small)
        self.gatherer.datagram(b"".join(b"tab.%d:1|c\n" % number for number in range(100)))
        self.pass_time(0.3)
        self.assertEqual(self.ledger("received", "refused.memory"), {"received": 100, "refused.memory": 100})


    def test_never(self) -> None:
        """What can never be applied does not stand in the way of what comes after it."""
        self.begin()
        apply = self.agent.apply
        self.patch(self.agent, "apply", lambda *_: (_ for _ in ()).throw(WrongType("another kind")))
        self.gatherer.datagram(b"a:1|c")
        self.pass_time(0.3)
        self.agent.apply = apply  # type: ignore[method-assign]
        self.gatherer.datagram(b"a:1|c")
        self.pass_time(1)
        self.assertEqual((self.total(), self.ledger("refused.memory")), ((1, 1), {"refused.memory": 1}))


class Small(native.StatsdScratch):
    """A scratch that holds next to nothing."""

    def __init__(self, limits: native.Limits, types: Any) -> None:
        super().__init__(native.Limits(max_memory=1900), {"CounterGroup": native.COUNTER_GROUP})
