"""The Redis store: shards that Sentinels watch, for a fleet; or one server.

Each vbucket lives on one shard, whole. What concerns one vbucket fails with its shard; what concerns many goes to all
shards at once, and is answered for those that could be reached, where the answer has room to say so: appends are
`moved`, leases missing, checkpoints stale. Only when no shard can be reached does the call fail.

Whatever was decided is decided by functions in Redis, so that any number of servers may use the same shards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredLock,
    TimeoutError,
    fail,
    maybeDeferred,
    succeed,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from taba.errors import LocalProtocolError, NotHere, StartError, StoreError, StoreUnavailable
from taba.interfaces import (
    AggregateRow,
    Append,
    Checkpoint,
    Cluster,
    IStore,
    Lease,
    Loaded,
    LogDepth,
    LogEntry,
    Outcome,
    Selection,
    SetAside,
    StateRow,
    Verdict,
    Written,
)
from taba.process import Process
from taba.store.judge import NO_SUCH_VBUCKET, breaks_rules
from taba.store.limits import DAY, DEDUP_DAYS, Limits, check_dedup_days
from taba.store.redis.appends import Appender
from taba.store.redis.asking import together
from taba.store.redis.checkpoints import Checkpoints
from taba.store.redis.durability import Durability, Level, choose
from taba.store.redis.founding import Founding, Identity
from taba.store.redis.keys import Keys
from taba.store.redis.library import ensure_library
from taba.store.redis.owners import Owners
from taba.store.redis.queries import Queries
from taba.store.redis.reads import LogReader, ShardReader
from taba.store.redis.refusals import Refusals
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import ShardMap

T = TypeVar("T")
Part = TypeVar("Part")

OPEN_SECONDS = 2.0
"""How long a start waits for the links of a shard before it says what keeps them from opening."""
RETRY_SECONDS = 1.0
"""How long after a failure a start is tried again."""
PATIENCE = 0.25
"""The part of a lease's time that a shard has to answer what concerns leases."""
REFRESH_SECONDS = 15.0
"""How often the markers are looked at: half of the agents' confirmation time."""


@define(eq=False)
class _Parts:
    """What works on one shard."""

    shard: Shard
    appends: Appender
    owners: Owners
    checkpoints: Checkpoints


@implementer(IStore)
@define(eq=False, slots=False)
class RedisStore(Service):
    """`IStore` on the shards of `shards`, which it starts and stops."""

    _process: Process
    _shards: Mapping[str, Shard]
    _map: ShardMap
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
    _identity: Identity | None = field(default=None, init=False)
    _parts: dict[str, _Parts] = field(factory=dict, init=False)
    _reader: LogReader = field(init=False)
    _queries: Queries = field(init=False)
    _founding: Founding = field(init=False)
    _starting: Deferred[None] | None = field(default=None, init=False)
    _refreshing: Deferred[None] | None = field(default=None, init=False)
    _refreshes: DeferredLock = field(factory=DeferredLock, init=False)
    _last_lineage: str = field(default="0" * 32, init=False)
    _unusable: str = field(default="", init=False)
    """What keeps the store from being used since it started; "" when nothing does."""
    _refusals: Refusals = field(init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._refusals = Refusals(self._process.reactor.seconds, self._process.say)
        readers = {name: ShardReader(shard, self._keys) for name, shard in self._shards.items()}
        self._reader = LogReader(readers, self._process.reactor)
        self._queries = Queries(self._shards, self._map, self._keys, self._limits)
        self._founding = Founding(self._shards, self._map, self._keys, self._process.new_id)

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
        identity = await self._founding.establish(lambda: Deferred.fromCoroutine(self._choose_level()))
        durability = await choose(self._shards, self._level or identity.level, self._replicas, self._wait_seconds)
        self._parts = {name: self._make_parts(shard, durability) for name, shard in self._shards.items()}
        self._durability = durability
        self._adopt(identity)

    async def _opened(self, shard: Shard) -> None:
        """Wait for a shard's links; StoreUnavailable, which says what keeps them from opening, when it takes long."""
        try:
            await shard.when_open().addTimeout(OPEN_SECONDS, self._process.reactor)
        except TimeoutError:
            raise StoreUnavailable(str(shard.state()["problem"]))

    async def _ensure_library(self, shard: Shard) -> None:
        await ensure_library(shard, shard.link("be"))

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

    def _make_parts(self, shard: Shard, durability: Durability) -> _Parts:
        owners = Owners(shard, self._keys)
        return _Parts(
            shard,
            Appender(shard, self._keys, durability, self._dedup_days * DAY, {}),
            owners,
            Checkpoints(shard, self._keys, self._limits, owners.ttl),
        )

    def _adopt(self, identity: Identity) -> None:
        """Use the markers as they are now."""
        before = self._identity.missing if self._identity is not None else {}
        self._identity = identity
        for parts in self._parts.values():
            parts.appends.epochs = identity.epochs
        for name, vbuckets in identity.missing.items():
            if before.get(name) != vbuckets:
                self._process.say(_lost_sentence(name, len(vbuckets)))

    def _changed(self) -> None:
        """Links came or went: a server that was emptied has neither functions nor markers."""
        if self.running and any(shard.state()["open"] for shard in self._shards.values()):
            Deferred.fromCoroutine(self._look_again())

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
        """Load the functions where they are missing, though other shards may be down, and read the markers. One at a
        time: what was read later must not be replaced by what was read before.
        """
        await self._refreshes.acquire()
        try:
            down: list[StoreUnavailable] = []
            for shard in self._shards.values():
                try:
                    await self._ensure_library(shard)
                except StoreUnavailable as problem:
                    down.append(problem)
            if down:
                raise down[0]
            level = self._choose_level
            self._adopt(await self._founding.establish(lambda: Deferred.fromCoroutine(level()), self._identity))
        finally:
            self._refreshes.release()

    async def _refresh_for_ever(self) -> None:
        while True:  # until a stop cancels it
            await deferLater(self._process.reactor, REFRESH_SECONDS)
            await self._look_again()

    def stopService(self) -> Deferred[None]:
        """Close all connections; every later call fails."""
        if not self.running:
            return succeed(None)
        Service.stopService(self)
        for running in (self._starting, self._refreshing):
            if running is not None:
                running.cancel()
        return Deferred.fromCoroutine(self._stop_shards())

    async def _stop_shards(self) -> None:
        self.running = 0
        await DeferredList([shard.stopService() for shard in self._shards.values()])
        if self._sentinels is not None:
            await maybeDeferred(self._sentinels.stopService)

    # ------------------------------------------------------------------------------------------------------- shards

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

    @property
    def missing(self) -> Mapping[str, list[int]]:
        """Shard -> the vbuckets whose data it has lost, until that is accepted."""
        return {} if self._identity is None else self._identity.missing

    def shard_states(self) -> list[dict[str, object]]:
        """What an operator wants to know of the shards."""
        return [
            {
                **self._shards[name].state(),
                "vbuckets": len(self._map.vbuckets_of(name)),
                "missing": len(self.missing.get(name, ())),
            }
            for name in self._map.names()
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
        sentences += [_lost_sentence(name, len(vbuckets)) for name, vbuckets in sorted(self.missing.items())]
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
            raise LocalProtocolError(f"there is no shard {name}: the shards are {', '.join(self._map.names())}")
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

    def _at(self, vbucket: int) -> _Parts:
        """What works on the shard of a vbucket; raises NotHere when there is no such vbucket."""
        self._check()
        if not 0 <= vbucket < self._map.vbuckets:
            raise NotHere(f"there is no vbucket {vbucket}: the cluster has {self._map.vbuckets}")
        return self._parts[self._map.shard_of(vbucket)]

    async def _each(
        self, items: Sequence[Part], vbucket: Callable[[Part], int], work: Callable[[_Parts, Sequence[Part]], Any]
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

    # ---------------------------------------------------------------------------------------------------------- log

    def append(self, batches: Sequence[Append]) -> Deferred[list[Outcome]]:
        """See `IStore.append`."""
        return Deferred.fromCoroutine(self._append(batches))

    async def _append(self, batches: Sequence[Append]) -> list[Outcome]:
        found = await self._each(
            list(enumerate(batches)),
            lambda placed: placed[1].vbucket,
            lambda parts, some: self._take(parts, [batch for _, batch in some]),
        )
        outcomes = [_without(batch, Verdict.REFUSED, NO_SUCH_VBUCKET) for batch in batches]
        for part, answers in found:
            for number, (place, batch) in enumerate(part):
                outcomes[place] = answers[number] if answers is not None else _without(batch, Verdict.MOVED)
        return outcomes

    async def _take(self, parts: _Parts, batches: Sequence[Append]) -> list[Outcome]:
        """Append to one shard, and note whether it takes anything."""
        try:
            outcomes = await parts.appends.append(batches)
        except StoreError as problem:
            if parts.shard.state()["open"]:
                self._refusals.refused(parts.shard.name, str(problem))
            raise
        self._refusals.taken(parts.shard.name)
        return outcomes

    def read(self, after: Mapping[int, int], max_bytes: int, wait: float) -> Deferred[list[LogEntry]]:
        """See `IStore.read`."""
        return Deferred.fromCoroutine(self._read(after, max_bytes, wait))

    async def _read(self, after: Mapping[int, int], max_bytes: int, wait: float) -> list[LogEntry]:
        self._check()
        parts = {name: {v: after[v] for v in some} for name, some in self._map.by_shard(after).items()}
        return await self._reader.read(parts, max_bytes, wait)

    # ------------------------------------------------------------------------------------------------------- owners

    def acquire(self, vbuckets: Sequence[int], owner: str, ttl: float) -> Deferred[dict[int, Lease]]:
        """See `IStore.acquire`."""
        return Deferred.fromCoroutine(self._acquire(vbuckets, owner, ttl))

    async def _acquire(self, vbuckets: Sequence[int], owner: str, ttl: float) -> dict[int, Lease]:
        def on_shard(parts: _Parts, some: Sequence[int]) -> Awaitable[dict[int, Lease]]:
            return self._patiently(parts.owners.acquire(some, owner, ttl), ttl, {})

        found = await self._each(vbuckets, lambda v: v, on_shard)
        leases = {vbucket: lease for _, granted in found for vbucket, lease in (granted or {}).items()}
        for vbucket in leases:
            self._at(vbucket).checkpoints.forget(vbucket)
        return leases

    def renew(self, leases: Sequence[Lease], ttl: float) -> Deferred[set[int]]:
        """See `IStore.renew`. Leases on a shard that cannot be reached are not held; those on one that is slow to
        answer are taken to be: a checkpoint will show it.
        """
        return Deferred.fromCoroutine(self._renew(leases, ttl))

    async def _renew(self, leases: Sequence[Lease], ttl: float) -> set[int]:
        def on_shard(parts: _Parts, some: Sequence[Lease]) -> Awaitable[set[int]]:
            return self._patiently(parts.owners.renew(some, ttl), ttl, {lease.vbucket for lease in some})

        found = await self._each(leases, _vbucket_of, on_shard)
        return {vbucket for _, held in found for vbucket in held or ()}

    def _patiently(self, work: Coroutine[Deferred[Any], Any, T], ttl: float, otherwise: T) -> Deferred[T]:
        """The result of work on one shard, or `otherwise` when it takes long: a shard that hangs must not make the
        leases on all others run out. If it goes on hanging, the end of its connection tells.
        """
        waiting: Deferred[T] = Deferred.fromCoroutine(work)
        return waiting.addTimeout(ttl * PATIENCE, self._process.reactor, lambda _, seconds: otherwise)

    def release(self, leases: Sequence[Lease]) -> Deferred[None]:
        """See `IStore.release`."""
        return Deferred.fromCoroutine(self._release(leases))

    async def _release(self, leases: Sequence[Lease]) -> None:
        await self._each(leases, _vbucket_of, lambda parts, some: parts.owners.release(some))

    def load(self, lease: Lease) -> Deferred[Loaded]:
        """See `IStore.load`."""
        return Deferred.fromCoroutine(self._load(lease.vbucket))

    async def _load(self, vbucket: int) -> Loaded:
        parts = self._at(vbucket)
        parts.checkpoints.forget(vbucket)
        return await parts.owners.load(vbucket)

    def states(self, vbucket: int, keys: Sequence[tuple[str, str]]) -> Deferred[dict[tuple[str, str], bytes]]:
        """See `IStore.states`."""
        return _later(lambda: self._at(vbucket).owners.states(vbucket, keys))

    def aggregates(self, vbucket: int, tabs: Sequence[str]) -> Deferred[dict[str, bytes]]:
        """See `IStore.aggregates`."""
        return _later(lambda: self._at(vbucket).owners.aggregates(vbucket, tabs))

    def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> Deferred[list[Written]]:
        """See `IStore.checkpoint`. Of a shard that cannot be reached the outcome is unknown, and told as STALE."""
        for problem in filter(None, map(breaks_rules, checkpoints)):
            return fail(LocalProtocolError(problem))
        return Deferred.fromCoroutine(self._checkpoint(checkpoints))

    async def _checkpoint(self, checkpoints: Sequence[Checkpoint]) -> list[Written]:
        found = await self._each(
            list(enumerate(checkpoints)),
            lambda placed: placed[1].lease.vbucket,
            lambda parts, some: parts.checkpoints.write([each for _, each in some]),
        )
        written = [Written.FENCED] * len(checkpoints)
        for part, answers in found:
            for number, (place, _) in enumerate(part):
                written[place] = answers[number] if answers is not None else Written.STALE
        return written

    # ------------------------------------------------------------------------------------------------------ queries

    def tabs(self, wanted: frozenset[str] | None = None) -> Deferred[dict[str, str]]:
        """See `IStore.tabs`."""
        return self._ask(lambda: self._queries.tabs(wanted))

    def clients(self, tabs: frozenset[str] | None) -> Deferred[set[str]]:
        """See `IStore.clients`."""
        return self._ask(lambda: self._queries.clients(tabs))

    def each_state(
        self, selection: Selection, consume: Callable[[Sequence[StateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """See `IStore.each_state`."""
        return self._ask(lambda: self._queries.each_state(selection, consume))

    def each_aggregate(
        self, selection: Selection, consume: Callable[[Sequence[AggregateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """See `IStore.each_aggregate`."""
        if selection.clients is not None:
            return fail(LocalProtocolError("an Aggregate is of all clients: a query of Aggregates selects none"))
        return self._ask(lambda: self._queries.each_aggregate(selection, consume))

    def ledger(self) -> Deferred[dict[str, int]]:
        """See `IStore.ledger`."""
        return self._ask(self._queries.ledger)

    def depth(self) -> Deferred[list[LogDepth]]:
        """See `IStore.depth`."""
        return self._ask(self._queries.depth)

    def aside(self, limit: int) -> Deferred[list[SetAside]]:
        """See `IStore.aside`."""
        return self._ask(lambda: self._queries.aside(limit))

    def _ask(self, query: Callable[[], Awaitable[T]]) -> Deferred[T]:
        def asked() -> Awaitable[T]:
            self._check()
            return query()

        return _later(asked)

    def prune(self, now: float) -> Deferred[int]:
        """See `IStore.prune`."""
        return Deferred.fromCoroutine(self._prune(now))

    async def _prune(self, now: float) -> int:
        self._check()
        seconds = self._dedup_days * DAY
        parts = self._parts.items()
        gone = await together(each.owners.prune(self._map.vbuckets_of(name), now, seconds) for name, each in parts)
        return sum(gone)


def _lost_sentence(name: str, vbuckets: int) -> str:
    return (
        f"Shard {name} has lost the data of {vbuckets} vbuckets: nothing is written to them, and agents hold their"
        f" events. Bring the data back, or, if it is gone: taba-cli accept-loss {name}"
    )


def _vbucket_of(lease: Lease) -> int:
    return lease.vbucket


def _without(batch: Append, verdict: Verdict, reason: str = "") -> Outcome:
    """An answer that no shard gave."""
    return Outcome(batch.vbucket, batch.incarnation, batch.seq, verdict, 0, None, "0" * 32, reason)


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work


def _later(work: Callable[[], Awaitable[T]]) -> Deferred[T]:
    async def run() -> T:
        return await work()

    return Deferred.fromCoroutine(run())
