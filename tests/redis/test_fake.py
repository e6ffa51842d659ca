"""The in-memory Redis answers as a real one: the scripts, and random commands. Skipped without a redis-server."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.redis.conformance import FakePeer, RealPeer, RealServer, Step, comparable, find_server, parse, run
from tests.redis.scripts import LIBRARY, LUA, SCRIPTS

EXECUTABLE = find_server()


class ConformanceTestCase(SynchronousTestCase):
    """A real server and a fake one."""

    if EXECUTABLE is None:
        skip = "there is no redis-server"

    def setUp(self) -> None:
        assert EXECUTABLE is not None
        server = RealServer(EXECUTABLE)
        self.addCleanup(server.stop)
        self.real, self.fake = RealPeer(server.port), FakePeer({"probe": LIBRARY})
        self.addCleanup(self.real.close)
        self.addCleanup(self.fake.close)

    def compare(self, script: str) -> None:
        """Run a script on both, each from an empty state."""
        steps = [*parse("FLUSHALL"), *parse(script)]
        steps = [
            Step(each.connection, each.what, [LUA.encode() if word == b"$LUA" else word for word in each.argv],
                 each.compare, each.verb)
            for each in steps
        ]  # fmt: skip
        differences = []
        for (step, real), (_step, fake) in zip(run(self.real, steps), run(self.fake, steps), strict=True):
            if comparable(step, real) != comparable(step, fake):
                differences.append(f"{step.what}\n    real {real!r}\n    fake {fake!r}")
        self.assertEqual(differences, [], "\n" + "\n".join(differences))


class ScriptTests(ConformanceTestCase):
    """Every script of scripts.py."""


def _test_of(name: str) -> None:
    def test(self: ScriptTests) -> None:
        self.compare(SCRIPTS[name])

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

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(st.lists(st.tuples(st.sampled_from("ab"), COMMANDS), min_size=1, max_size=40))
    def test_sequences(self, commands: list[tuple[str, list[bytes]]]) -> None:
        """Strings, hashes, streams and transactions on two keys have the same replies."""
        for peer in (self.real, self.fake):
            for connection in "ab":
                peer.send(connection, [b"DISCARD"])
                peer.receive(connection)
            peer.send("a", [b"FLUSHALL"])
            peer.receive("a")
            peer.send("a", [b"UNWATCH"])
            peer.receive("a")
            peer.send("b", [b"UNWATCH"])
            peer.receive("b")
        replies: list[list[bytes]] = []
        for peer in (self.real, self.fake):
            told = []
            for connection, argv in commands:
                peer.send(connection, argv)
                told.append(peer.receive(connection))
            replies.append(told)
        for place, (real, fake) in enumerate(zip(*replies, strict=True)):
            self.assertEqual(real, fake, f"{commands[: place + 1]}")
