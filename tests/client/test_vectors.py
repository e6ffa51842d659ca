"""The vectors of docs/reference/vectors/, which are written for senders and agents of others, hold for the client and
for the agent double.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.client.encoding import encode_frame
from taba.client.recorder import Recorder
from taba.testing import FakeAgent
from tests.client.model_agent import read_frame
from tests.processes.surroundings import REPOSITORY

FOLDER = REPOSITORY / "docs" / "reference" / "vectors"


def vectors() -> Iterator[tuple[str, dict[str, Any], bytes]]:
    """Name, description and body of each."""
    for path in sorted(FOLDER.glob("*.json")):
        yield path.stem, json.loads(path.read_text(encoding="utf-8")), path.with_suffix(".bin").read_bytes()


class VectorTests(SynchronousTestCase):
    """Every vector."""

    if not FOLDER.exists():
        skip = "docs/ is not beside the package"

    def test_client(self) -> None:
        """What the client makes of the events says what the vector says, but for the order of rows."""
        found = [(name, told["sent"], body) for name, told, body in vectors() if "sent" in told]
        self.assertGreater(len(found), 2)
        for name, sent, body in found:
            times = iter([time for _, _, time, _ in sent["events"]])
            recorder = Recorder(lambda times=times: float(next(times)))  # type: ignore[misc]
            recorder.open(lambda: None)
            for tab, kind, _, value in sent["events"]:
                recorder.record_event(tab, kind, value)
            blocks = recorder.collect()
            frame = encode_frame(sent["client"], sent.get("instance"), sent["batch"], blocks, sent.get("unsent"))
            header, events = read_frame(frame)
            plain = zlib.decompress(body) if body[:1] == b"\x78" else body
            told_header, told_events = read_frame(plain, "utf-8")
            self.assertEqual((name, sorted(events, key=repr)), (name, sorted(told_events, key=repr)))
            for member in ("client", "instance", "batch", "unsent"):
                self.assertEqual(header.get(member), told_header.get(member), name)
            self.assertEqual(len(header["tabs"]), len(told_header["tabs"]), name)

    def test_agent_double(self) -> None:
        """The double answers each as told, and counts what is told."""
        for name, told, body in vectors():
            agent, due = FakeAgent(wall=lambda: 1_700_000_000.0), told["answer"]
            sent = told.get("sent", {})
            if "instance" in sent:
                agent._numbers[sent["instance"]] = sent["batch"] - 1
            headers = {"content-encoding": told["encoding"]} if "encoding" in told else {}
            answer = agent.answer("/v2/events", headers, body)
            assert answer is not None
            self.assertEqual((name, answer.status), (name, due["status"]), answer.text)
            self.assertEqual("Taba-Instance" in answer.headers, "opens" in due, name)
            if "errors" in due:
                said = json.loads(answer.text)
                errors = [[each["tab"], each["event"], each["reason"].partition(":")[0]] for each in said["errors"]]
                self.assertEqual((said["accepted"], said["rejected"]), (due["accepted"], due["rejected"]), name)
                self.assertEqual(errors, due["errors"], name)
            if due["status"] == 200:
                self.assertEqual(self.counted(agent), {tab: row[:2] for tab, row in told["counted"].items()}, name)
                totals = {tab: row[2] for tab, row in told["counted"].items() if len(row) > 2}
                self.assertEqual({tab: sum(agent.values(tab)) for tab in totals}, totals, name)

    def counted(self, agent: FakeAgent) -> dict[str, list[Any]]:
        """Tab -> Type and number of events."""
        return {event.tab: [event.type, len(agent.values(event.tab))] for event in agent.events}
