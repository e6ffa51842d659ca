"""What an operator sees of a store with shards, and how he gives up what one of them has lost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from treq.testing import StubTreq
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from taba.errors import LocalProtocolError, StoreUnavailable
from taba.server.admin import AdminResources
from taba.server.publishing import lost_connections
from taba.testing.stores import FaultyStore
from taba.web.answers import Refusal, Root
from tests.server.making import Served, memory_store


class ShardedStore(FaultyStore):
    """A memory store that says it has two shards."""

    asked_durability = "auto"
    lost: dict[str, list[int]]
    trouble = ""
    moving = 3
    freed: Mapping[str, int] = {"arrived": 2, "returned": 1}

    @property
    def missing(self) -> Mapping[str, Sequence[int]]:
        return self.lost

    def problem(self) -> str:
        return self.trouble

    def shard_states(self) -> list[Mapping[str, Any]]:
        row = {"open": True, "seconds": 5.0, "replicas": ["10.0.0.2:6379 online"], "failovers": 1, "vbuckets": 2}
        return [
            {**row, "shard": "shard1", "master": "10.0.0.1:6379"},
            {**row, "shard": "shard2", "master": None, "open": False, "replicas": [], "failovers": 0},
        ]

    def accept_loss(self, name: str) -> Deferred[int]:
        if name not in self.lost:
            return fail(LocalProtocolError(f"there is no shard {name}: the shards are shard1, shard2"))
        return succeed(len(self.lost.pop(name)))


class ShardCase(SynchronousTestCase):
    """A server without ports over such a store."""

    def setUp(self) -> None:
        self.clock = Clock()
        memory = memory_store(self.clock, vbuckets=4)
        self.store = ShardedStore(memory)
        self.store.lost = {"shard1": [0, 1]}
        self.served = served = Served(self.store, memory, self.clock, status_options={"alone": False, "kind": "redis"})
        served.backend.startService()
        self.addCleanup(lambda: self.successResultOf(served.backend.stopService()))
        self.root = served.leaves()

    def ask(self, method: str, path: str, accept: str = "text/plain", body: bytes = b"") -> tuple[int, str]:
        """Status and text of an answer."""
        treq: Any = StubTreq(Root(dict(self.root)))
        asked = treq.request(method, f"http://server/{path}", headers={"Accept": accept}, data=body)
        treq.flush()
        response = self.successResultOf(asked)
        return response.code, self.successResultOf(response.text("utf-8"))


class StatusTests(ShardCase):
    """/status and /readyz."""

    def test_text(self) -> None:
        """The text has a line for each shard: where its master is, whether it is connected, what it has."""
        text = self.ask("GET", "status")[1]
        self.assertIn("Store:   redis\nAsked:   durability auto\nShards:\n", text)
        self.assertIn(
            "  shard1: master 10.0.0.1:6379, connected for 5 s, 2 vbuckets, 1 failovers, replicas: 10.0.0.2:6379"
            " online\n",
            text,
        )
        self.assertIn("  shard2: no master known, NOT CONNECTED for 5 s, 2 vbuckets, 0 failovers, replicas: none", text)

    def test_json(self) -> None:
        """The same for programs."""
        facts = json.loads(self.ask("GET", "status", "application/json")[1])
        self.assertEqual((facts["store"], facts["durability"], facts["durability_asked"]), ("redis", "memory", "auto"))
        self.assertEqual([each["shard"] for each in facts["shards"]], ["shard1", "shard2"])
        self.assertEqual((facts["missing"], facts["problem"]), ({"shard1": [0, 1]}, ""))

    def test_while_a_shard_is_down(self) -> None:
        """What cannot be asked for is said to be unknown; the rest is shown all the same, with what is wrong."""
        self.store.unavailable()
        self.store.trouble = "shard shard2: the connection is refused"
        status, text = self.ask("GET", "status")
        self.assertEqual(status, 200)
        self.assertIn("Tasks:   ?\n", text)
        self.assertIn("Problem: shard shard2: the connection is refused\n", text)
        self.assertIn("Ledger:\n  not known\n", text)
        facts = json.loads(self.ask("GET", "status", "application/json")[1])
        self.assertEqual((facts["total_tasks"], facts["ledger"], facts["log_bytes"]), (None, None, None))

    def test_ready(self) -> None:
        """The server is ready while all of its store can be used; else it says what cannot."""
        self.assertIsNone(self.served.status.ready())
        self.store.trouble = "Shard shard1 has lost the data of 2 vbuckets"
        self.assertEqual(self.served.status.ready(), "Shard shard1 has lost the data of 2 vbuckets")


class NoBackendTests(ShardCase):
    """A cluster in which fe is there, and be is not."""

    def setUp(self) -> None:
        super().setUp()
        self.served.publishing._roles = ["fe"]

    def publish(self, roles: list[str]) -> None:
        """Another server says what it is."""
        self.successResultOf(self.store.publish("other", {"roles": roles}, 60.0))

    def test_status(self) -> None:
        """/status says that no server folds, until one does that publishes itself."""
        self.assertIn("Problem: no server of role be is running\n", self.ask("GET", "status")[1])
        self.publish(["fe"])
        facts = json.loads(self.ask("GET", "status", "application/json")[1])
        self.assertEqual(facts["problem"], "no server of role be is running")
        self.publish(["be"])
        self.assertNotIn("Problem", self.ask("GET", "status")[1])

    def test_store_away(self) -> None:
        """While nobody can say what others are, it is not claimed that none is a be."""
        self.store.unavailable()
        self.assertNotIn("role be", self.ask("GET", "status")[1])

    def test_log(self) -> None:
        """The log says it at once, and then once a minute."""
        said: list[LogEvent] = []
        keep: Any = said.append
        globalLogPublisher.addObserver(keep)
        self.addCleanup(globalLogPublisher.removeObserver, keep)
        self.served.publishing.startService()
        self.addCleanup(lambda: self.successResultOf(self.served.publishing.stopService()))
        counts = []
        for _ in range(9):
            counts.append(sum("no server of role be" in event.get("problem", "") for event in said))
            self.clock.advance(15.0)
        self.assertEqual(counts, [1, 1, 1, 1, 2, 2, 2, 2, 3])


class ConnectionTests(SynchronousTestCase):
    """What is seen of connections to shards that were lost."""

    def test_lost(self) -> None:
        """One that is gone, or came anew since the last look, was lost; one that was away, or is new, was not."""

        def row(shard: str, seconds: float, open: bool = True) -> dict[str, Any]:
            return {"shard": shard, "open": open, "seconds": seconds}

        before = [row("a", 100.0), row("b", 100.0), row("c", 100.0), row("d", 5.0, False)]
        after = [row("a", 115.0), row("b", 3.0, False), row("c", 7.0), row("d", 2.0), row("e", 1.0)]
        self.assertEqual(lost_connections(before, after, 15.0), 2)
        self.assertEqual(lost_connections([], after, 15.0), 0)
        self.assertEqual(lost_connections(after, after, 0.0), 0)


class AcceptLossTests(ShardCase):
    """POST /accept_loss."""

    def test_accepted(self) -> None:
        """The answer says how many vbuckets begin anew; a second time there is nothing left to give up."""
        self.assertEqual(self.ask("POST", "accept_loss?shard=shard1"), (200, "Shard shard1: 2 vbuckets begin anew.\n"))
        self.store.lost = {"shard1": []}
        self.assertEqual(
            self.ask("POST", "accept_loss", body=b'{"shard": "shard1"}'),
            (200, "Shard shard1: has all its data: nothing was changed.\n"),
        )

    def test_json(self) -> None:
        """The same for programs."""
        status, text = self.ask("POST", "accept_loss?shard=shard1", "application/json")
        self.assertEqual((status, json.loads(text)), (200, {"shard": "shard1", "begin_anew": 2}))

    def test_refused(self) -> None:
        """GET changes nothing, and a shard that is missing, unknown or beside other parameters is a clear 400."""
        self.assertEqual(self.ask("GET", "accept_loss?shard=shard1")[0], 405)
        for path, words in (
            ("accept_loss", "Which shard?"),
            ("accept_loss?shard=shard9", "There is no shard shard9: the shards are shard1, shard2."),
            ("accept_loss?shard=shard1&force=1", "Invalid parameters: force"),
        ):
            status, text = self.ask("POST", path)
            self.assertEqual(status, 400)
            self.assertIn(words, text)
        self.assertEqual(self.store.lost, {"shard1": [0, 1]})

    def test_store_away(self) -> None:
        """A store that cannot do it now is 503, with its reason."""
        self.store.accept_loss = lambda name: fail(StoreUnavailable("shard1 is away"))  # type: ignore[method-assign]
        status, text = self.ask("POST", "accept_loss?shard=shard1")
        self.assertEqual(status, 503)
        self.assertIn("shard1 is away", text)

    def ask_from(self, address: Any, *, open: bool) -> Any:
        """What becomes of a request from an address; `open` is a server that asks nobody for a token."""
        request: Any = DummyRequest([b"accept_loss"])
        request.client, request.uri, request.content = address, b"/accept_loss?shard=shard1", BytesIO()
        request.requestHeaders.setRawHeaders(b"accept", [b"text/plain"])
        request.path, request.method = b"/accept_loss", b"POST"
        accepting = AdminResources(self.served.administered(), open=open).answers()["accept_loss"](request)
        return None if request.finished else self.failureResultOf(accepting).value

    def test_from_this_host_only(self) -> None:
        """Without a token only the server's own host may ask; with one, everybody who shows it."""
        for host in ("192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7"):
            refused = self.ask_from(IPv6Address("TCP", host, 1), open=True)
            self.assertIsInstance(refused, Refusal)
            self.assertEqual(refused.status, 403)
            self.assertEqual(self.store.lost, {"shard1": [0, 1]})
        for host in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
            self.store.lost = {"shard1": [0, 1]}
            self.assertIsNone(self.ask_from(IPv6Address("TCP", host, 1), open=True))
            self.assertEqual(self.store.lost, {})
        far = IPv6Address("TCP", "192.0.2.7", 1)
        for address, open in ((UNIXAddress("/run/taba.sock"), True), (far, False)):
            self.store.lost = {"shard1": [0, 1]}
            self.assertIsNone(self.ask_from(address, open=open))
            self.assertEqual(self.store.lost, {})


class PlainStoreTests(SynchronousTestCase):
    """A store without shards."""

    def test_nothing_to_accept(self) -> None:
        """It has nothing to give up, and says so."""
        clock = Clock()
        memory = memory_store(clock)
        treq: Any = StubTreq(Root(Served(memory, memory, clock).leaves()))
        asked = treq.request("POST", "http://server/accept_loss?shard=a")
        treq.flush()
        self.assertEqual(self.successResultOf(asked).code, 400)
