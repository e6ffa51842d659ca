"""fe: takes the agents' batches into the logs.

It opens no batch and keeps nothing: what it answers is what the store says, in one atomic step per request. Servers
that are full, or whose store fails, answer 503, and agents keep what they hold.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import inlineCallbacks
from twisted.internet.interfaces import IReactorTime

from taba import native
from taba.errors import FrameError, StoreUnavailable
from taba.handlers.registry import Registry
from taba.interfaces import IStore
from taba.server.observation import Observer
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology

DEPTH_SECONDS = 0.1
"""How long what was seen of the logs' depth is believed: it costs a round trip to a store of many processes."""


class WrongClusterError(Exception):
    """The request is for another cluster than this one."""

    def __init__(self, asked: str, here: str) -> None:
        super().__init__(f"This server is of cluster {here}; the request is for {asked}.")
        self.asked = asked
        self.here = here


class Frontend:
    """The fe part of a server process. `queue_capacity` is in bytes of logs."""

    def __init__(
        self,
        store: IStore,
        registry: Registry,
        clock: IReactorTime,
        wall: Callable[[], float],
        observer: Observer,
        *,
        queue_capacity: int = 1 << 30,
        flush_seconds: float = 0.25,
        max_body: int = 16 << 20,
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._wall = wall
        self._observer = observer
        self._queue_capacity = queue_capacity
        self._depth = 0
        self._depth_due = -DEPTH_SECONDS
        self._flush_seconds = flush_seconds
        self._max_body = max_body

    def topology(self) -> Topology:
        """What an agent has to know before it sends."""
        cluster = self._store.cluster
        return Topology(
            cluster=cluster.id,
            vbuckets=cluster.vbuckets,
            partials=dict.fromkeys(self._registry.handlers, (1,)),
            types=tuple(sorted(self._registry.handlers)),
            limits={"body": self._max_body},
            endpoints=(),
            durability=cluster.durability,
            time=self._wall(),
        )

    @inlineCallbacks
    def append(self, request: AppendRequest):  # type: ignore[no-untyped-def]
        """Append a request's batches; fires with the AppendAnswer.

        Fails with WrongClusterError, and with StoreUnavailable when the logs are full or nothing is known.
        """
        cluster = self._store.cluster
        if request.cluster != cluster.id:
            raise WrongClusterError(request.cluster, cluster.id)
        batches = [each for each in request.batches if each.body is not None]
        for each in batches:
            if native.crc32c(each.body or b"") != each.checksum:
                raise FrameError(f"the body of batch {each.seq} of vbucket {each.vbucket} was damaged on its way")
        if batches and (yield self._log_bytes()) > self._queue_capacity:
            raise StoreUnavailable("The logs are full (QUEUE_CAPACITY): be does not keep up, or no be is running.")
        started = self._clock.seconds()
        outcomes = yield self._store.append(request.batches)
        appended = [
            each for each, outcome in zip(request.batches, outcomes, strict=True) if outcome.appended
        ]
        if appended:
            self._observer.appended(
                sum(each.events for each in appended),
                min(each.sealed for each in appended),
                self._clock.seconds() - started,
            )
        return AppendAnswer(
            cluster=cluster.id, time=self._wall(), flush=self._flush_seconds, outcomes=tuple(outcomes)
        )

    @inlineCallbacks
    def _log_bytes(self):  # type: ignore[no-untyped-def]
        """The bytes that wait in the logs, as they were a moment ago."""
        now = self._clock.seconds()
        if now >= self._depth_due:
            self._depth_due = now + DEPTH_SECONDS
            depth = yield self._store.depth()
            self._depth = sum(each.bytes for each in depth)
        return self._depth
