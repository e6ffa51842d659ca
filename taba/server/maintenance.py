"""Maintenance: what a be does to the States of its vbuckets that no entry of a log asks for in itself.

Chores are what notes say (see `notes`): graves are merged back or removed, States written in the present version,
Aggregates made anew. The GC prunes what `gc` says. Every step reads some States while no checkpoint of their vbucket is
under way, and writes one checkpoint that changes them; between two steps others have their turn. A step that fails has
changed nothing, and is done again by whoever holds the vbucket then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from taba.errors import StoreError
from taba.handlers.registry import Registry
from taba.interfaces import IStore, StateRow
from taba.server.backend import Backend
from taba.server.chores import Change, Key, dropping, restoring, upgrading
from taba.server.folding import Folding
from taba.server.gc import TABS_AT_A_TIME, Collecting, Pruning, emptied
from taba.server.notes import Kind, Note, is_note
from taba.server.reducing import Reducing
from taba.server.sleeping import Sleeping
from taba.server.walking import CHUNK_STATES, PAUSE_SECONDS, Walking

LOOK_SECONDS = 0.5
"""How often it is looked for something to do."""
GRAVES_SECONDS = 30.0
"""How often it is looked for graves that nobody can have back any more."""
GRAVES_AT_A_TIME = 100


class Maintenance(Service):
    """The maintenance of one be; `random` gives a number from 0 to 1, so that not all servers begin at once. GC comes
    every `gc_seconds`, and for `undo_seconds` a deletion can be undone.
    """

    _log = Logger()

    def __init__(
        self,
        store: IStore,
        registry: Registry,
        backend: Backend,
        clock: IReactorTime,
        wall: Callable[[], float],
        pruning: Pruning,
        *,
        random: Callable[[], float] = lambda: 1.0,
        gc_seconds: float = 3600.0,
        undo_seconds: float = 86_400.0,
    ) -> None:
        self._store = store
        self._registry = registry
        self._backend = backend
        self._clock = clock
        self._wall = wall
        self._pruning = pruning
        self._gc_seconds = gc_seconds
        self._undo_seconds = undo_seconds
        self._random = random
        self._pauses = Sleeping(clock)
        self._walking = Walking(store, self._pauses)
        self._loops: list[Deferred[None]] = []
        self._gc_at = 0.0
        self._graves_at = 0.0
        self.pruned = 0
        """How many States the GC has pruned."""
        self.passes = 0
        """How many passes of the GC have ended."""
        self.steps = 0
        """How many checkpoints of the GC and of chores were written."""

    def startService(self) -> None:
        """Start the loops."""
        super().startService()
        self._pauses.begin()
        now = self._clock.seconds()
        self._gc_at, self._graves_at = now + self._random() * self._gc_seconds, now
        self._loops = [Deferred.fromCoroutine(self._loop(round)) for round in (self._chores, self._gc_if_due)]

    async def stopped(self) -> None:
        """Wait for the step under way."""
        self._pauses.stop()
        await gatherResults(self._loops)
        self._loops.clear()

    def stopService(self) -> Deferred[None]:
        """Fires when no step is under way any more."""
        super().stopService()
        return Deferred.fromCoroutine(self.stopped())

    def collect(self) -> None:
        """Let a pass of the GC begin now; when one is under way, another one after it."""
        self._gc_at = self._clock.seconds()
        self._pauses.wake()

    async def _loop(self, round: Callable[[], Awaitable[bool]]) -> None:
        """Do rounds until the service stops; with a pause after one that had nothing to do, or failed."""
        while not self._pauses.stopping:
            busy = False
            try:
                busy = await round()
            except StoreError as problem:
                self._log.warn("Maintenance: {problem}", problem=problem)
            except Exception:
                self._log.failure("A step of maintenance failed")
            await self._pauses.sleep(PAUSE_SECONDS if busy else LOOK_SECONDS)

    # ------------------------------------------------------------------------------------------ steps

    async def _step(self, folding: Folding, make: Callable[[], Awaitable[Change | None]]) -> bool:
        """One step: `make` reads, and says what to change, while no other checkpoint of the vbucket is under way.
        Whether it was changed.
        """
        begun = folding.begin_chore()
        while begun is None:
            await self._pauses.sleep(PAUSE_SECONDS)
            if self._pauses.stopping or not self._backend.holding.holds(folding):
                return False
            begun = folding.begin_chore()
        try:
            change = await make()
            changed = change is not None and bool(change) and bool(await self._backend.write_chore(folding, change))
            self.steps += changed
            return changed
        finally:
            folding.end_chore(begun)
            self._backend.go_on()

    # ------------------------------------------------------------------------------------------ chores

    async def _chores(self) -> bool:
        """One step, or more, of what the notes of each vbucket say; whether there was anything."""
        look = self._clock.seconds() >= self._graves_at
        if look:
            self._graves_at = self._clock.seconds() + GRAVES_SECONDS
        busy = False
        for folding in list(self._backend.folding.values()):
            if look:
                await self._guarded(folding, self._bury(folding))
            for chore in self._due(folding):
                busy |= bool(await self._guarded(folding, chore))
            if self._pauses.stopping:
                break
        return busy

    def _due(self, folding: Folding) -> Iterator[Awaitable[bool]]:
        """What the notes of a vbucket ask for, one after another: each is made when the one before is over."""
        for note in folding.notes.work(Kind.RESTORED):
            yield self._restore(folding, note)
        for note in folding.notes.work(Kind.REBUILD):
            yield self._step(folding, lambda n=note: self._rebuild(folding, n))  # type: ignore[misc]
        if folding.notes.work(Kind.DROPPED, most=1):
            yield self._drop(folding)
        for note in folding.notes.work(Kind.UPGRADE, most=1):  # the others when something shorter had its turn
            yield self._upgrade(folding, note)

    async def _guarded(self, folding: Folding, chore: Awaitable[bool | None]) -> bool | None:
        """Do a chore; when it fails it is tried again later, and keeps no other from being done."""
        try:
            return await chore
        except StoreError as problem:  # perhaps of one shard only
            self._log.warn("Maintenance of vbucket {v}: {problem}", v=folding.lease.vbucket, problem=problem)
        except Exception:
            self._log.failure("A step of the maintenance of vbucket {v} failed", v=folding.lease.vbucket)
        return False

    async def _bury(self, folding: Folding) -> None:
        """Graves whose time is over can no longer be had back."""
        before = (self._wall() - self._undo_seconds) * 1e3

        async def make() -> Change:
            due = (note for note in folding.notes if note.kind is Kind.DELETED and note.milliseconds <= before)
            return Change(renames={note.name: note.turned(Kind.DROPPED).name for note in islice(due, GRAVES_AT_A_TIME)})

        while any(note.kind is Kind.DELETED and note.milliseconds <= before for note in folding.notes):
            if not await self._step(folding, make):
                return

    async def _drop(self, folding: Folding) -> bool:
        """Remove States of graves."""
        names = [note.name for note in folding.notes.work(Kind.DROPPED, most=GRAVES_AT_A_TIME)]
        before = self.steps

        async def remove(rows: list[StateRow], last: bool) -> bool:
            clients: dict[str, list[str]] = {name: [] for name in names} if last else {}
            for row in rows:
                clients.setdefault(row.tab, []).append(row.client)

            async def make() -> Change:
                change = Change()
                keys = [(name, client) for name, gone in clients.items() for client in gone]
                all_gone = last and await self._are_all(folding, keys, names)
                for name, gone in clients.items():
                    part = dropping(name, gone, all_gone)
                    change.states.update(part.states)
                    change.aggregates.update(part.aggregates)
                    change.types.update(part.types)
                return change

            return await self._step(folding, make)

        await self._walking.walk(folding.lease.vbucket, names, remove)
        return self.steps > before

    async def _restore(self, folding: Folding, note: Note) -> bool:
        """Merge States of a grave back into the tab."""
        before = self.steps

        async def merge(rows: list[StateRow], last: bool) -> bool:
            return await self._step(folding, lambda: self._restored(folding, note, [row.client for row in rows], last))

        if self._handler(folding, note) is not None:
            await self._walking.walk(folding.lease.vbucket, [note.name], merge)
        return self.steps > before

    async def _restored(self, folding: Folding, note: Note, clients: Sequence[str], last: bool) -> Change | None:
        """Merge the States of some clients of a grave, as they are now, back into the tab."""
        handler = self._handler(folding, note)
        if handler is None:
            return None
        type = folding.types[note.name]
        keys = [(name, client) for name in (note.tab, note.name) for client in clients]
        states, aggregates = await self._backend.holding.states_of(folding.lease.vbucket, keys, [note.tab])
        buried = [(client, states[note.name, client]) for client in clients if (note.name, client) in states]
        aggregate = aggregates.get(note.tab, b"")
        last = last and await self._are_all(folding, keys, [note.name])
        return restoring(note.name, note.tab, type, handler, buried, states, aggregate, last)

    async def _are_all(self, folding: Folding, keys: Collection[Key], names: Sequence[str]) -> bool:
        """Whether graves have no States but these. What the walk read may be of before they were dug."""
        return await self._walking.are_all(folding.lease.vbucket, names, set(keys))

    async def _rebuild(self, folding: Folding, note: Note) -> Change | None:
        """Make the Aggregate of a tab anew."""
        handler = self._handler(folding, note)
        if handler is None:
            return None
        done = Change(types={note.name: None})
        if not handler.running_aggregate:
            return done
        reducing = Reducing(handler)
        try:
            await self._walking.read(
                folding.lease.vbucket,
                frozenset((note.tab,)),
                lambda rows: reducing.add([handler.upgrade(row.state) for row in rows]),
            )
            aggregate = reducing.result()
            if aggregate is not None:
                aggregate = handler.reduce([aggregate])  # one that came alone was not looked at
        except StoreError:
            raise
        except Exception as problem:  # a Handler may be anybody's code
            self._log.error(
                "The Aggregate of {tab} cannot be made anew: a State of it is damaged ({problem})",
                tab=note.tab, problem=problem,
            )  # fmt: skip
            return done
        done.aggregates[note.tab] = aggregate
        return done

    async def _upgrade(self, folding: Folding, note: Note) -> bool:
        """Write all States of a tab in the present version."""
        handler, vbucket = self._handler(folding, note), folding.lease.vbucket
        if handler is None:
            return False
        keys: list[Key] = []

        async def some() -> Change:
            states, _ = await self._backend.holding.states_of(vbucket, keys, [])
            return upgrading(handler, states, {})

        async def take(rows: Sequence[StateRow]) -> None:
            old = upgrading(handler, {(row.tab, row.client): row.state for row in rows}, {}).states
            for key in old:
                keys.append(key)
                if len(keys) >= CHUNK_STATES:
                    await self._step(folding, some)
                    keys.clear()

        async def end() -> Change | None:
            if note not in folding.notes:
                return None
            states, aggregates = await self._backend.holding.states_of(vbucket, keys, [note.tab])
            change = upgrading(handler, states, aggregates)
            change.types[note.name] = None
            return change

        await self._walking.read(folding.lease.vbucket, frozenset((note.tab,)), take)
        return await self._step(folding, end)

    def _handler(self, folding: Folding, note: Note) -> Any:
        """The Handler of a note's tab; None when the note is gone, or there is no Handler here."""
        return self._registry.get(folding.types[note.name]) if note in folding.notes else None

    # ------------------------------------------------------------------------------------------ GC

    async def _gc_if_due(self) -> bool:
        """A pass over all vbuckets, if it is time."""
        now = self._clock.seconds()
        if now < self._gc_at:
            return False
        self._gc_at = now + self._gc_seconds
        for folding in list(self._backend.folding.values()):
            try:
                await self._gc(folding)
            except StoreError as problem:  # the next pass will do; other vbuckets may be on other shards
                self._log.warn("GC of vbucket {v}: {problem}", v=folding.lease.vbucket, problem=problem)
        self.passes += 1
        return False

    async def _gc(self, folding: Folding) -> None:
        """Prune what can be pruned of one vbucket."""
        tabs = iter(sorted(tab for tab in folding.types if not is_note(tab)))
        while some := list(islice(tabs, TABS_AT_A_TIME)):
            collecting = Collecting(self._pruning, self._wall())

            async def take(rows: Sequence[StateRow], collecting: Collecting = collecting) -> None:
                for row in rows:
                    collecting.take(row)
                    if len(collecting.keys) >= CHUNK_STATES:
                        await self._prune(folding, collecting)

            await self._walking.read(folding.lease.vbucket, frozenset(some), take)
            await self._prune(folding, collecting)
            for tab in collecting.bare():
                await self._step(folding, lambda tab=tab, now=collecting.now: self._empty(folding, tab, now))  # type: ignore[misc]
            if self._pauses.stopping or not self._backend.holding.holds(folding):
                return
            await self._pauses.sleep(0.0)

    async def _prune(self, folding: Folding, collecting: Collecting) -> None:
        """Prune the States that were collected, as they are now."""
        keys = collecting.taken()
        if not keys:
            return
        pruned = 0

        async def make() -> Change:
            nonlocal pruned
            wanted = [*keys, *collecting.retired(keys)]
            states, _ = await self._backend.holding.states_of(folding.lease.vbucket, wanted, [])
            change = collecting.change(keys, states)
            pruned = sum(state is None for state in change.states.values())
            return change

        if await self._step(folding, make):
            self.pruned += pruned

    async def _empty(self, folding: Folding, tab: str, now: float) -> Change | None:
        """A tab that shows nothing any more keeps no Aggregate."""
        rows, all_read = await self._walking.some(folding.lease.vbucket, tab)
        return emptied(self._pruning, tab, rows, now) if all_read else None
