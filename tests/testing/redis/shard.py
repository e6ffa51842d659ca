"""A shard under three sentinels, for tests."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from taba.testing import World
from taba.testing.redis import RedisSentinel, RedisServer, Watch
from tests.testing.redis.talk import RedisTestCase

NAME = "shard-1"


class SentinelTestCase(RedisTestCase):
    """A master, replicas, and three sentinels that know one another."""

    replicas = 2

    def setUp(self) -> None:
        super().setUp()
        self.build(self.world)

    def build(self, world: World, **watch: Any) -> None:
        """Make the shard in a world."""
        configuration = {"repl-timeout": "4", "repl-ping-replica-period": "1"}
        self.master = RedisServer(world.node("redis-1"), configuration=configuration).start()
        self.others = [
            RedisServer(world.node(f"redis-{number}"), configuration=configuration, master=self.master).start()
            for number in range(2, 2 + self.replicas)
        ]
        self.servers = [self.master, *self.others]
        self.watch = evolve(Watch(NAME, self.master.host), **watch)
        self.sentinels = [RedisSentinel(world.node(f"sentinel-{n}"), [self.watch]).start() for n in (1, 2, 3)]
        world.advance(12)

    def named(self) -> list[tuple[str, int]]:
        """Where each sentinel that runs says that the master is."""
        return [each.master_address(NAME) for each in self.sentinels if each.node.process is not None]

    def when(self, kind: str) -> list[float]:
        """When the sentinels told events of a kind."""
        return sorted(time for each in self.sentinels for time, name, _text in each.events if name == kind)

    def wait_for_switch(self, limit: float = 60.0) -> float:
        """Wait until all sentinels name one other master; the seconds until the first did."""
        start, old = self.world.clock.seconds(), self.master.host
        self.world.run_until(lambda: any(host != old for host, _port in self.named()), limit, "a switch")
        elapsed = self.world.clock.seconds() - start
        self.world.run_until(lambda: old not in {host for host, _port in self.named()}, limit, "all to switch")
        self.assertEqual(len(set(self.named())), 1)
        return elapsed

    def new_master(self) -> RedisServer:
        """The server that the sentinels name."""
        host, _port = self.named()[0]
        return next(each for each in self.servers if each.host == host)
