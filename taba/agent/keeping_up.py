"""Whether servers keep up with what clients send, and whether an agent should take more. Pure: times are passed in.

Servers that are away, or refuse, say nothing of how fast they are: then everything is taken, as long as the spool has
room. While they do take batches, an agent that held more than they take in `seconds` would only make everything later
that comes after: it holds no more than that, and refuses the rest, so that clients hear it at once. What had gathered
while they were away may be far more: then what is held may not grow, but for what comes and goes from one moment to
the next, and while servers are faster than clients nothing is refused.

What servers take while little comes says nothing of what they could take. So nothing is refused before more than they
took lately has been here for SURE_SECONDS, and never little: what they take meanwhile is all that they can. From then
on, until no more is here than they take in half of `seconds`, each look counts.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field

LOOK_SECONDS = 0.25
"""Between two looks, at least."""
WINDOW_SECONDS = 10.0
"""Over so long the servers' rate is taken."""
AWAY_SECONDS = 5.0
"""Servers that took nothing for so long are away."""
SURE_SECONDS = 2.0
"""After so long with more than enough to do for the servers it is known what they can do."""
ROOM_BYTES = 1 << 20
"""So much may always be held: a request or two."""
SLACK_SECONDS = 3.0
"""By what servers take in so many seconds a backlog may grow above the least that it was."""


@define(eq=False)
class KeepingUp:
    """What one agent sees of its servers. With `seconds` None everything is taken."""

    seconds: float | None
    room: int = ROOM_BYTES
    refuses: bool = field(default=False, init=False)
    """What the last look said."""
    rate: float = field(default=0.0, init=False)
    """Bytes that servers take in a second."""
    _seen: deque[tuple[float, int]] = field(factory=deque, init=False)  # (time, bytes taken so far)
    _took: float = field(default=0.0, init=False)  # when servers were last seen to have taken something
    _least: float = field(default=float("inf"), init=False)  # the smallest backlog since servers take batches
    _behind: tuple[float, int] | None = field(default=None, init=False)  # (since when, bytes taken by then)

    def due(self, now: float) -> bool:
        """Whether it is time for another look; never without a limit."""
        return self.seconds is not None and (not self._seen or now >= self._seen[-1][0] + LOOK_SECONDS)

    def look(self, now: float, backlog: int, taken: int, back: int = 0) -> bool:
        """Whether further events are to be refused, with so many bytes here that the servers do not have yet, and so
        many that they have taken since the start. `back` bytes of the backlog are for servers that were away at the
        last look; so many bytes less are for such as are away since, when it is negative.
        """
        lately = self._measure(now, taken)
        if self.seconds is None or lately <= 0.0 or now - self._took >= AWAY_SECONDS:
            self._least, self._behind, self.refuses = float("inf"), None, False
            return False
        if self._behind is not None and backlog <= self._most(lately) / 2:
            self._behind = None
        if self._behind is not None and self._seen[0][0] < self._behind[0] < now:
            since, before = self._behind
            self.rate = max(lately, (taken - before) / (now - since))
        most = self._most(self.rate)
        self._least = max(most, min(self._least + back, float(backlog)))
        if self._least > most:
            self.refuses = backlog > self._least + SLACK_SECONDS * self.rate
        else:
            self.refuses = backlog > most and self._is_sure(now, taken)
        return self.refuses

    def _is_sure(self, now: float, taken: int) -> bool:
        """Whether it is known what servers can do, while more than enough is here."""
        if self._behind is None:
            self._behind = (now, taken)
        return now - self._behind[0] >= SURE_SECONDS

    def _measure(self, now: float, taken: int) -> float:
        """Bytes that servers took in a second lately."""
        seen = self._seen
        if not seen or taken > seen[-1][1]:
            self._took = now
        seen.append((now, taken))
        while len(seen) > 2 and seen[1][0] <= now - WINDOW_SECONDS:
            seen.popleft()
        since, before = seen[0]
        self.rate = (taken - before) / (now - since) if now > since else 0.0
        return self.rate

    def _most(self, rate: float) -> float:
        """What may be held for servers of a rate."""
        return max(float(self.room), (self.seconds or 0.0) * rate)
