"""docs/example_client.py, run as a user runs it.

REAL: these tests use loopback sockets and subprocesses.
"""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.client.loopback import PATIENCE, LoopbackAgent

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "example_client.py"


class ExampleTests(SynchronousTestCase):
    if not EXAMPLE.exists():
        skip = "docs/ is not beside the package"

    def run_example(self, port: int) -> subprocess.CompletedProcess[str]:
        """Run the example as it is, but for the port, which on a test's machine may be taken."""
        script = EXAMPLE.read_text().replace("localhost:8279/post", f"127.0.0.1:{port}/post")
        return subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    def test_url(self) -> None:
        """The example posts to the agent where it is by default, as the client that the guide asks for."""
        names = runpy.run_path(str(EXAMPLE))
        self.assertEqual((names["AGENT_URL"], names["CLIENT_ID"]), ("http://localhost:8279/post", "example_client"))

    def test_with_an_agent(self) -> None:
        """With an agent the three events are counted, and the example says so."""
        agent = LoopbackAgent()
        self.addCleanup(agent.stop)
        ended = self.run_example(agent.port)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertIn("The agent has 3 events of client 'example_client'", ended.stdout)
        self.assertEqual([(e.client, e.tab, e.type, e.payload) for e in agent.agent.events], [
            ("example_client", "example_moving_counter", "CounterGroup", 100),
            ("example_client", "example_moving_counter", "CounterGroup", 1000),
            ("example_client", "example_gauge", "Gauge", "value")])  # fmt: skip

    def test_without_an_agent(self) -> None:
        """Without an agent the example says what is missing and what to start."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ended = self.run_example(free.getsockname()[1])
        self.assertEqual(ended.returncode, 1)
        self.assertIn("Connection refused", ended.stderr)
        self.assertIn("twistd -n taba-server", ended.stderr)
        self.assertNotIn("Traceback", ended.stderr)
