"""Makes durable what the agent takes, and seals it: the one place that writes the spool.

A turn closes the open commit, seals what is ripe, writes both, syncs once, and only then lets anybody know: clients
get their answers, lanes their batches. Turns follow one another; there is at most one under way, and none while there
is nothing to do. When the disk refuses, those who wait are told so, nothing new is taken, and the same records are
tried again until they are durable: what they hold is never given up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba import native
from taba.agent.extents import Extents
from taba.agent.held import Held
from taba.agent.holdings import Holdings
from taba.agent.intake import Intake, OpenCommit
from taba.agent.records import DAMAGED_LINE, REFUSED, Aside, Commit, Extent, LaneKey, Record, Section, Snapshot
from taba.agent.sealing import Piece, Sealed, Sealing
from taba.agent.spool import Spool, SpoolState
from taba.errors import SpoolError
from taba.process import Worker

RETRY_SECONDS = 1.0
"""How long after a failure the disk is tried again."""
READ_TRIES = 5
"""How often a section that cannot be read is tried again."""
ROOM_BYTES = 1 << 20
"""The spool is full when it has no room for so much beside what is in memory."""


class Committer:
    """The turns of one agent. `unsent` tells how many batches of a lane still are to be sent; `sealed` gets new
    batches once they are durable, `noted` the lanes whose set-aside batch is noted.
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
        self.sealing = Sealing(native.crc32c)
        self.intake: Intake
        self.holdings: Holdings
        self.incarnation = ""
        self.vbuckets = 0
        self.problem: str | None = None
        """Why nothing can be made durable now; None when all is well."""
        self.full = False
        """Whether the spool has no room for further commits."""
        self.held = 0
        """Bytes of the spool."""
        self.ledger: Counter[str] = Counter()
        """The durable account."""
        self.pending = 0
        """Durable events that are neither confirmed nor set aside."""
        self._asides: list[Aside] = []
        self._snapshot_due = False
        self._released = False
        self._changed_cluster: tuple[str, int] | None = None
        self._last_turn = -commit_seconds
        self._last_seal = float("-inf")
        self._turning = False
        self._halted = False
        self._timer: IDelayedCall | None = None
        self._waiters: defaultdict[int, list[Deferred[None]]] = defaultdict(list)
        self._stopped: Deferred[None] | None = None

    # ------------------------------------------------------------------------------------------ what there is to do

    def durable(self, commit: int) -> Deferred[None]:
        """Fires when commit `commit` is durable; SpoolError when the disk refuses it for now."""
        if commit <= self.intake.durable:
            return succeed(None)
        waiter: Deferred[None] = Deferred(lambda gone: self._waiters[commit].remove(gone))
        self._waiters[commit].append(waiter)
        if self.problem is not None:
            self._tell_waiters(SpoolError(self.problem))
        return waiter

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
        if self.sealing.waiting and self.vbuckets:
            times.append(self._last_seal + self._flush_seconds())
        if self._released:
            times.append(self._last_turn + self._flush_seconds())
        if self.full or self.problem is not None:
            times.append(self._last_turn + RETRY_SECONDS)
        return min(times, default=None)

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
        """The cluster is known: note it, divide by it, and begin to seal."""
        self._changed_cluster = (cluster, vbuckets)
        self.wake()

    def stop(self) -> Deferred[None]:
        """Fires when everything applied is durable, or the disk refuses it."""
        stopped = self._stopped = Deferred()
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
            self.problem = self.problem or "The agent is stopping."
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
        self.problem = f"The agent has to be restarted: {failure.getErrorMessage()}"
        self._halted = True
        self._tell_waiters(SpoolError(self.problem))

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
        if records:
            extents = yield self._persist(records)
            self._place(records, extents, pieces)
            self._publish(closed, asides, sealed)
        if self._snapshot_due or self.spool.segment_full():
            yield self._start_segment(self.spool.snapshot())
        if self._released:
            yield self._drop()
        yield self.measure()

    @inlineCallbacks
    def measure(self):  # type: ignore[no-untyped-def]
        """See how much room there is."""
        wanted = ROOM_BYTES + 2 * self.intake.memory()
        self.held, room = yield self._worker(lambda: (self.spool.bytes_held(), self.spool.room(wanted)))
        if self.full == room:
            self._log.warn("The spool is full." if self.full is False else "The spool has room again.")
        self.full = not room

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
        if not self.vbuckets or not self.sealing.waiting or now < self._last_seal + self._flush_seconds():
            return []
        self._last_seal = now
        keys = self.sealing.ripe(self.incarnation, self._wall(), self._unsent)
        yield self._read(self.sealing.unread(keys))
        self._give_up(self.sealing.give_up(READ_TRIES))
        return self.sealing.seal([key for key in keys if self.sealing.readable(key)])

    @inlineCallbacks
    def _read(self, pieces: Sequence[Piece]):  # type: ignore[no-untyped-def]
        """Read the bytes of pieces that a restart left on disk. What cannot be read is tried again in a later turn."""
        for piece in pieces:
            assert piece.extent is not None, "a piece without bytes was recovered from an extent"
            try:
                piece.data = yield self._worker(self.spool.read, [piece.extent])
            except (OSError, SpoolError) as problem:
                piece.tries += 1
                self._log.warn("A section of the spool cannot be read: {problem}", problem=problem)

    def _give_up(self, events: int) -> None:
        """Count the events of sections that could not be read again and again."""
        if events:
            self._log.error("{events} events in the spool cannot be read and are given up", events=events)
            self.ledger[DAMAGED_LINE] += events
            self.pending -= events

    @inlineCallbacks
    def _persist(self, records: Sequence[Record]):  # type: ignore[no-untyped-def]
        """Fires with the extents of each record once all are durable, however long the disk refuses."""
        while True:
            try:
                extents = yield self._worker(_persist, self.spool, records)
            except (OSError, SpoolError) as problem:
                self._refused(problem)
                yield self._pause()
                if self._stopped is not None:
                    raise problem
            else:
                self._recovered()
                return extents

    def _refused(self, problem: Exception) -> None:
        sentence = f"The spool in {self.spool.folder.path} cannot be written: {problem}"
        if self.problem is None:
            self._log.error("{sentence}", sentence=sentence)
        self.problem = sentence
        self._tell_waiters(SpoolError(sentence))

    def _recovered(self) -> None:
        if self.problem is not None:
            self._log.info("The spool in {path} can be written again.", path=self.spool.folder.path)
            self.problem = None

    def _pause(self) -> Deferred[None]:
        pause: Deferred[None] = Deferred()
        self._clock.callLater(RETRY_SECONDS if self._stopped is None else 0.0, pause.callback, None)
        return pause

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
            for waiter in self._waiters.pop(closed.number, ()):
                waiter.callback(None)
        for aside in asides:
            self.holdings.release(aside.incarnation, aside.vbucket, aside.seq)
            self.ledger[REFUSED + aside.reason] += aside.events
            self.pending -= aside.events
            self._released = True
            self._noted(aside.key)
        for each in sealed:
            seal = each.seal
            where = Extents.of([piece.extent for piece in each.pieces if piece.extent is not None])
            held = Held(
                seal.seq, seal.after, seal.before, seal.events, seal.sealed, seal.checksum, seal.length, where
            )
            self._sealed(seal.key, held, each.body)

    def _tell_waiters(self, problem: SpoolError) -> None:
        waiters, self._waiters = self._waiters, defaultdict(list)
        for each in waiters.values():
            for waiter in list(each):
                if not waiter.called:
                    waiter.errback(problem)

    # ------------------------------------------------------------------------------------------ segments

    @inlineCallbacks
    def _join(self, cluster: str, vbuckets: int):  # type: ignore[no-untyped-def]
        """Note the cluster durably, then divide what waits."""
        noted = yield self._start_segment(evolve(self.spool.snapshot(), cluster=cluster, vbuckets=vbuckets))
        if not noted:
            return
        self._changed_cluster = None
        yield self.divide(vbuckets)

    @inlineCallbacks
    def divide(self, vbuckets: int):  # type: ignore[no-untyped-def]
        """Divide by a cluster's NUM_VBUCKETS from now on, what was committed before included."""
        while any(piece.data is None for _, piece in self.sealing.undivided):
            yield self._read([piece for _, piece in self.sealing.undivided if piece.data is None])
            self._give_up(self.sealing.give_up(READ_TRIES))
        divided = self.sealing.divide(lambda data: native.batch_split(data, vbuckets))
        for incarnation, parts in divided.items():
            self.holdings.divide(incarnation, parts)
        self.vbuckets = vbuckets

    @inlineCallbacks
    def _start_segment(self, snapshot: Snapshot):  # type: ignore[no-untyped-def]
        """Go on in a new segment; answers whether that could be had."""
        try:
            yield self._worker(self.spool.start_segment, self._prune(evolve(snapshot, incarnation=self.incarnation)))
        except (OSError, SpoolError) as problem:
            self._refused(problem)
            if self.spool.state is SpoolState.FAILED:
                yield self._persist([])
            yield self._pause()
            self._snapshot_due = True
            return False
        self._recovered()
        self._snapshot_due = False
        self._released = True
        return True

    @inlineCallbacks
    def _drop(self):  # type: ignore[no-untyped-def]
        """Let go of segments that nobody needs."""
        self._released = False
        try:
            yield self._worker(self.spool.drop_segments, self.holdings.first_needed())
        except SpoolError as problem:
            self._log.warn("Old segments stay for now: {problem}", problem=problem)
            yield self._pause()
            self._released = True


def _persist(spool: Spool, records: Sequence[Record]) -> list[tuple[Extent, ...]]:
    """Write and sync; after a failure write to a new segment. Runs in the spool's thread."""
    if spool.state is SpoolState.FAILED:
        return spool.fail_over(records)
    try:
        extents = spool.write(records)
        spool.sync()
    except OSError:
        return spool.fail_over(records)
    return extents


