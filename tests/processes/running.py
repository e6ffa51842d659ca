"""Starts servers, agents and other commands of Taba as real processes, and ends them whatever becomes of the test.

REAL: subprocesses, sockets and real time.

A `Stage` is a temporary folder and the processes started in it. Each process runs in a folder of its own, which is
empty at first, and imports the very `taba` that the test imports: an installed one, or the checkout's by PYTHONPATH.
Ports are chosen by the test, so that a process that is started again has them again. Waiting is polling with a
deadline, and a deadline that passes is an AssertionError with the end of the process's log.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from attrs import define, field

from tests.processes.asking import Answer, ask
from tests.processes.surroundings import PATIENCE, environment, free_port, memory_of, until

T = TypeVar("T")
Made = TypeVar("Made")

TAIL_LINES = 40

TWISTD = ("-c", "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()")
"""Python's arguments for the command `twistd`; it has no module to run by -m."""
TABA_SERVER = ("-c", "import sys; sys.argv[0] = 'taba-server'; from taba.server_tap import main; main()")
TABA_AGENT = ("-c", "import sys; sys.argv[0] = 'taba-agent'; from taba.agent_tap import main; main()")
TABA_CLI = ("-c", "import sys; sys.argv[0] = 'taba-cli'; from taba.cli import main; main(prog_name='taba-cli')")

PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Runs in the child: a test run that is killed leaves no processes behind. (Nor does the end of a thread that
    started some.)
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@define(eq=False)
class RealProcess:
    """A command that may be started, ended and started again, in the same folder."""

    name: str
    arguments: Sequence[str]
    """Of Python."""
    folder: Path
    log: Path
    """Where its output goes, of all its lives."""
    variables: Mapping[str, str] = field(factory=dict)
    """Of the environment, beside the usual."""
    _popen: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _log_from: int = field(default=0, init=False)
    started_at: float = field(default=0.0, init=False)
    """By time.monotonic."""

    def start(self) -> None:
        """Start it; it is not waited for."""
        assert self._popen is None or self._popen.poll() is not None, f"{self.name} runs already"
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        self.started_at = time.monotonic()
        with open(self.log, "ab") as log:
            self._popen = subprocess.Popen(
                [sys.executable, *self.arguments],
                cwd=self.folder,
                env={**environment(), **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self) -> int:
        """Of the life that began last."""
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._popen is not None and self._popen.poll() is None

    def output(self) -> str:
        """What this life has written to standard output and standard error."""
        with open(self.log, "rb") as log:
            log.seek(self._log_from)
            return log.read().decode("utf-8", "replace")

    def tail(self) -> str:
        """The end of its log, for people."""
        lines = self.output().splitlines()[-TAIL_LINES:]
        return "\n".join([f"--- log of {self.name}:", *lines, f"--- end of the log of {self.name}"])

    def wait_for(self, condition: Callable[[], T], what: str | Callable[[], str], within: float = PATIENCE) -> T:
        """What `condition` answers once that is true. AssertionError with the log when it takes too long, or when the
        process ends meanwhile.
        """

        def say() -> str:
            return f"{what() if callable(what) else what}\n{self.tail()}"

        def looked() -> T:
            alive = self.alive
            result = condition()
            if not result and not alive:
                raise AssertionError(f"{self.name} ended while it was waited for: {say()}")
            return result

        return until(looked, within, say)

    def wait_for_output(self, text: str, within: float = PATIENCE) -> None:
        """Wait until this life has written a text."""
        self.wait_for(lambda: text in self.output(), f"{self.name} says {text!r}", within)

    def ended(self, within: float = PATIENCE) -> int:
        """Its status, once it has ended by itself; negative for the signal that ended it."""
        assert self._popen is not None, f"{self.name} was not started"
        try:
            return self._popen.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended within {within:g} s\n{self.tail()}")

    def run(self, within: float = PATIENCE) -> int:
        """Start it, and wait for its end; its status."""
        self.start()
        return self.ended(within)

    def stop(self, within: float = PATIENCE) -> int:
        """SIGTERM, and its status once it has ended."""
        self.send(signal.SIGTERM)
        return self.ended(within)

    def kill(self) -> None:
        """Kill -9, if it runs."""
        if self._popen is not None and self._popen.poll() is None:
            self._popen.kill()
        if self._popen is not None:
            self._popen.wait()

    def send(self, number: signal.Signals) -> None:
        """A signal to the process."""
        assert self._popen is not None, f"{self.name} was not started"
        self._popen.send_signal(number)

    def memory(self, line: str = "VmRSS") -> int:
        """Bytes of memory; with VmHWM the most that it ever had in this life."""
        return memory_of(self.pid, line)

    def cpu_seconds(self) -> float:
        """User and system time of this life."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@define(eq=False)
class HTTPProcess(RealProcess):
    """A process with an HTTP port."""

    port: int = 0
    host: str = "127.0.0.1"

    def ready(self, within: float = PATIENCE) -> None:
        """Wait until it says that it is ready, and is."""
        self.wait_for(self._says_ready, f"{self.name} is ready", within)

    def _says_ready(self) -> bool:
        if "Ready." not in self.output():
            return False
        try:
            return self.ask("/readyz").status == 200
        except OSError:
            return False

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """GET, or POST when there is a body. In names of headers `_` stands for `-`."""
        return ask(self.port, path, body, self.host, **headers)

    def json(self, path: str) -> Any:
        """The JSON of a path."""
        answer = self.ask(path, Accept="application/json")
        assert answer.status == 200, f"{path}: {answer}\n{self.tail()}"
        return json.loads(answer.text)


@define(eq=False)
class ServerProcess(HTTPProcess):
    """A server; `agent_port` is that of the agent in it, if there is one."""

    agent_port: int = 0

    def post(self, body: bytes, path: str = "/post", **headers: str) -> Answer:
        """To the agent's port in it."""
        return ask(self.agent_port, path, body, self.host, **headers)

    def tab(self, name: str) -> str:
        """The line of `/tabs` for a tab; empty when there is none."""
        return self.ask(f"/tabs?name={name}").text.rstrip("\n")

    def counts(self, tab: str) -> tuple[int, float]:
        """Count and total, of all time, of a tab of Type CounterGroup."""
        states = self.json(f"/tabs?name={tab}")
        if tab not in states:
            return 0, 0.0
        pct = states[tab]["pct"]
        return int(pct["count"]), float(pct["total"])

    def wait_for_count(self, tab: str, count: int, within: float = PATIENCE) -> None:
        """Wait until a tab of Type CounterGroup has so many events; AssertionError when it gets more."""

        def looked() -> bool:
            now = self.counts(tab)[0]
            assert now <= count, f"{tab} has {now} events; {count} were sent"
            return now == count

        self.wait_for(looked, lambda: f"{count} events of {tab}\n{self.ask('/status').text}", within)


@define(eq=False)
class AgentProcess(HTTPProcess):
    """A standalone agent."""

    def post(self, body: bytes, path: str = "/post", **headers: str) -> Answer:
        """Events."""
        return self.ask(path, body, **headers)


@define(eq=False)
class Stage:
    """A temporary folder, and the processes started in it. `close` ends them and removes the folder; so does the end of
    the test run.
    """

    folder: Path = field(factory=lambda: Path(tempfile.mkdtemp(prefix="taba-test-")).resolve())
    processes: list[RealProcess] = field(factory=list, init=False)
    clean_up: list[Callable[[], None]] = field(factory=list, init=False)
    """What has to be done between the end of the processes and the removal of the folder."""

    def __attrs_post_init__(self) -> None:
        atexit.register(self.close)

    def close(self) -> None:
        """Kill everything and remove the folder. Idempotent."""
        atexit.unregister(self.close)
        for each in self.processes:
            each.kill()
        while self.clean_up:
            self.clean_up.pop()()
        shutil.rmtree(self.folder, ignore_errors=True)

    def place(self, name: str) -> Path:
        """A folder below, made when it is not there."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def command(
        self,
        name: str,
        *arguments: str,
        kind: Callable[..., Any] = RealProcess,
        folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Any:
        """A process with Python's arguments, not started yet. It runs in the folder of its name, unless told."""
        place, log = folder or self.place(name), self.folder / f"{name}.log"
        process = kind(name, arguments, place, log, variables or {}, **more)
        self.processes.append(process)
        return process

    def server(
        self,
        *options: str,
        name: str = "server",
        config: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> ServerProcess:
        """`twistd -n taba-server` on free ports, with an agent in it; with `config`, that settings file."""
        port, agent_port = free_port(), free_port()
        ports = ["--port", str(port), "--agent-port", str(agent_port)]
        settings = ["--config", str(self.settings(name, config))] if config is not None else []
        process: ServerProcess = self.command(
            name, *TWISTD, "-n", "--pidfile=", "taba-server", *settings, *ports, *options,
            kind=ServerProcess, folder=folder, variables=variables, port=port, agent_port=agent_port,
        )  # fmt: skip
        return process

    def agent(
        self,
        server_port: int,
        *options: str,
        name: str = "agent",
        config: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> AgentProcess:
        """`twistd -n taba-agent` on a free port, in front of a server of this host."""
        port = free_port()
        settings = ["--config", str(self.settings(name, config))] if config is not None else []
        process: AgentProcess = self.command(
            name, *TWISTD, "-n", "--pidfile=", "taba-agent", *settings, "--port", str(port),
            "--server", f"127.0.0.1:{server_port}", *options,
            kind=AgentProcess, variables=variables, port=port,
        )  # fmt: skip
        return process

    def settings(self, name: str, settings: Mapping[str, Any]) -> Path:
        """A settings file."""
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(settings))
        return path


class Shared(Generic[Made]):
    """Processes that all tests of a class share, to save their starts: made by the first test that asks, ended with the
    test run. Tests that use them leave them as they found them, but for what they counted.
    """

    def __init__(self, make: Callable[[Stage], Made]) -> None:
        """`make` starts processes in a Stage, and answers with what the tests want to have."""
        self._make = make
        self._stage: Stage | None = None
        self._made: Made | None = None

    def get(self) -> Made:
        """What `make` made. AssertionError when one of its processes has ended."""
        if self._stage is None or self._made is None:
            self._stage = Stage()
            self._made = self._make(self._stage)
        for each in self._stage.processes:
            assert each.alive, f"{each.name} has ended\n{each.tail()}"
        return self._made


def start_all(*processes: HTTPProcess) -> None:
    """Start processes at once, and wait until all are ready."""
    for each in processes:
        each.start()
    for each in processes:
        each.ready()
