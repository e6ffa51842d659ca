"""Many faults at random, then quiet: three servers and three sentinels come to one master with one history."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from taba.testing import World
from taba.testing.redis import NotRunning, RedisSentinel, RedisServer, Watch, With
from taba.testing.redis.resp import Reply
from tests.testing.redis.talk import RedisTestCase

CONFIGURATION = {"repl-timeout": "4", "repl-ping-replica-period": "1"}


class Shard:
    """A shard under faults."""

    def __init__(self, world: World) -> None:
        self.world = world
        master = RedisServer(world.node("redis-1"), configuration=CONFIGURATION).start()
        names = ("redis-2", "redis-3")
        self.servers = [master]
        self.servers += [
            RedisServer(world.node(name), configuration=CONFIGURATION, master=master).start() for name in names
        ]
        watches = [Watch("shard", master.host)]
        self.sentinels = [RedisSentinel(world.node(f"sentinel-{n}"), watches).start() for n in (1, 2, 3)]
        self.written = 0

    def write(self) -> None:
        """Write on every server that takes writes."""
        for each in self.servers:
            if each.is_master and not each.engine.turns.hung:
                self.written += 1
                each.ask("RPUSH", "list", self.written)
                each.ask("SET", f"key-{self.written}", "v" * 2000, "PX", 5000)
                each.ask("XADD", "stream", "0-*", "b", self.written)

    def disturb(self, random: Random) -> None:
        """One fault, or its end, somewhere."""
        server, sentinel = random.choice(self.servers), random.choice(self.sentinels)
        network, host = self.world.network, server.node.name
        other = random.choice([each for each in network.hosts() if each != host])
        verbs: list[Callable[[], object]] = [
            server.kill,
            lambda: server.restart(random.choice((With.ITS_DATA, With.SYNCED_DATA))),
            server.hang,
            server.wake,
            server.cut_link,
            server.join_link,
            lambda: setattr(server, "lag", random.choice((0.0, 1.0, 5.0))),
            lambda: network.partition(host, other),
            lambda: network.drop_connection(host, other),
            network.heal,
            sentinel.kill,
            sentinel.restart,
            sentinel.hang,
            sentinel.wake,
        ]
        try:
            random.choice(verbs)()
        except NotRunning:
            return

    def calm(self) -> None:
        """End all faults."""
        self.world.network.heal()
        for server in self.servers:
            server.join_link()
            server.lag = 0.0
            if server.is_running():
                server.wake()
            else:
                server.restart()
        for sentinel in self.sentinels:
            if sentinel.node.process is None:
                sentinel.start()
            else:
                sentinel.wake()

    def agrees(self) -> bool:
        """Whether there is one master, and everybody knows and follows it."""
        masters = {(each.host, each.port) for each in self.servers if each.is_master}
        named = {each.master_address("shard") for each in self.sentinels}
        return masters == named and len(masters) == len({each.replid for each in self.servers}) == 1

    def contents(self) -> list[list[Reply]]:
        """What each server holds."""
        questions = (("LRANGE", "list", 0, -1), ("XRANGE", "stream", "-", "+"), ("DBSIZE",))
        return [[each.ask(*question) for question in questions] for each in self.servers]


class FaultTests(RedisTestCase):
    """Kills, restarts, hangs, partitions, lags, of servers and sentinels."""

    def test_quiet_after_faults(self) -> None:
        """In the end all servers hold the same, and nothing went wrong inside them."""
        for seed in range(6):
            with World(seed=seed) as world:
                shard = Shard(world)
                world.advance(10)
                for _ in range(60):
                    shard.write()
                    shard.disturb(world.random)
                    world.advance(3 * world.random.random())
                shard.calm()
                world.run_until(shard.agrees, 400, "one master")
                world.advance(12)
                first, *rest = shard.contents()
                self.assertEqual(rest, [first, first], f"seed {seed}")
                self.assertGreater(shard.written, 15)
                world.check_quiet()
