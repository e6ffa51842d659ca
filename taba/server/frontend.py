"""fe: takes the agents' batches into the logs.

It opens no batch and keeps nothing: what it answers is what the store says, in one atomic step per request and shard.
Batches for a shard whose logs are too full, or for a log that is too late (see `taba.server.throttle`), are not taken:
the answer calls them moved, so that their lanes ask again later while others go on; a request of which nothing could
be taken fails, and so does one whose store fails. Servers answer 503 then, and agents keep what they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from taba import native
from taba.errors import FrameError, StoreError, StoreUnavailable
from taba.handlers.registry import Registry
from taba.interfaces import Append, IStore, Outcome, Verdict
from taba.server.observation import Observer
from taba.server.throttle import Placing, Throttle
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology

DEPTH_SECONDS = 0.1
"""How long what was seen of the logs' depth is believed: it costs a round trip to a store of many processes."""
DEPTH_AGAIN_SECONDS = 1.0
"""How long it is believed when the store could not say: one of its shards may be away while others work."""
NEVER = 1.0
"""A chance that refuses no request but those for a shard that is full."""


class WrongClusterError(Exception):
    """The request is for another cluster than this one."""

    def __init__(self, asked: str, here: str) -> None:
        super().__init__(f"This server is of cluster {here}; the request is for {asked}.")
        self.asked = asked
        self.here = here


class Frontend:
    """The fe part of a server process. `throttle_capacity` and `queue_capacity` are in bytes of logs of a shard:
    between them requests are refused by `chance`, which gives numbers in [0, 1); so they are between
    `throttle_seconds` and twice as many.
    """

    _log = Logger()

    def __init__(
        self,
        store: IStore,
        registry: Registry,
        clock: IReactorTime,
        wall: Callable[[], float],
        observer: Observer,
        *,
        queue_capacity: int = 1 << 30,
        throttle_capacity: int = 1 << 28,
        throttle_seconds: float | None = None,
        chance: Callable[[], float] = lambda: NEVER,
        flush_seconds: float = 0.25,
        max_body: int = 16 << 20,
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._wall = wall
        self._observer = observer
        self._chance = chance
        self._placing: Placing | None = store if isinstance(store, Placing) else None
        self.throttle = Throttle(throttle_capacity, queue_capacity, self._shard_of, throttle_seconds)
        self._depth_due = -DEPTH_SECONDS
        self._flush_seconds = flush_seconds
        self._max_body = max_body

    def _shard_of(self, vbucket: int) -> str:
        """A store that says nothing of shards is one; so is what belongs to no vbucket, which the store will refuse."""
        if self._placing is None or not 0 <= vbucket < self._store.cluster.vbuckets:
            return ""
        return self._placing.shard_of(vbucket)

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
            kinds=self._registry.kinds(),
        )

    @inlineCallbacks
    def append(self, request: AppendRequest):  # type: ignore[no-untyped-def]
        """Append a request's batches; fires with the AppendAnswer.

        Fails with WrongClusterError, and with StoreUnavailable when the logs of all that it is for are full, or nothing
        is known.
        """
        cluster = self._store.cluster
        if request.cluster != cluster.id:
            raise WrongClusterError(request.cluster, cluster.id)
        for each in request.batches:
            if each.body is not None and native.crc32c(each.body) != each.checksum:
                raise FrameError(f"the body of batch {each.seq} of vbucket {each.vbucket} was damaged on its way")
        refused: set[int] = yield self._refused(request.batches)
        taken = [each for each in request.batches if each.body is None or each.vbucket not in refused]
        if refused and not any(each.body is not None for each in taken):
            self._observer.rejected()
            raise StoreUnavailable(
                "The logs are too full (QUEUE_THROTTLE_CAPACITY, QUEUE_THROTTLE_SECONDS, QUEUE_CAPACITY): be does not"
                " keep up, or no be runs."
            )
        started = self._clock.seconds()
        outcomes: list[Outcome] = yield self._store.append(taken)
        self._observe(taken, outcomes, started)
        return AppendAnswer(
            cluster=cluster.id,
            time=self._wall(),
            flush=self._flush_seconds,
            outcomes=tuple(_in_order(request.batches, refused, outcomes)),
        )

    def _observe(self, taken: Sequence[Append], outcomes: Sequence[Outcome], started: float) -> None:
        self._observer.measures.appended(outcomes, self._clock.seconds() - started)
        appended = [each for each, outcome in zip(taken, outcomes, strict=True) if outcome.appended]
        if appended:
            self._observer.appended(
                sum(each.events for each in appended),
                min(each.sealed for each in appended),
                self._clock.seconds() - started,
            )

    @inlineCallbacks
    def _refused(self, batches: Sequence[Append]):  # type: ignore[no-untyped-def]
        """The vbuckets whose batches are not taken. Looks are always answered."""
        vbuckets = [each.vbucket for each in batches if each.body is not None]
        if not vbuckets:
            return set()
        yield self._look()
        return self.throttle.refuses(vbuckets, self._chance)

    @inlineCallbacks
    def _look(self):  # type: ignore[no-untyped-def]
        """See what waits in the logs, unless that was seen a moment ago. A store that cannot say now is believed to be
        as it was: whether it takes anything shows when it is asked to.
        """
        now = self._clock.seconds()
        if now < self._depth_due:
            return
        self._depth_due = now + DEPTH_SECONDS
        try:
            depths = yield self._store.depth()
        except StoreError as problem:
            self._depth_due = self._clock.seconds() + DEPTH_AGAIN_SECONDS
            self._log.debug("What waits in the logs is not known: {problem}", problem=problem)
            return
        for change in self.throttle.looked(depths, self._wall()):
            where = f"shard {change.shard}" if change.shard else "the store"
            if change.refuses:
                self._log.warn(
                    "The logs of {where} hold {waiting} bytes, or {lag} s of work: requests are refused"
                    " (QUEUE_THROTTLE_CAPACITY, QUEUE_THROTTLE_SECONDS)",
                    where=where, waiting=change.waiting, lag=round(self.throttle.lag.get(change.shard, 0.0)),
                )  # fmt: skip
            else:
                self._log.info("The logs of {where} take everything again", where=where)


def _in_order(batches: Sequence[Append], refused: set[int], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of all batches, those that were not given to the store among them."""
    rest = iter(outcomes)
    return [
        next(rest)
        if each.body is None or each.vbucket not in refused
        else Outcome(each.vbucket, each.incarnation, each.seq, Verdict.MOVED, 0, None, "")
        for each in batches
    ]
