"""Runs the benchmarks named on the command line, or all: `python -m tests.benchmarks [sizes] [quantiles] [merging]
[intake] [client] [fold] [queries] [redis] [tako]`; and those that take long, each by itself: `overload [CASE...]`,
`fleet [CLIENTS [TABS [SERVERS]]]`, `intake-all`, `whole [SECONDS]`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.benchmarks import (
    client,
    fleet,
    fold,
    intake,
    merging,
    overload,
    quantiles,
    queries,
    redis,
    sizes,
    tako,
    whole,
)
from tests.benchmarks.report import Figure, write_json

BENCHMARKS = {
    "sizes": sizes.run,
    "quantiles": quantiles.run,
    "merging": merging.run,
    "intake": intake.run,
    "client": client.run,
    "fold": fold.run,
    "queries": queries.run,
    "redis": redis.run,
    "tako": tako.run,
}
LONG: dict[str, Callable[[Sequence[str]], Iterator[Figure]]] = {
    "overload": overload.run,
    "fleet": fleet.run,
    "intake-all": intake.run_all,
    "whole": whole.run,
}


def main(names: list[str]) -> None:
    """Run, print each figure as it is there, write bench.json."""
    figures: list[Figure] = []
    if names and names[0] in LONG:
        chosen: list[Callable[[], Iterator[Figure]]] = [lambda: LONG[names[0]](names[1:])]
    else:
        chosen = [BENCHMARKS[name] for name in names or BENCHMARKS]
    for benchmark in chosen:
        for figure in benchmark():
            print(figure.line(), flush=True)
            figures.append(figure)
    path = Path("bench.json").resolve()
    write_json(figures, path)
    print(f"written to {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
