"""The Redis store: shards that Sentinels watch, for a fleet; or one server.

Each vbucket lives on one shard, whole. What concerns one vbucket fails with its shard; what concerns many goes to all
shards at once, and is answered for those that could be reached, where the answer has room to say so: appends are
`moved`, leases missing, checkpoints stale. Only when no shard can be reached does the call fail.

Whatever was decided is decided by functions in Redis, so that any number of servers may use the same shards.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from taba.errors import LocalProtocolError, StoreError, StoreUnavailable
from taba.interfaces import (
    AggregateRow,
    Append,
    Checkpoint,
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
from taba.store.judge import NO_SUCH_VBUCKET, breaks_rules
from taba.store.limits import DAY
from taba.store.redis import membership
from taba.store.redis.aside import Asides
from taba.store.redis.flushing import flush_shard
from taba.store.redis.queries import Queries
from taba.store.redis.reads import LogReader, ShardReader
from taba.store.redis.side_by_side import together
from taba.store.redis.tending import ShardParts, TendedShards

T = TypeVar("T")

PATIENCE = 0.25
"""The part of a lease's time that a shard has to answer what concerns leases."""


@implementer(IStore)
@define(eq=False, slots=False)
class RedisStore(TendedShards):
    """`IStore` on the shards of `shards`, which it starts and stops."""

    _reader: LogReader = field(init=False)
    _queries: Queries = field(init=False)
    _asides: Asides = field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        readers = {name: ShardReader(shard, self._keys) for name, shard in self._shards.items()}
        self._reader = LogReader(readers, self._process.reactor)
        self._queries = Queries(self._shards, self._map, self._keys, self._limits)
        self._asides = Asides(self._shards, self._map, self._keys)

    # ---------------------------------------------------------------------------------------------------------- log

    def append(self, batches: Sequence[Append]) -> Deferred[list[Outcome]]:
        """See `IStore.append`."""
        return Deferred.fromCoroutine(self._append(batches))

    async def _append(self, batches: Sequence[Append]) -> list[Outcome]:
        """A vbucket that is not where it was is looked for at once, and asked again where it has been found."""
        self._check()
        before = {each.vbucket: self._places.standing(each.vbucket) for each in batches if self._exists(each.vbucket)}
        outcomes = await self._append_once(batches)
        moved = [place for place, each in enumerate(outcomes) if each.verdict is Verdict.MOVED]
        if not moved:
            return outcomes
        await self._places.look_for([batches[place].vbucket for place in moved])
        again = [at for at in moved if before[batches[at].vbucket] != self._places.standing(batches[at].vbucket)]
        if again:
            for at, outcome in zip(again, await self._append_once([batches[at] for at in again]), strict=True):
                outcomes[at] = outcome
        return outcomes

    def _exists(self, vbucket: int) -> bool:
        return 0 <= vbucket < self._map.vbuckets

    async def _append_once(self, batches: Sequence[Append]) -> list[Outcome]:
        """Answers count only where it is known, before and after, that the vbucket is there."""
        asked = [each for each in enumerate(batches) if self._exists(each[1].vbucket)]
        known = [each for each in asked if self._places.answerable(each[1].vbucket)]
        if asked and not known:
            raise StoreUnavailable("it is not known well enough where the vbuckets are: some shard cannot be looked at")
        places = self._places
        standing = {batch.vbucket: places.standing(batch.vbucket) for _, batch in known}
        found = await self._each(
            known,
            lambda placed: placed[1].vbucket,
            lambda parts, some: self._take(parts, [batch for _, batch in some]),
        )
        outcomes = [_without(each, Verdict.REFUSED, NO_SUCH_VBUCKET) for each in batches]
        for place, batch in asked:
            outcomes[place] = _without(batch, Verdict.MOVED)
        for part, answers in found:
            for number, (place, batch) in enumerate(part):
                same = places.standing(batch.vbucket) == standing[batch.vbucket]
                if answers is not None and same and places.answerable(batch.vbucket):
                    outcomes[place] = answers[number]
        return outcomes

    async def _take(self, parts: ShardParts, batches: Sequence[Append]) -> list[Outcome]:
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
        def on_shard(parts: ShardParts, some: Sequence[int]) -> Awaitable[dict[int, Lease]]:
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
        def on_shard(parts: ShardParts, some: Sequence[Lease]) -> Awaitable[set[int]]:
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

    def flush(self) -> Deferred[int]:
        """See `IStore.flush`. Fails when one shard cannot be flushed; the others are, all the same."""
        return self._ask(self._flush)

    async def _flush(self) -> int:
        shards = {name: parts.shard for name, parts in self._parts.items()}
        flushing = [flush_shard(shards[n], self._keys, self._durability, self._map.vbuckets_of(n)) for n in shards]
        return sum(await together(flushing))

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
        return self._ask(lambda: self._asides.newest(limit))

    def aside_of(self, vbucket: int, ids: Sequence[str]) -> Deferred[list[SetAside]]:
        """See `IStore.aside_of`."""
        return self._ask(lambda: self._asides.find(vbucket, ids))

    def _ask(self, query: Callable[[], Awaitable[T]]) -> Deferred[T]:
        def asked() -> Awaitable[T]:
            self._check()
            return query()

        return _later(asked)

    def publish(self, member: str, facts: Mapping[str, Any], ttl: float) -> Deferred[None]:
        """See `IStore.publish`."""
        return self._ask(lambda: membership.publish(self._at(0).shard, self._keys, member, facts, ttl))

    def members(self) -> Deferred[dict[str, Mapping[str, Any]]]:
        """See `IStore.members`."""
        return self._ask(lambda: membership.members(self._at(0).shard, self._keys))

    def prune(self, now: float) -> Deferred[int]:
        """See `IStore.prune`."""
        return Deferred.fromCoroutine(self._prune(now))

    async def _prune(self, now: float) -> int:
        self._check()
        seconds = self._dedup_days * DAY
        parts = self._parts.items()
        gone = await together(each.owners.prune(self._map.vbuckets_of(name), now, seconds) for name, each in parts)
        return sum(gone)


def _vbucket_of(lease: Lease) -> int:
    return lease.vbucket


def _without(batch: Append, verdict: Verdict, reason: str = "") -> Outcome:
    """An answer that no shard gave."""
    return Outcome(batch.vbucket, batch.incarnation, batch.seq, verdict, 0, None, "0" * 32, reason)


def _later(work: Callable[[], Awaitable[T]]) -> Deferred[T]:
    async def run() -> T:
        return await work()

    return Deferred.fromCoroutine(run())
