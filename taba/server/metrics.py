"""The numbers of a server for /metrics: names, units and meanings, in one place.

Three things the store is asked for: the depths of the logs, the ledger, the members. They are of the whole cluster, the
same on every server. One that the store does not give within `ANSWER_SECONDS` is left out, and a question that is
unanswered is not asked again meanwhile: a scrape neither waits for a store that hangs nor adds to what it has to do.
Everything else is this server's own.

docs/reference/metrics.md says what each number means and what to do; a test compares. Labels are bounded: by
NUM_VBUCKETS, shards, roles, and words that Taba itself has. The numbers of the agent in this process are among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request

from taba.errors import StoreError
from taba.interfaces import LogDepth
from taba.metrics import CONTENT_TYPE, Exposition
from taba.process import Process
from taba.server.folding import Folding
from taba.server.latency import ENQUEUE, PROCESSED
from taba.server.measures import VERDICTS, WRITTEN
from taba.server.notes import Kind
from taba.usage import expose as expose_usage
from taba.web.answers import write_text

if TYPE_CHECKING:
    from taba.server.service import Server

ANSWER_SECONDS = 3.0
"""How long a scrape waits for the store; Prometheus itself gives up after 10 seconds by default."""
ONLY_SHARD = "store"
"""The label of a store that has no shards."""
PREFIX = "taba_server_"

T = TypeVar("T")


@runtime_checkable
class Exposing(Protocol):
    """What has numbers of its own, as the agent in a server's process."""

    def expose(self, into: Exposition) -> None:
        """Put them into an exposition."""


@frozen
class Told:
    """What the store said; None for what it did not say."""

    depth: Sequence[LogDepth] | None = None
    ledger: Mapping[str, int] | None = None
    members: Mapping[str, Mapping[str, Any]] | None = None


class ServerMetrics:
    """The numbers of one server, and of what is `inside` its process. Used in the reactor thread only."""

    _log = Logger()

    def __init__(self, server: Server, inside: object, process: Process) -> None:
        self._server = server
        self._inside = inside
        self._process = process
        self._under_way: set[str] = set()

    def answer(self, request: Request) -> Deferred[None]:
        """Answer `/metrics`."""
        return self.text().addCallback(lambda text: write_text(request, text, content_type=CONTENT_TYPE))

    def text(self) -> Deferred[str]:
        """All numbers as Prometheus text; fires within `ANSWER_SECONDS`, whatever the store does."""
        store = self._server.store
        asked: Deferred[list[Any]] = gatherResults(
            [
                self._asked("depth", store.depth),
                self._asked("ledger", store.ledger),
                self._asked("members", self._server.publishing.members),
            ]
        )
        return asked.addCallback(lambda told: self.exposition(Told(*told)).text())

    def _asked(self, name: str, ask: Callable[[], Deferred[T]]) -> Deferred[T | None]:
        """What the store answers; None when it fails, is late, or has not answered the last time yet."""
        if name in self._under_way:
            return succeed(None)
        self._under_way.add(name)
        answer: Deferred[T | None] = Deferred()

        def give(result: T | None) -> None:
            self._under_way.discard(name)
            if late.active():
                late.cancel()
                answer.callback(result)

        def fail(failure: Failure) -> None:
            if not failure.check(StoreError):
                self._log.failure("The store cannot be asked for {name}", failure, name=name)
            give(None)

        late = self._process.reactor.callLater(ANSWER_SECONDS, answer.callback, None)
        ask().addCallbacks(give, fail)
        return answer

    def exposition(self, told: Told) -> Exposition:
        """All numbers, with what the store said."""
        into = Exposition()
        expose_usage(into, self._process.usage())
        self._cluster(into, told)
        self._queues(into, told.depth)
        self._shards(into, told.depth)
        self._intake(into)
        self._folding(into)
        self._maintenance(into)
        self._server.observer.measures.http.expose(into, "taba_server")
        if isinstance(self._inside, Exposing):
            self._inside.expose(into)
        return into

    # ------------------------------------------------------------------------------------------ the cluster

    def _cluster(self, into: Exposition, told: Told) -> None:
        """What is the same on every server."""
        server, depth = self._server, told.depth
        silent = told.depth is None or told.ledger is None
        into.gauge(f"{PREFIX}store_answering", "1 when the store, with all shards, answered for this.", int(not silent))
        into.gauge(f"{PREFIX}ready", "1 when /readyz is 200.", int(server.status.ready() is None))
        into.gauge(f"{PREFIX}memory_budget_bytes", "SERVER_MEMORY_BYTES.", server.settings.memory_bytes)
        into.gauge(f"{PREFIX}vbuckets", "NUM_VBUCKETS of the cluster.", server.store.cluster.vbuckets)
        into.ledger(f"{PREFIX}events", "Events of the cluster by line of the ledger.", told.ledger or {})
        entries = None if depth is None else sum(each.entries for each in depth)
        into.gauge(f"{PREFIX}log_entries", "Batches in all logs of the cluster that no checkpoint has yet.", entries)
        size = None if depth is None else sum(each.bytes for each in depth)
        into.gauge(f"{PREFIX}log_bytes", "Bytes of all logs of the cluster that no checkpoint has yet.", size)
        wall = self._process.wall()
        oldest = None if depth is None else max((wall - each.oldest for each in depth), default=0.0)
        age = None if oldest is None else max(0.0, oldest)
        into.gauge(f"{PREFIX}log_oldest_seconds", "How long the oldest batch of all logs has waited.", age)
        roles = Counter(role for facts in (told.members or {}).values() for role in facts.get("roles", ()))
        for role in ("fe", "be", "ctrl"):
            count = roles[role] if told.members is not None else None
            into.gauge(f"{PREFIX}members", "Servers that publish themselves, by role.", count, role=role)
        now = self._process.reactor.seconds()
        for way in (ENQUEUE, PROCESSED):
            median = server.tracker.median(way, now)
            into.gauge(f"{PREFIX}latency_seconds", "Median of the last ten minutes; see /latency.", median, way=way)

    def _queues(self, into: Exposition, depth: Sequence[LogDepth] | None) -> None:
        """The logs of the vbuckets that this server folds, each."""
        folding, wall = self._server.backend.folding, self._process.wall()
        into.gauge(f"{PREFIX}vbuckets_held", "Vbuckets that this server folds.", len(folding))
        waiting = {each.vbucket: each for each in depth or ()}
        none = LogDepth(-1, 0, 0, wall)
        held = [(vbucket, waiting.get(vbucket, none)) for vbucket in sorted(folding)] if depth is not None else []
        meaning = "Batches in the log of a vbucket that this server folds."
        into.gauges(f"{PREFIX}queue_entries", meaning, "vbucket", [(v, each.entries) for v, each in held])
        meaning = "Bytes in the log of a vbucket that this server folds."
        into.gauges(f"{PREFIX}queue_bytes", meaning, "vbucket", [(v, each.bytes) for v, each in held])
        ages = [(v, max(0.0, wall - each.oldest)) for v, each in held]
        meaning = "How long the oldest batch in the log of a vbucket has waited."
        into.gauges(f"{PREFIX}queue_oldest_seconds", meaning, "vbucket", ages)

    def _shards(self, into: Exposition, depth: Sequence[LogDepth] | None) -> None:
        """The shards of the store, and how full their logs are."""
        throttle, sharded = self._server.frontend.throttle, self._server.status.sharded
        states = list(sharded.shard_states()) if sharded is not None else []
        names = [str(state["shard"]) for state in states] or [""]
        waiting: Counter[str] = Counter()
        for each in depth or ():
            waiting[throttle.shard_of(each.vbucket)] += each.bytes
        for name in names:
            shard = name or ONLY_SHARD
            size = None if depth is None else waiting[name]
            into.gauge(f"{PREFIX}shard_log_bytes", "Bytes in the logs of a shard.", size, shard=shard)
            meaning = "Batches that this server refused since a shard's logs were too full."
            into.counter(f"{PREFIX}throttled_batches_total", meaning, throttle.refused[name], shard=shard)
        into.gauge(f"{PREFIX}throttle_bytes", "QUEUE_THROTTLE_CAPACITY: some batches are refused.", throttle.soft)
        into.gauge(f"{PREFIX}throttle_limit_bytes", "QUEUE_CAPACITY: all batches are refused.", throttle.hard)
        meaning = "Vbuckets that are on their way between shards (taba-cli reshard)."
        into.gauge(f"{PREFIX}vbuckets_moving", meaning, sharded.moving if sharded is not None else 0)
        meaning = "Vbuckets that a mover had left sealed and this server let go on, by where they are."
        into.counter(f"{PREFIX}moves_freed_total", meaning, None)
        for how, freed in (sharded.freed if sharded is not None else {}).items():
            into.counter(f"{PREFIX}moves_freed_total", meaning, freed, how=how)
        for name, kind, meaning, value in SHARD_NUMBERS:
            expose = into.counter if kind == "counter" else into.gauge
            expose(f"{PREFIX}{name}", meaning, None)
            for state in states:
                expose(f"{PREFIX}{name}", meaning, value(state), shard=state["shard"])

    # ------------------------------------------------------------------------------------------ this server

    def _intake(self, into: Exposition) -> None:
        """fe."""
        measures, refusals = self._server.observer.measures, self._server.observer.refusals
        into.histogram(f"{PREFIX}append_seconds", "Time of the store's answers to append requests.", measures.appends)
        meaning = "Batches and looks by what their logs said."
        for verdict in VERDICTS:
            into.counter(f"{PREFIX}appends_total", meaning, measures.verdicts[verdict], verdict=verdict)
        name, meaning = f"{PREFIX}refused_events_total", "Events that this server did not fold, by reason."
        into.counter(name, meaning, None)
        for reason, events in sorted(refusals.items()):
            into.counter(name, meaning, events, reason=reason)

    def _folding(self, into: Exposition) -> None:
        """be."""
        server, measures = self._server, self._server.observer.measures
        foldings = list(server.backend.folding.values())
        into.gauge(f"{PREFIX}tabs", "Tabs of the vbuckets that this server folds.", sum(map(_tabs, foldings)))
        meaning = "Memory of what was read of logs and is in no checkpoint yet."
        into.gauge(f"{PREFIX}folding_bytes", meaning, sum(each.held for each in foldings))
        into.gauge(f"{PREFIX}state_cache_bytes", "Memory of States that are kept hot.", server.backend.cache.held)
        into.gauge(f"{PREFIX}state_cache_limit_bytes", "STATE_CACHE_BYTES.", server.backend.cache.max_bytes)
        into.counter(f"{PREFIX}taken_batches_total", "Batches read of logs.", measures.taken_batches)
        into.counter(f"{PREFIX}taken_bytes_total", "Bytes of batches read of logs.", measures.taken_bytes)
        into.counter(f"{PREFIX}leases_lost_total", "Leases lost without being given back.", measures.leases_lost)
        meaning = "Vbuckets that were dropped, to be loaded again."
        into.counter(f"{PREFIX}vbuckets_dropped_total", meaning, server.observer.dropped_vbuckets)
        self._moves(into)
        meaning = "Time in which all vbuckets with something to write were checkpointed."
        into.histogram(f"{PREFIX}checkpoint_seconds", meaning, measures.rounds)
        meaning = "Checkpoints of single vbuckets, by what became of them."
        for outcome in WRITTEN:
            into.counter(f"{PREFIX}checkpoints_total", meaning, measures.checkpoints[outcome], outcome=outcome)
        into.counter(f"{PREFIX}states_written_total", "States written or deleted by checkpoints.", measures.states)

    def _moves(self, into: Exposition) -> None:
        """Vbuckets that come and go."""
        leasing, measures = self._server.backend.leasing, self._server.observer.measures
        into.gauge(f"{PREFIX}members_heard", "Servers of role be that this be hears of.", len(leasing.members()))
        meaning = "Vbuckets that this be should have, as far as it knows of the others, and does not have."
        into.gauge(f"{PREFIX}vbuckets_missing", meaning, leasing.missing() if self._server.backend.running else 0)
        meaning = "Vbuckets taken that this be had not had before."
        into.counter(f"{PREFIX}vbuckets_taken_over_total", meaning, measures.taken_over)
        meaning = "Vbuckets written and given to other servers."
        into.counter(f"{PREFIX}vbuckets_handed_over_total", meaning, measures.handed_over)
        meaning = "How long the oldest batch of a vbucket had waited that was taken over, when it was folded."
        into.histogram(f"{PREFIX}takeover_seconds", meaning, measures.takeovers)
        meaning = "When something of a vbucket that this server holds was folded last, in seconds since 1970."
        into.gauges(f"{PREFIX}folded_timestamp_seconds", meaning, "vbucket", sorted(measures.folded.items()))

    def _maintenance(self, into: Exposition) -> None:
        """GC and chores."""
        maintenance = self._server.maintenance
        into.counter(f"{PREFIX}gc_passes_total", "Passes of the GC that have ended.", maintenance.passes)
        into.counter(f"{PREFIX}gc_pruned_states_total", "States that the GC pruned.", maintenance.pruned)
        into.counter(f"{PREFIX}chore_steps_total", "Checkpoints of GC and chores.", maintenance.steps)
        notes = Counter(note.kind for each in self._server.backend.folding.values() for note in each.notes)
        meaning = "Graves and chores by kind, of the vbuckets that this server folds."
        for kind in Kind:
            into.gauge(f"{PREFIX}notes", meaning, notes[kind], kind=kind.value)


def _tabs(folding: Folding) -> int:
    return len(folding.types) - len(folding.notes)


SHARD_NUMBERS: Sequence[tuple[str, str, str, Callable[[Mapping[str, Any]], float]]] = (
    ("shard_connected", "gauge", "1 while this server is connected to the shard's master.", lambda s: int(s["open"])),
    (
        "shard_vouched",
        "gauge",
        "1 while a majority of the Sentinels names that master.",
        lambda state: int(state["vouched"]),
    ),
    ("shard_state_seconds", "gauge", "How long it has been connected, or not.", lambda state: state["seconds"]),
    ("shard_replicas", "gauge", "Replicas that the shard's master has.", lambda state: len(state["replicas"])),
    ("shard_vbuckets", "gauge", "Vbuckets of the shard.", lambda state: state["vbuckets"]),
    ("shard_missing_vbuckets", "gauge", "Vbuckets whose data the shard has lost.", lambda state: state["missing"]),
    ("shard_failovers_total", "counter", "Failovers that this server saw.", lambda state: state["failovers"]),
)
"""(name, kind, meaning, the value in a row of `Sharded.shard_states`)."""
