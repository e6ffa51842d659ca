"""XREAD BLOCK and WAIT: who waits, for how long, and who is not kept waiting by it."""

from __future__ import annotations

from tests.testing.redis.talk import RedisTestCase, failed


class ReadingTests(RedisTestCase):
    """XREAD BLOCK."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = self.server("redis")
        self.reader, self.writer = self.client(self.redis), self.client(self.redis)

    def test_entry_wakes_the_reader(self) -> None:
        """A reader gets the entry as soon as it is there; others are served meanwhile."""
        waiting = self.reader.start("XREAD", "BLOCK", 0, "STREAMS", "a", "b", "$", "$")
        self.world.advance(100)
        self.assertNoResult(waiting)
        self.writer.do("XADD", "b", "0-*", "f", "v")
        answer, elapsed = self.elapsed(waiting)
        self.assertEqual(answer, [[b"b", [[b"0-1", [b"f", b"v"]]]]])
        self.assertLess(elapsed, 0.5)

    def test_timeout(self) -> None:
        """Nothing comes: nil, after the time that was asked for."""
        answer, elapsed = self.elapsed(self.reader.start("XREAD", "BLOCK", 2000, "STREAMS", "a", "$"))
        self.assertIsNone(answer)
        self.assert_between(2.0, elapsed, 2.7)

    def test_commands_behind_it_wait(self) -> None:
        """What the reader sends behind a blocked XREAD runs after it, in order."""
        first = self.reader.start("XREAD", "BLOCK", 0, "STREAMS", "a", "$")
        second = self.reader.start("PING")
        self.world.advance(5)
        self.assertNoResult(second)
        self.writer.do("XADD", "a", "0-*", "f", "v")
        self.assertEqual(self.world.result_of(second), b"PONG")
        self.assertEqual(self.successResultOf(first)[0][0], b"a")

    def test_transaction_wakes_once(self) -> None:
        """A reader sees a transaction whole."""
        waiting = self.reader.start("XREAD", "BLOCK", 0, "STREAMS", "a", "0")
        self.world.advance(1)
        for argv in (("MULTI",), ("XADD", "a", "0-*", "n", 1), ("XADD", "a", "0-*", "n", 2), ("EXEC",)):
            self.writer.start(*argv)
        self.assertEqual([entry[0] for entry in self.world.result_of(waiting)[0][1]], [b"0-1", b"0-2"])

    def test_gone_reader(self) -> None:
        """A reader that has gone is forgotten."""
        failed(self.reader.start("XREAD", "BLOCK", 0, "STREAMS", "a", "$"))
        self.world.advance(1)
        self.assertEqual(len(self.redis.engine.blocked), 1)
        self.reader.protocol.transport.abortConnection()
        self.world.advance(1)
        self.assertEqual(len(self.redis.engine.blocked), 0)
        self.assertEqual(self.writer.do("XADD", "a", "0-*", "f", "v"), b"0-1")

    def test_reader_on_a_replica(self) -> None:
        """A reader that waits on a replica hears what comes from the master."""
        replica = self.server("redis-2", master=self.redis)
        self.world.advance(2)
        waiting = self.client(replica).start("XREAD", "BLOCK", 0, "STREAMS", "a", "$")
        self.world.advance(1)
        self.writer.do("XADD", "a", "0-*", "f", "v")
        self.assertEqual(self.world.result_of(waiting)[0][0], b"a")

    def test_demotion(self) -> None:
        """A master that becomes a replica tells those who wait, and closes them: it has another history now."""
        other = self.server("redis-2")
        failures = failed(self.reader.start("XREAD", "BLOCK", 0, "STREAMS", "a", "$"))
        self.world.advance(1)
        self.redis.demote(other)
        self.world.advance(1)
        self.assertIn("UNBLOCKED force unblock", failures[0].getErrorMessage())
        self.assertEqual((self.reader.connected, self.writer.connected), (False, True))


class WaitTests(RedisTestCase):
    """WAIT."""

    def test_replica_acknowledges(self) -> None:
        """WAIT 1 comes back a round trip after the write, and the replica has it."""
        master, replica = self.pair()
        client = self.client(master)
        client.start("SET", "a", 1)
        answer, elapsed = self.elapsed(client.start("WAIT", 1, 1000))
        self.assertEqual((answer, replica.ask("GET", "a")), (1, b"1"))
        self.assertLess(elapsed, 0.7)

    def test_lag(self) -> None:
        """A replica that lags does not count until it has applied the write; the time-out says how many have."""
        master, replica = self.pair()
        replica.lag = 5.0
        client = self.client(master)
        client.do("SET", "a", 1)
        answer, elapsed = self.elapsed(client.start("WAIT", 1, 1000))
        self.assertEqual(answer, 0)
        self.assert_between(1.0, elapsed, 1.7)
        answer, elapsed = self.elapsed(client.start("WAIT", 1, 0))
        self.assertEqual((answer, replica.ask("GET", "a")), (1, b"1"))
        self.assertGreater(elapsed, 3.0)

    def test_blocks_nobody_else(self) -> None:
        """Others go on while one waits."""
        master, replica = self.pair()
        replica.cut_link()
        client = self.client(master)
        client.do("SET", "a", 1)
        waiting = client.start("WAIT", 1, 0)
        self.assertEqual(self.client(master).do("GET", "a"), b"1")
        self.assertNoResult(waiting)
        replica.join_link()
        self.assertEqual(self.world.result_of(waiting), 1)

    def test_read_does_not_move_the_offset(self) -> None:
        """A connection that has only read need not wait for what others wrote: newer versions."""
        master, _replica = self.pair()
        self.world.network.partition("redis-1", "redis-2")
        self.client(master).do("SET", "a", 1)
        reader = self.client(master)
        reader.do("GET", "a")
        self.assertEqual(reader.do("WAIT", 1, 100), 1)

    def test_read_moves_the_offset_in_older_versions(self) -> None:
        """In 7.0.15 it waits for all that was written before its last command."""
        master, _replica = self.pair(strict_wait=False)
        self.world.network.partition("redis-1", "redis-2")
        self.client(master).do("SET", "a", 1)
        reader = self.client(master)
        reader.do("GET", "a")
        self.assertEqual(reader.do("WAIT", 1, 100), 0)

    def test_two_replicas(self) -> None:
        """WAIT 2 waits for the slower one."""
        master, _replica = self.pair()
        slow = self.server("redis-3", master=master)
        self.world.advance(2)
        slow.lag = 2.0
        client = self.client(master)
        client.do("SET", "a", 1)
        answer, elapsed = self.elapsed(client.start("WAIT", 2, 0))
        self.assertEqual(answer, 2)
        self.assertGreater(elapsed, 1.0)

    def test_replica_refuses(self) -> None:
        """WAIT is for masters."""
        _master, replica = self.pair()
        self.assertTrue(self.client(replica).error("WAIT", 1, 0).startswith("ERR WAIT cannot be used with replica"))

    def test_no_write_counts_every_replica(self) -> None:
        """A connection that never wrote gets the number of replicas, however dead they are."""
        master, replica = self.pair()
        replica.hang()
        self.client(master).do("SET", "a", 1)
        self.assertEqual(self.client(master).do("WAIT", 1, 100), 1)
