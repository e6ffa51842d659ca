"""What a be takes and what it hands over, decided from who lives, who holds what, and the time. Pure.

Each be decides alone, by the same rendezvous hashing over the same members (`taba.server.assignment`); leases make it
safe where two see different members for a moment. Three rules:

* It takes what prefers it, whenever it does not hold it; whether that is free, the lease says.
* What prefers another be that lives it takes only when nobody has held it for `PATIENCE_SECONDS`: the one that it
  prefers cannot have it, or does not want it. For a while (`DECLINED_SECONDS`, twice as long each time) it does not
  offer it to that one again: nothing goes to and fro.
* What it holds and what prefers another be, it hands over once that one has been there for `SETTLED_SECONDS`, and only
  some at a time (`at_once`): what is handed over is not folded for a moment.

So a be that joins or leaves moves its share and nothing else, and when nobody joins or leaves, nothing moves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from taba.server.assignment import assigned

PATIENCE_SECONDS: Final = 1.5
"""How long what prefers another be is left to it, while nobody holds it."""
SETTLED_SECONDS: Final = 1.0
"""How long a be must have been there before something is handed over to it."""
DECLINED_SECONDS: Final = 30.0
"""For how long a be that did not take something is not offered it again, the first time."""
LONGEST_DECLINED: Final = 600.0
FAILED_SECONDS: Final = 5.0
"""For how long a be leaves to others what it could not load."""
LEAST_AT_ONCE: Final = 4
PART_AT_ONCE: Final = 16
"""A be hands over a 16th of all vbuckets at a time, but at least four."""


def packed(vbuckets: Iterable[int]) -> str:
    """Vbuckets as the hexadecimal digits of a number with a bit for each: what a be publishes as `holds`."""
    number = 0
    for vbucket in vbuckets:
        number |= 1 << vbucket
    return f"{number:x}"


def unpacked(text: str, vbuckets: int) -> frozenset[int]:
    """Those of `vbuckets` that are in it; ValueError for what is not of `packed`."""
    number = int(text, 16)
    return frozenset(vbucket for vbucket in range(vbuckets) if number >> vbucket & 1)


@frozen
class Member:
    """What a be that lives says of itself."""

    weight: float = 1.0
    """Its share is this, in proportion to the others'."""
    holds: frozenset[int] = frozenset()
    """The vbuckets that it has leases of."""


def members_among(published: Mapping[str, Mapping[str, Any]], vbuckets: int) -> dict[str, Member]:
    """The members among what servers published (`IStore.members`): those that say what they hold.

    A be of a version that does not say it takes what it gets by leases, and is offered nothing.
    """
    found: dict[str, Member] = {}
    for name, facts in published.items():
        holds, weight = facts.get("holds"), facts.get("weight", 1.0)
        if not isinstance(holds, str) or "be" not in facts.get("roles", ()):
            continue
        try:
            found[name] = Member(float(weight), unpacked(holds, vbuckets))
        except (ValueError, TypeError):
            continue  # nobody of ours wrote that
    return found


@frozen
class Decision:
    """What a be should do now. Both ascend."""

    take: Sequence[int] = ()
    """To ask the leases of. Somebody else may hold some of them."""
    hand_over: Sequence[int] = ()
    """To checkpoint, and to release the leases of."""


@define
class _Declined:
    """A vbucket that a member did not take."""

    by: str
    until: float
    pause: float


@define
class Membership:
    """What one be knows of the others over time. `name` is the one it publishes, as a rule the same in all its lives,
    and may be set to another (`taba.server.naming`); times are monotonic seconds.
    """

    name: str
    vbuckets: int
    weight: float = 1.0
    _since: dict[str, float] = field(factory=dict, init=False)
    """Since when each other member has been there, without a break."""
    _free: dict[int, float] = field(factory=dict, init=False)
    """Since when nobody is known to hold a vbucket."""
    _given: dict[int, float] = field(factory=dict, init=False)
    """When each vbucket was decided to be handed over of which nobody is known yet to have taken it."""
    _declined: dict[int, _Declined] = field(factory=dict, init=False)
    _left_over: set[int] = field(factory=set, init=False)
    """What this be tries to take though it prefers another one."""
    _failed: dict[int, float] = field(factory=dict, init=False)
    """Until when a vbucket that could not be loaded here is left to others."""
    _weights: dict[str, float] = field(factory=dict, init=False)
    _preferred: dict[int, str] = field(factory=dict, init=False)

    @property
    def at_once(self) -> int:
        """How many vbuckets may be on their way to others."""
        return max(LEAST_AT_ONCE, self.vbuckets // PART_AT_ONCE)

    def look(
        self,
        now: float,
        members: Mapping[str, Member],
        held: Collection[int],
        dropped: Collection[int] = (),
        loading: Collection[int] = (),
    ) -> Decision:
        """What to do, as things are `now`. `members` are those that live (this one is passed over); `held` is what this
        be has leases of, with what it loads and what it is about to release; `dropped` what it had, and is to load
        again: the lease may still be its own, so nobody else could take it. Of what is held, `loading` cannot be handed
        over yet.
        """
        others = {name: member for name, member in members.items() if name != self.name}
        self._note(now, others)
        elsewhere = frozenset[int]().union(*(member.holds for member in others.values()))
        for vbucket in list(self._given):
            if vbucket in elsewhere or (now - self._given[vbucket] >= PATIENCE_SECONDS and vbucket not in held):
                del self._given[vbucket]
        every = range(self.vbuckets)
        take = [vbucket for vbucket in every if self._takes(vbucket, now, held, elsewhere, dropped)]
        return Decision(take, self._handed_over(now, frozenset(held).difference(loading)))

    def failed(self, vbucket: int, now: float) -> None:
        """A vbucket could not be loaded here: others may try, if there are any."""
        self._failed[vbucket] = now + FAILED_SECONDS

    def keeps(self, vbucket: int) -> None:
        """A vbucket that was to be handed over is not on its way any more: it could not be written, or somebody else
        has it, or it was taken anew.
        """
        self._given.pop(vbucket, None)

    def anew(self) -> None:
        """Forget who did not take what, and who has only just come (/recompute)."""
        self._declined.clear()
        self._failed.clear()
        self._since = dict.fromkeys(self._since, float("-inf"))

    @property
    def looked(self) -> bool:
        """Whether there was a look."""
        return bool(self._preferred)

    def preferring(self, name: str) -> list[int]:
        """The vbuckets that should be with a member, as of the last look."""
        return [vbucket for vbucket, wanted in self._preferred.items() if wanted == name]

    def _note(self, now: float, others: Mapping[str, Member]) -> None:
        """Who is there, since when, and which vbuckets prefer whom."""
        self._since = {name: self._since.get(name, now) for name in others}
        weights = {self.name: self.weight, **{name: member.weight for name, member in others.items()}}
        if weights != self._weights:
            self._weights = weights
            self._preferred = assigned(range(self.vbuckets), weights)
        self._declined = {v: each for v, each in self._declined.items() if each.by in others}
        self._failed = {v: until for v, until in self._failed.items() if now < until and others}

    def _takes(
        self, vbucket: int, now: float, held: Collection[int], elsewhere: Collection[int], dropped: Collection[int]
    ) -> bool:
        wanted = self._preferred[vbucket]
        if vbucket in held or vbucket in elsewhere:
            self._free.pop(vbucket, None)
            if vbucket in self._left_over:
                self._left_over.discard(vbucket)
                if vbucket in held and wanted != self.name:
                    self._decline(vbucket, wanted, now)
            return vbucket not in held and wanted == self.name and vbucket not in self._failed
        since = self._free.setdefault(vbucket, now)
        if vbucket in self._failed:
            return False
        if wanted != self.name and vbucket not in dropped:
            if now - since < PATIENCE_SECONDS:
                return False
            self._left_over.add(vbucket)
        return True

    def _decline(self, vbucket: int, by: str, now: float) -> None:
        """Somebody did not take what preferred it."""
        known = self._declined.get(vbucket)
        if known is not None and known.by == by:
            if now >= known.until:  # offered a second time, in vain
                known.pause = min(2 * known.pause, LONGEST_DECLINED)
                known.until = now + known.pause
            return
        self._declined[vbucket] = _Declined(by, now + DECLINED_SECONDS, DECLINED_SECONDS)

    def _handed_over(self, now: float, held: Collection[int]) -> list[int]:
        room = self.at_once - len(self._given)
        found: list[int] = []
        for vbucket in sorted(held):
            if len(found) >= room:
                break
            if vbucket not in self._given and self._offers(vbucket, now):
                found.append(vbucket)
        self._given.update(dict.fromkeys(found, now))
        return found

    def _offers(self, vbucket: int, now: float) -> bool:
        wanted = self._preferred[vbucket]
        if wanted == self.name or now - self._since[wanted] < SETTLED_SECONDS:
            return False
        declined = self._declined.get(vbucket)
        return declined is None or declined.by != wanted or now >= declined.until
