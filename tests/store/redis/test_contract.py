"""The store contract, on the Redis store and a server in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.contracts.store import StoreContract
from tests.store.redis.harness import MemoryRedisHarness


class RedisStoreTests(StoreContract, SynchronousTestCase):
    """The Redis store keeps the contract."""

    def make_harness(self) -> MemoryRedisHarness:
        return MemoryRedisHarness()
