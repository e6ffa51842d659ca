"""Redis in memory, on the machines of a simulated world, for the real client code.

    with World(seed=7) as world:
        master = RedisServer(world.node("redis-1"), libraries={"taba": LIBRARY}).start()
        replica = RedisServer(world.node("redis-2"), libraries={"taba": LIBRARY}, master=master).start()
        world.node("server-1").start(make_server)      # connects to redis-1:6379 with txredisapi, say
        world.advance(10.0)
        replica.lag = 3.0                              # acknowledges, and knows, everything 3 s late
        world.network.partition("redis-1", "server-1")
        master.kill()
        replica.promote()                              # what it had not applied is lost
        master.restart(With.SYNCED_DATA)
        master.demote(replica)
        assert replica.ask("HGET", "D:7", "agent") == b"12"

`RedisServer` is one process on one machine of the world; its commands, errors and replies are those of Redis 7.0 in
RESP2, and it replicates over the simulated network. What it does not simulate is said where it would be: see the
modules. Commands that are missing are unknown commands.
"""

from __future__ import annotations

from taba.testing.redis.access import User
from taba.testing.redis.engine import Engine
from taba.testing.redis.functions import CallError, FunctionCall, FunctionLibrary
from taba.testing.redis.process import RedisProcess, redis_process
from taba.testing.redis.resp import NIL_ARRAY, Reply, ReplyError, Status
from taba.testing.redis.sentinel import RedisSentinel, Watch
from taba.testing.redis.server import NotRunning, RedisServer, With

__all__ = [
    "NIL_ARRAY",
    "CallError",
    "Engine",
    "FunctionCall",
    "FunctionLibrary",
    "NotRunning",
    "RedisProcess",
    "RedisSentinel",
    "RedisServer",
    "Reply",
    "ReplyError",
    "Status",
    "User",
    "Watch",
    "With",
    "redis_process",
]
