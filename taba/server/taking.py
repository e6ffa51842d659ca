"""Which Partials of a vbucket's log are folded, and where they wait for it. Pure.

What is for States that the native core has, or of tabs of which it knows the Type, waits there (see `hot`), without a
Python object; all else is looked at one by one. It learns what a tab is from the first Partial of it in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import intern

from attrs import define

from taba import native
from taba.errors import CodecError
from taba.handlers.registry import Registry
from taba.interfaces import RETIRED
from taba.server.blacklist import Blacklist
from taba.server.generations import (
    BLACKLISTED,
    FUTURE,
    OTHER_TYPE,
    UNDECODABLE,
    UNKNOWN_TYPE,
    Generation,
    Refused,
)
from taba.server.hot import is_native
from taba.server.keeping import Keeping
from taba.server.operations import TYPES, Operation, parse

MAX_EVENTS = 2**53


@define
class Taking:
    """What decides about the Partials of one vbucket. `types` is that of its `Folding`; new tabs are put there."""

    types: dict[str, str]
    registry: Registry
    max_clock_skew: float
    keeping: Keeping
    blacklist: Blacklist
    hot: native.HotStates

    def take_hot(self, batch: bytes, generation: Generation, appended: float) -> Sequence[native.Taken]:
        """Let what the native core can take of a batch, which the store stamped at `appended`, wait there; the rest.
        CodecError when the batch is malformed; nothing is taken then.
        """
        newest = appended + self.max_clock_skew
        return generation.take_hot(self.hot, batch, newest, lambda firsts: self._learn(firsts, generation, newest))

    def take_partials(
        self, partials: Sequence[native.Taken], generation: Generation, appended: float
    ) -> tuple[list[Refused], list[Operation]]:
        """Take Partials of a batch, each on its own: what was refused, and the operations among them."""
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
            reason = self.problem(tab, type, sound, partial, newest > appended + self.max_clock_skew)
            if self.blacklist.refuses(tab, client):
                reason = BLACKLISTED
            if not reason:
                self.accept(generation, names, events, partial)
                folded += events
            elif reason in (UNKNOWN_TYPE, UNDECODABLE):
                refused.append(generation.put_aside(reason, names, events, partial))
            else:
                refused.append(generation.refuse(reason, names, events))
        if folded:
            generation.ledger["folded"] += folded
        return refused, operations

    def problem(self, tab: str, type: str, sound: bool, partial: bytes, future: bool) -> str:
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

    def accept(self, generation: Generation, names: tuple[str, str, str], events: int, partial: bytes) -> None:
        """Let a Partial wait that nothing is wrong with."""
        tab, client, type = names
        if tab not in self.types:
            self.types[tab] = generation.types[tab] = intern(type)
        if self.keeping.merges(tab) and self.runs(type):
            client = RETIRED
        generation.accept((tab, client), type, events, partial)

    def runs(self, type: str) -> bool:
        """Whether tabs of a Type have a running Aggregate."""
        handler = self.registry.get(type)
        return handler is not None and handler.running_aggregate

    def _learn(self, firsts: Sequence[native.Taken], generation: Generation, newest_allowed: float) -> bool:
        """Let the native core know the tabs whose first Partials in a batch these are; whether there is one that it may
        take Partials of. A new tab gets its Type from a Partial that it is going to take.
        """
        if not self.blacklist.empty:
            return False  # each client has to be looked at
        learnt = False
        for tab, _, type, events, partial, first, own_events, newest in firsts:
            if tab not in self.types:
                sound = first >= 0 and own_events == events <= MAX_EVENTS
                fits = is_native(self.registry.get(type)) and not self.keeping.merges(tab)
                if not fits or self.problem(tab, type, sound, partial, newest > newest_allowed):
                    continue
                self.types[tab] = generation.types[tab] = intern(type)
            known = self.types[tab]
            handler = self.registry.get(known)
            takes = handler is not None and is_native(handler) and not self.keeping.merges(tab)
            kind = handler.kind if takes and handler is not None else 0
            self.hot.know(tab, known, kind, self.runs(known))
            learnt = learnt or takes
        return learnt
