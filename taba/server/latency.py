"""How long events are on their way, as a server sees it: medians over the last ten minutes. Pure.

The enqueue latency of a batch is the time from the commit of its oldest events by an agent to its append; the processed
latency of a log entry that from its append to the checkpoint that made it visible. Windows end that much before now, so
that they show what has come in whole (see `Query`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any, Final

from attrs import define, field, frozen

SLOT_SECONDS: Final = 10.0
SLOTS: Final = 60
"""Values are kept for so many slots."""
SLOT_VALUES: Final = 1_000
"""How many values of one slot are kept; beyond that evenly some of them."""

ENQUEUE: Final = "enqueue"
PROCESSED: Final = "processed"


@define
class _Slot:
    """The values of ten seconds."""

    number: int
    values: list[float] = field(factory=list)
    step: int = 1
    """Every so many-th value is kept."""
    seen: int = 0

    def add(self, value: float) -> None:
        self.seen += 1
        if self.seen % self.step:
            return
        self.values.append(value)
        if len(self.values) >= SLOT_VALUES:
            self.values = self.values[1::2]
            self.step *= 2


@define
class LatencyTracker:
    """The latencies of one server. Times are seconds on any clock that does not step."""

    _slots: dict[str, deque[_Slot]] = field(factory=dict)

    def add(self, kind: str, seconds: float, now: float) -> None:
        """A latency of a kind was seen; one below 0, of clocks that differ, counts as 0."""
        slots = self._slots.setdefault(kind, deque())
        number = int(now // SLOT_SECONDS)
        if not slots or slots[-1].number < number:
            slots.append(_Slot(number))
        slots[-1].add(max(0.0, seconds))
        self._forget(slots, now)

    def median(self, kind: str, now: float) -> float | None:
        """The median of the last ten minutes, None where nothing was seen."""
        slots = self._slots.get(kind, deque())
        self._forget(slots, now)
        # Each value stands for as many as its slot has left out.
        values = sorted((value, slot.step) for slot in slots for value in slot.values)
        if all(step == 1 for _, step in values):
            return median(value for value, _ in values) if values else None
        half, seen = sum(step for _, step in values) / 2, 0
        for value, step in values:
            seen += step
            if seen >= half:
                return value
        return None

    def _forget(self, slots: deque[_Slot], now: float) -> None:
        oldest = int(now // SLOT_SECONDS) - SLOTS
        while slots and slots[0].number <= oldest:
            slots.popleft()


@frozen
class Latencies:
    """The means over servers, in seconds; 0.0 where no server has seen anything."""

    enqueue: float = 0.0
    processed: float = 0.0

    @property
    def cluster(self) -> float:
        """How long an event is on its way."""
        return self.enqueue + self.processed

    @classmethod
    def of(cls, members: Iterable[Mapping[str, Any]]) -> Latencies:
        """Those of the facts that servers publish."""
        known = list(members)
        return cls(_mean(known, ENQUEUE), _mean(known, PROCESSED))


def _mean(members: Iterable[Mapping[str, Any]], kind: str) -> float:
    values = [float(facts[kind]) for facts in members if isinstance(facts.get(kind), int | float)]
    return sum(values) / len(values) if values else 0.0
