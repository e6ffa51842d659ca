"""Makes durable what the agent takes, and seals it: the turns, which alone write the spool.

A turn closes the open commit, seals what is ripe, writes both, syncs once, and only then lets anybody know: clients
get their answers, lanes their batches. Turns follow one another; there is at most one under way, and none while there
is nothing to do. When the disk refuses, `Writing` tries the same records again until they are durable, and nothing new
is taken.

Before anything else a life needs its first segment. While the disk has no room for it, turns do nothing but try, and
let go of what the servers have confirmed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba import native
from taba.agent.backlog import Backlog
from taba.agent.held import Held
from taba.agent.holdings import Holdings
from taba.agent.intake import Intake, OpenCommit
from taba.agent.measures import AgentMeasures
from taba.agent.records import DAMAGED_LINE, REFUSED, Aside, Commit, Extent, LaneKey, Record, Section, Snapshot
from taba.agent.sealing import Dealt, Piece, Sealed, Sealing
from taba.agent.spool import DiskFailed, Spool, SpoolState
from taba.agent.writing import RETRY_SECONDS, Writing
from taba.errors import SpoolError
from taba.process import Worker

ROOM_BYTES = 1 << 20
"""The spool is full when it has no room for so much beside what is in memory."""


class Committer:
    """The turns of one agent. `unsent` tells how many batches of a lane still are to be sent; `sealed` gets new
    batches once they are durable, `noted` the lanes whose set-aside batch is noted; `prune` leaves out of a snapshot
    what nobody needs; `draw_incarnation` sets another `incarnation`.
    """

    _log = Logger()

    def __init__(
        self,
        spool: Spool,
        worker: Worker,
        clock: IReactorTime,
        wall: Callable[[], float],
        *,
        commit_seconds: float,
        flush_seconds: Callable[[], float],
        unsent: Callable[[str, int], int],
        sealed: Callable[[LaneKey, Held, bytes], None],
        noted: Callable[[LaneKey], None],
        prune: Callable[[Snapshot], Snapshot],
        draw_incarnation: Callable[[], None],
        measures: AgentMeasures | None = None,
    ) -> None:
        self.spool = spool
        self._worker = worker
        self._clock = clock
        self._wall = wall
        self._commit_seconds = commit_seconds
        self._flush_seconds = flush_seconds
        self._unsent = unsent
        self._sealed = sealed
        self._noted = noted
        self._prune = prune
        self._draw_incarnation = draw_incarnation
        self.writing = Writing(spool, worker, clock, lambda: self.holdings.first_needed(), measures or AgentMeasures())
        self.sealing = Sealing(native.crc32c)
        self.backlog = Backlog(spool, worker, self.sealing)
        self.intake: Intake
        self.holdings: Holdings
        self.incarnation = ""
        self.vbuckets = 0
        self.ledger: Counter[str] = Counter()
        """The durable account."""
        self.pending = 0
        """Durable events that are neither confirmed nor set aside."""
        self._begun: Callable[[], None] | None = None
        self._asides: list[Aside] = []
        self._snapshot_due = False
        self._released = False
        self._changed_cluster: tuple[str, int] | None = None
        self._last_turn = -commit_seconds
        self._last_seal = float("-inf")
        self._turning = False
        self._halted = False
        self._timer: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None

    @property
    def problem(self) -> str | None:
        """Why nothing can be made durable now; None when all is well."""
        return self.writing.problem

    @property
    def full(self) -> bool:
        """Whether the spool has no room for further commits."""
        return self.writing.full

    @inlineCallbacks
    def begin(self, begun: Callable[[], None]):  # type: ignore[no-untyped-def]
        """Start the first segment; `begun` is called when it is there. Fires after the first try: when that failed for
        now, turns go on trying. DiskFailed when trying again would not help.
        """
        self._begun = begun
        self._last_turn = self._clock.seconds()
        try:
            yield self._worker(self.spool.start_segment, self._noting(self.spool.snapshot()))
        except DiskFailed as problem:
            if problem.refused:
                raise
            self.writing.refused(problem)
            self._released = True  # there may be segments that are not needed
        else:
            self._begin_taking()
        yield self._measure()

    def _begin_taking(self) -> None:
        begun, self._begun = self._begun, None
        if begun is not None:
            begun()

    # ------------------------------------------------------------------------------------------ what there is to do

    def durable(self, commit: int) -> Deferred[None]:
        """Fires when commit `commit` is durable; SpoolError when the disk refuses it for now."""
        if commit <= self.intake.durable:
            return succeed(None)
        return self.writing.wait(commit)

    def wake(self) -> None:
        """Something was applied, set aside or released: take a turn when one is due."""
        if self._turning or self._halted:
            return
        due = self._due()
        if due is None:
            if self._stopped is not None:
                self._end()
            return
        delay = max(0.0, due - self._clock.seconds()) if self._stopped is None else 0.0
        if self._timer is not None:
            self._timer.reset(delay)
        else:
            self._timer = self._clock.callLater(delay, self._begin)

    def _due(self) -> float | None:
        """When the next turn is due, by the monotonic clock; None while there is nothing to do."""
        times = []
        if self._stopped is not None:
            return None if self.intake.open.empty and not self._asides else self._last_turn
        if not self.intake.open.empty or self._asides or self._snapshot_due or self._changed_cluster:
            times.append(self._last_turn + self._commit_seconds)
        if self._to_seal():
            times.append(self._last_seal + self._flush_seconds())
        if self._released:
            times.append(self._last_turn + self._flush_seconds())
        if self.full or self.problem is not None:
            times.append(self._last_turn + RETRY_SECONDS)
        return min(times, default=None)

    def _to_seal(self) -> bool:
        return bool(self.vbuckets and (self.sealing.waiting or self.sealing.undivided))

    def set_aside(self, aside: Aside) -> None:
        """Note durably that a batch will not be sent any more; then `noted` is told."""
        self.sealing.aside(aside)
        self._asides.append(aside)
        self.wake()

    def release(self, key: LaneKey, seq: int, events: int) -> None:
        """A batch is confirmed: the spool may forget it."""
        self.holdings.release(*key, seq)
        self.pending -= events
        self._released = True
        self.wake()

    def renew(self, incarnation: str) -> None:
        """Number what comes from now on under another incarnation."""
        self.incarnation = incarnation
        self._snapshot_due = True
        self.wake()

    def join(self, cluster: str, vbuckets: int) -> None:
        """The cluster is known: note it, divide by its NUM_VBUCKETS from now on, and begin to seal."""
        self._changed_cluster = (cluster, vbuckets)
        self.wake()

    def stop(self) -> Deferred[None]:
        """Fires when everything applied is durable, or the disk refuses it."""
        stopped = self._stopped = Deferred()
        self.writing.stopping = True
        if self._halted:
            self._end()
        self.wake()
        return stopped

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            # Requests may still come on open connections; what they bring could not be made durable any more.
            self._halted = True
            self.writing.end(self.problem or "The agent is stopping.")
            stopped.callback(None)

    # ------------------------------------------------------------------------------------------ a turn

    def _begin(self) -> None:
        self._timer = None
        self._turning = True
        turn: Deferred[None] = self._turn()
        turn.addErrback(self._broken)
        turn.addCallback(self._over)

    def _broken(self, failure: Failure) -> None:
        """A turn did not come to its end: the disk refuses while the agent stops, or there is a defect.

        What was applied is not known to be durable, and is not acknowledged; only a restart, which reads the spool,
        can tell.
        """
        if self._stopped is None or not failure.check(OSError, SpoolError):
            self._log.failure("The spool is not written any more", failure)
        self._halted = True
        self.writing.end(f"The agent has to be restarted: {failure.getErrorMessage()}")

    def _over(self, _: object) -> None:
        self._turning = False
        if self._halted:
            self._end()
        else:
            self.wake()

    @inlineCallbacks
    def _turn(self):  # type: ignore[no-untyped-def]
        """One turn. What it has begun it finishes, whatever the disk says."""
        self._last_turn = self._clock.seconds()
        if self.spool.state is SpoolState.OPENED and not (yield self._first_segment()):
            return
        if self._changed_cluster is not None:
            yield self._join(*self._changed_cluster)
        records: list[Record] = []
        asides, self._asides = self._asides, []
        records += asides
        closed: OpenCommit | None = None
        pieces: list[Piece] = []
        if not self.intake.open.empty:
            closed, commit = yield self._close()
            pieces = self.sealing.add(commit)
            records.append(commit)
        sealed: list[Sealed] = yield self._seal()
        records += [each.seal for each in sealed]
        if records or self.spool.state is SpoolState.FAILED:
            extents = yield self.writing.persist(records)
            self._place(records, extents, pieces)
            self._publish(closed, asides, sealed)
        if self._snapshot_due or self.spool.segment_full() or self._stands_in_the_way():
            yield self._start_segment(self.spool.snapshot())
        if self._released:
            yield self._drop()
        yield self._measure()

    def _stands_in_the_way(self) -> bool:
        """Whether the spool is full, and the segment that is written could go if there were another one."""
        return self.full and self.spool.segment_done(self.holdings.first_needed())

    def _measure(self) -> Deferred[None]:
        measured: Deferred[None] = self.writing.measure(ROOM_BYTES + 2 * self.intake.memory())
        return measured

    @inlineCallbacks
    def _close(self):  # type: ignore[no-untyped-def]
        """Close the open commit and encode it."""
        closed = self.intake.cut()
        sections: list[native.Section] = yield self._worker(closed.accumulator.encode, self.vbuckets)
        commit = Commit(
            number=closed.number,
            incarnation=self.incarnation,
            time=closed.opened if closed.opened is not None else self._wall(),
            instances=dict(closed.instances),
            ledger={line: count for line, count in closed.ledger.items() if count},
            sections=tuple([Section(each.vbucket, each.events, each.data) for each in sections]),
            divided=self.vbuckets,
        )
        return closed, commit

    @inlineCallbacks
    def _seal(self):  # type: ignore[no-untyped-def]
        """Seal what is ripe, when it is time."""
        now = self._clock.seconds()
        if not self._to_seal() or now < self._last_seal + self._flush_seconds():
            return []
        self._last_seal = now
        stretch = self.sealing.next_stretch(self._unsent)
        if stretch is not None:
            yield self._divide(*stretch)
        keys = self.sealing.ripe(self.incarnation, self._wall(), self._unsent)
        self._give_up((yield self.backlog.read(self.sealing.unread(keys))))
        return self.sealing.seal(keys)

    @inlineCallbacks
    def _divide(self, incarnation: str, stretch: Sequence[Piece]):  # type: ignore[no-untyped-def]
        """Divide sections from before the cluster was known."""
        divided: Sequence[Sequence[native.Section]] | None = yield self.backlog.divide(stretch, self.vbuckets)
        if divided is None:
            return
        dealt: Dealt = self.sealing.deal(incarnation, stretch, divided)
        self.holdings.divide(incarnation, dealt.through, dealt.parts)
        self.pending += dealt.change + dealt.lost
        self._give_up(dealt.lost)

    def _give_up(self, events: int) -> None:
        """Count the events of sections that could not be read again and again."""
        if events:
            self._log.error("{events} events in the spool cannot be read and are given up", events=events)
            self.ledger[DAMAGED_LINE] += events
            self.pending -= events

    def _place(
        self, records: Sequence[Record], extents: Sequence[tuple[Extent, ...]], pieces: Sequence[Piece]
    ) -> None:
        """Note where things stand, in the order in which they were written."""
        for record, where in zip(records, extents, strict=True):
            if isinstance(record, Commit):
                self.holdings.add(record)
                for piece, extent in zip(pieces, where, strict=True):
                    piece.extent = extent
                    if not record.divided:
                        piece.data = None  # the servers may be away for long; the spool has it
            elif not isinstance(record, Aside | Snapshot):
                self.holdings.seal(record)

    def _publish(self, closed: OpenCommit | None, asides: Sequence[Aside], sealed: Sequence[Sealed]) -> None:
        """Everything written is durable: tell whom it concerns."""
        if closed is not None:
            self.intake.committed(closed)
            self.ledger.update(closed.ledger)
            self.pending += closed.events
            self.writing.durable(closed.number)
        for aside in asides:
            self.holdings.release(aside.incarnation, aside.vbucket, aside.seq)
            self.ledger[REFUSED + aside.reason] += aside.events
            self.pending -= aside.events
            self._released = True
            self._noted(aside.key)
        for each in sealed:
            self._sealed(each.seal.key, each.held(), each.body)

    # ------------------------------------------------------------------------------------------ segments

    def _noting(self, snapshot: Snapshot) -> Snapshot:
        """What a segment opens with."""
        return self._prune(evolve(snapshot, incarnation=self.incarnation))

    @inlineCallbacks
    def _first_segment(self):  # type: ignore[no-untyped-def]
        """Try to begin; answers whether that could be had. What a full disk needs for it is perhaps ours."""
        if self._released:
            yield self._drop()
        if not (yield self._start_segment(self.spool.snapshot())):
            return False
        self._begin_taking()
        return True

    @inlineCallbacks
    def _join(self, cluster: str, vbuckets: int):  # type: ignore[no-untyped-def]
        """Note the cluster durably. What waits undivided is an older incarnation's from now on, so that nothing that
        comes in has to wait until it is divided.
        """
        if self.sealing.undivided:
            self._draw_incarnation()
        noted = yield self._start_segment(evolve(self.spool.snapshot(), cluster=cluster, vbuckets=vbuckets))
        if noted:
            self._changed_cluster = None
            self.vbuckets = vbuckets

    @inlineCallbacks
    def _start_segment(self, snapshot: Snapshot):  # type: ignore[no-untyped-def]
        """Go on in a new segment; answers whether that could be had."""
        started = yield self.writing.start_segment(self._noting(snapshot))
        self._snapshot_due = not started
        self._released = self._released or started
        return started

    @inlineCallbacks
    def _drop(self):  # type: ignore[no-untyped-def]
        """Let go of segments that nobody needs."""
        self._released = False
        if not (yield self.writing.drop()):
            self._released = True
