"""What a be holds of one vbucket: the last checkpoint it knows, and what it folded since. Pure.

Log entries are taken apart as they come; their Partials wait by (tab, client) and are folded into States when a
checkpoint is prepared, so that a State which gets many Partials between two checkpoints is decoded once. Everything
is decided in the order of the log, from the entries and the last checkpoint alone: another be that loads that
checkpoint and reads the same log comes to the same States and the same ledger.

A batch with operations ends a generation: one checkpoint writes all Partials up to that batch's, and then what the
operations come to. What follows it in the log waits for a later checkpoint, which finds what the operations left.
Chores (see `maintenance`) are checkpoints that take nothing from the log; they need that no operations wait.

Nothing that a Partial holds can stop a vbucket: what cannot be folded is refused with a reason; what a better build
might fold later is set aside, too.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from sys import intern

from attrs import define, field

from taba import native
from taba.errors import CodecError
from taba.handlers.registry import Registry
from taba.interfaces import RETIRED, Checkpoint, Lease, Loaded, LogEntry, Position, SetAside
from taba.server.blacklist import Blacklist
from taba.server.chores import Change
from taba.server.generations import (
    BLACKLISTED,
    FUTURE,
    OTHER_TYPE,
    UNDECODABLE,
    UNKNOWN_TYPE,
    Failed,
    Generation,
    Key,
    Refused,
)
from taba.server.hot import HotFold, learn
from taba.server.keeping import Keeping
from taba.server.notes import Notes
from taba.server.operating import Carrying, with_restored
from taba.server.operations import TYPES, Operation, parse

MAX_EVENTS = 2**53


@define
class Folding:
    """One vbucket in the hands of its owner.

    `folded` is the id of the last entry taken, `stored` the position in the store. At most one checkpoint is under
    way at a time: `close`, get what is `needed`, `prepare`, write it, `written`; entries taken meanwhile wait for the
    next one. When a step fails, or its outcome is unknown, the whole object is to be dropped and the vbucket loaded
    again.

    `types` has every tab of the vbucket, without a limit: whether a tab is new must be known without asking the store.
    A tab costs some 110 bytes of memory (measured with names of 24 characters: 112), so a million tabs in all vbuckets
    cost 110 MB.
    """

    lease: Lease
    lineage: str
    stored: Position
    folded: int
    types: dict[str, str]
    ledger: Counter[str]
    registry: Registry
    max_clock_skew: float
    keeping: Keeping = field(factory=Keeping)
    blacklist: Blacklist = field(factory=Blacklist.of)
    notes: Notes = field(factory=Notes)
    hot: native.HotStates = field(factory=native.HotStates)
    """The States in memory that the native core folds into; see `hot`."""
    generation: Generation = field(factory=Generation)
    """What is being taken."""
    sealed: deque[Generation] = field(factory=deque)
    """What operations ended, the oldest first."""
    closed: Generation | None = None
    """What the checkpoint under way is of."""
    closed_at: int = 0
    """The id of the last entry in it."""
    blocked: bool = False
    """Whether nothing may be taken: what was set aside is to be folded first, and the store has to be asked for it."""
    leaving: bool = False
    """Whether nothing more is taken, since it is to be handed over to another be once all is written."""
    under_way: Checkpoint | None = None
    passed_over: list[tuple[Operation, str]] = field(factory=list)
    """Operations that came to nothing, and why; whoever reads it empties it."""

    @classmethod
    def loaded(
        cls,
        lease: Lease,
        loaded: Loaded,
        registry: Registry,
        max_clock_skew: float,
        keeping: Keeping | None = None,
        blacklist: Blacklist | None = None,
    ) -> Folding:
        """Go on from what the store has."""
        types = {tab: intern(type) for tab, type in loaded.types.items()}
        notes = Notes.among(types)
        with_restored(types, notes)
        return cls(
            lease=lease,
            lineage=loaded.lineage,
            stored=loaded.position,
            folded=loaded.position.folded,
            types=types,
            ledger=Counter(loaded.ledger),
            registry=registry,
            max_clock_skew=max_clock_skew,
            keeping=keeping or Keeping(),
            blacklist=blacklist or Blacklist.of(),
            notes=notes,
        )

    @property
    def dirty(self) -> bool:
        """Whether a checkpoint is due: there is something to write, and none is under way."""
        return self.folded > self.stored.folded and self.closed is None

    @property
    def resting(self) -> bool:
        """Whether nothing is to be read of its log now."""
        return self.blocked or self.leaving

    @property
    def settled(self) -> bool:
        """Whether the store has all that was taken, and nothing is being written."""
        return self.folded == self.stored.folded and self.closed is None

    @property
    def held(self) -> int:
        """Bytes of memory, roughly, that what was taken and is not yet in the store needs."""
        closed = self.closed.held if self.closed is not None else 0
        return self.generation.held + closed + sum(each.held for each in self.sealed)

    # ------------------------------------------------------------------------------------------ taking

    def take(self, entry: LogEntry) -> list[Refused]:
        """Take the next entry of the log; answers with what was refused of it."""
        if entry.id != self.folded + 1 or self.blocked:
            raise ValueError(f"entry {entry.id} of vbucket {entry.vbucket} does not follow {self.folded}")
        self.folded = entry.id
        generation = self.generation
        generation.held += len(entry.body)
        try:
            partials = self._take_hot(entry)
        except CodecError:
            return [generation.put_aside(UNDECODABLE, ("", "", ""), min(entry.events, MAX_EVENTS), entry.body)]
        refused, operations = self._take_partials(partials, generation, entry.appended)
        if operations:
            self._seal(operations, entry)
        return refused

    def _take_hot(self, entry: LogEntry) -> Sequence[tuple[str, str, str, int, bytes, int, int, float]]:
        """Let what is for hot States wait for them; the rest. While operations have not been carried out in the store,
        the States in memory may be of tabs that are no more: then all is the rest.
        """
        if self.sealed or (self.closed is not None and self.closed.end):
            return list(native.batch_partials(entry.body))
        return self.generation.take_hot(self.hot, entry.body, entry.appended + self.max_clock_skew)

    def _take_partials(
        self,
        partials: Sequence[tuple[str, str, str, int, bytes, int, int, float]],
        generation: Generation,
        appended: float,
    ) -> tuple[list[Refused], list[Operation]]:
        """Take the Partials of a batch, each on its own: what was refused, and the operations among them."""
        refused: list[Refused] = []
        operations: list[Operation] = []
        folded = 0
        for tab, client, type, events, partial, first, own_events, newest in partials:
            names = tab, client, type
            if events > MAX_EVENTS:  # no agent counted that: the number itself must not do harm
                events = 0
            sound = first >= 0 and own_events == events
            if type in TYPES and sound and first == native.PARTIAL | native.RAW:
                operations += parse(type, tab, partial)
                generation.ledger["operations"] += events
                continue
            reason = self._problem(tab, type, sound, partial, newest > appended + self.max_clock_skew)
            if self.blacklist.refuses(tab, client):
                reason = BLACKLISTED
            if not reason:
                self._accept(generation, names, events, partial)
                folded += events
            elif reason in (UNKNOWN_TYPE, UNDECODABLE):
                refused.append(generation.put_aside(reason, names, events, partial))
            else:
                refused.append(generation.refuse(reason, names, events))
        if folded:
            generation.ledger["folded"] += folded
        return refused, operations

    def _problem(self, tab: str, type: str, sound: bool, partial: bytes, future: bool) -> str:
        """Why a Partial is not folded; "" when it is. `sound` is whether it holds as many events as its batch says."""
        handler = self.registry.get(type)
        if handler is None:
            return UNKNOWN_TYPE
        known = self.types.get(tab)
        if known is None:
            try:
                if native.check(partial) != native.PARTIAL | (handler.kind & 0xFF):
                    return UNDECODABLE
            except CodecError:
                return UNDECODABLE
        elif known != type:
            return OTHER_TYPE
        if not sound:
            return UNDECODABLE
        return FUTURE if future else ""

    def _accept(self, generation: Generation, names: tuple[str, str, str], events: int, partial: bytes) -> None:
        tab, client, type = names
        if tab not in self.types:
            self.types[tab] = generation.types[tab] = intern(type)
        if self.keeping.merges(tab) and self._runs(type):
            client = RETIRED
        generation.accept((tab, client), type, events, partial)

    def _runs(self, type: str) -> bool:
        handler = self.registry.get(type)
        return handler is not None and handler.running_aggregate

    def _seal(self, operations: Sequence[Operation], entry: LogEntry) -> None:
        """The operations of a batch end the generation that the batch's Partials went into."""
        carrying = Carrying(self.types, self.notes)
        carrying.carry_out(operations)
        self.passed_over += carrying.passed_over
        self.generation.unpack()
        generation, self.generation = self.generation, Generation()
        generation.carried, generation.end, generation.appended = carrying.carried, entry.id, entry.appended
        self.blocked = bool(carrying.carried.refold)
        self.sealed.append(generation)

    # ------------------------------------------------------------------------------------------ checkpoints

    def close(self) -> None:
        """Begin a checkpoint: of the oldest generation that operations ended, or of all that was taken so far."""
        if self.closed is not None:
            raise ValueError("a checkpoint is under way")
        if self.sealed:
            self.closed = self.sealed.popleft()
            self.closed_at = self.closed.end
        else:
            self.closed, self.closed_at, self.generation = self.generation, self.folded, Generation()

    def wanted(self) -> Sequence[str]:
        """The ids of what the store is to be asked for that was set aside, and `refold` wants to have; each once,
        though several operations of a batch may have named it.
        """
        return list(dict.fromkeys(self._closed().carried.refold))

    def refold(self, aside: Sequence[SetAside]) -> list[Refused]:
        """Take what was set aside into the checkpoint under way, with the Partials of the batch that asked for it.

        What cannot be folded this time either stays set aside as it was. Answers with what was refused of batches that
        nobody could read before.
        """
        closed, refused = self._closed(), []
        for each in aside:
            events = min(each.events, MAX_EVENTS)
            if each.id in closed.refolded:
                continue  # it was folded a moment ago
            if each.tab in closed.carried.renames or (closed.carried.renames and not each.tab):
                continue  # the batch moves the tab: what would be folded into it is of after the move
            try:
                if self.blacklist.refuses(each.tab, each.client):
                    continue
                if each.tab:
                    own, newest = native.partial_extent(each.partial)
                    future = newest > closed.appended + self.max_clock_skew
                    if self._problem(each.tab, each.type, own == events, each.partial, future):
                        continue
                    self._accept(closed, (each.tab, each.client, each.type), events, each.partial)
                    closed.ledger["folded"] += events
                else:
                    partials = list(native.batch_partials(each.partial))
                    refused += self._take_partials(partials, closed, closed.appended)[0]
            except CodecError:
                continue
            closed.ledger[f"refused.{each.reason}"] -= events
            closed.refolded.append(each.id)
        self.blocked = False
        return refused

    def needed(self) -> tuple[list[Key], list[str]]:
        """The States and running Aggregates that the store may have, and that `prepare` will ask for."""
        closed = self._closed()
        keys = list(closed.keys())
        tabs = dict.fromkeys(key[0] for key in keys if self._runs(closed.pending[key].type))
        if closed.waiting is not None:
            tabs.update(dict.fromkeys(tab for tab, _ in closed.waiting.missing()))
        return keys, list(tabs)

    def _closed(self) -> Generation:
        if self.closed is None:
            raise ValueError("no checkpoint is under way")
        return self.closed

    def prepare(self, states: Mapping[Key, bytes], aggregates: Mapping[str, bytes], failed: Failed) -> Checkpoint:
        """Fold what was closed into the States of the last checkpoint.

        `states` and `aggregates` are what the store has of `needed`, missing where it has nothing. `failed` is told
        (type, exception) of what a Handler could not fold.
        """
        generation = self._closed()
        prepared = HotFold(self.registry, self.hot, generation, failed).fold(states, aggregates)
        self.ledger.update(generation.ledger)
        self.under_way = Checkpoint(
            lease=self.lease,
            lineage=self.lineage,
            expected=self.stored,
            position=Position(self.closed_at, self.stored.commits + 1),
            states=prepared.states,
            known=prepared.known,
            aggregates=prepared.aggregates,
            types={**generation.types, **generation.carried.types},
            ledger=dict(self.ledger),
            set_aside=generation.set_aside,
            renames=generation.carried.renames,
            refolded=generation.refolded,
        )
        return self.under_way

    def remember(self, checkpoint: Checkpoint) -> set[Key]:
        """Keep what is about to be written among the hot States, where it may be; the (tab, client) of what is. What is
        to be forgotten of them is forgotten.
        """
        if checkpoint.renames or None in checkpoint.states.values():
            for generation in (self.generation, *self.sealed):
                generation.unpack()
        if checkpoint.renames:
            self.hot.sweep(keep=False)  # States move under other names, all of a tab's at once
            return set()
        learnt = learn(self.hot, self.registry, self._closed(), checkpoint)
        for tab, aggregate in checkpoint.aggregates.items():
            if self.hot.update(tab, native.AGGREGATE, aggregate):
                learnt.add((tab, native.AGGREGATE))
        return learnt

    def cool(self, keep: bool) -> None:
        """Forget the hot States that nothing came for since the last call, or, without `keep`, all; nothing happens
        while a checkpoint is under way.
        """
        if self.closed is None:
            for generation in (self.generation, *self.sealed):
                generation.unpack()
            self.hot.sweep(keep)

    def written(self) -> Checkpoint:
        """The checkpoint under way is in the store."""
        done = self.under_way
        if done is None:
            raise ValueError("no checkpoint was prepared")
        self.under_way, self.closed, self.stored = None, None, done.position
        return done

    # ------------------------------------------------------------------------------------------ chores

    def begin_chore(self) -> Generation | None:
        """Begin a checkpoint that takes nothing from the log; None when there may be none now: one is under way, or
        operations wait. Until it is written, or `end_chore` is called with what this gives, no other is begun.
        """
        if self.closed is not None or self.sealed or self.leaving:
            return None
        self.closed, self.closed_at = Generation(), self.stored.folded
        return self.closed

    def chore(self, change: Change) -> Checkpoint | None:
        """The checkpoint that makes a change to what the store has. None when operations came since the chore began:
        what they were decided on must be what they find.
        """
        if self.sealed:
            return None
        for name, type in change.types.items():
            if type is None:
                self.types.pop(name, None)
                self.notes.remove(name)
            elif name not in self.types:
                self.types[name] = type
                self.notes.add(name)
        for old, new in change.renames.items():
            self.types[new] = self.types.pop(old)
            self.notes.remove(old)
            self.notes.add(new)
        self.ledger.update(change.ledger)
        self.under_way = Checkpoint(
            lease=self.lease,
            lineage=self.lineage,
            expected=self.stored,
            position=Position(self.stored.folded, self.stored.commits + 1),
            states=change.states,
            aggregates=change.aggregates,
            types=change.types,
            ledger=dict(self.ledger),
            set_aside=change.set_aside,
            renames=change.renames,
        )
        return self.under_way

    def end_chore(self, begun: Generation) -> None:
        """A chore is over; if nothing was written of it, another checkpoint may be begun."""
        if self.closed is begun:
            self.closed = None

