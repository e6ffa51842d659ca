"""Mutants: with one of the rules switched off that the promises of Tako rest on, a run ends with something wrong. So
the rules are needed, and the tests would notice if one was lost.

Each mutant is a node or proxy of production with one part replaced, on the simulated machines of the other tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taba.process import Process as Machine
from taba.tako.errors import TakoError
from taba.tako.healing import Healing
from taba.tako.levels import Level
from taba.tako.node import TakoNode
from taba.tako.placement import Placement
from taba.tako.records import Version
from taba.tako.replica import Replica
from taba.tako.settings import NodeSettings
from tests.tako.simulated import MemoryTako, deployment, document

MakeNode = Callable[[NodeSettings, Machine], TakoNode]


class UnfencedReplica(Replica):
    """Serves whoever asks, however old their configuration is."""

    def check_version(self, version: int, asker: str) -> None:
        """Nobody is refused."""


class HastyHealing(Healing):
    """Removes what belongs to others before they have confirmed it."""

    async def _hand_over(self, key: bytes, version: Version, placement: Placement) -> None:
        await self.records.drop(key, version)


class ForgetfulHealing(Healing):
    """Removes old tombstones without asking whether somebody still holds what they hide."""

    async def _retire(self, key: bytes, version: Version, holders: Any) -> None:
        await self.records.drop(key, version)

    def _is_old(self, version: Version) -> bool:
        return version.tombstone


def unfenced(settings: NodeSettings, process: Machine) -> TakoNode:
    """A node whose replica asks for no version."""
    node = TakoNode(settings, process)
    replica = node.replica
    node.replica = node.peers.own = node.answering.replica = UnfencedReplica(
        replica.node, replica.records, replica.clock, replica.seconds, replica.placement, replica.newer_elsewhere,
        replica.keep_notes,
    )  # fmt: skip
    return node


def with_healing(kind: type[Healing]) -> MakeNode:
    """Makes nodes with another healing."""

    def make(settings: NodeSettings, process: Machine) -> TakoNode:
        node = TakoNode(settings, process)
        usual = node.healing
        node.healing = kind(
            usual.node, usual.records, usual.peers, usual.clock, usual.reactor, usual.placement, usual.new_id
        )
        return node

    return make


class MutantTests(SynchronousTestCase):
    """Each rule, with it and without it: the same script ends well, and badly."""

    def _cluster(self, make: MakeNode, configuration: dict[str, Any]) -> MemoryTako:
        tako = MemoryTako(5, configuration, make_node=make)
        self.addCleanup(tako.world.close)
        tako.start()
        return tako

    def _result(self, tako: MemoryTako, deferred: Deferred[Any]) -> Any:
        try:
            return tako.world.result_of(deferred)
        except TakoError:
            return None

    def _late_write(self, make: MakeNode) -> bool:
        """A proxy that missed a whole migration writes; whether the write, if it was acknowledged, is read."""
        tako = self._cluster(
            make, document(main=deployment(1), wide=deployment(1, {"b1": ["n3", "n4"]}, background_healing=True))
        )
        for other in ("c1", "n3", "n4"):
            tako.world.network.partition("p1", other)
        for active, target in (("main", "wide"), ("wide", "wide")):
            tako.configuration.update(active_deployment=active, target_deployment=target)
            tako.reload()
            tako.world.advance(12.0)
        receipt = self._result(tako, tako.proxy("p1").router.put(b"k", b"late"))
        found = tako.get(b"k", "p2")
        return receipt is None or (found is not None and found.body == b"late")

    def test_nodes_refuse_older_configurations(self) -> None:
        """Else a write through a proxy that missed a migration is acknowledged by nodes that nobody reads."""
        self.assertTrue(self._late_write(TakoNode))
        self.assertFalse(self._late_write(unfenced))

    def _moved(self, make: MakeNode) -> bool:
        """New owners are down while the old ones heal; whether a key is there afterwards."""
        tako = self._cluster(make, document(main=deployment(1), wide=deployment(1, {"b1": ["n3", "n4"]})))
        tako.put(b"k", b"1", level=Level.ALL)
        for owner in ("n3", "n4"):
            tako.nodes[owner].crash()
        tako.configuration.update(active_deployment="wide", target_deployment="wide")
        tako.reload()
        tako.world.advance(12.0)
        tako.heal()
        for owner in ("n3", "n4"):
            tako.nodes[owner].start()
        tako.world.run_until(tako.ready, 60.0)
        for _ in range(2):
            tako.heal()
        found = tako.get(b"k")
        return found is not None and found.body == b"1"

    def test_a_value_leaves_only_when_its_owners_have_it(self) -> None:
        """Else what is handed over to nodes that are down is lost."""
        self.assertTrue(self._moved(TakoNode))
        self.assertFalse(self._moved(with_healing(HastyHealing)))

    def _stays_deleted(self, make: MakeNode) -> bool:
        """A node misses a delete and comes back; whether the key stays deleted."""
        tako = self._cluster(make, document(main=deployment(2)))
        tako.put(b"k", b"1", level=Level.ALL)
        tako.nodes["n4"].crash()
        tako.delete(b"k")
        for name in ("n1", "n2", "n3"):  # no hint: the node was away for longer than these are kept
            tako.world.result_of(tako.node(name).records.forget("n4", [b"k"]))
        tako.heal()
        tako.nodes["n4"].start()
        tako.world.run_until(tako.ready, 60.0)
        for _ in range(2):
            tako.heal()
        found = tako.get(b"k")
        return found is None or found.version.tombstone

    def test_tombstones_outlive_partitions(self) -> None:
        """Else a node that comes back brings deleted keys back."""
        self.assertTrue(self._stays_deleted(TakoNode))
        self.assertFalse(self._stays_deleted(with_healing(ForgetfulHealing)))

    def _later_wins(self, own_stamp: bool) -> bool:
        """A write through a slow clock after one through a right clock; whether the later one is read. With the
        client's own stamp nothing is stamped again.
        """
        tako = self._cluster(TakoNode, document(main=deployment(2)))
        tako.world.nodes["p2"].step_wall(-20.0)
        tako.put(b"k", b"first", "p1")
        slow = tako.proxy("p2")
        stamp = slow.clock.now() if own_stamp else None
        tako.world.result_of(slow.router.put(b"k", b"second", stamp))
        found = tako.get(b"k")
        return found is not None and found.body == b"second"

    def test_superseded_writes_are_stamped_again(self) -> None:
        """Else a write that was acknowledged loses against an earlier one."""
        self.assertTrue(self._later_wins(False))
        self.assertFalse(self._later_wins(True))

    def _survives(self, level: Level) -> bool:
        """A write at a level, then one disk is lost; whether it is read at quorum."""
        tako = self._cluster(TakoNode, document(main=deployment(2)))
        for other in ("n2", "n3", "n4"):
            tako.nodes[other].crash()
        if self._result(tako, tako.proxy().router.put(b"k", b"1", None, level)) is None:
            return True  # it was not acknowledged
        tako.nodes["n1"].crash()
        tako.nodes["n1"].node.disk.lose()
        for member in tako.nodes.values():
            member.start()
        tako.world.run_until(tako.ready, 60.0)
        tako.world.advance(8.0)  # until the proxy tries them again
        return tako.get(b"k") is not None

    def test_a_quorum_is_needed(self) -> None:
        """Else one lost disk loses acknowledged writes."""
        self.assertTrue(self._survives(Level.QUORUM))
        self.assertFalse(self._survives(Level.ONE))
