"""Who is master, by the word of the Sentinels; and when to look again.

`Following` hears what each Sentinel says of one shard, and when it was asked; it knows no connection and no clock. The
master is whom a majority of ALL the configured Sentinels names, those that do not answer included. Two majorities of
one set of Sentinels have a member in common, and only a Sentinel's latest word counts, so at no time can two masters be
vouched for. Words count from the time of the question, not of the answer: an answer that was long on its way, or that
lay in the socket of a process that was stopped, says nothing of now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from taba.store.redis.address import Address

if TYPE_CHECKING:
    from random import Random

VOUCH_SECONDS = 5.0
"""How long the word of a Sentinel counts."""
STEADY_SECONDS = 1.0
"""How often Sentinels are asked while all is well."""
HURRIED_SECONDS = 0.2
"""How often, at most, while a shard has no master."""
SETTLED_SECONDS = 5.0
"""How often to try again what an operator has to change first, a wrong password for example."""


@frozen
class Word:
    """The latest that one Sentinel said of a shard."""

    master: Address | None
    """None: it knows no shard of that name."""
    asked: float
    """When it was asked; monotonic."""


@define
class Following:
    """What the Sentinels of `sentinels` (names of them, each once) say of one shard."""

    shard: str
    sentinels: Sequence[str]
    _words: dict[str, Word] = field(factory=dict, init=False)

    @property
    def majority(self) -> int:
        """How many Sentinels must agree."""
        return len(self.sentinels) // 2 + 1

    def heard(self, sentinel: str, master: Address | None, asked: float) -> None:
        """A Sentinel answered a question of time `asked`. What was asked before its latest word counts for nothing."""
        if sentinel not in self.sentinels:
            raise ValueError(f"{sentinel} is none of the Sentinels")
        before = self._words.get(sentinel)
        if before is None or asked >= before.asked:
            self._words[sentinel] = Word(master, asked)

    def master(self, now: float) -> Address | None:
        """Whom a majority names, by words that count at `now`; None when there is no majority."""
        candidates = {word.master for word in self._words.values()} - {None}
        return next((each for each in candidates if self.vouches(each, now)), None)

    def vouches(self, master: Address | None, now: float) -> bool:
        """Whether a majority named this very master within the VOUCH_SECONDS before `now`."""
        return len(self.named_by(master, now)) >= self.majority

    def named_by(self, master: Address | None, now: float) -> list[str]:
        """The Sentinels whose word that counts at `now` names `master` (None: that they know no such shard)."""
        return [each for each in self._fresh(now) if self._words[each].master == master]

    def problem(self, now: float) -> str:
        """Why there is no majority, in words, without what is wrong with single Sentinels; "" when there is one."""
        if self.master(now) is not None:
            return ""
        fresh, every = self._fresh(now), len(self.sentinels)
        if not fresh:
            return f"none of the {every} Sentinels answers"
        unknown = self.named_by(None, now)
        if len(unknown) >= self.majority:
            return f"the Sentinels know no master named {self.shard}"
        named = sorted({str(self._words[each].master) for each in fresh} - {"None"})
        if len(fresh) < self.majority:
            return f"only {len(fresh)} of {every} Sentinels answer; {self.majority} must name the master"
        counts = ", ".join(f"{len(self._by_text(each, fresh))} name {each}" for each in named)
        return f"no {self.majority} of {every} Sentinels agree on the master: {counts}" + (
            f", {len(unknown)} know none named {self.shard}" if unknown else ""
        )

    def _by_text(self, master: str, fresh: Sequence[str]) -> list[str]:
        return [each for each in fresh if str(self._words[each].master) == master]

    def _fresh(self, now: float) -> list[str]:
        """The Sentinels whose word counts at `now`, in the order of the settings."""
        return [
            each for each in self.sentinels if each in self._words and now - self._words[each].asked <= VOUCH_SECONDS
        ]


def look_again(hurried: bool, random: Random) -> float:
    """Seconds until a Sentinel is to be asked again; a random part keeps the processes of a fleet apart."""
    return HURRIED_SECONDS * (0.5 + random.random() / 2) if hurried else STEADY_SECONDS * (0.9 + random.random() / 10)


@define
class Backoff:
    """How long to wait before the next try: doubled by each failure, from `least` to `most` seconds, a random half
    taken off.
    """

    least: float = 0.05
    most: float = 1.0
    _failures: int = field(default=0, init=False)

    def next(self, random: Random) -> float:
        """Seconds to wait after one more failure."""
        wait = min(self.most, self.least * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return wait * (0.5 + random.random() / 2)

    def reset(self) -> None:
        """All is well again."""
        self._failures = 0
