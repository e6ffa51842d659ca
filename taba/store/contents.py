"""What a memory store keeps, and how checkpoints and flushes change it.

`Contents` stands apart from the store, so that a test can let a store "crash" and start another on the same contents,
or on an older copy of them. Plain dicts, to be checked by reading: the other stores are compared with them. Used in
the reactor thread.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TypeVar

from attrs import define, evolve, field

from taba.errors import LocalProtocolError
from taba.interfaces import Checkpoint, LogEntry, Position, SetAside
from taba.store.aside_ids import aside_id
from taba.store.judge import Lane, LaneRow, name_taken, names_to_be_free, own_ledger
from taba.store.limits import Limits

T = TypeVar("T")


@define
class Vbucket:
    """What is kept of one vbucket."""

    log: deque[LogEntry] = field(factory=deque)
    last_id: int = 0
    position: Position = field(factory=lambda: Position(0, 0))
    states: dict[str, dict[str, bytes]] = field(factory=dict)
    """Tab -> client -> State."""
    aggregates: dict[str, bytes] = field(factory=dict)
    types: dict[str, str] = field(factory=dict)
    ledger: dict[str, int] = field(factory=dict)
    lost: int = 0
    flushed: int = 0

    def apply(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint that was judged good, but for what it sets aside; raises LocalProtocolError when a name is
        not free, and then has changed nothing.
        """
        for tab in names_to_be_free(checkpoint.renames):
            if tab in self.types or tab in self.states or tab in self.aggregates:
                raise LocalProtocolError(name_taken(tab))
        self._move_to(checkpoint.position)
        for (tab, client), state in checkpoint.states.items():
            _put(self.states.setdefault(tab, {}), client, state)
            if not self.states[tab]:
                del self.states[tab]
        for tab, states in checkpoint.known:
            self.states[tab].update(states)
        for tab, aggregate in checkpoint.aggregates.items():
            _put(self.aggregates, tab, aggregate)
        for tab, type_name in checkpoint.types.items():
            _put(self.types, tab, type_name)
        self.ledger = own_ledger(checkpoint)
        for old, new in checkpoint.renames.items():
            _rename(self.types, old, new)
            _rename(self.states, old, new)
            _rename(self.aggregates, old, new)

    def flush(self) -> int:
        """Drop what waits in the log; how many events that was."""
        if not self.log:
            return 0
        events = sum(entry.events for entry in self.log)
        self.flushed += events
        self._move_to(Position(self.last_id, self.position.commits + 1))
        return events

    def _move_to(self, position: Position) -> None:
        self.position = position
        while self.log and self.log[0].id <= position.folded:
            self.log.popleft()


@define
class Contents:
    """All that a memory store keeps. `copy` makes what a backup of it would be."""

    cluster_id: str
    vbuckets: list[Vbucket]
    lanes: dict[Lane, LaneRow] = field(factory=dict)
    epochs: dict[int, int] = field(factory=dict)
    aside: deque[SetAside] = field(factory=deque)
    aside_given: int = 0
    """How many Partials were ever set aside."""

    @classmethod
    def empty(cls, cluster_id: str, vbuckets: int) -> Contents:
        """The contents of a new cluster."""
        return cls(cluster_id, [Vbucket() for _ in range(vbuckets)])

    def copy(self) -> Contents:
        """An independent copy."""
        return copy.deepcopy(self)

    def set_aside(self, vbucket: int, partials: Sequence[SetAside], lineage: str, limits: Limits) -> None:
        """Keep Partials of a vbucket, and let the oldest go that are too many or too large together."""
        for one in partials:
            self.aside_given += 1
            self.aside.append(evolve(one, vbucket=vbucket, id=aside_id(lineage, str(self.aside_given))))
        size = sum(len(one.partial) for one in self.aside) if partials else 0
        while len(self.aside) > limits.aside_rows or size > limits.aside_bytes:
            size -= len(self.aside.popleft().partial)

    def aside_of(self, vbucket: int, ids: Sequence[str]) -> list[SetAside]:
        """Those of `ids` that a vbucket set aside, in their order."""
        found = {one.id: one for one in self.aside if one.vbucket == vbucket}
        return [found[each] for each in ids if each in found]

    def drop_aside(self, vbucket: int, ids: Sequence[str]) -> None:
        """Forget those of `ids` that a vbucket set aside."""
        if ids:
            gone = set(ids)
            self.aside = deque(one for one in self.aside if one.vbucket != vbucket or one.id not in gone)


def _put(mapping: dict[str, T], key: str, value: T | None) -> None:
    """Set a value, or delete it when it is None."""
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value


def _rename(mapping: dict[str, T], old: str, new: str) -> None:
    if old in mapping:
        mapping[new] = mapping.pop(old)


def present(mapping: Mapping[str, T], keys: Sequence[str]) -> dict[str, T]:
    """The items of `mapping` under those of `keys` that it has."""
    return {key: mapping[key] for key in keys if key in mapping}


def present_states(
    states: Mapping[str, Mapping[str, bytes]], keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], bytes]:
    """Those of `keys` that there are, with their States."""
    return {(tab, client): states[tab][client] for tab, client in keys if client in states.get(tab, ())}
