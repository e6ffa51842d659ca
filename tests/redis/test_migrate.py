"""From the embedded store to Redis, with real processes: a server, an agent that goes on sending, and redis-server.

REAL: redis-server, servers, agents and commands on loopback.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.asking import counters
from tests.processes.running import TABA_CLI, Stage, start_all
from tests.processes.surroundings import PATIENCE, environment
from tests.redis.real import Servers, missing
from tests.redis.test_operations import acl_line

VBUCKETS = 32


class MigrateTests(SynchronousTestCase):
    skip = missing()

    def setUp(self) -> None:
        self.servers = Servers()
        self.addCleanup(self.servers.close)
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def cli(self, *arguments: str, code: int = 0) -> str:
        ended = subprocess.run(
            [sys.executable, *TABA_CLI, *arguments], env=environment(), capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        self.assertEqual(ended.returncode, code, f"{arguments}: {ended.stdout}\n{ended.stderr}")
        self.assertNotIn("Traceback", ended.stderr)
        return ended.stdout + ended.stderr

    def send(self, agent: Any, tab: str, count: int) -> None:
        answer = agent.post(counters("application", tab, range(count)))
        self.assertEqual(answer.status, 200, answer)

    def test_move(self) -> None:
        """A cluster moves while its agent goes on taking events: afterwards every event is counted once, the cluster is
        the same, and moving again is refused.
        """
        redis = self.servers.server().ready()
        url = f"redis://127.0.0.1:{redis.port}"
        before = self.stage.server(config={"DB_SETTINGS": {"NUM_VBUCKETS": VBUCKETS}, "EMBEDDED_AGENT": True})
        agent = self.stage.agent(before.port)
        start_all(before, agent)
        tabs = [f"tab{number}" for number in range(40)]
        for tab in tabs:
            self.send(agent, tab, 5)
        for tab in tabs:
            before.wait_for_count(tab, 5)
        cluster = before.json("/status")["cluster"]
        config = {"DB_SETTINGS": {"REDIS_URL": url, "NUM_VBUCKETS": VBUCKETS}, "EMBEDDED_AGENT": True}
        settings = str(self.stage.settings("redis", config))
        data = str(before.folder / "taba-data")
        self.assertIn("in use", self.cli("migrate", "--from", data, "--to", settings, "--yes", code=5))
        before.kill()
        self.send(agent, "tab0", 7)
        self.assertIn("Nothing was written", self.cli("migrate", "--from", data, "--to", settings, "--dry-run"))
        self.assertEqual(redis.ask("DBSIZE"), 0)
        said = self.cli("migrate", "--from", data, "--to", settings, "--yes")
        self.assertIn("were read back and are the same", said)
        self.assertIn("moved here before", self.cli("migrate", "--from", data, "--to", settings, "--yes", code=5))
        after = self.stage.server("--port", str(before.port), name="after", config={**config, "DATA_DIR": data})
        after.port = before.port
        start_all(after)
        self.assertEqual(after.json("/status")["cluster"], cluster)
        after.wait_for_count("tab0", 12)
        for tab in tabs[1:]:
            self.assertEqual(after.counts(tab), (5, 10.0))
        self.send(agent, "tab1", 3)
        after.wait_for_count("tab1", 8)

    def test_shards(self) -> None:
        """To shards behind Sentinels, as the user of the guide's ACL line; replicas have all of it when it ends."""
        cluster = self.servers.cluster("shard1", "shard2", replicas=1)
        words = acl_line("all that Taba needs on a shard")
        for redis in (each for servers in cluster.shards.values() for each in servers):
            self.assertEqual(redis.ask("ACL", "SETUSER", "taba", *words), b"OK")
        before = self.stage.server(config={"DB_SETTINGS": {"NUM_VBUCKETS": VBUCKETS}, "EMBEDDED_AGENT": True})
        start_all(before)
        for number in range(20):
            before.post(counters("application", f"tab{number}", range(4)))
        for number in range(20):
            before.wait_for_count(f"tab{number}", 4)
        before.stop()
        half = VBUCKETS // 2
        database = {
            "NUM_VBUCKETS": VBUCKETS, "REDIS_USER": "taba", "REDIS_PASSWORD": "secret", "KEY_PREFIX": "taba:",
            "SENTINELS": [list(each) for each in cluster.sentinel_addresses()],
            "SHARDS": [{"shard_name": "shard1", "vbuckets": [0, half - 1]},
                       {"shard_name": "shard2", "vbuckets": [half, VBUCKETS - 1]}],
        }  # fmt: skip
        data = str(before.folder / "taba-data")
        config = {"DB_SETTINGS": database, "EMBEDDED_AGENT": True, "DATA_DIR": data}
        settings = str(self.stage.settings("redis", config))
        self.assertIn("are the same", self.cli("migrate", "--from", data, "--to", settings, "--yes"))
        for servers in cluster.shards.values():
            for redis in servers:
                self.assertEqual(redis.ask("HGET", "taba:meta", "state"), b"ready")
                self.assertEqual(redis.ask("ACL", "LOG"), [])
        after = self.stage.server(name="after", config=config)
        start_all(after)
        self.assertEqual(after.json("/status")["durability"], "replicated")
        for number in range(20):
            self.assertEqual(after.counts(f"tab{number}"), (4, 6.0))

    def test_another_cluster(self) -> None:
        """A Redis that another cluster uses is refused, and stays as it is."""
        redis = self.servers.server().ready()
        url = f"redis://127.0.0.1:{redis.port}"
        config = {"DB_SETTINGS": {"REDIS_URL": url, "NUM_VBUCKETS": VBUCKETS}}
        other = self.stage.server(name="other", config=config)
        source = self.stage.server(config={"DB_SETTINGS": {"NUM_VBUCKETS": VBUCKETS}})
        start_all(other, source)
        source.stop()
        settings = str(self.stage.settings("redis", config))
        data = str(source.folder / "taba-data")
        said = self.cli("migrate", "--from", data, "--to", settings, "--yes", code=5)
        self.assertIn(other.json("/status")["cluster"], said)
        self.assertIn("KEY_PREFIX", said)
