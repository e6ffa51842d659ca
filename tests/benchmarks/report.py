"""Figures, as a table and as JSON."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen


@frozen
class Figure:
    """One measured figure: its runs, its unit, and what was aimed at."""

    name: str
    runs: Sequence[float]
    unit: str
    goal: float | None = None
    less_is_better: bool = False

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
        return f"{self.name:<66} {self.median:>9.4g} {self.unit}{spread}{goal}"


def write_json(figures: Sequence[Figure], path: Path) -> None:
    """All figures as one JSON object."""
    rows = [
        {"name": each.name, "median": each.median, "runs": list(each.runs), "unit": each.unit, "goal": each.goal}
        for each in figures
    ]
    machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.platform()}
    path.write_text(json.dumps({"machine": machine, "figures": rows}, indent=1) + "\n", encoding="utf-8")
