"""Figures, as a table and as JSON.

A stage of serving has the same columns everywhere: how many events a second of processor time of what serves is good
for (user and system, all its threads), their median and spread over the runs; the nanoseconds that one of them takes;
the rate by the clock on the wall; the most resident memory; and how busy what sends was at most. Other figures (bytes,
ratios, latencies) have median, unit and spread.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import asdict, evolve, frozen

import taba

MIB = 1 << 20
TICK = 1 / os.sysconf("SC_CLK_TCK")
"""The least that the kernel tells of a process's time."""
SCALES = {"million": 1e6, "thousand": 1e3}
NAME, UNIT_WIDTH, SPREAD = 92, 34, 17
HEADER = (
    f"{'what':<{NAME}} {'median':>8} {'unit':<{UNIT_WIDTH}} {'least to most':>{SPREAD}} "
    f"{'ns each':>9} {'by the wall':>11} {'peak MiB':>8} {'sender':>6}  aim"
)


@frozen
class Run:
    """One run of a stage: so many events, each of them counted at its end."""

    events: int
    cpu: float
    """Seconds of processor time, user and system, of the processes that serve."""
    wall: float
    peak: int
    """The most resident bytes of one of them."""
    sender: float | None = None
    """Seconds of processor time of what sends: where that is all of `wall`, it was the sender that was measured. None
    where nothing sends while it is measured.
    """


@frozen
class Figure:
    """One measured figure: its runs, its unit, and what was aimed at."""

    name: str
    runs: Sequence[float]
    unit: str
    goal: float | None = None
    less_is_better: bool = False
    stages: Sequence[Run] = ()
    """Of a stage of serving: what each run took."""
    scale: float = 1e6
    """What the rates of a stage are divided by."""
    benchmark: str = ""

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.runs)

    @property
    def reached(self) -> bool | None:
        """Whether the median is what was aimed at; None where nothing was."""
        if self.goal is None:
            return None
        return self.median <= self.goal if self.less_is_better else self.median >= self.goal

    def line(self) -> str:
        """The row of the table, under HEADER."""
        spread = f"{min(self.runs):.4g} to {max(self.runs):.4g}" if len(self.runs) > 1 else "one run"
        aim = ""
        if self.goal is not None:
            aim = f"{'<=' if self.less_is_better else '>='} {self.goal:g}: {'yes' if self.reached else 'NO'}"
        value = f"{self.median:>8.4g} {self.unit:<{UNIT_WIDTH}} {spread:>{SPREAD}}"
        return f"{self.name:<{NAME}} {value} {self._more()}  {aim}".rstrip()

    def _more(self) -> str:
        """The further columns of a stage."""
        if not self.stages:
            return f"{'':>9} {'':>11} {'':>8} {'':>6}"
        each = statistics.median([run.cpu / run.events * 1e9 for run in self.stages])
        wall = statistics.median([run.events / run.wall / self.scale for run in self.stages])
        peak = max(run.peak for run in self.stages) / MIB
        busy = [run.sender / run.wall for run in self.stages if run.sender is not None]
        sender = f"{max(busy) * 100:.0f} %" if busy else "none"
        return f"{each:>9,.0f} {wall:>11.4g} {peak:>8.0f} {sender:>6}"


def figure_of(
    name: str, runs: Sequence[Run], goal: float | None = None, *, of: str = "events", scale: str = "million"
) -> Figure:
    """The figure of a stage: millions, or thousands, of events per second of processor time of what serves."""
    by = SCALES[scale]
    rates = [each.events / (each.cpu or TICK) / by for each in runs]
    return Figure(name, rates, f"{scale} {of} per CPU second", goal, stages=tuple(runs), scale=by)


def merged(rounds: Sequence[Sequence[Figure]]) -> list[Figure]:
    """Figures of the same names, measured several times over, as one each with all their runs."""
    found: dict[str, list[Figure]] = {}
    for figures in rounds:
        for each in figures:
            found.setdefault(each.name, []).append(each)
    return [
        evolve(
            same[0],
            runs=[run for each in same for run in each.runs],
            stages=tuple(run for each in same for run in each.stages),
        )
        for same in found.values()
    ]


def _revision(folder: Path) -> str | None:
    """The commit of a checkout, `+` where it is changed; None for what is not one."""
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def build() -> dict[str, str | None]:
    """Which Taba is measured."""
    folder = Path(taba.__file__).resolve().parents[1]
    return {"version": taba.__version__, "folder": str(folder), "revision": _revision(folder)}


def machine() -> dict[str, object]:
    """What it is measured on, and how busy that was in the end."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
    }


def _as_json(figure: Figure) -> dict[str, object]:
    return {
        "benchmark": figure.benchmark,
        "name": figure.name,
        "median": figure.median,
        "least": min(figure.runs),
        "most": max(figure.runs),
        "runs": list(figure.runs),
        "unit": figure.unit,
        "goal": figure.goal,
        "less_is_better": figure.less_is_better,
        "reached": figure.reached,
        "stages": [asdict(run) for run in figure.stages],
        "scale": figure.scale,
    }


def write_json(figures: Sequence[Figure], path: Path, options: Mapping[str, object] | None = None) -> None:
    """All figures as one JSON object."""
    document = {
        "machine": machine(),
        "build": build(),
        "options": dict(options or {}),
        "figures": [_as_json(each) for each in figures],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> list[Figure]:
    """The figures of a file that `write_json` wrote."""
    document = json.loads(path.read_text(encoding="utf-8"))
    fields = ("name", "runs", "unit", "goal", "less_is_better", "scale", "benchmark")
    return [
        Figure(**{name: row[name] for name in fields}, stages=tuple(Run(**run) for run in row["stages"]))
        for row in document["figures"]
    ]
