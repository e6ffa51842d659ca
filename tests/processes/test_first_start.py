"""The first minute with Taba: a start without settings, the example client, and two questions.

REAL: a server process on loopback.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.processes.running import ServerProcess, Shared, Stage, start_all
from tests.processes.surroundings import PATIENCE, REPOSITORY, environment

MOVING_COUNTER = (
    'example_moving_counter: {"1m": {"count": 2, "total": 1100.00, "average": 550.00}, '
    '"10m": {"count": 2, "total": 1100.00, "average": 550.00}, '
    '"1h": {"count": 2, "total": 1100.00, "average": 550.00}, '
    '"1d": {"count": 2, "total": 1100.00, "average": 550.00}, '
    '"pct": {"count": 2, "total": 1100.000000, '
    '"pct": [100.00, 1000.00, 1000.00, 1000.00, 1000.00, 1000.00, 1000.00]}}\n'
)
GAUGE = 'example_gauge: {"value": 1}\n'


@frozen
class Started:
    """Two servers as a new user starts them, but for the ports."""

    used: ServerProcess
    start_seconds: float
    """From the start of `used` until it was ready."""
    resting: ServerProcess
    """Nobody asks it anything."""
    rests_since: float
    cpu_before: float


def started(stage: Stage) -> Started:
    """Start them, one after the other."""
    used, resting = stage.server(), stage.server(name="resting")
    start_all(used)
    seconds = time.monotonic() - used.started_at
    start_all(resting)
    return Started(used, seconds, resting, time.monotonic(), resting.cpu_seconds())


def run_example(server: ServerProcess) -> subprocess.CompletedProcess[str]:
    """Run docs/example_client.py as it is, but for the port."""
    script = (REPOSITORY / "docs" / "example_client.py").read_text()
    script = script.replace("http://localhost:8279/post", f"http://localhost:{server.agent_port}/post")
    return subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


class FirstStartTests(SynchronousTestCase):
    """A server without settings, in an empty folder."""

    shared = Shared(started)
    if not (REPOSITORY / "docs" / "example_client.py").exists():
        skip = "docs/ is not beside the tests"

    def setUp(self) -> None:
        self.started = self.shared.get()
        self.server = self.started.used

    def test_says_where_it_is(self) -> None:
        """The first start says where applications and queries are welcome, where the data is, and that it is ready."""
        said = self.server.output()
        print(f"start to ready: {self.started.start_seconds:.2f} s")
        self.assertIn(f"agents and queries on http://127.0.0.1:{self.server.port}/", said)
        self.assertIn(f"applications on http://127.0.0.1:{self.server.agent_port}/post", said)
        self.assertRegex(said, f"keeps its data in {re.escape(str(self.server.folder / 'taba-data'))}. Ready.")

    def test_example(self) -> None:
        """The example client is done at once, and soon later both its tabs show what the guide promises."""
        ended = run_example(self.server)
        done = time.monotonic()
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))

        def ask_both() -> bool:
            counter = self.server.ask("/tabs?name=example_moving_counter").text
            gauge = self.server.ask("/tabs?name=example_gauge").text
            return (counter, gauge) == (MOVING_COUNTER, GAUGE)

        self.server.wait_for(ask_both, "the lines of the guide")
        print(f"visible {time.monotonic() - done:.2f} s after the end of the example client")
        names, clients = set(self.server.ask("/names").text.split()), set(self.server.ask("/clients").text.split())
        self.assertLessEqual({"example_moving_counter", "example_gauge"}, names)
        self.assertIn("example_client", clients)
