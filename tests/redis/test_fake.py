"""The in-memory Redis answers as a real one: the scripts, and random commands. Skipped without a redis-server."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.testing import World
from tests.redis.conformance import (
    FakePeer,
    Pair,
    Peer,
    RealPeer,
    RealServer,
    Step,
    comparable,
    find_server,
    parse,
    run,
)
from tests.redis.scripts import LIBRARY, LUA, ONE, PAIR, SCRIPTS, SINGLE

EXECUTABLE = find_server()


class ConformanceTestCase(SynchronousTestCase):
    """Real servers and fake ones."""

    if EXECUTABLE is None:
        skip = "there is no redis-server"

    def setUp(self) -> None:
        self.world = World(seed=1)
        self.addCleanup(self.world.close)

    def real_peer(self) -> RealPeer:
        """A real server."""
        assert EXECUTABLE is not None
        server = RealServer(EXECUTABLE)
        self.addCleanup(server.stop)
        peer = RealPeer(server.port)
        self.addCleanup(peer.close)
        return peer

    def fake_peer(self, name: str = "redis") -> FakePeer:
        """An in-memory server."""
        return FakePeer({"probe": LIBRARY, "single": SINGLE}, self.world, name)

    def compare(
        self, script: str, real: Peer, fake: Peer, real_words: dict[str, str], fake_words: dict[str, str]
    ) -> None:
        """Run a script on both; the words are put in place of those that begin with a dollar sign."""
        outcomes = zip(
            run(real, _filled(script, real_words)), run(fake, _filled(script, fake_words)), strict=True
        )
        differences = [
            f"{step.what}\n    real {real_reply!r}\n    fake {fake_reply!r}"
            for (step, real_reply), (_step, fake_reply) in outcomes
            if comparable(step, real_reply) != comparable(step, fake_reply)
        ]
        self.assertEqual(differences, [], "\n" + "\n".join(differences))


def _filled(script: str, words: dict[str, str]) -> list[Step]:
    texts = {"LUA": LUA, "ONE": ONE, **words}
    values = {f"${name}".encode(): text.encode() for name, text in texts.items()}
    return [
        Step(each.connection, each.what, [values.get(word, word) for word in each.argv], each.compare, each.verb)
        for each in parse(script)
    ]


class PairTests(ConformanceTestCase):
    """A master and its replica."""

    def test_pair(self) -> None:
        """What is written on one is seen on the other, and both say the same of it."""
        real, fake = (self.real_peer(), self.real_peer()), (self.fake_peer("redis-1"), self.fake_peer("redis-2"))
        self.compare(
            PAIR,
            Pair(*real),
            Pair(*fake),
            {"HOST": "127.0.0.1", "PORT": str(real[0].port), "HOST2": "127.0.0.1", "PORT2": str(real[1].port)},
            {"HOST": fake[0].server.host, "PORT": "6379", "HOST2": fake[1].server.host, "PORT2": "6379"},
        )


class ScriptTests(ConformanceTestCase):
    """Every script of scripts.py."""


def _test_of(name: str) -> None:
    def test(self: ScriptTests) -> None:
        self.compare(SCRIPTS[name], self.real_peer(), self.fake_peer(), {}, {})

    test.__name__ = f"test_{name.replace('-', '_')}"
    test.__qualname__ = f"ScriptTests.{test.__name__}"
    test.__doc__ = f"The script {name} has the same replies."
    setattr(ScriptTests, test.__name__, test)


for _name in SCRIPTS:
    _test_of(_name)


KEYS = st.sampled_from([b"a", b"b"])
NAMES = st.sampled_from([b"f", b"g", b""])
VALUES = st.sampled_from([b"1", b"-7", b"text", b"", b"9223372036854775807"])
IDS = st.sampled_from([b"0-*", b"0-1", b"0-3", b"0-7", b"1-*", b"1-1", b"2-2"])
EXACT_IDS = st.sampled_from([b"0-1", b"0-2", b"0-3", b"0-7", b"1-0", b"1-1", b"2", b"0"])
BOUNDS = st.sampled_from([b"-", b"+", b"0-2", b"(0-2", b"1", b"(1-0", b"2-2"])
PLACES = st.sampled_from([b"0", b"1", b"3", b"-1", b"-2", b"-5"])
COUNTS = st.sampled_from([b"0", b"1", b"2", b"5"])


def _command(name: str, *arguments: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    return st.tuples(*arguments).map(lambda words: [*name.encode().split(), *words])


def _with(strategy: st.SearchStrategy[list[bytes]], *more: bytes) -> st.SearchStrategy[list[bytes]]:
    return strategy.map(lambda argv: [*argv, *more])


COMMANDS = st.one_of(
    _command("SET", KEYS, VALUES),
    _with(_command("SET", KEYS, VALUES), b"NX"),
    _with(_command("SET", KEYS, VALUES), b"XX", b"GET"),
    _with(_command("SET", KEYS, VALUES), b"PX", b"1000000"),
    _command("GET", KEYS),
    _command("MGET", KEYS, KEYS),
    _command("INCRBY", KEYS, VALUES),
    _command("APPEND", KEYS, VALUES),
    _command("DEL", KEYS, KEYS),
    _command("EXISTS", KEYS, KEYS),
    _command("TYPE", KEYS),
    _command("TTL", KEYS),
    _command("PERSIST", KEYS),
    _command("RENAME", KEYS, KEYS),
    _command("HSET", KEYS, NAMES, VALUES),
    _command("HSETNX", KEYS, NAMES, VALUES),
    _command("HINCRBY", KEYS, NAMES, VALUES),
    _command("HDEL", KEYS, NAMES, NAMES),
    _command("HMGET", KEYS, NAMES, NAMES),
    _command("HGETALL", KEYS),
    _command("HLEN", KEYS),
    _command("RPUSH", KEYS, VALUES, NAMES),
    _command("LPUSH", KEYS, VALUES, NAMES),
    _command("LRANGE", KEYS, PLACES, PLACES),
    _command("LTRIM", KEYS, PLACES, PLACES),
    _command("LINDEX", KEYS, PLACES),
    _command("SADD", KEYS, NAMES),
    _command("SREM", KEYS, NAMES),
    _command("XADD", KEYS, IDS, NAMES, VALUES),
    _command("XADD", KEYS, st.just(b"MAXLEN"), COUNTS, IDS, NAMES, VALUES),
    _command("XADD", KEYS, st.just(b"NOMKSTREAM"), IDS, NAMES, VALUES),
    _command("XTRIM", KEYS, st.just(b"MINID"), EXACT_IDS),
    _command("XTRIM", KEYS, st.just(b"MAXLEN"), COUNTS),
    _command("XDEL", KEYS, EXACT_IDS, EXACT_IDS),
    _command("XSETID", KEYS, EXACT_IDS),
    _command("XLEN", KEYS),
    _command("XRANGE", KEYS, BOUNDS, BOUNDS),
    _command("XREVRANGE", KEYS, BOUNDS, BOUNDS, st.just(b"COUNT"), COUNTS),
    _command("XREAD COUNT", COUNTS, st.just(b"STREAMS"), KEYS, KEYS, EXACT_IDS, EXACT_IDS),
    _command("WATCH", KEYS),
    _command("UNWATCH"),
    _command("MULTI"),
    _command("EXEC"),
    _command("DISCARD"),
)


class RandomTests(ConformanceTestCase):
    """Commands that nobody thought of, in any order, on two connections."""

    def setUp(self) -> None:
        super().setUp()
        self.real, self.fake = self.real_peer(), self.fake_peer()

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(st.lists(st.tuples(st.sampled_from("ab"), COMMANDS), min_size=1, max_size=40))
    def test_sequences(self, commands: list[tuple[str, list[bytes]]]) -> None:
        """Strings, hashes, streams and transactions on two keys have the same replies."""
        for peer in (self.real, self.fake):
            for connection in "ab":
                for word in (b"DISCARD", b"UNWATCH"):
                    peer.send(connection, [word])
                    peer.receive(connection)
            peer.send("a", [b"FLUSHALL"])
            peer.receive("a")
        replies: list[list[bytes]] = []
        for peer in (self.real, self.fake):
            told = []
            for connection, argv in commands:
                peer.send(connection, argv)
                told.append(peer.receive(connection))
            replies.append(told)
        for place, (real, fake) in enumerate(zip(*replies, strict=True)):
            self.assertEqual(real, fake, f"{commands[: place + 1]}")
