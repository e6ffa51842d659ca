"""What an operator does with a Taba on Redis: `--check-config`, and an ACL user with no more rights than it needs.

REAL: redis-server, Sentinels and servers on loopback.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taba.interfaces import RETIRED, Append, Checkpoint, Position, Selection, SetAside, Verdict, Written
from taba.process import Process
from taba.settings import DatabaseSettings
from taba.store.limits import DAY
from taba.store.redis.opening import open_redis_store
from taba.store.redis.store import RedisStore
from tests.processes.asking import counters
from tests.processes.running import TABA_SERVER, RealProcess, Stage, start_all
from tests.processes.surroundings import REPOSITORY, free_port
from tests.redis.harness import SECONDS, ShiftedReactor
from tests.redis.real import Cluster, RedisProcess, Servers, missing

GUIDE = REPOSITORY / "docs" / "guide" / "redis.md"
CHECK_SECONDS = 90.0
"""Within which `--check-config` has to end, on a busy machine."""


class OperationCase(SynchronousTestCase):
    """Servers and commands that end with the test."""

    skip = missing()

    def setUp(self) -> None:
        self.servers = Servers()
        self.addCleanup(self.servers.close)
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.checks = 0


class CheckConfigTests(OperationCase):
    """`taba-server settings.json --check-config`."""

    def check(self, status: int, **database: Any) -> str:
        """What it says; it ends in time, with that status."""
        self.checks += 1
        name = f"check-{self.checks}"
        config = str(self.stage.settings(name, {"DB_SETTINGS": {"NUM_VBUCKETS": 8, **database}}))
        run: RealProcess = self.stage.command(name, *TABA_SERVER, config, "--check-config")
        before = time.monotonic()
        self.assertEqual(run.run(), status, run.tail())
        self.assertLess(time.monotonic() - before, CHECK_SECONDS)
        self.assertNotIn("Traceback", run.output())
        self.assertEqual(list(run.folder.iterdir()), [])
        return run.output()

    def of(self, cluster: Cluster, **more: Any) -> dict[str, Any]:
        """Settings of a cluster of two shards."""
        halves = [{"shard_name": "shard1", "vbuckets": [0, 3]}, {"shard_name": "shard2", "vbuckets": [4, 7]}]
        return {"SENTINELS": [list(each) for each in cluster.sentinel_addresses()], "SHARDS": halves, **more}

    def test_good_cluster(self) -> None:
        """Of servers as docs/redis/redis.conf has them, and three Sentinels, nothing is said but what is there; nothing
        is written. A shard that the Sentinels do not know is an error, and so is a majority of them that is away.
        """
        lines = (REPOSITORY / "docs" / "redis" / "redis.conf").read_text().splitlines()
        good = [line for line in lines if line and not line.startswith("#")]
        shards: dict[str, list[RedisProcess]] = {}
        for shard in ("shard1", "shard2"):
            master = self.servers.server(f"{shard}-0", *good).ready()
            copies = [
                self.servers.server(f"{shard}-{i}", *good, f"replicaof 127.0.0.1 {master.port}") for i in (1, 2)
            ]
            shards[shard] = [master, *copies]
        masters = {shard: servers[0] for shard, servers in shards.items()}
        cluster = Cluster(shards, [self.servers.sentinel(f"sentinel-{i}", masters, 2) for i in range(3)])
        cluster.settle()
        said = self.check(0, **self.of(cluster))
        self.assertNotIn("Warning", said)
        self.assertIn("There is no data of Taba yet", said)
        for each in masters.values():
            self.assertIn(f"master 127.0.0.1:{each.port} (Redis 7.", said)
            self.assertEqual((each.ask("DBSIZE"), each.ask("FUNCTION", "LIST")), (0, []))
        strange = self.of(cluster, SHARDS=[{"shard_name": "shard3", "vbuckets": [0, 7]}])
        said = self.check(1, **strange)
        self.assertIn("Error: shard3: ", said)
        self.assertIn("no master named shard3", said)
        cluster.sentinels[0].kill()
        self.assertIn("the connection is refused", self.check(0, **self.of(cluster)))
        cluster.sentinels[1].kill()
        self.assertIn("only 1 of 3 Sentinels answer", self.check(1, **self.of(cluster)))

    def test_dangers(self) -> None:
        """A single server with the defaults of Redis, and worse, has all its dangers named, and works."""
        redis = self.servers.server("plain", "appendonly no", "maxmemory 100mb", "maxmemory-policy allkeys-lru").ready()
        said = self.check(0, REDIS_URL=f"redis://127.0.0.1:{redis.port}")
        where = f"Warning: redis at 127.0.0.1:{redis.port}: "
        for words in ("maxmemory-policy is allkeys-lru", "appendonly is no, and save is empty", "it has no replica"):
            self.assertIn(where + words, said)
        self.assertEqual(redis.ask("DBSIZE"), 0)

    def test_cannot_work(self) -> None:
        """What a server would not start with is an error: nobody there, a wrong password, a replica; the sentence says
        what to do.
        """
        nobody = self.check(1, REDIS_URL=f"redis://127.0.0.1:{free_port()}")
        self.assertIn("Error: redis: shard redis at 127.0.0.1:", nobody)
        self.assertIn("the connection is refused", nobody)
        redis = self.servers.server("guarded", "requirepass right", password=("right",)).ready()
        url = f"redis://127.0.0.1:{redis.port}"
        self.assertIn("check REDIS_PASSWORD", self.check(1, REDIS_URL=url, REDIS_PASSWORD="wrong"))
        redis.ask("REPLICAOF", "127.0.0.1", str(free_port()))
        self.assertIn("is not a master", self.check(1, REDIS_URL=url, REDIS_PASSWORD="right"))

    def test_data(self) -> None:
        """The data is compared with the settings: its cluster is named; another NUM_VBUCKETS, newer functions, lost
        markers and a key of somebody else are errors.
        """
        redis = self.servers.server().ready()
        url = f"redis://127.0.0.1:{redis.port}"
        server = self.stage.server(config={"DB_SETTINGS": {"REDIS_URL": url, "NUM_VBUCKETS": 8}})
        start_all(server)
        cluster = server.json("/status")["cluster"]
        server.stop()
        before = redis.ask("DBSIZE"), redis.fields("INFO", "persistence")["rdb_changes_since_last_save"]
        self.assertIn(f"The data is that of cluster {cluster}, durability memory.", self.check(0, REDIS_URL=url))
        self.assertIn("set NUM_VBUCKETS to 8", self.check(1, REDIS_URL=url, NUM_VBUCKETS=16))
        self.assertEqual(
            (redis.ask("DBSIZE"), redis.fields("INFO", "persistence")["rdb_changes_since_last_save"]), before
        )
        redis.ask("DEL", "O:3", "O:5")
        said = self.check(1, REDIS_URL=url)
        self.assertIn("Error: redis: it has lost the data of 2 vbuckets", said)
        self.assertIn("taba-cli accept-loss redis", said)
        newer = "#!lua name=taba\nredis.register_function{function_name='taba_version', callback=function() return 99 end, flags={'no-writes'}}"  # noqa: E501 - one line of Lua
        redis.ask("FUNCTION", "LOAD", "REPLACE", newer)
        self.assertIn("functions of a newer Taba (version 99", self.check(1, REDIS_URL=url))
        redis.ask("FLUSHALL")
        redis.ask("FUNCTION", "FLUSH")
        redis.ask("SET", "meta", "x")
        self.assertIn("KEY_PREFIX", self.check(1, REDIS_URL=url))


def acl_line(before: str) -> list[str]:
    """The words of a user's line in the guide: the first that stands after a text."""
    guide = GUIDE.read_text()
    found = re.search(r"```\nuser taba (.*?)```", guide[guide.index(before) :], re.DOTALL)
    assert found is not None, "the guide has no such line"
    return found[1].replace(">PASSWORD", ">secret").split()


class AclTests(OperationCase):
    """The ACL lines of the guide are enough, and none of their words is too many."""

    if not GUIDE.exists():
        skip = "docs/ is not beside the tests"

    def setUp(self) -> None:
        super().setUp()
        self.words = acl_line("all that Taba needs on a shard")
        self.reactor = ShiftedReactor()
        self.reactor.startRunning(installSignalHandlers=False)
        self.addCleanup(self.end_reactor)

    def end_reactor(self) -> None:
        self.reactor.stop()
        self.reactor.iterate(0)
        self.reactor.disconnectAll()

    def guarded(self, name: str = "guarded", *settings: str) -> RedisProcess:
        """A server whose only users are the guide's and an administrator."""
        users = (f"user taba {' '.join(self.words)}", "user default on >admin ~* &* +@all")
        return self.servers.server(name, *users, *settings, password=("admin",)).ready()

    def settings(self, redis: RedisProcess, **more: Any) -> DatabaseSettings:
        return DatabaseSettings(
            redis_url=f"redis://127.0.0.1:{redis.port}", vbuckets=2, key_prefix="taba:",
            redis_user="taba", redis_password="secret", **more,
        )  # fmt: skip

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

    def store(self, settings: DatabaseSettings) -> RedisStore:
        """A store that has started."""
        process = Process(self.reactor, time.time, random.Random(1), _none, _none, "host", lambda sentence: None)
        store = open_redis_store(settings, process, 14.0)
        self.get(store.startService())
        return store

    def use_all(self, store: RedisStore) -> None:
        """Every call of a store."""
        body = b"x" * 100
        batch = Append(0, "a" * 32, 1, 0, None, 0, 3, time.time(), 7, body)
        for each in (batch, batch, Append(0, "a" * 32, 1)):  # a batch, its duplicate, a look
            self.assertIs(self.get(store.append([each]))[0].verdict, Verdict.OK)
        # A batch that says that 5 events were before it, of which the store has 3: 2 are lost.
        late = Append(0, "a" * 32, 2, 1, 7, 5, 1, time.time(), 8, body)
        self.assertIs(self.get(store.append([late]))[0].verdict, Verdict.OK)
        leases = self.get(store.acquire([0, 1], "me", 30.0))
        self.assertEqual(self.get(store.renew(list(leases.values()), 30.0)), {0, 1})
        loaded = self.get(store.load(leases[0]))
        self.assertEqual(len(self.get(store.read({0: 0}, 1 << 20, 0.1))), 2)
        self.checkpoint(store, leases[0], loaded)
        everything = Selection()
        rows: list[Any] = []
        self.get(store.each_state(everything, lambda page: rows.extend(page)))
        self.get(store.each_state(Selection(None, frozenset({"c"})), lambda page: rows.extend(page)))
        self.get(store.each_aggregate(everything, lambda page: rows.extend(page)))
        self.assertTrue(rows)
        self.assertEqual(self.get(store.tabs()), {"t": "Gauge"})
        self.assertEqual(self.get(store.clients(None)), {"c"})
        self.assertEqual(self.get(store.clients(frozenset({"t"}))), {"c"})
        self.assertEqual(self.get(store.states(0, [("t", "c")])), {("t", "c"): b"state"})
        self.assertEqual(self.get(store.aggregates(0, ["t"])), {"t": b"aggregate"})
        self.assertEqual(self.get(store.ledger())["lost"], 2)
        self.assertEqual(len(self.get(store.depth())), 1)
        (aside,) = self.get(store.aside(10))
        self.assertEqual(self.get(store.aside_of(0, [aside.id])), [aside])
        third = Checkpoint(
            leases[0], loaded.lineage, Position(1, 2), Position(1, 3), renames={"t": "r"}, refolded=[aside.id]
        )
        self.assertEqual(self.get(store.checkpoint([third])), [Written.DONE])
        self.assertEqual((self.get(store.tabs()), self.get(store.aside(10))), ({"r": "Gauge"}, []))
        self.get(store.publish("me", {"weight": 1}, 30.0))
        self.assertEqual(self.get(store.members()), {"me": {"weight": 1}})
        self.assertEqual(self.get(store.flush()), 1)
        self.get(store.prune(time.time() + 20 * DAY))
        self.get(store.release(list(leases.values())))

    def checkpoint(self, store: RedisStore, lease: Any, loaded: Any) -> None:
        """Two checkpoints: one that makes things, and one that takes some of them away."""
        aside = SetAside("undecodable", "t", "c", "Gauge", 1, b"partial")
        first = Checkpoint(
            lease,
            loaded.lineage,
            loaded.position,
            Position(1, 1),
            states={("t", "c"): b"state", ("u", "d"): b"state"},
            aggregates={"t": b"aggregate", "u": b"aggregate"},
            types={"t": "Gauge", "u": "Gauge"},
            ledger={"folded": 3},
            set_aside=[aside],
        )
        gone: dict[tuple[str, str], bytes | None] = {("u", "d"): None, ("u", RETIRED): None}
        second = Checkpoint(
            lease,
            loaded.lineage,
            Position(1, 1),
            Position(1, 2),
            states=gone,
            aggregates={"u": None},
            types={"u": None},
            ledger={"folded": 3},
        )
        for each in (first, second):
            self.assertEqual(self.get(store.checkpoint([each])), [Written.DONE])

    def assertNothingRefused(self, redis: RedisProcess) -> None:
        """Redis notes what it did not allow."""
        self.assertEqual(redis.ask("ACL", "LOG"), [])

    def used(self, redis: RedisProcess) -> set[str]:
        """The commands that were called since CONFIG RESETSTAT."""
        return {name.removeprefix("cmdstat_") for name in redis.fields("INFO", "commandstats") if "cmdstat_" in name}

    def test_line(self) -> None:
        """As that user a store does all that a store can do; each command of the line is one that it needs; and what is
        not in the line is refused.
        """
        redis = self.guarded()
        replica = self.guarded("replica", f"replicaof 127.0.0.1 {redis.port}", "masterauth admin")
        replica.wait_for(lambda: replica.fields("INFO", "replication")["master_link_status"] == "up", "follows")
        redis.ask("CONFIG", "RESETSTAT")
        settings = self.settings(redis, durability="replicated")
        store = self.store(settings)
        self.use_all(store)
        busy = self.store(settings)  # another one, that waits and is refused
        contested = [self.get(each.acquire([0], who, 30.0)) for each, who in ((store, "a"), (busy, "b"))]
        self.assertEqual([bool(each) for each in contested], [True, False])
        lease = contested[0][0]
        loaded = self.get(store.load(lease))
        stale = Checkpoint(lease, loaded.lineage, Position(0, 0), Position(0, 1), {("t", "c"): b"other"})
        self.assertEqual(self.get(store.checkpoint([stale])), [Written.STALE])
        for each in (store, busy):
            self.get(each.stopService())
        self.assertNothingRefused(redis)
        allowed = {word[1:] for word in self.words if word.startswith("+")}
        by_movers = {"unlink"}  # test_reshard.py moves vbuckets as that user
        self.assertEqual(allowed - self.used(redis), by_movers, "the line allows what nobody needs")
        as_taba = RedisProcess("as taba", redis.folder, [], port=redis.port, password=("taba", "secret"))
        refused: Sequence[tuple[str, ...]] = (
            ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("GET", "other"), ("SUBSCRIBE", "x"),
            ("FUNCTION", "FLUSH"), ("FUNCTION", "DELETE", "taba"), ("EVAL", "return 1", "0"), ("SHUTDOWN",),
        )  # fmt: skip
        for command in refused:
            self.assertIn("NOPERM", str(as_taba.ask(*command)), command)

    def test_server(self) -> None:
        """A whole server works as that user: it starts, takes events, folds, answers, and comes back after all its
        connections were cut, and after a restart; --check-config says what it was not allowed to see.
        """
        redis = self.guarded()
        database = {
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}", "NUM_VBUCKETS": 4, "KEY_PREFIX": "taba:",
            "REDIS_USER": "taba", "REDIS_PASSWORD": "secret",
        }  # fmt: skip
        config = {"DB_SETTINGS": database, "EMBEDDED_AGENT": True}
        server = self.stage.server(config=config)
        start_all(server)
        for turn in (1, 2, 3):
            self.assertEqual(server.post(counters("client", "used", [1, 2])).status, 200)
            server.wait_for_count("used", 2 * turn)
            self.assertIn("used: ", server.ask("/tabs").text)
            self.assertIn("(used, client): ", server.ask("/projection?client=client").text)
            if turn == 1:
                self.assertGreaterEqual(redis.ask("CLIENT", "KILL", "USER", "taba"), 4)
                server.wait_for(lambda: server.output().count("connected to its master") == 2, "connects again")
            else:
                server.stop()
                start_all(server)
        self.assertNothingRefused(redis)
        self.assertNotIn("secret", server.output())
        check: RealProcess = self.stage.command(
            "check", *TABA_SERVER, str(self.stage.settings("check", config)), "--check-config"
        )
        self.assertEqual(check.run(), 0, check.tail())
        self.assertIn("configuration may not be looked at (CONFIG GET)", check.output())

    def test_sentinel_line(self) -> None:
        """As the guide's user of a Sentinel the master is found, and followed when it is switched."""
        words = " ".join(acl_line("On a Sentinel"))
        users = (f"user taba {words}", "user default on nopass ~* &* +@all")
        master = self.servers.server("master").ready()
        replica = self.servers.server("replica", f"replicaof 127.0.0.1 {master.port}").ready()
        sentinel = self.servers.sentinel("sentinel", {"shard1": master}, 1, *users)
        cluster = Cluster({"shard1": [master, replica]}, [sentinel])
        cluster.settle()
        settings = {
            "SENTINELS": [list(sentinel.address)], "SHARDS": [{"shard_name": "shard1", "vbuckets": [0, 3]}],
            "NUM_VBUCKETS": 4, "SENTINEL_USER": "taba", "SENTINEL_PASSWORD": "secret",
        }  # fmt: skip
        server = self.stage.server(config={"DB_SETTINGS": settings, "EMBEDDED_AGENT": True})
        start_all(server)
        self.assertEqual(server.post(counters("client", "used", [1])).status, 200)
        server.wait_for_count("used", 1)
        self.assertEqual(sentinel.ask("SENTINEL", "FAILOVER", "shard1"), b"OK")
        where = f"127.0.0.1:{replica.port}"
        server.wait_for(lambda: where in server.ask("/status").text.split("replicas:")[0], "the new master")
        self.assertEqual(server.post(counters("client", "used", [1])).status, 200)
        server.wait_for_count("used", 2)
        self.assertEqual(sentinel.ask("ACL", "LOG"), [])


def _none(name: str) -> Any:
    raise AssertionError(f"the store needs no {name}")
