"""Redis and Sentinel in memory, on the machines of a simulated world, for the real client code.

    with World(seed=7) as world:
        master = RedisServer(world.node("redis-1"), libraries={"lib": LIBRARY}).start()
        replica = RedisServer(world.node("redis-2"), libraries={"lib": LIBRARY}, master=master).start()
        watch = Watch("shard-1", master.host, quorum=2, down_after=2.0)
        sentinels = [RedisSentinel(world.node(f"sentinel-{n}"), [watch]).start() for n in (1, 2, 3)]
        world.node("server-1").start(make_server)      # connects to sentinel-1:26379 and redis-1:6379
        world.advance(10.0)
        replica.lag = 3.0                              # knows, and acknowledges, everything 3 s late
        world.network.partition("redis-1", "server-1")
        master.kill()                                  # some 3 s later the sentinels have promoted the replica,
        world.advance(10.0)                            # and what it had not applied is lost
        master.restart(With.SYNCED_DATA)               # another replication id; demoted after some 10 s
        world.advance(20.0)
        assert replica.is_master
        assert master.ask("HGET", "D:7", "agent") == b"12"

`promote`, `demote(to=...)` and `RedisSentinel.fail_over(name, to=...)` change roles by hand; `hang`, `cut_link`,
`break_disk` and `be_busy` are other faults; partitions are the network's. What FUNCTION LOAD loads runs as a
`FunctionLibrary` in Python.

Every process is one on its machine, and replication, hello messages and votes go over the simulated network. Commands,
errors and replies are those of Redis 7.0 in RESP2, and are compared with a real server's byte for byte by
tests/redis/test_fake.py. Commands that are missing are unknown commands. Not simulated: eviction, limits of output
buffers, the time that copying and loading take (but see `start(loading=...)`), TLS, cluster mode, RESP3, EVAL.
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
