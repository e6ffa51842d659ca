"""FUNCTION and FCALL with Python twins."""

from __future__ import annotations

from taba.testing.redis import FunctionCall, FunctionLibrary, Reply, ReplyError, Status, With
from tests.testing.redis.talk import LIB, RedisTestCase, library


def append(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    """Appends to a stream and counts in a hash."""
    entry = call("XADD", keys[0], "0-*", "b", args[0])
    return [entry, call("HINCRBY", keys[1], "n", 1), call("TIME"), None]


def half(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    """Writes, then fails in a command."""
    call("SET", keys[0], "written")
    return call("INCR", keys[0])


def refuse(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    """Writes, then refuses."""
    call("SET", keys[0], "written")
    raise ReplyError("MOVED elsewhere")


def look(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
    """Reads."""
    return call("GET", keys[0])


class FunctionTests(RedisTestCase):
    """A master and a replica."""

    def setUp(self) -> None:
        super().setUp()
        functions = {"append": append, "half": half, "refuse": refuse, "look": look}
        libraries = {"lib": FunctionLibrary("lib", functions, read_only=frozenset({"look"}))}
        self.master, self.replica = self.pair(libraries=libraries)
        self.one = self.client(self.master)

    def test_effects_are_replicated(self) -> None:
        """The replica gets what was written, not the call: a second run could see another time."""
        self.one.do("FUNCTION", "LOAD", LIB)
        entry, count, time, nothing = self.one.do("FCALL", "append", 2, "log", "h", "blob")
        self.assertEqual((entry, count, len(time), nothing), (b"0-1", 1, 2, None))
        self.assertEqual(self.one.do("WAIT", 1, 1000), 1)
        self.assertEqual(self.replica.ask("XRANGE", "log", "-", "+"), [[b"0-1", [b"b", b"blob"]]])
        self.assertEqual(self.replica.ask("HGETALL", "h"), [b"n", b"1"])

    def test_library_is_replicated_and_kept(self) -> None:
        """A promoted replica has the library, and so has a restarted server."""
        self.one.do("FUNCTION", "LOAD", LIB)
        self.one.do("WAIT", 1, 1000)
        self.replica.promote()
        self.assertEqual(self.client(self.replica).do("FCALL", "append", 2, "l", "h", "b")[0], b"0-1")
        self.master.restart(With.ITS_DATA)
        self.assertEqual(self.client(self.master).do("FCALL", "append", 2, "l", "h", "b")[0], b"0-1")

    def test_unknown_function(self) -> None:
        """A function whose library was not loaded is not there."""
        self.assertEqual(self.one.error("FCALL", "append", 0), "ERR Function not found")
        self.one.do("FUNCTION", "LOAD", LIB)
        self.one.do("FUNCTION", "DELETE", "lib")
        self.assertEqual(self.one.error("FCALL", "append", 0), "ERR Function not found")

    def test_failing_half_way(self) -> None:
        """What a function wrote before a command failed stays, here and on the replica."""
        self.one.do("FUNCTION", "LOAD", LIB)
        self.assertEqual(
            self.one.error("FCALL", "half", 1, "k"),
            "ERR value is not an integer or out of range script: half, on @user_function:1.",
        )
        self.assertEqual(self.one.error("FCALL", "refuse", 1, "m"), "MOVED elsewhere")
        self.one.do("WAIT", 1, 1000)
        self.assertEqual(self.replica.ask("MGET", "k", "m"), [b"written", b"written"])

    def test_replica_runs_readers_only(self) -> None:
        """A replica runs functions that were registered as readers."""
        self.one.do("FUNCTION", "LOAD", LIB)
        self.one.do("SET", "k", "v")
        self.one.do("WAIT", 1, 1000)
        there = self.client(self.replica)
        self.assertEqual(there.do("FCALL", "look", 1, "k"), b"v")
        read_only = "READONLY You can't write against a read only replica."
        self.assertEqual(there.error("FCALL", "refuse", 1, "k"), read_only)
        self.assertTrue(there.error("FUNCTION", "LOAD", "REPLACE", LIB).startswith("READONLY"))

    def test_text_that_no_twin_stands_for(self) -> None:
        """A library that the server was given no Python for cannot be loaded."""
        self.assertIn("was given no Python library 'other'", self.one.error("FUNCTION", "LOAD", "#!lua name=other\n"))

    def test_inside_a_transaction(self) -> None:
        """FCALL runs inside MULTI, and its error is an element of the answer."""
        self.one.do("FUNCTION", "LOAD", LIB)
        for argv in (("MULTI",), ("FCALL", "refuse", 1, "k"), ("GET", "k"), ("EXEC",)):
            answer = self.one.do(*argv)
        self.assertEqual((str(answer[0]), answer[1]), ("MOVED elsewhere", b"written"))

    def test_min_replicas(self) -> None:
        """A function that may write is refused like a write when replicas are missing; a reader is not."""
        self.one.do("FUNCTION", "LOAD", LIB)
        self.one.do("CONFIG", "SET", "min-replicas-to-write", 2)
        self.assertEqual(
            self.one.error("FCALL", "append", 2, "l", "h", "b"), "NOREPLICAS Not enough good replicas to write."
        )
        self.assertIsNone(self.one.do("FCALL", "look", 1, "k"))


class ValueTests(RedisTestCase):
    """What a function may return, and what `call` gives it."""

    def test_returned_values(self) -> None:
        """Values are answered as Redis answers Lua's."""
        values = {"a": b"x", "b": "text", "c": 7, "d": True, "e": False, "f": 3.9, "g": [1, [b"y", None]], "h": None}
        functions = {name: lambda call, keys, args, value=value: value for name, value in values.items()}
        client = self.client(self.server("redis", libraries=library(**functions)))
        client.do("FUNCTION", "LOAD", LIB)
        answers = [client.do("FCALL", name, 0) for name in values]
        self.assertEqual(answers, [b"x", b"text", 7, 1, None, 3, [1, [b"y", None]], None])

    def test_what_call_gives(self) -> None:
        """Nil is None, also in place of a nil array; statuses are Status; arrays are lists."""
        seen: list[Reply] = []

        def probe(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
            seen.append(call("GET", "missing"))
            seen.append(call("SET", "a", 1))
            seen.append(call("XREAD", "STREAMS", "s", "0"))
            seen.append(call("HMGET", "h", "f"))
            seen.append(call("INCRBY", "a", 5))
            return Status("FINE")

        client = self.client(self.server("redis", libraries=library(probe=probe)))
        client.do("FUNCTION", "LOAD", LIB)
        self.assertEqual(client.do("FCALL", "probe", 0), b"FINE")
        self.assertEqual(seen, [None, Status("OK"), None, [None], 6])

    def test_forbidden_commands(self) -> None:
        """What Redis does not run from scripts is not run here either."""
        errors: list[str] = []

        def probe(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
            for argv in (("WAIT", 1, 0), ("MULTI",), ("NOSUCH",), ("GET",)):
                try:
                    call(*argv)
                except ReplyError as error:
                    errors.append(error.text)
            return None

        client = self.client(self.server("redis", libraries=library(probe=probe)))
        client.do("FUNCTION", "LOAD", LIB)
        client.do("FCALL", "probe", 0)
        forbidden = "ERR This Redis command is not allowed from script"
        unknown = "ERR Unknown Redis command called from script"
        few = "ERR Wrong number of args calling Redis command from script"
        self.assertEqual(errors, [forbidden, forbidden, unknown, few])
