"""Where each vbucket is, from what the shards say of it. Pure.

The markers are the map: a vbucket is on the shard whose marker of it is active under the highest epoch. Every move
raises the epoch, so a shard that went back to a time before a move, or was cut off, has the lower one. While no shard
is active for it, a vbucket is where it was sealed last: nothing is appended there, and queries find it.

The hash `moves` of the shard that a vbucket leaves says what becomes of it: `moving:SHARD` from some time before it is
sealed, `undoing:SHARD` while that is taken back, `gone:SHARD` when nothing of it is left but the marker. As long as it
says moving or undoing, both shards have to have been looked at lately by whoever answers for the vbucket: either may
go back to a time before it was sealed, or activated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import field, frozen

from taba.store.redis.shard_map import ShardMap

ACTIVE, SEALED, IMPORTING = "A", "S", "I"
MOVING, UNDOING, GONE = "moving", "undoing", "gone"


@frozen
class Marker:
    """A value of O:v."""

    letter: str
    epoch: int

    @classmethod
    def read(cls, value: bytes) -> Marker:
        """A value. One that nobody of ours wrote is none of these, and so the vbucket is not to be used."""
        found = re.fullmatch(rb"([ASI]):(\d{1,15})", value)
        return cls(found[1].decode(), int(found[2])) if found else cls("?", 0)

    @property
    def value(self) -> bytes:
        """As it stands in Redis."""
        return f"{self.letter}:{self.epoch}".encode()


@frozen
class MoveRow:
    """A value of the hash `moves`."""

    stage: str
    shard: str
    """Where the vbucket goes, or has gone."""

    @classmethod
    def read(cls, value: bytes) -> MoveRow:
        """A value; raises ValueError when it is none."""
        stage, colon, shard = value.decode().partition(":")
        if stage not in (MOVING, UNDOING, GONE) or not colon:
            raise ValueError(f"{value!r} is no row of a move")
        return cls(stage, shard)

    @property
    def value(self) -> bytes:
        """As it stands in Redis."""
        return f"{self.stage}:{self.shard}".encode()


@frozen
class ShardFacts:
    """What a shard says of the vbuckets."""

    markers: Mapping[int, Marker] = field(factory=dict)
    moves: Mapping[int, MoveRow] = field(factory=dict)


@frozen
class Placement:
    """Where all vbuckets are."""

    map: ShardMap
    epochs: Mapping[int, int]
    """Of the marker of each, where it is."""
    missing: Mapping[str, list[int]]
    """Shard -> the vbuckets whose data it lost."""
    elsewhere: Mapping[str, list[int]]
    """Shard that nobody here knows -> the vbuckets that have gone, or are going, there."""
    involved: Mapping[int, frozenset[str]]
    """Of each vbucket that is moving: the shards on which it depends where it is."""


def place(facts: Mapping[str, ShardFacts], home: ShardMap) -> Placement:
    """Find all vbuckets. `home` says where those are of which no shard knows anything."""
    places: list[str] = []
    epochs: dict[int, int] = {}
    missing: dict[str, list[int]] = {}
    elsewhere: dict[str, list[int]] = {}
    involved = _involved(facts)
    for vbucket in range(home.vbuckets):
        found = [(each.markers[vbucket], name) for name, each in facts.items() if vbucket in each.markers]
        name, lost = _find(vbucket, found, facts, home)
        stranger = next((each for each in involved.get(vbucket, ()) if each not in facts), "")
        if name not in facts or stranger:
            elsewhere.setdefault(stranger or name, []).append(vbucket)
        elif lost:
            missing.setdefault(name, []).append(vbucket)
        else:
            epochs[vbucket] = facts[name].markers[vbucket].epoch
        places.append(name if name in facts else _nearest(found, facts))
    return Placement(ShardMap(home.vbuckets, (), tuple(places)), epochs, missing, elsewhere, involved)


def _find(
    vbucket: int, found: Sequence[tuple[Marker, str]], facts: Mapping[str, ShardFacts], home: ShardMap
) -> tuple[str, bool]:
    """The shard of a vbucket, and whether that one has lost it."""
    own = home.shard_of(vbucket)

    def highest(letter: str) -> tuple[Marker, str] | None:
        some = [each for each in found if each[0].letter == letter]
        return max(some, key=lambda each: (each[0].epoch, each[1] == own)) if some else None

    if (active := highest(ACTIVE)) is not None:
        return active[1], False
    if (sealed := highest(SEALED)) is not None:
        row = facts[sealed[1]].moves.get(vbucket)
        return (row.shard, True) if row is not None and row.stage == GONE else (sealed[1], False)
    importing = highest(IMPORTING)
    if importing is not None and importing[0].epoch == 1:  # a store that is being migrated here
        return importing[1], False
    return own, True


def _nearest(found: Sequence[tuple[Marker, str]], facts: Mapping[str, ShardFacts]) -> str:
    """The shard that is asked for a vbucket which is on none that is known here: it takes nothing for it."""
    return max(found, key=lambda each: each[0].epoch)[1] if found else min(facts)


def _involved(facts: Mapping[str, ShardFacts]) -> dict[int, frozenset[str]]:
    involved: dict[int, frozenset[str]] = {}
    for name, each in facts.items():
        for vbucket, row in each.moves.items():
            if row.stage != GONE:
                involved[vbucket] = involved.get(vbucket, frozenset()) | {name, row.shard}
    return involved
