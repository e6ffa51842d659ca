"""What be costs: Partials per CPU-second, from a log that is whole to States that are in the store.

A be and its store run in a process of their own, which does nothing else: its CPU time is taken from the moment at
which the log is opened to the be until the last checkpoint is written, with all threads of the store. The figures that
count are of rounds in which be has the States in memory, as it has while clients live. One round before makes them, and
one after begins with a be that has nothing in memory.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator

from tests.benchmarks.report import Figure

TABS, CLIENTS = 20_000, 10


def run() -> Iterator[Figure]:
    """Embedded, and on Redis where there is one."""
    stores = ["embedded", "redis"] if shutil.which("redis-server") is not None else ["embedded"]
    for store in stores:
        for times, goal in ((10, 500.0), (1, 100.0)):
            found = _rates(store, times)
            what = f"be, {store}, {TABS} tabs x {CLIENTS} clients, {times} per State and checkpoint"
            yield Figure(what, found["hot"], "thousand Partials per CPU-second", goal if store == "embedded" else None)
            yield Figure(f"{what}: new States", found["new"], "thousand Partials per CPU-second")
            yield Figure(f"{what}: nothing in memory", found["cold"], "thousand Partials per CPU-second")
            yield Figure(f"{what}: memory at most", found["memory"], "MiB")


def _rates(store: str, times: int) -> dict[str, list[float]]:
    arguments = [sys.executable, "-m", "tests.benchmarks.folding_be", store, str(TABS), str(CLIENTS), str(times)]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, check=True, timeout=1200)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found
