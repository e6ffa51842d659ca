"""Opening the ports of a site, on a reactor that opens nothing."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StartError
from taba.settings import Endpoint
from taba.web.answers import Root
from taba.web.listening import Listening, listen
from taba.web.site import BoundedSite


class Port:
    """An open port."""

    def __init__(self, address: Any) -> None:
        self.address = address
        self.open = True

    def getHost(self) -> Any:
        """Its address."""
        return self.address

    def stopListening(self) -> None:
        """Close it."""
        self.open = False


class Reactor:
    """Opens ports in memory; those in `taken`, a port number or a path, cannot be had."""

    def __init__(self) -> None:
        self.taken: dict[object, Exception] = {}
        self.ports: list[Port] = []

    def _open(self, where: object, address: Any) -> Port:
        if where in self.taken:
            raise self.taken[where]
        self.ports.append(Port(address))
        return self.ports[-1]

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """See IReactorTCP; port 0 is port 4000."""
        kind = IPv6Address if ":" in interface else IPv4Address
        return self._open(port, kind("TCP", interface or "0.0.0.0", port or 4000))

    def listenUNIX(self, address: str, factory: Any, **how: Any) -> Port:
        """See IReactorUNIX."""
        return self._open(address, UNIXAddress(address.encode()))


class ListeningTests(SynchronousTestCase):
    """A site with several ports."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.site = BoundedSite(Root({}), Clock(), {})

    def listen(self, *endpoints: str) -> Listening:
        """Open them."""
        listening: Listening = self.successResultOf(listen(self.reactor, endpoints, self.site))
        return listening

    def test_urls(self) -> None:
        """Each port is shown as what a client would be given."""
        listening = self.listen("tcp:0:interface=127.0.0.1", r"tcp:81:interface=\:\:1", "tcp:82", "unix:/run/taba.sock")
        self.assertEqual(
            listening.urls(), ["http://127.0.0.1:4000", "http://[::1]:81", "http://0.0.0.0:82", "unix:/run/taba.sock"]
        )
        self.assertEqual(listening.port, 4000)

    def test_tls_url(self) -> None:
        """A port with TLS is https, and not the one for this process's own events."""
        listening = Listening()
        port: Any = Port(IPv4Address("TCP", "0.0.0.0", 8300))
        listening.add("ssl", port)
        self.assertEqual((listening.urls(), listening.plain()), (["https://0.0.0.0:8300"], None))

    def test_plain(self) -> None:
        """This host reaches a port of all addresses by loopback, one of a single address by that."""
        self.assertEqual(self.listen("unix:/run/taba.sock", "tcp:80").plain(), Endpoint("127.0.0.1", 80))
        self.assertEqual(self.listen(r"tcp:80:interface=\:\:").plain(), Endpoint("::1", 80))
        self.assertEqual(self.listen("tcp:80:interface=192.0.2.7").plain(), Endpoint("192.0.2.7", 80))
        self.assertIsNone(self.listen("unix:/run/taba.sock").plain())

    def test_no_tcp_port(self) -> None:
        """A site with a UNIX socket alone has no port number."""
        listening = self.listen("unix:/run/taba.sock")
        self.assertRaises(ValueError, lambda: listening.port)

    def test_taken(self) -> None:
        """A port that somebody has is named; the others are closed again."""
        self.reactor.taken[81] = CannotListenError("127.0.0.1", 81, OSError("Address already in use"))
        opening = listen(self.reactor, ["tcp:80:interface=127.0.0.1", "tcp:81:interface=127.0.0.1"], self.site)
        problem = self.failureResultOf(opening, StartError).value
        self.assertIn("Cannot listen on 127.0.0.1:81: Address already in use. Stop what listens there", str(problem))
        self.assertEqual([port.open for port in self.reactor.ports], [False])

    def test_socket_cannot_be_made(self) -> None:
        """A UNIX socket is named by its path."""
        self.reactor.taken["/run/a"] = CannotListenError(None, "/run/a", OSError("Permission denied"))
        self.reactor.taken["/run/b"] = FileNotFoundError(2, "No such file or directory", "/run/b.lock")
        for path, words in (("/run/a", "/run/a: Permission denied"), ("/run/b", "unix:/run/b: No such file")):
            problem = self.failureResultOf(listen(self.reactor, [f"unix:{path}"], self.site), StartError).value
            self.assertIn(f"Cannot listen on {words}", str(problem))

    def test_close(self) -> None:
        """All are closed, once."""
        listening = self.listen("tcp:80", "tcp:81")
        self.successResultOf(listening.close())
        self.successResultOf(listening.close())
        self.assertEqual([port.open for port in self.reactor.ports], [False, False])
