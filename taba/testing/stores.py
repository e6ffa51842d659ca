"""A store that fails when it is told to, around any other store.

`FaultyStore` stands between a caller and a real implementation of `IStore`, and shows the caller what a store shows
whose network or disk fails: a call that was never done, a call that was done while its answer got lost, an answer that
comes late. The store behind it is not touched by any of that.

Not simulated: a call that is done later than the next one. Each reaches the store behind when it is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred
from zope.interface import implementer

from taba.errors import StoreUnavailable
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
    Written,
)

T = TypeVar("T")

ANY = "any"
"""The name that stands for every method."""


@implementer(IStore)
@define(eq=False, slots=False)
class FaultyStore(Service):
    """`store`, with faults. Starting and stopping it starts and stops `store`, without faults.

    The verbs take names of `IStore` methods, or ANY.
    """

    _store: Any
    _before: Counter[str] = field(factory=Counter, init=False)
    _after: Counter[str] = field(factory=Counter, init=False)
    _down: bool = field(default=False, init=False)
    _held: dict[str, list[Deferred[None]]] = field(factory=dict, init=False)

    # ------------------------------------------------------------------------------------------------------ verbs

    def fail_before(self, method: str = ANY, times: int = 1) -> None:
        """Let the next calls fail with StoreUnavailable without being done."""
        self._before[method] += times

    def fail_after(self, method: str = ANY, times: int = 1) -> None:
        """Let the next calls be done and fail with StoreUnavailable all the same: an unknown outcome."""
        self._after[method] += times

    def unavailable(self, down: bool = True) -> None:
        """Let all calls fail with StoreUnavailable without being done, until told otherwise."""
        self._down = down

    def hold(self, method: str) -> None:
        """Let the calls of `method` be done, but keep their answers back until `let_go`."""
        self._held.setdefault(method, [])

    def let_go(self, method: str) -> None:
        """Give out the answers that were kept back, in order; later ones come at once again."""
        for gate in self._held.pop(method, []):
            gate.callback(None)

    # ------------------------------------------------------------------------------------------------- start and stop

    @property
    def cluster(self) -> Cluster:
        """See `IStore.cluster`."""
        cluster: Cluster = self._store.cluster
        return cluster

    def startService(self) -> Deferred[None]:
        """Start the store behind."""
        Service.startService(self)
        return maybeDeferred(self._store.startService)

    def stopService(self) -> Deferred[None]:
        """Stop the store behind. Answers that are kept back are given out."""
        Service.stopService(self)
        for method in list(self._held):
            self.let_go(method)
        return maybeDeferred(self._store.stopService)

    # ------------------------------------------------------------------------------------------------------ calls

    def _call(self, method: str, call: Callable[..., Deferred[T]], *arguments: Any) -> Deferred[T]:
        """Do a call with the faults that are due."""
        if self._down or self._due(self._before, method):
            return fail(StoreUnavailable(f"{method}: the store is away"))
        loses_answer = self._due(self._after, method)
        done = call(*arguments)
        if loses_answer:
            done.addBoth(self._lose, method)
        if method in self._held:
            gate: Deferred[None] = Deferred()
            self._held[method].append(gate)
            done.addBoth(lambda result: gate.addCallback(lambda _: result))
        return done

    def _due(self, faults: Counter[str], method: str) -> bool:
        for name in (method, ANY):
            if faults[name] > 0:
                faults[name] -= 1
                return True
        return False

    def _lose(self, _: object, method: str) -> Any:
        raise StoreUnavailable(f"{method}: the answer was lost")

    def append(self, batches: Sequence[Append]) -> Deferred[list[Outcome]]:
        """See `IStore.append`."""
        return self._call("append", self._store.append, batches)

    def read(self, after: Mapping[int, int], max_bytes: int, wait: float) -> Deferred[list[LogEntry]]:
        """See `IStore.read`."""
        return self._call("read", self._store.read, after, max_bytes, wait)

    def acquire(self, vbuckets: Sequence[int], owner: str, ttl: float) -> Deferred[dict[int, Lease]]:
        """See `IStore.acquire`."""
        return self._call("acquire", self._store.acquire, vbuckets, owner, ttl)

    def renew(self, leases: Sequence[Lease], ttl: float) -> Deferred[set[int]]:
        """See `IStore.renew`."""
        return self._call("renew", self._store.renew, leases, ttl)

    def release(self, leases: Sequence[Lease]) -> Deferred[None]:
        """See `IStore.release`."""
        return self._call("release", self._store.release, leases)

    def load(self, lease: Lease) -> Deferred[Loaded]:
        """See `IStore.load`."""
        return self._call("load", self._store.load, lease)

    def states(self, vbucket: int, keys: Sequence[tuple[str, str]]) -> Deferred[dict[tuple[str, str], bytes]]:
        """See `IStore.states`."""
        return self._call("states", self._store.states, vbucket, keys)

    def aggregates(self, vbucket: int, tabs: Sequence[str]) -> Deferred[dict[str, bytes]]:
        """See `IStore.aggregates`."""
        return self._call("aggregates", self._store.aggregates, vbucket, tabs)

    def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> Deferred[list[Written]]:
        """See `IStore.checkpoint`."""
        return self._call("checkpoint", self._store.checkpoint, checkpoints)

    def tabs(self, wanted: frozenset[str] | None = None) -> Deferred[dict[str, str]]:
        """See `IStore.tabs`."""
        return self._call("tabs", self._store.tabs, wanted)

    def clients(self, tabs: frozenset[str] | None) -> Deferred[set[str]]:
        """See `IStore.clients`."""
        return self._call("clients", self._store.clients, tabs)

    def each_state(
        self, selection: Selection, consume: Callable[[Sequence[StateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """See `IStore.each_state`. With `fail_after`, all pages are given out before it fails."""
        return self._call("each_state", self._store.each_state, selection, consume)

    def each_aggregate(
        self, selection: Selection, consume: Callable[[Sequence[AggregateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """See `IStore.each_aggregate`. With `fail_after`, all pages are given out before it fails."""
        return self._call("each_aggregate", self._store.each_aggregate, selection, consume)

    def ledger(self) -> Deferred[dict[str, int]]:
        """See `IStore.ledger`."""
        return self._call("ledger", self._store.ledger)

    def depth(self) -> Deferred[list[LogDepth]]:
        """See `IStore.depth`."""
        return self._call("depth", self._store.depth)

    def aside(self, limit: int) -> Deferred[list[SetAside]]:
        """See `IStore.aside`."""
        return self._call("aside", self._store.aside, limit)

    def aside_of(self, vbucket: int, ids: Sequence[str]) -> Deferred[list[SetAside]]:
        """See `IStore.aside_of`."""
        return self._call("aside_of", self._store.aside_of, vbucket, ids)

    def flush(self) -> Deferred[int]:
        """See `IStore.flush`."""
        return self._call("flush", self._store.flush)

    def publish(self, member: str, facts: Mapping[str, Any], ttl: float) -> Deferred[None]:
        """See `IStore.publish`."""
        return self._call("publish", self._store.publish, member, facts, ttl)

    def members(self) -> Deferred[dict[str, Mapping[str, Any]]]:
        """See `IStore.members`."""
        return self._call("members", self._store.members)

    def prune(self, now: float) -> Deferred[int]:
        """See `IStore.prune`."""
        return self._call("prune", self._store.prune, now)
