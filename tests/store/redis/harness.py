"""The harness of the store contract for the Redis store on a server in memory, in a simulated world."""

from __future__ import annotations

import copy
from typing import Any

from twisted.internet.defer import Deferred

from taba.process import Process
from taba.store.limits import Limits
from taba.store.redis.access import Address
from taba.store.redis.durability import Level
from taba.store.redis.keys import Keys
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import ShardRange, shard_map
from taba.store.redis.source import FixedSource
from taba.store.redis.store import RedisStore
from taba.testing.machine import machine_of
from taba.testing.redis import RedisServer
from taba.testing.redis.library import taba_library
from taba.testing.stores import FaultyStore
from taba.testing.world import World
from tests.contracts.store_harness import ASIDE_BYTES, ASIDE_ROWS, DEDUP_DAYS, PAGE_ROWS, START, VBUCKETS

LIMITS = Limits(aside_rows=ASIDE_ROWS, aside_bytes=ASIDE_BYTES, page_rows=PAGE_ROWS)
SETTLE_SECONDS = 0.2
"""The virtual time in which everything happens that needs none but the network's."""
LONG = 60.0
"""Longer times pass on the wall clocks alone: a store looks at its connections every second."""


def make_store(process: Process, address: tuple[str, int], keys: str = "test:", **more: Any) -> RedisStore:
    """A store of one shard, at an address, not started yet."""
    shard = Shard("shard1", process, source=FixedSource(Address(*address)))
    ranges = shard_map(VBUCKETS, [ShardRange("shard1", 0, VBUCKETS - 1)])
    more.setdefault("level", Level.MEMORY)
    return RedisStore(process, {"shard1": shard}, ranges, Keys(keys), dedup_days=DEDUP_DAYS, limits=LIMITS, **more)


class MemoryRedisHarness:
    """A Redis store on a server in memory. Answers get lost in a `FaultyStore`; everything else happens to the server.
    """

    def __init__(self) -> None:
        self.world = World(seed=1, epoch=START)
        self.server = RedisServer(self.world.node("redis-1"), libraries={"taba": taba_library()}).start()
        self.node = self.world.node("server-1")
        self.redis = make_store(machine_of(self.node.start()), ("redis-1", self.server.port))
        self.store = FaultyStore(self.redis)
        self.world.result_of(self.store.startService())

    def settle(self, sought: Deferred[Any] | None = None) -> None:
        self.world.advance(SETTLE_SECONDS)

    def wall(self) -> float:
        return self.node.wall()

    def advance(self, seconds: float) -> None:
        if seconds > LONG:
            for node in (self.server.node, self.node):
                node.step_wall(seconds - LONG)
        self.world.advance(min(seconds, LONG))

    def crash(self) -> None:
        self.rollback(self.snapshot())

    def snapshot(self) -> Any:
        return copy.deepcopy(self.server.disk)

    def rollback(self, snapshot: Any) -> None:
        before = self.redis.cluster.lineage
        self.server.kill()
        self.server.disk = copy.deepcopy(snapshot)
        self.server.start()
        self.world.run_until(lambda: self.redis.cluster.lineage != before, 10.0)
        self.settle()

    def unavailable(self, down: bool) -> None:
        self.store.unavailable(down)

    def lose_next_answer(self) -> None:
        self.store.fail_after()

    def stop(self) -> None:
        self.world.result_of(self.store.stopService())

    def close(self) -> None:
        self.stop()
        left = self.node.stop()
        try:
            if left:
                raise AssertionError(f"the store left something behind: {left}")
            self.world.check_quiet()
        finally:
            self.world.close()
