"""Runs groups of test modules, each in a process of its own, some at once; and prints what each says when it is over.

Tests of real processes mostly wait: several at a time cost little more than the longest of them. Others keep a core
busy, and are begun in the order of their length.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO

from attrs import define


@define
class _Running:
    name: str
    began: float
    process: subprocess.Popen[bytes]
    output: IO[bytes]


def _start(name: str, modules: Sequence[str]) -> _Running:
    output = tempfile.TemporaryFile()  # noqa: SIM115 - read when its process is over
    folder = f"--temp-directory=_trial_{name.replace('.', '_')}"
    command = [sys.executable, "-m", "twisted.trial", folder, *modules]
    return _Running(name, time.monotonic(), subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT), output)


def run(groups: Mapping[str, Sequence[str]], at_once: int, first: Sequence[str] = ()) -> int:
    """Run the modules of each group; those named in `first` are begun first. The greatest of the exit codes."""
    left = sorted(groups, key=lambda name: (name not in first, first.index(name) if name in first else 0, name))
    running: list[_Running] = []
    worst = 0
    while left or running:
        while left and len(running) < at_once:
            name = left.pop(0)
            running.append(_start(name, groups[name]))
        time.sleep(0.1)
        for each in [each for each in running if each.process.poll() is not None]:
            running.remove(each)
            each.output.seek(0)
            sys.stdout.write(each.output.read().decode("utf-8", "replace"))
            print(f"{each.name}: {time.monotonic() - each.began:.0f} s, status {each.process.returncode}", flush=True)
            worst = max(worst, abs(each.process.returncode))
    return worst
