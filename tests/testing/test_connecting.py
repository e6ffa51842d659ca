"""Looking for servers on the simulated network: names, ports, refusals and timeouts."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.error import (
    CannotListenError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NotConnectingError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import IConnector, IConsumer, IListeningPort, IPushProducer, ITCPTransport
from twisted.internet.protocol import ClientFactory
from zope.interface.verify import verifyObject

from tests.testing.talk import NetworkTestCase, TalkerFactory


class Unwilling(ClientFactory):
    """Makes no protocol."""

    noisy = False

    def buildProtocol(self, addr: object) -> None:
        return None


class ConnectingTests(NetworkTestCase):
    """A client looks for a server."""

    def test_provides(self) -> None:
        """Ports, connectors and transports provide what Twisted asks of them."""
        client, _server = self.pair()
        self.assertTrue(verifyObject(IListeningPort, self.port))
        self.assertTrue(verifyObject(IConnector, self.connect()))
        for interface in (ITCPTransport, IPushProducer, IConsumer):
            self.assertTrue(verifyObject(interface, client.end))

    def test_by_name_or_address(self) -> None:
        """A host is found by its name and by its address."""
        for host in ("b", self.network.address_of("b")):
            connector = self.connect(host)
            self.clock.advance(2)
            self.assertEqual(connector.state, "connected")

    def test_addresses(self) -> None:
        """Each end knows its own address and the other's."""
        client, server = self.pair()
        self.assertEqual(client.end.getPeer(), IPv4Address("TCP", self.network.address_of("b"), 80))
        self.assertEqual(client.end.getHost(), server.end.getPeer())
        self.assertEqual(server.end.getHost(), client.end.getPeer())

    def test_refused(self) -> None:
        """Where nobody listens, a connection is refused."""
        self.connect(port=81)
        self.clock.advance(2)
        self.assertEqual(self.clients.failed, ConnectionRefusedError)

    def test_closed_port_refuses(self) -> None:
        """A port that was closed refuses, tells its factory, and is free again."""
        done = self.port.stopListening()
        self.assertNoResult(done)
        self.clock.advance(0)
        self.successResultOf(done)
        self.connect()
        self.clock.advance(2)
        self.assertEqual((self.clients.failed, self.servers.started), (ConnectionRefusedError, 0))
        self.network.listen(None, "b", 80, self.servers)
        self.connect()
        self.clock.advance(2)
        self.assertEqual(len(self.servers.talkers), 1)

    def test_unknown_name(self) -> None:
        """A name that no host has is a DNSLookupError."""
        self.connect("nobody")
        self.clock.advance(0)
        self.assertEqual(self.clients.failed, DNSLookupError)

    def test_unknown_address_times_out(self) -> None:
        """Nobody answers for an address that no host has."""
        self.connect("192.0.2.1", timeout=5)
        self.clock.advance(4.9)
        self.assertIsNone(self.clients.failed)
        self.clock.advance(0.2)
        self.assertEqual(self.clients.failed, TimeoutError)

    def test_given_up(self) -> None:
        """An attempt that is stopped fails with UserError, and makes no connection."""
        connector = self.connect()
        connector.stopConnecting()
        self.assertEqual(self.clients.failed, UserError)
        self.assertRaises(NotConnectingError, connector.stopConnecting)
        self.clock.advance(5)
        self.assertEqual([talker.reason for talker in self.servers.talkers], [ConnectionLost])
        self.assertEqual(self.network.connections(), [])

    def test_disconnect(self) -> None:
        """disconnect gives up an attempt, and closes a connection."""
        self.connect().disconnect()
        self.assertEqual(self.clients.failed, UserError)
        connector = self.connect()
        self.assertRaises(RuntimeError, connector.connect)
        self.clock.advance(2)
        connector.disconnect()
        self.clock.advance(2)
        self.assertEqual((self.clients.talker.reason, connector.state), (ConnectionDone, "disconnected"))
        self.assertEqual(connector.getDestination(), IPv4Address("TCP", self.network.address_of("b"), 80))

    def test_factory_without_a_protocol(self) -> None:
        """A factory that wants no connection gets none, at either end."""
        self.network.listen(None, "b", 81, Unwilling())
        connector = self.connect(port=81)
        self.clock.advance(2)
        self.assertEqual((self.clients.talker.reason, connector.state), (ConnectionDone, "disconnected"))
        self.network.connect(None, "a", "b", 80, Unwilling())
        self.clock.advance(2)
        self.assertEqual(self.servers.talker.reason, ConnectionDone)

    def test_hosts(self) -> None:
        """The network knows its hosts by name and address."""
        self.assertEqual(self.network.hosts(), ["a", "b"])
        self.assertEqual(len({self.network.address_of(name) for name in self.network.hosts()}), 2)

    def test_connecting_again(self) -> None:
        """A factory may connect again from clientConnectionFailed."""
        network, attempts = self.network, []

        class Persistent(ClientFactory):
            noisy = False

            def clientConnectionFailed(self, connector: IConnector, reason: object) -> None:
                attempts.append(network.clock.seconds())
                if len(attempts) < 3:
                    connector.connect()

        network.connect(None, "a", "b", 81, Persistent())
        self.clock.advance(5)
        self.assertEqual(len(attempts), 3)

    def test_factories_are_started_and_stopped(self) -> None:
        """The factories of both ends learn when they are in use."""
        client, _server = self.pair()
        self.assertEqual((self.clients.started, self.servers.started), (1, 1))
        client.end.loseConnection()
        self.clock.advance(2)
        self.assertEqual((self.clients.started, self.servers.started), (0, 1))

    def test_taken_port(self) -> None:
        """A port can be listened on once, whatever the interface; 0 finds a free one."""
        self.assertRaises(CannotListenError, self.network.listen, None, "b", 80, self.servers)
        self.assertRaises(CannotListenError, self.network.listen, None, "b", 80, self.servers, "127.0.0.1")
        self.assertRaises(CannotListenError, self.network.listen, None, "b", 81, self.servers, "192.0.2.1")
        self.assertGreater(self.network.listen(None, "b", 0, self.servers).getHost().port, 1024)

    def test_loopback_is_for_the_host_itself(self) -> None:
        """What listens on 127.0.0.1 is reached as localhost, and from nowhere else."""
        local = TalkerFactory()
        self.network.listen(None, "a", 90, local, "127.0.0.1")
        self.connect("localhost", 90)
        self.clock.advance(2)
        self.assertEqual(len(local.talkers), 1)
        self.connect("a", 90, source="b")
        self.clock.advance(2)
        self.assertEqual((len(local.talkers), self.clients.failed), (1, ConnectionRefusedError))

    def test_names_of_hosts(self) -> None:
        """Names that could not be host names, or exist already, are refused."""
        for name in ("", "UPPER", "a_b", "localhost", "a"):
            self.assertRaises(ValueError, self.network.add_host, name)
