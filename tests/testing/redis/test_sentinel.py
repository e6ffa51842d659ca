"""Sentinels: who is missed, how long it takes, who may decide, and what comes of those who return."""

from __future__ import annotations

from taba.testing import World
from taba.testing.redis import RedisSentinel, Watch
from tests.testing.redis.shard import NAME, SentinelTestCase
from tests.testing.redis.talk import Client, failed


class DiscoveryTests(SentinelTestCase):
    """What sentinels find out by themselves."""

    def test_everybody_is_found(self) -> None:
        """From the address of the master alone they find the replicas, and one another."""
        for each in self.sentinels:
            monitored = each.engine.monitored[NAME]
            self.assertEqual(sorted(monitored.replicas), sorted((other.host, 6379) for other in self.others))
            self.assertEqual(len(monitored.sentinels), 2)

    def test_queries(self) -> None:
        """Clients ask for masters, replicas, sentinels and the quorum."""
        client = Client(self.world, self.process, "sentinel-1", 26379)
        (row,) = client.do("SENTINEL", "MASTERS")
        facts = dict(zip(row[::2], row[1::2], strict=True))
        where = (facts[b"name"], facts[b"ip"], facts[b"port"])
        self.assertEqual(where, (NAME.encode(), self.master.host.encode(), b"6379"))
        about = (facts[b"flags"], facts[b"num-other-sentinels"], facts[b"num-slaves"])
        self.assertEqual(about, (b"master", b"2", b"2"))
        self.assertEqual(client.do("SENTINEL", "MASTER", NAME)[1], NAME.encode())
        self.assertEqual(len(client.do("SENTINEL", "SLAVES", NAME)), 2)
        self.assertEqual(len(client.do("SENTINEL", "SENTINELS", NAME)), 2)
        address = client.do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        self.assertEqual(address, [self.master.host.encode(), b"6379"])
        self.assertIsNone(client.do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "other"))
        self.assertEqual(client.error("SENTINEL", "MASTER", "other"), "ERR No such master with that name")
        self.assertEqual(
            client.do("SENTINEL", "CKQUORUM", NAME),
            b"OK 3 usable Sentinels. Quorum and failover authorization can be reached",
        )
        self.assertEqual(client.do("ROLE"), [b"sentinel", [NAME.encode()]])
        self.assertIn(f"name={NAME},status=ok".encode(), client.do("INFO"))
        self.assertEqual(client.do("PING"), b"PONG")
        self.assertTrue(client.error("GET", "a").startswith("ERR unknown command 'GET'"))

    def test_quorum_is_missed(self) -> None:
        """CKQUORUM tells when too few sentinels are left."""
        self.sentinels[1].kill()
        self.sentinels[2].kill()
        self.world.advance(5)
        client = Client(self.world, self.process, "sentinel-1", 26379)
        self.assertTrue(client.error("SENTINEL", "CKQUORUM", NAME).startswith("NOQUORUM 1 usable Sentinels."))

    def test_password(self) -> None:
        """A sentinel with a password asks for it; one that watches servers with a password gives it."""
        redis = self.server("locked", configuration={"requirepass": "secret"})
        watch = Watch("locked", redis.host, quorum=1, auth_pass="secret")
        sentinel = RedisSentinel(self.world.node("sentinel-9"), [watch], password="word").start()
        self.world.advance(5)
        self.assertFalse(sentinel.engine.monitored["locked"].master.is_down())
        client = Client(self.world, self.process, "sentinel-9", 26379)
        self.assertEqual(client.error("PING"), "NOAUTH Authentication required.")
        self.assertEqual((client.do("AUTH", "word"), client.do("PING")), (b"OK", b"PONG"))


class FailoverTests(SentinelTestCase):
    """The master is gone."""

    def test_time(self) -> None:
        """From the kill to the switch it takes down-after and about a second, whatever the seed."""
        times = []
        for seed in range(10):
            with World(seed=seed) as world:
                self.world = world
                self.build(world)
                self.master.kill()
                times.append(self.wait_for_switch())
                world.check_quiet()
        self.assert_between(2.0, min(times), max(times))
        self.assert_between(2.5, sum(times) / len(times), 3.5)
        self.assertLess(max(times), 4.5)

    def test_everybody_follows(self) -> None:
        """One replica is promoted, the other follows it, under one history that is not the old one."""
        old = self.master.replid
        self.master.kill()
        self.wait_for_switch()
        self.world.advance(5)
        self.assertEqual(sorted(each.is_master for each in self.others), [False, True])
        self.assertEqual(len({each.replid for each in self.others} | {old}), 2)

    def test_nothing_acknowledged_is_lost(self) -> None:
        """What both replicas acknowledged is there afterwards, and writing goes on."""
        client = self.client(self.master)
        client.do("SET", "a", 1)
        self.assertEqual(client.do("WAIT", 2, 1000), 2)
        self.master.kill()
        self.wait_for_switch()
        self.assertEqual(self.client(self.new_master()).do("INCR", "a"), 2)

    def test_switch_is_published(self) -> None:
        """Subscribers of every sentinel hear +switch-master with both addresses."""
        clients = [Client(self.world, self.process, f"sentinel-{n}", 26379, True) for n in (1, 2, 3)]
        for each in clients:
            each.protocol.subscribe("+switch-master")
        self.world.advance(1)
        self.master.kill()
        self.wait_for_switch()
        self.world.advance(5)
        text = f"{NAME} {self.master.host} 6379 {self.new_master().host} 6379".encode()
        for each in clients:
            self.assertEqual(each.protocol.messages, [(None, b"+switch-master", text)])

    def test_returned_master_is_demoted(self) -> None:
        """A master that comes back calls itself one for about ten seconds, then follows the new one."""
        self.master.kill()
        self.wait_for_switch()
        self.world.advance(10)
        self.master.restart()
        start = self.world.clock.seconds()
        self.assertTrue(self.master.is_master)
        self.world.run_until(lambda: not self.master.is_master, 60)
        self.assert_between(8.0, self.world.clock.seconds() - start, 22.0)
        self.world.advance(5)
        self.assertEqual(self.master.replid, self.new_master().replid)
        self.master.restart()
        self.world.advance(5)
        self.assertFalse(self.master.is_master, "CONFIG REWRITE has made it a replica for good")

    def test_hung_master(self) -> None:
        """A hung master is replaced; awake again it is demoted, its clients closed, what it took meanwhile gone."""
        stuck = self.client(self.master)
        self.master.hang()
        failed(stuck.start("SET", "a", "ghost"))
        self.wait_for_switch()
        self.master.wake()
        self.world.advance(1)
        self.assertEqual((self.master.ask("GET", "a"), stuck.connected), (b"ghost", True))
        self.world.run_until(lambda: not self.master.is_master, 60)
        self.world.advance(5)
        self.assertEqual((self.master.ask("GET", "a"), stuck.connected), (None, False))

    def test_short_silence(self) -> None:
        """A master that is silent for less than down-after stays."""
        self.master.hang()
        self.world.advance(1.0)
        self.master.wake()
        self.world.advance(20)
        self.assertEqual((self.named()[0][0], self.when("+odown")), (self.master.host, []))

    def test_second_failover(self) -> None:
        """The new master can be lost in its turn; epochs rise."""
        self.master.kill()
        self.wait_for_switch()
        self.world.advance(15)
        self.master.restart()
        self.world.advance(30)
        first, self.master = self.master, self.new_master()
        self.master.kill()
        self.wait_for_switch(120)
        self.assertIn(self.new_master(), (first, *self.others))
        self.assertEqual({each.engine.epoch for each in self.sentinels}, {2})

    def test_asked_for(self) -> None:
        """SENTINEL FAILOVER replaces a master that is well; it is demoted at once."""
        client = Client(self.world, self.process, "sentinel-2", 26379)
        self.assertEqual(client.do("SENTINEL", "FAILOVER", NAME), b"OK")
        self.assertEqual(client.error("SENTINEL", "FAILOVER", NAME), "INPROG Failover already in progress")
        self.wait_for_switch()
        self.world.run_until(lambda: not self.master.is_master, 60)


class TroubleTests(SentinelTestCase):
    """Failovers that go wrong, and sentinels that do."""

    replicas = 1

    def test_chosen_replica_dies(self) -> None:
        """A replica that dies when it is to be promoted: the attempt is given up, and made again when it is back."""
        self.master.kill()
        self.world.run_until(lambda: self.when("+selected-slave"), 60)
        self.others[0].kill()
        self.world.run_until(lambda: self.when("-failover-abort-slave-timeout"), 60)
        self.assertEqual({host for host, _port in self.named()}, {self.master.host})
        self.others[0].restart()
        self.wait_for_switch(120)

    def test_hung_sentinel(self) -> None:
        """A sentinel that hung through a failover learns of it on waking up."""
        self.sentinels[0].hang()
        self.master.kill()
        self.world.advance(20)
        self.assertEqual(self.sentinels[0].master_address(NAME)[0], self.master.host)
        self.sentinels[0].wake()
        self.world.advance(10)
        self.assertEqual(set(self.named()), {(self.others[0].host, 6379)})

    def test_clean_stop(self) -> None:
        """A sentinel that is stopped leaves nothing behind."""
        self.assertEqual(self.sentinels[0].node.stop(), [])

    def test_stray_replica(self) -> None:
        """A replica that somebody points elsewhere is pointed back."""
        stranger = self.server("stranger")
        self.others[0].demote(stranger)
        self.world.advance(60)
        self.assertEqual(self.others[0].replid, self.master.replid)


class MajorityTests(SentinelTestCase):
    """Who may decide."""

    def part(self, *here: str) -> None:
        """Cut the network between these hosts and all others."""
        for one in here:
            for other in self.world.network.hosts():
                if other not in here:
                    self.world.network.partition(one, other)

    def test_minority_does_nothing(self) -> None:
        """One sentinel of three may miss the master as long as it likes."""
        self.sentinels[1].kill()
        self.sentinels[2].kill()
        self.world.advance(1)
        self.master.kill()
        self.world.advance(60)
        self.assertEqual(self.named(), [(self.master.host, 6379)])

    def test_quorum_without_majority(self) -> None:
        """A quorum of one makes the master objectively down, and still needs a majority for a failover."""
        with World(seed=3) as world:
            self.world = world
            self.build(world, quorum=1)
            self.sentinels[1].kill()
            self.sentinels[2].kill()
            world.advance(1)
            self.master.kill()
            world.advance(60)
            self.assertEqual(len(self.when("+odown")), 1)
            self.assertGreater(len(self.when("-failover-abort-not-elected")), 0)
            self.assertEqual(self.named(), [(self.master.host, 6379)])

    def test_partitioned_master(self) -> None:
        """A master with one replica and one sentinel on the small side goes on, is replaced on the large one, and loses
        what it took when the network heals.
        """
        self.part("redis-1", "redis-2", "sentinel-1", "client")
        client = self.client(self.master)
        client.do("SET", "a", "small side")
        self.assertEqual(client.do("WAIT", 1, 1000), 1)
        self.world.advance(30)
        hosts = [host for host, _port in self.named()]
        self.assertEqual(hosts, [self.master.host, self.others[1].host, self.others[1].host])
        self.assertEqual(client.do("WAIT", 1, 1000), 1)
        self.others[1].ask("SET", "b", "large side")
        self.world.network.heal()
        self.world.advance(60)
        self.assertEqual({host for host, _port in self.named()}, {self.others[1].host})
        self.assertEqual([each.is_master for each in self.servers], [False, False, True])
        self.assertEqual([each.ask("MGET", "a", "b") for each in self.servers], [[None, b"large side"]] * 3)

    def test_restarted_sentinel_remembers(self) -> None:
        """A sentinel that was away learns of the switch; one that is restarted knows what it knew."""
        self.sentinels[2].kill()
        self.world.advance(1)
        self.master.kill()
        self.wait_for_switch()
        self.world.advance(3)
        self.sentinels[0].restart()
        self.assertEqual(self.sentinels[0].master_address(NAME)[0], self.new_master().host)
        self.assertEqual(self.sentinels[0].engine.epoch, 1)
        self.sentinels[2].restart()
        self.world.advance(10)
        self.assertEqual(len(set(self.named())), 1)
        self.assertEqual(len(self.named()), 3)

    def test_one_failover_at_a_time(self) -> None:
        """In each epoch there is one winner at most, and no two replicas are masters together."""
        for seed in range(8):
            with World(seed=100 + seed) as world:
                self.world = world
                self.build(world)
                self.master.kill()
                for _ in range(200):
                    world.advance(0.1)
                    self.assertLessEqual(sum(each.is_master for each in self.others), 1)
                self.assertEqual((len(self.when("+elected-leader")), len(set(self.named()))), (1, 1))
