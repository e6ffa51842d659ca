"""The StatsD ports of an agent, as a service that starts after it and stops before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall

from taba.agent.service import Agent
from taba.agent.statsd.datagrams import DatagramPort
from taba.agent.statsd.endpoints import StatsdEndpoint, parse
from taba.agent.statsd.gathering import Gatherer
from taba.agent.statsd.streams import StatsdFactory
from taba.agent.statsd.telling import expose_statsd
from taba.binding import make_endpoint
from taba.errors import StartError
from taba.metrics import Exposition
from taba.native import Statsd
from taba.process import Process
from taba.settings import AgentSettings
from taba.stopping import stop_in_turn

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._~:/?@!$()*+;=-]")
LOOK_SECONDS = 1.0
"""How often the kernel is asked for what it dropped."""


class StatsdPorts(Service):
    """The ports of STATSD_LISTEN, and what came in by them."""

    def __init__(self, settings: AgentSettings, process: Process, agent: Agent) -> None:
        self._process = process
        self._endpoints: Sequence[StatsdEndpoint] = [parse(each) for each in settings.statsd_listen]
        client = settings.statsd_client or _NOT_IN_NAMES.sub("_", process.host)
        statsd = Statsd(client, signed_gauges=settings.statsd_gauges == "changes")
        delay = settings.commit_milliseconds / 1e3  # as often as commits are: they come right behind
        self.gatherer = Gatherer(agent, statsd, settings.types_by_metric(), process.reactor, delay)
        self._factory = StatsdFactory(self.gatherer)
        self.client = client
        self.datagrams: list[DatagramPort] = []
        self._streams: list[tuple[StatsdEndpoint, Any]] = []
        self._looking = LoopingCall(self._look)
        self._looking.clock = process.reactor

    @inlineCallbacks
    def startService(self):  # type: ignore[no-untyped-def]
        """Fires when all ports are open; StartError when one cannot be had, and then none is."""
        super().startService()
        reactor = self._process.reactor
        try:
            for each in self._endpoints:
                if each.datagrams:
                    self.datagrams.append(DatagramPort(reactor, each, self.gatherer))
                else:
                    port = yield make_endpoint(reactor, each.text).listen(self._factory)
                    self._streams.append((each, port))
        except CannotListenError as problem:
            yield self.stopService()
            raise StartError(f"Cannot listen on {problem.interface}:{problem.port}: {problem.socketError}.")
        except StartError:
            yield self.stopService()
            raise
        if self.datagrams:
            self._looking.start(LOOK_SECONDS)

    @inlineCallbacks
    def stopService(self):  # type: ignore[no-untyped-def]
        """Fires when the ports are closed, and the agent has all that came."""
        super().stopService()
        if self._looking.running:
            self._looking.stop()
        datagrams, self.datagrams = self.datagrams, []
        for each in datagrams:
            each.close()
        streams, self._streams = self._streams, []
        yield stop_in_turn(*(port.stopListening for _, port in streams))
        self.gatherer.stop()
        self._factory.close()

    def _look(self) -> None:
        for each in self.datagrams:
            each.look()

    def names(self) -> list[str]:
        """Where the ports are."""
        streams = [(each, port.getHost()) for each, port in self._streams]
        return [
            *(each.name() for each in self.datagrams),
            *(f"{each.kind}://{at.host}:{at.port}" for each, at in streams),
        ]

    def facts(self) -> dict[str, Any]:
        """What /status says of it."""
        self._look()
        return {
            "listening": ", ".join(self.names()),
            "client": self.client,
            "tabs": self.gatherer.tabs,
            **{name: count for name, count in sorted(self.gatherer.counts.items()) if count},
        }

    def expose(self, into: Exposition, prefix: str) -> None:
        """Its numbers for /metrics."""
        self._look()
        expose_statsd(into, prefix, self.gatherer)
