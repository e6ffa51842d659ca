"""Columns over HTTP into an agent: what is counted, exactly once, and what is said of frames that cannot be taken."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from attrs import frozen
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from taba.agent.http import AgentResources
from taba.agent.site import agent_site
from tests.agent.agent_case import WALL, AgentCase, Away, Gate

Rows = Sequence[tuple[str, str, Sequence[float], Sequence[float]]]


@frozen
class Answer:
    """What the agent said; status 0 while it says nothing yet."""

    status: int
    headers: dict[str, str]
    text: str

    def errors(self) -> list[tuple[str, int, str]]:
        """Tab, event and reason, in one word, of each event that it names."""
        errors = json.loads(self.text)["errors"]
        return [(each["tab"], each["event"], each["reason"].partition(":")[0]) for each in errors]


def frame(rows: Rows = (), client: str = "c", **members: Any) -> bytes:
    """A frame with these rows and further members."""
    tabs = [[tab, type, len(times)] for tab, type, times, _ in rows]
    header = json.dumps({"client": client, "tabs": tabs, **members}).encode()
    columns = [struct.pack(f"<{2 * len(times)}d", *times, *values) for _, _, times, values in rows]
    return struct.pack("<I", len(header)) + header + b"".join(columns)


def ones(count: int, tab: str = "t") -> Rows:
    """So many events of value 1, now."""
    return [(tab, "CounterGroup", [WALL] * count, [1.0] * count)]


class ColumnsCase(AgentCase):
    """An agent with its HTTP port."""

    def setUp(self) -> None:
        super().setUp()
        self.serve(Gate(self.local))

    def serve(self, endpoint: Any, **settings: Any) -> None:
        """Start the agent."""
        self.agent = self.start(endpoint, **settings)
        self.site = agent_site(AgentResources(self.agent), self.process)
        self.pass_time(0.5)

    def send(self, body: bytes, *, piece: int = 1 << 20, **headers: str) -> Answer:
        """Post a body, in pieces of so many bytes."""
        channel = self.site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        channel.dataReceived(
            f"POST /v2/events HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode()
        )
        for at in range(0, len(body), piece):
            channel.dataReceived(body[at : at + piece])
        self.pass_time(0.3)
        head, _, text = transport.value().decode().partition("\r\n\r\n")
        channel.connectionLost(Failure(ConnectionDone()))
        if not head:
            return Answer(0, {}, "")
        status, *rest = head.split("\r\n")
        named = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        return Answer(int(status.split()[1]), named, text)

    def opened(self) -> str:
        """A new instance."""
        return self.send(frame(batch=0)).headers["taba-instance"]

    def lines(self) -> dict[str, int]:
        """The agent's ledger."""
        return dict(self.agent.committer.ledger)


class CountingTests(ColumnsCase):
    """What is counted."""

    def test_events(self) -> None:
        """All events of all rows, numbers and structured ones; the answer is empty."""
        rows = [*ones(3), ("u", "CounterGroup", [WALL, WALL + 1], [2.0, 3.0])]
        structured = [["g", "Gauge", [[WALL, {"x": 1}]]], ["t", "CounterGroup", [[WALL, 4]]]]
        answer = self.send(frame(rows, structured=structured))
        self.assertEqual((answer.status, answer.text), (200, ""))
        self.assertEqual(self.lines()["received"], 7)
        self.pass_time(1)

    def test_totals(self) -> None:
        """Counts and totals reach the servers."""
        self.send(frame([*ones(3), ("u", "CounterGroup", [WALL, WALL + 1], [2.0, 3.0])]), piece=1)
        self.pass_time(1)
        self.assertEqual(self.total(), (5, 8))

    def test_deflated(self) -> None:
        """Content-Encoding: deflate is one zlib stream."""
        answer = self.send(zlib.compress(frame(ones(5))), Content_Encoding="deflate")
        self.assertEqual((answer.status, self.lines()["received"]), (200, 5))

    def test_refused_alone(self) -> None:
        """Each event that cannot be taken is named by tab, number and reason; the rest count."""
        rows: Rows = [
            ("t", "CounterGroup", [WALL, -1, WALL + 1000, WALL], [1, 1, 1, float("nan")]),
            ("a b", "CounterGroup", [WALL], [1]),
            ("u", "Gauge", [WALL], [1]),
        ]
        answer = self.send(frame(rows, structured=[["g", "Gauge", [[WALL], [WALL, "x"]]], ["h", "?", [[1, 1]]]]))
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["taba-rejected"], "7")
        told = json.loads(answer.text)
        self.assertEqual((told["accepted"], told["rejected"]), (2, 7))
        expected = [("g", 0, "json"), ("h", 0, "type"), ("t", 1, "time"), ("t", 2, "future"), ("t", 3, "value")]
        self.assertEqual(answer.errors(), [*expected, ("a b", 0, "name"), ("u", 0, "type")])
        self.assertIn("belong into structured", told["errors"][-1]["reason"])
        self.assertEqual(self.lines()["refused.value"], 1)

    def test_unsent(self) -> None:
        """What the sender dropped stands in the ledger, by reason; it counts once with its batch."""
        instance = self.opened()
        body = frame(ones(1), instance=instance, batch=1, unsent={"full": {"t": 3, "u": 4}, "unknown": {"t": 5}})
        for _ in range(2):
            self.assertEqual(self.send(body).status, 200)
        lines = self.lines()
        self.assertEqual((lines["unsent.full"], lines["unsent.unknown"], lines["received"]), (7, 5, 1))


class NumberTests(ColumnsCase):
    """Numbered batches count once."""

    def test_duplicate(self) -> None:
        """The same batch again is answered as before, and says that it is a duplicate."""
        instance = self.opened()
        body = frame(ones(4), instance=instance, batch=1)
        self.assertNotIn("taba-duplicate", self.send(body).headers)
        again = self.send(body)
        self.assertEqual((again.status, again.headers["taba-duplicate"], self.lines()["received"]), (200, "1", 4))
        self.send(frame(ones(2), instance=instance, batch=2))
        self.assertEqual(self.lines()["received"], 6)

    def test_connection_lost_before_the_answer(self) -> None:
        """A client that hears nothing sends the batch again, and it counts once; after a crash of the agent, too."""
        instance = self.opened()
        body = frame(ones(4), instance=instance, batch=1)
        channel = self.site.buildProtocol(None)
        channel.makeConnection(StringTransport())
        head = f"POST /v2/events HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        channel.dataReceived(head.encode() + body)
        channel.connectionLost(Failure(ConnectionDone()))
        self.pass_time(0.3)
        self.assertEqual(self.send(body).headers["taba-duplicate"], "1")
        self.crash()
        self.serve(Gate(self.local))
        self.assertEqual(self.send(body).headers["taba-duplicate"], "1")
        self.pass_time(2)
        self.assertEqual(self.total(), (4, 4))

    def test_body_cut_off(self) -> None:
        """Half a frame counts nothing and does not use up its number."""
        instance = self.opened()
        body = frame(ones(4), instance=instance, batch=1)
        self.assertEqual(self.send(body[:-1]).status, 400)
        answer = self.send(body)
        self.assertEqual((answer.status, self.lines()["received"]), (200, 4))
        self.assertNotIn("taba-duplicate", answer.headers)

    def test_unknown_instance(self) -> None:
        """An instance that the agent does not know is answered 409, and nothing counts."""
        answer = self.send(frame(ones(1), instance="0" * 32, batch=1))
        self.assertEqual((answer.status, "received" in self.lines()), (409, False))
        self.assertIn("batch 0", answer.text)

    def test_opening(self) -> None:
        """Batch 0 gives a new instance each time, that protocol 1 knows, too. It must carry nothing."""
        first, second = self.opened(), self.opened()
        self.assertNotEqual(first, second)
        for body in (frame(ones(1), batch=0), frame(batch=0, unsent={"full": {"t": 1}})):
            answer = self.send(body)
            self.assertEqual((answer.status, "must not carry" in answer.text), (400, True))

    def test_without_number(self) -> None:
        """A frame without a number counts as often as it comes."""
        for _ in range(2):
            self.send(frame(ones(2)))
        self.assertEqual(self.lines()["received"], 4)

    def test_agent_without_room(self) -> None:
        """503 with Retry-After while nothing can be written, and the batch may come again."""
        instance = self.opened()
        body = frame(ones(2), instance=instance, batch=1)
        self.disk.fill()
        self.send(frame(ones(1)))
        answer = self.send(body)
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "1"))
        self.disk.fill(False)
        self.pass_time(2)
        self.assertEqual(self.send(body).status, 200)


class BadFrameTests(ColumnsCase):
    """Frames that cannot be taken, and what is said of them."""

    def expect(self, status: int, words: str, body: bytes, **headers: str) -> None:
        """The answer has this status and these words, and nothing was counted."""
        answer = self.send(body, piece=1 << 20, **headers)
        self.assertEqual((answer.status, words in answer.text, answer.text), (status, True, answer.text))
        self.assertNotIn("received", self.lines())

    def test_structure(self) -> None:
        """400 names the byte and says what is due there."""
        text = b"{\"client\":\"c\",\"tabs\":[[\"t\",\"CounterGroup\"]]}"
        malformed = struct.pack("<I", len(text)) + text
        self.expect(400, "byte 45: a row of tabs must be [name, Type, count]", malformed)
        self.expect(400, "the header names no client", frame(client=""))
        self.expect(400, "within the payload", frame(ones(2))[:-3])
        self.expect(400, "within the header", frame(ones(2))[:20])
        self.expect(400, "within the length", b"\x00\x00")
        self.expect(400, "follow the payload", frame(ones(1)) + b"x")
        self.expect(400, "must be a JSON object", b"1\n\nclient\n\n"[:0] + struct.pack("<I", 2) + b"[]")
        self.expect(400, "The body is empty", b"")
        self.expect(400, "instance needs a batch", frame(ones(1), instance="0" * 32))
        self.expect(400, "batch needs an instance", frame(ones(1), batch=3))

    def test_unsent(self) -> None:
        """Counts of what was dropped must be whole numbers by reason and tab."""
        self.expect(400, "unsent", frame(ones(1), unsent={"full": 3}))
        self.expect(400, "whole number", frame(ones(1), unsent={"full": {"t": 1.5}}))
        text = b'{"client":"c","unsent":{"full":{"t":1,"t":2}}}'
        self.expect(400, "twice", struct.pack("<I", len(text)) + text)
        self.expect(413, "unsent has", frame(ones(1), unsent={"full": {str(i) * 20: 1 for i in range(100_000)}}))

    def test_protocol_1_by_mistake(self) -> None:
        """A text body is no frame: its first bytes are the length of a huge header."""
        self.expect(413, "header", b"1\n\nclient\n\nt\n")

    def test_headers_of_protocol_1(self) -> None:
        """The number stands in the frame; one in Taba-Batch would be overlooked, so it is refused."""
        self.expect(400, "Taba-Batch", frame(ones(1)), Taba_Batch="0" * 32 + "/1")
        self.expect(400, "Taba-Unsent", frame(ones(1)), Taba_Unsent="full=1")

    def test_encodings(self) -> None:
        """No other encoding than deflate, whole, and no bomb."""
        self.expect(415, "identity or deflate", frame(ones(1)), Content_Encoding="gzip")
        packed = zlib.compress(frame(ones(9)))
        self.expect(400, "not a whole zlib stream", packed[:-2], Content_Encoding="deflate")
        self.expect(400, "not a whole zlib stream", frame(ones(1)), Content_Encoding="deflate")
        bomb = frame([("t", "CounterGroup", [0.0] * 500_000, [0.0] * 500_000)])
        self.expect(413, "inflate", zlib.compress(bomb, 9), Content_Encoding="deflate")

    def test_sizes(self) -> None:
        """413 for a body over the limit, before it is read, and for a header that declares more than may be held."""
        self.crash()
        self.serve(Away(), max_body_bytes=1024)
        self.expect(413, "MAX_BODY_BYTES", frame(ones(100)))
        text = b'{"client":"c","tabs":[["t","CounterGroup",900000000000000]]}'
        self.expect(413, "memory of one request", struct.pack("<I", len(text)) + text)

    def test_memory_is_given_back(self) -> None:
        """What a request holds is told while it comes, and given back when it goes wrong or goes away."""
        body = frame(ones(1000))
        channel = self.site.buildProtocol(None)
        channel.makeConnection(StringTransport())
        channel.dataReceived(b"POST /v2/events HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n" + body[:9000])
        intake = self.agent.intake
        assert intake is not None
        self.assertGreater(intake.receiving, 8000)
        channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(intake.receiving, 0)
        self.assertEqual(self.send(body[:-1]).status, 400)
        self.assertEqual(intake.receiving, 0)
