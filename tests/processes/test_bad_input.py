"""What a careless, a broken and a hostile sender may send: each gets a clear answer, and nobody else is touched.

REAL: an agent and a server process on loopback. The tests of this file share them; each has tabs of its own. Every
request goes to a standalone agent, and to `/post` of a server, which is an agent inside that process.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Sequence

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.processes.asking import Answer, Wire, ask, body, chunked, counters, line, refused
from tests.processes.running import AgentProcess, ServerProcess, Shared, Stage, start_all

MIB = 1 << 20
MAX_BODY = 32 * MIB
"""MAX_BODY_BYTES by default."""
LEEWAY = 24 * MIB
"""By how much the memory of a process may grow while it refuses something: buffers of sockets, and what other tests
left behind.
"""
QUICKLY = 5.0
"""Seconds that a refusal may take on a busy machine."""


@frozen
class Pair:
    """A server, and an agent in front of it."""

    server: ServerProcess
    agent: AgentProcess


def pair(stage: Stage) -> Pair:
    """Start them, in a hurry, so that the tests need not wait for commits."""
    hurry = {"AGENT_FLUSH_SECONDS": 0.02}
    server = stage.server(config={**hurry, "EMBEDDED_AGENT": True, "CHECKPOINT_SECONDS": 0.02})
    agent = stage.agent(server.port, config={**hurry, "AGENT_COMMIT_MS": 2})
    start_all(server, agent)
    return Pair(server, agent)


class BadInputTestCase(SynchronousTestCase):
    """Requests to both of them, and what became of the good ones."""

    shared: Shared[Pair]

    def setUp(self) -> None:
        self.server, self.agent = self.shared.get().server, self.shared.get().agent
        self.ports = {"agent": self.agent.port, "server": self.server.port}
        self.sent: dict[str, int] = {}

    def tearDown(self) -> None:
        """Good events, and only these, are counted; nothing was logged as a defect."""
        for tab, count in self.sent.items():
            self.server.wait_for_count(tab, count)
        for each in (self.server, self.agent):
            self.assertNotIn("Traceback", each.output())

    def assertAnswered(self, answer: Answer, status: int, *words: str) -> None:
        """An answer has this status, and its text these words."""
        self.assertEqual(answer.status, status, answer)
        for each in words:
            self.assertIn(each, answer.text)

    def tab(self, where: str) -> str:
        """The tab of this test for a port."""
        return f"{self.id().rpartition('.')[2]}:{where}"

    def good(self, where: str, count: int = 3) -> None:
        """A good request with so many events, which will have to be counted."""
        tab = self.tab(where)
        self.assertAnswered(ask(self.ports[where], "/post", counters("good", tab, range(count))), 200)
        self.sent[tab] = self.sent.get(tab, 0) + count


class StructureTests(BadInputTestCase):
    """Bodies that are no bodies of protocol 1 are refused whole, with the reason."""

    shared = Shared(pair)

    def assertRefusedWhole(self, content: bytes, status: int, *words: str, path: str = "/post") -> None:
        """Agent and server refuse a body, which counts for nothing, and take a good one before and after."""
        for where, port in self.ports.items():
            self.good(where)
            self.assertAnswered(ask(port, path, content), status, *words)
            self.good(where)

    def test_version(self) -> None:
        """Another version than 1 is named on line 1; so is what is no protocol at all."""
        wrong = counters("bad", self.tab("agent"), [1]).replace(b"1\n", b"2\n", 1)
        self.assertRefusedWhole(wrong, 400, "line 1", "must be the version of the protocol, 1")
        self.assertRefusedWhole(b'{"events": []}', 400, "line 1")
        self.assertRefusedWhole(b"", 400, "line 1", "empty")

    def test_carriage_returns(self) -> None:
        """Lines that end with CR LF are said to."""
        content = counters("bad", self.tab("agent"), [1]).replace(b"\n", b"\r\n")
        self.assertRefusedWhole(content, 400, "not with CR LF")

    def test_missing_blank_line(self) -> None:
        """A blank line that is missing is named by its number."""
        content = counters("bad", self.tab("agent"), [1]).replace(b"bad\n\n", b"bad\n")
        self.assertRefusedWhole(content, 400, "line 4")

    def test_zlib_cut_short(self) -> None:
        """A zlib stream that is cut short, followed by something, or none at all counts for nothing."""
        whole = zlib.compress(counters("bad", self.tab("agent"), range(1000)))
        self.assertRefusedWhole(whole[:-1], 400, "not a whole zlib stream", "cut short", path="/post_zip")
        self.assertRefusedWhole(whole[:20], 400, "not a whole zlib stream", path="/post_zip")
        self.assertRefusedWhole(whole + b"x", 400, "not a whole zlib stream", path="/post_zip")
        self.assertRefusedWhole(b"PK\3\4" + whole, 400, "not a whole zlib stream", path="/post_zip")

    def test_zlib_bomb(self) -> None:
        """What inflates enormously is refused before it takes memory, by ratio or by size."""
        zeros = zlib.compress(bytes(10 * MIB), 1)
        block = "".join(line("CounterGroup", time.time(), n * 7919 % 1_000_003) + "\n" for n in range(25_000)).encode()
        repeats = MAX_BODY // len(block) + 1
        slow = zlib.compress(counters("bad", self.tab("agent"), [1])[:-2] + block * repeats, 1)
        self.assertLess(MAX_BODY, 200 * len(slow))
        before = {each: each.memory("VmHWM") for each in (self.agent, self.server)}
        self.assertRefusedWhole(zeros, 413, "200 times", path="/post_zip")
        self.assertRefusedWhole(slow, 413, "MAX_BODY_BYTES", path="/post_zip")
        for each, memory in before.items():
            self.assertLess(each.memory("VmHWM"), memory + LEEWAY)

    def test_paths(self) -> None:
        """A path that is not there is 404, a method that is not there 405, with what there is."""
        content = counters("bad", self.tab("agent"), [1])
        for where, port in self.ports.items():
            self.good(where)
            self.assertAnswered(ask(port, "/posts", content), 404, "There are: ", " post ", " status")
            self.assertAnswered(ask(port, "/post/", content), 404)
            self.assertAnswered(ask(port, "/post/1", content), 404)
            self.assertAnswered(ask(port, "/post"), 405, "POST")
            self.assertAnswered(ask(port, "/%70ost?debug=1", counters("good", self.tab(where), [1])), 200)
            self.sent[self.tab(where)] += 1

    def test_batch_numbers(self) -> None:
        """A number that is none is 400, one of an unknown instance 409, and neither is counted."""
        content = counters("bad", self.tab("agent"), [1])
        for where, port in self.ports.items():
            self.good(where)
            for number in ("1", "x/1", f"{'0' * 32}/0", f"{'0' * 32}/-1", f"{'0' * 32}/{'9' * 30}", f"{'A' * 32}/1"):
                self.assertAnswered(ask(port, "/post", content, Taba_Batch=number), 400, "Taba-Batch must be")
            self.assertAnswered(ask(port, "/post", content, Taba_Batch=f"{'0' * 32}/1"), 409, "instance")
            self.assertAnswered(ask(port, "/post", content, Taba_Batch="0"), 400, "must not carry events")
            self.assertAnswered(ask(port, "/post", content, Taba_Unsent="many"), 400, "Taba-Unsent")


class EventTests(BadInputTestCase):
    """A bad event is refused alone, with its line and the reason; its neighbours count."""

    shared = StructureTests.shared

    def assertRefusedAlone(self, lines: Sequence[str], reason: str) -> None:
        """Each line, between two good ones, is refused for this reason."""
        for where, port in self.ports.items():
            tab = self.tab(where)
            block = [line("CounterGroup", time.time(), 1)]
            for each in lines:
                block += [each, line("CounterGroup", time.time(), 1)]
            content = "\n".join(["1", "", "good", "", tab, *block, "", "", ""]).encode()
            answer = ask(port, "/post", content)
            self.assertAnswered(answer, 200)
            facts = refused(answer)
            self.assertEqual((facts["accepted"], facts["rejected"]), (len(lines) + 1, len(lines)))
            self.assertEqual(answer.headers["taba-rejected"], str(len(lines)))
            found = [(each["line"], each["reason"].partition(":")[0]) for each in facts["errors"]]
            self.assertEqual(found, [(7 + 2 * n, reason) for n in range(len(lines))][:10])
            self.sent[tab] = self.sent.get(tab, 0) + len(lines) + 1

    def test_numbers(self) -> None:
        """Numbers that are infinite, not a number, or not numbers at all are refused by value."""
        payloads = ("1e400", "-1e400", "NaN", "Infinity", '"x"', "null", "{}", "[]", "", "1,2", "0x10", "1e", "01")
        events = [json.dumps(["CounterGroup", time.time(), payload]) for payload in payloads]
        self.assertRefusedAlone(events, "value")

    def test_times(self) -> None:
        """Times in milliseconds, before 1970, infinite or as text are refused; so is the day after tomorrow."""
        now = time.time()
        self.assertRefusedAlone([line("CounterGroup", now * 1000, 1), line("CounterGroup", -1, 1)], "time")
        self.assertRefusedAlone(['["CounterGroup", 1e400, "1"]', '["CounterGroup", 253402300800, "1"]'], "time")
        future = [line("CounterGroup", now + ahead, 1) for ahead in (120, 2 * 86_400)]
        self.assertRefusedAlone(future, "future")

    def test_json(self) -> None:
        """Lines that are no JSON array of Type, time and payload are refused."""
        begin, end = f'["CounterGroup", {time.time()}', f'{time.time()}, "1"]'
        self.assertRefusedAlone(["[", "[]", "null", "{}", "[" * 100_000, "x", '["CounterGroup"]', f"{begin}]"], "json")
        self.assertRefusedAlone([f"{begin}, 1]", f'{begin}, "1", 2]', f'{begin}, "1"] x', f'{begin}, "1]'], "json")
        self.assertRefusedAlone([f"[null, {end}", f"['CounterGroup', {end}", '["CounterGroup", "1", "1"]'], "json")

    def test_types(self) -> None:
        """A Type that does not exist, and another than that of the tab's first event, are refused."""
        now = time.time()
        self.assertRefusedAlone([line("Nope", now, 1), line("counterGroup", now, 1), line("", now, 1)], "type")
        self.assertRefusedAlone([line("Gauge", now, 1), line("PercentileGroup", now, 1)], "mixed")

    def test_structured_payloads(self) -> None:
        """A gauge's value may be nested 64 deep and be a megabyte long; beyond it is refused by size."""
        for where, port in self.ports.items():
            self.good(where)
            for value, accepted in (("[" * 64 + "]" * 64, 1), ("[" * 65 + "]" * 65, 0), ("[" * 100_000, 0)):
                event = json.dumps(["Gauge", time.time(), value])
                content = f"1\n\nbad\n\n{self.tab(where)}:gauge\n{event}\n\n\n".encode()
                answer = ask(port, "/post", content)
                self.assertEqual(json.loads(answer.text or '{"accepted": 1}')["accepted"], accepted, value[:70])
            long = body("bad", {f"{self.tab(where)}:gauge": [("Gauge", time.time(), "x" * (MIB + 1))]})
            self.assertIn("size: ", refused(ask(port, "/post", long))["errors"][0]["reason"])

    def test_names(self) -> None:
        """Names of tabs and clients that are too long or hold what they may not are refused, and name their line."""
        for where, port in self.ports.items():
            self.good(where)
            names = ("n" * 10_000, "n" * 513, "a b", "caf\u00e9", "a,b", 'a"b', "a\tb")
            event = ("CounterGroup", time.time(), 1)
            tabs = body("bad", {name: [event] for name in (*names, "n" * 512)})
            each = [counters(name, self.tab(where), [1])[len("1\n\n") :] for name in names]
            clients = b"".join([b"1\n\n", *each])
            for content, accepted, first, step in ((tabs, 1, 6, 3), (clients, 0, 6, 6)):
                facts = refused(ask(port, "/post", content))
                self.assertEqual((facts["accepted"], facts["rejected"]), (accepted, len(names)))
                self.assertEqual([error["line"] for error in facts["errors"]], [first + step * n for n in range(7)])
                self.assertTrue(all(error["reason"].startswith("name: ") for error in facts["errors"]))

    def test_other_type(self) -> None:
        """A tab keeps its Type: events of another one are refused where that is known, and stand in the ledger."""
        before = self.server.json("/status")["ledger"].get("refused.other type", 0)
        for where, port in self.ports.items():
            self.good(where)
            self.server.wait_for_count(self.tab(where), 3)
            other = body("bad", {self.tab(where): [("Gauge", time.time(), "x")] * 2})
            self.assertAnswered(ask(port, "/post", other), 200)
            self.good(where)
        self.server.wait_for(
            lambda: self.server.json("/status")["ledger"].get("refused.other type", 0) == before + 4,
            "four events are refused for the Type of their tab",
        )
        samples = self.server.json("/status")["refused_samples"]
        self.assertIn({"reason": "other type", "tab": self.tab("agent"), "client": "bad", "events": 2}, samples)
        self.assertEqual(self.server.json(f"/types?name={self.tab('agent')}"), {self.tab("agent"): "CounterGroup"})


class TransferTests(BadInputTestCase):
    """Bodies that come too long, too slowly, in pieces, or not at all."""

    shared = StructureTests.shared

    def setUp(self) -> None:
        super().setUp()
        self.refused: list[Wire] = []

    def tearDown(self) -> None:
        """Connections whose request was refused are ended."""
        super().tearDown()
        for wire in self.refused:
            self.assertTrue(wire.ends())
            wire.close()

    def assertRefusedEarly(self, path: str, headers: Sequence[str], content: bytes) -> None:
        """A request is answered 413 though its body has not come, or not wholly; what came takes no memory."""
        for where, port in self.ports.items():
            process = self.agent if where == "agent" else self.server
            before, since = process.memory("VmHWM"), time.monotonic()
            wire = Wire(port)
            wire.begin(path, *headers)
            wire.send_all_it_takes(content)
            answer = wire.answer()
            self.assertLess(time.monotonic() - since, QUICKLY)
            self.assertAnswered(answer, 413, "limit")
            self.assertEqual(answer.headers["connection"], "close")
            self.assertLess(process.memory("VmHWM"), before + LEEWAY)
            self.good(where)
            self.refused.append(wire)

    def test_declared_length(self) -> None:
        """A length over the limit is refused before the body is sent, and also who sends it all the same."""
        self.assertRefusedEarly("/post", [f"Content-Length: {MAX_BODY + 1}"], b"")
        self.assertRefusedEarly("/post_zip", [f"Content-Length: {10**15}"], b"")
        self.assertRefusedEarly("/post", [f"Content-Length: {64 * MIB}"], bytes(64 * MIB))
        self.assertRefusedEarly("/status", ["Content-Length: 10000000"], b"")

    def test_chunked(self) -> None:
        """A body in chunks, whose length nobody knows beforehand, is refused where it passes the limit."""
        head = counters("bad", self.tab("agent"), [1])[:-2]
        event = line("CounterGroup", time.time(), 1).encode() + b"\n"
        content = head + event * (MAX_BODY // len(event) + 1)
        self.assertRefusedEarly("/post", ["Transfer-Encoding: chunked"], chunked(content))
        for where, port in self.ports.items():
            wire = Wire(port)
            self.addCleanup(wire.close)
            wire.begin("/post", "Transfer-Encoding: chunked")
            wire.send(chunked(counters("good", self.tab(where), [1, 2]), size=7))
            self.assertAnswered(wire.answer(), 200)
            self.sent[self.tab(where)] += 2

    def test_expect(self) -> None:
        """Who asks first is told to go on, or is refused and sends nothing."""
        for where, port in self.ports.items():
            wire = Wire(port)
            self.addCleanup(wire.close)
            content = counters("good", self.tab(where), [1, 2, 3])
            wire.begin("/post", "Expect: 100-continue", f"Content-Length: {len(content)}")
            self.assertAnswered(wire.answer(), 100)
            wire.send(content)
            self.assertAnswered(wire.answer(), 200)
            self.sent[self.tab(where)] = 3
        self.assertRefusedEarly("/post", ["Expect: 100-continue", f"Content-Length: {MAX_BODY + 1}"], b"")

    def test_malformed_requests(self) -> None:
        """What is no HTTP, or ambiguous, gets 400 and the end of the connection."""
        for where, port in self.ports.items():
            self.good(where)
            for headers in (
                ["Content-Length: 5", "Content-Length: 6"],
                ["Content-Length: 5", "Transfer-Encoding: chunked"],
                ["Content-Length: -1"],
                ["Content-Length: 1_0"],
                ["Transfer-Encoding: gzip"],
            ):
                wire = Wire(port)
                self.addCleanup(wire.close)
                wire.begin("/post", *headers)
                self.assertAnswered(wire.answer(), 400)
                self.assertTrue(wire.ends(), headers)

    def test_long_heads(self) -> None:
        """A request line or a header that is too long is said to be, with what to do instead."""
        for where, port in self.ports.items():
            self.good(where)
            for head in (f"GET /tabs?name={'n' * 40_000} HTTP/1.1", f"GET /status HTTP/1.1\r\nX: {'x' * 40_000}"):
                wire = Wire(port)
                self.addCleanup(wire.close)
                wire.send_all_it_takes(head.encode())
                self.assertAnswered(wire.answer(), 431, "POST")
        self.server.wait_for_count(self.tab("agent"), 3)
        names = ",".join([self.tab("agent"), "n" * 40_000])
        answer = self.server.ask("/tabs", json.dumps({"name": names}).encode())
        self.assertAnswered(answer, 200, self.tab("agent"))

    def test_dropped_connection(self) -> None:
        """A body whose sender goes away before its end counts for nothing, however much of it came."""
        for where, port in self.ports.items():
            content = counters("bad", self.tab(where), range(50_000))
            for path, whole in (("/post", content), ("/post_zip", zlib.compress(content))):
                for part in (0, 1, len(whole) // 2, len(whole) - 1):
                    wire = Wire(port)
                    wire.begin(path, f"Content-Length: {len(whole)}")
                    wire.send(whole[:part])
                    wire.drop()
            self.good(where)
        self.assertLess(self.agent.json("/status")["memory_bytes"], MIB)

    def test_slow_and_interleaved(self) -> None:
        """Two senders that come byte by byte, alternately, keep nobody waiting, and are counted when they are done."""
        for where, port in self.ports.items():
            now = float(int(time.time()))
            contents = [counters(f"slow-{n}", self.tab(where), [1, 2], now) for n in range(2)]
            wires = [Wire(port) for _ in contents]
            for wire, content in zip(wires, contents, strict=True):
                self.addCleanup(wire.close)
                wire.begin("/post", f"Content-Length: {len(content)}")
            for at in range(len(contents[0]) - 1):
                for wire, content in zip(wires, contents, strict=True):
                    wire.send(content[at : at + 1])
                if at % 40 == 0:
                    self.good(where)
            for wire, content in zip(wires, contents, strict=True):
                wire.send(content[-1:])
                self.assertAnswered(wire.answer(), 200)
            self.sent[self.tab(where)] += 4

    def test_pipelined(self) -> None:
        """Requests that follow one another on a connection, unanswered, are answered in order."""
        for where, port in self.ports.items():
            wire = Wire(port)
            self.addCleanup(wire.close)
            good = counters("good", self.tab(where), [1])
            for content in (good, b"2\n\n", good):
                wire.begin("/post", f"Content-Length: {len(content)}")
                wire.send(content)
            self.assertEqual([wire.answer().status for _ in range(3)], [200, 400, 200])
            self.sent[self.tab(where)] = 2

    def test_many_half_bodies(self) -> None:
        """Fifty senders that stop in the middle of a body take little, and leave room for a good one."""
        for where, port in self.ports.items():
            process = self.agent if where == "agent" else self.server
            before = process.memory()
            content = counters("bad", self.tab(where), range(10_000))
            wires = [Wire(port) for _ in range(50)]
            for wire in wires:
                self.addCleanup(wire.close)
                wire.begin("/post", f"Content-Length: {len(content)}")
                wire.send(content[: len(content) // 2])
            self.good(where)
            self.assertLess(process.memory(), before + 50 * len(content) + LEEWAY)


class QuestionTests(BadInputTestCase):
    """Bad questions to the server."""

    shared = StructureTests.shared

    def test_regular_expressions(self) -> None:
        """A bad regular expression is named with the reason; one that would run for ever elsewhere is quick."""
        for pattern, words in (("(", "missing )"), ("*", "no argument"), ("%5C1", "invalid escape"), ("(%3F=x)", "")):
            for path in ("/tabs", "/projection", "/names", "/types"):
                answer = self.server.ask(f"{path}?re=1&name={pattern}")
                self.assertAnswered(answer, 400, "'name' is not a regular expression that RE2 takes", words)
        self.assertAnswered(self.server.ask(f"/clients?re=1&client={'a' * 1025}"), 400, "longer than 1024 characters")
        since = time.monotonic()
        self.assertAnswered(self.server.ask("/tabs?re=1&name=" + "(a*)*" * 100 + "b"), 200)
        self.assertAnswered(self.server.ask("/tabs?re=1&name=((a{100}){100}){100}"), 400)
        self.assertLess(time.monotonic() - since, QUICKLY)

    def test_parameters(self) -> None:
        """Unknown parameters and bodies that are no JSON objects are named, as text or as JSON."""
        self.assertAnswered(self.server.ask("/tabs?nam=x&foo"), 400, "Invalid parameters: foo, nam.")
        self.assertAnswered(self.server.ask("/names?raw=1"), 400, "Invalid parameters: raw.")
        answer = self.server.ask("/tabs?foo", Accept="application/json")
        self.assertEqual(json.loads(answer.text)["error"].partition(".")[0], "Invalid parameters: foo")
        for content in (b"{", b"[]", b'{"name": {}}', b"[" * 100_000, b'{"name": ["a", 1]}', b"\xff"):
            self.assertAnswered(self.server.ask("/tabs", content), 400)
        self.assertAnswered(self.server.ask("/tabs", bytes(MIB + 1)), 413)

    def test_unknown_names(self) -> None:
        """What does not exist selects nothing, whatever its name looks like."""
        for name in ("nothing", "%00", "%FF%FE", "..%2F..%2Fetc%2Fpasswd", "'%3B DROP TABLE tabs", "%3Cscript%3E"):
            self.assertAnswered(self.server.ask(f"/tabs?name={name}".replace(" ", "%20")), 200)
            self.assertEqual(self.server.json(f"/tabs?client={name}".replace(" ", "%20")), {})

    def test_frames(self) -> None:
        """What is no frame of protocol 2 is refused, and so is one that inflates too far."""
        for content in (b"", b"\xff" * 100, b"\0\0\0\0", b"\2\0\0\0{}", json.dumps({}).encode()):
            self.assertAnswered(self.server.ask("/v2/append", content), 400)
        self.assertAnswered(self.server.ask("/v2/append", b"x", Content_Encoding="gzip"), 400)
        self.assertAnswered(self.server.ask("/v2/append", b"x", Content_Encoding="br"), 415)


class OriginalClientTests(BadInputTestCase):
    """The bodies of the original's clients, byte for byte."""

    shared = StructureTests.shared

    def wait_for_line(self, tab: str, expected: str) -> None:
        """Wait until the server shows a tab so."""
        self.server.wait_for(lambda: self.server.tab(tab) == expected, expected)

    def test_java_client(self) -> None:
        """The Java client's body: Latin-1, whole seconds, compact JSON, said to be JSON as a whole; and its headers."""
        for where, port in self.ports.items():
            now = int(time.time())
            content = (
                f'1\n\njava_client\n\njava:{where}:counter\n["CounterGroup",{now},"100"]\n["CounterGroup",{now},"0.5"]\n\n'
                f'java:{where}:gauge\n["Gauge",{now},"\\"caf\u00e9 ?\\""]\n\n'
                f'java:{where}:percentile\n["PercentileGroup",{now},"7"]\n\n\n'
            ).encode("latin-1")
            self.assertIn(b"\xe9", content)
            wire = Wire(port)
            self.addCleanup(wire.close)
            for _ in range(2):
                wire.begin(
                    "/post",
                    "Content-Type: application/json",
                    f"Content-Length: {len(content)}",
                    "Connection: Keep-Alive",
                    "User-Agent: Apache-HttpClient/4.2.3 (java 1.5)",
                    "Accept-Encoding: gzip,deflate",
                )
                wire.send(content)
                self.assertAnswered(wire.answer(), 200)
            counter = '{"count": 4, "total": 201.00, "average": 50.25}'
            windows = ", ".join(f'"{name}": {counter}' for name in ("1m", "10m", "1h", "1d"))
            pct = '{"count": 4, "total": 201.000000, "pct": [0.50, 100.00, 100.00, 100.00, 100.00, 100.00, 100.00]}'
            expected = f'java:{where}:counter: {{{windows}, "pct": {pct}}}'
            self.wait_for_line(f"java:{where}:counter", expected)
            self.assertEqual(self.server.tab(f"java:{where}:gauge"), f'java:{where}:gauge: {{"caf\u00e9 ?": 1}}')
            seven = '{"count": 2, "total": 14.000000, "pct": [7.00, 7.00, 7.00, 7.00, 7.00, 7.00, 7.00]}'
            windows = ", ".join(f'"{name}": {seven}' for name in ("1m", "10m", "1h", "1d"))
            self.assertEqual(self.server.tab(f"java:{where}:percentile"), f"java:{where}:percentile: {{{windows}}}")

    def test_form(self) -> None:
        """curl and wget call any body a form; it counts all the same, and may lack its last blank lines."""
        for where, port in self.ports.items():
            content = counters("curl", self.tab(where), [1, 2]).rstrip(b"\n")
            answer = ask(port, "/post", content, Content_Type="application/x-www-form-urlencoded")
            self.assertAnswered(answer, 200)
            self.sent[self.tab(where)] = 2
