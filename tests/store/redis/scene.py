"""A process with the connections of one shard, scripted servers and Sentinels around it, in a simulated world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred

from taba.store.redis.access import Access, Address
from taba.store.redis.link import Link
from taba.store.redis.sentinel import SENTINEL_ACCESS, Sentinels
from taba.store.redis.shard import Shard
from taba.testing import Process, World
from taba.testing.machine import machine_of
from tests.store.redis.peer import LINEAGE, ScriptedRedis, ScriptedSentinel

SHARD = "shard1"
SENTINEL_PORT = 26379


class Scene:
    """Servers `redis-1`, `redis-2` ..., of which the first is the master, Sentinels `sentinel-1` ... that say so (none:
    the address is fixed), and a node `app` with a Shard. Close it in the end.
    """

    def __init__(
        self,
        servers: int = 2,
        sentinels: int = 3,
        seed: int = 1,
        access: Access | None = None,
        sentinel_access: Access = SENTINEL_ACCESS,
        shards: Sequence[str] = (SHARD,),
    ) -> None:
        self.world = World(seed)
        self.redis = [ScriptedRedis(f"{i}" * 32 if i else LINEAGE) for i in range(servers)]
        self.addresses = [each.on(self.world.node(f"redis-{i + 1}")) for i, each in enumerate(self.redis)]
        self.sentinels = [ScriptedSentinel(**{SHARD: self.addresses[0]}) for _ in range(sentinels)]
        for i, each in enumerate(self.sentinels):
            each.on(self.world.node(f"sentinel-{i + 1}"), SENTINEL_PORT)
        self.app = self.world.node("app")
        self.access = access
        self.sentinel_access = sentinel_access
        self.names = list(shards)
        self.said: list[str] = []
        self.source: Sentinels | None = None
        self.shards: dict[str, Shard] = {}

    def start(self, **options: Any) -> Shard:
        """Start the process; its first Shard."""

        def make(process: Process) -> IService:
            machine = machine_of(process)
            machine.say = self.said.append
            services = MultiService()
            source: Any = (self.addresses[0].host, self.addresses[0].port)
            if self.sentinels:
                named = [(f"sentinel-{i + 1}", SENTINEL_PORT) for i in range(len(self.sentinels))]
                source = self.source = Sentinels(named, machine, self.sentinel_access)
                self.source.setServiceParent(services)
            for name in self.names:
                shard = self.shards[name] = Shard(name, machine, source=source, access=self.access, **options)
                shard.setServiceParent(services)
            return services

        self.app.start(make)
        return self.shards[self.names[0]]

    def opened(self, **options: Any) -> Shard:
        """Start the process, and wait until its links are open."""
        shard = self.start(**options)
        self.wait_until_open(shard)
        return shard

    def wait_until_open(self, shard: Shard, limit: float = 10.0) -> float:
        """Wait for links; the seconds it took."""
        before = self.world.clock.seconds()
        self.world.result_of(shard.when_open(), limit)
        return self.world.clock.seconds() - before

    def wait_until_lost(self, shard: Shard, limit: float = 10.0) -> float:
        """Wait until there are no links; the seconds it took."""
        before = self.world.clock.seconds()
        self.world.run_until(lambda: not shard.state()["open"], limit, "the links to close")
        return self.world.clock.seconds() - before

    def echo(self, link: Link) -> Any:
        """Whether a link leads anywhere."""
        return self.world.result_of(link.call("ECHO", "there"))

    def outcome(self, deferred: Deferred[Any], limit: float = 60.0) -> Any:
        """A result, or the exception."""
        return self.world.result_of(deferred.addErrback(lambda failure: failure.value), limit)

    def fail_over(self, master: int = 1, announced: bool = True) -> Address:
        """All Sentinels name another server."""
        for each in self.sentinels:
            if announced:
                each.switch(SHARD, self.addresses[master])
            else:
                each.masters[SHARD] = self.addresses[master]
        return self.addresses[master]

    def close(self) -> None:
        """Stop the process, and see that nothing is left of it, nor was any defect logged."""
        try:
            leftovers = self.app.stop()
            assert leftovers == [], leftovers
            self.world.check_quiet()
        finally:
            self.world.close()
