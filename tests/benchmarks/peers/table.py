"""Cells as a table for people, and as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.peers.measuring import Cell
from tests.benchmarks.peers.peer import Kind, Transport
from tests.benchmarks.peers.taba_agent import AGENT_ROW

HEADER = (
    "| peer | | names | k events per CPU-second | spread | k events/s by the wall | peak MiB | lost | Taba's to this |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
)
_Key = tuple[Transport, Kind, int, float | None]


def key(cell: Cell) -> _Key:
    """What has to be equal for two cells to be comparable."""
    return cell.transport, cell.kind, cell.names, cell.offered


def median_rate(cell: Cell, row: str) -> float:
    """Events per CPU second, the median of the runs."""
    return statistics.median(run.rate(row) for run in cell.runs)


def own_rates(cells: Sequence[Cell]) -> dict[_Key, float]:
    """Of Taba's agent, what each other row is compared with."""
    return {key(cell): median_rate(cell, AGENT_ROW) for cell in cells if AGENT_ROW in cell.rows}


def lines(cell: Cell, own: Mapping[_Key, float]) -> list[str]:
    """The rows of a cell; without Taba's figure the ratio stays open."""
    made = []
    for row in cell.rows:
        rates = [run.rate(row) / 1e3 for run in cell.runs]
        wall = statistics.median(run.counted / run.seconds for run in cell.runs) / 1e3
        lost, sent = sum(run.lost for run in cell.runs), sum(run.sent for run in cell.runs)
        share = "0" if not lost else f"{lost:,} ({100 * lost / sent:.2g} %)"
        way = cell.transport.value if cell.offered is None else f"UDP, offered {cell.offered / 1e3:,.0f} k/s"
        ratio = f"{own[key(cell)] / median_rate(cell, row):.2f}" if key(cell) in own else "not yet"
        made.append(
            f"| {row} | {cell.kind.value}, {way} | {cell.names:,} | {statistics.median(rates):,.0f} "
            f"| {min(rates):,.0f} to {max(rates):,.0f} | {wall:,.0f} | {cell.memory[row] / (1 << 20):,.0f} "
            f"| {share} | {ratio} |"
        )
    return made


def table(cells: Sequence[Cell]) -> str:
    """All cells, comparable ones under one another."""
    own = own_rates(cells)
    order = {key(cell): None for cell in sorted(cells, key=_rank)}
    rows = [line for each in order for cell in cells if key(cell) == each for line in lines(cell, own)]
    return "\n".join((*HEADER, *rows))


def _rank(cell: Cell) -> tuple[bool, str, str, int]:
    return cell.offered is not None, cell.transport.value, cell.kind.value, cell.names


def write_json(
    cells: Sequence[Cell], versions: Mapping[str, str], missing: Mapping[str, str], options: object, path: Path
) -> None:
    """Everything measured, run by run."""
    rows = [
        {
            "row": row, "transport": cell.transport.value, "kind": cell.kind.value, "names": cell.names,
            "offered": cell.offered, "events_per_cpu_second": median_rate(cell, row), "peak_bytes": cell.memory[row],
            "runs": [
                {"sent": run.sent, "counted": run.counted, "seconds": run.seconds, "cpu_seconds": run.cpu[row],
                 "datagrams_dropped": run.dropped, "generator_cpu_seconds": run.generator_cpu}
                for run in cell.runs
            ],
        }
        for cell in cells
        for row in cell.rows
    ]  # fmt: skip
    machine = {"system": platform.platform(), "cpus": os.cpu_count(), "load": os.getloadavg()}
    document = {"machine": machine, "options": options, "versions": versions, "not_measured": missing, "cells": rows}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
