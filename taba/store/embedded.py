"""The embedded store: one SQLite database in one folder, for a server of one process. The default without settings.

In memory it keeps only how much waits in each log, the leases and the members: the folder is locked, so nobody outside
this process can hold one, or be one. After any failure of a write it reads how much waits again, because what failed
may have been done.

An ok is durable: every transaction is synced before it is answered ("fsynced").
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from taba.errors import LocalProtocolError, NotHere, StoreUnavailable
from taba.interfaces import (
    AggregateRow,
    Append,
    Checkpoint,
    Cluster,
    IFolder,
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
from taba.process import Worker
from taba.store import aside_rows, checkpoint_rows, log_rows, queries, schema
from taba.store.arrivals import Arrivals
from taba.store.judge import breaks_rules
from taba.store.leases import Leases
from taba.store.limits import DAY, DEDUP_DAYS, Limits, check_dedup_days
from taba.store.pages import Row, give_pages, take_page
from taba.store.published import Published
from taba.store.transactions import Transactions

P = ParamSpec("P")
T = TypeVar("T")

_LANES_AT_A_TIME = 10_000
"""The dedup rows that one transaction of `prune` looks at: some 10 ms, after which appends have their turn."""


@implementer(IStore)
@define(eq=False, slots=False)
class EmbeddedStore(Service):
    """`IStore` in the SQLite database of a folder, which it locks while it runs."""

    _folder: IFolder
    _vbuckets: int
    """NUM_VBUCKETS, which must be what it was when the folder was new."""
    _clock: IReactorTime
    """Monotonic; for leases and waiting reads."""
    _wall: Callable[[], float]
    _new_id: Callable[[], str]
    _writer: Worker
    """Does what writes; stopped with the store."""
    _reader: Worker
    """Does what reads; stopped with the store."""
    _dedup_days: float = field(default=DEDUP_DAYS, kw_only=True, validator=check_dedup_days)
    _limits: Limits = field(factory=Limits, kw_only=True)
    cluster: Cluster = field(init=False)
    _transactions: Transactions = field(init=False)
    _arrivals: Arrivals = field(init=False)
    _leases: Leases = field(init=False)
    _published: Published = field(factory=Published, init=False)
    _ends: log_rows.LogEnds = field(factory=dict, init=False)
    _ends_in_doubt: bool = field(default=False, init=False)
    _first: int = field(default=0, init=False)
    """The vbucket that the next read begins with, so that a busy one keeps nobody else waiting."""

    def __attrs_post_init__(self) -> None:
        self._transactions = Transactions(self._folder, self._writer, self._reader)
        self._arrivals = Arrivals(self._clock)

    # --------------------------------------------------------------------------------------------- start and stop

    def startService(self) -> Deferred[None]:
        """Lock the folder and open the database under a new lineage; fails with StartError, whose text says what to do.

        A store is started once: its Workers end with it, or when it cannot start.
        """
        Service.startService(self)
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            identity, epochs, self._ends = await self._transactions.open(self._establish)
        except Exception:
            self.running = 0
            raise
        self._leases = Leases(epochs)
        self.cluster = Cluster(identity.cluster_id, identity.vbuckets, self._new_id(), "fsynced")

    def _establish(
        self, database: sqlite3.Connection, path: str
    ) -> tuple[schema.Identity, dict[int, int], log_rows.LogEnds]:
        """The first transaction: what there is, made if it is not there yet."""
        identity = schema.establish(database, path, self._vbuckets, self._new_id)
        return identity, checkpoint_rows.read_epochs(database), log_rows.read_ends(database)

    def stopService(self) -> Deferred[None]:
        """Finish what is under way, close the database and unlock the folder; every later call fails."""
        if not self.running:
            return succeed(None)
        Service.stopService(self)
        stopping = Deferred.fromCoroutine(self._transactions.close())
        self._arrivals.announce_all()
        return stopping

    # ------------------------------------------------------------------------------------------------ transactions

    def _lineage(self) -> str:
        """The lineage of this opening; raises StoreUnavailable when the store is not open."""
        self._transactions.check()
        return self.cluster.lineage

    def _query_of(
        self,
        vbucket: int,
        work: Callable[Concatenate[sqlite3.Connection, int, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        """Do `work` for a vbucket in a transaction of the reader; fails with NotHere when there is no such vbucket."""
        if self._ends and vbucket not in self._ends:
            return fail(NotHere(f"there is no vbucket {vbucket}: the cluster has {self._vbuckets}"))
        return self._transactions.query(work, vbucket, *args, **kwargs)

    async def _change_logs(self, change: Deferred[tuple[T, log_rows.LogEnds]]) -> T:
        """Await a transaction that changes logs, and keep what it says of their ends."""
        try:
            result, ends = await change
        except (StoreUnavailable, CancelledError):
            # It may have been done, and nobody who waits for the log to grow would hear of it.
            self._ends_in_doubt = True
            Deferred.fromCoroutine(self._reassure())
            raise
        self._ends.update(ends)
        return result

    async def _reassure(self) -> None:
        # When it fails, whoever asks next tries again, and hears why.
        with suppress(StoreUnavailable):
            await self._sure_ends()
            self._arrivals.announce_all()

    async def _sure_ends(self) -> log_rows.LogEnds:
        """How much waits in each log; raises StoreUnavailable when that cannot be found out."""
        self._transactions.check()
        if self._ends_in_doubt:
            self._ends = await self._transactions.write(log_rows.read_ends)
            self._ends_in_doubt = False
        return self._ends

    # -------------------------------------------------------------------------------------------------------- log

    def append(self, batches: Sequence[Append]) -> Deferred[list[Outcome]]:
        """See `IStore.append`."""
        return Deferred.fromCoroutine(self._append(batches))

    async def _append(self, batches: Sequence[Append]) -> list[Outcome]:
        outcomes = await self._change_logs(
            self._transactions.write(
                log_rows.append,
                batches,
                vbuckets=self._vbuckets,
                lineage=self._lineage(),
                now=self._wall(),
                dedup_seconds=self._dedup_days * DAY,
            )
        )
        self._arrivals.announce(outcome.vbucket for outcome in outcomes if outcome.appended)
        return outcomes

    def read(self, after: Mapping[int, int], max_bytes: int, wait: float) -> Deferred[list[LogEntry]]:
        """See `IStore.read`."""
        return Deferred.fromCoroutine(self._read(dict(after), max_bytes, wait))

    async def _read(self, after: dict[int, int], max_bytes: int, wait: float) -> list[LogEntry]:
        until = self._clock.seconds() + wait
        while True:
            ends = await self._sure_ends()
            grown = sorted(vbucket for vbucket in after if vbucket in ends and ends[vbucket].last_id > after[vbucket])
            turns = sorted(grown, key=lambda vbucket: vbucket < self._first)
            # Nothing of a log that was trimmed meanwhile, so the ends may promise more than there is.
            entries: list[LogEntry] = []
            if turns:
                entries = await self._transactions.query(
                    log_rows.read_entries, [(v, after[v]) for v in turns], max_bytes, self._lineage()
                )
            remaining = until - self._clock.seconds()
            if entries or remaining <= 0:
                break
            await self._arrivals.wait(after, remaining)
        if entries:
            self._first = entries[-1].vbucket + 1
        return entries

    # ----------------------------------------------------------------------------------------------------- leases

    def acquire(self, vbuckets: Sequence[int], owner: str, ttl: float) -> Deferred[dict[int, Lease]]:
        """See `IStore.acquire`."""
        return Deferred.fromCoroutine(self._acquire(vbuckets, owner, ttl))

    async def _acquire(self, vbuckets: Sequence[int], owner: str, ttl: float) -> dict[int, Lease]:
        self._lineage()
        known = [vbucket for vbucket in vbuckets if vbucket in self._ends]
        granted = self._leases.grant(known, owner, ttl, self._clock.seconds())
        # An epoch that is used before it is durable could be granted again after a crash, to somebody else.
        if granted:
            await self._transactions.write(checkpoint_rows.write_epochs, list(granted.values()))
        return granted

    def renew(self, leases: Sequence[Lease], ttl: float) -> Deferred[set[int]]:
        """See `IStore.renew`. It waits for no disk, so that a slow one costs no lease."""
        return self._open(lambda: self._leases.renew(leases, ttl, self._clock.seconds()))

    def release(self, leases: Sequence[Lease]) -> Deferred[None]:
        """See `IStore.release`."""
        return self._open(lambda: self._leases.release(leases))

    def _open(self, work: Callable[[], T]) -> Deferred[T]:
        """The outcome of work that needs no disk, unless the store is not open."""

        def check_and_work() -> T:
            self._transactions.check()
            return work()

        return maybeDeferred(check_and_work)

    # ------------------------------------------------------------------------------------------------ checkpoints

    def load(self, lease: Lease) -> Deferred[Loaded]:
        """See `IStore.load`."""
        return Deferred.fromCoroutine(self._load(lease.vbucket))

    async def _load(self, vbucket: int) -> Loaded:
        return await self._query_of(vbucket, queries.load, self._lineage())

    def states(self, vbucket: int, keys: Sequence[tuple[str, str]]) -> Deferred[dict[tuple[str, str], bytes]]:
        """See `IStore.states`."""
        return self._query_of(vbucket, queries.states, keys)

    def aggregates(self, vbucket: int, tabs: Sequence[str]) -> Deferred[dict[str, bytes]]:
        """See `IStore.aggregates`."""
        return self._query_of(vbucket, queries.aggregates, tabs)

    def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> Deferred[list[Written]]:
        """See `IStore.checkpoint`. All in one transaction, in which each is judged on its own."""
        return Deferred.fromCoroutine(self._checkpoint(checkpoints))

    async def _checkpoint(self, checkpoints: Sequence[Checkpoint]) -> list[Written]:
        for problem in filter(None, map(breaks_rules, checkpoints)):
            raise LocalProtocolError(problem)
        # Leases are judged when they are shown, and transactions are done in the order in which they are asked for:
        # whoever gets a lease after this loads what is written here.
        lineage, now = self._lineage(), self._clock.seconds()
        held = [self._leases.holds(checkpoint.lease, now) for checkpoint in checkpoints]
        written = await self._change_logs(
            self._transactions.write(checkpoint_rows.write_checkpoints, checkpoints, held, lineage, self._limits)
        )
        for checkpoint, answer in zip(checkpoints, written, strict=True):
            if answer is Written.DONE:
                self._leases.prolong(checkpoint.lease, self._clock.seconds())
        return written

    def flush(self) -> Deferred[int]:
        """See `IStore.flush`. A transaction for each vbucket, so that appends do not wait for all of them."""
        return Deferred.fromCoroutine(self._flush())

    async def _flush(self) -> int:
        ends = await self._sure_ends()
        waiting = [vbucket for vbucket, end in sorted(ends.items()) if end.entries]
        return sum([await self._change_logs(self._transactions.write(log_rows.flush, vbucket)) for vbucket in waiting])

    # ---------------------------------------------------------------------------------------------------- queries

    def tabs(self, wanted: frozenset[str] | None = None) -> Deferred[dict[str, str]]:
        """See `IStore.tabs`."""
        if wanted is None:
            return self._transactions.query(queries.all_tabs)
        return self._transactions.query(queries.some_tabs, wanted)

    def clients(self, tabs: frozenset[str] | None) -> Deferred[set[str]]:
        """See `IStore.clients`."""
        return (
            self._transactions.query(queries.all_clients)
            if tabs is None
            else self._transactions.query(queries.clients_of, tabs)
        )

    def each_state(
        self, selection: Selection, consume: Callable[[Sequence[StateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """See `IStore.each_state`."""
        return Deferred.fromCoroutine(self._give(queries.walk_states, selection, consume))

    def each_aggregate(
        self, selection: Selection, consume: Callable[[Sequence[AggregateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """See `IStore.each_aggregate`."""
        if selection.clients is not None:
            return fail(LocalProtocolError("an Aggregate is of all clients: a query of Aggregates selects none"))
        return Deferred.fromCoroutine(self._give(queries.walk_aggregates, selection.tabs, consume))

    async def _give(
        self,
        walk: Callable[[sqlite3.Connection, Any, queries.Moment], Iterator[Row]],
        selected: Any,
        consume: Callable[[Sequence[Row]], Deferred[Any] | None],
    ) -> None:
        """Give what `walk` finds to `consume`, one transaction for each page."""
        rows: Iterator[Row] | None = None
        pages = 0

        def next_page(database: sqlite3.Connection) -> list[Row]:
            nonlocal rows, pages
            pages += 1
            rows = walk(database, selected, lambda: pages) if rows is None else rows
            return take_page(rows, self._limits.page_rows, self._limits.page_bytes)

        await give_pages(lambda: self._transactions.query(next_page), consume)

    def ledger(self) -> Deferred[dict[str, int]]:
        """See `IStore.ledger`."""
        return self._transactions.query(queries.ledger)

    def depth(self) -> Deferred[list[LogDepth]]:
        """See `IStore.depth`."""
        return Deferred.fromCoroutine(self._depth())

    async def _depth(self) -> list[LogDepth]:
        ends = await self._sure_ends()
        return [
            LogDepth(vbucket, end.entries, end.bytes, end.oldest)
            for vbucket, end in sorted(ends.items())
            if end.entries
        ]

    @property
    def log_bytes(self) -> int:
        """The bytes that wait in all logs."""
        return sum(end.bytes for end in self._ends.values())

    def aside(self, limit: int) -> Deferred[list[SetAside]]:
        """See `IStore.aside`. The newest first."""
        return self._transactions.query(aside_rows.newest, limit)

    def aside_of(self, vbucket: int, ids: Sequence[str]) -> Deferred[list[SetAside]]:
        """See `IStore.aside_of`."""
        return self._transactions.query(aside_rows.find, vbucket, ids)

    def publish(self, member: str, facts: Mapping[str, Any], ttl: float) -> Deferred[None]:
        """See `IStore.publish`. In memory: nobody but this process could ask."""
        return self._open(lambda: self._published.publish(member, facts, ttl, self._clock.seconds()))

    def members(self) -> Deferred[dict[str, Mapping[str, Any]]]:
        """See `IStore.members`."""
        return self._open(lambda: self._published.living(self._clock.seconds()))

    def prune(self, now: float) -> Deferred[int]:
        """See `IStore.prune`. In pieces, so that appends do not wait for all of it."""
        return Deferred.fromCoroutine(self._prune(now))

    async def _prune(self, now: float) -> int:
        pruned, at = 0, log_rows.FIRST_LANE
        while True:
            gone, end = await self._transactions.write(
                log_rows.prune_lanes, at, _LANES_AT_A_TIME, now, self._dedup_days * DAY
            )
            pruned += gone
            if end is None:
                return pruned
            at = end
