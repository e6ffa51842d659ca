"""Replicas: what they have, what they lack, and what becomes of it at a promotion."""

from __future__ import annotations

from tests.testing.redis.talk import RedisTestCase


class FollowingTests(RedisTestCase):
    """A replica follows its master."""

    def test_full_copy(self) -> None:
        """A new replica copies everything: all types, databases and times."""
        master = self.server("redis-1")
        client = self.client(master)
        client.do("SET", "s", b"\x00\xff")
        client.do("SET", "t", 1, "PX", 60_000)
        client.do("HSET", "h", "f", "v")
        client.do("SADD", "m", "a", "b")
        client.do("RPUSH", "l", "x", "y")
        client.do("XADD", "x", "0-*", "b", 1)
        client.do("XTRIM", "x", "MAXLEN", 0)
        client.do("SELECT", 2)
        client.do("SET", "other", 1)
        replica = self.server("redis-2", master=master)
        self.world.advance(2)
        self.assertEqual(replica.ask("GET", "s"), b"\x00\xff")
        self.assertEqual(replica.ask("HGETALL", "h"), [b"f", b"v"])
        self.assertEqual(replica.ask("SMEMBERS", "m"), [b"a", b"b"])
        self.assertEqual(replica.ask("LRANGE", "l", 0, -1), [b"x", b"y"])
        left = replica.ask("PTTL", "t")
        assert isinstance(left, int)
        self.assert_between(1, left, 60_000)
        there = self.client(replica)
        there.do("SELECT", 2)
        self.assertEqual(there.do("GET", "other"), b"1")
        replica.promote()
        self.assertEqual(replica.ask("XADD", "x", "0-*", "b", 1), b"0-2")

    def test_stream_of_commands(self) -> None:
        """What is written afterwards follows, in every database, and the offsets agree."""
        master, replica = self.pair()
        client = self.client(master)
        client.do("SET", "a", 1)
        client.do("SELECT", 1)
        client.do("SET", "b", 1)
        client.do("SELECT", 0)
        client.do("INCR", "a")
        self.world.advance(1)
        self.assertEqual((replica.ask("GET", "a"), replica.ask("EXISTS", "b")), (b"2", 0))
        self.assertEqual((replica.offset, replica.replid), (master.offset, master.replid))

    def test_busy_master_is_followed(self) -> None:
        """While a function runs on the master, replicas go on acknowledging: the link stays."""
        master, replica = self.pair()
        master.be_busy()
        self.world.advance(5)
        master.be_busy(False)
        link = replica.engine.link
        assert link is not None
        self.assertEqual((link.state, link.down_since), ("connected", None))

    def test_transactions_arrive_whole(self) -> None:
        """A replica never shows, nor acknowledges, half of a transaction, wherever the network cuts the bytes."""
        master, replica = self.pair()
        client = self.client(master)
        for argv in (("MULTI",), ("SET", "a", "x" * 200_000), ("SET", "b", "y" * 200_000), ("EXEC",)):
            client.start(*argv)
        seen = set()
        for _ in range(400):
            self.world.advance(0.002)
            seen.add((replica.ask("EXISTS", "a"), replica.ask("EXISTS", "b")))
        self.assertEqual(seen, {(0, 0), (1, 1)})

    def test_first_replica_begins_a_history(self) -> None:
        """A master that gets its first replica takes another replication id, as Redis does."""
        master = self.server("redis-1")
        before = master.replid
        self.server("redis-2", master=master)
        self.world.advance(2)
        self.assertNotEqual(master.replid, before)

    def test_broken_link_goes_on_where_it_was(self) -> None:
        """After a cut the replica gets what it lacks, without copying everything."""
        master, replica = self.pair()
        client = self.client(master)
        client.do("SET", "a", 1)
        self.world.advance(1)
        replica.ask("SET", "only here", 1)  # a full copy would remove it
        replica.cut_link()
        client.do("SET", "b", 1)
        self.world.advance(5)
        self.assertEqual(replica.ask("EXISTS", "b"), 0)
        replica.join_link()
        self.world.advance(3)
        self.assertEqual(replica.ask("EXISTS", "a", "b", "only here"), 3)

    def test_too_much_missed(self) -> None:
        """A replica that missed more than the backlog holds copies everything."""
        master, replica = self.pair({"repl-backlog-size": "16kb"})
        replica.ask("SET", "only here", 1)
        replica.cut_link()
        self.client(master).do("SET", "big", "x" * 50_000)
        replica.join_link()
        self.world.advance(3)
        self.assertEqual((replica.ask("STRLEN", "big"), replica.ask("EXISTS", "only here")), (50_000, 0))

    def test_partition(self) -> None:
        """A partition is silence: the replica calls itself connected until repl-timeout, and catches up later."""
        master, replica = self.pair({"repl-timeout": "4", "repl-ping-replica-period": "1"})
        self.world.network.partition("redis-1", "redis-2")
        self.client(master).do("SET", "a", 1)
        self.world.advance(2)
        self.assertIn("master_link_status:up", self.client(replica).do("INFO", "replication").decode())
        self.world.advance(5)
        facts = self.client(replica).do("INFO", "replication").decode()
        self.assertIn("master_link_status:down", facts)
        self.assertIn("connected_slaves:0", self.client(master).do("INFO", "replication").decode())
        self.world.network.heal()
        self.world.advance(10)
        self.assertEqual(replica.ask("GET", "a"), b"1")

    def test_password(self) -> None:
        """A replica introduces itself with masterauth; with a wrong one it gets nothing."""
        master, replica = self.pair({"requirepass": "secret", "masterauth": "secret"})
        master.ask("SET", "a", 1)
        self.world.advance(2)
        self.assertEqual(replica.ask("GET", "a"), b"1")
        stranger = self.server("redis-3", master=master, configuration={"masterauth": "guess"})
        self.world.advance(5)
        self.assertEqual(stranger.ask("DBSIZE"), 0)

    def test_replica_of_a_replica(self) -> None:
        """A replica passes on what it gets."""
        _master, replica = self.pair()
        third = self.server("redis-3", master=replica)
        self.world.advance(2)
        _master.ask("SET", "a", 1)
        self.world.advance(2)
        self.assertEqual((third.ask("GET", "a"), third.offset), (b"1", replica.offset))

    def test_min_replicas(self) -> None:
        """A master whose replicas have gone silent refuses writes after min-replicas-max-lag."""
        master, _replica = self.pair({"min-replicas-to-write": "1", "min-replicas-max-lag": "2"})
        client = self.client(master)
        self.assertEqual(client.do("SET", "a", 1), b"OK")
        self.world.network.partition("redis-1", "redis-2")
        self.world.advance(1)
        self.assertEqual(client.do("SET", "a", 2), b"OK")
        self.world.advance(4)
        self.assertEqual(client.error("SET", "a", 3), "NOREPLICAS Not enough good replicas to write.")


class PromotionTests(RedisTestCase):
    """A replica becomes the master."""

    def test_lost_tail(self) -> None:
        """What a promoted replica had not applied is lost, and only that: it has a prefix."""
        master, replica = self.pair()
        client = self.client(master)
        client.do("RPUSH", "l", "kept")
        client.do("WAIT", 1, 0)
        replica.lag = 5.0
        for number in range(10):
            client.do("RPUSH", "l", number)
        self.world.advance(0.5)
        master.kill()
        replica.promote()
        self.assertEqual(replica.ask("LRANGE", "l", 0, -1), [b"kept"])
        self.world.advance(20)
        self.assertEqual(replica.ask("LRANGE", "l", 0, -1), [b"kept"])

    def test_any_prefix(self) -> None:
        """With some lag the replica has some of the writes: always the first ones."""
        lengths = set()
        master, replica = self.pair()
        client = self.client(master)
        replica.lag = 0.4
        for number in range(300):
            client.start("RPUSH", "l", number)
            self.world.advance(0.01)
            items = replica.ask("LRANGE", "l", 0, -1)
            assert isinstance(items, list)
            self.assertEqual(items, [b"%d" % each for each in range(len(items))])
            lengths.add(number - len(items))
        self.assertGreater(max(lengths), 30)

    def test_history(self) -> None:
        """The promoted replica has another id, and knows the old one up to its offset."""
        master, replica = self.pair()
        old, offset = master.replid, replica.offset
        replica.promote()
        facts = self.client(replica).do("INFO", "replication").decode().split("\r\n")
        self.assertNotEqual(replica.replid, old)
        self.assertIn(f"master_replid2:{old}", facts)
        self.assertIn(f"second_repl_offset:{offset + 1}", facts)

    def test_fellow_goes_on(self) -> None:
        """The other replica follows the promoted one without copying everything, when it is not ahead of it."""
        master, replica = self.pair()
        fellow = self.server("redis-3", master=master)
        self.world.advance(2)
        master.ask("SET", "a", 1)
        self.world.advance(1)
        fellow.ask("SET", "only here", 1)
        replica.promote()
        fellow.demote(replica)
        self.world.advance(2)
        replica.ask("SET", "b", 2)
        self.world.advance(2)
        self.assertEqual(fellow.ask("MGET", "a", "b", "only here"), [b"1", b"2", b"1"])
        self.assertEqual((fellow.replid, fellow.offset), (replica.replid, replica.offset))

    def test_demoted_master_loses_its_own_writes(self) -> None:
        """A master that wrote more than its successor knows copies everything when it is demoted."""
        master, replica = self.pair()
        replica.cut_link()
        self.world.advance(1)
        self.client(master).do("SET", "a", "never seen")
        replica.promote()
        replica.ask("SET", "b", 1)
        replica.join_link()
        master.demote(replica)
        self.world.advance(3)
        self.assertEqual(master.ask("MGET", "a", "b"), [None, b"1"])
        self.assertEqual(master.replid, replica.replid)

    def test_demoted_master_in_step_goes_on(self) -> None:
        """A master that wrote nothing more goes on from where it is."""
        master, replica = self.pair()
        self.world.advance(1)
        master.ask("SET", "a", 1)
        self.world.advance(1)
        replica.promote()
        master.engine.replicas.drop_all()
        master.engine.keyspace(0).put(b"only here", b"1")
        master.demote(replica)
        self.world.advance(3)
        self.assertEqual(master.ask("EXISTS", "a", "only here"), 2)

    def test_replica_refuses_writes(self) -> None:
        """Only a master takes writes."""
        _master, replica = self.pair()
        client = self.client(replica)
        self.assertEqual(client.error("SET", "a", 1), "READONLY You can't write against a read only replica.")
        replica.promote()
        self.assertEqual(client.do("SET", "a", 1), b"OK")

    def test_role(self) -> None:
        """ROLE says who is who."""
        master, replica = self.pair()
        host = replica.host.encode()
        self.world.advance(2)
        offset = b"%d" % replica.offset
        self.assertEqual(self.client(master).do("ROLE")[0:3:2], [b"master", [[host, b"6379", offset]]])
        role = self.client(replica).do("ROLE")
        self.assertEqual(role[:4], [b"slave", master.host.encode(), 6379, b"connected"])
