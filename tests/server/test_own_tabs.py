"""What a server records of itself, and what it says of its readiness, as whoever asks its port sees it."""

from __future__ import annotations

import itertools
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.handlers.registry import builtin
from taba.interfaces import LogDepth
from taba.server.observation import Observer
from taba.server.service import Server
from taba.settings import ServerSettings
from taba.store.memory import MemoryStore
from taba.testing.stores import FaultyStore
from taba.web.answers import Leaf, write_text
from taba.wire.v2 import AppendRequest
from tests.server.making import NOW, Lanes, Silent, new_ids, sections
from tests.server.test_metrics import machine


class PortCase(SynchronousTestCase):
    """A server's site over a store in memory."""

    def open(self, roles: str = "fe,be") -> None:
        """A server of some roles."""
        self.clock = Clock()
        process = machine(self.clock)
        self.store = FaultyStore(MemoryStore(4, self.clock, process.wall, new_ids()))
        self.successResultOf(self.store.startService())
        self.record = Silent()
        inside: Any = None
        post = {"post": Leaf(post=lambda request: write_text(request, ""))}
        settings = ServerSettings(roles=roles)
        self.server = Server(settings, process, self.store, builtin(), self.record, inside, post, {})

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Status and body of an answer."""
        transport = StringTransport()
        channel: Any = self.server._site.buildProtocol(None)
        channel.makeConnection(transport)
        channel.dataReceived(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        self.clock.advance(0.0)
        head, _, body = transport.value().partition(b"\r\n\r\n")
        channel.connectionLost(None)
        return int(head.split()[1]), body.decode()


class OwnTabTests(PortCase):
    """Times and failures under the original's names."""

    def setUp(self) -> None:
        self.open()

    def test_times(self) -> None:
        """Each of the original's timed requests is a value in its own tab; others are in none."""
        for path in ("/tabs", "/projection?name=a", "/supertabs", "/names", "/status"):
            self.assertEqual(self.ask(path)[0], 200, path)
        self.assertEqual(self.ask("/post", "POST")[0], 200)
        names = [name for name, _ in self.record.percentiles]
        self.assertEqual(
            names,
            ["get_tabs_time_ms", "get_projection_time_ms", "get_super_tabs_time_ms", "taba_post_direct_time_ms"],
        )
        self.assertEqual(self.record.counters, [])

    def test_failures(self) -> None:
        """A request that Taba fails to answer counts as an exception; one that asks for nonsense counts nowhere."""
        self.assertEqual(self.ask("/tabs?x=1")[0], 400)
        self.store.unavailable()
        for path in ("/tabs", "/projection", "/supertabs", "/names"):
            self.assertEqual(self.ask(path)[0], 503, path)
        self.assertEqual(self.record.percentiles, [])
        self.assertEqual(
            self.record.counters,
            [(f"get_{what}_time_ms_exceptions", 1) for what in ("tabs", "projection", "super_tabs")],
        )

    def test_milliseconds(self) -> None:
        """Times are in milliseconds, and the port's own numbers go on as before."""
        silent = Silent()
        observer = Observer(silent, lambda: NOW)
        observer.measures.http.know(["tabs"])
        observer.measures.http.answered(b"/tabs", 200, 0.25)
        self.assertEqual(silent.percentiles, [("get_tabs_time_ms", 250.0)])
        self.assertEqual(observer.measures.http._answers["/tabs", 200], 1)

    def test_rejected(self) -> None:
        """A request that finds the logs full counts as rejected, not as received."""
        batches = Lanes().appends(sections([("c", "a", "CounterGroup", NOW, "1")], 4))
        request = AppendRequest(self.store.cluster.id, NOW, tuple(batches))
        self.successResultOf(self.server.frontend.append(request))
        self.clock.advance(5.0)
        full: Any = lambda: succeed([LogDepth(each, 1, 1 << 40, NOW) for each in range(4)])  # noqa: E731
        self.store.depth = full  # type: ignore[method-assign]
        before = list(self.record.counters)
        self.failureResultOf(self.server.frontend.append(request), StoreUnavailable)
        self.assertEqual(before, [("taba_events_recieved", 1)])
        self.assertEqual(self.record.counters[1:], [("taba_updates_rejected", 1)])

    def test_lost_connections(self) -> None:
        """Shards that lost their connection are counted."""
        self.server.observer.connections_lost(2)
        self.assertEqual(self.record.counters, [("redis_connection_error", 2)])


class ReadyTests(PortCase):
    """/readyz, of the process and of a role."""

    def test_roles(self) -> None:
        """A role is ready only in a process that has it; without one the process answers for itself."""
        for roles, has in (("fe", {"fe"}), ("be,ctrl", {"be", "ctrl"})):
            self.open(roles)
            self.server.status.ready = lambda role='': None  # type: ignore[method-assign]
            self.assertEqual(self.ask("/readyz"), (200, "ok\n"))
            for role in ("fe", "be", "ctrl"):
                expected = (200, "ok\n") if role in has else (503, f"This server is no {role} (SERVER_ROLES).\n")
                self.assertEqual(self.ask(f"/readyz?role={role}"), expected)
            self.assertEqual(self.ask("/readyz?role=bee")[0], 400)

    def test_only_an_fe_takes_events(self) -> None:
        """A server that is no fe answers questions only; whoever sends it events is told where to go."""
        for path, roles in itertools.product(("/post", "/v2/append"), ("be,ctrl", "ctrl")):
            self.open(roles)
            status, said = self.ask(path, "POST")
            self.assertEqual(status, 503)
            self.assertIn("This server is no fe (SERVER_ROLES)", said)
        self.assertEqual(self.ask("/tabs")[0], 200)
        self.open("fe")
        self.assertEqual(self.ask("/post", "POST")[0], 200)

    def test_no_be_anywhere(self) -> None:
        """Asked whether it is a be, a server that is none says, too, that there is none at all."""
        self.open("fe")
        self.server.status.ready = lambda role="": None  # type: ignore[method-assign]
        self.server.publishing.problem = "no server of role be is running"
        expected = "This server is no be (SERVER_ROLES). And no server of role be is running.\n"
        self.assertEqual(self.ask("/readyz?role=be"), (503, expected))

    def test_not_ready(self) -> None:
        """A role is not ready while its process is not."""
        self.open()
        for path in ("/readyz", "/readyz?role=be", "/readyz?role=fe"):
            self.assertEqual(self.ask(path), (503, "4 vbuckets are not in the hands of a be yet\n"))
