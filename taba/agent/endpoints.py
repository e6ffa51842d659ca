"""Which server an agent turns to next: the better of two chosen at random, leaving alone for a while what fails.
Pure.

The score of an endpoint is its requests under way, weighed by how long it took lately and by how often it failed;
both fade with time, so that an endpoint that has recovered gets its share back gently. After a failure it rests for a
time that doubles with each further one, jittered so that many agents do not come back at once.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp

from attrs import define, field

FADE_SECONDS = 10.0
"""After so long an old observation counts a third of a new one."""
FIRST_REST = 0.5
"""Seconds that an endpoint rests after its first failure, before jitter."""
LONGEST_REST = 15.0


@define(eq=False)
class EndpointState:
    """What is known of one endpoint."""

    name: str
    under_way: int = 0
    latency: float = 0.05
    """Seconds, fading."""
    failures: float = 0.0
    """The share of requests that failed, fading."""
    failed_in_a_row: int = 0
    resting_until: float = float("-inf")
    updated: float = 0.0

    def score(self) -> float:
        """Less is better."""
        return (self.under_way + 1) * self.latency * (1.0 + 20.0 * self.failures)


@define
class Endpoints:
    """The endpoints of an agent. `chance` gives numbers in [0, 1); times are of a monotonic clock."""

    chance: Callable[[], float]
    most_under_way: int
    """Requests that one endpoint gets at a time."""
    states: list[EndpointState] = field(factory=list)

    @classmethod
    def of(cls, names: list[str], chance: Callable[[], float], most_under_way: int) -> Endpoints:
        """Endpoints of which nothing is known yet."""
        return cls(chance, most_under_way, [EndpointState(name) for name in names])

    def choose(self, now: float) -> int | None:
        """The endpoint for the next request: None when all are busy or resting."""
        free = [i for i, each in enumerate(self.states) if self._free(each, now)]
        if len(free) > 2:
            first = free.pop(int(self.chance() * len(free)))
            free = [first, free[int(self.chance() * len(free))]]
        return min(free, key=lambda i: (self.states[i].score(), self.chance()), default=None)

    def _free(self, each: EndpointState, now: float) -> bool:
        return each.resting_until <= now and each.under_way < self._most(each)

    def _most(self, each: EndpointState) -> int:
        """An endpoint that failed gets one request, to see whether it is there again."""
        return 1 if each.failed_in_a_row else self.most_under_way

    def rested_at(self, now: float) -> float | None:
        """When the next resting endpoint may be asked again; None when none rests that is not busy."""
        return min(
            (each.resting_until for each in self.states if each.resting_until > now and each.under_way == 0),
            default=None,
        )

    def began(self, index: int) -> None:
        """A request went to an endpoint."""
        self.states[index].under_way += 1

    def answered(self, index: int, seconds: float, now: float) -> None:
        """It was answered, in so many seconds."""
        each = self.states[index]
        weight = self._ended(each, now)
        each.latency += weight * (seconds - each.latency)
        each.failures -= weight * each.failures
        each.failed_in_a_row = 0

    def failed(self, index: int, now: float, rest: float | None = None) -> None:
        """It failed. `rest` is how many seconds the endpoint itself asks for."""
        each = self.states[index]
        weight = self._ended(each, now)
        each.failures += weight * (1.0 - each.failures)
        seconds = FIRST_REST * 2.0 ** min(each.failed_in_a_row, 16)
        each.failed_in_a_row += 1
        each.resting_until = now + max(rest or 0.0, min(seconds, LONGEST_REST) * (0.5 + self.chance()))

    def _ended(self, each: EndpointState, now: float) -> float:
        """A request is over; the weight of what it showed against what was known."""
        each.under_way -= 1
        age, each.updated = now - each.updated, now
        return max(0.2, 1.0 - exp(-age / FADE_SECONDS))
