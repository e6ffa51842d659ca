"""Killing, hanging and restarting servers, and what their disks keep."""

from __future__ import annotations

from random import Random

import txredisapi
from twisted.internet.testing import MemoryReactorClock
from twisted.test.iosim import FakeTransport, connect

from taba.testing import World
from taba.testing.redis import NotRunning, RedisServer, With
from taba.testing.redis.process import redis_process
from tests.testing.redis.talk import Client, Factory, RedisTestCase, failed, library


class RestartTests(RedisTestCase):
    """What a restarted server has."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = self.server("redis")
        self.one = self.client(self.redis)

    def test_its_data(self) -> None:
        """After kill -9 the log has all that was answered; the replication id is another one."""
        self.one.do("SET", "a", 1)
        before = self.redis.replid
        self.redis.kill()
        self.assertRaises(NotRunning, self.redis.ask, "GET", "a")
        self.redis.restart()
        self.assertEqual(self.redis.ask("GET", "a"), b"1")
        self.assertNotEqual(self.redis.replid, before)

    def test_loss_of_power(self) -> None:
        """Without power the log has what was synced: under everysec all but the last second."""
        self.one.do("SET", "a", 1)
        self.world.advance(2)
        self.one.do("SET", "b", 1)
        self.redis.restart(With.SYNCED_DATA)
        self.assertEqual(self.redis.ask("MGET", "a", "b"), [b"1", None])

    def test_loss_of_power_with_always(self) -> None:
        """Under `always` nothing that was answered is lost."""
        self.one.do("CONFIG", "SET", "appendfsync", "always")
        self.one.do("SET", "b", 1)
        self.redis.restart(With.SYNCED_DATA)
        self.assertEqual(self.redis.ask("GET", "b"), b"1")

    def test_transaction_is_never_cut(self) -> None:
        """A log that lost its tail has transactions whole or not at all."""
        for argv in (("MULTI",), ("SET", "a", 1), ("SET", "b", 1), ("EXEC",)):
            self.one.do(*argv)
        self.redis.disk.synced = 1
        self.redis.restart(With.SYNCED_DATA)
        self.assertEqual(self.redis.ask("EXISTS", "a", "b"), 2)

    def test_nothing(self) -> None:
        """A server may come back empty."""
        self.one.do("SET", "a", 1)
        self.redis.restart(With.NOTHING)
        self.assertEqual(self.redis.ask("DBSIZE"), 0)

    def test_without_a_log(self) -> None:
        """Without appendonly there is the last snapshot."""
        self.one.do("CONFIG", "SET", "appendonly", "no")
        self.one.do("CONFIG", "REWRITE")
        self.one.do("SET", "a", 1)
        self.one.do("SAVE")
        self.one.do("SET", "b", 1)
        self.redis.restart()
        self.assertEqual(self.redis.ask("MGET", "a", "b"), [b"1", None])

    def test_empty_master_empties_its_replica(self) -> None:
        """The trap of a master that comes back without its data before anybody missed it: the replica copies that."""
        replica = self.server("redis-2", master=self.redis)
        self.world.advance(2)
        self.one.do("SET", "a", 1)
        self.world.advance(1)
        self.assertEqual(replica.ask("DBSIZE"), 1)
        self.redis.restart(With.NOTHING)
        self.world.advance(5)
        self.assertEqual(replica.ask("DBSIZE"), 0)

    def test_loading(self) -> None:
        """While it loads, it says so."""
        self.redis.restart(loading=3.0)
        client = self.client(self.redis)
        self.assertEqual(client.error("GET", "a"), "LOADING Redis is loading the dataset in memory")
        self.assertIn("loading:1", client.do("INFO", "persistence").decode())
        self.world.advance(3)
        self.assertIsNone(client.do("GET", "a"))

    def test_connections_end(self) -> None:
        """Clients of a killed server learn of it; what they waited for fails."""
        failures = failed(self.one.start("XREAD", "BLOCK", 0, "STREAMS", "s", "$"))
        self.world.advance(1)
        self.redis.kill()
        self.world.advance(1)
        self.assertEqual((self.one.connected, len(failures)), (False, 1))

    def test_shutdown(self) -> None:
        """SHUTDOWN ends the process in good order."""
        failed(self.one.start("SHUTDOWN"))
        self.world.run_until(lambda: not self.redis.is_running(), 10)
        self.redis.start()
        self.assertEqual(self.client(self.redis).do("PING"), b"PONG")

    def test_clean_stop(self) -> None:
        """A server that is stopped leaves nothing behind."""
        replica = self.server("redis-2", master=self.redis)
        self.world.advance(2)
        failed(self.one.start("XREAD", "BLOCK", 0, "STREAMS", "s", "$"))
        self.one.protocol.transport.loseConnection()
        self.world.advance(1)
        self.assertEqual(replica.node.stop(), [])


class HangingTests(RedisTestCase):
    """SIGSTOP and SIGCONT."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = self.server("redis")
        self.one = self.client(self.redis)

    def test_nothing_is_answered(self) -> None:
        """A hung server accepts connections and answers nothing; on waking up it answers everything."""
        self.redis.hang()
        waiting = self.one.start("SET", "a", 1)
        late = self.client(self.redis).start("GET", "a")
        self.world.advance(100)
        self.assertNoResult(waiting)
        self.redis.wake()
        self.assertEqual((self.world.result_of(waiting), self.world.result_of(late)), (b"OK", b"1"))

    def test_command_of_one_who_gave_up(self) -> None:
        """What a client sent runs on waking up, though the client has aborted the connection long ago."""
        self.redis.hang()
        failed(self.one.start("SET", "a", "ghost"))
        self.world.advance(1)
        self.one.protocol.transport.abortConnection()
        self.world.advance(100)
        self.redis.wake()
        self.world.advance(1)
        self.assertEqual((self.redis.ask("GET", "a"), len(self.redis.engine.sessions)), (b"ghost", 0))

    def test_timers_stand_still(self) -> None:
        """Time-outs are told late."""
        waiting = self.one.start("XREAD", "BLOCK", 1000, "STREAMS", "s", "$")
        self.world.advance(0.5)
        self.redis.hang()
        self.world.advance(10)
        self.assertNoResult(waiting)
        self.redis.wake()
        self.assertIsNone(self.world.result_of(waiting))

    def test_hung_replica(self) -> None:
        """A hung replica acknowledges nothing; awake, it drains what had come, even though its master is dead."""
        replica = self.server("redis-2", master=self.redis)
        self.world.advance(2)
        replica.hang()
        self.one.do("SET", "a", 1)
        self.assertEqual(self.one.do("WAIT", 1, 500), 0)
        self.redis.kill()
        self.world.advance(1)
        replica.wake()
        self.assertIn(replica.ask("GET", "a"), (None, b"1"))


class RunTests(RedisTestCase):
    """Runs as wholes."""

    def fingerprint(self, seed: int) -> str:
        """What happens in a small run with faults."""
        with World(seed=seed) as world:
            master = RedisServer(world.node("redis-1")).start()
            replica = RedisServer(world.node("redis-2"), master=master).start()
            world.advance(2)
            client = Client(world, world.node("client").start(), "redis-1")
            for number in range(20):
                failed(client.start("HSET", "h", f"f{number}", number))
            replica.lag = 1.0
            failed(client.start("WAIT", 1, 500))
            world.advance(1)
            master.kill()
            replica.promote()
            master.restart()
            master.demote(replica)
            world.advance(5)
            world.check_quiet()
            return world.fingerprint()

    def test_runs_repeat(self) -> None:
        """Equal seeds give equal runs, to the byte; others do not."""
        self.assertEqual(self.fingerprint(1), self.fingerprint(1))
        self.assertNotEqual(self.fingerprint(1), self.fingerprint(2))

    def test_faults_are_noted(self) -> None:
        """The verbs are counted with the state that they met."""
        redis = self.server("redis")
        redis.hang()
        redis.kill()
        self.assertEqual((self.world.met("redis_hang", "up"), self.world.met("crash", "up")), (1, 1))


class WithoutAWorldTests(RedisTestCase):
    """A server on a MemoryReactorClock, joined to a client by iosim."""

    def test_iosim(self) -> None:
        """One server and one client, pumped by hand."""
        reactor = MemoryReactorClock()
        process = redis_process(reactor, lambda: 1e9 + reactor.seconds(), Random(1), library(), {"maxmemory": "1gb"})
        process.startService()
        protocol = txredisapi.RedisProtocol(charset=None, convertNumbers=False)
        protocol.callLater = reactor.callLater
        protocol.factory = Factory(self.process, subscribes=False)
        server = process.factory.buildProtocol(None)
        pump = connect(server, FakeTransport(server, True), protocol, FakeTransport(protocol, False))
        written = protocol.execute_command("SET", "a", 1)
        waiting = protocol.execute_command("XREAD", "BLOCK", 5000, "STREAMS", "s", "$")
        pump.flush()
        self.assertEqual(self.successResultOf(written), b"OK")
        self.assertNoResult(waiting)
        reactor.advance(5)
        pump.flush()
        self.assertIsNone(self.successResultOf(waiting))
        process.stopService()
