"""Shards: links to the master, all together, under one lineage."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.store.redis.link import RedisRefused
from taba.store.redis.shard import IDLE_SECONDS, ROLES, Shard
from taba.testing.machine import machine_of
from tests.store.redis.peer import LINEAGE, OTHER_LINEAGE, SILENCE, Error
from tests.store.redis.scene import SHARD, Scene


class ShardCase(SynchronousTestCase):
    """A scene that is closed, and found clean, in the end."""

    sentinels = 3

    def setUp(self) -> None:
        self.scene = Scene(sentinels=self.sentinels)
        self.world = self.scene.world
        self.addCleanup(self.scene.close)

    def unavailable(self, shard: Shard) -> str:
        """What a caller hears."""
        with self.assertRaises(StoreUnavailable) as caught:
            shard.link("be")
        return str(caught.exception)


class OpenTests(ShardCase):
    """Links are there."""

    def test_all_roles(self) -> None:
        """Each role has a connection of its own, which says in CLIENT LIST whose it is."""
        shard = self.scene.opened()
        self.world.advance(0.5)
        self.assertEqual({self.scene.echo(shard.link(role)) for role in ROLES}, {b"there"})
        self.assertEqual(sorted(self.scene.redis[0].names), sorted(f"taba-{role}" for role in ROLES))
        self.assertEqual(self.scene.redis[0].connections, len(ROLES))

    def test_lineage(self) -> None:
        """The first 32 digits of master_replid, of the shard and of each link."""
        shard = self.scene.opened()
        self.assertEqual({shard.lineage, *(shard.link(role).lineage for role in ROLES)}, {LINEAGE})

    def test_before_the_first_link(self) -> None:
        """A caller hears that the master is being looked for."""
        shard = self.scene.start()
        self.assertIn("no master for 0.0 s", self.unavailable(shard))
        with self.assertRaises(StoreUnavailable):
            _ = shard.lineage

    def test_one_connection_under_another_lineage(self) -> None:
        """Links that do not lead into one history are not given out."""
        lineages = [LINEAGE, LINEAGE, OTHER_LINEAGE, LINEAGE]
        server, usual = self.scene.redis[0], self.scene.redis[0].usual

        def changing(conversation: Any, words: str) -> Any:
            if words == "INFO replication" and lineages:
                server.lineage = lineages.pop()
            return usual(conversation, words)

        self.patch(server, "usual", changing)
        shard = self.scene.start()
        self.world.run_until(lambda: any("lineage changed" in each for each in self.scene.said), 5.0)
        self.scene.wait_until_open(shard)
        self.assertEqual(shard.lineage, LINEAGE)

    def test_state(self) -> None:
        """/status says who the master is, who named it, and which replicas it has."""
        self.scene.redis[0].replicas = {"10.0.0.7": "online", "10.0.0.8": "wait_bgsave"}
        state = self.scene.opened().state()
        expected = {
            "shard": SHARD,
            "master": "redis-1:6379",
            "open": True,
            "vouched": True,
            "lineage": LINEAGE,
            "replicas": ["10.0.0.7:6379 online", "10.0.0.8:6379 wait_bgsave"],
            "failovers": 0,
            "problem": "",
        }
        self.assertEqual(expected, {key: value for key, value in state.items() if key in expected})

    def test_watchers_and_waiters(self) -> None:
        """Whoever watches is told of links that come and go, and finds them there, or gone; one that fails keeps nobody
        else from hearing.
        """
        shard = self.scene.start()
        seen: list[Any] = []
        shard.watch(self.fail_for_once)
        shard.watch(lambda: seen.append(shard.state()["open"]))
        self.scene.wait_until_open(shard)
        shard.lost("a test says so")
        self.assertEqual(seen, [True, False])
        self.assertEqual(len(self.world.flush_logged(ZeroDivisionError)), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def fail_for_once(self) -> None:
        """A callback with a defect."""
        raise ZeroDivisionError

    def test_waiter_may_be_cancelled(self) -> None:
        """Nobody is told then."""
        shard = self.scene.start()
        waiting = shard.when_open()
        waiting.addErrback(lambda failure: None)
        waiting.cancel()
        self.scene.wait_until_open(shard)

    def test_stopping_fails_waiters(self) -> None:
        """A caller that waits for links hears that there will be none."""
        self.scene.redis[0].node.crash()  # type: ignore[union-attr]
        shard = self.scene.start()
        waiting = shard.when_open()
        self.world.advance(1.0)
        self.scene.app.stop()
        self.failureResultOf(waiting, StoreUnavailable)


class LostTests(ShardCase):
    """Links end together, and come again."""

    def test_one_ends_all(self) -> None:
        """When one connection is lost, all are, with the calls under way; then all are opened again."""
        shard = self.scene.opened()
        self.scene.redis[0].replies["HANG"] = SILENCE
        old = [shard.link(role) for role in ROLES]
        waiting = old[1].call("HANG", timeout=None)
        self.world.advance(0.1)
        conversation = next(iter(self.scene.redis[0].conversations))
        assert conversation.transport is not None
        conversation.transport.loseConnection()
        self.assertIsInstance(self.scene.outcome(waiting), StoreUnavailable)
        self.assertEqual([link.alive for link in old], [False] * 4)
        self.assertLess(self.scene.wait_until_open(shard), 0.5)
        self.assertEqual(self.scene.echo(shard.link("be")), b"there")

    def test_restart_is_another_lineage(self) -> None:
        """A master that is back is a failover: whatever was kept of it is void."""
        shard = self.scene.opened()
        self.scene.redis[0].node.crash()  # type: ignore[union-attr]
        self.scene.wait_until_lost(shard)
        self.world.advance(1.0)
        self.assertIn("connection is refused", self.unavailable(shard))
        self.scene.redis[0].lineage = OTHER_LINEAGE
        self.scene.redis[0].on(self.scene.redis[0].node)  # type: ignore[arg-type]
        self.scene.wait_until_open(shard)
        self.assertEqual((shard.lineage, shard.failovers), (OTHER_LINEAGE, 1))

    def test_new_lineage_without_a_loss(self) -> None:
        """A server that begins another history under open connections is found out within a second or two."""
        shard = self.scene.opened()
        self.scene.redis[0].lineage = OTHER_LINEAGE
        self.assertLess(self.scene.wait_until_lost(shard), IDLE_SECONDS + 1.0)
        self.scene.wait_until_open(shard)
        self.assertEqual((shard.lineage, shard.failovers), (OTHER_LINEAGE, 1))

    def test_demoted(self) -> None:
        """A server that turns out to be a replica is left, and not taken again while it is one."""
        shard = self.scene.opened()
        self.scene.redis[0].role = "slave"
        self.scene.wait_until_lost(shard)
        self.world.advance(3.0)
        self.assertIn("redis-1:6379 is not a master: it says that it is a slave", self.unavailable(shard))
        self.assertLess(self.scene.redis[0].connections, 50)
        self.scene.redis[0].role = "master"
        self.assertLess(self.scene.wait_until_open(shard), 1.5)

    def test_readonly_reply(self) -> None:
        """The reply READONLY to any call closes all links; the call fails with it."""
        shard = self.scene.opened()
        self.scene.redis[0].replies["SET a b"] = Error("READONLY You can't write against a read only replica.")
        refused = self.scene.outcome(shard.link("be").call("SET", "a", "b"))
        self.assertIsInstance(refused, RedisRefused)
        self.assertIn("READONLY", self.unavailable(shard))

    def test_hung_master(self) -> None:
        """A server that takes connections and does not answer is found by the look at idle links."""
        shard = self.scene.opened()
        self.scene.redis[0].hung = True
        self.assertLess(self.scene.wait_until_lost(shard), 3.5)
        self.world.advance(10.0)
        self.assertIn("no answer to", self.unavailable(shard))
        self.assertLessEqual(len(self.scene.redis[0].conversations), 2 * len(ROLES))
        self.scene.redis[0].go_on()
        self.scene.wait_until_open(shard)

    def test_silent_loss(self) -> None:
        """A cut network is no reason to wait for ever."""
        shard = self.scene.opened()
        self.world.network.partition("app", "redis-1")
        self.assertLess(self.scene.wait_until_lost(shard), 3.5)
        self.world.advance(2.0)
        self.world.network.heal()
        self.assertLess(self.scene.wait_until_open(shard), 3.0)

    def test_lost_by_a_caller(self) -> None:
        """Whoever saw that something is wrong closes the links; with an old link, nothing happens to the new ones."""
        shard = self.scene.opened()
        old = shard.link("be")
        shard.lost("the answer is of another lineage", old)
        self.assertIn("the answer is of another lineage", self.unavailable(shard))
        self.scene.wait_until_open(shard)
        shard.lost("the answer is of another lineage", old)
        self.assertTrue(shard.link("be").alive)

    def test_looks_do_not_disturb_transactions(self) -> None:
        """Between MULTI and EXEC nothing but the caller's commands is sent."""
        shard = self.scene.opened()
        server = self.scene.redis[0]
        for word in ("MULTI", "EXEC"):
            server.replies[word] = b"OK"
        link = shard.link("be")
        self.world.result_of(link.call("MULTI"))
        self.world.advance(5 * IDLE_SECONDS)
        self.world.result_of(link.call("EXEC"))
        self.world.advance(5 * IDLE_SECONDS)
        (commands,) = [each.commands for each in server.conversations if b"MULTI" in each.commands]
        until = commands.index(b"EXEC")
        self.assertEqual(commands[commands.index(b"MULTI") + 1 : until], [])
        self.assertGreaterEqual(commands[until:].count(b"INFO"), 4)


class FixedTests(ShardCase):
    """A single server, without Sentinels."""

    sentinels = 0

    def test_always_vouched(self) -> None:
        """There is no other to doubt it for, whether it can be reached or not."""
        shard = self.scene.opened()
        before = shard.vouched()
        self.scene.redis[0].node.crash()  # type: ignore[union-attr]
        self.scene.wait_until_lost(shard)
        self.assertEqual((before, shard.vouched()), (True, True))

    def test_back_after_a_long_time(self) -> None:
        """It is tried about once a second, and found soon after it is back."""
        shard = self.scene.opened()
        self.scene.redis[0].node.crash()  # type: ignore[union-attr]
        self.scene.wait_until_lost(shard)
        self.world.advance(600.0)
        self.assertIn("(no master for 600.", self.unavailable(shard))
        self.scene.redis[0].on(self.scene.redis[0].node)  # type: ignore[arg-type]
        self.assertLess(self.scene.wait_until_open(shard), 1.5)

    def test_host_without_a_name(self) -> None:
        """A name that cannot be resolved is said to be unknown."""
        shard = Shard("lonely", self.machine(), source=("nowhere", 6379))
        shard.startService()
        self.world.advance(1.0)
        with self.assertRaises(StoreUnavailable) as caught:
            shard.link("be")
        self.assertIn("shard lonely at nowhere:6379: the name is not known", str(caught.exception))
        self.world.result_of(shard.stopService())

    def machine(self) -> Any:
        """Of the process of the scene."""
        self.scene.start()
        assert self.scene.app.process is not None
        return machine_of(self.scene.app.process)


GLOBAL_REACTOR = """
from twisted.internet.main import installReactor

class Forbidden:
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        def refuse(*arguments, **named):
            raise AssertionError(f"the global reactor was asked for {name}")
        return refuse
    def getDelayedCalls(self):
        return []

installReactor(Forbidden())
from tests.store.redis.scene import Scene
scene = Scene()
shard = scene.opened()
scene.echo(shard.link("be"))
scene.redis[0].node.crash()
scene.wait_until_lost(shard)
scene.fail_over()
scene.wait_until_open(shard)
scene.redis[1].hung = True
scene.wait_until_lost(shard)
scene.redis[1].go_on()
scene.wait_until_open(shard)
scene.close()
print("done")
"""


class GlobalReactorTests(SynchronousTestCase):
    """All time and all connections come from the reactor that is passed in."""

    def test_never_used(self) -> None:
        """A failover runs in a program whose global reactor refuses everything."""
        ended = subprocess.run(
            [sys.executable, "-c", GLOBAL_REACTOR],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        self.assertEqual((ended.stdout, ended.returncode), ("done\n", 0), ended.stderr)
