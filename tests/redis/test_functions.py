"""functions.lua on a real redis-server does what its twin in Python does on the server in memory: the suite, and random
calls. Skipped without a redis-server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.contracts.functions import (
    DAY,
    AsideId,
    Both,
    FunctionContract,
    Lineage,
    RealServer,
    Time,
    TwinServer,
    acquire,
    append,
    call,
    guard,
    load,
)
from tests.contracts.functions_moving import MovingFunctionContract
from tests.contracts.functions_rare import RareFunctionContract, flush, refolded, rename
from tests.redis.real import RedisProcess, Servers, missing
from tests.strategies import law, mostly

vbuckets = st.integers(1, 2)
lanes = st.sampled_from(["a", "b"])
tabs = st.sampled_from(["t", "u:1", "ü"])
clients = st.sampled_from(["c", "d e", "ç:", " "])
owners = st.sampled_from(["be", "be:1", "bé"])
numbers = mostly(st.integers(0, 4), st.sampled_from([-1, 7, 2**53 - 1]))
offsets = st.sampled_from([0, 0, 0, DAY, -5 * DAY, -12.9 * DAY, -13.1 * DAY, -30 * DAY])

batches = st.builds(
    lambda place, lane, seq, back, previous, before, events, sealed, checksum, body: (
        (place, lane, seq, max(-1, seq - back), previous, before, events, Time(sealed), checksum, body)
        if body is not None
        else (place, lane, seq, "", "", "", "", "", "", "")
    ),
    vbuckets,
    lanes,
    numbers,
    mostly(st.just(1), st.integers(-1, 3)),
    mostly(st.just(""), st.integers(1, 2)),
    mostly(st.integers(0, 40), st.just(2**52)),
    st.integers(0, 9),
    offsets,
    st.integers(1, 2),
    mostly(st.binary(max_size=12), st.none()),
)
rows = st.builds(
    lambda last, checksum, events, touched: Time(touched, f"{last}:{checksum}:{events}:"),
    st.integers(1, 4),
    st.integers(1, 2),
    st.integers(0, 40),
    offsets,
)


def _pairs(names: Sequence[str], values: Sequence[Any]) -> list[Any]:
    return [each for pair in zip(names, values, strict=False) for each in pair]


asides = st.tuples(
    st.integers(0, 4),
    st.integers(0, 60),
    st.lists(st.tuples(st.just("why"), tabs, clients, st.just("Gauge"), st.integers(0, 9), st.binary(max_size=40))),
    st.sampled_from([(), (1,), (2,)]),
)
members = st.sampled_from(["one", "two:2"])
lineages = st.sampled_from([Lineage(8), "0" * 8])
aside_ids = st.one_of(st.integers(0, 3).map(AsideId), st.sampled_from(["1-1", "0-0", "99999999999999-1"]))
folds = st.tuples(vbuckets, st.integers(0, 4))

appends = mostly(
    st.lists(batches, min_size=1, max_size=6).map(lambda drawn: append(*drawn)),
    st.lists(batches, min_size=1, max_size=6).map(lambda drawn: append(*drawn, vbuckets=(2, 1), epochs=(1, 2))),
)
others = st.one_of(
    st.tuples(vbuckets, lanes, rows).map(lambda one: ("HSET", f"D:{one[0]}", one[1], one[2])),
    st.tuples(vbuckets, offsets).map(lambda one: call("prune", [f"D:{one[0]}"], Time(one[1]), 14 * DAY, "a", "b", "c")),
    st.tuples(vbuckets, st.sampled_from(["A:1", "A:1", "A:2", "S:1", "I:1"])).map(
        lambda one: ("SET", f"O:{one[0]}", one[1])
    ),
    st.tuples(st.sampled_from("OEQTHACN"), vbuckets).map(lambda one: ("DEL", f"{one[0]}:{one[1]}")),
    st.tuples(owners, st.lists(st.integers(1, 3), min_size=1, max_size=3)).map(lambda one: acquire(one[0], *one[1])),
    st.tuples(st.sampled_from([0, 90_000]), owners, st.integers(1, 3)).map(
        lambda one: call("renew", ["E:1", "E:2"], one[0], f"{one[1]}:{one[2]}", f"{one[1]}:1")
    ),
    st.integers(1, 3).map(load),
    st.tuples(vbuckets, owners, numbers, numbers, st.integers(0, 2), st.booleans()).map(
        lambda one: guard(
            one[0], f"{one[1]}:1", f"{one[4]}:{one[4]}:1", one[2], Lineage() if one[5] else "0" * 32
        )
    ),
    folds.map(lambda one: ("SET", f"Q:{one[0]}", f"{one[1]}:{one[1]}:1")),
    folds.map(lambda one: ("XTRIM", f"L:{one[0]}", "MINID", f"0-{one[1] + 1}")),
    folds.map(lambda one: ("LTRIM", f"M:{one[0]}", one[1], -1)),
    st.just(call("depth", ["M:1", "M:2", "M:3"])),
    st.tuples(tabs, clients, st.integers(0, 9)).map(lambda one: ("HSET", f"H:1:{one[0]}", one[1], one[2])),
    st.tuples(tabs, clients).map(lambda one: ("HDEL", f"H:1:{one[0]}", one[1])),
    st.tuples(tabs, st.sampled_from(["", "X"])).map(lambda one: ("HSET", "T:1", one[0], one[1])),
    st.tuples(st.sampled_from(["HSET", "HDEL"]), tabs).map(lambda one: (one[0], "A:1", one[1], "1")),
    st.lists(clients, max_size=4).map(
        lambda some: call("present", ["H:1:t", "H:1:ü"], len(some), *some, len(some[1:]), *some[1:])
    ),
    st.lists(st.tuples(clients, st.integers(-2, 2)), max_size=4).map(
        lambda some: call("count_clients", ["N:1"], *(each for pair in some for each in pair))
    ),
    st.lists(st.tuples(tabs, st.integers(0, 1)), max_size=4).map(
        lambda some: call(
            "tidy", ["T:1", "A:1", *(f"H:1:{tab}" for tab, _ in some)], *(each for pair in some for each in pair)
        )
    ),
    asides.map(
        lambda one: call("set_aside", ["X", "XM"], one[0], one[1], *(each for row in one[2] for each in row), *one[3])
    ),
    st.tuples(st.integers(0, 2), st.lists(st.tuples(lineages, aside_ids), max_size=3)).map(
        lambda one: refolded(one[0], *(each for pair in one[1] for each in pair))
    ),
    st.integers(1, 9).map(lambda size: ("RPUSH", "XM", size)),
    st.tuples(tabs, tabs).map(lambda one: rename(*one)),
    st.tuples(tabs, tabs).map(lambda one: rename(*one)),
    vbuckets.map(flush),
    vbuckets.map(lambda vbucket: ("RPUSH", f"M:{vbucket}", "1.500000:4:4")),
    st.tuples(members, st.sampled_from([0, 5000, 90_000]), st.sampled_from(["{}", "a:b"])).map(
        lambda one: call("publish", ["P"], *one)
    ),
    st.sampled_from(["1.5:9:{}", "99999999999.5:9:{}"]).map(lambda value: ("HSET", "P", "one", value)),
    st.just(call("members", ["P"])),
    st.tuples(st.sampled_from(["one", "two"]), st.integers(0, 1)).map(
        lambda one: call("found", ["meta", "O:1", "O:3"], one[0], 3, "memory", "shard", one[1])
    ),
    st.just(("HSET", "meta", "state", "ready")),
)
commands = st.integers(0, 2).flatmap(lambda kind: others if kind else appends)


class Compared:
    """A server in memory, and one redis-server for all tests of a class, which ends with the test run."""

    servers: ClassVar[Servers | None] = None
    real: ClassVar[RedisProcess]

    def make_server(self) -> Both:
        """Both of them."""
        kind = type(self)
        if kind.servers is None:
            kind.servers = Servers()
            kind.real = kind.servers.server()
            kind.real.ready()
        return Both(TwinServer(), RealServer(kind.real.port))


class FunctionTests(Compared, FunctionContract, SynchronousTestCase):
    """The functions in Lua do what they must, and what those in Python do."""

    skip = missing()


class RareFunctionTests(Compared, RareFunctionContract, SynchronousTestCase):
    """So do those that are called now and then."""

    skip = missing()


class MovingFunctionTests(Compared, MovingFunctionContract, SynchronousTestCase):
    """And those that move vbuckets."""

    skip = missing()


class FullServerTests(Compared, SynchronousTestCase):
    """A redis-server without memory left."""

    skip = missing()

    def test_what_goes_on(self) -> None:
        """Nothing is appended; leases, deletes and what ends a transaction go on."""
        self.make_server().close()
        server = RealServer(self.real.port)
        self.addCleanup(server.close)
        self.addCleanup(server.ask, "CONFIG", "SET", "maxmemory", "0")
        server.clear()
        server.ask("SET", "O:1", "A:1")
        server.ask("HSET", "D:1", "old", Time(-15 * DAY, "1:1:1:"))
        server.ask("CONFIG", "SET", "maxmemory", "1")
        batch = (1, "a", 1, 0, "", 0, 1, Time(0), 1, b"body")
        self.assertEqual(server.ask(*append(batch, vbuckets=[1], epochs=[1])), "OOM")
        self.assertEqual(server.ask(*acquire("be", 1)), [1])
        self.assertEqual(server.ask(*call("renew", ["E:1"], 5000, "be:1")), [1])
        self.assertEqual(server.ask(*call("count_clients", ["N:1"], "c", 1)), 1)
        self.assertEqual(server.ask(*call("tidy", ["T:1", "A:1", "H:1:t"], "t", 1)), 1)
        self.assertEqual(server.ask(*call("set_aside", ["X", "XM"], 3, 99, "why", "t", "c", "X", 1, b"p")), 0)
        self.assertEqual(server.ask(*call("prune", ["D:1"], Time(0), 14 * DAY, "old")), 1)
        server.ask("CONFIG", "SET", "maxmemory", "0")
        server.ask("HSET", "T:1", "tab", "X")
        server.ask("HSET", "H:1:tab", "c", 1)
        server.ask(*append(batch, vbuckets=[1], epochs=[1]))
        server.ask("CONFIG", "SET", "maxmemory", "1")
        self.assertEqual(server.ask(*rename("tab", "new")), 1)
        self.assertEqual(server.ask(*refolded(1, "0" * 8, AsideId(0))), 0)
        self.assertEqual(server.ask(*call("publish", ["P"], "one", 5000, "{}")), 1)
        self.assertEqual(server.ask(*call("members", ["P"])), [b"one", b"{}"])
        self.assertEqual(server.ask(*flush(1)), 1)


class RandomTests(Compared, SynchronousTestCase):
    """Calls that nobody thought of."""

    skip = missing()

    def setUp(self) -> None:
        self.server = self.make_server()
        self.addCleanup(self.server.close)

    @law(st.lists(commands, min_size=1, max_size=40), examples=150)
    def test_same_replies_and_keys(self, drawn: list[tuple[Any, ...]]) -> None:
        """Whatever is called, in whatever order, both answer alike and hold the same."""
        self.server.clear()
        for vbucket in (1, 2):
            self.server.ask("SET", f"O:{vbucket}", "A:1")
        for each in drawn:
            self.server.ask(*each)
        self.server.contents()
