"""Runs the tests on real servers: `python -m tests.redis [MODULE...]`, each module in a process of its own, some at
once.

They mostly wait, for Sentinels above all, so that several at a time cost little more than the longest of them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

AT_ONCE = 5
FIRST = ("test_chaos", "test_failover", "test_links")
"""Those that take longest."""


def start(module: str) -> tuple[str, float, subprocess.Popen[bytes], IO[bytes]]:
    """A module's tests, begun."""
    output = tempfile.TemporaryFile()  # noqa: SIM115 - read when its process is over
    command = [sys.executable, "-m", "twisted.trial", f"--temp-directory=_trial_{module}", f"tests.redis.{module}"]
    return module, time.monotonic(), subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT), output


def main(arguments: list[str]) -> int:
    """The greatest of the exit codes."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    left = arguments or [*(name for name in FIRST if name in found), *(name for name in found if name not in FIRST)]
    running: list[tuple[str, float, subprocess.Popen[bytes], IO[bytes]]] = []
    worst = 0
    while left or running:
        while left and len(running) < AT_ONCE:
            running.append(start(left.pop(0)))
        time.sleep(0.1)
        for each in [each for each in running if each[2].poll() is not None]:
            running.remove(each)
            module, began, process, output = each
            output.seek(0)
            sys.stdout.write(output.read().decode("utf-8", "replace"))
            print(f"{module}: {time.monotonic() - began:.0f} s, status {process.returncode}", flush=True)
            worst = max(worst, abs(process.returncode))
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
