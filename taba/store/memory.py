"""A store in the memory of the process: for tests, and for `--memory`.

What it keeps is a `Contents`, apart from the store itself. Every call is done, in one step, before it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from taba.errors import LocalProtocolError, NotHere, StartError, StoreUnavailable
from taba.interfaces import (
    RETIRED,
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
    Written,
)
from taba.store.arrivals import Arrivals
from taba.store.contents import Contents, Vbucket, present, present_states
from taba.store.judge import FLUSHED, LOST, breaks_rules, is_idle, judge_checkpoint, judge_in_order
from taba.store.leases import Leases
from taba.store.limits import DAY, DEDUP_DAYS, Limits, check_dedup_days
from taba.store.pages import Row, give_pages, take_page
from taba.store.published import Published

__all__ = ["Contents", "MemoryStore"]

T = TypeVar("T")


@implementer(IStore)
@define(eq=False, slots=False)
class MemoryStore(Service):
    """`IStore` in dicts. Its `durability` is "memory": an ok outlives no process."""

    _vbuckets: int
    """NUM_VBUCKETS."""
    _clock: IReactorTime
    """Monotonic; for leases and waiting reads."""
    _wall: Callable[[], float]
    _new_id: Callable[[], str]
    _dedup_days: float = field(default=DEDUP_DAYS, kw_only=True, validator=check_dedup_days)
    _limits: Limits = field(factory=Limits, kw_only=True)
    _given: Contents | None = field(default=None, kw_only=True, alias="contents")
    """What is there at the start; None for a new cluster."""
    _contents: Contents = field(init=False)
    cluster: Cluster = field(init=False)
    _leases: Leases = field(init=False)
    _arrivals: Arrivals = field(init=False)
    _published: Published = field(factory=Published, init=False)
    _first: int = field(default=0, init=False)
    """The vbucket that the next read begins with, so that a busy one keeps nobody else waiting."""

    def startService(self) -> Deferred[None]:
        """Begin a new lineage. Fails with StartError when the contents have another number of vbuckets."""
        contents = self._given or Contents.empty(self._new_id(), self._vbuckets)
        if not 0 < self._vbuckets == len(contents.vbuckets):
            return fail(
                StartError(f"NUM_VBUCKETS must be {len(contents.vbuckets) or 'at least 1'}, not {self._vbuckets}.")
            )
        Service.startService(self)
        self._contents = contents
        self.cluster = Cluster(contents.cluster_id, len(contents.vbuckets), self._new_id(), "memory")
        self._leases = Leases(contents.epochs)
        self._arrivals = Arrivals(self._clock)
        return succeed(None)

    def stopService(self) -> Deferred[None]:
        """Let nobody wait any longer; every later call fails."""
        if self.running:
            Service.stopService(self)
            self._arrivals.announce_all()
        return succeed(None)

    def _done(self, work: Callable[[], T]) -> Deferred[T]:
        """The outcome of `work`, unless the store is closed."""
        if not self.running:
            return fail(StoreUnavailable("the store is closed"))
        return maybeDeferred(work)

    def _at(self, vbucket: int) -> Vbucket:
        """What is kept of a vbucket; raises `NotHere` for one that the cluster does not have."""
        if not 0 <= vbucket < self._vbuckets:
            raise NotHere(f"there is no vbucket {vbucket}: the cluster has {self._vbuckets}")
        return self._contents.vbuckets[vbucket]

    # ------------------------------------------------------------------------------------------------------ log

    def append(self, batches: Sequence[Append]) -> Deferred[list[Outcome]]:
        """See `IStore.append`."""
        return self._done(lambda: self._append(batches))

    def _append(self, batches: Sequence[Append]) -> list[Outcome]:
        contents, now = self._contents, self._wall()
        judged = judge_in_order(
            batches,
            lambda *lane: contents.lanes.get(lane),
            vbuckets=self._vbuckets,
            lineage=self.cluster.lineage,
            now=now,
            dedup_seconds=self._dedup_days * DAY,
        )
        contents.lanes.update(judged.rows)
        for vbucket, events in judged.lost.items():
            contents.vbuckets[vbucket].lost += events
        for batch in judged.appended:
            assert batch.body is not None
            kept = contents.vbuckets[batch.vbucket]
            kept.last_id += 1
            kept.log.append(LogEntry(batch.vbucket, kept.last_id, now, batch.events, self.cluster.lineage, batch.body))
        self._arrivals.announce(batch.vbucket for batch in judged.appended)
        return judged.outcomes

    def read(self, after: Mapping[int, int], max_bytes: int, wait: float) -> Deferred[list[LogEntry]]:
        """See `IStore.read`."""
        return Deferred.fromCoroutine(self._read(after, max_bytes, wait))

    async def _read(self, after: Mapping[int, int], max_bytes: int, wait: float) -> list[LogEntry]:
        until = self._clock.seconds() + wait
        while not (entries := await self._done(lambda: self._read_now(after, max_bytes))):
            remaining = until - self._clock.seconds()
            if remaining <= 0:
                break
            await self._arrivals.wait(after, remaining)
        return entries

    def _read_now(self, after: Mapping[int, int], max_bytes: int) -> list[LogEntry]:
        known = sorted(vbucket for vbucket in after if 0 <= vbucket < self._vbuckets)
        entries: list[LogEntry] = []
        size = 0
        for vbucket in sorted(known, key=lambda vbucket: vbucket < self._first):
            for entry in self._contents.vbuckets[vbucket].log:
                if entry.id <= after[vbucket]:
                    continue
                size += len(entry.body)
                if entries and size > max_bytes:
                    return entries
                entries.append(evolve(entry, lineage=self.cluster.lineage))  # it may have outlived an opening
                self._first = vbucket + 1
        return entries

    # --------------------------------------------------------------------------------------------------- leases

    def acquire(self, vbuckets: Sequence[int], owner: str, ttl: float) -> Deferred[dict[int, Lease]]:
        """See `IStore.acquire`."""
        known = [vbucket for vbucket in vbuckets if 0 <= vbucket < self._vbuckets]
        return self._done(lambda: self._leases.grant(known, owner, ttl, self._clock.seconds()))

    def renew(self, leases: Sequence[Lease], ttl: float) -> Deferred[set[int]]:
        """See `IStore.renew`."""
        return self._done(lambda: self._leases.renew(leases, ttl, self._clock.seconds()))

    def release(self, leases: Sequence[Lease]) -> Deferred[None]:
        """See `IStore.release`."""
        return self._done(lambda: self._leases.release(leases))

    # ---------------------------------------------------------------------------------------------- checkpoints

    def load(self, lease: Lease) -> Deferred[Loaded]:
        """See `IStore.load`."""
        return self._done(lambda: self._load(lease.vbucket))

    def _load(self, vbucket: int) -> Loaded:
        kept = self._at(vbucket)
        return Loaded(vbucket, kept.position, self.cluster.lineage, dict(kept.types), dict(kept.ledger))

    def states(self, vbucket: int, keys: Sequence[tuple[str, str]]) -> Deferred[dict[tuple[str, str], bytes]]:
        """See `IStore.states`."""
        return self._done(lambda: present_states(self._at(vbucket).states, keys))

    def aggregates(self, vbucket: int, tabs: Sequence[str]) -> Deferred[dict[str, bytes]]:
        """See `IStore.aggregates`."""
        return self._done(lambda: present(self._at(vbucket).aggregates, tabs))

    def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> Deferred[list[Written]]:
        """See `IStore.checkpoint`."""
        for problem in filter(None, map(breaks_rules, checkpoints)):
            return fail(LocalProtocolError(problem))
        return self._done(lambda: [self._write(checkpoint) for checkpoint in checkpoints])

    def _write(self, checkpoint: Checkpoint) -> Written:
        lease, now = checkpoint.lease, self._clock.seconds()
        held = self._leases.holds(lease, now)
        kept = self._contents.vbuckets[lease.vbucket] if held else Vbucket()
        written = judge_checkpoint(
            checkpoint, held=held, lineage=self.cluster.lineage, position=kept.position, last_id=kept.last_id
        )
        if written is Written.DONE:
            kept.apply(checkpoint)
            self._contents.drop_aside(lease.vbucket, checkpoint.refolded)
            self._contents.set_aside(lease.vbucket, checkpoint.set_aside, self.cluster.lineage, self._limits)
            self._leases.prolong(lease, now)
        return written

    def flush(self) -> Deferred[int]:
        """See `IStore.flush`."""
        return self._done(lambda: sum(kept.flush() for kept in self._contents.vbuckets))

    # -------------------------------------------------------------------------------------------------- queries

    def tabs(self, wanted: frozenset[str] | None = None) -> Deferred[dict[str, str]]:
        """See `IStore.tabs`."""
        return self._done(
            lambda: {
                tab: kind
                for kept in self._contents.vbuckets
                for tab, kind in kept.types.items()
                if wanted is None or tab in wanted
            }
        )

    def clients(self, tabs: frozenset[str] | None) -> Deferred[set[str]]:
        """See `IStore.clients`."""
        return self._done(lambda: {client for states in self._by_tab(tabs) for client in states if client != RETIRED})

    def each_state(
        self, selection: Selection, consume: Callable[[Sequence[StateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """See `IStore.each_state`."""
        return self._give(self._walk_states(selection), consume)

    def each_aggregate(
        self, selection: Selection, consume: Callable[[Sequence[AggregateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """See `IStore.each_aggregate`."""
        if selection.clients is not None:
            return fail(LocalProtocolError("an Aggregate is of all clients: a query of Aggregates selects none"))
        return self._give(self._walk_aggregates(selection), consume)

    def _give(self, rows: Iterator[Row], consume: Callable[[Sequence[Row]], Deferred[Any] | None]) -> Deferred[None]:
        limits = self._limits
        return Deferred.fromCoroutine(
            give_pages(lambda: self._done(lambda: take_page(rows, limits.page_rows, limits.page_bytes)), consume)
        )

    def _by_tab(self, tabs: frozenset[str] | None) -> list[dict[str, bytes]]:
        """The States of each selected tab, by client."""
        return [
            states
            for kept in self._contents.vbuckets
            for tab, states in kept.states.items()
            if tabs is None or tab in tabs
        ]

    def _walk_states(self, selection: Selection) -> Iterator[StateRow]:
        tabs = sorted(
            (tab, vbucket)
            for vbucket, kept in enumerate(self._contents.vbuckets)
            for tab in kept.states
            if selection.tabs is None or tab in selection.tabs
        )
        for tab, vbucket in tabs:
            kept = self._contents.vbuckets[vbucket]
            for client in sorted(kept.states.get(tab, ())):
                wanted = selection.clients is None or (client != RETIRED and client in selection.clients)
                state = kept.states.get(tab, {}).get(client)  # what an earlier page had its moment of may be gone
                if wanted and state is not None:
                    yield StateRow(tab, client, kept.types.get(tab, ""), state)

    def _walk_aggregates(self, selection: Selection) -> Iterator[AggregateRow]:
        tabs = sorted(
            (tab, vbucket)
            for vbucket, kept in enumerate(self._contents.vbuckets)
            for tab in kept.aggregates
            if selection.tabs is None or tab in selection.tabs
        )
        for tab, vbucket in tabs:
            kept = self._contents.vbuckets[vbucket]
            if tab in kept.aggregates:
                yield AggregateRow(tab, kept.types.get(tab, ""), kept.aggregates[tab])

    def ledger(self) -> Deferred[dict[str, int]]:
        """See `IStore.ledger`."""
        return self._done(self._ledger)

    def _ledger(self) -> dict[str, int]:
        vbuckets = self._contents.vbuckets
        total = {LOST: sum(kept.lost for kept in vbuckets), FLUSHED: sum(kept.flushed for kept in vbuckets)}
        for kept in vbuckets:
            for line, count in kept.ledger.items():
                total[line] = total.get(line, 0) + count
        return total

    def depth(self) -> Deferred[list[LogDepth]]:
        """See `IStore.depth`."""
        return self._done(self._depth)

    def _depth(self) -> list[LogDepth]:
        return [
            LogDepth(vbucket, len(kept.log), sum(len(entry.body) for entry in kept.log), kept.log[0].appended)
            for vbucket, kept in enumerate(self._contents.vbuckets)
            if kept.log
        ]

    @property
    def log_bytes(self) -> int:
        """The bytes that wait in all logs."""
        return sum(depth.bytes for depth in self._depth())

    def aside(self, limit: int) -> Deferred[list[SetAside]]:
        """See `IStore.aside`. The newest first."""
        return self._done(lambda: list(self._contents.aside)[::-1][: max(0, limit)])

    def aside_of(self, vbucket: int, ids: Sequence[str]) -> Deferred[list[SetAside]]:
        """See `IStore.aside_of`."""
        return self._done(lambda: self._contents.aside_of(vbucket, ids))

    def publish(self, member: str, facts: Mapping[str, Any], ttl: float) -> Deferred[None]:
        """See `IStore.publish`."""
        return self._done(lambda: self._published.publish(member, facts, ttl, self._clock.seconds()))

    def members(self) -> Deferred[dict[str, Mapping[str, Any]]]:
        """See `IStore.members`."""
        return self._done(lambda: self._published.living(self._clock.seconds()))

    def prune(self, now: float) -> Deferred[int]:
        """See `IStore.prune`."""
        return self._done(lambda: self._prune(now))

    def _prune(self, now: float) -> int:
        lanes, seconds = self._contents.lanes, self._dedup_days * DAY
        idle = [lane for lane, row in lanes.items() if is_idle(row.touched, now, seconds)]
        for lane in idle:
            del lanes[lane]
        return len(idle)
