"""What the tests of processes need of this machine: ports, an environment, patience.

REAL: sockets and real time.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import taba

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds until a test gives up waiting for something that takes one or two on a machine that is not busy: how fast
something is on a machine that is, no test can say.
"""
POLL_SECONDS = 0.04
TEST_PORTS = range(10_000, 32_000)
"""Below what Linux gives to outgoing connections, so that none of these takes the port of a process that is down."""
REPOSITORY = Path(__file__).resolve().parents[2]
"""Where docs/ is."""
_given = os.open(Path(tempfile.gettempdir()) / f"taba-test-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT, 0o600)
"""A file with a byte for each port: the process that has locked it was given the port, and has it until it ends."""
_mine: set[int] = set()


def until(condition: Callable[[], T], within: float, what: str | Callable[[], str]) -> T:
    """What `condition` answers as soon as that is true; AssertionError, which says `what`, after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what() if callable(what) else what}")
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now. Nobody is given it by chance, nor another test of this machine as long
    as this process lives.
    """
    chance = random.SystemRandom()
    for _ in range(1000):
        port = chance.choice(TEST_PORTS)
        if port in _mine or not _locked(port):
            continue
        _mine.add(port)
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def _locked(port: int) -> bool:
    """Whether no other process has the port's lock; then it is this one's."""
    try:
        fcntl.lockf(_given, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def environment() -> dict[str, str]:
    """The environment of a process: its Python finds the same packages as this one, `taba` among them."""
    home = Path(taba.__file__).resolve().parent.parent
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("TABA_", "PYTHON"))}
    if home not in installed:
        variables["PYTHONPATH"] = str(home)
    return variables


def heed_interrupts() -> None:
    """For a child, before it runs: Ctrl-C ends it, though this test run may have been started with it ignored, as what
    a shell runs in the background is.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def memory_of(pid: int, line: str = "VmRSS") -> int:
    """Bytes of memory of a process, by the named line of its /proc/PID/status."""
    for each in Path(f"/proc/{pid}/status").read_text().splitlines():
        if each.startswith(f"{line}:"):
            return int(each.split()[1]) * 1024
    raise AssertionError(f"no {line} in the status of process {pid}")
