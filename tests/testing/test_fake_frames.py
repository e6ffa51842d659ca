"""The agent double answers as the real agent does: both are asked the same, in protocol 2."""

from __future__ import annotations

import json
import math
import struct
import zlib
from typing import Any

from taba.testing.fake_reading import MAX_DEPTH, NUMERIC, STRUCTURED
from tests.agent.agent_case import WALL
from tests.testing.test_fake_contract import NAMES, ContractCase, Told


class FrameContractTests(ContractCase):
    """One answer to frames of protocol 2."""

    def frame(self, header: object, *columns: float, length: int | None = None) -> bytes:
        """A frame; `length` is what it says of its header, by default the truth."""
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        said = len(text) if length is None else length
        return said.to_bytes(4, "little") + text + struct.pack(f"<{len(columns)}d", *columns)

    def told(self, status: int, fields: dict[str, str], text: str) -> Told:
        """But for the words, which are for people."""
        status, kept, said = super().told(status, fields, text)
        if isinstance(said, dict):
            errors = [{**error, "reason": error["reason"].partition(":")[0]} for error in said["errors"]]
            return status, kept, {**said, "errors": errors}
        return status, kept, None

    def ask(self, header: object, *columns: float, **headers: str) -> Told:
        """The answer of both to a frame."""
        return self.compare("/v2/events", headers, self.frame(header, *columns))

    def test_events(self) -> None:
        """Each kind of event in columns, right or wrong, by itself and beside right ones."""
        now = self.wall()
        for tab in NAMES:
            for type in (*NUMERIC, *STRUCTURED, "Own", ""):
                self.ask({"client": "c", "tabs": [[tab, type, 1]]}, now, 1.0)
        for client in NAMES:
            self.ask({"client": client, "tabs": [["t", "CounterGroup", 2]]}, now, now, 1.0, 2.0)
        times = (-1.0, 0.0, -0.0, 253402300799.0, 253402300800.0, now + 30, now + 1e6)
        for number in (*times, math.nan, math.inf, -math.inf, 1e308):
            told = self.ask({"client": "c", "tabs": [["t", "CounterGroup", 3]]}, now, number, now, 1.0, 2.0, 3.0)
            self.ask({"client": "c", "tabs": [["t", "PercentileGroup", 2]]}, now, now, number, 3.0)
            self.assertEqual(told[0], 200)
        self.assertEqual(set(map(math.isfinite, self.fake.values("t"))), {True})

    def test_structured(self) -> None:
        """Each kind of event in the header."""
        now = self.wall()
        plain: list[Any] = [1, 2.5, "x", "é\ud800", None, True]
        nested: list[Any] = [[], [1, 2], ["v", 5], ["v", True], {"a": [1, {"b": 2}]}, [[[1]]], [[], 1]]
        for type in (*NUMERIC, *STRUCTURED, "Own"):
            for value in plain + nested:
                self.ask({"client": "c", "tabs": [], "structured": [["t", type, [[now, value], [now, 1]]]]})
        odd: list[Any] = [[now], [now, 1, 2], {}, [], 7, [None, 1], ["1", 1], [True, 1], [-1, 1], [now * 1e3, 1]]
        for event in odd:
            self.ask({"client": "c", "structured": [["t", "Gauge", [event, [now, 1]]]]})
            self.ask({"client": "c", "structured": [["t", "Own", [event]], ["no name", "Gauge", [event]]]})
        big = b'{"client":"c","structured":[["t","%b",[[1,1e999],[1,[%b]],[1,2]]]]}'
        for name in (b"Gauge", b"CounterGroup"):
            self.ask(big % (name, b"9" * 400))
        deep = json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
        self.assertEqual(self.ask({"client": "c", "structured": [["t", "Gauge", [[1, deep]]]]})[2], None)

    def test_numbers_of_rows(self) -> None:
        """Refused events are named by their tabs, and counted from 0 within their rows; those of the header first."""
        now = self.wall()
        header = {
            "client": "c", "tabs": [["a", "CounterGroup", 2], ["b", "Gauge", 1]],
            "structured": [["g", "Gauge", [[now, 1], [-1, 1]]]],
        }  # fmt: skip
        told = self.ask(header, now, now, 1.0, math.nan, now, 1.0)
        self.assertEqual(told[2], {"accepted": 2, "rejected": 3, "errors": [
            {"tab": "g", "event": 1, "reason": "time"}, {"tab": "a", "event": 1, "reason": "value"},
            {"tab": "b", "event": 0, "reason": "type"}]})  # fmt: skip

    def test_numbered_batches(self) -> None:
        """Instances, numbers, duplicates, unknown instances, and what senders dropped."""
        opening = self.frame({"client": "c", "batch": 0, "tabs": []})
        instances = [
            ask("/v2/events", {}, opening)[1]["taba-instance"] for ask in (self.real_answer, self.fake_answer)
        ]
        seen = []
        for number in (1, 1, 3, 2):
            answers = []
            for ask, instance in zip((self.real_answer, self.fake_answer), instances, strict=True):
                header = {
                    "client": "c", "instance": instance, "batch": number, "tabs": [["t", "CounterGroup", 1]],
                    "unsent": {"full": {"t": 2, "u": 1}, "novel": {"t": 1}},
                }  # fmt: skip
                answers.append(ask("/v2/events", {}, self.frame(header, WALL, 1.0)))
            self.assertEqual(*answers)
            seen.append((answers[0][0], "taba-duplicate" in answers[0][1]))
        self.assertEqual(seen, [(200, False), (200, True), (200, False), (200, True)])
        self.assertEqual(self.ask({"client": "c", "instance": "9" * 32, "batch": 1, "tabs": []})[0], 409)
        by_tab = {"full": {"t": 4, "u": 2}, "other": {"t": 2}}
        self.assertEqual((self.fake.unsent_by_tab, self.agent.facts()["unsent"]), (by_tab, by_tab))

    def test_headers(self) -> None:
        """Headers of a frame that are wrong in one way or another, and some that are not."""
        row: list[Any] = ["t", "CounterGroup", 1]
        wrong: list[Any] = [
            [], 1, "x", {}, {"client": 1}, {"client": ""}, {"tabs": []}, {"client": "c", "tabs": 1},
            {"client": "c", "batch": 0, "tabs": [row]}, {"client": "c", "batch": 1}, {"client": "c", "batch": -1},
            {"client": "c", "batch": 0, "unsent": {"full": {"a": 1}}}, {"client": "c", "batch": 1.0},
            {"client": "c", "instance": "1" * 32}, {"client": "c", "instance": "1" * 32, "batch": 0},
            {"client": "c", "instance": "A" * 32, "batch": 1}, {"client": "c", "instance": "1", "batch": 1},
            {"client": "c", "instance": None, "batch": 1}, {"client": "c", "batch": 2**53, "instance": "1" * 32},
            {"client": "c", "tabs": [["t", "CounterGroup"]]}, {"client": "c", "tabs": [[1, "CounterGroup", 1]]},
            {"client": "c", "tabs": [[*row, 1]]}, {"client": "c", "tabs": [["t", "CounterGroup", -1]]},
            {"client": "c", "tabs": [["t", "CounterGroup", 1.0]]}, {"client": "c", "tabs": [["t", "C", True]]},
            {"client": "c", "structured": 1}, {"client": "c", "structured": [["t", "Gauge", 1]]},
            {"client": "c", "structured": [["t", "Gauge"]]}, {"client": "c", "unsent": []},
            {"client": "c", "unsent": {"full": 1}}, {"client": "c", "unsent": {"full": {"a": -1}}},
            {"client": "c", "unsent": {"full": {"a": 1.5}}}, b"", b"{", b"\xff", b'{"client":"c"}x', b'{"client":NaN}',
            b'{"client":"c","client":"c"}', b'{"client":"c","novel":NaN}',
        ]  # fmt: skip
        for header in wrong:
            told = self.ask(header, WALL, 1.0)
            self.assertEqual(told[0], 400, header)
        self.assertEqual(self.ask({"client": "c", "tabs": [row], "novel": {"x": [1]}}, WALL, 1.0)[0], 200)
        self.assertEqual(self.ask({"client": "c", "tabs": [["t", "CounterGroup", 0], row]}, WALL, 1.0)[0], 200)
        self.assertEqual(self.ask({"client": "c"})[0], 200)
        for headers in ({"Taba-Batch": "0"}, {"Taba-Unsent": "full=1"}):
            body = self.frame({"client": "c", "tabs": []})
            self.assertEqual(self.compare("/v2/events", headers, body)[0], 400)

    def test_structure(self) -> None:
        """Frames that are cut anywhere, and such as have something behind them."""
        whole = self.frame({"client": "c", "tabs": [["t", "CounterGroup", 2]]}, WALL, WALL, 1.0, 2.0)
        for cut in range(len(whole)):
            self.assertEqual(self.compare("/v2/events", {}, whole[:cut])[0], 400)
        self.assertEqual(self.compare("/v2/events", {}, whole)[0], 200)
        self.assertEqual(self.compare("/v2/events", {}, whole + b"x")[0], 400)
        self.assertEqual(self.compare("/v2/events", {}, self.frame({"client": "c"}, length=10**6))[0], 400)

    def test_limits(self) -> None:
        """Headers, rows and counts that are just small enough, and just too large."""
        self.assertEqual(self.compare("/v2/events", {}, self.frame({"client": "c"}, length=(16 << 20) + 1))[0], 413)
        for more, status in ((0, 200), (1, 413)):
            rows = [["t", "CounterGroup", 0]] * ((1 << 18) + more)
            self.assertEqual(self.ask({"client": "c", "tabs": rows})[0], status)
        for length, status in ((1000, 200), (1 << 20, 413)):
            self.assertEqual(self.ask({"client": "c", "unsent": {"full": {"x" * length: 1}}})[0], status)

    def test_encodings(self) -> None:
        """Deflated frames, and encodings that there are not."""
        whole = self.frame({"client": "c", "tabs": [["t", "CounterGroup", 1]]}, WALL, 1.0)
        zipped = zlib.compress(whole)
        for encoding, body, status in (
            ("deflate", zipped, 200), ("identity", whole, 200), ("Deflate", zipped, 200), ("deflate", whole, 400),
            ("deflate", zipped[:-1], 400), ("deflate", zipped + b"x", 400), ("gzip", zipped, 415), ("br", whole, 415),
        ):  # fmt: skip
            self.assertEqual(self.compare("/v2/events", {"Content-Encoding": encoding}, body)[0], status)
        self.assertEqual(self.fake.values("t"), [1, 1, 1])
