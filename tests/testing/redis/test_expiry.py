"""Keys that expire, by the wall clock of the machine."""

from __future__ import annotations

from tests.testing.redis.talk import RedisTestCase


class ExpiryTests(RedisTestCase):
    """A master and a replica."""

    def setUp(self) -> None:
        super().setUp()
        self.master, self.replica = self.pair()
        self.one = self.client(self.master)

    def test_lease(self) -> None:
        """A key with PX is there until its time, and can be taken again afterwards."""
        self.one.do("SET", "lease", "me", "NX", "PX", 2000)
        self.world.advance(1)
        self.assertIsNone(self.one.do("SET", "lease", "you", "NX", "PX", 2000))
        self.assertEqual(self.one.do("PEXPIRE", "lease", 2000), 1)
        self.world.advance(1.5)
        self.assertEqual(self.one.do("GET", "lease"), b"me")
        self.world.advance(1)
        self.assertEqual(self.one.do("SET", "lease", "you", "NX", "PX", 2000), b"OK")

    def test_removed_without_being_asked_for(self) -> None:
        """An expired key goes by itself, on the replica too: its master says so."""
        self.one.do("SET", "a", 1, "PX", 500)
        self.one.do("SET", "b", 1)
        self.world.advance(2)
        self.assertEqual((self.one.do("DBSIZE"), self.replica.ask("DBSIZE")), (1, 1))

    def test_replica_shows_no_expired_key(self) -> None:
        """A replica that its master cannot reach does not show the key, and keeps it until it hears of its end."""
        self.one.do("SET", "a", 1, "PX", 500)
        self.one.do("WAIT", 1, 0)
        self.replica.cut_link()
        self.world.advance(2)
        there = self.client(self.replica)
        self.assertEqual((there.do("GET", "a"), there.do("DBSIZE")), (None, 1))
        self.replica.join_link()
        self.world.advance(3)
        self.assertEqual(there.do("DBSIZE"), 0)

    def test_deadline_is_absolute_on_the_replica(self) -> None:
        """A replica that lags does not let a key live longer."""
        self.replica.lag = 3.0
        self.one.do("SET", "a", 1, "PX", 5000)
        self.world.advance(4)
        self.replica.promote()
        self.assertEqual(self.replica.ask("EXISTS", "a"), 1)
        self.world.advance(1.5)
        self.assertEqual(self.replica.ask("EXISTS", "a"), 0)

    def test_wall_clock_steps(self) -> None:
        """The wall clock decides: forward, keys expire early; back, they live on."""
        self.one.do("SET", "a", 1, "PX", 60_000)
        self.one.do("SET", "b", 1, "PX", 600_000)
        self.master.node.step_wall(120)
        self.assertEqual((self.one.do("GET", "a"), self.one.do("GET", "b")), (None, b"1"))
        self.master.node.step_wall(-3600)
        self.world.advance(1000)
        self.assertEqual(self.one.do("GET", "b"), b"1")

    def test_restart_keeps_deadlines(self) -> None:
        """A restarted server lets keys expire at their time, not later."""
        self.one.do("SET", "a", 1, "PX", 10_000)
        self.master.kill()
        self.world.advance(8)
        self.master.restart()
        self.assertEqual(self.master.ask("GET", "a"), b"1")
        self.world.advance(3)
        self.assertIsNone(self.master.ask("GET", "a"))
