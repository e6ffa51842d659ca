"""The log of real processes under twistd: standard output, files, daemons, console scripts.

REAL: servers and agents on loopback.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.running import TABA_AGENT, TWISTD, AgentProcess, ServerProcess, Stage, start_all
from tests.processes.surroundings import PATIENCE, free_port, until


class LogTests(SynchronousTestCase):
    """The log as JSON, wherever twistd writes it."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def objects(self, text: str) -> list[dict[str, Any]]:
        """The objects of the lines of a log; every line has to be one."""
        found: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
        for each in found:
            self.assertEqual(
                {*each} - {"traceback"}, {"time", "level", "namespace", "message", "pid", "fields"}, each
            )
        return found

    def assertOfTaba(self, objects: list[dict[str, Any]], pid: int | None = None) -> None:
        """A log begins with twistd's words, has Taba's, and is of one process."""
        messages = [each["message"] for each in objects]
        self.assertIn("starting up.", messages[0])
        self.assertTrue(any("Ready." in each for each in messages), messages)
        if pid is not None:
            self.assertEqual({each["pid"] for each in objects}, {pid})

    def test_in_the_foreground(self) -> None:
        """`twistd -n` writes JSON lines to standard output, by the setting, by the environment and by the option."""
        by_setting = self.stage.server(name="setting", config={"LOG_FORMAT": "json", "EMBEDDED_AGENT": True})
        by_variable = self.stage.server(name="variable", variables={"TABA_LOG_FORMAT": "json"})
        by_option = self.stage.agent(by_setting.port, "--log-format", "json")
        start_all(by_setting, by_variable, by_option)
        for each in (by_setting, by_variable, by_option):
            self.assertOfTaba(self.objects(each.output()), each.pid)
            each.stop()
            self.assertIn("Server Shut Down.", self.objects(each.output())[-1]["message"])

    def test_console_script(self) -> None:
        """So does `taba-agent SETTINGS`."""
        port = free_port()
        settings = {"AGENT_PORT": port, "LOG_FORMAT": "json", "SERVER_ENDPOINTS": ["http://127.0.0.1:9"]}
        file = str(self.stage.settings("agent", settings))
        agent = self.stage.command("agent", *TABA_AGENT, file, kind=AgentProcess, port=port)
        start_all(agent)
        objects = self.objects(agent.output())
        self.assertOfTaba(objects, agent.pid)
        agent.wait_for_output("A server does not answer")
        warned = [each for each in self.objects(agent.output()) if "does not answer" in each["message"]]
        self.assertEqual({each["level"] for each in warned}, {"warn"})

    def test_file(self) -> None:
        """With --logfile the lines are there, and nothing is on standard output; SIGUSR1 begins a new file."""
        port = free_port()
        server = self.stage.command(
            "server", *TWISTD, "-n", "--pidfile=", "--logfile=log.json", "taba-server", "--port", str(port),
            "--agent-port", "0", "--log-format", "json", kind=ServerProcess, port=port,
        )  # fmt: skip
        log = server.folder / "log.json"
        server.start()
        server.wait_for(lambda: log.exists() and "Ready." in log.read_text(), "the file has the log")
        self.assertEqual(server.output(), "")
        self.assertOfTaba(self.objects(log.read_text()), server.pid)
        server.send(signal.SIGUSR1)
        server.wait_for((server.folder / "log.json.1").exists, "the file is rotated")
        server.stop()
        self.assertIn("Server Shut Down.", self.objects(log.read_text())[-1]["message"])

    def test_daemon(self) -> None:
        """A daemon writes them to its file, with the pid that it has after the fork."""
        port = free_port()
        start = self.stage.command(
            "daemon", *TWISTD, "--logfile=log.json", "--pidfile=pid", "taba-server", "--port", str(port),
            "--agent-port", "0", "--log-format", "json", kind=ServerProcess, port=port,
        )  # fmt: skip
        self.assertEqual(start.run(), 0, start.tail())
        pid = int((start.folder / "pid").read_text())
        self.addCleanup(end, pid)
        log = start.folder / "log.json"
        until(lambda: "Ready." in log.read_text(), PATIENCE, lambda: log.read_text())
        objects = self.objects(log.read_text())
        self.assertOfTaba(objects)
        self.assertEqual(objects[-1]["pid"], pid)
        self.assertEqual(start.ask("/healthz").status, 200)

    def test_text(self) -> None:
        """Without a word about it the log is text, as twistd writes it."""
        server = self.stage.server()
        start_all(server)
        self.assertRegex(server.output().splitlines()[0], r"^20\d\d-.*\[.*#info\] twistd .* starting up\.$")


def end(pid: int) -> None:
    """End a daemon that a test started, and wait until it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
            until(lambda: not Path(f"/proc/{pid}").exists(), PATIENCE, "the daemon ends")
        except (AssertionError, ProcessLookupError):
            continue
        return
