"""The examples of the guide run as they stand, page by page, on a server that a newcomer would have started.

REAL: subprocesses, sockets and real time. Ports, which pages name as 8300 and 8279, are free ones here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.docs.pages import commands, examples, prints
from tests.processes.running import TABA_CLI, TABA_SERVER, TWISTD, Stage, start_all
from tests.processes.surroundings import REPOSITORY, environment, until

DOCS = REPOSITORY / "docs"
GUIDE = sorted((DOCS / "guide").glob("*.md"))
VISIBLE = 120.0
"""Seconds within which a transcript has to come true: events take a moment to be visible."""
COMMANDS = {"taba-server": TABA_SERVER, "taba-cli": TABA_CLI, "twistd": TWISTD, "python": ()}


class GuideTests(SynchronousTestCase):
    """Every page is tried from its first example to its last."""

    def run_page(self, page: Path) -> None:
        """Run the examples of a page in order, in an empty folder, beside a fresh server."""
        found = [example for example in examples(page.read_text(encoding="utf-8")) if example.runs]
        if not found:
            return
        stage = Stage()
        self.addCleanup(stage.close)
        server = stage.server()
        start_all(server)
        ports = {"8300": str(server.port), "8279": str(server.agent_port)}
        folder = stage.place("reader")
        (folder / "bin").mkdir()
        (folder / "docs").symlink_to(DOCS)
        for name, arguments in COMMANDS.items():
            script = folder / "bin" / name
            script.write_text(f"#!{sys.executable}\nimport os, sys\n"
                              f"os.execv(sys.executable, [sys.executable, *{list(arguments)!r}, *sys.argv[1:]])\n")
            script.chmod(0o755)
        programs = ""
        for example in found:
            text = example.text
            for written, actual in ports.items():
                text = text.replace(written, actual)
            where = f"{page.name}:{example.line}"
            if example.language == "python":
                programs = programs + text if example.told == "continues" else text
                self.succeed(where, [sys.executable, "-c", programs], folder, ports)
            elif example.language == "sh":
                self.succeed(where, ["bash", "-euo", "pipefail", "-c", text], folder, ports)
            else:
                self.follow(where, text, folder, ports)

    def run_in(self, command: list[str], folder: Path, ports: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the reader's folder."""
        variables = {
            **environment(),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "TABA_SERVER": f"http://localhost:{ports['8300']}",
            "TABA_AGENT": f"http://localhost:{ports['8279']}",
        }
        return subprocess.run(command, cwd=folder, env=variables, timeout=120, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def succeed(self, where: str, command: list[str], folder: Path, ports: dict[str, str]) -> None:
        """Run what has to end with status 0."""
        ended = self.run_in(command, folder, ports)
        self.assertEqual(ended.returncode, 0, f"{where}: status {ended.returncode}\n{ended.stdout}")

    def follow(self, where: str, text: str, folder: Path, ports: dict[str, str]) -> None:
        """Run the commands of a transcript until each prints what is written there."""
        for command, expected in commands(text):
            printed: list[str] = []

            def as_written(command: str = command, expected: str = expected, printed: list[str] = printed) -> bool:
                printed.append(self.run_in(["bash", "-c", command], folder, ports).stdout)
                return prints(expected, printed[-1])

            until(as_written, VISIBLE, lambda printed=printed, command=command: f"{where}: $ {command}\n{printed[-1]}")


def _test_of(page: Path) -> None:
    def test(self: GuideTests) -> None:
        self.run_page(page)

    test.__doc__ = f"What docs/guide/{page.name} shows happens."
    setattr(GuideTests, f"test_{page.stem.replace('-', '_')}", test)


for _page in GUIDE:
    _test_of(_page)
