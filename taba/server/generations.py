"""What a be has taken from a log since the last checkpoint, in portions that one checkpoint each will write. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import define, field, frozen

from taba import native
from taba.errors import CodecError
from taba.interfaces import IHandler, SetAside
from taba.server.operating import Carried

OTHER_TYPE: Final = "other type"
"""The tab already has another Type."""
FUTURE: Final = "future"
UNKNOWN_TYPE: Final = "unknown type"
UNDECODABLE: Final = "undecodable"
HANDLER_FAILED: Final = "handler failed"
BLACKLISTED: Final = "blacklisted"
"""NAME_BLACKLIST or CLIENT_BLACKLIST says that it is not taken."""

KEY_OVERHEAD = 500
PARTIAL_OVERHEAD = 60
"""Bytes of memory that a waiting (tab, client), and each of its Partials, take beside the Partial's own, roughly."""

HOT_OVERHEAD = 60
"""The same of a Partial that waits for a State which the native core has: the batch stays as it is."""

Key = tuple[str, str]
"""(tab, client)."""
Names = tuple[str, str, str]
"""(tab, client, Type)."""
Failed = Callable[[str, Exception], None]
"""Is told (Type, exception) of what a Handler could not do."""


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
    """What one checkpoint will write: Partials, and then, when it is sealed, what the operations of its last batch come
    to.
    """

    pending: dict[Key, Pending] = field(factory=dict)
    types: dict[str, str] = field(factory=dict)
    """The tabs that it makes."""
    ledger: Counter[str] = field(factory=Counter)
    set_aside: list[SetAside] = field(factory=list)
    held: int = 0
    """Bytes of memory, roughly."""
    end: int = 0
    """Of a sealed one: the id of the last entry in it."""
    carried: Carried = field(factory=Carried)
    refolded: list[str] = field(factory=list)
    """The ids of what was set aside and is folded with this generation."""
    appended: float = 0.0
    """Of a sealed one: the store's time of its last entry."""
    waiting: native.WaitingPartials | None = None
    """What waits for hot States; it comes after what is pending for the same."""

    def accept(self, key: Key, type: str, events: int, partial: bytes) -> None:
        """A Partial that is to be folded."""
        pending = self.pending.get(key)
        if pending is None:
            pending = self.pending[key] = Pending(type)
            self.held += KEY_OVERHEAD
        pending.partials.append(partial)
        pending.events.append(events)
        self.held += PARTIAL_OVERHEAD

    def take_hot(
        self, hot: native.HotStates, batch: bytes, newest: float
    ) -> Sequence[tuple[str, str, str, int, bytes, int, int, float]]:
        """Let what a batch has for hot States wait for them, none of it newer than `newest`; the rest, as
        `native.batch_partials` has it. CodecError when the batch is malformed.
        """
        waiting = self.waiting or native.WaitingPartials(hot)
        before = len(waiting)
        rest, events = waiting.take(batch, newest)
        if taken := len(waiting) - before:
            self.waiting = waiting
            self.held += taken * HOT_OVERHEAD
            self.ledger["folded"] += events
        return rest

    def unpack(self) -> None:
        """Let what waits for hot States wait as all else does: they are to be forgotten."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            for tab, client, type, events, partial in waiting.rows():
                self.accept((tab, client), type, events, partial)

    def refuse(self, reason: str, names: Names, events: int) -> Refused:
        """Events that are not folded."""
        self.ledger[f"refused.{reason}"] += events
        return Refused(reason, *names, events)

    def put_aside(self, reason: str, names: Names, events: int, partial: bytes) -> Refused:
        """Events that are not folded now, but may be later."""
        self.set_aside.append(SetAside(reason, *names, events, partial))
        return self.refuse(reason, names, events)

    def keys(self) -> Sequence[Key]:
        """The States that the store may have, of those that Partials wait for."""
        return [key for key in self.pending if key[0] not in self.types]

def fold_state(
    handler: IHandler, state: bytes, key: Key, pending: Pending, generation: Generation, failed: Failed
) -> tuple[bytes, Sequence[bytes]]:
    """Fold the Partials of one key: all at once, or, when that fails, one by one without those that cannot be folded.
    """
    try:
        return handler.fold(handler.upgrade(state), pending.partials), pending.partials
    except Exception as problem:  # a Handler may be anybody's code: it must not stop the vbucket
        failed(pending.type, problem)
    taken = []
    for partial, events in zip(pending.partials, pending.events, strict=True):
        try:
            state = handler.fold(handler.upgrade(state), [partial])
        except Exception as problem:
            reason = UNDECODABLE if isinstance(problem, CodecError) else HANDLER_FAILED
            generation.ledger["folded"] -= events
            generation.put_aside(reason, (*key, pending.type), events, partial)
        else:
            taken.append(partial)
    return state, taken


def fold_aggregates(
    by_tab: Mapping[str, Sequence[bytes]],
    handlers: Mapping[str, IHandler],
    aggregates: Mapping[str, bytes],
    generation: Generation,
    failed: Failed,
) -> dict[str, bytes | None]:
    """The running Aggregates with what went into the States. One that is damaged in the store stays as it is, and is
    counted.
    """
    changed: dict[str, bytes | None] = {}
    for tab, partials in by_tab.items():
        handler = handlers[tab]
        try:
            changed[tab] = handler.fold(handler.upgrade(aggregates.get(tab, b"")), partials)
        except Exception as problem:  # as above
            failed(handler.name, problem)
            generation.ledger["aggregates damaged"] += 1
    return changed
