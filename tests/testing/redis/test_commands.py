"""The commands, through txredisapi over the simulated network. That a real Redis says the same is shown elsewhere."""

from __future__ import annotations

from taba.testing.redis import User
from tests.testing.redis.talk import RedisTestCase

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


class CommandTestCase(RedisTestCase):
    """One server and one client."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = self.server("redis")
        self.one = self.client(self.redis)
        self.do, self.error = self.one.do, self.one.error


class StringTests(CommandTestCase):
    """Strings."""

    def test_binary(self) -> None:
        """Any bytes come back as they were."""
        value = bytes(range(256)) * 1000
        self.assertEqual(self.do("SET", b"\x00\xff", value), b"OK")
        self.assertEqual(self.do("GET", b"\x00\xff"), value)

    def test_conditions(self) -> None:
        """SET keeps NX and XX, and tells by nil when it did nothing."""
        self.assertEqual([self.do("SET", "a", "1", "XX"), self.do("SET", "a", "1", "NX")], [None, b"OK"])
        self.assertIsNone(self.do("SET", "a", "2", "NX"))
        self.assertEqual(self.do("GET", "a"), b"1")

    def test_counting(self) -> None:
        """INCR counts and refuses what is no number."""
        self.assertEqual([self.do("INCR", "n"), self.do("INCRBY", "n", 5)], [1, 6])
        self.do("SET", "n", "x")
        self.assertEqual(self.error("INCR", "n"), "ERR value is not an integer or out of range")


class HashTests(CommandTestCase):
    """Hashes."""

    def test_fields(self) -> None:
        """Fields are set, counted, read and removed; the last one takes the key with it."""
        self.assertEqual(self.do("HSET", "h", "a", 1, "b", 2), 2)
        self.assertEqual(self.do("HMGET", "h", "b", "c"), [b"2", None])
        self.assertEqual(self.do("HINCRBY", "h", "a", 4), 5)
        self.assertEqual(self.do("HGETALL", "h"), [b"a", b"5", b"b", b"2"])
        self.assertEqual([self.do("HDEL", "h", "a", "b", "c"), self.do("EXISTS", "h")], [2, 0])

    def test_scan_reaches_every_field_once(self) -> None:
        """HSCAN of a big hash comes in pages, and no field is missed."""
        names = {b"field-%d" % number for number in range(1000)}
        self.do("HSET", "h", *[word for name in names for word in (name, b"v")])
        seen, cursor, pages = [], b"0", 0
        while True:
            cursor, found = self.do("HSCAN", "h", cursor, "COUNT", 100)
            seen += found[::2]
            pages += 1
            if cursor == b"0":
                break
        self.assertEqual((len(seen), set(seen), pages), (1000, names, 10))

    def test_wrong_type(self) -> None:
        """A string is no hash."""
        self.do("SET", "s", 1)
        self.assertEqual(self.error("HGET", "s", "f"), WRONG_TYPE)


class StreamTests(CommandTestCase):
    """Streams."""

    def test_dense_ids_outlive_trimming_and_dumping(self) -> None:
        """`0-*` goes on behind the last id though all entries are gone, also after DUMP and RESTORE elsewhere."""
        self.assertEqual([self.do("XADD", "l", "0-*", "b", n) for n in "xyz"], [b"0-1", b"0-2", b"0-3"])
        self.assertEqual(self.do("XTRIM", "l", "MINID", "0-9"), 3)
        dumped = self.do("DUMP", "l")
        self.assertEqual(self.do("RESTORE", "m", 0, dumped), b"OK")
        self.assertEqual([self.do("XADD", "l", "0-*", "b", 1), self.do("XADD", "m", "0-*", "b", 1)], [b"0-4", b"0-4"])

    def test_reading(self) -> None:
        """XREAD gives what is behind an id, of several streams, at most so many of each."""
        for number in range(3):
            self.do("XADD", "a", "0-*", "n", number)
            self.do("XADD", "b", "0-*", "n", number)
        answer = self.do("XREAD", "COUNT", 1, "STREAMS", "a", "b", "0-1", "0-2")
        self.assertEqual(answer, [[b"a", [[b"0-2", [b"n", b"1"]]]], [b"b", [[b"0-3", [b"n", b"2"]]]]])
        self.assertIsNone(self.do("XREAD", "STREAMS", "a", "0-3"))

    def test_ranges(self) -> None:
        """XREVRANGE begins at the end; XDEL leaves a hole."""
        for number in range(4):
            self.do("XADD", "a", "0-*", "n", number)
        self.assertEqual(self.do("XDEL", "a", "0-3"), 1)
        self.assertEqual([entry[0] for entry in self.do("XREVRANGE", "a", "+", "-", "COUNT", 2)], [b"0-4", b"0-2"])
        self.assertEqual(self.do("XLEN", "a"), 3)

    def test_clock_ids(self) -> None:
        """`*` is the wall clock, and never goes back when the clock does."""
        first = self.do("XADD", "a", "*", "f", "v")
        self.assertEqual(int(first.split(b"-")[0]) // 1000, int(self.redis.node.wall()))
        self.redis.node.step_wall(-3600)
        second = self.do("XADD", "a", "*", "f", "v")
        self.assertEqual(second.split(b"-")[0], first.split(b"-")[0])

    def test_refusals(self) -> None:
        """An id that is not above the last one is refused."""
        self.do("XADD", "a", "1-1", "f", "v")
        self.assertEqual(
            self.error("XADD", "a", "1-1", "f", "v"),
            "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        )


class KeyTests(CommandTestCase):
    """Keys of all types."""

    def test_scan_with_patterns_and_types(self) -> None:
        """SCAN finds all keys of a pattern and type."""
        for number in range(50):
            self.do("SET", f"s:{number}", 1)
            self.do("HSET", f"h:{number}", "f", 1)
        seen, cursor = set(), b"0"
        while True:
            cursor, found = self.do("SCAN", cursor, "MATCH", "*:1?", "COUNT", 7, "TYPE", "hash")
            seen |= set(found)
            if cursor == b"0":
                break
        self.assertEqual(seen, {b"h:%d" % number for number in range(10, 20)})

    def test_sets_and_lists(self) -> None:
        """Sets and lists are there as well."""
        self.do("SADD", "s", "a", "b", "a")
        self.do("RPUSH", "l", "x", "y")
        self.assertEqual((self.do("SCARD", "s"), self.do("LRANGE", "l", 0, -1)), (2, [b"x", b"y"]))
        self.assertEqual([self.do("TYPE", key) for key in "slz"], [b"set", b"list", b"none"])

    def test_databases(self) -> None:
        """SELECT changes the database of one connection."""
        self.do("SELECT", 3)
        self.do("SET", "a", 1)
        self.assertEqual((self.do("DBSIZE"), self.client(self.redis).do("DBSIZE")), (1, 0))


class LimitTests(CommandTestCase):
    """Refusals."""

    def test_memory(self) -> None:
        """Above maxmemory writes are refused, deleting makes room, reading goes on."""
        self.do("SET", "a", "x" * 100_000)
        self.do("CONFIG", "SET", "maxmemory", 1_050_000)
        self.assertEqual(self.error("SET", "b", 1), "OOM command not allowed when used memory > 'maxmemory'.")
        self.assertEqual(len(self.do("GET", "a")), 100_000)
        self.do("DEL", "a")
        self.assertEqual(self.do("SET", "b", 1), b"OK")

    def test_memory_is_counted_to_the_last_byte(self) -> None:
        """What all keys took is free when they are gone."""
        before = self.redis.engine.used_memory()
        self.do("HSET", "h", "f", "v" * 50)
        self.do("HSET", "h", "f", "w", "g", "x")
        self.do("XADD", "x", "0-*", "b", "y" * 100)
        self.do("SADD", "s", "a", "b")
        self.assertGreater(self.redis.engine.used_memory(), before + 100)
        self.do("XTRIM", "x", "MAXLEN", 0)
        self.do("HDEL", "h", "f")
        self.do("SREM", "s", "a")
        self.do("DEL", "h", "x", "s")
        self.assertEqual(self.redis.engine.used_memory(), before)

    def test_broken_disk(self) -> None:
        """A server that cannot write its log refuses writes, and takes them when the disk is well."""
        self.redis.break_disk()
        self.assertTrue(self.error("SET", "a", 1).startswith("MISCONF Errors writing to the AOF file"))
        self.redis.break_disk(False)
        self.assertEqual(self.do("SET", "a", 1), b"OK")

    def test_broken_disk_of_snapshots(self) -> None:
        """Without a log it is the failing snapshot that stops writes."""
        self.do("CONFIG", "SET", "appendonly", "no")
        self.redis.break_disk()
        self.assertTrue(self.error("SET", "a", 1).startswith("MISCONF Redis is configured to save RDB snapshots"))
        self.do("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        self.assertEqual(self.do("SET", "a", 1), b"OK")

    def test_busy(self) -> None:
        """While a function runs without end, everything is answered BUSY."""
        self.redis.be_busy()
        self.assertTrue(self.error("GET", "a").startswith("BUSY Redis is busy running a script"))
        self.redis.be_busy(False)
        self.assertIsNone(self.do("GET", "a"))

    def test_protocol_error(self) -> None:
        """What is no command at all is told so, and the connection closes."""
        self.one.protocol.transport.write(b"*1\r\n:5\r\n")
        self.world.run_until(lambda: not self.one.connected, 5)
        self.assertEqual(len(self.redis.engine.sessions), 0)


class AccessTests(RedisTestCase):
    """Passwords and users."""

    def test_password(self) -> None:
        """Without the password nothing runs; with a wrong one neither."""
        redis = self.server("redis", configuration={"requirepass": "secret"})
        client = self.client(redis)
        self.assertEqual(client.error("GET", "a"), "NOAUTH Authentication required.")
        wrong = "WRONGPASS invalid username-password pair or user is disabled."
        self.assertEqual(client.error("AUTH", "guess"), wrong)
        self.assertEqual([client.do("AUTH", "secret"), client.do("SET", "a", 1)], [b"OK", b"OK"])

    def test_user(self) -> None:
        """A user does what it may, on the keys it may use, and is told what it may not."""
        user = User(b"taba", frozenset({b"pw"}), commands=frozenset({b"GET", b"SET", b"CONFIG|GET"}), keys=(b"t:*",))
        client = self.client(self.server("redis", users=[user]))
        client.do("AUTH", "taba", "pw")
        self.assertEqual(client.do("SET", "t:1", 1), b"OK")
        self.assertEqual(
            client.error("SET", "other", 1),
            "NOPERM this user has no permissions to access one of the keys used as arguments",
        )
        self.assertEqual(client.error("DEL", "t:1"), "NOPERM this user has no permissions to run the 'del' command")
        self.assertEqual(client.do("CONFIG", "GET", "save"), [b"save", b"3600 1 300 100 60 10000"])
        denied = "NOPERM this user has no permissions to run the 'config|set' command"
        self.assertEqual(client.error("CONFIG", "SET", "save", ""), denied)


class PublishingTests(CommandTestCase):
    """Messages."""

    def test_message(self) -> None:
        """Whoever has subscribed hears it, on the master and on its replica."""
        replica = self.server("redis-2", master=self.redis)
        self.world.advance(2)
        near, far = self.client(self.redis, subscribes=True), self.client(replica, subscribes=True)
        near.protocol.subscribe("news")
        far.protocol.psubscribe("n*")
        self.world.advance(1)
        self.assertEqual(self.do("PUBLISH", "news", "hello"), 1)
        self.world.advance(1)
        self.assertEqual(near.protocol.messages[-1], (None, b"news", b"hello"))
        self.assertEqual(far.protocol.messages[-1], (b"n*", b"news", b"hello"))

    def test_gone_subscriber(self) -> None:
        """Whoever has gone is not counted."""
        near = self.client(self.redis, subscribes=True)
        near.protocol.subscribe("news")
        self.world.advance(1)
        near.protocol.transport.loseConnection()
        self.world.advance(1)
        self.assertEqual(self.do("PUBLISH", "news", "hello"), 0)


class ClientTests(CommandTestCase):
    """Connections."""

    def test_kill_by_type(self) -> None:
        """CLIENT KILL TYPE normal closes all ordinary connections but the one that asks, blocked ones too."""
        blocked, idle = self.client(self.redis), self.client(self.redis)
        waiting = blocked.start("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
        waiting.addErrback(lambda failure: None)
        self.world.advance(1)
        self.assertEqual(self.do("CLIENT", "KILL", "TYPE", "normal"), 2)
        self.world.advance(1)
        self.assertEqual((blocked.connected, idle.connected, self.one.connected), (False, False, True))

    def test_kill_one(self) -> None:
        """CLIENT KILL finds a connection by its number or its address, and spares the asker unless told."""
        second, third = self.client(self.redis), self.client(self.redis)
        self.assertEqual(self.do("CLIENT", "KILL", "ID", 2), 1)
        address = f"{third.protocol.transport.getHost().host}:{third.protocol.transport.getHost().port}"
        self.assertEqual(self.do("CLIENT", "KILL", "ADDR", address), 1)
        self.assertEqual(self.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"), 1)
        self.world.advance(1)
        self.assertEqual((second.connected, third.connected, self.one.connected), (False, False, False))

    def test_names(self) -> None:
        """CLIENT ID counts connections; SETNAME is remembered."""
        self.assertEqual((self.do("CLIENT", "ID"), self.client(self.redis).do("CLIENT", "ID")), (1, 2))
        self.do("CLIENT", "SETNAME", "fe-1")
        self.assertIn(b"name=fe-1", self.do("CLIENT", "LIST"))

    def test_info(self) -> None:
        """INFO has the sections that were asked for."""
        text = self.do("INFO", "memory", "keyspace").decode()
        self.assertEqual([line for line in text.splitlines() if line.startswith("#")], ["# Memory", "# Keyspace"])
        self.do("SET", "a", 1, "PX", 5000)
        self.assertIn("db0:keys=1,expires=1", self.do("INFO", "keyspace").decode())
        self.assertIn("redis_version:7.0.15", self.do("INFO").decode())
