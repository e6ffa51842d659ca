"""The client of docs/examples/client.mjs, by which others write theirs: it makes the frames of the vectors, and its
batches count once although the agent is killed.

REAL: Node and an agent process. Skipped where there is no `node`.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.running import AgentProcess, Stage, start_all
from tests.processes.surroundings import PATIENCE, free_port

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "docs" / "examples" / "client.mjs"
VECTORS = ROOT / "docs" / "reference" / "vectors"
MOST_LINES = 40
NODE = shutil.which("node")

ENCODE = """
const told = JSON.parse(process.argv[1]);
const frames = told.map((sent) => frame(sent.client, sent.instance, sent.batch, sent.events, sent.unsent));
process.stdout.write(JSON.stringify(frames.map((bytes) => bytes.toString("base64"))));
"""
SEND = """
const [url, batches, events] = [process.argv[1], Number(process.argv[2]), Number(process.argv[3])];
const sender = new Sender(url, "node", 50);
let refused = 0;
for (let batch = 0; batch < batches; batch++) {
  const now = Date.now() / 1000, some = [];
  for (let i = 0; i < events; i++) some.push([`tab_${i % 3}`, "CounterGroup", now, i]);
  some.push(["phase", "Gauge", now, { batch }], ["two words", "CounterGroup", now, 1]);
  const said = await sender.send(some);
  refused += JSON.parse(said || '{"rejected":0}').rejected;
  console.log("answered", batch);
}
console.log(JSON.stringify({ number: sender.number, retries: sender.retries, refused }));
"""


def node(script: str, *arguments: str) -> list[str]:
    """The command that runs a script with the client's names in it."""
    assert NODE is not None
    text = f"import {{ frame, Sender }} from {json.dumps(CLIENT.as_uri())};\n{script}"
    return [NODE, "--input-type=module", "-e", text, *arguments]


class ClientCase(SynchronousTestCase):
    """Tests of the client."""

    def setUp(self) -> None:
        if NODE is None:
            self.skipTest("there is no node on the PATH")


class FrameTests(ClientCase):
    """What it makes."""

    def test_it_is_short(self) -> None:
        """A stranger can read it."""
        self.assertLessEqual(len(CLIENT.read_text(encoding="utf-8").splitlines()), MOST_LINES)

    def test_vectors(self) -> None:
        """Its frames have the headers and the payloads of the vectors."""
        told = [(json.loads(path.read_text(encoding="utf-8")), path) for path in sorted(VECTORS.glob("*.json"))]
        with_events = [(each["sent"], path.with_suffix(".bin").read_bytes()) for each, path in told if "sent" in each]
        self.assertGreater(len(with_events), 2)
        command = node(ENCODE, json.dumps([sent for sent, _ in with_events]))
        made = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE).stdout)
        for text, (_, expected) in zip(made, with_events, strict=True):
            self.assertEqual(_parts(text), _parts(expected))


def _parts(frame: str | bytes) -> tuple[dict[str, Any], bytes]:
    """Header without empty members, and payload; JSON may be written in more than one way."""
    body = base64.b64decode(frame) if isinstance(frame, str) else frame
    end = 4 + int.from_bytes(body[:4], "little")
    return {name: value for name, value in json.loads(body[4:end]).items() if value != []}, body[end:]


class SendingTests(ClientCase):
    """Batches to an agent."""

    def setUp(self) -> None:
        super().setUp()
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.agent: AgentProcess = self.stage.agent(free_port())  # no server: the agent keeps everything
        start_all(self.agent)

    def ledger(self) -> dict[str, int]:
        """The agent's account."""
        lines: dict[str, int] = self.agent.json("/status")["ledger"]
        return lines

    def test_every_event_once(self) -> None:
        """Twelve batches while the agent is killed again and again: each event is counted once, refused ones too."""
        url = f"http://127.0.0.1:{self.agent.port}/v2/events"
        sending = subprocess.Popen(node(SEND, url, "12", "300"), stdout=subprocess.PIPE, text=True)
        self.addCleanup(sending.kill)
        assert sending.stdout is not None
        lines: list[str] = []
        reading = threading.Thread(target=lambda: lines.extend(sending.stdout or ()), daemon=True)
        for batch in (1, 4, 8):
            while (line := sending.stdout.readline().strip()) != f"answered {batch}":
                self.assertTrue(line, "the sender ended")
            self.agent.kill()
            start_all(self.agent)
        reading.start()
        self.assertEqual(sending.wait(PATIENCE), 0)
        reading.join(PATIENCE)
        told = json.loads(lines[-1])
        self.assertEqual((told["number"], told["refused"]), (12, 12))
        self.assertGreater(told["retries"], 0)
        ledger = self.ledger()
        self.assertEqual(ledger["received"], 12 * 302)
        self.assertEqual((ledger["pending"], ledger["refused.name"]), (12 * 301, 12))
