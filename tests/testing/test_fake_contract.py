"""The agent double answers as the real agent does: both are asked the same, in protocol 1."""

from __future__ import annotations

import json
import zlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from taba.agent.http import AgentResources
from taba.agent.service import Agent
from taba.agent.site import agent_site
from taba.handlers.registry import builtin
from taba.testing import FakeAgent
from taba.testing.fake_reading import MAX_DEPTH, MAX_PAYLOAD, NUMERIC, STRUCTURED
from tests.agent.agent_case import WALL, AgentCase, Away

COMPARED = ("content-type", "retry-after", "taba-instance", "taba-duplicate", "taba-rejected")
"""Headers that clients may go by."""

Told = tuple[int, dict[str, str], object]


class ContractCase(AgentCase):
    """The real agent behind its real site, and the fake one, asked the same."""

    def setUp(self) -> None:
        super().setUp()
        self.agent = self.start(Away())
        self.pass_time(0.5)
        self.site = agent_site(AgentResources(self.agent), self.process)
        self.fake = FakeAgent(wall=self.wall)

    def make(self, endpoint: Any, **settings: Any) -> Agent:
        """With every Type that comes with Taba."""
        made = super().make(endpoint, **settings)
        return Agent(made.settings, self.process, builtin().kinds(), [endpoint])

    def real_answer(self, path: str, headers: dict[str, str], body: bytes) -> Told:
        """What the real agent says."""
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        channel = self.site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode())
        channel.dataReceived(body)
        self.pass_time(0.2)
        channel.connectionLost(Failure(ConnectionDone()))
        first, _, text = transport.value().partition(b"\r\n\r\n")
        lines = first.decode().split("\r\n")
        if "chunked" in first.decode().lower():
            raise AssertionError("the real agent gives lengths")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return self.told(int(lines[0].split()[1]), fields, text.decode())

    def fake_answer(self, path: str, headers: dict[str, str], body: bytes) -> Told:
        """What the fake one says."""
        answer = self.fake.answer(path, {name.lower(): value for name, value in headers.items()}, body)
        assert answer is not None
        return self.told(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.text)

    def told(self, status: int, fields: dict[str, str], text: str) -> Told:
        """What counts of an answer."""
        is_json = fields["content-type"] == "application/json"
        kept = {name: fields[name] for name in COMPARED if name in fields}
        return status, kept, json.loads(text) if is_json else text

    def compare(self, path: str, headers: dict[str, str], body: bytes) -> Told:
        """The answer of both, which is one."""
        real, fake = self.real_answer(path, headers, body), self.fake_answer(path, headers, body)
        self.assertEqual(real, fake, (path, headers, body[:200]))
        return real


def event(type: object = "CounterGroup", time: object = WALL, payload: object = "1") -> str:
    """An event line."""
    return json.dumps([type, time, payload])


LINES = (
    [event(type, payload=payload) for type in (*NUMERIC, *STRUCTURED, "Own", "") for payload in ("1", "[2.5,3]", '"x"')]
    + [event(time=time) for time in (-1, 0, 253402300799, 253402300800, WALL + 30, WALL + 1e6, WALL * 1000, True, "1")]
    + [event(payload=payload) for payload in (
        "true", "false", "null", "[]", "[true]", "[[1]]", "{}", "1e999", "-1e999", "1e-999", "NaN", "Infinity", " 7 ",
        "01", "1.", ".5", "+1", "", "1 2", "9" * 400, "9" * 5000, "123456789012345678901234567890", '"1"', 5, None)]
    + [event("Gauge", payload=payload) for payload in (
        "null", '"é"', '{"a":[1,{"b":2}]}', "[1,2", "{'a':1}", '"\\ud800"', "1e999", "[NaN]", '"a\nb"',
        "[" * MAX_DEPTH + "]" * MAX_DEPTH, "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))]
    + ["x", "{}", "[]", "[1]", '["CounterGroup", 1]', '["CounterGroup", 1, "1", 2]', '[ "CounterGroup" ,\t1 , "1" ] ',
       '["CounterGroup", NaN, "1"]', '["CounterGroup", 1e999, "1"]', '["CounterGroup", 1, "1"',
       '["Counter\\u0047roup",1,"1"]',
       '["Gauge", 1, "\\"\\ud83d\\ude00\\""]', '["Gauge", 1, "\\"\\ud83d\\""]', '["Gauge", 1, "\t1"]',
       "[" * 5000, "\r", " "]
)  # fmt: skip

NAMES = ["t", "a.b/c:d", "with blank", "ü", "x" * 512, "x" * 513, "1", "\r", " "]


class ContractTests(ContractCase):
    """One answer from the real agent and from the double."""

    def test_numbered_batches(self) -> None:
        """Instances, numbers, duplicates, unknown instances, and what senders dropped."""
        body = f"1\n\nc\n\nt\n{event()}\n".encode()
        real = self.real_answer("/post", {"Taba-Batch": "0"}, b"")[1].pop("taba-instance")
        fake = self.fake_answer("/post", {"Taba-Batch": "0"}, b"")[1].pop("taba-instance")
        self.assertEqual(len(real), len(fake))
        seen = []
        batches = [(1, body), (1, body), (3, b""), (2, body), (4, b"1\n\n"), (5, b"bad"), *[(5, body + b"x\n")] * 2]
        for number, sent in batches:
            answers = [
                ask("/post", {"Taba-Batch": f"{instance}/{number}", "Taba-Unsent": "full=2, novel=1"}, sent)
                for ask, instance in ((self.real_answer, real), (self.fake_answer, fake))
            ]
            self.assertEqual(*answers)
            seen.append((answers[0][0], "taba-duplicate" in answers[0][1]))
        taken, duplicate, refused = (200, False), (200, True), (400, False)
        self.assertEqual(seen, [taken, duplicate, taken, duplicate, taken, refused, taken, duplicate])
        self.assertEqual(self.compare("/post", {"Taba-Batch": f"{'9' * 32}/1"}, body)[0], 409)
        self.assertEqual(self.fake.unsent, {"full": 8, "other": 4})

    def test_headers(self) -> None:
        """Headers that cannot be understood."""
        body = f"1\n\nc\n\nt\n{event()}\n".encode()
        for headers in (
            {"Taba-Batch": "1"}, {"Taba-Batch": "0/1"}, {"Taba-Batch": ""}, {"Taba-Batch": f"{'A' * 32}/1"},
            {"Taba-Batch": f"{'a' * 32}/0"}, {"Taba-Batch": "0"}, {"Taba-Unsent": "full"}, {"Taba-Unsent": "full=-1"},
            {"Taba-Unsent": "FULL=1"},
        ):  # fmt: skip
            self.assertEqual(self.compare("/post", headers, body)[0], 400)
        for headers in ({"Taba-Unsent": ""}, {"Taba-Unsent": " full=1 ,, other=2"}):
            self.assertEqual(self.compare("/post", headers, body)[0], 200)

    def test_structure(self) -> None:
        """Bodies whose structure is wrong, at every line, and those that are just short."""
        whole = f"1\n\nc\n\nt\n{event()}\n\nu\n{event()}\n\n\n\nd\n\nt\n{event()}\n\n\n"
        for cut in range(len(whole) + 1):
            self.compare("/post", {}, whole[:cut].encode())
        lines = whole.split("\n")
        for at in range(len(lines)):
            for other in ("x", "\r", "1\r", "2", " "):
                self.compare("/post", {}, "\n".join([*lines[:at], other, *lines[at:]]).encode())
            self.compare("/post", {}, "\n".join([*lines[:at], *lines[at + 1 :]]).encode())
        self.compare("/post", {}, whole.replace("\n", "\r\n").encode())

    def test_event_lines(self) -> None:
        """Each kind of event, right or wrong, by itself."""
        for line in LINES:
            self.compare("/post", {}, f"1\n\nc\n\nt\n{line}\n".encode())
        for name in NAMES:
            self.compare("/post", {}, f"1\n\n{name}\n\nt\n{event()}\n".encode())
            self.compare("/post", {}, f"1\n\nc\n\n{name}\n{event()}\n".encode())

    def test_future(self) -> None:
        """Events just within MAX_CLOCK_SKEW of the clock, and just beyond."""
        for ahead, rejected in ((59.5, None), (60.5, "1")):
            for ask in (self.real_answer, self.fake_answer):
                told = ask("/post", {}, f"1\n\nc\n\nt\n{event(time=self.wall() + ahead)}\n".encode())
                self.assertEqual((told[0], told[1].get("taba-rejected")), (200, rejected))

    def test_sizes(self) -> None:
        """Payloads at the limit and beyond it, escaped and not, and a line that is too long for anything."""
        for length in (MAX_PAYLOAD, MAX_PAYLOAD + 1):
            for text in ("x" * (length - 2), "é" * (length // 2 - 1) + "x" * (length % 2)):
                for ascii_only in (True, False):
                    line = json.dumps(["Gauge", WALL, json.dumps(text, ensure_ascii=False)], ensure_ascii=ascii_only)
                    self.compare("/post", {}, f"1\n\nc\n\nt\n{line}\n".encode())
        self.compare("/post", {}, b"1\n\nc\n\nt\n" + b"x" * (6 * MAX_PAYLOAD + 5000) + b"\n")

    def test_latin_1(self) -> None:
        """A body that is not UTF-8 is read as Latin-1."""
        line = json.dumps(["Gauge", WALL, '"é"'], ensure_ascii=False)
        self.assertEqual(self.compare("/post", {}, f"1\n\nc\n\nt\n{line}\n".encode("latin-1"))[0], 200)
        self.assertEqual(self.fake.values("t"), ["é"])

    def test_zipped(self) -> None:
        """Whole streams, cut ones, more than a stream, none, and a bomb."""
        body = f"1\n\nc\n\nt\n{event()}\n".encode()
        zipped = zlib.compress(body)
        self.assertEqual(self.compare("/post_zip", {}, zipped)[0], 200)
        for wrong in (zipped[:-1], zipped[:5], zipped + b"x", body, zlib.compress(b"bad"), b""):
            self.assertEqual(self.compare("/post_zip", {}, wrong)[0], 400)
        bomb = zlib.compress(body + b"\n" * (8 << 20))
        self.assertEqual([ask("/post_zip", {}, bomb)[0] for ask in (self.real_answer, self.fake_answer)], [413, 413])

    def test_full(self) -> None:
        """An agent whose disk is full (why is said in other words)."""
        self.crash()
        self.disk.fill()
        self.agent = self.start(Away())
        self.site = agent_site(AgentResources(self.agent), self.process)
        self.fake.be_full()
        for headers in ({}, {"Taba-Batch": "0"}):
            real = self.real_answer("/post", headers, b"1\n\n")
            self.assertEqual(real[:2], self.fake_answer("/post", headers, b"1\n\n")[:2])
            self.assertEqual((real[0], real[1]["retry-after"]), (503, "1"))

    @settings(max_examples=150)
    @given(st.data())
    def test_any_body(self, data: st.DataObject) -> None:
        """Bodies of any lines that occur, in any order that may just make sense."""
        blocks = data.draw(
            st.lists(st.tuples(st.sampled_from(NAMES[:4]), st.lists(st.sampled_from(LINES), max_size=14)), max_size=4)
        )
        ends = data.draw(st.sampled_from(("", "\n", "\n\n", "\n\n\n")))
        text = "".join(f"{tab}\n" + "".join(f"{line}\n" for line in lines) + "\n" for tab, lines in blocks)
        self.compare("/post", {}, f"1\n\nc\n\n{text}".encode() + ends.encode() + f"d\n\nt\n{event()}\n".encode())
