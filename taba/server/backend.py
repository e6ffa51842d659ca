"""be: takes vbuckets by lease, reads their logs, folds, and checkpoints.

One loop reads, one checkpoints, one sees to the leases (`Leasing`); all go on after any failure. Whatever goes wrong
with a vbucket comes down to one thing: drop what is held of it, and load it again. A checkpoint is made as soon as
there is something to write, but at most every `checkpoint_seconds`, unless operations wait, or another be for it.
Maintenance writes its checkpoints by `write_chore`, never while another of the vbucket is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from taba.errors import StoreError
from taba.handlers.registry import Registry
from taba.interfaces import Checkpoint, IStore, Lease, Loaded, LogEntry, Written
from taba.server.blacklist import Blacklist
from taba.server.chores import Change
from taba.server.folding import Folding
from taba.server.holding import Holding, passed_over
from taba.server.keeping import Keeping
from taba.server.leasing import Leasing
from taba.server.measures import FAILED
from taba.server.observation import Observer
from taba.server.sleeping import Sleeping

READ_BYTES = 4 << 20
"""What one read of the logs asks for."""
READ_WAIT = 30.0
"""Seconds after which a read that found nothing is asked again."""
TAKE_BYTES = 64 << 10
"""How much of what was read is taken apart before others get their turn: a read of nothing but small Partials, taken at
once, would keep the reactor for seconds, and the leases would run out meanwhile, all work be dropped and begun again.
"""
PRUNE_SECONDS = 3600.0
"""How often the store forgets lanes that were idle for DEDUP_DAYS."""
RETRY_SECONDS = 0.5
"""How long a loop waits after the store failed."""
STATES_PER_TURN = 2_000
"""How many States one checkpoint call writes: bounds what is held twice, and how long queries wait."""
WRITTEN_AT_STOP = 200
"""How many States one checkpoint call writes, about, while the service stops: what is written is others' at once."""


class Backend(Service):
    """The be part of a server process. `owner` is its name in leases."""

    _log = Logger()

    def __init__(
        self,
        store: IStore,
        registry: Registry,
        clock: IReactorTime,
        wall: Callable[[], float],
        owner: str,
        observer: Observer,
        *,
        checkpoint_seconds: float = 0.5,
        lease_seconds: float = 2.0,
        max_clock_skew: float = 60.0,
        max_cache_bytes: int = 256 << 20,
        max_pending_bytes: int = 64 << 20,
        keeping: Keeping | None = None,
        blacklist: Blacklist | None = None,
        member: str = "",
        weight: float = 1.0,
    ) -> None:
        """`member` is the name by which others know it (see `Publishing`); without one it is alone."""
        self._store = store
        self._registry = registry
        self._clock = clock
        self._wall = wall
        self._observer = observer
        self._checkpoint_seconds = checkpoint_seconds
        self._max_clock_skew = max_clock_skew
        self._max_pending_bytes = max_pending_bytes
        self._rules = keeping or Keeping(), blacklist or Blacklist.of()
        self.holding = Holding(store, max_cache_bytes)
        self.folding = self.holding.folding
        self.cache = self.holding.cache
        self.leasing = Leasing(
            store, clock, owner, observer, self.holding, self._folding_of,
            seconds=lease_seconds, member=member, weight=weight,
        )  # fmt: skip
        self.leasing.begun, self.leasing.ended, self.leasing.hurry = self._read_more, self._fire_room, self._hurry
        self._drop = self.leasing.drop
        self._pauses = Sleeping(clock)
        self._sleep = self._pauses.sleep
        self._reading: Deferred[list[LogEntry]] | None = None
        self._widening = False
        self._loops: list[Deferred[None]] = []
        self._last_checkpoint = -checkpoint_seconds
        self._more = Deferred[None]()
        """Fires when there is something to checkpoint."""
        self._room = Deferred[None]()
        """Fires when a checkpoint made room for further reading."""

    # ------------------------------------------------------------------------------------------ service

    def startService(self) -> None:
        """Start the loops."""
        super().startService()
        self._pauses.begin()
        self.leasing.begin()
        loops = self.leasing.loop, self._read_loop, self._checkpoint_loop, self._prune_loop
        self._loops = [self._go_on(loop) for loop in loops]

    @inlineCallbacks
    def _go_on(self, loop: Callable[[], Deferred[None]]):  # type: ignore[no-untyped-def]
        """Run a loop until the service stops. One that a defect ended begins again, with what the store has."""
        while not self._pauses.stopping:
            try:
                yield loop()
            except Exception:
                self._log.failure("A loop of the be failed, and begins again")
                self._drop(list(self.folding))
                yield self._sleep(RETRY_SECONDS)

    @inlineCallbacks
    def stopService(self):  # type: ignore[no-untyped-def]
        """Checkpoint what is folded, give the leases back: each as soon as it is written."""
        if not self.running:
            return
        super().stopService()
        self._pauses.stop()
        self.leasing.stop()
        if self._reading is not None:
            self._reading.cancel()
        self._fire_more()
        self._fire_room()
        yield gatherResults(self._loops)
        yield self.leasing.settled()
        self._loops.clear()
        try:
            yield self._give(self.folding.values())
            while any(each.dirty for each in self.folding.values()):
                yield self._checkpoint_all()
        except Exception as problem:  # the store is to be closed whatever this was
            self._log.warn("Stopping without a last checkpoint: {problem}", problem=problem)
        self.folding.clear()

    @inlineCallbacks
    def _give(self, foldings: Iterable[Folding]):  # type: ignore[no-untyped-def]
        """Give the leases back of what is written."""
        leases = [each.lease for each in foldings if each.settled and self.holding.holds(each)]
        if leases:
            yield self.leasing.give(leases)

    def _fire_more(self) -> None:
        fired, self._more = self._more, Deferred()
        fired.callback(None)

    def _hurry(self) -> None:
        """What is to be handed over is to be written now."""
        self._fire_more()
        self._pauses.wake()

    def _fire_room(self) -> None:
        fired, self._room = self._room, Deferred()
        fired.callback(None)

    # ------------------------------------------------------------------------------------------ leases

    def _folding_of(self, lease: Lease, loaded: Loaded) -> Folding:
        return Folding.loaded(lease, loaded, self._registry, self._max_clock_skew, *self._rules)

    @inlineCallbacks
    def _prune_loop(self):  # type: ignore[no-untyped-def]
        """Let the store forget what it need not remember."""
        while not self._pauses.stopping:
            yield self._sleep(PRUNE_SECONDS)
            try:
                if not self._pauses.stopping:
                    yield self._store.prune(self._wall())
            except StoreError as problem:
                self._log.warn("Idle lanes are not forgotten: {problem}", problem=problem)

    def _read_more(self) -> None:
        """Let the logs be read anew, with those of vbuckets that were loaded since; once for all of this turn."""
        if self._reading is not None and not self._widening:
            self._widening = True
            self._sleep(0.0).addCallback(self._widen)

    def _widen(self, _: None) -> None:
        self._widening = False
        if self._reading is not None:
            self._reading.cancel()

    # ------------------------------------------------------------------------------------------ reading

    @inlineCallbacks
    def _read_loop(self):  # type: ignore[no-untyped-def]
        """Take what the logs have, as it comes."""
        while not self._pauses.stopping:
            if self._pending_bytes() > self._max_pending_bytes:
                yield self._room
                continue
            read = {vbucket: each for vbucket, each in self.folding.items() if not each.resting}
            after = {vbucket: each.folded for vbucket, each in read.items()}
            if not after:
                yield self._sleep(self.leasing.look_seconds / 2)
                continue
            try:
                self._reading = self._store.read(after, READ_BYTES, READ_WAIT)
                entries = yield self._reading
            except CancelledError:
                continue
            except StoreError as problem:
                self._log.warn("Logs cannot be read: {problem}", problem=problem)
                yield self._sleep(RETRY_SECONDS)
                continue
            finally:
                self._reading = None
            self._drop(passed_over(read, after, entries))
            yield self._take(entries)

    @inlineCallbacks
    def _take(self, entries: Sequence[LogEntry]):  # type: ignore[no-untyped-def]
        """Take entries, with pauses. What is left when the service stops stays in the logs."""
        taken = 0
        for entry in entries:
            if taken >= TAKE_BYTES:
                taken = 0
                self._fire_more()
                yield self._sleep(0.0)
                if self._pauses.stopping:
                    return
            taken += len(entry.body)
            folding = self.folding.get(entry.vbucket)
            if folding is None or entry.id != folding.folded + 1 or folding.resting:
                continue  # dropped, loaded again or blocked while the read was under way
            if entry.lineage != folding.lineage:
                self._drop([entry.vbucket])  # the store was rolled back: this entry follows others than were folded
                continue
            self._observer.taken(entry)
            for refused in folding.take(entry):
                self._observer.refused(refused)
            while folding.passed_over:
                self._observer.passed_over(*folding.passed_over.pop())
        if entries:
            self._fire_more()

    def _pending_bytes(self) -> int:
        return sum(each.held for each in self.folding.values())

    # ------------------------------------------------------------------------------------------ checkpoints

    @inlineCallbacks
    def _checkpoint_loop(self):  # type: ignore[no-untyped-def]
        """Write what is dirty, at most every `checkpoint_seconds`."""
        while not self._pauses.stopping:
            if not any(each.dirty for each in self.folding.values()):
                yield self._more
                continue
            if not any(each.sealed or (each.leaving and each.dirty) for each in self.folding.values()):
                yield self._sleep(max(0.0, self._last_checkpoint + self._checkpoint_seconds - self._clock.seconds()))
            self._last_checkpoint = self._clock.seconds()
            yield self._checkpoint_all()
            self._fire_room()

    @inlineCallbacks
    def _checkpoint_all(self):  # type: ignore[no-untyped-def]
        """Checkpoint every dirty vbucket, some at a time."""
        started = self._clock.seconds()
        dirty = [vbucket for vbucket, each in self.folding.items() if each.dirty]
        prepared: list[Folding] = []
        states = 0
        for vbucket in dirty:
            folding = self.folding.get(vbucket)
            if folding is None or not folding.dirty:  # dropped, or a chore has begun meanwhile
                continue
            checkpoint = yield self._prepare(vbucket, folding)
            if checkpoint is None:
                continue
            prepared.append(folding)
            states += checkpoint.changes
            if states >= (WRITTEN_AT_STOP if self._pauses.stopping else STATES_PER_TURN):
                yield self._write(prepared)
                prepared, states = [], 0
        if prepared:
            yield self._write(prepared)
        self._observer.checkpointed(len(dirty), self._clock.seconds() - started)

    @inlineCallbacks
    def _prepare(self, vbucket: int, folding: Folding):  # type: ignore[no-untyped-def]
        """Fold what waits of one vbucket; None when the store cannot give its States."""
        folding.close()
        try:
            if folding.blocked and folding.wanted():
                yield self._refold(vbucket, folding)
                if not self.holding.holds(folding):
                    return None
            states, aggregates = yield self.holding.states_of(vbucket, *folding.needed())
        except StoreError as problem:
            self._log.warn("States of vbucket {v} cannot be read: {problem}", v=vbucket, problem=problem)
            self._drop([vbucket])
            return None
        if not self.holding.holds(folding):
            return None
        try:
            checkpoint = folding.prepare(states, aggregates, self._observer.handler_failed)
            self.holding.remember(checkpoint)
        except Exception:  # it must cost its own vbucket only
            self._log.failure("What waits of vbucket {v} cannot be folded", v=vbucket)
            self._drop([vbucket])
            return None
        return checkpoint

    @inlineCallbacks
    def _refold(self, vbucket: int, folding: Folding):  # type: ignore[no-untyped-def]
        """Fold what was set aside, as an operation wants it; then the log is read on."""
        aside = yield self._store.aside_of(vbucket, folding.wanted())
        if self.holding.holds(folding):
            for refused in folding.refold(aside):
                self._observer.refused(refused)
            self._read_more()

    @inlineCallbacks
    def _write(self, prepared: Sequence[Folding]):  # type: ignore[no-untyped-def]
        """Write prepared checkpoints; drop the vbuckets of those that were not written, or of which nothing is known.
        """
        checkpoints: list[Checkpoint] = [each.under_way for each in prepared if each.under_way is not None]
        try:
            outcomes: list[Written] = yield self._store.checkpoint(checkpoints)
        except StoreError as problem:
            self._log.warn("Checkpoint failed: {problem}", problem=problem)
            self._not_written(prepared)
            self._drop(each.lease.vbucket for each in prepared if self.holding.holds(each))
            yield self._sleep(RETRY_SECONDS)
            return
        except Exception:  # something that no store can write: it must cost its own vbucket only
            if len(prepared) > 1:
                for each in prepared:
                    yield self._write([each])
                return
            self._log.failure("The checkpoint of vbucket {v} cannot be written", v=prepared[0].lease.vbucket)
            self._not_written(prepared)
            self._drop(each.lease.vbucket for each in prepared if self.holding.holds(each))
            yield self._sleep(RETRY_SECONDS)
            return
        for folding, outcome in zip(prepared, outcomes, strict=True):
            if outcome is Written.DONE:
                self._observer.written(folding.written())
                continue
            self._observer.measures.not_written(outcome.value)
            if self.holding.holds(folding):  # else the lease loop saw it first
                self._observer.measures.leases_lost += outcome is Written.FENCED
                self._log.info("Vbucket {v}: checkpoint {what}", v=folding.lease.vbucket, what=outcome.value)
                self._drop([folding.lease.vbucket])
        if self._pauses.stopping:
            yield self._give(prepared)
        self.holding.shrink()

    def _not_written(self, prepared: Sequence[Folding]) -> None:
        for _ in prepared:
            self._observer.measures.not_written(FAILED)

    # ------------------------------------------------------------------------------------------ chores

    @inlineCallbacks
    def write_chore(self, folding: Folding, change: Change):  # type: ignore[no-untyped-def]
        """Write what a chore changes that was begun (`Folding.begin_chore`); fires with whether that is in the store.
        """
        checkpoint = folding.chore(change) if self.holding.holds(folding) else None
        if checkpoint is None:
            return False
        self.holding.remember(checkpoint)
        yield self._write([folding])
        return self.holding.holds(folding)

    def go_on(self) -> None:
        """A chore is over: checkpoints are due again."""
        self._fire_more()

    def begin_anew(self) -> None:
        """Load everything anew: the rules have changed by which some of it waits in memory."""
        self._drop(list(self.folding))
        self.leasing.look()

    def recompute(self) -> None:
        """Look at once, without regard to what was before, which vbuckets this be should have."""
        self.leasing.recompute()
