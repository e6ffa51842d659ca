"""Connections to one address of a server: where they go, whom they ask for, and how they end."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from taba.agent.connecting import Connection
from taba.settings import Endpoint
from taba.wire.v2 import Topology, encode_topology

TOPOLOGY = Topology("c" * 32, 128, durability="memory", time=1.7e9)


@implementer(IPolicyForHTTPS)
@define
class Asked:
    """Notes whose certificate is asked for."""

    hosts: list[tuple[bytes, int]] = field(factory=list)

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """Called by twisted.web."""
        self.hosts.append((hostname, port))
        return optionsForClientTLS(hostname.decode())


class ConnectionTests(SynchronousTestCase):
    """A server with a name and an address."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.trust = Asked()

    def make(self, server: Endpoint, address: str | None) -> Connection:
        return Connection(self.reactor, server, address, self.trust, lambda: None, 1)

    def ask(self, connection: Connection) -> tuple[Deferred[Topology], StringTransport]:
        """Ask for the topology on a new connection; it has not been answered."""
        asked = connection.endpoint.topology()
        *_, (_, _, factory, _, _) = self.reactor.tcpClients
        transport = StringTransport()
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", "10.0.0.1", 8300))
        protocol.makeConnection(transport)
        self.protocol = protocol
        return asked, transport

    def answer(self) -> None:
        """The server's answer comes on the connection that was made last."""
        body = encode_topology(TOPOLOGY)
        self.protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        self.reactor.advance(0)

    def test_goes_to_the_address(self) -> None:
        """It connects to the address, of either version of IP, and asks for the name."""
        for address in ("10.0.0.1", "2001:db8::1"):
            connection = self.make(Endpoint("taba.example", 8300, path="/taba"), address)
            self.assertEqual(connection.endpoint.name, f"http://taba.example:8300/taba ({address})")
            asked, transport = self.ask(connection)
            self.assertEqual(self.reactor.tcpClients[-1][:2], (address, 8300))
            self.assertIn(b"GET /taba/v2/topology HTTP/1.1\r\n", transport.value())
            self.assertIn(b"Host: taba.example:8300\r\n", transport.value())
            self.answer()
            self.assertEqual(self.successResultOf(asked), TOPOLOGY)

    def test_certificate_of_the_name(self) -> None:
        """With TLS the certificate has to be the name's."""
        self.make(Endpoint("taba.example", 8300, tls=True), "10.0.0.1").endpoint.topology()
        self.assertEqual(self.trust.hosts, [(b"taba.example", 8300)])
        self.assertEqual(self.reactor.tcpClients[-1][:2], ("10.0.0.1", 8300))

    def test_connection_is_kept(self) -> None:
        """The next request goes on the same connection."""
        connection = self.make(Endpoint("taba.example", 8300), "10.0.0.1")
        _, transport = self.ask(connection)
        self.answer()
        transport.clear()
        connection.endpoint.topology()
        self.assertEqual(len(self.reactor.tcpClients), 1)
        self.assertIn(b"GET /v2/topology", transport.value())

    def test_leaving(self) -> None:
        """When the address is a server's no longer, an idle connection ends at once."""
        connection = self.make(Endpoint("taba.example", 8300), "10.0.0.1")
        _, transport = self.ask(connection)
        self.answer()
        self.assertFalse(transport.disconnecting)
        connection.leave()
        self.assertTrue(transport.disconnecting)

    def test_leaving_under_way(self) -> None:
        """A request under way is answered first."""
        connection = self.make(Endpoint("taba.example", 8300), "10.0.0.1")
        asked, transport = self.ask(connection)
        connection.leave()
        self.assertFalse(transport.disconnecting)
        self.answer()
        self.assertEqual(self.successResultOf(asked), TOPOLOGY)
        self.reactor.advance(0.01)
        self.assertTrue(transport.disconnecting)
