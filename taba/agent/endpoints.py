"""Which server gets the next request, and what the servers' clock says. Pure: times and chance are passed in.

The choice is the better of two endpoints drawn at random: nearly as even as asking all, without the herd that runs to
whichever was best a moment ago. Better means fewer requests in flight, shorter answers, fewer errors; what is known of
the last two fades with time, so that an endpoint that was bad is tried again, at first now and then.

An endpoint that fails is left alone for a time that doubles with every failure in a row, with jitter; then it gets one
request, and no second one beside it until that was answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from statistics import median

from attrs import define, field, frozen

BACKOFF_SECONDS = 0.5  # after the first failure in a row; doubles with each further one
MAX_BACKOFF_SECONDS = 30.0
MAX_RETRY_AFTER = 300.0  # seconds; a server that asks for more gets this much
LATENCY_HALF_LIFE = 10.0  # seconds
ERROR_HALF_LIFE = 30.0  # seconds
ERROR_WEIGHT = 4.0  # one fresh error makes an endpoint look five times as slow
FLOOR_SECONDS = 0.002  # differences of latency below this do not matter
SAMPLES = 9  # of the servers' clock


@frozen
class EndpointStatus:
    """What is thought of an endpoint, for status pages."""

    name: str
    in_flight: int
    latency: float
    """Seconds that answers took lately."""
    errors: float
    """Failures, each counting half after ERROR_HALF_LIFE seconds."""
    back_in: float
    """Seconds for which it is left alone."""


@define
class _Endpoint:
    """One endpoint's record."""

    name: str
    in_flight: int = 0
    latency: float = 0.0
    measured_at: float = 0.0
    errors: float = 0.0
    erred_at: float = 0.0
    failures: int = 0
    """In a row, until now."""
    down_until: float = 0.0

    def latency_now(self, now: float) -> float:
        """What is remembered of its latency."""
        return self.latency * _faded(now - self.measured_at, LATENCY_HALF_LIFE)

    def errors_now(self, now: float) -> float:
        """What is remembered of its errors."""
        return self.errors * _faded(now - self.erred_at, ERROR_HALF_LIFE)

    def cost(self, now: float) -> float:
        """The lower, the better."""
        patience = 1 + ERROR_WEIGHT * self.errors_now(now)
        return (self.in_flight + 1) * (self.latency_now(now) + FLOOR_SECONDS) * patience


def _faded(seconds: float, half_life: float) -> float:
    """What is left after some seconds of 1."""
    return float(0.5 ** (max(0.0, seconds) / half_life))


class Endpoints:
    """The choice among named endpoints. Times are seconds of a monotonic clock; `chance` gives numbers in [0, 1)."""

    def __init__(self, names: Sequence[str], chance: Callable[[], float], parallel: int = 1) -> None:
        """`parallel` is the most requests that one endpoint has in flight. Raises ValueError without a name."""
        if not names:
            raise ValueError("an agent needs an endpoint")
        self._endpoints = {name: _Endpoint(name) for name in names}
        self._chance = chance
        self._parallel = parallel

    def take(self, now: float) -> str | None:
        """The endpoint for a request that starts now, and is in flight from here on; None when none may have it.

        The request ends by `answered`, `failed` or `released`.
        """
        free = [each for each in self._endpoints.values() if self._has_room(each) and each.down_until <= now]
        if not free:
            return None
        chosen = free[0]
        if len(free) > 1:
            first = int(self._chance() * len(free))
            second = int(self._chance() * (len(free) - 1))
            pair = free[first], free[second + (second >= first)]
            chosen = min(pair, key=lambda each: each.cost(now))
        chosen.in_flight += 1
        return chosen.name

    def _has_room(self, endpoint: _Endpoint) -> bool:
        return endpoint.in_flight < (1 if endpoint.failures else self._parallel)

    def next_at(self, now: float) -> float | None:
        """When `take` has an endpoint even if nothing is answered before; None when all have all they may have."""
        return min(
            (max(now, each.down_until) for each in self._endpoints.values() if self._has_room(each)), default=None
        )

    def answered(self, name: str, now: float, seconds: float) -> None:
        """A request was answered, after so many seconds."""
        each = self._endpoints[name]
        each.in_flight -= 1
        each.failures = 0
        # A slow answer counts in full at once; a fast one only as the slow ones fade.
        each.latency, each.measured_at = max(seconds, each.latency_now(now)), now

    def failed(self, name: str, now: float, retry_after: float | None = None) -> None:
        """A request failed; `retry_after` is for how many seconds the server wants to be left alone."""
        each = self._endpoints[name]
        each.in_flight -= 1
        each.failures += 1
        each.errors, each.erred_at = each.errors_now(now) + 1, now
        pause = min(BACKOFF_SECONDS * 2 ** min(each.failures - 1, 16), MAX_BACKOFF_SECONDS)
        pause *= 0.5 + 0.5 * self._chance()
        if retry_after is not None:
            # Whoever was told the same time must not come back in the same instant.
            wanted = min(max(0.0, retry_after), MAX_RETRY_AFTER)
            pause = max(pause, wanted * (1 + 0.25 * self._chance()))
        each.down_until = max(each.down_until, now + pause)

    def released(self, name: str) -> None:
        """A request was not sent after all."""
        self._endpoints[name].in_flight -= 1

    def status(self, now: float) -> list[EndpointStatus]:
        """What is thought of each endpoint, in the order of their names' first use."""
        return [
            EndpointStatus(
                each.name,
                each.in_flight,
                each.latency_now(now),
                each.errors_now(now),
                max(0.0, each.down_until - now),
            )
            for each in self._endpoints.values()
        ]


@define
class ServerClock:
    """How far the servers' wall clock is ahead of this process's.

    What is kept is the servers' time against the monotonic clock: so a step of the wall clock here shows at once, and
    one odd answer does not.
    """

    _samples: deque[float] = field(factory=lambda: deque(maxlen=SAMPLES), init=False)

    def heard(self, server_time: float, sent_at: float, now: float) -> None:
        """An answer to a request sent at `sent_at` came now, both monotonic, with the server's wall time in it."""
        self._samples.append(server_time + (now - sent_at) / 2 - now)

    def offset(self, now: float, wall: float) -> float:
        """Seconds to add to the wall time here to get the servers'; 0.0 while no answer has come."""
        return median(self._samples) + now - wall if self._samples else 0.0
