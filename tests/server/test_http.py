"""The query endpoints as curl sees them: text, JSON, lists, regular expressions, and what is said to wrong requests."""

from __future__ import annotations

import gzip
import json
from random import Random
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.errors import StoreUnavailable
from taba.interfaces import Append, Selection, Style
from taba.server.frontend import Frontend
from taba.server.http import AppendResources
from taba.server.inflating import inflated
from taba.server.turns import TURN_SECONDS, Turns
from taba.testing.stores import FaultyStore
from taba.web.answers import Root
from taba.wire import v2
from tests.server.making import INCARNATION, NOW, Lanes, Served, memory_store, registry, sections

COUNTER = (
    '{"1m": {"count": 2, "total": 1100.00, "average": 550.00}, '
    '"10m": {"count": 2, "total": 1100.00, "average": 550.00}, '
    '"1h": {"count": 2, "total": 1100.00, "average": 550.00}, '
    '"1d": {"count": 2, "total": 1100.00, "average": 550.00}, '
    '"pct": {"count": 2, "total": 1100.000000, '
    '"pct": [100.00, 1000.00, 1000.00, 1000.00, 1000.00, 1000.00, 1000.00]}}'
)


class Handlers(dict[str, Any]):
    """A registry of Handlers that a test may change."""


class ServerCase(SynchronousTestCase):
    """A server without ports: all its resources over a memory store."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = memory_store(self.clock, vbuckets=4)
        self.store = FaultyStore(self.memory)
        self.handlers = Handlers(registry().handlers)
        self.served = Served(self.store, self.memory, self.clock, handlers=self.handlers)
        self.backend = self.served.backend
        self.backend.startService()
        self.lanes = Lanes()
        frontend = Frontend(self.store, registry(), self.clock, lambda: NOW, self.served.observer)
        self.resources = AppendResources(frontend, 1 << 20, self.clock)
        self.treq = StubTreq(Root({**self.served.leaves(), **self.resources.leaves()}))

    def given(self, *events: tuple[str, str, str, float, str]) -> None:
        """Events that have been folded."""
        self.successResultOf(self.memory.append(self.lanes.appends(sections(events, 4))))
        for _ in range(40):
            self.clock.advance(0.05)

    def ask(
        self, path: str, accept: str | None = None, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, str, str]:
        """Status, content type and text of an answer."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if accept is not None:
            headers["Accept"] = accept
        asked = self.treq.request(method, f"http://server/{path}", headers=headers, data=body)
        self.treq.flush()
        response = self.successResultOf(asked)
        text = self.successResultOf(response.text("utf-8"))
        return response.code, response.headers.getRawHeaders("content-type", [""])[0], text

    def text(self, path: str, **asked: Any) -> str:
        """The text of an answer that is 200."""
        status, _, text = self.ask(path, **asked)
        self.assertEqual(status, 200, text)
        return text


class QueryTests(ServerCase):
    """Answers about two tabs and two clients."""

    def setUp(self) -> None:
        super().setUp()
        self.given(
            ("c", "a", "CounterGroup", NOW, "100"),
            ("c", "a", "CounterGroup", NOW, "1000"),
            ("d", "b", "CounterGroup", NOW, "100"),
            ("d", "b", "CounterGroup", NOW, "1000"),
            ("c", "g", "Gauge", NOW, '"value"'),
        )

    def test_tabs_text(self) -> None:
        """/tabs has one line per tab, to the character as the original."""
        self.assertEqual(self.text("tabs"), f'a: {COUNTER}\nb: {COUNTER}\ng: {{"value": 1}}\n')

    def test_tabs_json(self) -> None:
        """JSON is asked for by Accept; the comma stands without a blank."""
        status, content_type, text = self.ask("tabs?name=a,g", accept="application/json")
        self.assertEqual((status, content_type), (200, "application/json"))
        self.assertEqual(text, f'{{"a": {COUNTER},"g": {{"value": 1}}}}')

    def test_tabs_detailed(self) -> None:
        """application/json-detailed lists all buckets of all windows, oldest first."""
        levels = json.loads(self.text("tabs?name=a", accept="application/json-detailed"))["a"]
        self.assertEqual([len(level) for level in levels], [60, 60, 120, 96])
        self.assertEqual([level[-1] for level in levels], [
            [NOW, 2, 1100.0], [NOW, 2, 1100.0], [NOW - 20, 2, 1100.0], [NOW - 800, 2, 1100.0],
        ])

    def test_raw(self) -> None:
        """raw shows the stored bytes."""
        shown = self.text("tabs?name=a&raw=1", accept="application/json")
        self.assertEqual(bytes.fromhex(json.loads(shown)["a"])[:2], b"\x01\x01")
        self.assertIn("a: b'\\x01\\x01", self.text("tabs?name=a&raw=1"))

    def test_unknown_tab(self) -> None:
        """A name that nobody recorded is an empty answer."""
        self.assertEqual((self.text("tabs?name=x"), self.text("tabs?name=x", accept="application/json")), ("", "{}"))

    def test_one_client(self) -> None:
        """With client, only its States are reduced."""
        self.assertEqual(self.text("tabs?client=d"), f"b: {COUNTER}\n")

    def test_regular_expression(self) -> None:
        """re makes name a regular expression, matched at the start."""
        self.assertEqual(self.text("names?name=[ab]&re=1"), "a\nb\n")

    def test_bad_regular_expression(self) -> None:
        """A pattern that RE2 does not take is 400, with RE2's reason."""
        status, _, text = self.ask("names?name=(a&re=1")
        self.assertEqual(status, 400)
        self.assertIn("missing )", text)

    def test_long_regular_expression(self) -> None:
        """A pattern has a limit of length."""
        self.assertEqual(self.ask(f"names?name={'a' * 1025}&re=1")[0], 400)

    def test_unknown_parameter(self) -> None:
        """A parameter that does not exist is 400 and named."""
        status, _, text = self.ask("tabs?nmae=a&x=1")
        self.assertEqual(status, 400)
        self.assertIn("Invalid parameters: nmae, x", text)

    def test_posted_parameters(self) -> None:
        """A POSTed JSON object holds the same parameters; the URL wins."""
        self.assertEqual(self.text("names", method="POST", body=b'{"name": "a,b"}'), "a\nb\n")
        self.assertEqual(self.text("names?name=g", method="POST", body=b'{"name": ["a", "b"]}'), "g\n")

    def test_posted_nonsense(self) -> None:
        """A body that is not a JSON object of strings is 400."""
        for body in (b"{", b"[]", b'{"name": {}}', b"[" * 100_000):
            self.assertEqual(self.ask("names", method="POST", body=body)[0], 400)

    def test_projection_text(self) -> None:
        """/projection has one line per tab and client."""
        self.assertEqual(
            self.text("projection"), f'(a, c): {COUNTER}\n(b, d): {COUNTER}\n(g, c): {{"value": 1}}\n'
        )

    def test_projection_json(self) -> None:
        """Its JSON is keyed by client first."""
        self.assertEqual(
            self.text("projection", accept="application/json"),
            f'{{"c": {{"a": {COUNTER},"g": {{"value": 1}}}},"d": {{"b": {COUNTER}}}}}',
        )

    def test_supertabs(self) -> None:
        """/supertabs reduces over tabs and clients."""
        self.assertIn('"1m": {"count": 4, "total": 2200.00', self.text("supertabs?name=a,b"))

    def test_supertabs_of_clients(self) -> None:
        """With client it reduces the States of these."""
        self.assertIn('"1m": {"count": 2, "total": 1100.00', self.text("supertabs?name=a,b&client=c"))

    def test_supertabs_nothing(self) -> None:
        """Without any State it is an empty line, in JSON nothing."""
        self.assertEqual(self.text("supertabs?name=x"), "\n")
        self.assertEqual(self.text("supertabs?name=x", accept="application/json"), "")

    def test_supertabs_of_several_types(self) -> None:
        """Tabs of several Types cannot be reduced: 400."""
        self.assertEqual(self.ask("supertabs")[0], 400)

    def test_lists(self) -> None:
        """/clients, /names and /types as text and JSON."""
        self.assertEqual(self.text("clients"), "c\nd\n")
        self.assertEqual(self.text("clients?client=d,x"), "d\n")
        self.assertEqual(self.text("names", accept="application/json"), '["a", "b", "g"]')
        self.assertEqual(self.text("names?client=c"), "a\ng\n")
        self.assertEqual(self.text("types"), "a: CounterGroup\nb: CounterGroup\ng: Gauge\n")
        self.assertEqual(self.text("types?name=g", accept="application/json"), '{"g": "Gauge"}')

    def test_empty_list(self) -> None:
        """A list of nothing is an empty line, as in the original."""
        self.assertEqual(self.text("names?name=x"), "\n")

    def test_status(self) -> None:
        """/status begins with the original's lines and goes on with the ledger."""
        lines = self.text("status").splitlines()
        self.assertEqual(lines[:3], ["Servers: 1", "Max Age: 0.00 s", "Tasks:   0"])
        self.assertIn("  folded: 5", lines)

    def test_status_json(self) -> None:
        """As JSON it has the original's members among others."""
        status = json.loads(self.text("status", accept="application/json"))
        self.assertEqual((status["total_tasks"], status["ledger"]["folded"]), (0.0, 5))
        self.assertEqual(set(status["servers"]["taba_server.host.8300"]), {"queues", "tasks", "age", "load", "weight"})

    def test_accept_list(self) -> None:
        """Of several media types the first that is known decides, by quality."""
        self.assertEqual(self.ask("names", accept="application/json, text/plain, */*")[1], "application/json")
        self.assertEqual(self.ask("names", accept="application/json;q=0.1, */*")[1], "text/plain; charset=utf-8")
        self.assertEqual(self.ask("names", accept="image/png")[1], "text/plain; charset=utf-8")

    def test_accept_quality(self) -> None:
        """What is of quality 0 is not wanted, in answers and in errors; application/* may be JSON."""
        for accept in ("application/json;q=0", "application/json; q=0.0", "application/*;q=0", "text/*, a/b;q=nan"):
            self.assertEqual(self.ask("names", accept=accept)[1], "text/plain; charset=utf-8", accept)
            self.assertEqual(self.ask("names?x=1", accept=accept)[0], 400)
            self.assertEqual(self.ask("names?x=1", accept=accept)[1], "text/plain; charset=utf-8", accept)
        for accept in ("application/*", "text/plain;q=0, application/*;q=0.1", "Application/JSON ; Q=1.0"):
            self.assertEqual(self.ask("names", accept=accept)[1], "application/json", accept)
            self.assertEqual(self.ask("names?x=1", accept=accept)[1], "application/json", accept)

    def test_store_does_not_answer(self) -> None:
        """A store that fails is 503 with the reason, in the form that was asked for."""
        self.store.unavailable()
        status, content_type, text = self.ask("tabs", accept="application/json")
        self.assertEqual((status, content_type), (503, "application/json"))
        self.assertIn("store", json.loads(text)["error"])

    def test_not_found(self) -> None:
        """An unknown path is 404 and says what there is, whatever the method."""
        for path in ("tab", "tabs/more", "v2", "v2/appendix", "", "%00"):
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "MADEUP"):
                status, _, text = self.ask(path, method=method)
                self.assertEqual(status, 404, f"{method} /{path}")
                self.assertIn("There is no /", text)
        self.assertIn("tabs", self.ask("tab", method="PUT")[2])
        self.assertEqual(self.ask("tab", method="HEAD")[0], 404)

    def test_method(self) -> None:
        """A method that a path does not take is 405, and Allow names those it takes."""
        for path, allowed in (("tabs", "GET, HEAD, POST"), ("v2/append", "POST"), ("v2/topology", "GET, HEAD")):
            for method in ("PUT", "DELETE", "MADEUP"):
                asked = self.treq.request(method, f"http://server/{path}")
                self.treq.flush()
                response = self.successResultOf(asked)
                self.assertEqual(response.code, 405)
                self.assertEqual(response.headers.getRawHeaders("allow"), [allowed])

    def test_handler_that_raises(self) -> None:
        """A State that its Handler cannot show says so in its place; the others are shown, and it is logged once."""

        class Broken:
            running_aggregate = False

            def upgrade(self, state: bytes) -> bytes:
                return state

            def render(self, state: bytes, time: float, style: Style) -> str:
                raise ZeroDivisionError("whatever")

        self.handlers["Gauge"] = Broken()
        text = self.text("tabs?client=c")
        self.assertEqual(text, f'a: {COUNTER}\ng: {{"error": "the Handler of Type Gauge failed"}}\n')
        json.loads(self.text("projection", accept="application/json"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_damaged_state(self) -> None:
        """A State that cannot be decoded says so in its place, alone or reduced with others."""
        for kept in self.memory._contents.vbuckets:
            for tab in ("a", "g"):
                kept.states.get(tab, {}).update({"c": b"\x01\x01junk", "e": b"junk"} if tab in kept.states else {})
        for path in ("tabs?client=c,e", "projection", "supertabs?name=a&client=c,e"):
            shown = self.text(path)
            self.assertIn('{"error": "damaged State: ', shown)
        self.assertIn(f"b: {COUNTER}", self.text("tabs?client=d,e"))


class AppendTests(ServerCase):
    """Protocol 2, as agents use it."""

    def request(self, *batches: Any, cluster: str | None = None) -> bytes:
        """An append request's frame."""
        return v2.encode_append_request(v2.AppendRequest(cluster or self.memory.cluster.id, NOW, batches))

    def test_topology(self) -> None:
        """/v2/topology says what an agent has to know."""
        topology = v2.decode_topology(self.text("v2/topology").encode())
        self.assertEqual((topology.cluster, topology.vbuckets), (self.memory.cluster.id, 4))
        self.assertEqual(
            topology.types,
            (
                "Buffer", "CounterGroup", "ExpiryGauge", "Gauge", "PercentileCounter", "PercentileGroup",
                "TotalsCounter", "UniqueGroup",
            ),
        )  # fmt: skip

    def test_append_and_duplicate(self) -> None:
        """A batch is answered ok, and ok again when it comes twice; it counts once."""
        frame = self.request(*self.lanes.appends(sections([("c", "a", "CounterGroup", NOW, "1")], 4)))
        for _ in range(2):
            answer = v2.decode_append_answer(self.text("v2/append", method="POST", body=frame).encode())
            self.assertEqual([each.verdict.value for each in answer.outcomes], ["ok"])
        for _ in range(40):
            self.clock.advance(0.05)
        self.assertIn('"count": 1', self.text("tabs?name=a"))

    def test_gzip(self) -> None:
        """A request may be gzipped."""
        frame = gzip.compress(self.request(*self.lanes.appends(sections([("c", "a", "CounterGroup", NOW, "1")], 4))))
        self.text("v2/append", method="POST", body=frame, Content_Encoding="gzip")

    def test_gzip_bomb(self) -> None:
        """What inflates over the limit is 413."""
        body = gzip.compress(b"\0" * (2 << 20))
        self.assertEqual(self.ask("v2/append", method="POST", body=body, Content_Encoding="gzip")[0], 413)

    def test_gzip_ratio(self) -> None:
        """So is what inflates beyond any honest ratio, before it is all inflated; up to 1 MiB any ratio will do."""
        self.resources._max_body = 64 << 20
        body = gzip.compress(b"\0" * (8 << 20))
        status, _, text = self.ask("v2/append", method="POST", body=body, Content_Encoding="gzip")
        self.assertEqual(status, 413)
        self.assertIn("200 times", text)
        body = gzip.compress(b"\0" * (1 << 20))
        self.assertEqual(self.ask("v2/append", method="POST", body=body, Content_Encoding="gzip")[0], 400)

    def test_gzip_takes_turns(self) -> None:
        """A large body is inflated some at a time, so that others have their turn; it is the same body."""

        class Ticking(Clock):
            def seconds(self) -> float:
                self.rightNow += TURN_SECONDS / 2
                return float(self.rightNow)

        whole = Random(7).randbytes(3 << 20)
        for clock, turns in ((Clock(), 0), (Ticking(), 6)):
            given = 0
            inflating = Deferred.fromCoroutine(inflated(gzip.compress(whole), 4 << 20, Turns(clock)))
            while not inflating.called:
                self.assertTrue(clock.getDelayedCalls())
                given += 1
                clock.calls.pop().func()
            self.assertEqual(self.successResultOf(inflating), whole)
            self.assertGreaterEqual(given, turns)

    def test_gzip_broken(self) -> None:
        """What is not gzip, or cut short, is 400; other encodings are 415."""
        whole = gzip.compress(self.request())
        for body, encoding, status in (
            (b"x", "gzip", 400),
            (b"", "gzip", 400),
            (whole[:-4], "gzip", 400),
            (whole + b"x", "gzip", 400),
            (b"", "br", 415),
        ):
            self.assertEqual(self.ask("v2/append", method="POST", body=body, Content_Encoding=encoding)[0], status)

    def test_other_cluster(self) -> None:
        """A request for another cluster is 409, and names this one."""
        status, _, text = self.ask("v2/append", method="POST", body=self.request(cluster="f" * 32))
        self.assertEqual((status, json.loads(text)["cluster"]), (409, self.memory.cluster.id))

    def test_no_frame(self) -> None:
        """What is no frame is 400 and changes nothing."""
        self.assertEqual(self.ask("v2/append", method="POST", body=b"nonsense")[0], 400)

    def test_long_header(self) -> None:
        """A header that would keep the server busy for long is 400, before it is parsed; that of as many batches as an
        agent sends at a time is not.
        """
        self.resources._max_body = 64 << 20
        frame = (2 << 20).to_bytes(4, "little") + b"[" * (2 << 20)
        status, _, text = self.ask("v2/append", method="POST", body=frame)
        self.assertEqual(status, 400)
        self.assertIn("over the limit of 1048576", text)
        most = 2**53 - 1
        longest = [
            Append(vbucket, INCARNATION, most, most - 1, 2**32 - 1, most, most, NOW + 0.123456, native.crc32c(b""), b"")
            for vbucket in range(4096)
        ]
        self.assertEqual(self.ask("v2/append", method="POST", body=self.request(*longest))[0], 200)

    def test_unknown_outcome(self) -> None:
        """A store that fails is 503: the agent asks again."""
        self.store.fail_after("append")
        frame = self.request(*self.lanes.appends(sections([("c", "a", "CounterGroup", NOW, "1")], 4)))
        self.assertEqual(self.ask("v2/append", method="POST", body=frame)[0], 503)
        self.assertEqual(self.ask("v2/append", method="POST", body=frame)[0], 200)
        self.assertEqual(self.flushLoggedErrors(StoreUnavailable), [])

    def test_selection_of_nothing(self) -> None:
        """Selecting no tab reads nothing."""
        rows: list[object] = []
        self.successResultOf(self.memory.each_state(Selection(frozenset()), rows.extend))
        self.assertEqual(rows, [])
