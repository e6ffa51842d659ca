"""The functions of the Redis store: what they answer, and what they leave in the keys.

They are written twice, in Lua for Redis and in Python for the server in memory. `FunctionContract` has calls with the
answers that they must have, and runs on either (functions_rare.py has those of functions that are called now and then,
functions_moving.py those of the library that moves vbuckets);
`Both` runs everything on two servers, and complains of any difference in replies or keys, so that the same suite, and
random calls, show that the two are one.

Times come from the servers' clocks, which cannot be equal. So arguments may be a `Time`, an offset from the server's
clock, and whatever a server says of about its own time is shown as NOW; its lineage is shown as LINEAGE.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import hiredis
from attrs import define, field, frozen

from taba.store.redis.library import source
from taba.store.redis.moving_library import moving_source
from taba.testing import World
from taba.testing.redis import RedisServer
from taba.testing.redis.library import taba_library
from taba.testing.redis.library_moving import moving_library
from taba.testing.redis.resp import ReplyError

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as Suite
else:
    Suite = object

DAY = 86400
DEDUP = 14 * DAY
NOW, LINEAGE = b"NOW", b"LINEAGE"
EPOCH = 1_700_000_000.0
"""The time of servers in memory."""
CLOSE = 300.0
"""What is nearer to the server's time than so many seconds is NOW."""
_TIME = re.compile(rb"\d{9,11}\.\d{6}")
_STREAM_ID = re.compile(rb"\b\d{12,14}-\d+")


@frozen
class Time:
    """An argument: seconds from the server's present time. `row` makes a dedup row of it, touched at that time."""

    offset: float
    row: str = ""

    def at(self, now: float) -> bytes:
        """As the server gets it."""
        return f"{self.row}{now + self.offset:.6f}".encode()


@frozen
class Lineage:
    """An argument: the lineage of the server, or its last digits."""

    digits: int = 40


@frozen
class AsideId:
    """An argument: the id of an entry of X, by its place; 1-1 where there is none."""

    place: int


class Refusal(str):
    """An error reply, as far as it must be equal: its first word."""


class Server(Protocol):
    """A server with the functions, or several that are asked the same."""

    def ask(self, *argv: Any) -> Any:
        """The reply to a command, masked; a Refusal for an error."""

    def contents(self) -> dict[bytes, Any]:
        """All keys with what they hold, masked."""

    def clear(self) -> None:
        """Drop all keys."""

    def close(self) -> None:
        """The end."""


@define(eq=False)
class _Masked:
    """What both kinds of servers do alike; they bring `_raw`, which raises ReplyError."""

    _now: float = field(default=EPOCH, init=False)
    _lineage: bytes = field(default=b"", init=False)

    def _raw(self, *argv: Any) -> Any:
        raise NotImplementedError

    def _begin(self) -> None:
        """Load the functions, and find out time and lineage."""
        for text in (source(), moving_source()):
            self._raw("FUNCTION", "LOAD", "REPLACE", text)
        seconds, _ = self._raw("TIME")
        self._now = float(int(seconds))
        info = self._raw("INFO", "replication")
        self._lineage = info[info.index(b"master_replid:") + 14 :][:32]

    def ask(self, *argv: Any) -> Any:
        """See Server."""
        given: list[Any] = []
        for each in argv:
            if isinstance(each, Time):
                each = each.at(self._now)
            elif isinstance(each, Lineage):
                each = self._lineage[-each.digits :]
            elif isinstance(each, AsideId):
                entries = self._raw("XRANGE", "X", "-", "+")
                each = entries[each.place][0] if each.place < len(entries) else b"1-1"
            given.append(each)
        try:
            return self._mask(self._raw(*given))
        except ReplyError as refused:
            return Refusal(str(refused).split()[0])

    def _mask(self, reply: Any) -> Any:
        if isinstance(reply, list):
            return [self._mask(each) for each in reply]
        if not isinstance(reply, bytes):
            return reply
        if reply in (self._lineage, self._lineage[-8:]):
            return LINEAGE
        return _STREAM_ID.sub(b"ID", _TIME.sub(self._mask_time, reply))

    def _mask_time(self, found: re.Match[bytes]) -> bytes:
        offset = float(found[0]) - self._now
        if abs(offset) < CLOSE:
            return NOW
        return b"NOW%+.0fd" % (offset / DAY)

    def contents(self) -> dict[bytes, Any]:
        """See Server."""
        return {key: self._content(key) for key in sorted(self._raw("KEYS", "*"))}

    def _content(self, key: bytes) -> Any:
        kind = self._raw("TYPE", key)
        if kind == b"string":
            return self._mask(self._raw("GET", key)), self._raw("PTTL", key) > 0
        if kind == b"hash":
            flat = self._mask(self._raw("HGETALL", key))
            return dict(zip(flat[::2], flat[1::2], strict=True))
        if kind == b"list":
            return self._mask(self._raw("LRANGE", key, 0, -1))
        if kind == b"set":
            return set(self._raw("SMEMBERS", key))
        entries = self._mask(self._raw("XRANGE", key, "-", "+"))
        # Ids of logs are exact; those that come from a clock are not.
        return [(stream_id if stream_id.startswith(b"0-") else NOW, fields) for stream_id, fields in entries]

    def clear(self) -> None:
        """See Server."""
        self._raw("FLUSHALL")


@define(eq=False)
class TwinServer(_Masked):
    """The server in memory, with the functions in Python."""

    _world: World = field(init=False)
    _server: RedisServer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._world = World(seed=1, epoch=EPOCH)
        libraries = {"taba": taba_library(), "taba_moving": moving_library()}
        self._server = RedisServer(self._world.node("redis"), libraries=libraries).start()
        self._begin()

    def _raw(self, *argv: Any) -> Any:
        return _plain(self._server.ask(*argv))

    def close(self) -> None:
        """See Server."""
        self._world.close()


def _plain(reply: Any) -> Any:
    """A reply of the server in memory, as hiredis has it."""
    if isinstance(reply, list):
        return [_plain(each) for each in reply]
    if isinstance(reply, (bytes, int)) or reply is None:
        return reply
    return str(reply.text).encode()  # a simple string


@define(eq=False)
class RealServer(_Masked):
    """A redis-server that listens on a port of this host."""

    _port: int
    _socket: socket.socket = field(init=False)
    _reader: hiredis.Reader = field(factory=lambda: hiredis.Reader(replyError=ReplyError), init=False)

    def __attrs_post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=10.0)
        self._begin()

    def _raw(self, *argv: Any) -> Any:
        self._socket.sendall(hiredis.pack_command(argv))
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(1 << 16))
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def close(self) -> None:
        """See Server."""
        self._socket.close()


class Differ(AssertionError):
    """Two servers did not do the same."""


@define(eq=False)
class Both:
    """Two servers that are asked the same, and must answer and hold the same."""

    _first: Server
    _second: Server

    def ask(self, *argv: Any) -> Any:
        """See Server."""
        first, second = self._first.ask(*argv), self._second.ask(*argv)
        if first != second:
            raise Differ(f"to {argv}: {first!r} and {second!r}")
        return first

    def contents(self) -> dict[bytes, Any]:
        """See Server."""
        first, second = self._first.contents(), self._second.contents()
        if first != second:
            wrong = [key for key in first.keys() | second.keys() if first.get(key) != second.get(key)]
            raise Differ("; ".join(f"{key!r}: {first.get(key)!r} and {second.get(key)!r}" for key in sorted(wrong)))
        return first

    def clear(self) -> None:
        """See Server."""
        self._first.clear()
        self._second.clear()

    def close(self) -> None:
        """See Server."""
        self._first.close()
        self._second.close()


# ---------------------------------------------------------------------------------------------------------- the calls


def call(name: str, keys: Sequence[Any], *arguments: Any) -> tuple[Any, ...]:
    """A command that calls a function."""
    return "FCALL", f"taba_{name}", len(keys), *keys, *arguments


def batch(
    seq: int,
    after: int | None = None,
    *,
    lane: str = "a",
    place: int = 1,
    previous: Any = "",
    before: int | None = None,
    events: int = 10,
    sealed: float = 0,
    checksum: int | None = None,
    body: bytes = b"body",
) -> tuple[Any, ...]:
    """The arguments of one batch of ten events, which follows the one before it."""
    return (
        place,
        lane,
        seq,
        seq - 1 if after is None else after,
        previous,
        10 * (seq - 1) if before is None else before,
        events,
        Time(sealed),
        seq if checksum is None else checksum,
        body,
    )


def look(seq: int, *, lane: str = "a", place: int = 1) -> tuple[Any, ...]:
    """The arguments of a look."""
    return place, lane, seq, "", "", "", "", "", "", ""


def append(*batches: tuple[Any, ...], vbuckets: Sequence[int] = (1, 2), epochs: Sequence[int] = (1, 1)) -> Any:
    """A call of taba_append."""
    keys = [f"{letter}:{v}" for v in vbuckets for letter in "OLDCM"]
    return call("append", keys, DEDUP, len(vbuckets), *epochs, *(each for one in batches for each in one))


def acquire(owner: str, *vbuckets: int, milliseconds: int = 100_000) -> Any:
    """A call of taba_acquire."""
    return call("acquire", [f"{letter}:{v}" for v in vbuckets for letter in "OEQ"], owner, milliseconds)


def guard(vbucket: int, lease: str, position: str, folded: int, lineage: Any = Lineage()) -> Any:
    """A call of taba_guard for one vbucket."""
    return call("guard", [f"{letter}:{vbucket}" for letter in "OEQM"], lease, lineage, position, folded)


def load(vbucket: int) -> Any:
    """A call of taba_load."""
    return call("load", [f"{letter}:{vbucket}" for letter in "OQCT"])


class FunctionSuite(Suite):
    """The base of the contract's parts: a server, and what to say of it."""

    server: Server

    def make_server(self) -> Server:
        """The server under test."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.server = self.make_server()
        self.addCleanup(self.server.close)
        self.server.clear()
        for vbucket in (1, 2):
            self.server.ask("SET", f"O:{vbucket}", "A:1")
        self.addCleanup(self.server.contents)  # servers that are compared must hold the same in the end

    def says(self, command: tuple[Any, ...], *expected: Any) -> None:
        """An append has these outcomes."""
        reply = self.server.ask(*command)
        self.assertEqual(reply[0], LINEAGE)
        self.assertEqual([each.decode() for each in reply[1:]], list(expected))

    def holds(self, key: str, expected: Any) -> None:
        """A key has this content; None where there is none."""
        self.assertEqual(self.server.contents().get(key.encode()), expected)


class FunctionContract(FunctionSuite):
    """Each function that every batch, lease and checkpoint needs, by what it answers and what it leaves."""

    # ------------------------------------------------------------------------------------------------------- append

    def test_version(self) -> None:
        """The library says its version, and the oldest one that it serves."""
        self.assertEqual(self.server.ask(*call("version", [])), 2)
        self.assertEqual(self.server.ask(*call("serves", [])), 2)

    def test_batches_are_appended(self) -> None:
        """Batches that follow each other are in log, sizes and dedup row."""
        self.says(append(batch(1), batch(2, body=b"longer")), "ok 1 1 1 ", "ok 2 2 1 ")
        self.holds("D:1", {b"a": b"2:2:20:NOW"})
        self.holds("M:1", [b"NOW:4:4:10:10", b"NOW:6:10:10:20"])
        fields = [[b"t", NOW, b"n", b"10", b"b", body] for body in (b"body", b"longer")]
        self.holds("L:1", [(b"0-1", fields[0]), (b"0-2", fields[1])])
        self.holds("C:1", None)

    def test_lanes_and_vbuckets_are_apart(self) -> None:
        """Each lane of each vbucket counts for itself."""
        batches = [batch(1), batch(1, lane="b"), batch(1, place=2), batch(2, place=2)]
        self.says(append(*batches), "ok 1 1 1 ", "ok 1 1 1 ", "ok 1 1 1 ", "ok 2 2 1 ")
        self.holds("D:2", {b"a": b"2:2:20:NOW"})

    def test_duplicate_touches_its_row(self) -> None:
        """A duplicate is ok and moves the time of the row, never back."""
        self.server.ask("HSET", "D:1", "a", Time(-5 * DAY, "3:3:30:"), "b", Time(2 * DAY, "3:3:30:"))
        self.says(append(batch(3), batch(2), batch(3, lane="b")), "ok 3 3 0 ", "ok 3 3 0 ", "ok 3 3 0 ")
        self.holds("D:1", {b"a": b"3:3:30:NOW", b"b": b"3:3:30:NOW+2d"})
        self.holds("L:1", None)

    def test_conflicts(self) -> None:
        """Another batch under the last number, or after another one, is a conflict; without a row, too."""
        self.says(append(batch(1)), "ok 1 1 1 ")
        self.says(append(batch(1, checksum=9)), "conflict 1 1 0 ")
        self.says(append(batch(2, previous=9)), "conflict 1 1 0 ")
        self.says(append(batch(1, previous=9, lane="b")), "conflict 0 - 0 ")
        self.says(append(batch(2, previous=1)), "ok 2 2 1 ")

    def test_gap(self) -> None:
        """What follows a number that is not there is a gap."""
        self.says(append(batch(2), batch(1), batch(3)), "gap 0 - 0 ", "ok 1 1 1 ", "gap 1 1 0 ")

    def test_numbers_that_are_passed_over_are_lost(self) -> None:
        """The events that a lane gave before a batch and that never came are counted."""
        self.says(append(batch(1), batch(5, 1, before=47)), "ok 1 1 1 ", "ok 5 5 1 ")
        self.holds("C:1", {b"lost": b"37"})
        self.holds("D:1", {b"a": b"5:5:57:NOW"})

    def test_too_old(self) -> None:
        """What was sealed too long ago is refused, unless it is here already."""
        self.server.ask("HSET", "D:1", "a", Time(-5 * DAY, "3:3:30:"))
        self.says(append(batch(4, sealed=-13.1 * DAY)), "refused 3 3 0 too old")
        self.says(append(batch(3, sealed=-13.1 * DAY)), "ok 3 3 0 ")
        self.says(append(batch(4, sealed=-12.9 * DAY)), "ok 4 4 1 ")

    def test_bad_numbers(self) -> None:
        """A batch that does not follow a smaller number, from 0, is refused."""
        self.says(append(batch(1, 1), batch(1, -1), batch(0, 0)), *["refused 0 - 0 bad number"] * 3)

    def test_looks(self) -> None:
        """A look is ok up to the last number, and writes nothing."""
        self.says(append(look(1), batch(1), look(1), look(2)), "gap 0 - 0 ", "ok 1 1 1 ", "ok 1 1 0 ", "gap 1 1 0 ")
        self.holds("D:1", {b"a": b"1:1:10:NOW"})

    def test_moved(self) -> None:
        """Without the marker of this epoch nothing is appended or found."""
        self.says(append(batch(1), batch(1, place=2), epochs=(2, 1)), "moved 0 - 0 ", "ok 1 1 1 ")
        for marker in ("S:1", "I:1"):
            self.server.ask("SET", "O:2", marker)
            self.says(append(batch(2, place=2), look(1, place=2)), *["moved 1 1 0 "] * 2)
        self.server.ask("DEL", "O:2")
        self.says(append(batch(2, place=2)), "moved 1 1 0 ")

    def test_ids_go_on_after_trimming(self) -> None:
        """Ids are dense over an empty log; sizes begin anew."""
        self.says(append(batch(1)), "ok 1 1 1 ")
        self.server.ask("XTRIM", "L:1", "MINID", "0-2")
        self.server.ask("LTRIM", "M:1", 1, -1)
        self.says(append(batch(2)), "ok 2 2 1 ")
        self.holds("L:1", [(b"0-2", [b"t", NOW, b"n", b"10", b"b", b"body"])])
        self.holds("M:1", [b"NOW:4:4:10:10"])

    def test_foreign_keys(self) -> None:
        """Where somebody put something else nothing is appended by halves."""
        for letter in "OLDM":
            self.server.clear()
            self.server.ask("SET", "O:1", "A:1")
            self.server.ask("DEL", f"{letter}:1")
            self.server.ask("SADD", f"{letter}:1", "strange")
            before = self.server.contents()
            self.assertEqual(self.server.ask(*append(batch(1))), "WRONGTYPE")
            self.assertEqual(self.server.contents(), before)

    def test_foreign_ledger(self) -> None:
        """A batch whose lost events cannot be counted is in the log, and a duplicate when it comes again."""
        self.server.ask("HSET", "C:1", "lost", "strange")
        self.assertEqual(self.server.ask(*append(batch(2, 0))), "ERR")
        self.says(append(batch(2, 0)), "ok 2 2 0 ")

    def test_large_numbers_are_exact(self) -> None:
        """Numbers up to 2**53 - 1 stay what they are."""
        most = 2**53 - 1
        self.says(append(batch(most, 0, before=most - 10, checksum=2**32 - 1)), f"ok {most} {2**32 - 1} 1 ")
        self.holds("D:1", {b"a": f"{most}:{2**32 - 1}:{most}:NOW".encode()})
        self.holds("C:1", {b"lost": str(most - 10).encode()})

    def test_prune(self) -> None:
        """Rows that nobody touched for DEDUP_DAYS go; those that somebody did stay, and so do those not named."""
        rows = {"old": -15, "young": -13, "other": -20}
        self.server.ask("HSET", "D:1", *(each for lane in rows for each in (lane, Time(rows[lane] * DAY, "1:1:1:"))))
        self.assertEqual(self.server.ask(*call("prune", ["D:1"], Time(0), DEDUP, "old", "young", "gone")), 1)
        self.holds("D:1", {b"young": b"1:1:1:NOW-13d", b"other": b"1:1:1:NOW-20d"})

    def test_prune_does_not_believe_a_clock_that_runs_ahead(self) -> None:
        """A be whose clock is days ahead makes no lane forgotten."""
        self.server.ask("HSET", "D:1", "a", Time(0, "1:1:1:"))
        self.assertEqual(self.server.ask(*call("prune", ["D:1"], Time(30 * DAY), DEDUP, "a")), 0)

    # ------------------------------------------------------------------------------------------------------- owners

    def test_leases(self) -> None:
        """A lease has one holder; each grant has a higher epoch, and is in the position."""
        self.assertEqual(self.server.ask(*acquire("be-1", 1, 2)), [1, 1])
        self.assertEqual(self.server.ask(*acquire("be-2", 1)), [0])
        self.assertEqual(self.server.ask(*acquire("be-1", 1)), [2])
        self.holds("E:1", (b"be-1:2", True))
        self.holds("Q:1", (b"0:0:2", False))
        self.server.ask("DEL", "E:1")
        self.server.ask("SET", "Q:1", "7:9:2")
        self.assertEqual(self.server.ask(*acquire("be-2", 1)), [3])
        self.holds("Q:1", (b"7:9:3", False))

    def test_owners_may_have_any_name(self) -> None:
        """Colons and numbers in names do not mix holders up."""
        self.assertEqual(self.server.ask(*acquire("be:1", 1)), [1])
        self.assertEqual(self.server.ask(*acquire("be", 1)), [0])
        self.assertEqual(self.server.ask(*acquire("bä:é 1", 2)), [1])
        self.assertEqual(self.server.ask(*acquire("bä:é 1", 2)), [2])

    def test_leases_need_a_marker(self) -> None:
        """What is not here, or being imported, is not granted; what is sealed is."""
        self.server.ask("SET", "O:1", "I:2")
        self.server.ask("SET", "O:2", "S:1")
        self.assertEqual(self.server.ask(*acquire("be", 1, 2, 3)), [0, 1, 0])

    def test_renew_and_release(self) -> None:
        """Only what is held is prolonged, or given back."""
        self.server.ask(*acquire("be", 1, 2))
        leases = ["be:1", "be:2", "be:1"]
        self.assertEqual(self.server.ask(*call("renew", ["E:1", "E:2", "E:3"], 5000, *leases)), [1, 0, 0])
        self.assertEqual(self.server.ask(*call("renew", ["E:1", "E:2", "E:3"], 0, *leases)), [1, 0, 0])
        self.holds("E:1", None)
        self.holds("E:2", (b"be:1", True))

    def test_load(self) -> None:
        """A load has marker, lineage, position, ledger and Types, with what stands for nothing."""
        self.assertEqual(self.server.ask(*load(1)), [b"A:1", LINEAGE, b"0:0:0", b"{}", []])
        self.server.ask("SET", "Q:3", "4:5:6")
        self.server.ask("HSET", "C:3", "row", "{1}", "lost", 7)
        self.server.ask("HSET", "T:3", "tab", "Type")
        self.assertEqual(self.server.ask(*load(3)), [None, LINEAGE, b"4:5:6", b"{1}", [b"tab", b"Type"]])

    def test_guard(self) -> None:
        """A checkpoint may be written by the holder of the lease, on the position and lineage it knows, up to the log's
        end.
        """
        self.server.ask(*append(batch(1), batch(2)))
        self.server.ask(*acquire("be", 1))
        for folded, answer in ((0, b"done"), (2, b"done"), (3, b"stale")):
            self.assertEqual(self.server.ask(*guard(1, "be:1", "0:0:1", folded)), [answer])
        self.assertEqual(self.server.ask(*guard(1, "be:1", "0:1:1", 0)), [b"stale"])
        self.assertEqual(self.server.ask(*guard(1, "be:1", "0:0:1", 0, "f" * 32)), [b"stale"])
        self.assertEqual(self.server.ask(*guard(1, "be:2", "0:0:1", 0)), [b"fenced"])
        self.assertEqual(self.server.ask(*guard(2, "be:1", "0:0:0", 0)), [b"fenced"])
        for marker, answer in (("S:1", b"done"), ("I:1", b"fenced")):
            self.server.ask("SET", "O:1", marker)
            self.assertEqual(self.server.ask(*guard(1, "be:1", "0:0:1", 0)), [answer])
        self.server.ask("DEL", "O:1")
        self.assertEqual(self.server.ask(*guard(1, "be:1", "0:0:1", 0)), [b"fenced"])

    def test_guard_of_several(self) -> None:
        """Each is judged for itself."""
        self.server.ask(*acquire("be", 1, 2))
        keys = [f"{letter}:{v}" for v in (1, 2) for letter in "OEQM"]
        arguments = ["be:1", Lineage(), "0:0:1", 0, "be:1", Lineage(), "1:0:1", 0]
        self.assertEqual(self.server.ask(*call("guard", keys, *arguments)), [b"done", b"stale"])

    # -------------------------------------------------------------------------------------------------- checkpoints

    def test_depth(self) -> None:
        """Of logs that are not empty there is the number of entries, and the first and last of their sizes."""
        self.assertEqual(self.server.ask(*call("depth", ["M:1", "M:2"])), [])
        self.server.ask(*append(batch(1, place=2), batch(2, place=2), batch(3, place=2)))
        expected = [2, 3, b"NOW:4:4", b"NOW:4:12"]
        self.assertEqual(self.server.ask(*call("depth", ["M:1", "M:2"])), expected)

    def test_present(self) -> None:
        """A digit for each State, in order."""
        self.server.ask("HSET", "H:1:t", "a", 1, " ", 2)
        self.server.ask("HSET", "H:1:u", "b", 1)
        command = call("present", ["H:1:t", "H:1:none", "H:1:u"], 3, "a", "b", " ", 0, 2, "a", "b")
        self.assertEqual(self.server.ask(*command), b"10101")
        self.assertEqual(self.server.ask(*call("present", [])), b"")

    def test_count_clients(self) -> None:
        """Counts rise and fall; a client without States goes."""
        self.assertEqual(self.server.ask(*call("count_clients", ["N:1"], "a", 2, "b", 1, "c", -1)), 3)
        self.assertEqual(self.server.ask(*call("count_clients", ["N:1"], "a", -1, "b", -1)), 2)
        self.holds("N:1", {b"a": b"1"})

    def test_tidy(self) -> None:
        """A tab goes when it has neither State nor Aggregate; a Type goes when it is told to."""
        self.server.ask("HSET", "T:1", "states", "X", "aggregate", "", "bare", "", "typed", "X", "gone", "X")
        self.server.ask("HSET", "H:1:states", "c", 1)
        self.server.ask("HSET", "A:1", "aggregate", 1)
        tabs = ["states", "aggregate", "bare", "typed", "gone", "never"]
        drops = [1, 0, 0, 0, 1, 1]
        arguments = [each for pair in zip(tabs, drops, strict=True) for each in pair]
        self.assertEqual(self.server.ask(*call("tidy", ["T:1", "A:1", *(f"H:1:{tab}" for tab in tabs)], *arguments)), 6)
        self.holds("T:1", {b"states": b"", b"aggregate": b"", b"typed": b"X"})

    # ----------------------------------------------------------------------------------------------------- founding

    def test_found(self) -> None:
        """The first who founds a shard decides whose it is; markers are made while it is being founded."""
        keys = ["meta", "O:5", "O:6"]
        self.assertEqual(self.server.ask(*call("found", keys, "one", 8, "memory", "s", 0)), [b"one", b"founding"])
        self.holds("O:5", (b"A:1", False))
        self.assertEqual(self.server.ask(*call("found", keys, "two", 8, "memory", "s", 0)), [b"one", b"other"])
        self.server.ask("HSET", "meta", "state", "ready")
        self.server.ask("DEL", "O:6")
        self.assertEqual(self.server.ask(*call("found", keys, "one", 9, "fsynced", "t", 0)), [b"one", b"ready"])
        self.holds("O:6", None)
        meta = {b"cluster": b"one", b"vbuckets": b"8", b"durability": b"memory", b"shard": b"s", b"format": b"1"}
        self.holds("meta", {**meta, b"state": b"ready"})

    def test_found_anew(self) -> None:
        """Markers that were lost are made again when somebody says so; those that are there stay."""
        self.server.ask("HSET", "meta", "cluster", "one", "state", "ready")
        self.server.ask("SET", "O:5", "S:3")
        self.assertEqual(
            self.server.ask(*call("found", ["meta", "O:5", "O:6"], "one", 8, "memory", "s", 1)), [b"one", b"ready"]
        )
        self.holds("O:5", (b"S:3", False))
        self.holds("O:6", (b"A:1", False))

    def test_missing_functions(self) -> None:
        """A function that is not there is an error."""
        self.assertEqual(self.server.ask("FCALL", "taba_none", 0), "ERR")
