"""Several workers of one host, which a parent keeps running, on one Redis.

REAL: redis-server, server processes and signals.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.asking import ask, counters
from tests.processes.running import TWISTD, HTTPProcess, Stage
from tests.processes.surroundings import PATIENCE, free_port, until
from tests.redis.real import Servers, missing

WORKERS = 3


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    """Whether a process runs. One that has ended may still be listed, until somebody asks how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_ready(port: int) -> bool:
    """Whether a worker answers."""
    try:
        return ask(port, "/readyz").status == 200
    except OSError:
        return False


class WorkersTests(SynchronousTestCase):
    """A parent with three workers."""

    skip = missing()

    def setUp(self) -> None:
        self.servers = Servers()
        self.addCleanup(self.servers.close)
        redis = self.servers.server("redis").ready()
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.port = free_port()
        settings = {
            "SERVER_WORKERS": WORKERS,
            "BASE_PORT": self.port,
            "AGENT_PORT": free_port(),
            "DB_SETTINGS": {"NUM_VBUCKETS": 16, "REDIS_URL": f"redis://127.0.0.1:{redis.port}"},
        }
        config = str(self.stage.settings("server", settings))
        self.parent: HTTPProcess = self.stage.command(
            "parent", *TWISTD, "-n", "--pidfile=", "taba-server", "--config", config,
            kind=HTTPProcess, port=self.port,
        )  # fmt: skip
        self.parent.start()
        self.wait_for_all()

    def wait_for_all(self) -> None:
        """Every worker answers on its port."""
        for number in range(WORKERS):
            self.parent.wait_for(lambda port=self.port + number: is_ready(port), f"worker {number} answers")

    def post(self, number: int, value: int) -> None:
        """An event, to the agent in a worker."""
        answer = ask(self.port + number, "/post", counters(f"client-{number}", "worked", [value]))
        self.assertEqual(answer.status, 200, answer)

    def total(self) -> str:
        """What the last worker says of the tab."""
        return ask(self.port + WORKERS - 1, "/tabs?name=worked").text

    def test_a_worker_dies(self) -> None:
        """Each takes events and answers; one that is killed is started again, and nothing is lost or told twice."""
        for number in range(WORKERS):
            self.post(number, 10**number)
        until(lambda: '"total": 111.00' in self.total(), PATIENCE, self.total)
        before = children(self.parent.pid)
        self.assertEqual(len(before), WORKERS)
        os.kill(before[0], signal.SIGKILL)
        self.parent.wait_for_output("ended with signal 9; it is started again in 0.5 s")
        self.wait_for_all()
        for number in range(WORKERS):
            self.post(number, 10**number)
        until(lambda: '"total": 222.00' in self.total(), PATIENCE, self.total)
        self.assertIn("worker 0: ", self.parent.output())

    def test_all_end_together(self) -> None:
        """SIGTERM to the parent stops all of them in good order; kill -9 of the parent, too."""
        workers = children(self.parent.pid)
        self.assertIn(self.parent.stop(), (0, -signal.SIGTERM))
        self.assertEqual([pid for pid in workers if lives(pid)], [])
        self.assertNotIn("is killed", self.parent.output())
        self.parent.start()
        self.wait_for_all()
        workers = children(self.parent.pid)
        self.parent.kill()
        until(lambda: not any(map(lives, workers)), PATIENCE, "the workers end, too")
