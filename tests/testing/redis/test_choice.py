"""Which replica sentinels promote."""

from __future__ import annotations

from taba.testing import World
from tests.testing.redis.shard import NAME, SentinelTestCase


class ChoiceTests(SentinelTestCase):
    """Which replica is promoted."""

    def test_offset(self) -> None:
        """The one that has more."""
        for behind in (0, 1):
            with World(seed=behind) as world:
                self.world = world
                self.build(world)
                self.others[behind].cut_link()
                self.master.ask("SET", "a", 1)
                world.advance(2)
                self.master.kill()
                self.wait_for_switch()
                self.assertIs(self.new_master(), self.others[1 - behind])

    def test_priority(self) -> None:
        """A lower priority number comes before a higher offset; 0 is never promoted."""
        self.others[0].engine.configure({"replica-priority": "10"})
        self.others[0].lag = 1.0
        self.world.advance(12)
        self.master.kill()
        self.wait_for_switch()
        self.assertIs(self.new_master(), self.others[0])

    def test_priority_zero(self) -> None:
        """With only replicas of priority 0 there is no failover."""
        for each in self.others:
            each.engine.configure({"replica-priority": "0"})
        self.world.advance(12)
        self.master.kill()
        self.world.advance(30)
        self.assertGreater(len(self.when("-failover-abort-no-good-slave")), 0)
        self.assertEqual({host for host, _port in self.named()}, {self.master.host})

    def test_long_cut_off(self) -> None:
        """Replicas that were cut off for more than ten times down-after before the master went are passed over."""
        for each in self.others:
            each.cut_link()
        self.world.advance(30)
        self.master.kill()
        self.world.advance(15)
        self.assertGreater(len(self.when("-failover-abort-no-good-slave")), 0)
        self.assertEqual({host for host, _port in self.named()}, {self.master.host})

    def test_silently_cut_off(self) -> None:
        """A replica that is cut off in silence calls itself connected until repl-timeout, and may be promoted."""
        self.others[1].kill()
        self.world.network.partition("redis-1", "redis-2")
        self.world.advance(2)
        self.master.ask("SET", "a", "lost")
        self.master.kill()
        self.wait_for_switch()
        self.assertEqual((self.new_master(), self.new_master().ask("GET", "a")), (self.others[0], None))

    def test_chosen_by_force(self) -> None:
        """A replica that lags can be promoted though it should not: what it lacks is lost."""
        lagging = self.others[1]
        client = self.client(self.master)
        client.do("SET", "a", "kept")
        client.do("WAIT", 2, 0)
        lagging.lag = 30.0
        client.do("SET", "a", "lost")
        self.assertEqual(client.do("WAIT", 1, 1000), 1)
        self.sentinels[0].fail_over(NAME, lagging)
        self.assertRaises(ValueError, self.sentinels[0].fail_over, NAME, lagging)
        self.wait_for_switch()
        self.world.advance(30)
        self.assertIs(self.new_master(), lagging)
        self.assertEqual([each.ask("GET", "a") for each in self.servers], [b"kept"] * 3)

    def test_unknown_choice(self) -> None:
        """A server that is no replica cannot be chosen."""
        stranger = self.server("stranger")
        self.assertRaises(ValueError, self.sentinels[0].fail_over, NAME, stranger)
