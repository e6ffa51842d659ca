"""Bad days of a Taba on Redis, as its operator sees them: it is said what is wrong, and what to do; agents hold events
meanwhile; afterwards every event is there, once.

REAL: a redis-server, a server and an agent of their own for each test.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.asking import counters
from tests.processes.running import TABA_CLI, AgentProcess, ServerProcess, Stage, start_all
from tests.processes.surroundings import PATIENCE, environment
from tests.redis.real import RedisProcess, Servers, missing

VBUCKETS = 4
AT_ONCE = 40.0
"""Seconds within which a process that has nothing to write ends; one that still waits is ended by force after 45.
"""


class BadDay(SynchronousTestCase):
    """A redis-server, a Taba server and an agent in front of it."""

    skip = missing()

    def setUp(self) -> None:
        self.servers = Servers()
        self.addCleanup(self.servers.close)
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.sent = 0

    def taba(self, redis: RedisProcess, name: str = "server", **database: Any) -> ServerProcess:
        """A server on one Redis, not started yet."""
        settings = {"REDIS_URL": f"redis://127.0.0.1:{redis.port}", "NUM_VBUCKETS": VBUCKETS, **database}
        return self.stage.server(name=name, config={"DB_SETTINGS": settings})

    def agent(self, server: ServerProcess) -> AgentProcess:
        """An agent that runs."""
        agent = self.stage.agent(server.port)
        start_all(agent)
        return agent

    def send(self, agent: AgentProcess, events: int = 10) -> None:
        """Events, which the agent takes whatever the day."""
        self.assertEqual(agent.post(counters("client", "used", [1] * events)).status, 200)
        self.sent += events

    def assertAllThere(self, server: ServerProcess) -> None:
        """All events that were acknowledged are in the result, once."""
        server.wait_for_count("used", self.sent)
        time.sleep(1.0)  # time in which anything could come a second time
        self.assertEqual(server.counts("used"), (self.sent, float(self.sent)))

    def whole(self) -> tuple[RedisProcess, ServerProcess, AgentProcess]:
        """All three, at work."""
        redis = self.servers.server().ready()
        server = self.taba(redis)
        start_all(server)
        agent = self.agent(server)
        self.send(agent)
        server.wait_for_count("used", self.sent)
        return redis, server, agent

    def wait_for_trouble(self, server: ServerProcess, *words: str) -> None:
        """Wait until /readyz is 503, and says so."""

        def looked() -> bool:
            answer = server.ask("/readyz")
            return answer.status == 503 and all(each in answer.text for each in words)

        server.wait_for(looked, lambda: f"/readyz says {words}, not {server.ask('/readyz')}")

    def wait_until_well(self, server: ServerProcess) -> None:
        """Wait until /readyz is 200."""
        server.wait_for(lambda: server.ask("/readyz").status == 200, "ready again")


class DownTests(BadDay):
    """Redis is not there."""

    def test_at_start(self) -> None:
        """A server that starts before Redis says what it waits for, and goes on as soon as it is there."""
        redis = self.servers.server()
        redis.ready().kill()
        server = self.taba(redis)
        server.start()
        agent = self.agent(server)
        self.send(agent)
        where = f"Waiting for Redis: shard redis at 127.0.0.1:{redis.port}: the connection is refused"
        server.wait_for_output(where)
        redis.start()
        server.ready()
        self.assertAllThere(server)

    def test_stopped_while_it_waits(self) -> None:
        """A server that waits for Redis, or for Sentinels, ends at once when it is told to, without a complaint."""
        redis = self.servers.server()
        redis.ready().kill()
        sentinels = {"SENTINELS": [["localhost", redis.port]], "SHARDS": [{"shard_name": "a", "vbuckets": [0, 3]}]}
        for server in (self.taba(redis), self.taba(redis, "watched", REDIS_URL=None, **sentinels)):
            server.start()
            server.wait_for_output("Waiting for Redis")
            before = time.monotonic()
            self.assertEqual(server.stop(), 0)
            self.assertLess(time.monotonic() - before, AT_ONCE)
            self.assertIn("Server Shut Down.", server.output())
            self.assertNotIn("Traceback", server.output())
            self.assertNotIn("cannot start", server.output())

    def test_at_run_time(self) -> None:
        """While Redis is away /readyz and /status say so, the agent goes on taking events, and nothing is missing or
        doubled when it comes back.
        """
        redis, server, agent = self.whole()
        redis.kill()
        self.wait_for_trouble(server, f"shard redis at 127.0.0.1:{redis.port}", "refused")
        status = server.ask("/status")
        self.assertEqual(status.status, 200)
        self.assertIn("NOT CONNECTED", status.text)
        self.assertIn("Problem: shard redis", status.text)
        self.assertEqual(server.json("/status")["total_tasks"], None)
        self.send(agent)
        redis.start().ready()
        self.wait_until_well(server)
        self.assertAllThere(server)

    def test_stopped_while_redis_is_away(self) -> None:
        """A server whose Redis went away ends in time when it is told to; what it had not written is in the log."""
        redis, server, agent = self.whole()
        redis.kill()
        self.wait_for_trouble(server, "refused")
        self.send(agent)
        self.assertEqual(server.stop(), 0)
        redis.start().ready()
        start_all(server)
        self.assertAllThere(server)


class RefusingTests(BadDay):
    """Redis is there, and does not do what it is asked for."""

    def test_out_of_memory(self) -> None:
        """When Redis has no memory left, that is said, with the remedy; when it has some again, all events come."""
        redis, server, agent = self.whole()
        redis.ask("CONFIG", "SET", "maxmemory", "1mb")
        self.send(agent)
        agent.wait_for(lambda: "raise its maxmemory" in agent.output(), "the agent says why it cannot send")
        self.wait_for_trouble(server, "Redis has no memory left", "agents hold the events meanwhile")
        self.assertIn("Shard redis takes no batches, and agents hold theirs", server.output())
        self.assertEqual(agent.json("/status")["ledger"]["received"], self.sent)
        redis.ask("CONFIG", "SET", "maxmemory", "0")
        self.assertAllThere(server)
        self.wait_until_well(server)
        self.assertIn("Shard redis takes batches again.", server.output())

    def test_replica(self) -> None:
        """A replica given as REDIS_URL is not written to; when it becomes a master, it is used."""
        master = self.servers.server("master").ready()
        replica = self.servers.server("replica", f"replicaof 127.0.0.1 {master.port}").ready()
        server = self.taba(replica)
        server.start()
        server.wait_for_output("is not a master: it says that it is a slave")
        self.assertEqual(replica.ask("DBSIZE"), 0)
        replica.ask("REPLICAOF", "NO", "ONE")
        server.ready()

    def test_became_a_replica(self) -> None:
        """A master that becomes a replica while Taba runs is not used any more, and said to be one."""
        redis, server, agent = self.whole()
        redis.ask("REPLICAOF", "127.0.0.1", "1")
        self.wait_for_trouble(server, "is not a master")
        self.send(agent)
        redis.ask("REPLICAOF", "NO", "ONE")
        self.wait_until_well(server)
        self.assertAllThere(server)

    def test_password(self) -> None:
        """A wrong password, or none, is named with the setting; when the two agree the server starts."""
        redis = self.servers.server("guarded", "requirepass right", password=("right",)).ready()
        wrong, none = self.taba(redis, REDIS_PASSWORD="wrong"), self.taba(redis, "none")
        wrong.start()
        none.start()
        wrong.wait_for_output("does not accept the password of the default user")
        wrong.wait_for_output("check REDIS_PASSWORD")
        none.wait_for_output("set REDIS_PASSWORD")
        none.stop()
        redis.ask("CONFIG", "SET", "requirepass", "wrong")
        wrong.ready()
        self.assertNotIn("right", wrong.output())

    def test_failing_disk(self) -> None:
        """A Redis that cannot save takes nothing more; its own words and the remedy are passed on."""
        redis, server, agent = self.whole()
        redis.ask("CONFIG", "SET", "appendonly", "no")
        redis.ask("CONFIG", "SET", "save", "1 1")
        (redis.folder / "dump.rdb").unlink(missing_ok=True)
        (redis.folder / "dump.rdb").mkdir()  # so that no file can take its name
        self.send(agent)
        redis.ask("BGSAVE")
        redis.wait_for(lambda: redis.fields("INFO", "persistence")["rdb_last_bgsave_status"] == "err", "cannot save")
        self.send(agent)
        agent.wait_for(lambda: "cannot save to disk" in agent.output(), "the agent says why it cannot send")
        self.wait_for_trouble(server, "see its log, mend the disk")
        (redis.folder / "dump.rdb").rmdir()
        redis.ask("BGSAVE")
        self.assertAllThere(server)


class StrangeDataTests(BadDay):
    """Redis has other data than it should."""

    def assertDoesNotStart(self, server: ServerProcess, *words: str) -> None:
        """A server ends by itself, with status 1 and one sentence."""
        self.assertEqual(server.run(), 1, server.tail())
        self.assertNotIn("Traceback", server.output())
        for each in ("Taba cannot start: ", *words):
            self.assertIn(each, server.output())

    def test_at_start(self) -> None:
        """Another NUM_VBUCKETS, newer functions and a foreign key in Taba's place are told apart."""
        redis, server, _ = self.whole()
        server.stop()
        self.assertDoesNotStart(
            self.taba(redis, "more", NUM_VBUCKETS=8),
            "was written with NUM_VBUCKETS 4", "set NUM_VBUCKETS to 4",
        )  # fmt: skip
        newer = "#!lua name=taba\nredis.register_function{function_name='taba_version', callback=function() return 99 end, flags={'no-writes'}}"  # noqa: E501 - one line of Lua
        redis.ask("FUNCTION", "LOAD", "REPLACE", newer)
        self.assertDoesNotStart(self.taba(redis, "older"), "functions of a newer Taba (version 99")
        self.assertIn(b"99", redis.ask("FUNCTION", "LIST", "WITHCODE")[0][-1])
        strange = self.servers.server("strange").ready()
        strange.ask("SET", "meta", "somebody else's")
        other = self.taba(strange, "other")
        other.start()
        other.wait_for_output("KEY_PREFIX")
        self.assertEqual(strange.ask("GET", "meta"), b"somebody else's")

    def test_emptied(self) -> None:
        """A Redis that was emptied while Taba runs is not written to; agents hold what comes. `taba-cli accept-loss`
        begins anew, and from then on every event is there.
        """
        redis, server, agent = self.whole()
        redis.ask("FLUSHALL")
        self.wait_for_trouble(server, f"has lost the data of {VBUCKETS} vbuckets", "taba-cli accept-loss redis")
        self.assertIn("has lost the data", server.output())
        self.send(agent, 7)
        time.sleep(1.0)
        self.assertEqual(redis.ask("KEYS", "L:*"), [])
        self.assertEqual(server.json("/status")["missing"], {"redis": list(range(VBUCKETS))})
        accepted = self.cli(server, "accept-loss", "redis", "--yes")
        self.assertEqual((accepted.returncode, accepted.stdout), (0, f"Shard redis: {VBUCKETS} vbuckets begin anew.\n"))
        self.wait_until_well(server)
        self.assertIn("begin anew", server.output())
        self.assertIn("127.0.0.1 asks for /accept_loss shard=redis", server.output())
        # What the agent had not confirmed yet is sent again, too: nothing that it acknowledged is lost this time.
        self.assertAllThere(server)
        refused = self.cli(server, "accept-loss", "shard9", "--yes")
        self.assertEqual(refused.returncode, 4)
        self.assertIn("there is no shard shard9", refused.stderr.lower())

    def cli(self, server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `taba-cli`."""
        return subprocess.run(
            [sys.executable, *TABA_CLI, "--server", f"http://127.0.0.1:{server.port}", *arguments],
            env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip


