"""The proof that a migration may be completed, and the plan of one. Pure.

While a migration is under way every write goes to a quorum of both deployments. So a slot is proved once all of its
nodes, of both deployments, were found with equal trees in one look: everything that was acknowledged before the look is
on all of them, and what comes later goes to both. A slot that was proved stays proved, under the same configuration and
the same disks; under a load that never rests, different slots are proved in different looks.
"""

from __future__ import annotations

import base64
import sys
import zlib
from array import array
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

from taba.tako.configuration import Configuration
from taba.tako.placement import Placement
from taba.tako.records import SLOTS


@frozen
class Tree:
    """The leaves of a node at one moment."""

    node: str
    store_id: str
    version: int
    """Of the configuration that it runs on."""
    keys: int
    sums: array[int] = field(repr=False)


def read_tree(document: Mapping[str, Any]) -> Tree:
    """The tree of a node's answer to GET /tree; ValueError, KeyError or TypeError when it is none."""
    try:
        sums = array("Q", zlib.decompress(base64.b64decode(document["leaves"])))
    except zlib.error as problem:
        raise ValueError(str(problem))
    if sys.byteorder == "big":
        sums.byteswap()
    if len(sums) != SLOTS:
        raise ValueError(f"{len(sums)} leaves are no tree")
    return Tree(document["node"], document["store"], int(document["version"]), int(document["keys"]), sums)


@frozen
class Finding:
    """What one look, with those before it, comes to."""

    proved: int
    """Slots."""
    problems: tuple[str, ...]
    """Why nothing can be proved now."""
    differing: Mapping[str, int]
    """Node -> slots in which it differs from another one, in this look."""

    @property
    def complete(self) -> bool:
        """Whether the target may be promoted."""
        return not self.problems and self.proved == SLOTS


@define(eq=False)
class Proof:
    """Adds up looks at all nodes of a configuration."""

    configuration: Configuration
    _placement: Placement = field(init=False)
    _proved: bytearray = field(factory=lambda: bytearray(SLOTS), init=False)
    _stores: dict[str, str] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._placement = Placement(self.configuration)

    def nodes(self) -> list[str]:
        """The nodes to look at: those of both deployments."""
        return sorted({*self.configuration.active.nodes(), *self.configuration.target.nodes()})

    def look(self, trees: Mapping[str, Tree], away: Mapping[str, str]) -> Finding:
        """Take the trees of one look; `away` has, for nodes that did not answer, why."""
        problems = [f"{node} does not answer: {why}" for node, why in sorted(away.items())]
        problems += [f"{node} was not asked" for node in self.nodes() if node not in trees and node not in away]
        for node, tree in sorted(trees.items()):
            if tree.version != self.configuration.version:
                problems.append(
                    f"{node} runs on configuration {tree.version}, not on {self.configuration.version}"
                )
            if self._stores.setdefault(node, tree.store_id) != tree.store_id:
                problems.append(f"{node} has another disk than before: all is to be proved again")
                self._proved = bytearray(SLOTS)
                self._stores[node] = tree.store_id
        differing: dict[str, int] = {}
        if not problems:
            self._compare(trees, differing)
        return Finding(sum(self._proved), tuple(problems), differing)

    def _compare(self, trees: Mapping[str, Tree], differing: dict[str, int]) -> None:
        for group in self._placement.groups:
            sums = [trees[node].sums for node in group.replicas.nodes]
            for slot in group.slots:
                found = {each[slot] for each in sums}
                if len(found) == 1:
                    self._proved[slot] = 1
                else:
                    for node in group.replicas.nodes:
                        differing[node] = differing.get(node, 0) + 1


@frozen
class Plan:
    """What a migration would move."""

    moving: float
    """The part of all keys that gets another node, 0 to 1."""
    gains: Mapping[str, float]
    """Node -> the part of all keys that it is to get."""
    losses: Mapping[str, float]
    """Node -> the part of all keys that it is to hand over."""


def plan(configuration: Configuration) -> Plan:
    """What a configuration with a target other than its active deployment moves."""
    placement = Placement(configuration)
    moving = 0
    gains: dict[str, int] = {}
    losses: dict[str, int] = {}
    for group in placement.groups:
        active, target = set(group.replicas.active), set(group.replicas.target)
        moving += len(group.slots) if target - active else 0
        for node in target - active:
            gains[node] = gains.get(node, 0) + len(group.slots)
        for node in active - target:
            losses[node] = losses.get(node, 0) + len(group.slots)
    return Plan(
        moving / SLOTS,
        {node: count / SLOTS for node, count in sorted(gains.items())},
        {node: count / SLOTS for node, count in sorted(losses.items())},
    )
