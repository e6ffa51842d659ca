"""What a failover does to appends: how long none is taken, and what an agent hears of those that were taken back.

REAL: a shard of one master and two replicas, three Sentinels. TABA_REDIS_FAILOVERS is how many masters are killed in a
row (default 2); the times are printed.
"""

from __future__ import annotations

import os
import random
import statistics
import time
import zlib
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.interfaces import Append, Outcome, Verdict
from taba.process import Process
from taba.settings import DatabaseSettings, ShardSettings
from taba.store.redis.opening import open_redis_store
from taba.store.redis.store import RedisStore
from tests.redis.harness import SECONDS, ShiftedReactor
from tests.redis.real import Cluster, RedisProcess, Servers, missing

FAILOVERS = int(os.environ.get("TABA_REDIS_FAILOVERS", "2"))
LANE = "a" * 32
LONG = 180.0


class Lane:
    """One agent's lane: it sends the next number, goes back when told, and gives up nothing."""

    def __init__(self) -> None:
        self.next = 1
        self.last_checksum: dict[int, int] = {}

    def batch(self) -> Append:
        """What it sends now."""
        body = b"batch %d" % self.next
        checksum = self.last_checksum[self.next] = zlib.crc32(body)
        previous = self.last_checksum.get(self.next - 1)
        return Append(
            0, LANE, self.next, self.next - 1, previous, self.next - 1, 1, time.time(), checksum, body
        )

    def answered(self, outcome: Outcome) -> bool:
        """Whether the batch was taken; else the next one is another."""
        if outcome.verdict is Verdict.OK:
            self.next = outcome.last + 1
            return True
        if outcome.verdict is Verdict.GAP:
            self.next = outcome.last + 1
        return False


class FailoverTests(SynchronousTestCase):
    """A store and one lane, while masters go."""

    skip = missing()

    def setUp(self) -> None:
        self.servers = Servers()
        self.addCleanup(self.servers.close)
        self.cluster: Cluster = self.servers.cluster("shard1", replicas=2, sentinels=3)
        self.reactor = ShiftedReactor()
        self.reactor.startRunning(installSignalHandlers=False)
        self.lane = Lane()

    def start(self, durability: str) -> RedisStore:
        """A store on the cluster, which is stopped in the end."""
        process = Process(self.reactor, time.time, random.Random(1), _none, _none, "host", lambda sentence: None)
        settings = DatabaseSettings(
            vbuckets=1,
            sentinels=tuple(self.cluster.sentinel_addresses()),
            shards=(ShardSettings("shard1", (0, 0)),),
            durability=durability,
        )
        store = open_redis_store(settings, process, 14.0)
        self.get(store.startService())
        self.addCleanup(self.stop, store)
        return store

    def stop(self, store: RedisStore) -> None:
        self.get(store.stopService())
        self.reactor.stop()
        self.reactor.iterate(0)
        self.reactor.disconnectAll()

    def get(self, deferred: Any) -> Any:
        """What a Deferred brings, or its error raised."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        until = time.monotonic() + SECONDS
        while not results:
            self.assertLess(time.monotonic(), until, "it takes too long")
            self.reactor.iterate(0.005)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def give(self, store: RedisStore) -> bool:
        """Send the lane's next batch; whether it was taken."""
        try:
            (outcome,) = self.get(store.append([self.lane.batch()]))
        except StoreUnavailable:
            return False
        return self.lane.answered(outcome)

    def until_taken(self, store: RedisStore) -> float:
        """Send until a batch is taken; the seconds it took."""
        began = time.monotonic()
        while not self.give(store):
            self.assertLess(time.monotonic() - began, LONG, f"nothing is taken: {store.shard_states()}")
            for _ in range(4):
                self.reactor.iterate(0.005)
        return time.monotonic() - began

    def bodies(self, store: RedisStore) -> list[bytes]:
        """All that is in the log."""
        bodies: list[bytes] = []
        while entries := self.get(store.read({0: len(bodies)}, 1 << 20, 0.0)):
            bodies += [entry.body for entry in entries]
        return bodies

    def test_masters_are_killed(self) -> None:
        """Each time another master takes appends within a few seconds, and every batch is in the log once, in order."""
        store = self.start("replicated")
        away = []
        for _ in range(FAILOVERS):
            for _ in range(20):
                self.until_taken(store)  # nobody turned the reactor while the servers settled
            master = self.cluster.master()
            master.kill()
            away.append(self.until_taken(store))
            for _ in range(20):
                self.until_taken(store)
            master.start()
            self.cluster.settle(LONG)
        times = ", ".join(f"{each:.2f}" for each in away)
        print(f"\nappends again after {times} s, median {statistics.median(away):.2f}")
        self.assertEqual(self.bodies(store), [b"batch %d" % n for n in range(1, self.lane.next)])

    def test_replica_that_lags_is_promoted(self) -> None:
        """A replica that was down while batches were taken becomes master: the lane hears of a gap, goes back, and all
        is in the log once.
        """
        store = self.start("memory")
        for _ in range(10):
            self.until_taken(store)
        master = self.cluster.master()
        replicas = [each for each in self.cluster.shards["shard1"] if each is not master]
        self._wait_for_replicas(master, replicas)
        for replica in replicas:
            replica.kill()
        for _ in range(10):
            self.until_taken(store)
        master.kill()
        for replica in replicas:
            replica.start()
        self.until_taken(store)
        gap = self.lane.next
        self.assertLess(gap, 20, "nothing was taken back")
        while self.lane.next <= 30:
            self.until_taken(store)
        self.assertEqual(self.bodies(store), [b"batch %d" % n for n in range(1, self.lane.next)])

    def _wait_for_replicas(self, master: RedisProcess, replicas: list[RedisProcess]) -> None:
        """Until they have all that the master has, on their disks."""
        offset = master.fields("INFO", "replication")["master_repl_offset"]
        for replica in replicas:
            replica.wait_for(
                lambda replica=replica: int(replica.fields("INFO", "replication")["slave_repl_offset"]) >= int(offset),
                "has all",
            )
        time.sleep(1.1)  # appendfsync everysec


def _none(name: str) -> Any:
    raise AssertionError(f"the store needs no {name}")
