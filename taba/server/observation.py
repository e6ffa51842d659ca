"""What a server notes about itself: its own tabs, the latencies, samples of what was refused.

Own tabs keep the original's names (`taba_events_recieved` is spelled as it was) and are recorded through `record`, a
client like any other.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.logger import Logger

from taba.interfaces import Checkpoint, LogEntry
from taba.server.generations import Refused
from taba.server.latency import ENQUEUE, PROCESSED, LatencyTracker
from taba.server.measures import ServerMeasures
from taba.server.operations import Operation
from taba.web.measured import AnsweredRequests

TIMED = {
    "/post": "taba_post_direct_time_ms",
    "/tabs": "get_tabs_time_ms",
    "/projection": "get_projection_time_ms",
    "/supertabs": "get_super_tabs_time_ms",
}
"""Path -> the tab with the times of its answers."""
SAMPLES = 100
"""How many refused Partials are remembered."""


class Recorder(Protocol):
    """Where own events go: the part of `taba.client.Client` that is used here."""

    def counter(self, name: str, value: float = 1) -> None:
        """Record a CounterGroup event."""

    def percentile(self, name: str, value: float) -> None:
        """Record a PercentileGroup event."""


@define
class TimedRequests(AnsweredRequests):
    """The answers of a server, of which some paths' times go to `timed`: path, status, seconds."""

    timed: Callable[[str, int, float], None] = field(kw_only=True)

    def answered(self, path: bytes, status: int, seconds: float) -> None:
        """See `AnsweredRequests.answered`."""
        AnsweredRequests.answered(self, path, status, seconds)
        self.timed(path.decode("latin-1"), status, seconds)


class Observer:
    """The notes of one server process. Used in the reactor thread only."""

    _log = Logger()

    def __init__(
        self,
        record: Recorder,
        wall: Callable[[], float],
        tracker: LatencyTracker | None = None,
        monotonic: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`tracker` gets the latencies, at `monotonic` times."""
        self._record = record
        self._wall = wall
        self._tracker = tracker or LatencyTracker()
        self._monotonic = monotonic
        self._appended: dict[int, deque[tuple[int, float]]] = {}
        self._fresh: set[int] = set()
        """Vbuckets that were taken over, and of which nothing was folded yet."""
        self.samples: deque[Refused] = deque(maxlen=SAMPLES)
        self.refusals: Counter[str] = Counter()
        self.dropped_vbuckets = 0
        self.checkpoints = 0
        self.measures = ServerMeasures(http=TimedRequests(timed=self.timed))

    # Front end.

    def appended(self, events: int, oldest: float, seconds: float) -> None:
        """An append request was answered: its events, the wall time at which the oldest were committed, how long it
        took.
        """
        self._record.counter("taba_events_recieved", events)
        latency = max(0.0, self._wall() - oldest)
        self._tracker.add(ENQUEUE, latency, self._monotonic())
        self._record.percentile("taba_latency_enqueue_sec", latency)
        self._record.percentile("taba_post_zip_time_ms", seconds * 1e3)

    def rejected(self) -> None:
        """An append request was refused, since the logs of all that it is for are too full."""
        self._record.counter("taba_updates_rejected")

    def timed(self, path: str, status: int, seconds: float) -> None:
        """A request was answered: its time, or, where Taba failed, that it did. One that asks for what cannot be, 4xx,
        is neither.
        """
        tab = TIMED.get(path)
        if tab is None:
            return
        if status >= 500:
            self._record.counter(f"{tab}_exceptions")
        elif status < 400:
            self._record.percentile(tab, seconds * 1e3)

    # Back end.

    def taken(self, entry: LogEntry) -> None:
        """An entry of a log was read."""
        self.measures.taken(entry)
        self._record.percentile("taba_latency_task_in_queue_ms", max(0.0, self._wall() - entry.appended) * 1e3)
        self._appended.setdefault(entry.vbucket, deque()).append((entry.id, entry.appended))

    def written(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is in the store: its entries are visible to queries."""
        self.measures.written(checkpoint)
        vbucket = checkpoint.lease.vbucket
        waiting = self._appended.get(vbucket)
        now = self._wall()
        if checkpoint.position.folded > checkpoint.expected.folded:
            self.measures.folded[vbucket] = now
            if vbucket in self._fresh and waiting:
                self._fresh.discard(vbucket)
                self.measures.takeovers.observe(max(0.0, now - waiting[0][1]))
        while waiting and waiting[0][0] <= checkpoint.position.folded:
            _, appended = waiting.popleft()
            latency = max(0.0, now - appended)
            self._tracker.add(PROCESSED, latency, self._monotonic())
            self._record.percentile("taba_latency_task_processed_ms", latency * 1e3)

    def connections_lost(self, shards: int) -> None:
        """So many shards of the store lost their connection."""
        self._record.counter("redis_connection_error", shards)

    def checkpointed(self, vbuckets: int, seconds: float) -> None:
        """All dirty vbuckets were checkpointed."""
        self.checkpoints += 1
        self.measures.rounds.observe(seconds)
        self._record.percentile("task_process_time_time", seconds * 1e3)

    def taken_over(self, vbucket: int) -> None:
        """A vbucket was loaded that this be did not have before."""
        self.measures.taken_over += 1
        self._fresh.add(vbucket)

    def handed_over(self, vbucket: int) -> None:
        """A vbucket was written, and given to whoever takes it."""
        self.measures.handed_over += 1
        self._forget(vbucket)

    def dropped(self, vbucket: int) -> None:
        """What was held of a vbucket was dropped, to be loaded again."""
        self.dropped_vbuckets += 1
        self._forget(vbucket)

    def _forget(self, vbucket: int) -> None:
        self._appended.pop(vbucket, None)
        self._fresh.discard(vbucket)
        self.measures.folded.pop(vbucket, None)

    def passed_over(self, operation: Operation, problem: str) -> None:
        """An operation came to nothing."""
        self._log.info(
            "{type} of tab {tab}, asked for by {by}, came to nothing: {problem}",
            type=operation.type, tab=operation.tab, by=operation.by, problem=problem,
        )  # fmt: skip

    def refused(self, refused: Refused) -> None:
        """A Partial was refused. The first of each (reason, tab) that is still remembered goes to the log."""
        if not any((each.reason, each.tab) == (refused.reason, refused.tab) for each in self.samples):
            self._log.warn(
                "Refused {events} events of tab {tab}, client {client}, Type {type}: {reason}",
                events=refused.events,
                tab=refused.tab,
                client=refused.client,
                type=refused.type,
                reason=refused.reason,
            )
        self.samples.append(refused)
        self.refusals[refused.reason] += refused.events

    def handler_failed(self, type: str, problem: Exception) -> None:
        """A Handler raised."""
        self._log.error("The Handler of Type {type} failed: {problem}", type=type, problem=repr(problem))
