"""Numbers of a process in the text format that Prometheus reads (version 0.0.4), and histograms to put into it. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/ has the format. An `Exposition` is filled once for each
request: families in the order of their first sample, each with one HELP and one TYPE line.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from math import inf

from attrs import define, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of histograms of times."""
DELIVERY_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0)
"""The same where what is measured may wait for servers that are away."""


@define
class Histogram:
    """How many observations were at most as large as each of some bounds, ascending; and their number and sum."""

    bounds: Sequence[float] = SECONDS
    counts: list[int] = field(init=False)
    """By bound, and one more for what is above all of them; not cumulative."""
    total: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@define
class _Family:
    """All samples of one name."""

    meaning: str
    kind: str
    lines: list[str] = field(factory=list)


@define
class Exposition:
    """The families of one answer. Names of metrics and labels must be as Prometheus has them, `[a-z_][a-z0-9_]*`."""

    _families: dict[str, _Family] = field(factory=dict)

    def counter(self, name: str, meaning: str, value: float | None, /, **labels: object) -> None:
        """A number that only rises while the process lives; `name` ends in `_total`. None gives no sample."""
        family = self._family(name, meaning, "counter")
        if value is not None:
            family.lines.append(_sample(name, labels, value))

    def gauge(self, name: str, meaning: str, value: float | None, /, **labels: object) -> None:
        """A number as it is now. None, which is not known, gives no sample."""
        family = self._family(name, meaning, "gauge")
        if value is not None:
            family.lines.append(_sample(name, labels, value))

    def gauges(self, name: str, meaning: str, label: str, values: Iterable[tuple[int, float]], /) -> None:
        """A gauge for each of many numbered things; `label` has the number. Cheap: there may be thousands."""
        before = f"{name}{{{label}=\""
        self._family(name, meaning, "gauge").lines += [f'{before}{key}"}} {_number(value)}' for key, value in values]

    def histogram(self, name: str, meaning: str, histogram: Histogram | None, /, **labels: object) -> None:
        """A histogram, with cumulative buckets. None, which is not known, gives no sample."""
        lines = self._family(name, meaning, "histogram").lines
        if histogram is None:
            return
        below = 0
        for bound, count in zip((*histogram.bounds, inf), histogram.counts, strict=True):
            below += count
            lines.append(_sample(f"{name}_bucket", {**labels, "le": _number(bound)}, below))
        lines.append(_sample(f"{name}_sum", labels, histogram.total))
        lines.append(_sample(f"{name}_count", labels, below))

    def ledger(self, name: str, meaning: str, lines: Mapping[str, int]) -> None:
        """A ledger, a sample for each line. Lines may fall (`pending` does), so they are gauges."""
        for line in sorted(lines):
            self.gauge(name, meaning, lines[line], line=line)

    def _family(self, name: str, meaning: str, kind: str) -> _Family:
        family = self._families.setdefault(name, _Family(meaning, kind))
        if family.kind != kind:
            raise ValueError(f"{name} is a {family.kind}, and no {kind}")
        return family

    def names(self) -> dict[str, str]:
        """Name -> kind, of all families, those without a sample among them."""
        return {name: family.kind for name, family in self._families.items()}

    def text(self) -> str:
        """The answer. A family without a sample is left out."""
        parts: list[str] = []
        for name, family in self._families.items():
            if family.lines:
                parts.append(f"# HELP {name} {_escaped(family.meaning)}")
                parts.append(f"# TYPE {name} {family.kind}")
                parts += family.lines
        return "\n".join([*parts, ""])


def _sample(name: str, labels: Mapping[str, object], value: float) -> str:
    inside = ",".join(f'{label}="{_quoted(str(each))}"' for label, each in labels.items())
    return f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}"


def _number(value: float) -> str:
    if type(value) is int:
        return repr(value)
    if value == inf:
        return "+Inf"
    if value == -inf:
        return "-Inf"
    return repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
