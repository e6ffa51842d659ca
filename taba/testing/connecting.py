"""Ports that listen and attempts to connect: Twisted's `IListeningPort` and `IConnector` on the simulated network.

They speak to factories as Twisted's TCP ports and connectors do: doStart and doStop, startedConnecting,
buildProtocol, clientConnectionFailed, clientConnectionLost. Reactors make them through `MemoryNetwork.listen` and
`MemoryNetwork.connect`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import NotConnectingError, TimeoutError, UserError
from twisted.internet.interfaces import IConnector, IListeningPort, IProtocolFactory
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from taba.testing.clock import CallOwner, VirtualCall
from taba.testing.transport import MemoryTransport

if TYPE_CHECKING:
    from taba.testing.network import MemoryNetwork

LOOPBACK = "127.0.0.1"


@implementer(IListeningPort)
@define(eq=False)
class MemoryPort:
    """A port on which a process listens; made by `MemoryNetwork.listen`."""

    network: MemoryNetwork
    owner: CallOwner | None
    host: str
    port: int
    scope: str
    """Who reaches it: "any", "loopback" or "external"."""
    factory: IProtocolFactory
    _listening: bool = field(default=False, init=False)

    def startListening(self) -> None:
        """Listen; raises CannotListenError when the port is taken."""
        if not self._listening:
            self.network.open_port(self)
            self._listening = True
            self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """Listen no more; connections that stand go on. Fires at the next turn."""
        done: Deferred[None] = Deferred()
        if not self._listening:
            return succeed(None)
        self._listening = False
        self.network.close_port(self)

        def stopped() -> None:
            self.factory.doStop()
            done.callback(None)

        self.network.clock.schedule(self.owner, 0, stopped, (), {})
        return done

    def getHost(self) -> IPv4Address:
        """The address on which it listens."""
        any_or_address = {"any": "0.0.0.0", "loopback": LOOPBACK}.get(self.scope) or self.network.address_of(self.host)
        return IPv4Address("TCP", any_or_address, self.port)


@implementer(IConnector)
@define(eq=False)
class MemoryConnector:
    """One attempt to connect, and the connection that came of it, in Twisted's three states."""

    network: MemoryNetwork
    owner: CallOwner | None
    source: str
    host: str
    port: int
    factory: ClientFactory[Any]
    timeout: float | None
    state: str = field(default="disconnected", init=False)
    transport: MemoryTransport | None = field(default=None, init=False)
    _timer: VirtualCall | None = field(default=None, init=False)
    _factory_started: bool = field(default=False, init=False)

    def connect(self) -> None:
        """Start to connect; again after a connection has failed or been lost."""
        if self.state != "disconnected":
            raise RuntimeError("can't connect in this state")
        self.state = "connecting"
        if not self._factory_started:
            self.factory.doStart()
            self._factory_started = True
        self.transport = transport = self.network.open_connection(self)
        if self.timeout is not None:
            self._timer = self.network.clock.schedule(
                self.owner, self.timeout, transport.failIfNotConnected, (TimeoutError(),), {}
            )
        self.factory.startedConnecting(self)

    def stopConnecting(self) -> None:
        """Give up an attempt that is under way."""
        if self.state != "connecting" or self.transport is None:
            raise NotConnectingError("we're not trying to connect")
        self.state = "disconnected"
        self.transport.failIfNotConnected(UserError())

    def disconnect(self) -> None:
        """Give up, or close, whichever applies."""
        if self.state == "connecting":
            self.stopConnecting()
        elif self.state == "connected" and self.transport is not None:
            self.transport.loseConnection()

    def getDestination(self) -> IPv4Address:
        """The address to connect to, with the name when that is all there is."""
        return IPv4Address("TCP", self.network.find_address(self.source, self.host) or self.host, self.port)

    # What the transport tells it.

    def connectionMade(self, transport: MemoryTransport) -> None:
        """The other end has accepted: build the protocol."""
        self.state = "connected"
        self._stop_timer()
        try:
            protocol = self.factory.buildProtocol(transport.peer)
        except Exception:
            if self.owner is None:
                raise
            self.owner.call_failed(Failure())
            protocol = None
        transport.established(protocol)

    def connectionFailed(self, reason: Failure) -> None:
        """The attempt came to nothing."""
        self._stop_timer()
        self.transport = None
        self.state = "disconnected"
        self.factory.clientConnectionFailed(self, reason)
        self._stop_factory()

    def connectionLost(self, reason: Failure) -> None:
        """The connection has ended."""
        self.state = "disconnected"
        self.factory.clientConnectionLost(self, reason)
        self._stop_factory()

    def _stop_factory(self) -> None:
        if self.state == "disconnected":  # else the factory connects again
            self._factory_started = False
            self.factory.doStop()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
