"""Links to real servers: kills, hangs, passwords, TLS.

REAL: skipped where there is no redis-server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from taba.errors import StoreUnavailable
from taba.process import Process
from taba.real import real_process
from taba.store.redis.access import TLS, Access
from taba.store.redis.link import RedisRefused
from taba.store.redis.sentinel import Sentinels
from taba.store.redis.shard import ROLES, Shard
from taba.store.redis.source import Source
from tests.processes.surroundings import PATIENCE, free_port
from tests.redis.certificates import Authority
from tests.redis.real import DOWN_AFTER, Cluster, RedisProcess, Servers, missing

POLL_SECONDS = 0.01
"""From a kill to links at the new master."""
KILLS = 2


def waiting(test: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any], Deferred[None]]:
    """A test that may wait."""

    def run(self: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    run.__doc__ = test.__doc__
    return run


async def until(condition: Callable[[], object], what: str, within: float = PATIENCE) -> float:
    """Wait until a condition is true; the seconds it took."""
    before = time.monotonic()
    while not condition():
        if time.monotonic() - before > within:
            raise AssertionError(f"not within {within:g} s: {what}")
        await deferLater(reactor, POLL_SECONDS)
    return time.monotonic() - before


class RealCase(TestCase):
    """Servers that end with the test, and a process."""

    timeout = 600
    skip = missing()

    def setUp(self) -> None:
        self.servers = Servers()
        self.addCleanup(self.servers.close)
        self.said: list[str] = []
        self.process: Process = real_process(reactor)
        self.process.say = self.said.append

    def start(self, source: tuple[str, int] | Source, access: Access | None = None, **options: Any) -> Shard:
        """A Shard, stopped in the end."""
        shard = Shard("shard1", self.process, source=source, access=access, **options)
        shard.startService()
        self.addCleanup(shard.stopService)
        return shard

    def watched(self, cluster: Cluster, access: Access | None = None, sentinel_access: Access | None = None) -> Shard:
        """A Shard that follows the Sentinels of a cluster."""
        more = () if sentinel_access is None else (sentinel_access,)
        sentinels = Sentinels(cluster.sentinel_addresses(), self.process, *more)
        sentinels.startService()
        self.addCleanup(sentinels.stopService)
        return self.start(sentinels, access)

    async def open(self, shard: Shard) -> float:
        """Wait until links are open; the seconds it took."""
        before = time.monotonic()
        await shard.when_open()
        return time.monotonic() - before

    async def problem(self, shard: Shard, words: str) -> str:
        """Wait until something is said to be wrong in these words; all of it."""
        await until(lambda: words in str(shard.state()["problem"]), words)
        with self.assertRaises(StoreUnavailable):
            shard.link("be")
        return str(shard.state()["problem"])


class SingleTests(RealCase):
    """One server, no Sentinel."""

    @waiting
    async def test_bytes_and_refusals(self) -> None:
        """What is written is read again, byte for byte; a pipeline is answered in order; errors say their code."""
        shard = self.start(self.servers.server().ready().address)
        await self.open(shard)
        link = shard.link("be")
        blob = bytes(range(256)) * 8192
        replies = await gatherResults([link.call("SET", "k", blob), link.call("GET", "k"), link.call("INCR", "n")])
        self.assertEqual(replies, [b"OK", blob, 1])
        with self.assertRaises(RedisRefused) as caught:
            await link.call("INCR", "k")
        self.assertEqual(caught.exception.code, "ERR")
        listed = await link.call("CLIENT", "LIST")
        self.assertEqual([role for role in ROLES if f"name=taba-{role} ".encode() not in listed], [])

    @waiting
    async def test_blocking_read_and_limits(self) -> None:
        """XREAD BLOCK answers in its time; a call that takes longer than its limit ends the connection, and all of the
        shard's.
        """
        shard = self.start(self.servers.server().ready().address)
        await self.open(shard)
        read = shard.link("read")
        self.assertIsNone(await read.call("XREAD", "BLOCK", 200, "STREAMS", "s", "$", timeout=60.0))
        with self.assertRaises(StoreUnavailable):
            await read.call("XREAD", "BLOCK", 5000, "STREAMS", "s", "$", timeout=0.2)
        self.assertFalse(shard.state()["open"])
        await self.open(shard)

    @waiting
    async def test_transaction(self) -> None:
        """WATCH, MULTI and EXEC on a link, while the looks at idle links go on."""
        shard = self.start(self.servers.server().ready().address, idle_seconds=0.02)
        await self.open(shard)
        link, other = shard.link("be"), shard.link("query")
        for expected in ([b"OK", 1], None):
            await link.call("WATCH", "guarded")
            await deferLater(reactor, 0.1)
            if expected is None:
                await other.call("SET", "guarded", "changed")
            await link.call("MULTI")
            await deferLater(reactor, 0.1)
            queued = await gatherResults([link.call("SET", "a", "1"), link.call("INCR", "b")])
            self.assertEqual((queued, await link.call("EXEC")), ([b"QUEUED"] * 2, expected))

    @waiting
    async def test_restart(self) -> None:
        """A server that was killed and is back has another lineage, and its data."""
        server = self.servers.server("server", "appendfsync always").ready()
        shard = self.start(server.address)
        await self.open(shard)
        before = shard.lineage
        await shard.link("be").call("SET", "k", "v")
        server.kill()
        await self.problem(shard, "connection is refused")
        server.start()
        await self.open(shard)
        self.assertNotEqual(shard.lineage, before)
        self.assertEqual((await shard.link("be").call("GET", "k"), shard.failovers), (b"v", 1))

    @waiting
    async def test_passwords(self) -> None:
        """The wrong one, none, and the right one; said with the setting to check."""
        server = self.servers.server("server", "requirepass secret", password=("secret",)).ready()
        wrong = self.start(server.address, Access(password="guess"))
        self.assertIn("check REDIS_PASSWORD", await self.problem(wrong, "WRONGPASS"))
        none = self.start(server.address)
        self.assertIn("set REDIS_PASSWORD", await self.problem(none, "NOAUTH"))
        await self.open(self.start(server.address, Access(password="secret")))
        much = self.start(self.servers.server("free").ready().address, Access(password="secret"))
        self.assertIn("take REDIS_PASSWORD out", await self.problem(much, "has no password"))

    @waiting
    async def test_acl_user(self) -> None:
        """A user with the rights that links need; one without is told which is missing."""
        rights = "on >secret ~* &* +@read +@write +@connection +@transaction +role +info +acl|whoami"
        server = self.servers.server("server", f"user taba {rights}", "user poor on >secret ~* +@read +ping").ready()
        shard = self.start(server.address, Access("taba", "secret"))
        await self.open(shard)
        self.assertEqual(await shard.link("be").call("ACL", "WHOAMI"), b"taba")
        poor = self.start(server.address, Access("poor", "secret"))
        self.assertIn("check its ACL", await self.problem(poor, "NOPERM"))
        stranger = self.start(server.address, Access("nobody", "secret"))
        self.assertIn("REDIS_USER and REDIS_PASSWORD", await self.problem(stranger, "WRONGPASS"))


class TLSTests(RealCase):
    """Encryption."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority(self.servers.folder)
        self.own = self.authority.sign("server", "localhost", "127.0.0.1")

    def files(self) -> list[str]:
        """Lines of configuration: what a server shows."""
        files = [f"tls-cert-file {self.own.certificate}", f"tls-key-file {self.own.key}", "tls-auth-clients no"]
        return [*files, f"tls-ca-cert-file {self.authority.file}"]

    def serve(self, *settings: str) -> tuple[str, int]:
        """A server that speaks TLS; its address by name."""
        port = free_port()
        self.serve_or_skip(self.servers.server("tls", f"tls-port {port}", *self.files(), *settings))
        return "localhost", port

    def serve_or_skip(self, server: RedisProcess) -> None:
        """Wait for a server with TLS. Some are built without it: they end at once."""
        try:
            server.ready()
        except AssertionError:
            if "tls-port" in server.tail():
                raise SkipTest("this redis-server has no TLS")
            raise

    @waiting
    async def test_verified(self) -> None:
        """By name and by address; the certificate of the server was signed by the authority that is trusted."""
        host, port = self.serve()
        for address in ((host, port), ("127.0.0.1", port)):
            shard = self.start(address, Access(tls=TLS(self.authority.file)))
            await self.open(shard)
            self.assertEqual(await shard.link("be").call("ECHO", b"x" * 100_000), b"x" * 100_000)
            await shard.stopService()

    @waiting
    async def test_own_certificate(self) -> None:
        """Servers that ask for one get it; whoever has none is told to look at the setting."""
        address = self.serve("tls-auth-clients yes")
        own = self.authority.sign("client")
        await self.open(self.start(address, Access(tls=TLS(self.authority.file, own.certificate, own.key))))
        without = self.start(address, Access(tls=TLS(self.authority.file)))
        self.assertIn("check REDIS_TLS", await self.problem(without, "TLS failed"))

    @waiting
    async def test_unknown_authority(self) -> None:
        """A server whose certificate somebody else signed is not spoken to."""
        address = self.serve()
        other = Authority(self.servers.folder, "other")
        for tls in (TLS(other.file), TLS()):
            shard = self.start(address, Access(tls=tls))
            await self.problem(shard, "certificate verify failed")
            await shard.stopService()

    @waiting
    async def test_certificate_of_another_host(self) -> None:
        """Nor is one whose certificate is of another host; with the name told, it is."""
        self.own = self.authority.sign("server", "redis.example.org")
        address = self.serve()
        shard = self.start(address, Access(tls=TLS(self.authority.file)))
        await self.problem(shard, "TLS failed")
        await shard.stopService()
        await self.open(self.start(address, Access(tls=TLS(self.authority.file, name="redis.example.org"))))

    @waiting
    async def test_only_one_side(self) -> None:
        """TLS to a port without, and none to a port with it: both are said to be that."""
        address = self.serve()
        plain = self.servers.server("plain").ready().address
        encrypted = self.start(plain, Access(tls=TLS(self.authority.file)))
        await self.problem(encrypted, "if it does not speak TLS, take REDIS_TLS out")
        await self.problem(self.start(address), "if it expects TLS, set REDIS_TLS")

    @waiting
    async def test_sentinels(self) -> None:
        """Sentinels over TLS name a master that takes TLS alone; each kind has its own access."""
        files = self.files()
        port = free_port()
        master = self.servers.server("master", f"tls-port {port}", *files)
        self.serve_or_skip(master)
        sentinel_port = free_port()
        lines = ["requirepass quiet", f"tls-port {sentinel_port}", *files, "sentinel resolve-hostnames yes"]
        lines += ["sentinel announce-hostnames yes", f"sentinel monitor shard1 localhost {port} 1"]
        sentinel = self.servers.sentinel("sentinel", {}, 1, *lines, "tls-replication yes")
        sentinel.password = ("quiet",)
        sentinel.ready()
        tls = TLS(self.authority.file)
        sentinels = Sentinels([("localhost", sentinel_port)], self.process, Access(password="quiet", tls=tls))
        sentinels.startService()
        self.addCleanup(sentinels.stopService)
        shard = self.start(sentinels, Access(tls=tls))
        await self.open(shard)
        self.assertEqual((shard.link("be").address, shard.vouched()), (f"localhost:{port}", True))


class FailoverTests(RealCase):
    """A master, two replicas and three Sentinels."""

    def setUp(self) -> None:
        super().setUp()
        self.cluster = self.servers.cluster("shard1", replicas=2, sentinels=3)

    @waiting
    async def test_kills(self) -> None:
        """Kill -9 of the master, again and again: the links are back at its successor in time, and vouched for."""
        shard = self.watched(self.cluster)
        await self.open(shard)
        for number in range(1, KILLS + 1):
            master, lineage = self.cluster.master(), shard.lineage
            master.kill()
            took = await until(lambda: not shard.state()["open"], "the links are lost") + await self.open(shard)
            print(f"links again {took:.2f} s after the kill; Sentinels wait {DOWN_AFTER / 1000:g} s of it")
            self.assertNotEqual(shard.lineage, lineage)
            await until(shard.vouched, "it is vouched for")
            self.assertEqual(await shard.link("be").call("SET", "k", number), b"OK")
            self.assertEqual(shard.failovers, number)
            if number < KILLS:
                self.cluster.settle()
                await self.open(shard)

    @waiting
    async def test_hung_master(self) -> None:
        """SIGSTOP of the master: calls fail, the links come back at its successor, and stay there when it goes on."""
        shard = self.watched(self.cluster)
        await self.open(shard)
        master = self.cluster.master()
        master.stop()
        call = shard.link("be").call("SET", "k", "v")
        with self.assertRaises(StoreUnavailable):
            await call
        await self.open(shard)
        successor = shard.link("be").address
        self.assertNotEqual(successor, f"127.0.0.1:{master.port}")
        master.go_on()
        await deferLater(reactor, 1.0)
        await until(shard.vouched, "it is vouched for")
        self.assertEqual(shard.link("be").address, successor)

    @waiting
    async def test_planned_switch(self) -> None:
        """SENTINEL FAILOVER while all is well: the links move, and a call on an old one fails."""
        shard = self.watched(self.cluster)
        await self.open(shard)
        link = shard.link("read")
        reading = link.call("XREAD", "BLOCK", 0, "STREAMS", "s", "$", timeout=None)
        reading.addErrback(lambda failure: failure.value)
        self.assertEqual(self.cluster.sentinels[0].ask("SENTINEL", "FAILOVER", "shard1"), b"OK")
        await until(lambda: not link.alive, "the old links are closed")
        self.assertIsInstance(await reading, (StoreUnavailable, RedisRefused))
        await self.open(shard)
        self.assertEqual(shard.failovers, 1)

    @waiting
    async def test_sentinels_killed(self) -> None:
        """One is not missed; without a majority the links stay, and are not vouched for; then they are again."""
        shard = self.watched(self.cluster)
        await self.open(shard)
        self.cluster.sentinels[0].kill()
        await deferLater(reactor, 6.0)
        await until(shard.vouched, "the two others vouch")
        self.cluster.sentinels[1].stop()
        await until(lambda: not shard.vouched(), "there is no majority")
        self.assertEqual(await shard.link("be").call("PING"), b"PONG")
        self.cluster.sentinels[1].go_on()
        await until(shard.vouched, "there is a majority again")

    @waiting
    async def test_unknown_shard(self) -> None:
        """The Sentinels know another name."""
        sentinels = Sentinels(self.cluster.sentinel_addresses(), self.process)
        sentinels.startService()
        self.addCleanup(sentinels.stopService)
        shard = Shard("shrad1", self.process, source=sentinels)
        shard.startService()
        self.addCleanup(shard.stopService)
        await self.problem(shard, "SENTINEL knows no master named shrad1: check SHARDS[0].shard_name; it knows: shard1")
