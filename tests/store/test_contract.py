"""The store contract, on the memory store and on the embedded store of a real and of a simulated disk."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.contracts.store import StoreContract
from tests.store.harnesses import MemoryHarness, RealFolderHarness, SimulatedDiskHarness


class MemoryStoreTests(StoreContract, SynchronousTestCase):
    """The memory store keeps the contract."""

    def make_harness(self) -> MemoryHarness:
        return MemoryHarness()


class EmbeddedStoreTests(StoreContract, SynchronousTestCase):
    """The embedded store keeps the contract on a file system."""

    def make_harness(self) -> RealFolderHarness:
        return RealFolderHarness(self.mktemp())


class SimulatedEmbeddedStoreTests(StoreContract, SynchronousTestCase):
    """The embedded store keeps the contract on a simulated disk."""

    def make_harness(self) -> SimulatedDiskHarness:
        return SimulatedDiskHarness()


class PartsTests(SynchronousTestCase):
    """The parts of the contract come together in one class."""

    def test_parts_hide_nothing_of_each_other(self) -> None:
        """No two parts have a method of the same name, of which only one would run."""
        names = Counter(name for part in StoreContract.__bases__ for name in vars(part) if not name.startswith("__"))
        self.assertEqual({name for name, times in names.items() if times > 1} - {"setUp"}, set())
