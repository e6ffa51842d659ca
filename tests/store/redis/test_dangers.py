"""What is said of settings of Redis that endanger data, and that nothing is said of good ones."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.store.redis.dangers import (
    Finding,
    SentinelFacts,
    ServerFacts,
    Wishes,
    lines,
    of_confirmation,
    of_names,
    of_sentinels,
    of_server,
    replica_output,
)
from taba.store.redis.durability import Level

CONFIG = {
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "stop-writes-on-bgsave-error": "yes",
    "min-replicas-to-write": "1",
    "min-replicas-max-lag": "3",
    "repl-backlog-size": "67108864",
    "repl-timeout": "4",
    "repl-ping-replica-period": "1",
    "client-output-buffer-limit": "normal 0 0 0 slave 536870912 268435456 60 pubsub 33554432 8388608 60",
}
"""As docs/redis/redis.conf has it."""
INFO = {
    "redis_version": "7.0.15",
    "slave0": "ip=10.0.0.2,port=6379,state=online,offset=1,lag=0",
    "slave1": "ip=10.0.0.3,port=6379,state=online,offset=1,lag=0",
}
WISHES = Wishes(Level.REPLICATED, 1, True, 3, 30.0)
ROW = {
    "ip": "10.0.0.1",
    "port": "6379",
    "flags": "master",
    "num-other-sentinels": "2",
    "quorum": "2",
    "down-after-milliseconds": "2000",
}


def server(wishes: Wishes = WISHES, info: dict[str, str] | None = None, **config: str) -> list[Finding]:
    """What is said of a master with some parameters other than good ones; in names `_` stands for `-`."""
    changed = {name.replace("_", "-"): value for name, value in config.items()}
    facts = ServerFacts("a at 10.0.0.1:6379", "a", True, INFO if info is None else info, {**CONFIG, **changed})
    return of_server(facts, wishes)


def sentinel(name: str = "s1", **row: str) -> SentinelFacts:
    """A Sentinel that knows the shard."""
    return SentinelFacts(name, "a", {**ROW, **{key.replace("_", "-"): value for key, value in row.items()}}, True)


class ServerTests(SynchronousTestCase):
    """One redis-server."""

    def assertSaid(self, findings: list[Finding], *words: str, grave: bool = False) -> None:
        """One thing is said, in these words."""
        self.assertEqual(len(findings), 1, findings)
        for each in words:
            self.assertIn(each, findings[0].text)
        self.assertEqual(findings[0].grave, grave)

    def test_good(self) -> None:
        """Nothing is said of a server as the guide has it."""
        self.assertEqual(server(), [])

    def test_each_parameter(self) -> None:
        """Each parameter that endangers data is named, with what to set."""
        small = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
        for parameter, value, remedy in (
            ("maxmemory_policy", "allkeys-lru", "set maxmemory-policy noeviction"),
            ("appendonly", "no", "whatever it has is gone when it stops: set appendonly yes"),
            ("appendfsync", "no", "set appendfsync everysec"),
            ("stop_writes_on_bgsave_error", "no", "set stop-writes-on-bgsave-error yes"),
            ("min_replicas_to_write", "0", "set min-replicas-to-write 1"),
            ("repl_backlog_size", "1048576", "repl-backlog-size is 1 MiB"),
            ("repl_ping_replica_period", "10", "set repl-ping-replica-period 1"),
            ("client_output_buffer_limit", small, "client-output-buffer-limit replica 512mb 256mb 60"),
        ):
            changed: dict[str, Any] = {parameter: value}
            self.assertSaid(server(**changed), remedy)

    def test_saves_without_append_only_file(self) -> None:
        """Snapshots alone are better than nothing, and said to be not enough."""
        self.assertSaid(server(appendonly="no", save="3600 1"), "since the last save")

    def test_unlimited_buffers(self) -> None:
        """0 is no limit, so nothing is too small."""
        self.assertEqual(server(client_output_buffer_limit="normal 0 0 0 slave 0 0 0 pubsub 0 0 0"), [])
        self.assertEqual(replica_output("replica 1 2 3"), (1, 2))
        self.assertIsNone(replica_output("normal 0 0 0"))

    def test_replicas(self) -> None:
        """No replica is a danger; with as many as are waited for, one that is away stops everything."""
        alone = {"redis_version": "7.0.15"}
        memory = evolve(WISHES, level=Level.MEMORY)
        self.assertSaid(server(memory, alone, min_replicas_to_write="0")[:1], "it has no replica", "start two")
        one = {**alone, "slave0": INFO["slave0"]}
        self.assertSaid(server(WISHES, one), "it has 1 replica, and an append waits for as many")
        self.assertEqual(server(memory, one), [])

    def test_nothing_would_be_acknowledged(self) -> None:
        """Fewer replicas than are waited for, or than the master wants, is an error."""
        wishes = evolve(WISHES, replicas=3)
        self.assertSaid(server(wishes), "2 replicas are connected, and every append waits for 3", grave=True)
        self.assertSaid(server(min_replicas_to_write="3"), "min-replicas-to-write is 3: it takes no writes", grave=True)

    def test_single_server(self) -> None:
        """Of a single server without Sentinels nothing is said about replication that it does not have."""
        wishes = Wishes(Level.MEMORY, 1, False, 0, 30.0)
        found = server(wishes, {}, min_replicas_to_write="0", repl_backlog_size="1048576", repl_timeout="60")
        self.assertSaid(found, "it has no replica")

    def test_not_allowed_to_see(self) -> None:
        """What may not be looked at is said to be so, with what would allow it."""
        facts = ServerFacts("a", "a", True, INFO, None)
        self.assertSaid(of_server(facts, WISHES), "CONFIG GET", "+config|get")

    def test_trouble(self) -> None:
        """Memory that is nearly full, and a disk that fails, are named before they stop everything."""
        self.assertSaid(server(info={**INFO, "used_memory": "90", "maxmemory": "100"}), "90% of maxmemory")
        failed = {**INFO, "aof_enabled": "1", "aof_last_write_status": "err"}
        self.assertSaid(server(info=failed), "append-only file failed")
        self.assertSaid(server(info={**INFO, "rdb_last_bgsave_status": "err"}), "last save to disk failed")

    def test_replica(self) -> None:
        """A replica, which may be master tomorrow, is held to the same, but for replicas of its own."""
        facts = ServerFacts("a", "a", False, {}, {**CONFIG, "appendonly": "no"})
        self.assertSaid(of_server(facts, WISHES), "appendonly is no")


class SentinelTests(SynchronousTestCase):
    """The Sentinels of one shard."""

    def said(self, *rows: SentinelFacts, sentinels: int = 3) -> list[tuple[str, bool]]:
        found = of_sentinels("a", rows, evolve(WISHES, sentinels=sentinels))
        return [(each.text, each.grave) for each in found]

    def test_good(self) -> None:
        """Three that agree, with a quorum of two, are as they should be."""
        self.assertEqual(self.said(sentinel("s1"), sentinel("s2"), sentinel("s3")), [])

    def test_too_few(self) -> None:
        """One is a danger."""
        ((text, grave),) = self.said(sentinel(num_other_sentinels="0", quorum="1"), sentinels=1)
        self.assertIn("1 Sentinel watches it", text)
        self.assertIn("run three", text)
        self.assertFalse(grave)

    def test_not_all_named(self) -> None:
        """Settings that name fewer than there are can take a minority for a majority."""
        ((text, _),) = self.said(sentinel(num_other_sentinels="4", quorum="3"))
        self.assertIn("5 Sentinels watch it, and SENTINELS names 3", text)

    def test_quorum(self) -> None:
        """A quorum that is not the majority is named, and one that can never come about."""
        self.assertIn("the majority of 3 Sentinels is 2: make it 2", self.said(sentinel(quorum="1"))[0][0])
        self.assertIn("no failover can ever begin: make it 2", self.said(sentinel(quorum="4"))[0][0])

    def test_unknown_shard(self) -> None:
        """A shard that none knows is an error; one that some know is a danger."""
        strange = SentinelFacts("s2", "a", None, True)
        self.assertTrue(self.said(strange)[0][1])
        ((text, grave),) = self.said(sentinel(), strange)
        self.assertIn("sentinel monitor a HOST PORT QUORUM", text)
        self.assertFalse(grave)

    def test_different_masters(self) -> None:
        """Names and addresses of one master are not the same word: no majority, an error."""
        names = [sentinel(f"s{i}", ip=host) for i, host in enumerate(("localhost", "127.0.0.1", "10.0.0.1"))]
        self.assertIn(True, [grave for text, grave in self.said(*names) if "announce-hostnames" in text])
        two = self.said(sentinel("s1"), sentinel("s2"), sentinel("s3", ip="localhost"))
        self.assertEqual([grave for text, grave in two if "announce-hostnames" in text], [False])

    def test_down(self) -> None:
        """A master that a Sentinel takes for down is named."""
        self.assertIn("it takes the master, 10.0.0.1:6379, for down", self.said(sentinel(flags="master,s_down"))[0][0])

    def test_names(self) -> None:
        """A Sentinel that does not resolve names must, where a replica has one."""
        info = {"slave0": "ip=replica.example.com,port=6379,state=online"}
        servers = [ServerFacts("a", "a", True, info, CONFIG)]
        deaf = evolve(sentinel(), resolves=False)
        (found,) = of_names([deaf], servers)
        self.assertIn("replica.example.com", found.text)
        self.assertIn("resolve-hostnames yes", found.text)
        self.assertEqual(of_names([sentinel()], servers), [])
        self.assertEqual(of_names([deaf], [ServerFacts("a", "a", True, INFO, CONFIG)]), [])


class ConfirmationTests(SynchronousTestCase):
    """The second look of agents comes after a replica that lacks something could have taken over."""

    def said(self, confirm: float, timeout: str = "4", down: str = "2000") -> list[Finding]:
        servers = [ServerFacts("a", "a", True, INFO, {**CONFIG, "repl-timeout": timeout})]
        rows = [sentinel(down_after_milliseconds=down)]
        return of_confirmation("a", servers, rows, evolve(WISHES, confirm_seconds=confirm))

    def test_bound(self) -> None:
        """It must be more than ten times down-after, repl-timeout and five seconds together."""
        self.assertEqual(self.said(29.1), [])
        self.assertEqual(len(self.said(29.0)), 1)

    def test_defaults_of_redis(self) -> None:
        """With Redis's defaults the sentence says what the settings would have to be."""
        (found,) = self.said(30.0, "60", "30000")
        self.assertIn("take over after 365 s", found.text)
        self.assertIn("AGENT_CONFIRM_SECONDS 366", found.text)


class LineTests(SynchronousTestCase):
    """How it is shown."""

    def test_once(self) -> None:
        """What is the same of several servers is told once, errors first."""
        found = [Finding("a", "it is x"), Finding("b", "it is y", grave=True), Finding("c", "it is x")]
        self.assertEqual(lines(found), ["Error: b: it is y.", "Warning: a, c: it is x."])
