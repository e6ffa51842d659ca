"""The cluster on Redis under random faults: what was acknowledged is counted once, whatever fails over."""

from __future__ import annotations

from taba.testing.redis_cluster import RedisCluster
from tests.cluster.redis_quiet import QuietCase
from tests.cluster.redis_run import run_redis_seed
from tests.cluster.redis_seeds import redis_seeds_from_environment
from tests.cluster.test_seeds import production_code


class RedisSeedTests(QuietCase):
    """Random runs."""

    def test_every_event_once(self) -> None:
        """Whatever fails when, shards and Sentinels among it: each acknowledged event is in the result once, or in a
        ledger for a cause that was.
        """
        report = redis_seeds_from_environment()
        print("\n" + report.text())
        self.assertEqual([each.seed for each in report.failures], [])
        if len(report.outcomes) >= 100:
            self.assertEqual(report.never_met(), [], "a fault was never met: the runs are too tame")

    def test_runs_repeat(self) -> None:
        """A seed runs the same way every time, to the byte, and replaces no function of production code."""
        first, before = run_redis_seed(7), production_code()
        self.assertEqual(run_redis_seed(7).fingerprint, first.fingerprint)
        self.assertIn("taba.store.redis.appends.Appender._round", before)
        self.assertEqual({name: each for name, each in production_code().items() if before.get(name) is not each}, {})


class FleetTests(QuietCase):
    """Without random faults."""

    def test_fleet_counts(self) -> None:
        """Recorded, settled, asked for over HTTP at any server: replicas were found, and the whole way is there."""
        with RedisCluster(seed=2) as cluster:
            cluster.start()
            server = cluster.server.server
            assert server is not None
            self.assertEqual(server.server.store.cluster.durability, "replicated")
            for application in cluster.applications:
                application.client.counter("won", 2)
            cluster.settle()
            for each in cluster.servers:
                self.assertIn(b'"1m": {"count": 3, "total": 6.00', cluster.get("/tabs?name=won", each.name))
            cluster.world.check_quiet()

    def test_master_dies(self) -> None:
        """A master dies: its replica is promoted, the servers go on with it, and nothing is missing."""
        with RedisCluster(seed=3) as cluster:
            cluster.start()
            old = cluster.master("shard-1")
            for number in range(20):
                for application in cluster.applications:
                    application.client.counter(f"tab{number % 5}")
                cluster.world.advance(0.5)
                if number == 8:
                    old.crash()
            cluster.heal()
            cluster.settle()
            self.assertIsNot(cluster.master("shard-1"), old)
            for number in range(5):
                self.assertIn(b'"1d": {"count": 12,', cluster.get(f"/tabs?name=tab{number}"))
            cluster.world.check_quiet()
