"""MULTI, EXEC and WATCH: the guarded commit."""

from __future__ import annotations

from tests.testing.redis.talk import RedisTestCase


class TransactionTests(RedisTestCase):
    """Two clients of one server."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = self.server("redis")
        self.one, self.two = self.client(self.redis), self.client(self.redis)

    def test_all_or_nothing(self) -> None:
        """A watched key that another has changed makes EXEC answer nil, and nothing has happened."""
        self.one.do("SET", "q", 1)
        self.one.do("WATCH", "q")
        self.two.do("SET", "q", 2)
        self.assertEqual([self.one.do("MULTI"), self.one.do("SET", "a", 1)], [b"OK", b"QUEUED"])
        self.assertIsNone(self.one.do("EXEC"))
        self.assertEqual(self.one.do("EXISTS", "a"), 0)

    def test_nothing_changed(self) -> None:
        """Without a change it runs, and nobody sees the half of it."""
        self.one.do("WATCH", "q")
        for argv in (("MULTI",), ("SET", "a", 1), ("INCR", "a"), ("GET", "a")):
            self.one.do(*argv)
        self.assertIsNone(self.two.do("GET", "a"))
        self.assertEqual(self.one.do("EXEC"), [b"OK", 2, b"2"])

    def test_expiry_spoils(self) -> None:
        """A watched lease that runs out before EXEC counts as changed."""
        self.one.do("SET", "lease", "me", "PX", 1000)
        self.one.do("WATCH", "lease")
        self.world.advance(2)
        self.one.do("MULTI")
        self.one.do("SET", "a", 1)
        self.assertIsNone(self.one.do("EXEC"))

    def test_expired_before(self) -> None:
        """A key that was gone already when it was watched spoils nothing by staying away."""
        self.one.do("SET", "lease", "me", "PX", 1000)
        self.world.advance(2)
        self.one.do("WATCH", "lease")
        self.one.do("MULTI")
        self.one.do("SET", "a", 1)
        self.assertEqual(self.one.do("EXEC"), [b"OK"])

    def test_refused_command_spoils_the_whole(self) -> None:
        """EXEC after a refused command refuses all."""
        self.one.do("MULTI")
        self.one.error("NOSUCH")
        self.one.do("SET", "a", 1)
        self.assertEqual(self.one.error("EXEC"), "EXECABORT Transaction discarded because of previous errors.")
        self.assertEqual(self.one.do("EXISTS", "a"), 0)

    def test_failing_command_fails_alone(self) -> None:
        """A command that fails inside EXEC takes nothing else with it."""
        self.one.do("SET", "s", "text")
        for argv in (("MULTI",), ("INCR", "s"), ("SET", "a", 1)):
            self.one.do(*argv)
        failure, done = self.one.do("EXEC")
        self.assertIn("not an integer", str(failure))
        self.assertEqual(done, b"OK")

    def test_role_change_in_between(self) -> None:
        """A master that became a replica refuses the EXEC of a transaction that writes."""
        other = self.server("redis-2")
        self.one.do("MULTI")
        self.one.do("SET", "a", 1)
        self.redis.demote(other)
        self.assertEqual(
            self.one.error("EXEC"),
            "EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.",
        )

    def test_full_copy_spoils(self) -> None:
        """What a replica takes over from a master changes watched keys."""
        other = self.server("redis-2")
        self.one.do("SET", "q", 1)
        self.one.do("WATCH", "q")
        self.redis.demote(other)
        self.world.advance(3)
        self.one.do("MULTI")
        self.one.do("GET", "q")
        self.assertIsNone(self.one.do("EXEC"))
