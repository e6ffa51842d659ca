"""A server without ports, as an operator asks it."""

from __future__ import annotations

import json
from typing import Any

from treq.testing import StubTreq
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from taba.interfaces import Selection, StateRow
from taba.server.keeping import Keeping
from taba.testing.stores import FaultyStore
from taba.web.answers import Root
from tests.server.making import NOW, Lanes, Served, memory_store, sections


class FromAfar(Resource):
    """A tree of resources, as asked from another host."""

    isLeaf = True

    def __init__(self, root: Root) -> None:
        super().__init__()
        self._root = root

    def render(self, request: Any) -> Any:
        request.getClientAddress = lambda: IPv4Address("TCP", "192.0.2.7", 1)
        leaf = self._root
        for part in request.path.strip(b"/").split(b"/"):
            leaf = leaf.children[part]
        request.postpath = []
        return leaf.render(request)


class AdminCase(SynchronousTestCase):
    """A server without ports over a memory store."""

    keeping = Keeping()
    wall = NOW

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = memory_store(self.clock, vbuckets=4, wall=lambda: self.wall)
        self.store = FaultyStore(self.memory)
        self.served = Served(
            self.store, self.memory, self.clock, wall=lambda: self.wall, keeping=self.keeping, client_ttl=3600.0
        )
        self.headers: dict[str, str] = {}
        self.served.backend.startService()
        self.served.maintenance.startService()
        self.lanes = Lanes()
        self.open()

    def open(self, *, afar: bool = False, **options: Any) -> None:
        """Let the server be asked, with other options than before, or from another host."""
        root = Root(self.served.leaves(**options))
        self.treq: Any = StubTreq(FromAfar(root) if afar else root)

    def pump(self, seconds: float = 2.0) -> None:
        """Let time pass."""
        for _ in range(int(seconds * 20)):
            self.clock.advance(0.05)

    def given(self, *events: tuple[str, str, str, float, str]) -> None:
        """Events that have been folded."""
        self.successResultOf(self.memory.append(self.lanes.appends(sections(events, 4))))
        self.pump()

    def ask(self, path: str, method: str = "POST", accept: str = "text/plain") -> tuple[int, str]:
        """Status and text of an answer."""
        asked = self.treq.request(method, f"http://server/{path}", headers={"Accept": accept, **self.headers})
        for _ in range(20):
            self.treq.flush()
            self.clock.advance(0.0)
        response = self.successResultOf(asked)
        return response.code, self.successResultOf(response.text("utf-8"))

    def text(self, path: str, method: str = "POST") -> str:
        """The text of an answer that is 200."""
        status, text = self.ask(path, method)
        self.assertEqual(status, 200, text)
        return text

    def json(self, path: str, method: str = "POST") -> Any:
        """The JSON of an answer that is 200."""
        status, text = self.ask(path, method, "application/json")
        self.assertEqual(status, 200, text)
        return json.loads(text)

    def count(self, tab: str) -> int | None:
        """The count of all time that /tabs shows of a CounterGroup; None when there is no such tab."""
        shown = self.json(f"tabs?name={tab}", "GET")
        return int(shown[tab]["pct"]["count"]) if tab in shown else None

    def rows(self) -> list[StateRow]:
        """All that the store has, graves among it."""
        rows: list[StateRow] = []
        self.successResultOf(self.memory.each_state(Selection(), rows.extend))
        return rows
