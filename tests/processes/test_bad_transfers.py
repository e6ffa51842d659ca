"""Requests that come too long, too slowly, in pieces, or not wholly: each gets a clear answer, and nobody else waits.

REAL: an agent and a server process on loopback.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Sequence

from tests.processes.asking import Wire, chunked, counters, line
from tests.processes.bad_input import LEEWAY, MAX_BODY, MIB, BadInputTestCase

QUICKLY = 30.0
"""Seconds that a refusal may take on a busy machine."""


class TransferTests(BadInputTestCase):
    """Bodies that come too long, too slowly, in pieces, or not at all."""

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
