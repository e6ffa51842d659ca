"""The shards of a store, kept in use: started, founded or recognised, looked at again, told of to operators.

`TendedShards` is what `RedisStore` has below its calls: it knows whose the shards are (`Identity`), loads the functions
where they are missing, reads the markers again whenever links come or go, and every two seconds, and works on the
shards of many vbuckets at once (`_each`). What an operator has to mend keeps the store from being used until it is.
Where each vbucket is follows from the markers (see placing.py), and `Whereabouts` knows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError, maybeDeferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger

from taba.errors import LocalProtocolError, NotHere, StartError, StoreError, StoreUnavailable
from taba.interfaces import Cluster
from taba.process import Process
from taba.store.limits import DAY, DEDUP_DAYS, Limits, check_dedup_days
from taba.store.redis.appends import Appender
from taba.store.redis.checkpoints import Checkpoints
from taba.store.redis.durability import Durability, Level, choose
from taba.store.redis.founding import Founding, Identity
from taba.store.redis.freeing import Freeing
from taba.store.redis.keys import Keys
from taba.store.redis.library import ensure_library
from taba.store.redis.owners import Owners
from taba.store.redis.refusals import Refusals
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import LiveMap, ShardMap
from taba.store.redis.whereabouts import Whereabouts

T = TypeVar("T")
Part = TypeVar("Part")

OPEN_SECONDS = 2.0
"""How long a start waits for the links of a shard before it says what keeps them from opening."""
RETRY_SECONDS = 1.0
"""How long after a failure a start is tried again."""
REFRESH_SECONDS = 2.0
"""How often the markers are looked at: so that what is known of them is never older than looking.OLD_SECONDS."""
MOVING_SECONDS = 0.5
"""The same while vbuckets are being moved: so long it takes at most until their new place is known."""


@define(eq=False)
class ShardParts:
    """What works on one shard."""

    shard: Shard
    appends: Appender
    owners: Owners
    checkpoints: Checkpoints


@define(eq=False, slots=False)
class TendedShards(Service):
    """The shards of `shards`, which it starts and stops."""

    _process: Process
    _shards: Mapping[str, Shard]
    _wanted: ShardMap
    """As the settings have it; `_map` is as it is."""
    _keys: Keys
    _sentinels: Service | None = None
    """What finds the masters, when it is to be started and stopped with the store."""
    _level: Level | None = field(default=None, kw_only=True)
    """The durability of the settings; None finds out, at the first start, and remembers it with the data."""
    _replicas: int = field(default=1, kw_only=True)
    """How many replicas an append waits for."""
    _wait_seconds: float = field(default=1.0, kw_only=True)
    _dedup_days: float = field(default=DEDUP_DAYS, kw_only=True, validator=check_dedup_days)
    _limits: Limits = field(factory=Limits, kw_only=True)
    _parts: dict[str, ShardParts] = field(factory=dict, init=False)
    _founding: Founding = field(init=False)
    _starting: Deferred[None] | None = field(default=None, init=False)
    _refreshing: Deferred[None] | None = field(default=None, init=False)
    _map: LiveMap = field(init=False)
    _places: Whereabouts = field(init=False)
    _last_lineage: str = field(default="0" * 32, init=False)
    _unusable: str = field(default="", init=False)
    """What keeps the store from being used since it started; "" when nothing does."""
    _refusals: Refusals = field(init=False)
    freeing: Freeing = field(init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._refusals = Refusals(self._process.reactor.seconds, self._process.say)
        self._founding = Founding(self._shards, self._wanted, self._keys, self._process.new_id)
        self._places = Whereabouts(
            self._process, self._shards.keys(), self._wanted, self._founding, self._prepare, self._adopted
        )
        self._map = self._places.map
        self.freeing = Freeing(
            self._process, self._shards, self._wanted, self._keys, self._replicas, self._wait_seconds
        )

    # --------------------------------------------------------------------------------------------- start and stop

    def startService(self) -> Deferred[None]:
        """Connect to all shards, and find out, or decide, who the cluster is.

        Waits while shards cannot be reached, and says so; fails with StartError for what an operator has to mend.
        """
        Service.startService(self)
        if self._sentinels is not None:
            self._sentinels.startService()
        for shard in self._shards.values():
            shard.startService()
        starting = self._starting = Deferred.fromCoroutine(self._start())
        return starting

    async def _start(self) -> None:
        said = ""
        try:
            while True:
                try:
                    await self._establish()
                    break
                except StoreUnavailable as problem:
                    if str(problem) != said:
                        said = str(problem)
                        self._process.say(f"Waiting for Redis: {said.rstrip('.')}. Agents hold their events meanwhile.")
                await deferLater(self._process.reactor, RETRY_SECONDS)
        except BaseException:
            self._starting = None
            await self._stop_shards()
            raise
        self._starting = None
        for shard in self._shards.values():
            shard.watch(self._changed)
        self._refreshing = Deferred.fromCoroutine(self._refresh_for_ever())
        self._refreshing.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def interrupt(self) -> None:
        """End a start that is under way: its Deferred fails with CancelledError. The process is to end."""
        if self._starting is not None:
            self._starting.cancel()

    async def _establish(self) -> None:
        for shard in self._shards.values():
            await self._opened(shard)
        for shard in self._shards.values():
            await self._ensure_library(shard)
        began = self._process.reactor.seconds()
        identity = await self._founding.establish(self._level_chosen)
        self._places.looks.put(await self._founding.see_all(), began)
        durability = await choose(self._shards, self._level or identity.level, self._replicas, self._wait_seconds)
        self._parts = {name: self._make_parts(shard, durability) for name, shard in self._shards.items()}
        self._durability = durability
        self._places.adopt(identity)

    async def _opened(self, shard: Shard) -> None:
        """Wait for a shard's links; StoreUnavailable, which says what keeps them from opening, when it takes long."""
        try:
            await shard.when_open().addTimeout(OPEN_SECONDS, self._process.reactor)
        except TimeoutError:
            raise StoreUnavailable(str(shard.state()["problem"]))

    async def _ensure_library(self, shard: Shard) -> None:
        await ensure_library(shard, shard.link("be"))

    async def _prepare(self, name: str) -> None:
        await self._ensure_library(self._shards[name])

    def _level_chosen(self) -> Deferred[Level]:
        return Deferred.fromCoroutine(self._choose_level())

    async def _choose_level(self) -> Level:
        if self._level is not None:
            return self._level
        replicated = all(shard.state()["replicas"] for shard in self._shards.values())
        if not replicated:
            self._process.say(
                "DURABILITY is `memory`: not every shard has a replica. What Redis has in memory, and acknowledged, is"
                " lost with it, unless the agents still hold it. Give every shard a replica, and set DURABILITY."
            )
        return Level.REPLICATED if replicated else Level.MEMORY

    def _make_parts(self, shard: Shard, durability: Durability) -> ShardParts:
        owners = Owners(shard, self._keys)
        return ShardParts(
            shard,
            Appender(shard, self._keys, durability, self._dedup_days * DAY, {}),
            owners,
            Checkpoints(shard, self._keys, self._limits, owners.ttl),
        )

    def _adopted(self, identity: Identity) -> None:
        """The markers are these now."""
        for parts in self._parts.values():
            parts.appends.epochs = identity.epochs

    def _changed(self) -> None:
        """Links came or went: a server that was emptied has neither functions nor markers."""
        if self.running and any(shard.state()["open"] for shard in self._shards.values()):
            looking = Deferred.fromCoroutine(self._look_again())
            looking.addErrback(lambda failure: failure.trap(CancelledError))  # a stop ends all looks

    async def _look_again(self) -> None:
        """Read the markers as they are now. What an operator has to mend keeps the store from being used until then."""
        try:
            await self._refresh()
        except StartError as problem:
            if str(problem) != self._unusable:
                self._unusable = str(problem)
                self._process.say(f"The store is not used any more: {problem}")
            return
        except StoreError as problem:
            self._log.warn("The markers of the shards cannot be read: {problem}", problem=problem)
            return
        except CancelledError:
            raise
        except Exception:  # something that nobody of ours wrote: the store goes on with what it knows, and looks again
            self._log.failure("The markers of the shards cannot be read")
            return
        if self._unusable:
            self._process.say("The store is used again.")
        self._unusable = ""

    async def _refresh(self) -> None:
        """Load the functions where they are missing, and read the markers, of each shard that can be reached."""
        places = self._places
        await places.refresh()
        places.adopt(await self._founding.settle(places.looks.seen, self._level_chosen, places.identity))

    async def _refresh_for_ever(self) -> None:
        while True:  # until a stop cancels it
            await deferLater(self._process.reactor, MOVING_SECONDS if self._places.moving else REFRESH_SECONDS)
            await self._look_again()
            if self._places.moving and not self._unusable:
                self.freeing.look({name: seen.facts for name, seen in self._places.looks.seen.items()})

    def stopService(self) -> Deferred[None]:
        """Close all connections; every later call fails."""
        if not self.running:
            return succeed(None)
        Service.stopService(self)
        for running in (self._starting, self._refreshing):
            if running is not None:
                running.cancel()
        self._places.looks.cancel()
        self.freeing.cancel()
        return Deferred.fromCoroutine(self._stop_shards())

    async def _stop_shards(self) -> None:
        self.running = 0
        await DeferredList([shard.stopService() for shard in self._shards.values()])
        if self._sentinels is not None:
            await maybeDeferred(self._sentinels.stopService)

    # ------------------------------------------------------------------------------------------------------- shards

    @property
    def _identity(self) -> Identity | None:
        return self._places.identity

    @property
    def cluster(self) -> Cluster:
        """See `IStore.cluster`. The lineage of several shards is made of theirs."""
        identity = self._identity
        if identity is None:
            raise StoreUnavailable("the store has not started")
        try:
            lineages = [self._shards[name].lineage for name in self._map.names()]
        except StoreUnavailable:
            lineages = []
        if lineages:
            several = hashlib.blake2b("".join(lineages).encode(), digest_size=16).hexdigest()
            self._last_lineage = lineages[0] if len(lineages) == 1 else several
        return Cluster(identity.cluster, self._map.vbuckets, self._last_lineage, self._durability.level.value)

    def shard_of(self, vbucket: int) -> str:
        """The name of the shard that has a vbucket, which must exist."""
        return self._map.shard_of(vbucket)

    @property
    def missing(self) -> Mapping[str, list[int]]:
        """Shard -> the vbuckets whose data it has lost, until that is accepted."""
        return self._places.missing

    @property
    def moving(self) -> int:
        """How many vbuckets are on their way between shards."""
        return self._places.moving

    @property
    def freed(self) -> Mapping[str, int]:
        """How many vbuckets this process let go on that a mover had left sealed: `arrived` at their targets, `returned`
        to their sources.
        """
        return self.freeing.freed

    def shard_states(self) -> list[dict[str, object]]:
        """What an operator wants to know of the shards."""
        return [
            {
                **self._shards[name].state(),
                "vbuckets": len(self._map.vbuckets_of(name)),
                "missing": len(self.missing.get(name, ())),
            }
            for name in sorted(self._shards)
        ]

    @property
    def asked_durability(self) -> str:
        """DURABILITY as the settings have it; the one in force is the cluster's."""
        return "auto" if self._level is None else self._level.value

    def problem(self) -> str:
        """What keeps the store, or a part of it, from being used, for an operator; "" when nothing does."""
        if self._unusable:
            return self._unusable
        sentences = [str(state["problem"]) for state in self.shard_states() if not state["open"]]
        sentences += self._places.problems()
        sentences += [
            f"no majority of the Sentinels has named the master of shard {state['shard']} in the last seconds"
            for state in self.shard_states()
            if state["open"] and not state["vouched"]
        ]
        sentences += self._refusals.current().values()
        return "; ".join(sentences)

    def accept_loss(self, name: str) -> Deferred[int]:
        """Use a shard that has lost its data again, without it; answers with how many vbuckets begin anew.

        Fails with LocalProtocolError when there is no such shard, with StoreUnavailable when it cannot be done.
        """
        return Deferred.fromCoroutine(self._accept_loss(name))

    async def _accept_loss(self, name: str) -> int:
        self._check()
        if name not in self._shards:
            raise LocalProtocolError(f"there is no shard {name}: the shards are {', '.join(sorted(self._shards))}")
        assert self._identity is not None
        try:
            anew = await self._founding.accept_loss(name, self._identity, self._durability.level)
        except StartError as problem:
            raise StoreUnavailable(str(problem)) from problem
        if anew:
            self._process.say(f"Shard {name}: the loss was accepted; {len(anew)} vbuckets begin anew.")
        await self._refresh()
        return len(anew)

    def _check(self) -> None:
        if not self.running or self._identity is None:
            raise StoreUnavailable("the store is closed")
        if self._unusable:
            raise StoreUnavailable(self._unusable)

    def _at(self, vbucket: int) -> ShardParts:
        """What works on the shard of a vbucket; raises NotHere when there is no such vbucket."""
        self._check()
        if not 0 <= vbucket < self._map.vbuckets:
            raise NotHere(f"there is no vbucket {vbucket}: the cluster has {self._map.vbuckets}")
        return self._parts[self._map.shard_of(vbucket)]

    async def _each(
        self, items: Sequence[Part], vbucket: Callable[[Part], int], work: Callable[[ShardParts, Sequence[Part]], Any]
    ) -> list[tuple[Sequence[Part], Any]]:
        """Work on the items of each shard at once: the items, with the result, or None where a shard was not reached.

        Fails when no shard was. Items of vbuckets that do not exist are left out.
        """
        self._check()
        sorted_out: dict[str, list[Part]] = {}
        for item in items:
            if 0 <= vbucket(item) < self._map.vbuckets:
                sorted_out.setdefault(self._map.shard_of(vbucket(item)), []).append(item)
        running = [Deferred.fromCoroutine(_as_coroutine(work(self._parts[n], part))) for n, part in sorted_out.items()]
        results = await DeferredList(running, consumeErrors=True)
        problems = [result for done, result in results if not done]
        for problem in problems:
            if len(problems) == len(results) or not problem.check(StoreUnavailable):
                problem.raiseException()
        return [
            (part, result if done else None)
            for part, (done, result) in zip(sorted_out.values(), results, strict=True)
        ]


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work
