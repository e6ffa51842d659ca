"""Which nodes hold which slots under a configuration, and what two nodes have in common. Pure; made once for each
configuration.

Slots with the same nodes form a `Group`. Groups are what nodes compare with each other: two nodes on the same
configuration number them alike.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

from attrs import define, field, frozen

from taba.tako.configuration import Configuration, Deployment
from taba.tako.levels import Replicas
from taba.tako.records import SLOTS
from taba.tako.ring import Ring


@frozen(eq=False)
class Group:
    """Slots with the same nodes. Two are equal only if they are the same object."""

    number: int
    replicas: Replicas
    slots: tuple[int, ...] = field(repr=False)
    """In order."""
    pick: Callable[[Any], Any] = field(init=False, repr=False)
    """The leaves of the slots, out of an array of all."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "pick", itemgetter(*self.slots))


def _joint_runs(one: Ring, other: Ring) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Runs of slots that are in one group of both rings: first, the one after the last, both groups."""
    ends = sorted({end for ring in (one, other) for _, end, _ in ring.runs})
    first = 0
    for end in ends:
        yield first, end, (one.group_of[first], other.group_of[first])
        first = end


def _nodes_of(deployment: Deployment, owners: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(node for bucket in owners for node in deployment.buckets[bucket])


@define(eq=False)
class Placement:
    """The groups of a configuration."""

    configuration: Configuration
    groups: list[Group] = field(factory=list, init=False)
    _group_of: array[int] = field(init=False, repr=False)
    _owned: dict[str, bytes] = field(factory=dict, init=False, repr=False)
    active_ring: Ring = field(init=False, repr=False)
    target_ring: Ring = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        active, target = self.configuration.active, self.configuration.target
        self.active_ring = Ring(active.buckets, active.buckets_per_key)
        self.target_ring = (
            Ring(target.buckets, target.buckets_per_key) if self.configuration.migrating else self.active_ring
        )
        known: dict[tuple[int, int], int] = {}
        slots: list[list[int]] = []
        self._group_of = array("L", bytes(array("L").itemsize * SLOTS))
        for first, end, pair in _joint_runs(self.active_ring, self.target_ring):
            number = known.setdefault(pair, len(known))
            if number == len(slots):
                slots.append([])
            slots[number].extend(range(first, end))
            self._group_of[first:end] = array("L", [number]) * (end - first)
        for (one, other), number in known.items():
            replicas = Replicas.of(
                _nodes_of(active, self.active_ring.groups[one]), _nodes_of(target, self.target_ring.groups[other])
            )
            self.groups.append(Group(number, replicas, tuple(slots[number])))

    def replicas(self, slot: int) -> Replicas:
        """The nodes of a slot."""
        return self.groups[self._group_of[slot]].replicas

    def owns(self, node: str, slot: int) -> bool:
        """Whether a node holds a slot, in either deployment."""
        return node in self.replicas(slot).nodes

    def groups_of(self, node: str) -> list[Group]:
        """The groups that a node holds."""
        return [group for group in self.groups if node in group.replicas.nodes]

    def owned_by(self, node: str) -> bytes:
        """A byte for each slot: 1 where the node holds it."""
        if node in self._owned:
            return self._owned[node]
        owned = bytearray(SLOTS)
        for group in self.groups_of(node):
            for slot in group.slots:
                owned[slot] = 1
        self._owned[node] = bytes(owned)
        return self._owned[node]

    def neighbours(self, node: str) -> dict[str, list[Group]]:
        """The nodes that hold something that `node` holds, each with the groups they have in common."""
        found: dict[str, list[Group]] = {}
        for group in self.groups_of(node):
            for other in group.replicas.nodes:
                if other != node:
                    found.setdefault(other, []).append(group)
        return found

    def share_of(self, node: str) -> float:
        """Which part of all keys a node holds, 0 to 1."""
        return sum(len(group.slots) for group in self.groups_of(node)) / SLOTS
