"""The store contract, on the Redis store and a real server."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.contracts.store import StoreContract
from tests.redis.harness import RealRedisHarness, missing


class RedisStoreTests(StoreContract, SynchronousTestCase):
    """The Redis store keeps the contract on redis-server."""

    skip = missing()

    def make_harness(self) -> RealRedisHarness:
        return RealRedisHarness(self.mktemp())
