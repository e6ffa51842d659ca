"""What one step of maintenance changes: pure functions of rows that were read while nobody else could write them.

Each gives a `Change`, which one checkpoint writes. Whatever it changes, Aggregate == reduce(States, retired State)
holds for every tab after it as it did before; of graves that are being merged back or removed the Aggregate is gone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field

from taba.interfaces import RETIRED, IHandler, SetAside
from taba.server.notes import Kind, Note

DAMAGED = "damaged State"
"""The reason under which a State is set aside that nobody can read and whose place another has."""

Key = tuple[str, str]
"""(tab, client)."""


@define
class Change:
    """What a checkpoint of maintenance writes; see `Checkpoint`. `ledger` is added to the row."""

    states: dict[Key, bytes | None] = field(factory=dict)
    aggregates: dict[str, bytes | None] = field(factory=dict)
    types: dict[str, str | None] = field(factory=dict)
    renames: dict[str, str] = field(factory=dict)
    ledger: Counter[str] = field(factory=Counter)
    set_aside: list[SetAside] = field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.states or self.aggregates or self.types or self.renames)


def retiring(handlers: Mapping[str, IHandler], states: Mapping[Key, bytes], keys: Iterable[Key]) -> Change:
    """Prune States: those of a Type with a running Aggregate go into the tab's retired State, so that the Aggregate
    stays as it is; the others just go. `states` has those that there are of `keys`, and the retired ones; `handlers`
    are by tab. A State that cannot be read stays, and keeps no other.
    """
    change = Change()
    by_tab: defaultdict[str, list[Key]] = defaultdict(list)
    for key in keys:
        if key in states and key[1] != RETIRED:
            by_tab[key[0]].append(key)
    for tab, pruned in by_tab.items():
        handler = handlers[tab]
        if not handler.running_aggregate:
            change.states.update(dict.fromkeys(pruned))
            continue
        sound = [key for key in pruned if readable(handler, states[key])]
        old = states.get((tab, RETIRED), b"")
        if sound and readable(handler, old):
            parts = [old, *(states[key] for key in sound)]
            change.states[tab, RETIRED] = handler.reduce([handler.upgrade(each) for each in parts])
            change.states.update(dict.fromkeys(sound))
    return change


def readable(handler: IHandler, state: bytes) -> bool:
    """Whether a Handler can read a State."""
    try:
        handler.reduce([handler.upgrade(state)])
    except Exception:  # a Handler may be anybody's code
        return False
    return True


def restoring(
    grave: str,
    tab: str,
    type: str,
    handler: IHandler,
    rows: Sequence[tuple[str, bytes]],
    states: Mapping[Key, bytes],
    aggregate: bytes,
    last: bool,
) -> Change:
    """Merge some States of a grave, given as (client, State), back into their tab, whose States of these clients, and
    Aggregate, are given; `last` says that the grave has no others.
    """
    change = Change(types={tab: type}, aggregates={grave: None})
    moved = []
    for client, buried in rows:
        change.states[grave, client] = None
        present = states.get((tab, client), b"")
        try:
            upgraded = handler.upgrade(buried)
            handler.reduce([upgraded])  # what cannot be read raises here
            change.states[tab, client] = _both(handler, client, upgraded, present)
            moved.append(upgraded)
        except Exception:  # damaged, or the code of a Handler that anybody wrote: it must not keep the others
            if present:
                change.set_aside.append(SetAside(DAMAGED, tab, client, type, 0, buried))
            else:
                change.states[tab, client] = buried
    if moved and handler.running_aggregate:
        try:
            change.aggregates[tab] = handler.reduce([handler.upgrade(aggregate), *moved])
        except Exception:  # the Aggregate is damaged: it is to be made anew
            change.types[Note(tab, Kind.REBUILD).name] = type
    if last:
        change.types[grave] = None
    return change


def _both(handler: IHandler, client: str, older: bytes, newer: bytes) -> bytes:
    """What a client has when both States are its; of the retired States each is of many clients."""
    if not newer:
        return older
    if client == RETIRED:
        return handler.reduce([older, handler.upgrade(newer)])
    return handler.merge(older, handler.upgrade(newer))


def dropping(grave: str, clients: Iterable[str], last: bool) -> Change:
    """Remove some States of a grave; `last` says that it has no others."""
    change = Change(states={(grave, client): None for client in clients}, aggregates={grave: None})
    if last:
        change.types[grave] = None
    return change


def upgrading(handler: IHandler, states: Mapping[Key, bytes], aggregates: Mapping[str, bytes]) -> Change:
    """Write States and Aggregates of one Type in the present version, where they are in another; what cannot be read
    stays.
    """
    change = Change()
    for key, state in states.items():
        if (upgraded := _upgraded(handler, state)) != state:
            change.states[key] = upgraded
    for tab, aggregate in aggregates.items():
        if (upgraded := _upgraded(handler, aggregate)) != aggregate:
            change.aggregates[tab] = upgraded
    return change


def _upgraded(handler: IHandler, state: bytes) -> bytes:
    try:
        return handler.upgrade(state)
    except Exception:  # as above
        return state
