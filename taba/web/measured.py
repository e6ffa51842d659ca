"""What a site answered, counted for /metrics: how many requests of each path by status, and how long they took. Pure.

Labels are bounded: paths that nobody knows are one, and statuses are those that Taba answers with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import define, field

from taba.metrics import Exposition, Histogram

OTHER = "other"
"""Stands for all paths that there are not."""


@define
class AnsweredRequests:
    """The answers of one or more sites since the process began. `known` are the paths that have numbers of their own.
    """

    known: set[str] = field(factory=set)
    _answers: Counter[tuple[str, int]] = field(factory=Counter)
    _seconds: dict[str, Histogram] = field(factory=dict)

    def know(self, paths: Iterable[str]) -> None:
        """These paths, without the slash before them, have numbers of their own."""
        self.known.update(f"/{path}" for path in paths)

    def answered(self, path: bytes, status: int, seconds: float) -> None:
        """A request was answered, so long after its headers had come."""
        name = path.decode("latin-1")
        if name not in self.known:
            name = OTHER
        self._answers[name, status] += 1
        histogram = self._seconds.get(name)
        if histogram is None:
            histogram = self._seconds[name] = Histogram()
        histogram.observe(seconds)

    def expose(self, into: Exposition, prefix: str) -> None:
        """The numbers, under names that begin with a prefix."""
        requests, seconds = f"{prefix}_http_requests_total", f"{prefix}_http_request_seconds"
        meaning = "Requests answered on ports of this process, by path and status."
        into.counter(requests, meaning, None)
        for (path, status), count in sorted(self._answers.items()):
            into.counter(requests, meaning, count, path=path, status=status)
        meaning = "Time from the headers of a request to the end of its answer."
        into.histogram(seconds, meaning, None)
        for path, histogram in sorted(self._seconds.items()):
            into.histogram(seconds, meaning, histogram, path=path)
