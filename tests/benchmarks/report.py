"""Figures, as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

from attrs import asdict, frozen

UNIT = "million events per CPU second"


@frozen
class Run:
    """One run of a stage: so many events, each of them counted at its end."""

    events: int
    cpu: float
    """Seconds of processor time, user and system, of the processes that serve."""
    wall: float
    peak: int
    """The most resident bytes of one of them."""
    sender: float = 0.0
    """Seconds of processor time of what sends: where that is all of `wall`, it was the sender that was measured."""


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

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.runs)

    def line(self) -> str:
        """The row of the table."""
        spread = f" ({min(self.runs):.4g} to {max(self.runs):.4g})" if len(self.runs) > 1 else ""
        goal = ""
        if self.goal is not None:
            reached = self.median <= self.goal if self.less_is_better else self.median >= self.goal
            goal = f"   {'<=' if self.less_is_better else '>='} {self.goal:g}: {'yes' if reached else 'NO'}"
        return f"{self.name:<66} {self.median:>9.4g} {self.unit}{spread}{self._more()}{goal}"

    def _more(self) -> str:
        """The further columns of a stage."""
        if not self.stages:
            return ""
        wall = statistics.median([each.events / each.wall / 1e6 for each in self.stages])
        peak = max(each.peak for each in self.stages) / (1 << 20)
        sender = max(each.sender / each.wall for each in self.stages) * 100
        return f"; {wall:.3g} million a second, peak {peak:.0f} MiB, sender at most {sender:.0f} % busy"


def figure_of(name: str, runs: Sequence[Run], goal: float | None = None) -> Figure:
    """The figure of a stage: millions of events per second of processor time of what serves."""
    return Figure(name, [each.events / each.cpu / 1e6 for each in runs], UNIT, goal, stages=runs)


def write_json(figures: Sequence[Figure], path: Path) -> None:
    """All figures as one JSON object."""
    rows = [
        {
            "name": each.name,
            "median": each.median,
            "runs": list(each.runs),
            "unit": each.unit,
            "goal": each.goal,
            "stages": [asdict(run) for run in each.stages],
        }
        for each in figures
    ]
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
    }
    path.write_text(json.dumps({"machine": machine, "figures": rows}, indent=1) + "\n", encoding="utf-8")
