"""Where a process knows the vbuckets to be, how old that knowledge is, and what the operator is told of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import DeferredList

from taba.errors import StartError, StoreUnavailable
from taba.process import Process
from taba.store.redis.founding import Founding, Identity
from taba.store.redis.looking import Looks
from taba.store.redis.shard_map import LiveMap, ShardMap
from taba.store.redis.telling import elsewhere_sentence, lost_sentence, other_place_sentence

AGAIN_SECONDS = 0.1
"""How long after a look nobody looks again because a vbucket is not where it was."""
HURRY_SECONDS = 0.5
"""How long such a look is waited for."""


@define(eq=False)
class Whereabouts:
    """What one process knows. `prepare` is done with a shard before it is looked at; `adopted` hears of what is new."""

    _process: Process
    _shards: Collection[str]
    _wanted: ShardMap
    """As the settings have it."""
    _founding: Founding
    _prepare: Callable[[str], Awaitable[None]]
    _adopted: Callable[[Identity], None]
    map: LiveMap = field(init=False)
    looks: Looks = field(init=False)
    identity: Identity | None = field(default=None, init=False)
    """None until it was found out first."""
    _looked_again: float = field(default=float("-inf"), init=False)
    _said: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self.map = LiveMap(self._wanted)
        self.looks = Looks(self._process.reactor.seconds, self._founding, self._prepare, self._seen_anew)

    # ------------------------------------------------------------------------------------------------ what is known

    @property
    def missing(self) -> Mapping[str, list[int]]:
        """Shard -> the vbuckets whose data it has lost, until that is accepted."""
        return {} if self.identity is None else self.identity.missing

    @property
    def moving(self) -> int:
        """How many vbuckets are on their way between shards."""
        return 0 if self.identity is None else len(self.identity.placement.involved)

    def _dependence(self, vbucket: int) -> frozenset[str]:
        """The shards that a vbucket depends on where it is, while it is moving."""
        assert self.identity is not None
        return self.identity.placement.involved.get(vbucket, frozenset())

    def answerable(self, vbucket: int) -> bool:
        """Whether it is known well enough where a vbucket is for an agent to be answered."""
        return self.looks.fresh({self.map.shard_of(vbucket), *self._dependence(vbucket)})

    def standing(self, vbucket: int) -> tuple[str, int]:
        """Where a vbucket is, and under which epoch."""
        assert self.identity is not None
        return self.map.shard_of(vbucket), self.identity.epochs.get(vbucket, 0)

    def problems(self) -> list[str]:
        """What an operator has to mend, in sentences."""
        sentences = [lost_sentence(name, len(vbuckets)) for name, vbuckets in sorted(self.missing.items())]
        if self.identity is not None and (elsewhere := self.identity.placement.elsewhere):
            sentences.append(elsewhere_sentence(elsewhere))
        return sentences

    # ------------------------------------------------------------------------------------------------ what is seen

    def adopt(self, identity: Identity) -> None:
        """Go by the markers as they are now."""
        before = self.missing
        self.identity = identity
        self.map.now = identity.placement.map
        self._adopted(identity)
        for name, vbuckets in identity.missing.items():
            if before.get(name) != vbuckets:
                self._process.say(lost_sentence(name, len(vbuckets)))
        self._tell_places(identity)

    def _tell_places(self, identity: Identity) -> None:
        """Say that vbuckets are not where the settings have them: once, not for each that moves."""
        said = ""
        if elsewhere := identity.placement.elsewhere:
            said = f"{elsewhere_sentence(elsewhere)}."
        elif not identity.missing:
            said = other_place_sentence(self._wanted, identity.placement)
        if said and not self._said:
            self._process.say(said)
        self._said = said

    def _seen_anew(self) -> None:
        """Something was seen of a shard: it counts at once, unless it fits to nothing, which a refresh will tell."""
        identity, seen = self.identity, self.looks.seen
        if identity is None or len(seen) < len(self._shards):
            return
        try:
            self._founding.check(seen, identity)
        except StartError:
            return
        placement = self._founding.place(seen)
        if not placement.missing or placement.missing == identity.missing:
            self.adopt(evolve(identity, placement=placement))

    async def refresh(self) -> None:
        """Look at all shards. Raises StartError for what an operator has to mend, else what keeps one from being seen.
        """
        results = await DeferredList([self.looks.look(name) for name in self._shards], consumeErrors=True)
        problems: list[Any] = [result for done, result in results if not done]
        self._founding.check(self.looks.seen, self.identity)
        for problem in sorted(problems, key=lambda problem: bool(problem.check(StoreUnavailable))):
            problem.raiseException()

    async def look_for(self, vbuckets: Sequence[int]) -> None:
        """Look where vbuckets are that were not found where they had been, unless that was done just now."""
        now = self._process.reactor.seconds()
        if now - self._looked_again < AGAIN_SECONDS:
            return
        self._looked_again = now
        names: set[str] = set()
        for vbucket in vbuckets:
            names.update(self._dependence(vbucket).intersection(self._shards) or self._shards)
        looking = DeferredList([self.looks.look(name) for name in sorted(names)], consumeErrors=True)
        looking.addTimeout(HURRY_SECONDS, self._process.reactor, lambda _, seconds: None)
        await looking
