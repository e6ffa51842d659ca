"""Writes the spool, however long the disk refuses, and tells those who wait for a commit. IO.

What it was given to write it tries again, about every second, until it is durable: what the records hold is never
given up. Meanwhile `problem` says why nothing more can be taken, and who waits is told so. While there is no room, each
try lets go of what the servers have confirmed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from taba.agent.measures import AgentMeasures
from taba.agent.records import Commit, Extent, Record, Snapshot
from taba.agent.spool import DiskFailed, FolderGone, Spool, SpoolState
from taba.errors import SpoolError
from taba.process import Worker

RETRY_SECONDS = 1.0
"""How long after a failure the disk is tried again."""


class Writing:
    """The writing side of one spool. `needed` is the oldest commit of which something is needed. `measures` are told
    how long the disk takes. One call at a time, but for those about waiting.
    """

    _log = Logger()

    def __init__(
        self, spool: Spool, worker: Worker, clock: IReactorTime, needed: Callable[[], int], measures: AgentMeasures
    ) -> None:
        self.spool = spool
        self._measures = measures
        self._worker = worker
        self._clock = clock
        self._needed = needed
        self.problem: str | None = None
        """Why nothing can be made durable now; None when all is well."""
        self.full = False
        """Whether the spool has no room for further commits."""
        self.held = 0
        """Bytes of the spool."""
        self.stopping = False
        """Whether a failure is final: nobody waits for another try."""
        self._waiters: defaultdict[int, list[Deferred[None]]] = defaultdict(list)

    # ------------------------------------------------------------------------------------------ who waits

    def wait(self, commit: int) -> Deferred[None]:
        """Fires when commit `commit`, which is not durable yet, is; SpoolError when the disk refuses it for now."""
        waiter: Deferred[None] = Deferred(lambda gone: self._waiters[commit].remove(gone))
        self._waiters[commit].append(waiter)
        if self.problem is not None:
            self._tell(SpoolError(self.problem))
        return waiter

    def durable(self, commit: int) -> None:
        """Tell those who wait for a commit that it is durable."""
        for waiter in self._waiters.pop(commit, ()):
            waiter.callback(None)

    def end(self, problem: str) -> None:
        """Nothing is written any more, for this reason."""
        self.problem = problem
        self._tell(SpoolError(problem))

    def _tell(self, problem: SpoolError) -> None:
        waiters, self._waiters = self._waiters, defaultdict(list)
        for each in waiters.values():
            for waiter in list(each):
                if not waiter.called:
                    waiter.errback(problem)

    def refused(self, problem: Exception) -> None:
        """The disk does not take what is to be written: say so until it does."""
        why = (problem.reason.strerror or problem.reason) if isinstance(problem, DiskFailed) else problem
        sentence = f"The spool in {self.spool.folder.path} cannot be written: {why}"
        if isinstance(problem, FolderGone):
            sentence = str(problem)
        if self.problem is None:
            self._log.error("{sentence}", sentence=sentence)
        self.problem = sentence
        self._tell(SpoolError(sentence))

    def _recovered(self) -> None:
        if self.problem is not None:
            self._log.info("The spool in {path} can be written again.", path=self.spool.folder.path)
            self.problem = None

    def _pause(self) -> Deferred[None]:
        pause: Deferred[None] = Deferred()
        self._clock.callLater(0.0 if self.stopping else RETRY_SECONDS, pause.callback, None)
        return pause

    # ------------------------------------------------------------------------------------------ records and segments

    @inlineCallbacks
    def persist(self, records: Sequence[Record]):  # type: ignore[no-untyped-def]
        """Fires with the extents of each record once all are durable, however long the disk refuses."""
        started = self._clock.seconds()
        while True:
            try:
                extents, seconds = yield self._worker(_timed, self._clock, self.spool, records, self._needed())
            except (OSError, SpoolError) as problem:
                self.refused(problem)
                yield self._pause()
                if self.stopping:
                    raise problem
            else:
                self._recovered()
                self._measures.syncs.observe(seconds)
                if any(isinstance(each, Commit) for each in records):
                    self._measures.commits.observe(self._clock.seconds() - started)
                return extents

    @inlineCallbacks
    def start_segment(self, snapshot: Snapshot):  # type: ignore[no-untyped-def]
        """Go on in a new segment; answers whether that could be had, after a pause when not.

        The first segment of a life has to be had: while the agent stops, the problem is raised.
        """
        try:
            yield self._worker(self.spool.start_segment, snapshot)
        except (OSError, SpoolError) as problem:
            self.refused(problem)
            if self.spool.state is SpoolState.FAILED:
                yield self.persist([])
            yield self._pause()
            if self.stopping and self.spool.state is SpoolState.OPENED:
                raise problem
            return False
        self._recovered()
        return True

    @inlineCallbacks
    def drop(self):  # type: ignore[no-untyped-def]
        """Let go of segments that nobody needs; answers whether the disk let them go, after a pause when not."""
        try:
            yield self._worker(self.spool.drop_segments, self._needed())
        except SpoolError as problem:
            self._log.warn("Old segments stay for now: {problem}", problem=problem)
            yield self._pause()
            return False
        return True

    @inlineCallbacks
    def measure(self, wanted: int):  # type: ignore[no-untyped-def]
        """See whether there is room for so many bytes of commits."""
        try:
            self.held, room = yield self._worker(_measure, self.spool, wanted)
        except SpoolError as problem:
            self.refused(problem)
            return
        if self.full == room:
            self._log.warn("The spool is full." if self.full is False else "The spool has room again.")
        self.full = not room


def _timed(
    clock: IReactorTime, spool: Spool, records: Sequence[Record], needed: int
) -> tuple[list[tuple[Extent, ...]], float]:
    """`_persist`, and the seconds that it took. Runs in the spool's thread; reading a monotonic clock is safe there."""
    started = clock.seconds()
    extents = _persist(spool, records, needed)
    return extents, clock.seconds() - started


def _persist(spool: Spool, records: Sequence[Record], needed: int) -> list[tuple[Extent, ...]]:
    """Write and sync; after a failure write to a new segment. Runs in the spool's thread."""
    if spool.state is not SpoolState.FAILED:
        try:
            extents = spool.write(records)
            spool.sync()
        except OSError:
            pass
        else:
            return extents
    try:
        return spool.fail_over(records)
    except DiskFailed as problem:
        if not problem.no_room or not spool.make_room(needed):
            raise
    if spool.state is SpoolState.FAILED:
        return spool.fail_over(records)
    extents = spool.write(records)
    spool.sync()
    return extents


def _measure(spool: Spool, wanted: int) -> tuple[int, bool]:
    """The bytes held, and whether there is room for more. Runs in the spool's thread."""
    room = spool.room(wanted)
    if room:
        spool.keep_spare()
    else:
        spool.check_folder()  # that may be why
    return spool.bytes_held(), room
