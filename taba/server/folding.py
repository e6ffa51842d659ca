"""What a be holds of one vbucket: the last checkpoint it knows, and what it folded since. Pure.

Log entries are taken apart as they come; their Partials wait by (tab, client) and are folded into States when a
checkpoint is prepared, so that a State which gets many Partials between two checkpoints is decoded once. Everything
is decided in the order of the log, from the entries and the last checkpoint alone: another be that loads that
checkpoint and reads the same log comes to the same States and the same ledger.

Nothing that a Partial holds can stop a vbucket: what cannot be folded is refused with a reason; what a better build
might fold later is set aside, too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from sys import intern
from typing import Final

from attrs import define, field, frozen

from taba import native
from taba.errors import CodecError
from taba.handlers.registry import Registry
from taba.interfaces import Checkpoint, IHandler, Lease, Loaded, LogEntry, Position, SetAside

OTHER_TYPE: Final = "other type"
"""The tab already has another Type."""
FUTURE: Final = "future"
UNKNOWN_TYPE: Final = "unknown type"
UNDECODABLE: Final = "undecodable"
HANDLER_FAILED: Final = "handler failed"

KEY_OVERHEAD = 500
PARTIAL_OVERHEAD = 60
"""Bytes of memory that a waiting (tab, client), and each of its Partials, take beside the Partial's own, roughly."""

MAX_EVENTS: Final = 2**53

Key = tuple[str, str]
"""(tab, client)."""
Names = tuple[str, str, str]
"""(tab, client, Type)."""


@frozen
class Refused:
    """One refused Partial, as a sample for the log of the process."""

    reason: str
    tab: str
    client: str
    type: str
    events: int


@define
class Pending:
    """The Partials of one (tab, client) that wait for the next checkpoint, in the order of the log."""

    type: str
    partials: list[bytes] = field(factory=list)
    events: list[int] = field(factory=list)


@define
class Generation:
    """What was folded since the last checkpoint was prepared."""

    pending: dict[Key, Pending] = field(factory=dict)
    types: dict[str, str] = field(factory=dict)
    ledger: Counter[str] = field(factory=Counter)
    set_aside: list[SetAside] = field(factory=list)
    bytes: int = 0
    """Of memory, roughly."""


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
    generation: Generation = field(factory=Generation)
    closed: Generation | None = None
    """What the checkpoint under way is of."""
    closed_at: int = 0
    """The id of the last entry in it."""
    under_way: Checkpoint | None = None

    @classmethod
    def loaded(cls, lease: Lease, loaded: Loaded, registry: Registry, max_clock_skew: float) -> Folding:
        """Go on from what the store has."""
        return cls(
            lease=lease,
            lineage=loaded.lineage,
            stored=loaded.position,
            folded=loaded.position.folded,
            types={tab: intern(type) for tab, type in loaded.types.items()},
            ledger=Counter(loaded.ledger),
            registry=registry,
            max_clock_skew=max_clock_skew,
        )

    @property
    def dirty(self) -> bool:
        """Whether a checkpoint is due: there is something to write, and none is under way."""
        return self.folded > self.stored.folded and self.closed is None

    def take(self, entry: LogEntry) -> list[Refused]:
        """Take the next entry of the log; answers with what was refused of it."""
        if entry.id != self.folded + 1:
            raise ValueError(f"entry {entry.id} of vbucket {entry.vbucket} does not follow {self.folded}")
        self.folded = entry.id
        self.generation.bytes += len(entry.body)
        try:
            partials = list(native.batch_partials(entry.body))
        except CodecError:
            return [self._aside(UNDECODABLE, ("", "", ""), min(entry.events, MAX_EVENTS), entry.body)]
        refused = []
        folded = 0
        for tab, client, type, events, partial, first, own_events, newest in partials:
            names = tab, client, type
            if events > MAX_EVENTS:  # no agent counted that: the number itself must not do harm
                events = 0
            sound = first >= 0 and own_events == events
            reason = self._problem(tab, type, sound, partial, newest > entry.appended + self.max_clock_skew)
            if not reason:
                self._accept(tab, client, type, events, partial)
                folded += events
            elif reason in (UNKNOWN_TYPE, UNDECODABLE):
                refused.append(self._aside(reason, names, events, partial))
            else:
                refused.append(self._refuse(reason, names, events))
        if folded:
            self.generation.ledger["folded"] += folded
        return refused

    def _problem(self, tab: str, type: str, sound: bool, partial: bytes, future: bool) -> str:
        """Why a Partial is not folded; "" when it is. `sound` is whether it holds as many events as its batch says."""
        handler = self.registry.get(type)
        if handler is None:
            return UNKNOWN_TYPE
        known = self.types.get(tab)
        if known is None:
            try:
                if native.check(partial) != native.PARTIAL | handler.kind:
                    return UNDECODABLE
            except CodecError:
                return UNDECODABLE
        elif known != type:
            return OTHER_TYPE
        if not sound:
            return UNDECODABLE
        return FUTURE if future else ""

    def _accept(self, tab: str, client: str, type: str, events: int, partial: bytes) -> None:
        generation = self.generation
        if tab not in self.types:
            self.types[tab] = generation.types[tab] = intern(type)
        pending = generation.pending.get((tab, client))
        if pending is None:
            pending = generation.pending[tab, client] = Pending(type)
            generation.bytes += KEY_OVERHEAD
        pending.partials.append(partial)
        pending.events.append(events)
        generation.bytes += PARTIAL_OVERHEAD

    def _refuse(self, reason: str, names: Names, events: int) -> Refused:
        self.generation.ledger[f"refused.{reason}"] += events
        return Refused(reason, *names, events)

    def _aside(self, reason: str, names: Names, events: int, partial: bytes) -> Refused:
        self.generation.set_aside.append(SetAside(reason, *names, events, partial))
        return self._refuse(reason, names, events)

    def close(self) -> None:
        """Begin a checkpoint of all that was taken so far."""
        if self.closed is not None:
            raise ValueError("a checkpoint is under way")
        self.closed, self.closed_at, self.generation = self.generation, self.folded, Generation()

    def needed(self) -> tuple[list[Key], list[str]]:
        """The States and running Aggregates that the store may have, and that `prepare` will ask for."""
        closed = self._closed()
        keys = [key for key in closed.pending if key[0] not in closed.types]
        tabs = dict.fromkeys(tab for tab, _ in keys if self._runs(self.types[tab]))
        return keys, list(tabs)

    def _closed(self) -> Generation:
        if self.closed is None:
            raise ValueError("no checkpoint is under way")
        return self.closed

    def _runs(self, type: str) -> bool:
        handler = self.registry.get(type)
        return handler is not None and handler.running_aggregate

    def prepare(
        self,
        states: Mapping[Key, bytes],
        aggregates: Mapping[str, bytes],
        failed: Callable[[str, Exception], None],
    ) -> Checkpoint:
        """Fold what was closed into the States of the last checkpoint.

        `states` and `aggregates` are what the store has of `needed`, missing where it has nothing. `failed` is told
        (type, exception) of what a Handler could not fold.
        """
        generation = self._closed()
        new_states: dict[Key, bytes | None] = {}
        by_tab: defaultdict[str, list[bytes]] = defaultdict(list)
        for key, pending in generation.pending.items():
            handler = self.registry.get(pending.type)
            assert handler is not None, "only Partials of known Types are pending"
            state, taken = self._fold(handler, states.get(key, b""), key, pending, generation, failed)
            if taken:
                new_states[key] = state
                if handler.running_aggregate:
                    by_tab[key[0]] += taken
        new_aggregates = self._aggregates(by_tab, aggregates, generation, failed)
        self.ledger.update(generation.ledger)
        self.under_way = Checkpoint(
            lease=self.lease,
            lineage=self.lineage,
            expected=self.stored,
            position=Position(self.closed_at, self.stored.commits + 1),
            states=new_states,
            aggregates=new_aggregates,
            types=dict(generation.types),
            ledger=dict(self.ledger),
            set_aside=generation.set_aside,
        )
        return self.under_way

    def _fold(
        self,
        handler: IHandler,
        state: bytes,
        key: Key,
        pending: Pending,
        generation: Generation,
        failed: Callable[[str, Exception], None],
    ) -> tuple[bytes, Sequence[bytes]]:
        """Fold the Partials of one key: all at once, or, when that fails, one by one without those that cannot be
        folded.
        """
        try:
            return handler.fold(state, pending.partials), pending.partials
        except Exception as problem:  # a Handler may be anybody's code: it must not stop the vbucket
            failed(pending.type, problem)
        taken = []
        for partial, events in zip(pending.partials, pending.events, strict=True):
            try:
                state = handler.fold(state, [partial])
            except Exception as problem:
                reason = UNDECODABLE if isinstance(problem, CodecError) else HANDLER_FAILED
                generation.ledger["folded"] -= events
                generation.ledger[f"refused.{reason}"] += events
                generation.set_aside.append(SetAside(reason, *key, pending.type, events, partial))
            else:
                taken.append(partial)
        return state, taken

    def _aggregates(
        self,
        by_tab: Mapping[str, Sequence[bytes]],
        aggregates: Mapping[str, bytes],
        generation: Generation,
        failed: Callable[[str, Exception], None],
    ) -> dict[str, bytes | None]:
        """The running Aggregates with what went into the States. One that is damaged in the store stays as it is, and
        is counted.
        """
        changed: dict[str, bytes | None] = {}
        for tab, partials in by_tab.items():
            handler = self.registry.get(self.types[tab])
            assert handler is not None, "only Partials of known Types are pending"
            try:
                changed[tab] = handler.fold(aggregates.get(tab, b""), partials)
            except Exception as problem:  # as above
                failed(handler.name, problem)
                generation.ledger["aggregates damaged"] += 1
        return changed

    def written(self) -> Checkpoint:
        """The checkpoint under way is in the store."""
        done = self.under_way
        if done is None:
            raise ValueError("no checkpoint was prepared")
        self.under_way, self.closed, self.stored = None, None, done.position
        return done
