"""What the command line asks of a benchmark: how many runs, of how many events, and which workloads.

A workload is a choice on each of some axes. Every axis is an option that takes one value or several with commas, and
each combination of them is measured: `--tabs 200,20000 --per-tab 1,10` is four workloads. What is not said stays as
the benchmark has it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from attrs import field, frozen

T = TypeVar("T")

TYPES = {"counters": "CounterGroup", "percentiles": "PercentileGroup", "gauges": "Gauge"}
"""The Type of each kind of events."""
VALUES = {"integral": "integral", "decimal": "decimal", "log-normal": "log-normal", "lognormal": "log-normal"}


@frozen
class Axis:
    """One option of workloads, and what it may be."""

    name: str
    says: str
    words: Mapping[str, Any] | None = None
    """Word -> value; None: any whole number from 1 on."""

    def parse(self, text: str) -> tuple[Any, ...]:
        """The values of `A,B,C`; ValueError, which says what is allowed, for anything else."""
        return tuple(dict.fromkeys(self._value(word) for word in text.split(",")))

    def _value(self, word: str) -> Any:
        if self.words is not None:
            if word in self.words:
                return self.words[word]
            raise ValueError(f"--{self.name} {word or '(nothing)'}: it is one of {', '.join(self.words)}")
        if word.isdecimal() and word.isascii() and int(word):
            return int(word)
        raise ValueError(f"--{self.name} {word or '(nothing)'}: it is a whole number from 1 on")


def _same(*words: str) -> dict[str, str]:
    return {word: word for word in words}


AXES = {
    axis.name: axis
    for axis in (
        Axis("protocol", "of HTTP: 1 (text) or columns (protocol 2)", _same("1", "columns")),
        Axis("transport", "of StatsD", _same("tcp", "udp")),
        Axis("kind", "of events", _same(*TYPES)),
        Axis("tabs", "in a request; of StatsD, names"),
        Axis("per-tab", "events of a tab and request; of be, of a Partial; of StatsD, of a name in what is prepared"),
        Axis("clients", "that take turns"),
        Axis("values", "how they are distributed", VALUES),
        Axis("connections", "kept busy at a time"),
        Axis("store", "below the servers", _same("embedded", "redis")),
        Axis("per-checkpoint", "Partials per State and checkpoint"),
    )
}


def _nobody(_: str) -> None:
    return None


@frozen
class Asked:
    """What a benchmark is asked for."""

    runs: int | None = None
    events: int | None = None
    """About so many in a run."""
    axes: Mapping[str, Sequence[Any]] = field(factory=dict)
    """Axis -> its values, of those that were said."""
    words: Sequence[str] = ()
    """What follows the name, of a benchmark that takes words."""
    tell: Callable[[str], None] = _nobody
    """Called with what is going on."""

    def combinations(self, **defaults: Any) -> list[dict[str, Any]]:
        """Each combination of the axes named by the keywords (`per_tab` is the axis `per-tab`). A default is one value,
        or a list of them.
        """
        choices = [
            self.axes.get(name.replace("_", "-"), value if isinstance(value, list) else [value])
            for name, value in defaults.items()
        ]
        return [dict(zip(defaults, each, strict=True)) for each in itertools.product(*choices)]

    def times(self, usual: int) -> int:
        """How many runs, where the benchmark has so many usually."""
        return self.runs if self.runs is not None else usual

    def rounds(self, what: str, usual: int) -> Iterator[int]:
        """1, 2, ... for each run; says which it is."""
        times = self.times(usual)
        for number in range(1, times + 1):
            self.tell(f"{what}, run {number} of {times}")
            yield number

    def repeat(self, what: str, usual: int, run: Callable[[], T]) -> list[T]:
        """Run it so many times; says which run it is."""
        return [run() for _ in self.rounds(what, usual)]


AS_USUAL = Asked()
"""Nothing in particular."""
