"""Sentinels: the master is whom a majority of them names."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.errors import SettingsError, StoreUnavailable
from taba.store.redis.access import Access, Address
from taba.store.redis.following import STEADY_SECONDS, VOUCH_SECONDS
from taba.store.redis.sentinel import SENTINEL_ACCESS, Sentinels
from taba.store.redis.shard import Shard
from tests.store.redis.peer import Error
from tests.store.redis.scene import SHARD, Scene


class SentinelCase(SynchronousTestCase):
    """A scene that is closed, and found clean, in the end."""

    def make(self, **arguments: Any) -> Scene:
        """A scene."""
        scene = Scene(**arguments)
        self.addCleanup(scene.close)
        return scene

    def setUp(self) -> None:
        self.scene = self.make()
        self.world = self.scene.world

    def unavailable(self, shard: Shard) -> str:
        """What a caller hears."""
        with self.assertRaises(StoreUnavailable) as caught:
            shard.link("be")
        return str(caught.exception)

    def crash(self, *nodes: str) -> None:
        """Kill processes."""
        for each in nodes:
            self.world.nodes[each].crash()


class FailoverTests(SentinelCase):
    """Another master."""

    def test_killed_master(self) -> None:
        """The links come back at the new master as soon as the Sentinels have named it."""
        shard = self.scene.opened()
        self.crash("redis-1")
        self.scene.wait_until_lost(shard)
        self.world.advance(2.0)
        self.scene.fail_over(announced=False)
        self.assertLess(self.scene.wait_until_open(shard), 0.7)
        self.assertEqual((shard.link("be").address, shard.failovers), ("redis-2:6379", 1))

    def test_announced_switch(self) -> None:
        """Links to a master that was replaced end with the announcement, though it still answers."""
        shard = self.scene.opened()
        self.world.advance(5 * STEADY_SECONDS)
        self.scene.fail_over()
        self.world.run_until(lambda: shard.state()["master"] == "redis-2:6379", 0.7)
        self.scene.wait_until_open(shard, 0.7)
        self.assertEqual(shard.link("be").address, "redis-2:6379")

    def test_announced_by_one_first(self) -> None:
        """The others learn of it a little later, and are asked often until then."""
        shard = self.scene.opened()
        self.world.advance(5 * STEADY_SECONDS)
        first, second, _ = self.scene.sentinels
        first.switch(SHARD, self.scene.addresses[1])
        self.world.advance(1.5)
        before = shard.link("be").address
        second.masters[SHARD] = self.scene.addresses[1]
        self.world.run_until(lambda: shard.state()["master"] == "redis-2:6379", 0.5)
        self.scene.wait_until_open(shard)
        self.assertEqual(before, "redis-1:6379")

    def test_unannounced_switch(self) -> None:
        """Without the announcement it takes a turn of the questions."""
        shard = self.scene.opened()
        self.scene.fail_over(announced=False)
        self.world.run_until(lambda: shard.state()["master"] == "redis-2:6379", 2 * STEADY_SECONDS)
        self.scene.wait_until_open(shard)

    def test_announcement_alone_moves_nothing(self) -> None:
        """An announcement is only a reason to ask: here the Sentinels still name the same master, and the links are
        looked at again."""
        shard = self.scene.opened()
        self.world.advance(3.0)
        before = self.scene.redis[0].commands("INFO")
        self.scene.sentinels[1].switch(SHARD, self.scene.addresses[0])
        self.world.advance(0.4)
        self.assertGreaterEqual(self.scene.redis[0].commands("INFO") - before, 4)
        self.assertEqual(shard.link("be").address, "redis-1:6379")

    def test_minority_moves_nothing(self) -> None:
        """One Sentinel of three that names another master is not followed."""
        shard = self.scene.opened()
        self.scene.sentinels[0].switch(SHARD, self.scene.addresses[1])
        self.world.advance(10.0)
        self.assertEqual((shard.link("be").address, shard.vouched()), ("redis-1:6379", True))

    def test_named_before_it_is_a_master(self) -> None:
        """A server that is named and still a replica is tried until it is promoted."""
        shard = self.scene.opened()
        self.scene.redis[1].role = "slave"
        self.crash("redis-1")
        self.scene.fail_over()
        self.world.advance(2.0)
        self.assertIn("is not a master", self.unavailable(shard))
        self.scene.redis[1].role = "master"
        self.assertLess(self.scene.wait_until_open(shard), 1.5)

    def test_old_master_returns_as_a_master(self) -> None:
        """It is not connected to, for nobody names it."""
        shard = self.scene.opened()
        self.crash("redis-1")
        self.scene.fail_over()
        self.scene.wait_until_open(shard)
        self.scene.redis[0].on(self.world.nodes["redis-1"])
        self.scene.redis[0].connections = 0
        self.world.advance(20.0)
        self.assertEqual((shard.link("be").address, self.scene.redis[0].connections), ("redis-2:6379", 0))

    def test_attempt_at_a_hung_master_is_given_up(self) -> None:
        """Connections that are being opened to one that does not answer do not hold up those to its successor."""
        self.scene.redis[0].hung = True
        shard = self.scene.start()
        self.world.advance(0.5)
        self.scene.fail_over()
        self.assertLess(self.scene.wait_until_open(shard), 0.7)


class VouchTests(SentinelCase):
    """Whether a majority named this very master, a few seconds ago at most."""

    def test_majority_goes_away(self) -> None:
        """The links stay, but are not vouched for when VOUCH_SECONDS are over; then again, when one is back."""
        shard = self.scene.opened()
        self.world.advance(1.0)
        self.crash("sentinel-1", "sentinel-3")
        self.world.advance(VOUCH_SECONDS - 1.5)
        soon = shard.vouched()
        self.world.advance(2.0)
        self.assertEqual((soon, shard.vouched(), shard.link("be").alive), (True, False, True))
        self.scene.sentinels[2].on(self.world.nodes["sentinel-3"], 26379)
        self.world.advance(2.0)
        self.assertTrue(shard.vouched())

    def test_sentinels_that_hang(self) -> None:
        """What they were asked and have not answered vouches for nothing, even when the answer comes later."""
        shard = self.scene.opened()
        for each in self.scene.sentinels[:2]:
            each.hung = True
        self.world.advance(VOUCH_SECONDS + 1.0)
        self.assertFalse(shard.vouched())

    def test_other_master_named(self) -> None:
        """While the links lead to one that is not named any more, they are not vouched for: there are none."""
        shard = self.scene.opened()
        self.scene.redis[1].hung = True
        self.scene.fail_over()
        self.world.advance(1.0)
        self.assertFalse(shard.vouched())
        self.scene.redis[1].go_on()
        self.scene.wait_until_open(shard)
        self.assertTrue(shard.vouched())

    def test_old_master_behind_a_cut(self) -> None:
        """A process cut off together with the old master and one Sentinel goes on, but not vouched for."""
        shard = self.scene.opened()
        for other in ("sentinel-2", "sentinel-3", "redis-2"):
            self.world.network.partition("app", other)
        for each in self.scene.sentinels[1:]:
            each.switch(SHARD, self.scene.addresses[1])
        self.world.advance(VOUCH_SECONDS + 1.0)
        self.assertEqual((shard.link("be").address, shard.vouched()), ("redis-1:6379", False))
        self.world.network.heal()
        self.world.run_until(lambda: shard.state()["master"] == "redis-2:6379" and shard.vouched(), 5.0)


class TroubleTests(SentinelCase):
    """Sentinels that do not answer, or not what is wanted."""

    def test_one_down_costs_nothing(self) -> None:
        """The master is found, and followed, by the other two, just as fast."""
        self.crash("sentinel-2")
        shard = self.scene.start()
        self.assertLess(self.scene.wait_until_open(shard), 0.7)
        self.world.advance(60.0)
        self.crash("redis-1")
        self.scene.fail_over()
        self.assertLess(self.scene.wait_until_open(shard), 1.0)

    def test_one_unreachable(self) -> None:
        """No more than one connection is tried at a time, about one a second."""
        self.world.network.partition("app", "sentinel-2")
        shard = self.scene.opened()
        self.world.advance(60.0)
        self.assertTrue(shard.vouched())
        assert self.scene.source is not None
        self.assertIn("no connection within 1 s", self.scene.source.state()[1]["problem"])

    def test_hung_one_is_not_flooded(self) -> None:
        """One question at a time lies with a Sentinel that hangs; it is asked again when it goes on."""
        shard = self.scene.opened()
        self.scene.sentinels[1].hung = True
        self.crash("redis-1")
        most = 0
        for _ in range(100):
            self.world.advance(0.2)
            most = max(most, len(self.scene.sentinels[1].conversations))
        self.assertLessEqual(most, 3)
        self.scene.sentinels[1].go_on()
        self.scene.fail_over()
        self.scene.wait_until_open(shard)
        self.world.advance(3.0)
        self.assertEqual(len(shard.state()["named_by"]), 3)  # type: ignore[arg-type]

    def test_none_reachable(self) -> None:
        """Said in words, with what is wrong with each."""
        self.crash("sentinel-1", "sentinel-2", "sentinel-3")
        shard = self.scene.start()
        self.world.advance(3.0)
        said = self.unavailable(shard)
        self.assertIn(
            "shard shard1: none of the 3 Sentinels answers (Sentinel at sentinel-1:26379: the connection", said
        )
        self.assertIn("no master for 3.0 s", said)

    def test_fewer_than_a_majority(self) -> None:
        """One of three is not enough to connect to anything."""
        self.crash("sentinel-1", "sentinel-2")
        shard = self.scene.start()
        self.world.advance(3.0)
        self.assertIn("only 1 of 3 Sentinels answer; 2 must name the master", self.unavailable(shard))
        self.assertEqual(self.scene.redis[0].connections, 0)

    def test_unknown_shard(self) -> None:
        """The setting to check is named, and what the Sentinels know."""
        scene = self.make(shards=("shard1", "shrad2"))
        scene.opened()
        scene.world.advance(2.0)
        wanted = "SENTINEL knows no master named shrad2: check SHARDS[1].shard_name; it knows: shard1"
        self.assertIn(wanted, self.unavailable(scene.shards["shrad2"]))
        for each in scene.sentinels:
            each.masters["shrad2"] = scene.addresses[1]
        self.assertLess(scene.wait_until_open(scene.shards["shrad2"]), 1.0)

    def test_wrong_password_of_a_sentinel(self) -> None:
        """Said with the setting to check, and tried again slowly; the others suffice."""
        self.scene.sentinels[0].password = (b"secret",)
        shard = self.scene.opened()
        self.world.advance(60.0)
        wanted = (
            "Sentinel at sentinel-1:26379 asks for a password (NOAUTH Authentication required.): set SENTINEL_PASSWORD."
        )
        self.assertEqual([each for each in self.scene.said if "sentinel-1" in each], [wanted])
        self.assertLess(self.scene.sentinels[0].connections, 40)
        self.assertEqual(shard.state()["named_by"], ["sentinel-2:26379", "sentinel-3:26379"])

    def test_password(self) -> None:
        """Sentinels have a user and a password of their own."""
        access = Access("taba", "secret", None, "SENTINEL_USER", "SENTINEL_PASSWORD")
        scene = self.make(sentinel_access=access)
        for each in scene.sentinels:
            each.password = (b"taba", b"secret")
        shard = scene.opened()
        scene.world.advance(1.0)
        self.assertEqual(len(shard.state()["named_by"]), 3)  # type: ignore[arg-type]

    def test_not_a_sentinel(self) -> None:
        """A Redis server in its place is told from one."""
        self.scene.sentinels[0].replies.update(
            {f"SENTINEL GET-MASTER-ADDR-BY-NAME {SHARD}": Error("ERR unknown command 'SENTINEL'")}
        )
        self.scene.opened()
        self.world.advance(1.0)
        self.assertTrue(any("Sentinel at sentinel-1:26379 is none (ERR" in each for each in self.scene.said))

    def test_nonsense_instead_of_an_address(self) -> None:
        """Is no vote, and no defect."""
        self.scene.sentinels[0].replies[f"SENTINEL GET-MASTER-ADDR-BY-NAME {SHARD}"] = [b"host", b"no port"]
        shard = self.scene.opened()
        self.world.advance(1.0)
        self.assertNotIn("sentinel-1:26379", shard.state()["named_by"])

    def test_subscription_refused(self) -> None:
        """Switches are found by asking, then; nobody is bothered."""
        for each in self.scene.sentinels:
            each.replies["SUBSCRIBE +switch-master"] = Error("NOPERM this user has no permissions")
        shard = self.scene.opened()
        self.scene.fail_over()
        self.world.run_until(lambda: shard.state()["master"] == "redis-2:6379", 2 * STEADY_SECONDS)
        self.scene.wait_until_open(shard)
        self.assertFalse(any("NOPERM" in each for each in self.scene.said))

    def test_more_sentinels_than_in_the_settings(self) -> None:
        """The operator is told once: a majority of those named may be a minority of all."""
        for each in self.scene.sentinels:
            each.sentinels = 5
        self.scene.opened()
        self.world.advance(10.0)
        warnings = [each for each in self.scene.said if "watched by 5 Sentinels, and SENTINELS names 3" in each]
        self.assertEqual(len(warnings), 1)

    def test_back_again(self) -> None:
        """The operator is told of the loss and of the return of a Sentinel, once each."""
        self.scene.opened()
        self.crash("sentinel-1")
        self.world.advance(30.0)
        self.scene.sentinels[0].on(self.world.nodes["sentinel-1"], 26379)
        self.world.advance(3.0)
        self.assertEqual(len([each for each in self.scene.said if "sentinel-1" in each]), 2)
        self.assertIn("Sentinel at sentinel-1:26379: it answers again.", self.scene.said)


class RhythmTests(SentinelCase):
    """How often Sentinels are asked."""

    def questions(self, seconds: float) -> float:
        """To the first Sentinel, per second."""
        del self.scene.sentinels[0].asked[:]
        self.world.advance(seconds)
        return self.scene.sentinels[0].commands("SENTINEL") / seconds

    def test_steady(self) -> None:
        """About once a second while all is well, by one connection that is kept."""
        self.scene.opened()
        self.world.advance(5.0)
        before = self.scene.sentinels[0].connections
        rate = self.questions(60.0)
        self.assertTrue(1.0 < rate < 1.2, rate)
        self.assertEqual((before, self.scene.sentinels[0].connections), (2, 2))

    def test_hurried(self) -> None:
        """Five to ten times a second while there is no master."""
        shard = self.scene.opened()
        self.crash("redis-1")
        self.scene.wait_until_lost(shard)
        rate = self.questions(10.0)
        self.assertTrue(5.0 < rate < 11.0, rate)


class StopTests(SentinelCase):
    """The end of the asking."""

    def test_stopped_by_whom_an_answer_was_told(self) -> None:
        """Whoever hears of a master may stop it at once: it ends, though it is just then at work."""
        self.scene.opened()
        source: Any = self.scene.source
        stopped: list[Any] = []
        source.follow("another", lambda: None)  # nobody names this one, so that every answer is told
        source.follow(SHARD, lambda: stopped.append(source.stopService()) if not stopped else None)
        source.hurry(SHARD, True)
        self.world.run_until(lambda: stopped, 5.0)
        self.scene.outcome(stopped[0], 3.0)


class SettingsTests(SynchronousTestCase):
    """What SENTINELS may say."""

    def test_twice(self) -> None:
        """A Sentinel that is named twice would have two voices."""
        with self.assertRaisesRegex(SettingsError, "SENTINELS names a:26379 twice"):
            Sentinels([("a", 26379), ("b", 26379), ("a", 26379)], None, SENTINEL_ACCESS)  # type: ignore[arg-type]

    def test_none(self) -> None:
        """There must be one."""
        with self.assertRaises(SettingsError):
            Sentinels([], None)  # type: ignore[arg-type]

    def test_addresses(self) -> None:
        """IPv6 addresses are written so that their port can be told."""
        self.assertEqual((str(Address("::1", 1)), str(Address("h", 2))), ("[::1]:1", "h:2"))
