"""The servers of an agent by name: every address is one, and names are followed."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from taba.agent.endpoint import IEndpoint
from taba.agent.naming import LIMIT_SECONDS, LOOK_UP_SECONDS, MAX_ADDRESSES, NamedServers, is_name
from taba.settings import Endpoint
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology


@implementer(IEndpoint)
@define
class Silent:
    """A server that is only named."""

    name: str

    def topology(self) -> Deferred[Topology]:
        """See IEndpoint."""
        return Deferred()

    def append(self, request: AppendRequest) -> Deferred[AppendAnswer]:
        """See IEndpoint."""
        return Deferred()


@define
class Made:
    """A server at an address, and whether it was left."""

    endpoint: IEndpoint
    left: bool = False

    def leave(self) -> None:
        """See Connected."""
        self.left = True


@define(eq=False)
class Names:
    """What a resolver knows."""

    known: dict[str, Sequence[str]] = field(factory=dict)
    slow: set[str] = field(factory=set)
    asked: list[str] = field(factory=list)

    def look_up(self, host: str) -> Deferred[Sequence[str]]:
        """See LookUp."""
        self.asked.append(host)
        if host in self.slow:
            return Deferred()
        if host not in self.known:
            return fail(DNSLookupError(host))
        return succeed(self.known[host])


class NamedServersTests(SynchronousTestCase):
    """Names that get other addresses."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.names = Names()
        self.made: dict[str, Made] = {}
        self.told: list[list[str]] = []

    def make(self, *servers: Endpoint, chance: float = 0.5) -> NamedServers:
        """The service, started."""

        def connect(server: Endpoint, address: str | None) -> Made:
            made = self.made[f"{server.host}={address}"] = Made(Silent(f"{server.url()} {address}"))
            return made

        named = NamedServers(servers, connect, self.names.look_up, self.clock, lambda: chance)
        named.changed = lambda endpoints: self.told.append([each.name for each in endpoints])
        named.startService()
        self.addCleanup(named.stopService)
        return named

    def test_every_address_is_a_server(self) -> None:
        """All addresses of a name are servers from the start on, beside those that have no name."""
        self.names.known = {"taba.example": ["10.0.0.2", "10.0.0.1", "2001:db8::1", "10.0.0.1"]}
        named = self.make(Endpoint("taba.example", 8300, path="/taba"), Endpoint("192.0.2.7", 8300))
        expected = [f"http://taba.example:8300/taba {each}" for each in ("10.0.0.1", "10.0.0.2", "2001:db8::1")]
        expected.append("http://192.0.2.7:8300 None")
        self.assertEqual((self.told, [each.name for each in named.endpoints()]), ([expected], expected))
        self.assertTrue(self.made["taba.example=None"].left)

    def test_other_addresses(self) -> None:
        """An address that comes is used within a minute, one that goes is left."""
        self.names.known = {"taba.example": ["10.0.0.1", "10.0.0.2"]}
        self.make(Endpoint("taba.example", 8300), chance=0.999)
        self.names.known = {"taba.example": ["10.0.0.2", "10.0.0.3"]}
        self.clock.pump([1.0] * 60)
        self.assertEqual(self.told[1:], [["http://taba.example:8300 10.0.0.2", "http://taba.example:8300 10.0.0.3"]])
        self.assertEqual({key: each.left for key, each in self.made.items()}, {
            "taba.example=None": True, "taba.example=10.0.0.1": True,
            "taba.example=10.0.0.2": False, "taba.example=10.0.0.3": False,
        })  # fmt: skip

    def test_same_addresses(self) -> None:
        """While nothing changes nothing is told, and names are asked for now and then."""
        self.names.known = {"taba.example": ["10.0.0.1"]}
        self.make(Endpoint("taba.example", 8300))
        self.names.known = {"taba.example": ["10.0.0.1"]}
        self.clock.pump([1.0] * 300)
        self.assertEqual(len(self.told), 1)
        self.assertTrue(300 / LOOK_UP_SECONDS <= len(self.names.asked) <= 2 * 300 / LOOK_UP_SECONDS + 2)

    def test_resolver_that_fails(self) -> None:
        """Names that are not found any more, or have no address, stay where they were."""
        self.names.known = {"taba.example": ["10.0.0.1"]}
        named = self.make(Endpoint("taba.example", 8300))
        del self.names.known["taba.example"]
        self.clock.pump([1.0] * 60)
        self.names.known["taba.example"] = []
        self.clock.pump([1.0] * 60)
        self.assertEqual([each.name for each in named.endpoints()], ["http://taba.example:8300 10.0.0.1"])

    def test_not_found_at_first(self) -> None:
        """A name that is not known yet is tried as it is, and followed as soon as it is known."""
        named = self.make(Endpoint("taba.example", 8300))
        self.assertEqual([each.name for each in named.endpoints()], ["http://taba.example:8300 None"])
        self.names.known = {"taba.example": ["10.0.0.1"]}
        self.clock.pump([1.0] * 40)
        self.assertEqual([each.name for each in named.endpoints()], ["http://taba.example:8300 10.0.0.1"])

    def test_slow_resolver(self) -> None:
        """A look-up that does not end is given up, and holds up no other for long."""
        self.names.known = {"b.example": ["10.0.0.9"]}
        self.names.slow = {"a.example"}
        self.make(Endpoint("a.example", 1), Endpoint("b.example", 2))
        self.clock.pump([0.5] * round(2 * LIMIT_SECONDS + 2))
        self.assertEqual(self.told, [["http://a.example:1 None", "http://b.example:2 10.0.0.9"]])
        self.names.slow, self.names.known["a.example"] = set(), ["10.0.0.8"]
        self.clock.pump([1.0] * 40)
        self.assertEqual(self.told[-1], ["http://a.example:1 10.0.0.8", "http://b.example:2 10.0.0.9"])

    def test_one_name_twice(self) -> None:
        """Two ports of one name are two servers, and the name is asked for once."""
        self.names.known = {"taba.example": ["10.0.0.1"]}
        self.make(Endpoint("taba.example", 1), Endpoint("taba.example", 2))
        self.assertEqual(self.names.asked, ["taba.example"])
        self.assertEqual(self.told[-1], ["http://taba.example:1 10.0.0.1", "http://taba.example:2 10.0.0.1"])

    def test_many_addresses(self) -> None:
        """A name with thousands of addresses does not become thousands of servers."""
        self.names.known = {"taba.example": [f"10.0.{n >> 8}.{n & 255}" for n in range(5000)]}
        self.assertEqual(len(self.make(Endpoint("taba.example", 1)).endpoints()), MAX_ADDRESSES)

    def test_nothing_to_look_up(self) -> None:
        """Addresses and localhost are taken as they are, and no timer runs."""
        self.make(Endpoint("127.0.0.1", 1), Endpoint("::1", 2), Endpoint("localhost", 3))
        self.assertEqual((self.names.asked, self.clock.getDelayedCalls(), self.told), ([], [], []))
        found = {host: is_name(host) for host in ("a", "a.localhost", "10.1", "10.0.0.1", "2001:db8::1")}
        self.assertEqual([host for host, named in found.items() if named], ["a", "10.1"])

    def test_stop(self) -> None:
        """After the end nothing is looked up, and all connections are closed, also in the middle of a look-up."""
        self.names.known = {"taba.example": ["10.0.0.1"]}
        named = self.make(Endpoint("taba.example", 1))
        self.names.slow = {"taba.example"}
        self.clock.pump([1.0] * 25)
        named.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(all(each.left for each in self.made.values()))
