"""An agent with StatsD before it, over a disk in memory: what tests of it share."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import StringTransport

from taba import native
from taba.agent.statsd.gathering import Gatherer
from taba.agent.statsd.streams import StatsdFactory, StatsdProtocol
from taba.agent.statsd.telling import expose_statsd
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
        protocol.makeConnection(transport)
        return protocol, transport

    def ledger(self, *lines: str) -> dict[str, int]:
        """Some lines of the agent's ledger."""
        return {line: self.agent.ledger().get(line, 0) for line in lines}

    def metrics(self) -> str:
        """Its numbers, as /metrics has them."""
        into = Exposition()
        expose_statsd(into, "taba_agent", self.gatherer)
        return into.text()

    def refuse(self) -> None:
        """The agent can take nothing from now on."""
        self.patch(self.agent, "obstacle", lambda: "the disk is broken")

    def accept(self) -> None:
        """It is well again."""
        del self.agent.obstacle
