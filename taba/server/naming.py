"""Under which name a server publishes itself where another one has the same: two containers with equal host names and
ports, say. Pure.

Shares of vbuckets follow names, so two processes of one name would have one share between them. What tells them apart
is `life`, which each publishes with its facts: it begins with the time at which the process began, and ends by chance,
so any two have an order. The rules:

* A process publishes itself under its own name at once, whoever is registered there: as a rule that is its former
  life, which was killed a moment ago and never writes again. So a restart keeps name and share.
* Before it publishes itself again, it looks who is registered under its name. Another life there has written AFTER this
  process did: it lives. When that has been seen `SIGHTINGS` times of one life, the LATER of the two moves: it takes
  NAME.2, then NAME.3 and so on by the same rules, for as long as it lives; the earlier one stays. Both decide alike, so
  never both move. (Once is not enough: a store that goes back may bring a dead life back, once.)
* Who is to stay looks twice as often for the moment (`contended`). In step with each other, one of two would always
  find its own registration.
* A life that is not published is of a release that knows nothing of this, and will not move: it counts as the earliest.

Numbers rather than chance make the names, so that a fleet of which everything is restarted has its names again, and
each name its share. Until the later one has moved (a second or so), others find now the one, now the other under the
name; they take nothing of that kind as gone before 1.5 s are over, and whatever they believe, leases decide who folds.
A clock that was set back can only change which of the two moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

LIFE: Final = "life"
"""The name of a life among the facts that are published."""
SIGHTINGS: Final = 2
"""How often another life must have been seen under a name before the later one leaves it to that."""


def life_of(began: float, chance: str) -> str:
    """The life of a process that began at a wall time; of two, the later is the greater."""
    return f"{max(0, int(began * 1000)):012x}.{chance}"


@define
class Naming:
    """The name of one process, in one life of it. `own` is the name that it would have alone."""

    own: str
    life: str
    written: bool = field(default=False, init=False)
    """Whether it has published itself under its name; to be set by who does that."""
    contended: bool = field(default=False, init=False)
    """Whether, at the last look, somebody else had the name who is to leave it."""
    _number: int = field(default=1, init=False)
    _seen: dict[str, int] = field(factory=dict, init=False)
    """How often each other life was seen under the name."""

    @property
    def name(self) -> str:
        """The name by which it goes now."""
        return self.own if self._number == 1 else f"{self.own}.{self._number}"

    def look(self, published: Mapping[str, Mapping[str, Any]]) -> bool:
        """What is published now (`IStore.members`); whether the name is another one from now on."""
        facts = published.get(self.name)
        self.contended = False
        if not self.written or facts is None:
            return False
        life = facts.get(LIFE)
        other = life if isinstance(life, str) else ""
        if other >= self.life:
            self.contended = other != self.life
            return False
        self._seen[other] = self._seen.get(other, 0) + 1
        if self._seen[other] < SIGHTINGS:
            return False
        self._number += 1
        self._seen.clear()
        self.written = False
        return True
