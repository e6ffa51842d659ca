"""Bodies as no good sender sends them: each gets a clear answer, and nobody else is touched. And the original's bodies.

REAL: an agent and a server process on loopback.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Sequence

from tests.processes.asking import Wire, ask, body, counters, line, refused
from tests.processes.bad_input import LEEWAY, MAX_BODY, MIB, BadInputTestCase


class StructureTests(BadInputTestCase):
    """Bodies that are no bodies of protocol 1 are refused whole, with the reason."""

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


class OriginalClientTests(BadInputTestCase):
    """The bodies of the original's clients, byte for byte."""

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
