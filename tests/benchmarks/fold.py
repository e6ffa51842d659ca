"""What be costs: Partials per CPU-second, from a log that is whole to States that are in the store.

A be and its store run in a process of their own, which does nothing else: its CPU time is taken from the moment at
which the log is opened to the be until the last checkpoint is written, with all threads of the store. The figures that
count are of rounds in which be has the States in memory, as it has while clients live. One round before makes them, and
one after begins with a be that has nothing in memory. The peak of memory is that of the whole process, which makes the
batches, too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from attrs import asdict

from tests.benchmarks import processes
from tests.benchmarks.asked import AS_USUAL, TYPES, Asked
from tests.benchmarks.folding_be import Shape
from tests.benchmarks.report import Figure, Run, figure_of

GOALS = {10: 500.0, 1: 100.0}
"""Thousand Partials per CPU second on the embedded store, by those per State and checkpoint."""
KINDS = {"hot": "", "new": ": new States", "cold": ": nothing in memory"}


def run(asked: Asked = AS_USUAL) -> Iterator[Figure]:
    """Embedded, and on Redis where there is one."""
    stores = ["embedded", "redis"]
    chosen = asked.combinations(
        store=stores, per_checkpoint=[10, 1], tabs=20_000, clients=10, per_tab=1, kind="counters", values="decimal"
    )
    for each in chosen:
        if each["store"] == "redis" and shutil.which("redis-server") is None:
            print("redis-server is not installed: be is not measured on Redis")
            return
        shape = Shape(
            each["store"], each["tabs"], each["clients"], each["per_checkpoint"], each["per_tab"],
            TYPES[each["kind"]], each["values"], asked.times(2),
        )  # fmt: skip
        asked.tell(f"be, {shape}")
        usual = not set(asked.axes) - {"store", "per-checkpoint"} and shape.store == "embedded"
        for kind, runs in _runs(shape).items():
            goal = GOALS.get(shape.times) if usual and kind == "hot" else None
            yield figure_of(f"be, {shape}{KINDS[kind]}", runs, goal, of="Partials", scale="thousand")


def _runs(shape: Shape) -> dict[str, list[Run]]:
    arguments = [sys.executable, "-m", "tests.benchmarks.folding_be", json.dumps(asdict(shape))]
    homes = [processes.ROOT, str(Path(__file__).parents[2])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(homes)}
    done = subprocess.run(arguments, stdout=subprocess.PIPE, check=True, timeout=1200, env=environment)
    found: dict[str, list[dict[str, float]]] = json.loads(done.stdout.splitlines()[-1])
    return {kind: [Run(**run) for run in found[kind]] for kind in KINDS}  # type: ignore[arg-type]
