"""StatsD while the agent takes nothing, or not all at once: senders that can wait do, and what is lost is counted."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from taba import native
from taba.agent.statsd import gathering
from taba.errors import WrongType
from tests.agent.statsd.gathering_case import GatheringCase


class OverloadTests(GatheringCase):
    """More than the agent takes."""

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
        self.assertIn('taba_agent_statsd_dropped_datagrams_total{by="kernel"} 5\n', self.metrics())
        self.assertIn('taba_agent_statsd_dropped_datagrams_total{by="agent"} 3\n', self.metrics())

    def test_all_streams_wait(self) -> None:
        """As soon as the agent refuses, no stream is read, also those that brought nothing yet, and those that come: a
        thousand senders cannot fill the memory with a read each.
        """
        self.begin()
        (first, _), (_, idle) = self.connect(), self.connect()
        self.refuse()
        first.dataReceived(b"a:1|c\n")
        _, late = self.connect()
        self.assertEqual((idle.producerState, late.producerState), ("paused", "paused"))
        self.accept()
        self.pass_time(1)
        self.assertEqual((idle.producerState, late.producerState), ("producing", "producing"))

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
        self.assertIn('taba_agent_statsd_dropped_datagrams_total{by="agent"} 2', self.metrics())

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
