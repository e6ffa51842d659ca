"""Long answers: written at the pace of their reader, from a bounded part of what the store has, and never half a one
that looks whole.
"""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from taba import native
from taba.errors import StoreUnavailable
from taba.handlers.registry import builtin
from taba.interfaces import RETIRED, Selection, StateRow
from taba.server.answering import PIECE_CHARACTERS, STALL_SECONDS, PacedAnswer
from taba.server.http import QueryResources
from taba.server.query import Query
from taba.server.turns import TURN_SECONDS
from taba.store.memory import Contents, MemoryStore, Vbucket
from taba.web.answers import Root
from taba.web.site import BoundedSite
from tests.server.making import NOW, Served, new_ids, sections

VBUCKETS = 4
TRANSPORT_BYTES = 65_536
"""What Twisted's transports take before they pause who writes."""
PAGE_ROWS = 1000


def state_of(type: str, payload: str) -> bytes:
    """The State of one event."""
    (made,) = sections([("c", "a", type, NOW, payload)])
    handler = builtin().get(type)
    assert handler is not None
    return handler.fold(b"", [each.partial for each in native.batch_entries(made.data)])


def filled(tabs: Sequence[str], clients: Sequence[str], type_of: Callable[[str], str]) -> Contents:
    """What a store has after each client recorded one event of each tab."""
    contents = Contents("c" * 32, [Vbucket() for _ in range(VBUCKETS)])
    states = {"CounterGroup": state_of("CounterGroup", "1"), "Gauge": state_of("Gauge", '"on"')}
    for tab in tabs:
        kept, type = contents.vbuckets[native.crc32(tab.encode()) % VBUCKETS], type_of(tab)
        kept.types[tab] = type
        kept.states[tab] = dict.fromkeys(clients, states[type])
        if type == "CounterGroup":
            kept.aggregates[tab] = builtin().handlers[type].reduce([states[type]] * len(clients))
    return contents


class WatchedStore(MemoryStore):
    """A memory store that counts the pages of States that it gives, and may fail at one of them."""

    pages = 0
    fails_at: int | None = None

    def each_state(
        self, selection: Selection, consume: Callable[[Sequence[StateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """Count, and give."""

        def counted(rows: Sequence[StateRow]) -> Deferred[Any] | None:
            if self.pages == self.fails_at:
                raise StoreUnavailable("the store went away")
            self.pages += 1
            return consume(rows)

        return super().each_state(selection, counted)


class SlowTransport(StringTransport):
    """A transport that holds `TRANSPORT_BYTES`, then waits until somebody reads."""

    aborted = False

    def __init__(self) -> None:
        super().__init__()
        self.waits = False
        self.most = 0

    def write(self, data: bytes) -> None:
        """Hold bytes, and pause the writer when it is many."""
        super().write(data)
        self.most = max(self.most, self.io.tell())
        if self.io.tell() > TRANSPORT_BYTES and self.producer is not None:
            self.waits = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        """Hold bytes that come in parts."""
        self.write(b"".join(data))

    def read(self) -> bytes:
        """All that is held; the writer may go on."""
        taken: bytes = self.value()
        self.clear()
        if self.waits and self.producer is not None:
            self.waits = False
            self.producer.resumeProducing()
        return taken

    def abortConnection(self) -> None:
        """Remember that it was asked for."""
        self.aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to do in memory."""


class TickingClock(Clock):
    """A clock that goes on a little whenever somebody looks, and counts the turns that are given up."""

    tick = 0.0
    turns = 0

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> Any:
        """Count the calls that only wait for the next turn."""
        self.turns += delay == 0
        return super().callLater(delay, callable, *args, **kw)

    def seconds(self) -> float:
        """The time, which passes."""
        self.rightNow += self.tick
        return float(self.rightNow)


class StreamCase(SynchronousTestCase):
    """A connection to the query endpoints over a filled store."""

    def fill(
        self, tabs: int, clients: int, type_of: Callable[[str], str] = lambda _: "CounterGroup", **asked: Any
    ) -> None:
        """A server over a store with so many tabs of so many clients each."""
        self.tabs = [f"tab_{number:05d}" for number in range(tabs)]
        self.client_ids = [f"client_{number:05d}" for number in range(clients)]
        self.clock = TickingClock()
        contents = filled(self.tabs, self.client_ids, type_of)
        self.store = WatchedStore(VBUCKETS, self.clock, lambda: NOW, new_ids(), contents=contents)
        self.store.startService()
        status = Served(self.store, self.store, self.clock).status
        self.query = Query(self.store, builtin(), lambda: NOW, self.clock, **asked)
        root = Root(QueryResources(self.query, status, self.clock).leaves())
        self.site = BoundedSite(root, self.clock, {})

    def ask(self, path: str, accept: str = "text/plain", version: str = "1.1") -> None:
        """Send a request on a new connection."""
        self.transport = SlowTransport()
        self.channel: Any = self.site.buildProtocol(None)
        self.channel.makeConnection(self.transport)
        head = f"GET /{path} HTTP/{version}\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
        self.channel.dataReceived(head.encode())

    def read_on(self) -> Iterator[bytes]:
        """Read, and let the server go on, until nothing more comes."""
        while (taken := self.transport.read()) or self.clock.getDelayedCalls():
            yield taken
            self.clock.advance(0)
            if self.transport.disconnecting or self.transport.aborted:
                yield self.transport.read()
                return
            if not self.transport.io.tell() and not self._due():
                return

    def _due(self) -> bool:
        return any(call.getTime() <= self.clock.rightNow + 1 for call in self.clock.getDelayedCalls())

    def body(self, path: str, accept: str = "text/plain") -> str:
        """The whole body of an answer."""
        self.ask(path, accept)
        head, _, rest = b"".join(self.read_on()).partition(b"\r\n\r\n")
        self.assertIn(b" 200 OK", head)
        if b"Transfer-Encoding: chunked" not in head:
            self.assertIn(b"Content-Length: %d" % len(rest), head)
            return rest.decode()
        whole = b""
        while True:
            length, _, rest = rest.partition(b"\r\n")
            size = int(length, 16)
            if not size:
                self.assertEqual(rest, b"\r\n")
                return whole.decode()
            whole, rest = whole + rest[:size], rest[size + 2 :]

    def go_away(self) -> None:
        """The client closes its connection."""
        producer: Any = self.transport.producer
        producer.stopProducing()
        self.channel.connectionLost(Failure(ConnectionLost()))


class MemoryTests(StreamCase):
    """100,000 States, and what the server holds of them at once."""

    def most_bytes(self, path: str, accept: str = "text/plain") -> tuple[int, int]:
        """(bytes of the answer, the most bytes of memory that it took at once), read slowly."""
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            self.ask(path, accept)
            length = sum(map(len, self.read_on()))
            return length, tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()

    def test_projection(self) -> None:
        """Text of all States takes a few pages."""
        self.fill(100, 1000)
        length, most = self.most_bytes("projection?raw=1")
        self.assertGreater(length, 10 << 20)
        self.assertLess(most, 2 << 20)
        self.assertLess(self.transport.most, 2 * TRANSPORT_BYTES + 2 * PIECE_CHARACTERS)

    def test_projection_by_client(self) -> None:
        """JSON, which is by client, takes what is allowed, and the pages."""
        self.fill(100, 1000, held_bytes=8 << 20)
        length, most = self.most_bytes("projection?raw=1", "application/json")
        self.assertGreater(length, 8 << 20)
        self.assertLess(most, 10 << 20)
        self.assertGreater(self.store.pages, 300, "the store was read once: nothing was bounded")

    def test_tabs_of_clients(self) -> None:
        """Tabs that are reduced from the States of many clients hold a page and one State."""
        self.fill(100, 1000)
        length, most = self.most_bytes("tabs?client=client_.*&re=1&raw=1")
        self.assertGreater(length, 100 * 20)
        self.assertLess(most, 2 << 20)

    def test_supertabs_of_clients(self) -> None:
        """So does the State of all."""
        self.fill(100, 1000)
        _, most = self.most_bytes("supertabs?client=client_.*&re=1&raw=1")
        self.assertLess(most, 2 << 20)

    def test_gauges_between_counters(self) -> None:
        """A listing of Aggregates that are kept, and of such as are reduced, holds some of them."""
        self.fill(100, 1000, lambda tab: "Gauge" if tab.endswith("7") else "CounterGroup")
        length, most = self.most_bytes("tabs?raw=1")
        self.assertGreater(length, 10 * 1000)
        self.assertLess(most, 2 << 20)


class AnswerTests(StreamCase):
    """What long answers say, to the character."""

    def test_projection_text(self) -> None:
        """All States, ascending by tab and client."""
        self.fill(30, 40)
        state = state_of("CounterGroup", "1")
        self.assertEqual(
            self.body("projection?raw=1"),
            "".join(f"({tab}, {client}): {state!r}\n" for tab in self.tabs for client in self.client_ids),
        )

    def test_projection_json(self) -> None:
        """By client, as often as the store has to be read for it."""
        item = f'"{state_of("CounterGroup", "1").hex()}"'
        for held in (16 << 20, 1 << 20):
            self.fill(60, 120, held_bytes=held)
            shown = ",".join(
                f'"{client}": {{{",".join(f"{json.dumps(tab)}: {item}" for tab in self.tabs)}}}'
                for client in self.client_ids
            )
            self.assertEqual(self.body("projection?raw=1", "application/json"), f"{{{shown}}}")
        self.assertGreater(self.store.pages, 2 * (60 * 120 // PAGE_ROWS + 1))

    def test_client_with_more_than_may_be_held(self) -> None:
        """A client that has more States than may be held is shown all the same."""
        self.fill(4000, 2, held_bytes=1 << 20)
        shown = json.loads(self.body("projection?raw=1", "application/json"))
        self.assertEqual([(client, list(states)) for client, states in shown.items()], [
            (client, self.tabs) for client in self.client_ids
        ])
        some = json.loads(self.body("projection?raw=1&client=client_00001", "application/json"))
        self.assertEqual([(client, list(states)) for client, states in some.items()], [("client_00001", self.tabs)])

    def test_retired_is_no_client(self) -> None:
        """The retired State of a tab is part of its Aggregate and no Projection."""
        self.fill(2, 2)
        for kept in self.store._contents.vbuckets:
            for states in kept.states.values():
                states[RETIRED] = state_of("CounterGroup", "1")
        self.assertEqual(len(self.body("projection").splitlines()), 4)
        self.assertEqual(list(json.loads(self.body("projection", "application/json"))), self.client_ids)

    def test_tabs_of_two_kinds(self) -> None:
        """Gauges stand between counters in their order, also where there are many of both."""
        self.fill(700, 3, lambda tab: "Gauge" if tab.endswith(("3", "7", "99")) else "CounterGroup")
        shown = json.loads(self.body("tabs", "application/json"))
        self.assertEqual(list(shown), self.tabs)
        self.assertEqual(shown["tab_00099"], {"on": 3})
        self.assertEqual(shown["tab_00100"]["pct"]["count"], 3)
        self.assertEqual(self.body("tabs?client=client_00000,client_00001&name=tab_00003"), 'tab_00003: {"on": 2}\n')

    def test_supertabs(self) -> None:
        """All States of many pages, as one."""
        self.fill(40, 100)
        for path in ("supertabs", "supertabs?client=client_.*&re=1"):
            self.assertEqual(json.loads(self.body(path))["pct"]["count"], 4000)

    def test_names(self) -> None:
        """Long lists of names, in text and JSON."""
        self.fill(9000, 1)
        self.assertEqual(self.body("names"), "\n".join(self.tabs) + "\n")
        self.assertEqual(self.body("names", "application/json"), json.dumps(self.tabs))
        self.assertEqual(self.body("names?client=client_00000"), "\n".join(self.tabs) + "\n")
        self.assertEqual(self.body("types"), "".join(f"{tab}: CounterGroup\n" for tab in self.tabs))
        self.assertEqual(self.body("types", "application/json"), json.dumps(dict.fromkeys(self.tabs, "CounterGroup")))

    def test_clients(self) -> None:
        """So are clients."""
        self.fill(1, 9000)
        self.assertEqual(self.body("clients"), "\n".join(self.client_ids) + "\n")
        self.assertEqual(
            self.body("clients?client=.*7&re=1", "application/json"),
            json.dumps([client for client in self.client_ids if "7" in client]),
        )

    def test_short_answers_have_a_length(self) -> None:
        """An answer that fits in one piece says how long it is; a longer one comes in chunks."""
        self.fill(30, 40)
        self.ask("projection?raw=1&client=client_00000")
        self.assertIn(b"\r\nContent-Length: ", self.transport.value())
        self.ask("projection?raw=1")
        self.assertNotIn(b"Content-Length", self.transport.value())
        self.assertIn(b"\r\nTransfer-Encoding: chunked", self.transport.value())


class PaceTests(StreamCase):
    """Readers that are slow, go away, or take nothing; stores that fail in the middle."""

    def setUp(self) -> None:
        self.fill(20, 1000)

    def test_slow_reader(self) -> None:
        """The store is read on only when the reader has taken what there was."""
        for accept in ("text/plain", "application/json"):
            self.store.pages = 0
            self.ask("projection?raw=1", accept)
            pages, seen = self.store.pages, []
            for _ in self.read_on():
                seen.append(self.store.pages - pages)
            if accept == "text/plain":
                self.assertLessEqual(pages, 1)
                self.assertLessEqual(max(b - a for a, b in pairwise(seen)), 2)
            self.assertGreaterEqual(self.store.pages, 20)

    def test_reader_goes_away(self) -> None:
        """When the client goes the query ends: nothing is read any more, nothing waits, nothing is logged."""
        for path, accept in (
            ("projection?raw=1", "text/plain"),
            ("projection?raw=1", "application/json"),
            ("tabs?client=client_.*&re=1&raw=1", "text/plain"),
        ):
            self.ask(path, accept)
            if path.startswith("projection"):
                self.assertTrue(self.transport.waits)
            self.go_away()
            pages = self.store.pages
            self.clock.advance(STALL_SECONDS)
            self.transport.producer = None
            self.assertEqual(self.store.pages, pages)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertEqual(self.flushLoggedErrors(), [])
            self.assertEqual(self.query._by_client, 0)

    def test_reader_goes_away_between_turns(self) -> None:
        """So it does when the query waits for its next turn."""
        self.clock.tick = TURN_SECONDS / 10
        self.ask("tabs?client=client_.*&re=1&raw=1")
        self.assertTrue(self._due())
        pages = self.store.pages
        self.go_away()
        self.clock.tick = 0.0
        self.clock.advance(1)
        self.assertEqual((self.store.pages, self.flushLoggedErrors()), (pages, []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reader_that_takes_nothing(self) -> None:
        """A reader that takes nothing for minutes is cut off; one that takes a little now and then is not."""
        self.ask("projection?raw=1")
        for _ in range(3):
            self.clock.advance(STALL_SECONDS - 1)
            self.transport.read()
            self.clock.advance(0)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(STALL_SECONDS)
        self.assertTrue(self.transport.aborted)
        self.go_away()
        self.assertEqual((self.clock.getDelayedCalls(), self.flushLoggedErrors()), ([], []))

    def test_store_fails_in_the_middle(self) -> None:
        """What fails after the first piece cuts the connection without the end of the answer."""
        self.store.fails_at = 5
        for version in ("1.1", "1.0"):
            for accept in ("text/plain", "application/json"):
                self.store.pages = 0
                self.store.fails_at = 5 if accept == "text/plain" else 25
                self.query._held_bytes = 1 << 20
                self.ask("projection?raw=1", accept, version)
                answer = b"".join(self.read_on())
                self.assertIn(b" 200 OK", answer[:20])
                self.assertTrue(self.transport.aborted)
                self.assertFalse(answer.endswith((b"\r\n0\r\n\r\n", b"}")))

    def test_store_fails_before_the_first_piece(self) -> None:
        """What fails before is a clear answer, although some of it was made already."""
        self.store.fails_at = 1
        self.ask("tabs?client=client_.*&re=1&raw=1")
        answer = self.transport.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
        self.assertIn(b"Retry-After: 1", answer)
        self.assertTrue(answer.endswith(b"The store does not answer: the store went away\n"))

    def test_gives_up_its_turn(self) -> None:
        """Others have their turn in the middle of a long answer."""
        self.clock.tick = TURN_SECONDS / 4
        for path in ("projection", "tabs?client=client_.*&re=1", "supertabs?client=client_.*&re=1", "clients"):
            for accept in ("text/plain", "application/json"):
                self.clock.turns = 0
                self.assertTrue(self.body(path, accept))
                self.assertGreaterEqual(self.clock.turns, 5, path)

    def test_producer(self) -> None:
        """A paced answer is a push producer."""
        self.assertTrue(verifyObject(IPushProducer, PacedAnswer(None, "", self.clock)))  # type: ignore[arg-type]
