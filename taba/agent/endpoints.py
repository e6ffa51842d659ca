"""Which server gets the next request, and what the servers' clock says. Pure: times and chance are passed in.

The choice is the better of two endpoints drawn at random: nearly as even as asking all, without the herd that runs to
whichever was best a moment ago. Better means fewer requests in flight, shorter answers, fewer errors; what is known of
the last two fades with time, so that an endpoint that was bad is tried again, at first now and then. An endpoint that
is more than WORSE times as bad as the best one gets nothing at all: to wait for the better one is quicker, also while
that is busy.

An endpoint that fails is left alone for a time that doubles with every strike, with jitter; then it gets one request,
and no second one beside it until that was answered. A strike is forgotten only after a calm time: a server that comes
and goes is tried less and less often, as one that stays away. One that is silent although others answer is *overdue*:
what it has may be given to another one, and it gets nothing until it has answered, or its time is over.

Whoever is new, or comes back, gets little at first: `portion` says which part of a full request, and doubles with each
answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import median

from attrs import define, field, frozen

BACKOFF_SECONDS = 0.5  # after the first strike; doubles with each further one
MAX_BACKOFF_SECONDS = 10.0
SILENCE_PART = 0.5  # of the time that a server was silent in vain, at most, is added to a pause
MAX_RETRY_AFTER = 300.0  # seconds; a server that asks for more gets this much
CALM_SECONDS = 5.0  # after a pause, and as long as that at least, without a failure: then strikes are forgotten
LATENCY_HALF_LIFE = 10.0  # seconds
ERROR_HALF_LIFE = 10.0  # seconds
ERROR_WEIGHT = 4.0  # one fresh error makes an endpoint look five times as slow
MAX_ERRORS = 4.0  # more are not remembered, so that the way back is not long
FLOOR_SECONDS = 0.002  # differences of latency below this do not matter
WORSE = 4.0  # an endpoint that costs so many times more than the best one is not used
PATIENCE_SECONDS = 1.0  # an answer that takes longer may be overdue
PATIENCE_FACTOR = 3.0  # and is, where another endpoint answers so many times faster
AGAIN_SECONDS = 0.05  # after so long it is looked again whether a bad endpoint is good enough
FIRST_PORTION = 1 / 64  # of a full request; doubles with each answer
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
    portion: float = FIRST_PORTION
    """Which part of a full request it gets."""
    overdue: bool = False
    """Whether it is silent while others answer."""


@define
class _Endpoint:
    """One endpoint's record."""

    name: str
    in_flight: int = 0
    latency: float = 0.0
    measured_at: float = 0.0
    errors: float = 0.0
    erred_at: float = 0.0
    strikes: int = 0
    """Failures since it was calm."""
    pause: float = 0.0
    """The last one, in seconds."""
    down_until: float = 0.0
    overdue: int = 0
    """Requests in flight that are."""
    silent_since: float = 0.0
    """Since then something is in flight, and nothing was answered."""
    answers: bool = False
    """Whether the last request that ended was answered."""
    portion: float = FIRST_PORTION
    leaving: bool = False

    def latency_now(self, now: float) -> float:
        """What is remembered of its latency."""
        return self.latency * _faded(now - self.measured_at, LATENCY_HALF_LIFE)

    def errors_now(self, now: float) -> float:
        """What is remembered of its errors."""
        return self.errors * _faded(now - self.erred_at, ERROR_HALF_LIFE)

    def cost(self, now: float) -> float:
        """The lower, the better."""
        patience = 1 + ERROR_WEIGHT * self.errors_now(now)
        silence = now - self.silent_since if self.in_flight else 0.0
        return (self.in_flight + 1) * (max(self.latency_now(now), silence) + FLOOR_SECONDS) * patience

    def is_up(self, now: float) -> bool:
        """Whether it may be asked, as far as it is concerned."""
        return not self.leaving and not self.overdue and self.down_until <= now


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

    def use(self, names: Sequence[str]) -> None:
        """Have these endpoints from now on; of those that stay everything is remembered. A request to one that goes may
        still end. Raises ValueError without a name.
        """
        if not names:
            raise ValueError("an agent needs an endpoint")
        for each in list(self._endpoints.values()):
            each.leaving = each.name not in names
            self._drop_left(each)
        for name in names:
            self._endpoints.setdefault(name, _Endpoint(name))

    def _drop_left(self, endpoint: _Endpoint) -> None:
        if endpoint.leaving and not endpoint.in_flight:
            self._endpoints.pop(endpoint.name, None)

    def __contains__(self, name: str) -> bool:
        """Whether an endpoint is in use, or has a request in flight."""
        return name in self._endpoints

    def take(self, now: float) -> str | None:
        """The endpoint for a request that starts now, and is in flight from here on; None when none may have it.

        The request ends by `answered`, `failed` or `released`.
        """
        free = self._free(now)
        if not free:
            return None
        chosen = free[0]
        if len(free) > 1:
            first = int(self._chance() * len(free))
            second = int(self._chance() * (len(free) - 1))
            pair = free[first], free[second + (second >= first)]
            chosen = min(pair, key=lambda each: each.cost(now))
        if not chosen.in_flight:
            chosen.silent_since = now
        chosen.in_flight += 1
        return chosen.name

    def _free(self, now: float) -> list[_Endpoint]:
        """Those that may have a request now."""
        costs = [(each.cost(now), each) for each in self._endpoints.values() if each.is_up(now)]
        most = WORSE * min((cost for cost, _ in costs), default=0.0)
        return [each for cost, each in costs if cost <= most and self._has_room(each)]

    def _has_room(self, endpoint: _Endpoint) -> bool:
        return endpoint.in_flight < (1 if endpoint.strikes else self._parallel)

    def next_at(self, now: float) -> float | None:
        """When to ask `take` again even if nothing is answered before; None when only an answer can change anything."""
        if self._free(now):
            return now
        rooms = [each for each in self._endpoints.values() if self._has_room(each) and not each.leaving]
        # One that is up, and much worse than another, may be good enough when that one has been silent for longer.
        later = [now + AGAIN_SECONDS if each.is_up(now) else each.down_until for each in rooms if not each.overdue]
        return min(later, default=None)

    def portion(self, name: str) -> float:
        """Which part of a full request an endpoint may get, in (0, 1]."""
        return self._endpoints[name].portion

    def is_overdue(self, name: str, now: float, seconds: float) -> bool:
        """Whether a request that has been in flight for so long is to be given to another endpoint: that is up and
        answers much faster. If so, this one counts as overdue, until `settled`.
        """
        if seconds < PATIENCE_SECONDS:
            return False
        others = [each for each in self._endpoints.values() if each.name != name and each.is_up(now)]
        if not any(
            each.answers and not each.strikes and seconds >= PATIENCE_FACTOR * each.latency_now(now) for each in others
        ):
            return False
        overdue = self._endpoints[name]
        overdue.overdue += 1
        overdue.portion = FIRST_PORTION
        return True

    def settled(self, name: str) -> None:
        """An overdue request is about to end; `answered` or `failed` follows."""
        self._endpoints[name].overdue -= 1

    def answered(self, name: str, now: float, seconds: float, *, probe: bool = False) -> None:
        """A request was answered, after so many seconds. That of a `probe`, which costs the server nothing, proves
        little.
        """
        each = self._endpoints[name]
        each.in_flight -= 1
        # A slow answer counts in full at once; a fast one only as the slow ones fade.
        each.latency, each.measured_at = max(seconds, each.latency_now(now)), now
        each.silent_since = now
        if not probe:
            each.answers = True
            each.portion = min(1.0, 2 * each.portion)
            if now >= each.down_until + max(CALM_SECONDS, each.pause):
                each.strikes = 0
        self._drop_left(each)

    def failed(self, name: str, now: float, retry_after: float | None = None) -> None:
        """A request failed; `retry_after` is for how many seconds the server wants to be left alone."""
        each = self._endpoints[name]
        each.in_flight -= 1
        each.strikes += 1
        each.answers, each.portion = False, FIRST_PORTION
        each.errors, each.erred_at = min(each.errors_now(now) + 1, MAX_ERRORS), now
        pause = min(BACKOFF_SECONDS * 2 ** min(each.strikes - 1, 16), MAX_BACKOFF_SECONDS)
        pause *= 0.5 + 0.5 * self._chance()
        # Whom a silent server held up for as long as others must not come back together with them.
        pause += SILENCE_PART * (now - each.silent_since) * self._chance()
        if retry_after is not None:
            # Whoever was told the same time must not come back in the same instant.
            wanted = min(max(0.0, retry_after), MAX_RETRY_AFTER)
            pause = max(pause, wanted * (1 + 0.25 * self._chance()))
        each.pause = pause
        each.down_until = max(each.down_until, now + pause)
        self._drop_left(each)

    def released(self, name: str) -> None:
        """A request was not sent after all."""
        each = self._endpoints[name]
        each.in_flight -= 1
        self._drop_left(each)

    def any_answers(self) -> bool:
        """Whether the last batches that some endpoint got were answered."""
        return any(each.answers and not each.leaving for each in self._endpoints.values())

    def status(self, now: float) -> list[EndpointStatus]:
        """What is thought of each endpoint, in the order of their names' first use."""
        return [
            EndpointStatus(
                each.name,
                each.in_flight,
                each.latency_now(now),
                each.errors_now(now),
                max(0.0, each.down_until - now),
                each.portion,
                each.overdue > 0,
            )
            for each in self._endpoints.values()
        ]


@define
class Obstacle:
    """What keeps an agent from sending, for people: what the last try met, and since when no batches were answered."""

    sentence: str | None = field(default=None, init=False)
    """What the last try met; None while batches are answered, and before anything was tried."""
    since: float = field(default=0.0, init=False)
    """Wall time of the first try that failed since a batch was answered."""
    _of_batches: bool = field(default=False, init=False)

    def met(self, sentence: str, wall: float, *, probe: bool) -> None:
        """A try came to nothing; that of a `probe` had no batches."""
        if self.sentence is None:
            self.since = wall
        self.sentence = sentence
        self._of_batches = self._of_batches or not probe

    def passed(self, *, probe: bool) -> None:
        """A server answered. That it answers a `probe` does not mean that it takes batches, where it did not before."""
        if not probe or not self._of_batches:
            self.sentence, self._of_batches = None, False

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"{self.sentence} (since {since})"


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
