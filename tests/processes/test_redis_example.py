"""The classic example on one machine, as docs/redis/ has it: Redis shards, Sentinels, server, agent, example client.

REAL: processes on loopback, on the very ports of the documents; skipped, with the reason, where one of them is taken.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.processes.running import TABA_AGENT, TABA_SERVER, Stage
from tests.processes.surroundings import REPOSITORY, environment, heed_interrupts, until
from tests.processes.test_first_start import GAUGE, MOVING_COUNTER

SECONDS = 120.0
CLASSIC_PORTS = (17000, 17001, 18000, 8300, 8279)
REPLICATED_PORTS = (17100, 17101, 17102, 17110, 17111, 17112, 18100, 18101, 18102, 8300, 8279)


def missing() -> str | None:
    """Why the scripts cannot run here; None when they can."""
    if not (REPOSITORY / "docs" / "redis").exists():
        return "docs/ is not beside the tests"
    absent = [name for name in ("bash", "curl", "redis-server") if shutil.which(name) is None]
    return f"there is no {' and no '.join(absent)} here" if absent else None


def taken(ports: tuple[int, ...]) -> list[int]:
    """Those of the ports that somebody has."""
    found = []
    for port in ports:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("", port))
            except OSError:
                found.append(port)
    return found


class ExampleTests(SynchronousTestCase):
    """The scripts of docs/redis/, run as they are, in a fresh folder."""

    skip = missing()

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.folder = self.stage.place("data")
        self.commands = self.stage.place("bin")
        for name, arguments in (("taba-server", TABA_SERVER), ("taba-agent", TABA_AGENT), ("python", ())):
            self.add_command(name, arguments)

    def add_command(self, name: str, arguments: tuple[str, ...]) -> None:
        """Put the console script of the Taba under test on the PATH, wherever that is."""
        quoted = " ".join(f"'{each}'" for each in (sys.executable, *(each.replace("'", '"') for each in arguments)))
        file = self.commands / name
        file.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
        file.chmod(0o755)

    def start(self, script: str, *arguments: str, ports: tuple[int, ...]) -> subprocess.Popen[str]:
        """Start a script of docs/redis/."""
        if busy := taken(ports):
            raise SkipTest(f"somebody uses the ports {', '.join(map(str, busy))}")
        variables = environment()
        process = subprocess.Popen(
            [str(REPOSITORY / "docs" / "redis" / script), *arguments],
            env={**variables, "PATH": f"{self.commands}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            preexec_fn=heed_interrupts,
        )  # fmt: skip
        self.addCleanup(process.kill)
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        """Let a script that a failed test left behind end what it started."""
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=SECONDS)

    def logs(self, folder: Path) -> str:
        """The ends of all logs, for people."""
        return "\n".join(f"--- {log.name}\n{log.read_text()[-1000:]}" for log in sorted(folder.glob("*.log")))

    def assertAnswers(self, said: str) -> None:
        """Both questions were answered, to the character."""
        self.assertEqual(said.splitlines(keepends=True)[-2:], [MOVING_COUNTER, GAUGE], self.logs(self.folder))

    def test_classic(self) -> None:
        """Two shards, one Sentinel, a server, an agent and the example client: both lines are what the guide promises,
        and afterwards nothing runs any more.
        """
        process = self.start("classic.sh", "--once", str(self.folder), ports=CLASSIC_PORTS)
        said, _ = process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, 0, f"{said}\n{self.logs(self.folder)}")
        self.assertAnswers(said)
        self.assertEqual(taken(CLASSIC_PORTS), [])
        self.assertNotIn("Traceback", self.logs(self.folder))

    def test_ctrl_c(self) -> None:
        """Ctrl-C ends everything in order: nothing is lost, and a second start goes on with the numbers."""
        process = self.start("classic.sh", str(self.folder), ports=CLASSIC_PORTS)
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or "Ctrl-C ends it" not in lines[-1]:
            lines.append(process.stdout.readline())
            self.assertNotEqual(lines[-1], "", "".join(lines) + self.logs(self.folder))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(SECONDS), 130)
        self.assertEqual(taken(CLASSIC_PORTS), [])
        log = (self.folder / "server.log").read_text()
        self.assertIn("Server Shut Down.", log)
        self.assertNotIn("cannot send", log)
        self.assertNotIn("without a last checkpoint", log)
        again = self.start("classic.sh", str(self.folder), ports=CLASSIC_PORTS)

        def asked() -> bool:
            answer = subprocess.run(
                ["curl", "-s", "localhost:8300/tabs?name=example_moving_counter"], capture_output=True, check=False
            )
            return b'"count": 4, "total": 2200.00' in answer.stdout

        until(asked, SECONDS, lambda: self.logs(self.folder))
        again.terminate()
        again.communicate(timeout=SECONDS)

    def test_replicated(self) -> None:
        """Two shards with two replicas each and three Sentinels give the same lines, and say that an acknowledged batch
        is on a replica.
        """
        process = self.start("replicated.sh", "--once", str(self.folder), ports=REPLICATED_PORTS)
        said, _ = process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, 0, f"{said}\n{self.logs(self.folder)}")
        self.assertAnswers(said)
        self.assertIn("durability replicated", (self.folder / "server.log").read_text())

    def test_settings_and_guide(self) -> None:
        """The guide shows the classic example as the files beside it have it."""
        guide = (REPOSITORY / "docs" / "guide" / "redis.md").read_text()
        files = re.findall(r"```\n(port 18000\n.*?)```", guide, re.DOTALL)
        self.assertEqual(files, [(REPOSITORY / "docs" / "redis" / "sentinel.conf").read_text()])
        self.assertIn((REPOSITORY / "docs" / "taba_server_settings.json").read_text(), guide)
        self.assertIn((REPOSITORY / "docs" / "redis" / "redis.conf").read_text(), guide)
