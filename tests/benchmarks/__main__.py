"""`python -m tests.benchmarks [NAME...] [options]`: the benchmarks that are named, or the usual ones; a table on
stdout, what is going on on stderr, all of it with every run in a JSON file. `--list` says what there is.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from tests.benchmarks.asked import AXES, Asked
from tests.benchmarks.catalogue import BENCHMARKS, PROGRAMS, Benchmark, listing
from tests.benchmarks.comparing import compared
from tests.benchmarks.progress import Progress
from tests.benchmarks.report import HEADER, Figure, merged, write_json

EXAMPLES = """examples:
  python -m tests.benchmarks                                  the usual ones (some 20 minutes)
  python -m tests.benchmarks intake fold --runs 9
  python -m tests.benchmarks intake --tabs 200000 --per-tab 1 --clients 300 --values log-normal --kind gauges
  python -m tests.benchmarks intake --protocol 1,columns --tabs 200,20000 --per-tab 1,10,300     twelve workloads
  python -m tests.benchmarks intake --against ../before       this build and another, in turns, with ratios
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, epilog=EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks; --list says which there are")
    parser.add_argument("--list", action="store_true", help="list them, and end")
    parser.add_argument("--runs", metavar="N", help="of each stage; median and spread are of these")
    parser.add_argument("--events", metavar="N", help="of each run, about: for short ones")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), metavar="FILE", help="[bench.json]")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="a built checkout of Taba to compare this with")
    workloads = parser.add_argument_group(
        "workloads", "Each option takes several values with commas; every combination is measured."
    )
    for axis in AXES.values():
        values = ",".join(axis.words) if axis.words is not None else "N[,N...]"
        workloads.add_argument(f"--{axis.name}", metavar=values, help=axis.says)
    return parser


def _number(parser: argparse.ArgumentParser, option: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isdecimal() and text.isascii() and int(text)):
        parser.error(f"--{option} {text}: it is a whole number from 1 on")
    return int(text)


def _chosen(parser: argparse.ArgumentParser, names: Sequence[str]) -> tuple[list[Benchmark], Sequence[str]]:
    """The benchmarks that are named, and the words after the name of one that takes some."""
    if names and names[0] in BENCHMARKS and BENCHMARKS[names[0]].words:
        benchmark = BENCHMARKS[names[0]]
        if not benchmark.takes(names[1:]):
            parser.error(f"{benchmark.name} takes {benchmark.words}, not {' '.join(names[1:])}")
        return [benchmark], names[1:]
    for name in names:
        if name in PROGRAMS:
            parser.error(f"{name} has a command line of its own: python -m tests.benchmarks {name} --help")
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name!r}; --list says which there are")
        if BENCHMARKS[name].words:
            parser.error(f"{name} takes the words after it, so it is run by itself, and named first")
    if names:
        return [BENCHMARKS[name] for name in dict.fromkeys(names)], ()
    return [each for each in BENCHMARKS.values() if not each.asked_for], ()


def _axes(parser: argparse.ArgumentParser, said: dict[str, Any], chosen: Sequence[Benchmark]) -> dict[str, Any]:
    found = {}
    for name, axis in AXES.items():
        text = said[name.replace("-", "_")]
        if text is None:
            continue
        for each in chosen:
            if name not in each.axes:
                takes = ", ".join(f"--{one}" for one in each.axes) or "no options of workloads"
                parser.error(f"{each.name} takes no --{name}; it takes {takes}")
        try:
            found[name] = axis.parse(text)
        except ValueError as problem:
            parser.error(str(problem))
    return found


def figures_of(benchmark: Benchmark, asked: Asked) -> Iterator[Figure]:
    """Run one benchmark as often as it is asked for."""
    if benchmark.counts_runs or asked.times(1) == 1:
        figures: Iterator[Figure] = benchmark.run(asked)
    else:
        rounds = []
        for number in range(1, asked.times(1) + 1):
            asked.tell(f"{benchmark.name}, round {number} of {asked.times(1)}")
            rounds.append(list(benchmark.run(evolve(asked, runs=1))))
        figures = iter(merged(rounds))
    for figure in figures:
        yield evolve(figure, benchmark=benchmark.name)


def main(arguments: Sequence[str]) -> int:
    """Run, print each figure as it is there, write the file. The exit code."""
    if arguments and arguments[0] in PROGRAMS:
        return PROGRAMS[arguments[0]].run(arguments[1:]) or 0
    parser = _parser()
    said = vars(parser.parse_intermixed_args(arguments))
    if said["list"]:
        print(listing())
        return 0
    chosen, words = _chosen(parser, said["names"])
    axes = _axes(parser, said, chosen)
    events = _number(parser, "events", said["events"])
    if events is not None and (unable := [each.name for each in chosen if not each.sized]):
        parser.error(f"{', '.join(unable)}: no --events there")
    if said["against"] is not None and not (said["against"] / "taba" / "__init__.py").exists():
        parser.error(f"--against {said['against']}: no checkout of Taba is there")
    progress = Progress(sys.stderr, time.monotonic, time.monotonic())
    asked = Asked(_number(parser, "runs", said["runs"]), events, axes, words, progress.tell)
    options = {name: str(value) for name, value in said.items() if value}
    return _measure(chosen, asked, progress, said["json"], said["against"], options)


def _measure(
    chosen: Sequence[Benchmark], asked: Asked, progress: Progress, path: Path, against: Path | None,
    options: dict[str, str],
) -> int:  # fmt: skip
    figures: list[Figure] = []
    print(HEADER, flush=True)
    for number, benchmark in enumerate(chosen, 1):
        progress.tell(f"{benchmark.name}: {benchmark.says} ({number} of {len(chosen)})")
        made = figures_of(benchmark, asked) if against is None else compared(benchmark.name, asked, against)
        for figure in made:
            progress.clear()
            print(figure.line(), flush=True)
            figures.append(figure)
            write_json(figures, path, options)
    progress.clear()
    print(f"written to {path.resolve()}")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that what was started is ended
    sys.exit(main(sys.argv[1:]))
