"""What a peer is to this benchmark: something to start, to send lines to, and to ask what it counted."""

from __future__ import annotations

import abc
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import Enum
from pathlib import Path

from attrs import frozen

from tests.benchmarks import statsd_lines
from tests.benchmarks.processes import TICKS
from tests.benchmarks.statsd_lines import Prepared

LINES = 200_000
"""How many lines are prepared, about: they are sent over and over."""
START_SECONDS = 30.0
PERCENTILES = (50, 90, 99)
"""Asked of every peer that lets them be chosen."""


class Kind(Enum):
    """What is measured of the events."""

    COUNTERS = "counters"
    TIMERS = "timers"


class Transport(Enum):
    """How the lines come."""

    TCP = "TCP"
    UDP = "UDP"


def processes_of(pid: int) -> list[int]:
    """A process and all its descendants that live."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of processes so far, that of their descendants included, ended ones too."""
    ticks = 0
    for pid in pids:
        for each in processes_of(pid):
            with suppress(OSError):
                fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def peak_memory(pids: Sequence[int]) -> int:
    """The most resident bytes so far, of each process and descendant, summed."""
    kilobytes = 0
    for pid in pids:
        for each in processes_of(pid):
            with suppress(OSError):
                for line in Path(f"/proc/{each}/status").read_text().splitlines():
                    if line.startswith("VmHWM:"):
                        kilobytes += int(line.split()[1])
    return kilobytes * 1024


@frozen
class Running:
    """A peer that runs: its port, whose CPU counts under which row, and the events it has counted since its start.

    `counted` may be called as often as liked, and sees each flush as soon as it is out.
    """

    port: int
    pids: Mapping[str, Sequence[int]]
    counted: Callable[[], int]


class Peer(abc.ABC):
    """One program that takes StatsD lines, or lines that say the same."""

    name: str
    transports: tuple[Transport, ...] = (Transport.TCP, Transport.UDP)
    kinds: tuple[Kind, ...] = tuple(Kind)
    datagram_bytes = statsd_lines.DATAGRAM_BYTES
    flush_seconds = 10.0
    configuration: str
    """How it runs, in a sentence for the reader of the table."""

    @abc.abstractmethod
    def missing(self) -> str | None:
        """What has to be installed, if it cannot be measured here."""

    @abc.abstractmethod
    def version(self) -> str:
        """As the program, or its package, says it."""

    @abc.abstractmethod
    def running(self, transport: Transport, kind: Kind, names: int) -> AbstractContextManager[Running]:
        """Start it in a folder of its own, and end it, and all of its processes, in the end."""

    def prepare(self, transport: Transport, kind: Kind, names: int) -> Prepared:
        """The lines for it: whole rounds of so many names."""
        return self.pack(transport, self.lines(kind, names))

    def pack(self, transport: Transport, lines: Sequence[bytes]) -> Prepared:
        """Lines in blocks for a transport."""
        return statsd_lines.pack(
            lines, statsd_lines.STREAM_BYTES if transport is Transport.TCP else self.datagram_bytes
        )

    def lines(self, kind: Kind, names: int) -> list[bytes]:
        """StatsD lines, the same for every peer."""
        make = statsd_lines.counters if kind is Kind.COUNTERS else statsd_lines.timers
        return make(statsd_lines.names(names), max(1, LINES // names))


def output_of(*command: str) -> str:
    """What a command prints, or nothing if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).strip()


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder for a peer's files."""
    with tempfile.TemporaryDirectory(prefix="taba-peer-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def started(
    command: Sequence[str], home: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose output goes to a file, once a TCP port of it takes connections (0: at once); ended in the end."""
    with open(home / "output", "wb") as output:
        process = subprocess.Popen(
            command, cwd=home, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        try:
            wait_for(process, home, port)
            yield process
        finally:
            _end(process)


def wait_for(process: subprocess.Popen[bytes], home: Path, port: int) -> None:
    """Until a port takes connections; RuntimeError with the output if the process ends before, or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while port:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError((home / "output").read_text(errors="replace")[-2_000:])
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here, and what it has started itself."""
    family = processes_of(process.pid)
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in family[1:]:
        with suppress(OSError):
            os.kill(pid, 9)
