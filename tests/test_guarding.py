"""A whole server and a whole agent that ask for the token, on simulated machines: every resource of their trees, and
the way of an event from a client to a query.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from taba.agent_tap import make_agent
from taba.client.api import Client
from taba.client.engines.twisted import TwistedEngine
from taba.client.token import RECHECK_SECONDS
from taba.errors import SettingsError
from taba.guarding import shared_token
from taba.server_tap import make_server
from taba.settings import AgentSettings, DatabaseSettings, Endpoint, ServerSettings
from taba.testing.machine import running
from taba.testing.node import Process
from taba.testing.world import World
from taba.web.site import BoundedSite

OLD, NEW = "an-old-token-0123456789", "a-new-token-0123456789"


def paths(resource: Resource, above: str = "") -> Iterator[str]:
    """The paths of all resources of a tree, the folders among them."""
    yield above or "/"
    for name, below in resource.children.items():
        assert isinstance(below, Resource)
        yield from paths(below, f"{above}/{name.decode()}")


class TokenCase(SynchronousTestCase):
    """A server with an agent inside, and an agent before it, which share a token file."""

    token_files = True

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.files = {name: str(Path(folder.name) / name) for name in ("server", "agent", "client")}
        for name in self.files:
            self.write(name, OLD)
        self.world = World(3)
        self.addCleanup(self.world.close)
        self.server = self.start(
            "server-1",
            make_server,
            ServerSettings(
                interface="0.0.0.0",
                embedded_agent=True,
                database=DatabaseSettings(vbuckets=4),
                token_file=self.files["server"] if self.token_files else None,
            ),
        )
        self.agent = self.start(
            "agent-1",
            make_agent,
            AgentSettings(
                interface="0.0.0.0",
                servers=(Endpoint("server-1", 8300),),
                token_file=self.files["agent"] if self.token_files else None,
            ),
        )
        self.world.advance(3)

    def write(self, name: str, *tokens: str) -> None:
        """Write a token file anew."""
        path = Path(self.files[name])
        path.write_text("".join(f"{token}\n" for token in tokens))
        path.chmod(0o600)

    def start(self, host: str, make: Any, settings: Any) -> Process:
        """Start a machine."""
        return self.world.node(host).start(running(partial(make, settings)))

    def site(self, process: Process, *names: str) -> BoundedSite:
        """A site of a process, by the attributes that lead to it."""
        found: Any = process.service
        for name in ("service", *names):
            found = getattr(found, name)
        assert isinstance(found, BoundedSite)
        return found

    def sites(self) -> dict[str, BoundedSite]:
        """All sites there are."""
        return {
            "server": self.site(self.server, "server", "_site"),
            "agent inside": self.site(self.server, "_site"),
            "agent": self.site(self.agent, "_site"),
        }

    def status(self, site: BoundedSite, method: str, path: str, token: str | None) -> int:
        """The status of an answer, once it is there."""
        transport = StringTransport()
        transport.setTcpNoDelay = lambda enabled: None  # type: ignore[attr-defined]
        channel = site.buildProtocol(None)
        channel.makeConnection(transport)
        shown = "" if token is None else f"Authorization: Bearer {token}\r\n"
        channel.dataReceived(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{shown}Content-Length: 0\r\n\r\n".encode())
        self.world.run_until(transport.value, 30, f"an answer to {method} {path}")
        return int(transport.value().split()[1])


class TreeTests(TokenCase):
    """Every resource of every site."""

    def test_all_paths(self) -> None:
        """Without a token, or with a wrong one, everything is 401 but /healthz and /readyz; with it, nothing is."""
        for name, site in self.sites().items():
            found = list(paths(site.resource))
            self.assertGreater(len(found), 5, name)
            for path in [*found, "/nowhere"]:
                for method in ("GET", "POST"):
                    bare, wrong, right = (self.status(site, method, path, token) for token in (None, NEW, OLD))
                    if path in ("/healthz", "/readyz"):
                        self.assertNotIn(401, (bare, wrong, right), (name, method, path))
                    else:
                        self.assertEqual((bare, wrong), (401, 401), (name, method, path))
                        self.assertNotEqual(right, 401, (name, method, path))

    def test_known_paths_are_among_them(self) -> None:
        """The walk finds what there is, so that the test above is about something."""
        found = set(paths(self.sites()["server"].resource))
        self.assertLessEqual(
            {"/tabs", "/projection", "/status", "/post", "/post_zip", "/v2/append", "/v2/topology", "/healthz"}, found
        )


class WayTests(TokenCase):
    """Client, agent, server."""

    def setUp(self) -> None:
        super().setUp()
        machine = self.world.node("app-1").start()
        self.client = Client(
            wall=machine.wall, jitter=machine.random.random, monotonic=machine.reactor.seconds
        )
        self.client.initialize(
            "app",
            "http://agent-1:8279/post",
            1.0,
            lambda sender, url: TwistedEngine(sender, url, reactor=machine.reactor),
            token_file=self.files["client"],
        )

    def client_status(self, *names: str) -> tuple[Any, ...]:
        """Facts of the client's status."""
        return tuple(self.client.get_status()[name] for name in names)

    def test_events_arrive(self) -> None:
        """With the same token everywhere events go all the way; the server's own ones, too."""
        self.client.counter("a", 1)
        self.world.run_until(lambda: self.client_status("acknowledged") == (1,), 10)
        self.world.run_until(lambda: self.tab_names() >= {"a"}, 10)
        self.world.run_until(lambda: any("taba_" in name for name in self.tab_names()), 40)
        self.world.check_quiet()

    def tab_names(self) -> set[str]:
        """The tabs that the server has."""
        server: Any = self.server.service
        tabs: Deferred[Any] = server.service.server.store.tabs()
        return set(self.world.result_of(tabs))

    def test_exchange(self) -> None:
        """Tokens are exchanged while events flow, host by host, by the guide's three steps: nobody is turned away."""
        for step in ((OLD, NEW), (NEW, OLD), (NEW,)):
            for name in ("client", "server", "agent"):
                self.write(name, *step)
                self.client.counter("a", 1)
                self.world.advance(RECHECK_SECONDS + 5)
        self.assertEqual(self.client_status("acknowledged", "failed_attempts", "last_error"), (9, 0, None))
        service: Any = self.agent.service
        self.assertEqual(service.service.agent.facts()["ledger"]["received"], 9)

    def test_wrong_token_loses_nothing(self) -> None:
        """While a client's token is wrong its events wait; when it is right they are sent."""
        self.write("agent", NEW)
        self.world.advance(RECHECK_SECONDS)
        self.client.counter("a", 1)
        self.world.advance(20)
        self.assertEqual(self.client_status("acknowledged", "buffered_events", "refused", "unknown"), (0, 1, 0, 0))
        self.assertIn("401", self.client_status("last_error")[0])
        self.write("agent", NEW, OLD)
        self.world.advance(RECHECK_SECONDS + 20)
        self.assertEqual(self.client_status("acknowledged", "buffered_events"), (1, 0))


class NoTokenTests(TokenCase):
    """Without a token file."""

    token_files = False

    def test_nothing_is_asked(self) -> None:
        """Everything is as it was before there were tokens."""
        for site in self.sites().values():
            self.assertIsNone(site.guard)
            self.assertEqual(self.status(site, "GET", "/status", None), 200)


class SharedTokenTests(SynchronousTestCase):
    """What a setting comes to."""

    def test_none(self) -> None:
        """Without a file there is no guard, and nothing to send."""
        token = shared_token(None, lambda: 0.0)
        self.assertEqual((token.guard(), token.to_send()), (None, None))

    def test_unusable(self) -> None:
        """A file that cannot be used is a mistake in the settings."""
        problem = self.assertRaises(SettingsError, shared_token, "/nowhere", lambda: 0.0)
        self.assertIn("The token file /nowhere cannot be read", str(problem))
