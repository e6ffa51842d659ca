"""The vectors of docs/reference/vectors/, which are written for senders and agents of others, hold for this agent."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taba import native
from taba.agent.intake import Instance
from taba.agent.service import Agent
from taba.handlers.registry import builtin
from taba.settings import AgentSettings
from tests.agent.agent_case import WALL
from tests.agent.test_columns import ColumnsCase
from tests.twin import kernel

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference" / "vectors"
ODD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "-0": -0.0}


def vectors() -> Iterator[tuple[str, dict[str, Any], bytes]]:
    """Name, description and body of each."""
    for path in sorted(FOLDER.glob("*.json")):
        yield path.stem, json.loads(path.read_text(encoding="utf-8")), path.with_suffix(".bin").read_bytes()


def body_of(told: dict[str, Any]) -> bytes:
    """The body that a description tells."""
    if "raw" in told:
        raw: str = told["raw"]
        return raw.encode()
    header = told["header"].encode()
    payload = struct.pack(f"<{len(told['payload'])}d", *[ODD.get(each, each) for each in told["payload"]])
    body: bytes = struct.pack("<I", len(header)) + header + payload + bytes.fromhex(told.get("then", ""))
    return body[: len(body) - told.get("cut", 0)]


class VectorTests(ColumnsCase):
    """Every vector."""

    def make(self, endpoint: Any, **settings: Any) -> Agent:
        """An agent that takes all Types that Taba brings along."""
        super().make(endpoint)
        return Agent(AgentSettings(confirm_seconds=5.0, **settings), self.process, builtin().kinds(), [endpoint])

    def test_there_are_some(self) -> None:
        """The folder is found."""
        self.assertGreater(len(list(vectors())), 10)

    def test_bodies_are_as_described(self) -> None:
        """Each .bin is the header and the payload of its .json."""
        for name, told, body in vectors():
            plain = zlib.decompress(body) if told.get("encoding") == "deflate" else body
            self.assertEqual((name, plain), (name, body_of(told)))

    def test_answers(self) -> None:
        """The agent answers each as told, and names the events told."""
        self.assertEqual(WALL, 1_700_000_000)
        for name, told, body in vectors():
            self._know(told)
            encoding = {"Content_Encoding": told["encoding"]} if "encoding" in told else {}
            answer, due = self.send(body, piece=100, **encoding), told["answer"]
            self.assertEqual((name, answer.status), (name, due["status"]), answer.text)
            self.assertIn(due.get("says", ""), answer.text)
            self.assertEqual("taba-instance" in answer.headers, "opens" in due)
            if "errors" in due:
                said = json.loads(answer.text)
                self.assertEqual((said["accepted"], said["rejected"]), (due["accepted"], due["rejected"]))
                self.assertEqual([list(each) for each in answer.errors()], due["errors"])
            elif due["status"] == 200:
                self.assertEqual((name, answer.text), (name, ""))

    def _know(self, told: dict[str, Any]) -> None:
        """Let the agent know the instance, whose last batch was the one before."""
        sent = told.get("sent", {})
        if "instance" in sent:
            intake = self.agent.intake
            assert intake is not None
            intake.instances[sent["instance"]] = Instance(sent["batch"] - 1, 0, self.wall())

    def test_counts(self) -> None:
        """Each comes to the events and totals told; the pure-Python twin reads the same."""
        for name, told, body in vectors():
            if "counted" not in told or told["answer"]["status"] != 200:
                continue
            plain = zlib.decompress(body) if told.get("encoding") == "deflate" else body
            self.assertEqual((name, self._counted(native, plain)), (name, told["counted"]))
            self.assertEqual((name, self._counted(kernel, plain)), (name, told["counted"]))

    def _counted(self, side: Any, body: bytes) -> dict[str, list[Any]]:
        scratch = side.Columns(side.Limits(newest=WALL + 60.0), builtin().kinds())
        scratch.feed(body)
        scratch.finish()
        accumulator = side.Accumulator()
        accumulator.merge(scratch, 1)
        entries = [entry for section in accumulator.encode(0) for entry in side.batch_entries(section.data)]
        return {entry.tab: [entry.type, entry.events, *self._total(entry)] for entry in entries}

    def _total(self, entry: Any) -> list[float]:
        kind = entry.partial[0] & ~native.PARTIAL
        if kind == native.COUNTER_GROUP:
            state = native.fold(kind, b"", [entry.partial])
            return [native.counter_group_summary(state, WALL, ())[1].sum]
        if kind == native.PERCENTILE_GROUP:
            state = native.fold(kind, b"", [entry.partial])
            return [native.percentile_group_summary(state, WALL, ())[-1][0].sum]
        return []

    def test_what_senders_encode(self) -> None:
        """The events that a sender is given are those of the frame: a row each for tab and Type, in their order."""
        for name, told, body in vectors():
            if "sent" not in told:
                continue
            sent, length = told["sent"], int.from_bytes(body[:4], "little")
            header = json.loads(body[4 : 4 + length])
            for member in ("client", "instance", "batch", "unsent"):
                self.assertEqual((name, member, header.get(member)), (name, member, sent.get(member)))
            rows = {(tab, type) for tab, type, _, _ in sent["events"]}
            found = {(tab, type) for tab, type, _ in header["tabs"] + header.get("structured", [])}
            self.assertEqual(found, rows)
            numbers = sum(count for _, _, count in header["tabs"])
            self.assertEqual(len(body), 4 + length + 16 * numbers)
