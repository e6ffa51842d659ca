"""Starts a server or an agent for a benchmark, and reads what it costs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

import taba

ROOT = str(Path(taba.__file__).absolute().parents[1])
"""Where the Taba that is measured is: the one that is imported here, a checkout's or an installed one."""
TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 30.0


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@frozen
class Serving:
    """A running process and its HTTP ports."""

    pid: int
    port: int
    agent_port: int
    folder: Path

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> int:
        """Resident bytes."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak_memory(self) -> int:
        """The most resident bytes so far."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def get(self, path: str, port: int | None = None) -> str:
        """The text of an answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port or self.port}/{path}", timeout=60) as answer:
            text: str = answer.read().decode()
            return text

    def json(self, path: str, port: int | None = None) -> dict[str, object]:
        """An answer as JSON."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{port or self.port}/{path}", headers={"Accept": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            value: dict[str, object] = json.load(answer)
            return value


@contextmanager
def _running(arguments: list[str], port: int, agent_port: int, ready: int) -> Iterator[Serving]:
    with tempfile.TemporaryDirectory(prefix="taba-bench-") as folder:
        log = open(Path(folder) / "log", "wb")  # noqa: SIM115 - it lives as long as the process
        process = subprocess.Popen(
            [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        serving = Serving(process.pid, port, agent_port, Path(folder))
        try:
            _wait(process, serving, ready)
            yield serving
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()


def _wait(process: subprocess.Popen[bytes], serving: Serving, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            serving.get("readyz", port)
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((serving.folder / "log").read_text())
            time.sleep(0.05)


@contextmanager
def server(settings: Mapping[str, object] | None = None) -> Iterator[Serving]:
    """A whole server with its embedded agent, in a folder of its own; with settings, whatever they say."""
    port, agent_port = free_port(), free_port()
    arguments = ["taba-server", "--port", str(port), "--agent-port", str(agent_port)]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        if settings is not None:
            json.dump(settings, file)
            file.flush()
            arguments += ["--config", file.name]
        with _running(arguments, port, agent_port, port) as serving:
            yield serving


@contextmanager
def agent(server_port: int, settings: Mapping[str, object] | None = None, *options: str) -> Iterator[Serving]:
    """An agent alone, in front of the server at a port; with settings, whatever they say beside that, and further
    options of its command line.
    """
    port = free_port()
    arguments = ["taba-agent", "--port", str(port), "--server", f"127.0.0.1:{server_port}", *options]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        if settings is not None:
            json.dump(settings, file)
            file.flush()
            arguments += ["--config", file.name]
        with _running(arguments, port, port, port) as serving:
            yield serving
