"""The leases of one be: renewed, taken, and handed over, as `Membership` decides.

One loop renews what is held, looks, and acts; it looks at once when something new is heard of the others. Nothing that
hangs (a load, a checkpoint before a hand-over) keeps it from renewing. Invariants: what is handed over is written
first, is dropped before its lease is released, and takes nothing from its log from the moment it was decided on; a
vbucket that cannot be loaded is given back, for others to try.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from taba.errors import StoreError
from taba.interfaces import IStore, Lease, Loaded
from taba.server.folding import Folding
from taba.server.holding import Holding
from taba.server.membership import Member, Membership
from taba.server.observation import Observer
from taba.server.sleeping import Sleeping

LEASE_LOOK = 0.5
"""Seconds between two looks at the leases, at most: so long a vbucket that was dropped waits."""
EAGER_LOOK = 0.1
"""The same while there is something to take that nobody is known to hold: its lease runs out in a moment."""
WRITTEN_LOOK = 0.05
"""Seconds between two looks whether what is to be handed over is written."""
HAND_OVER_SECONDS = 5.0
"""What is not written by then is kept, and offered again."""
HEARD_SECONDS = 2.0
"""What was heard of the others counts for so long. It is also how long a be that has just started waits to hear of
them, before it takes everything.
"""


class Leasing:
    """The leases of what a be holds. `member` is the name by which it is published; without one it is alone, and takes
    everything. `fold` makes what is held of a vbucket that was loaded; `begun` and `ended` hear when vbuckets are to be
    read from now on, and when some are not any more; `hurry` lets what is to be handed over be written soon.
    """

    _log = Logger()

    def __init__(
        self,
        store: IStore,
        clock: IReactorTime,
        owner: str,
        observer: Observer,
        holding: Holding,
        fold: Callable[[Lease, Loaded], Folding],
        *,
        seconds: float,
        member: str,
        weight: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self._observer = observer
        self._holding = holding
        self._fold = fold
        self._seconds = seconds
        self._member = member
        self._weight = weight
        self.begun: Callable[[], None] = _nothing
        self.ended: Callable[[], None] = _nothing
        self.hurry: Callable[[], None] = _nothing
        self._membership: Membership | None = None
        self._pauses = Sleeping(clock)
        self._started = 0.0
        self._renewed = float("-inf")
        """When the leases were renewed last."""
        self._resigned = False
        self._heard: tuple[float, Mapping[str, Member]] = (float("-inf"), {})
        self.loading: dict[int, Lease] = {}
        self._working: list[Deferred[None]] = []
        self._had: set[int] = set()
        """What this be has loaded in this life, and not given or lost since."""

    @property
    def look_seconds(self) -> float:
        """How often it looks."""
        return min(LEASE_LOOK, self._seconds / 4)

    @property
    def held(self) -> frozenset[int]:
        """What this be has leases of."""
        return frozenset(self._holding.folding.keys() | self.loading.keys())

    def members(self) -> Mapping[str, Member]:
        """Who lives, as far as it was heard; nobody, when that is too long ago."""
        when, members = self._heard
        return members if self._clock.seconds() - when < HEARD_SECONDS else {}

    def heard(self, members: Mapping[str, Member]) -> None:
        """So it is with the be that live: what is new is acted on at once."""
        before, self._heard = self._heard, (self._clock.seconds(), members)
        if before[1] != members or before[0] < self._started:
            self._pauses.wake()

    def recompute(self) -> None:
        """Look at once, and forget who did not take what."""
        if self._membership is not None:
            self._membership.anew()
        self.look()

    def look(self) -> None:
        """Look at once."""
        self._pauses.wake()

    def weigh(self, weight: float) -> None:
        """Want another share from now on."""
        self._weight = weight
        if self._membership is not None:
            self._membership.weight = weight

    def rename(self, member: str) -> None:
        """Go by another name from now on, which prefers other vbuckets."""
        if self._member:
            self._member = member
        if self._member and self._membership is not None:
            self._membership.name = member
        self.look()

    def missing(self) -> int:
        """How many vbuckets this be should have, and has not loaded yet."""
        if self._membership is None or not self._membership.looked:
            return int(self._store.cluster.vbuckets)
        wanted = self._membership.preferring(self._membership.name)
        return sum(vbucket not in self._holding.folding for vbucket in wanted)

    # ------------------------------------------------------------------------------------------ the loop

    def begin(self) -> None:
        """The service starts."""
        self._started = self._clock.seconds()
        self._membership = Membership(self._member or self._owner, self._store.cluster.vbuckets, self._weight)
        self._resigned = False
        self._pauses.begin()

    def resign(self) -> None:
        """Take nothing more: the be is about to stop."""
        self._resigned = True

    def stop(self) -> None:
        """End the loop."""
        self._pauses.stop()

    @inlineCallbacks
    def loop(self):  # type: ignore[no-untyped-def]
        """Hold what this be should have, until the service stops."""
        while not self._pauses.stopping:
            eager = False
            try:
                yield self._renew()
                eager = yield self._act()
            except StoreError as problem:
                self._log.warn("Leases: {problem}", problem=problem)
            yield self._pauses.sleep(EAGER_LOOK if eager else self.look_seconds)

    @inlineCallbacks
    def _renew(self):  # type: ignore[no-untyped-def]
        now, folding = self._clock.seconds(), self._holding.folding
        if now < self._renewed + self.look_seconds:
            return
        self._renewed = now
        leases = [*self.loading.values(), *(each.lease for each in folding.values())]
        if not leases:
            return
        held = yield self._store.renew(leases, self._seconds)
        asked = {lease.vbucket: lease for lease in leases}
        lost = [v for v, each in folding.items() if v not in held and asked.get(v) == each.lease]
        self._observer.measures.leases_lost += len(lost)
        self._had.difference_update(lost)
        self.drop(lost)

    @inlineCallbacks
    def _act(self):  # type: ignore[no-untyped-def]
        """Look, take, and begin to hand over; whether there is something to take that will be free in a moment."""
        now, membership = self._clock.seconds(), self._membership
        if membership is None or self._resigned or self._pauses.stopping:
            return False
        if self._member and self._heard[0] < self._started and now - self._started < HEARD_SECONDS:
            return False  # what is free may be others': they are heard of in a moment
        members, held = self.members(), self.held
        self._had.difference_update(*(each.holds - held for name, each in members.items() if name != self._member))
        decision = membership.look(now, members, held, self._had - held, self.loading)
        self._working = [each for each in self._working if not each.called]
        if decision.hand_over:
            self._begin(self._hand_over(decision.hand_over))
        if not decision.take:
            return False
        yield self._acquire(decision.take)
        held = self.held.union(*(each.holds for each in members.values()))
        return bool(members) and not held.issuperset(decision.take)

    # ------------------------------------------------------------------------------------------ taking

    @inlineCallbacks
    def _acquire(self, vbuckets: Sequence[int]):  # type: ignore[no-untyped-def]
        """Lease vbuckets, and begin to load them all at once: in a networked store each load is a round trip.

        The loads are not waited for: one that hangs must not keep the leases of the others from being renewed.
        """
        leases: dict[int, Lease] = yield self._store.acquire(vbuckets, self._owner, self._seconds)
        self.loading.update(leases)
        for vbucket in leases:
            if self._membership is not None:
                self._membership.keeps(vbucket)  # it may have been handed over a moment ago
        for lease in leases.values():
            self._begin(self._load(lease))

    def _begin(self, work: Deferred[None]) -> None:
        """Let something go on beside the loop. What fails is told, and costs nothing else: least of all the stop, which
        has still to write what was folded.
        """
        work.addErrback(lambda reason: self._log.failure("Vbuckets could not be taken or handed over", reason))
        self._working.append(work)

    @inlineCallbacks
    def _load(self, lease: Lease):  # type: ignore[no-untyped-def]
        """Load a vbucket, and read it from now on. What fails costs this vbucket only: it is tried again, here or
        elsewhere.
        """
        vbucket, folding = lease.vbucket, None
        try:
            loaded: Loaded = yield self._store.load(lease)
            folding = self._fold(lease, loaded)
        except StoreError as problem:
            self._log.warn("Vbucket {v} cannot be loaded: {problem}", v=vbucket, problem=problem)
        except Exception:  # something that this build cannot read
            self._log.failure("Vbucket {v} cannot be loaded", v=vbucket)
        del self.loading[vbucket]
        if folding is None:
            yield self._not_loaded(lease)
            return
        self._holding.folding[vbucket] = folding
        if vbucket not in self._had:
            self._had.add(vbucket)
            self._observer.taken_over(vbucket)
        self.begun()

    @inlineCallbacks
    def _not_loaded(self, lease: Lease):  # type: ignore[no-untyped-def]
        if self._membership is not None:
            self._membership.failed(lease.vbucket, self._clock.seconds())
        if self.members():
            self._had.discard(lease.vbucket)
            yield self._give_back([lease])

    # ------------------------------------------------------------------------------------------ handing over

    @inlineCallbacks
    def _hand_over(self, vbuckets: Sequence[int]):  # type: ignore[no-untyped-def]
        """Write what was folded of vbuckets, then let others have them."""
        folding = self._holding.folding
        leaving = [folding[v] for v in vbuckets if v in folding]
        for each in leaving:
            each.leaving = True
        self.hurry()
        try:
            yield self._give_as_written(leaving)
        finally:  # what is still here is read again, also when something failed that nobody thought of
            kept = [each for each in leaving if self._holding.holds(each)]
            for each in kept:
                each.leaving = False
            if kept:
                self.begun()
            for vbucket in vbuckets:
                if self._membership is not None and vbucket in self._had:
                    self._membership.keeps(vbucket)

    @inlineCallbacks
    def _give_as_written(self, leaving: Sequence[Folding]):  # type: ignore[no-untyped-def]
        """Give each that leaves as soon as it is written; until HAND_OVER_SECONDS are over, or the service stops."""
        until = self._clock.seconds() + HAND_OVER_SECONDS
        while leaving and not self._pauses.stopping and self._clock.seconds() < until:
            leaving = [each for each in leaving if self._holding.holds(each)]
            settled = [each for each in leaving if each.settled]
            if settled:
                yield self.give([each.lease for each in settled])
                leaving = [each for each in leaving if each not in settled]
            if leaving:
                yield self._pauses.sleep(WRITTEN_LOOK)

    @inlineCallbacks
    def give(self, leases: Sequence[Lease]):  # type: ignore[no-untyped-def]
        """Release leases of what is held, which must be written: from now on it is others'."""
        for lease in leases:
            self._holding.drop(lease.vbucket)
            self._had.discard(lease.vbucket)
            self._observer.handed_over(lease.vbucket)
        yield self._give_back(leases)

    @inlineCallbacks
    def _give_back(self, leases: Sequence[Lease]):  # type: ignore[no-untyped-def]
        try:
            yield self._store.release(leases)
        except StoreError as problem:
            self._log.warn("Leases cannot be given back, and run out: {problem}", problem=problem)

    def drop(self, vbuckets: Iterable[int]) -> None:
        """Forget what is held of vbuckets; the next look takes them again."""
        for vbucket in vbuckets:
            if self._holding.drop(vbucket):
                self._observer.dropped(vbucket)
        self.ended()

    def settled(self) -> Deferred[list[None]]:
        """Fires when no load and no hand-over is under way."""
        working, self._working = self._working, []
        return gatherResults(working)


def _nothing() -> None:
    """Nobody wants to hear of it."""
