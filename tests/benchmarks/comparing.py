"""This build of Taba and another one, in turns within one run: `--against FOLDER`, a built checkout.

Each turn measures every figure once with either build, each in a process of its own that takes `taba` from there and
the benchmarks from here, so that both get the same bytes from the same sender, and a machine that is busy is busy for
both. The other's figures follow this one's, and then the ratio: of this build's to the other's, turn by turn, in the
median. Below 1 is worse for what should be much, better for what should be little.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import evolve

from tests.benchmarks import processes
from tests.benchmarks.asked import Asked
from tests.benchmarks.report import Figure, merged, read_json

TURNS = 5
TESTS = Path(__file__).absolute().parents[1]


def compared(name: str, asked: Asked, against: Path) -> Iterator[Figure]:
    """The figures of both builds, and their ratios."""
    builds = {"this": Path(processes.ROOT), "other": against.resolve()}
    made: dict[str, list[list[Figure]]] = {build: [] for build in builds}
    turns = asked.times(TURNS)
    for turn in range(turns):
        # Who begins changes: whatever a turn does to the machine, it does to both.
        for build in list(builds)[:: -1 if turn % 2 else 1]:
            asked.tell(f"{name}, turn {turn + 1} of {turns}: {build} build")
            made[build].append(_once(name, asked, builds[build]))
    yield from paired(made["this"], made["other"])


def paired(ours: Sequence[Sequence[Figure]], others: Sequence[Sequence[Figure]]) -> Iterator[Figure]:
    """Turns of figures of both builds -> each figure of this one, of the other one, and the ratios of the turns."""
    theirs = {each.name: each for each in merged(others)}
    for figure in merged(ours):
        yield figure
        other = theirs.get(figure.name)
        if other is None:
            continue
        yield evolve(other, name=f"{figure.name}: the other build", goal=None)
        if len(figure.runs) == len(other.runs) and all(other.runs):
            ratios = [mine / its for mine, its in zip(figure.runs, other.runs, strict=True)]
            what = f"{figure.name}: this build to the other"
            yield Figure(what, ratios, "times", less_is_better=figure.less_is_better, benchmark=figure.benchmark)


def words_of(name: str, asked: Asked) -> list[str]:
    """The command line that asks the same for one run."""
    words = [name, *asked.words, "--runs", "1"]
    if asked.events is not None:
        words += ["--events", str(asked.events)]
    for axis, values in asked.axes.items():
        words += [f"--{axis}", ",".join(str(value) for value in values)]
    return words


def _once(name: str, asked: Asked, build: Path) -> list[Figure]:
    """All figures of a benchmark with a build, each measured once."""
    with tempfile.TemporaryDirectory(prefix="taba-bench-") as folder:
        home, path = Path(folder), Path(folder) / "bench.json"
        for what, where in _links(build).items():
            (home / what).symlink_to(where)
        words = [sys.executable, "-m", "tests.benchmarks", *words_of(name, asked), "--json", str(path)]
        environment = {**os.environ, "PYTHONPATH": folder}
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{name} with {build}: {done.stderr[-2000:]}")
        return read_json(path)


def _links(build: Path) -> Mapping[str, Path]:
    """What a folder has to have, in which `taba` is that of a build, with its plugins, and `tests` are these."""
    plugins = {"twisted": build / "twisted"} if (build / "twisted" / "plugins").is_dir() else {}
    return {"taba": build / "taba", "tests": TESTS, **plugins}
