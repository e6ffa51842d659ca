"""Native StatsD beside its twin: any lines, however they are cut, come to the same events and counts."""

from __future__ import annotations

from typing import Any

from hypothesis import example
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.errors import WrongType
from tests.native.verdicts import plain
from tests.strategies import law
from tests.twin import accumulator, statsd

NOW, NEWEST = 1_700_000_000.25, 1_700_000_060.0
TYPES = {
    "c": ("CounterGroup", native.COUNTER_GROUP), "g": ("Gauge", native.GAUGE),
    "ms": ("PercentileGroup", native.PERCENTILE_GROUP), "h": ("Number", native.RAW_NUMBER), "d": ("", 0),
    "s": ("Text", native.RAW),
}  # fmt: skip
SETS = {True: ("UniqueGroup", native.UNIQUE_GROUP), False: TYPES["s"]}
"""What sets may be: counted, or kept."""
KINDS = {name: kind for name, kind in (*TYPES.values(), *SETS.values()) if name}

NAMES = st.sampled_from(["a", "web.hits", "a b", "a_b", "é", "x" * 40, "x" * 600, "", "_sc", "_e", "a;b=c", "a|b"])
VALUES = st.one_of(
    st.sampled_from(
        ["1", "0", "-0", "+3", "-2.5", ".5", "5.", "007", "1e3", "1E-3", "1e999", "nan", "inf", "", ".", "+", "1.5.2",
         "12.3", "9007199254740993", "0.1", "1e-7", "123456789.123456789", "0" * 127 + "1", "1" * 129, "0x10", "\uff11"]
    ),
    st.floats(allow_nan=False).map(repr),
    st.integers(-(10**20), 10**20).map(str),
)  # fmt: skip
SECTIONS = st.sampled_from(
    ["", "@0.1", "@1", "@0.3", "@0.001", "@0.0009", "@0", "@2", "@", "@x", "@.5", "#a:b", "#b:1,a:2", "#a:2,b:1", "#",
     "#,,", "#a", "#a=b:c=d:e", "#a;b:c;d", "#é:ü", "#a:b,a:b", "#" + ",".join(f"t{n}" for n in range(129)),
     "T1700000000", "T1700000060", "T1700000061", "T", "T-1", "T1.5", "T999999999999999", "T" + "1" * 16, "c:abc",
     "e:it-false,cn-x", "card:low", "zz:", "C:1", "zz", ":"]
)  # fmt: skip
WORDS = st.sampled_from(["c", "g", "ms", "h", "d", "s", "m", "", "C", "kv"])


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Right lines, wrong lines, and lines that are none."""
    if draw(st.integers(0, 9)) == 0:
        return draw(
            st.one_of(st.binary(max_size=30), st.sampled_from([b"_e{1,1}:a|b", b"_sc|a|0", b"\r", b"x" * 70_000, b""]))
        )
    values = ":".join(draw(st.lists(VALUES, min_size=1, max_size=3)))
    text = "|".join([f"{draw(NAMES)}:{values}", draw(WORDS), *draw(st.lists(SECTIONS, max_size=3))])
    return text.encode("latin-1", "replace") if draw(st.booleans()) else text.encode()


TEXTS = st.lists(st.tuples(lines(), st.sampled_from([b"\n", b"\n", b"\r\n"])), max_size=25).map(
    lambda found: b"".join(line + end for line, end in found)
)


def outcome_of_twin(text: bytes, flag: bool, max_name: int) -> Any:
    """Counts and sections by the twin."""
    twin = statsd.Statsd("host", {**TYPES, "s": SETS[flag]}, flag, max_name)
    twin.text(text, statsd.Clock(NOW, NEWEST))
    events = twin.events()
    partials = accumulator.Accumulator()
    stamp = partials.merge(events, 1000)
    counts = twin.lines, len(events), dict(twin.refused), dict(twin.ignored), twin.collisions, len(twin.tabs)
    return counts, stamp, plain(partials.encode(4))


def made(flag: bool, max_name: int) -> native.Statsd:
    """A native one that knows the Types. With the flag sets are counted, and signs are changes of gauges."""
    gatherer = native.Statsd("host", max_name=max_name, signed_gauges=flag)
    for metric, (name, kind) in {**TYPES, "s": SETS[flag]}.items():
        gatherer.map(metric, name, kind)
    gatherer.at(NOW, NEWEST)
    return gatherer


def outcome_of(gatherer: native.Statsd) -> Any:
    """Counts and sections by the native one."""
    scratch = native.StatsdScratch(native.Limits(newest=NEWEST), KINDS)
    gatherer.give(scratch)
    counts = gatherer.take()
    partials = native.Accumulator()
    stamp = partials.merge(scratch, 1000)
    told = counts.lines, counts.accepted, dict(counts.refused), dict(counts.ignored), counts.collisions, counts.tabs
    return told, stamp, plain(partials.encode(4))


class StatsdTwinTests(SynchronousTestCase):
    """Native and twin side by side."""

    @law(TEXTS, st.booleans(), st.sampled_from([512, 20]), examples=120)
    @example(b"a:1|c\na:1:2|ms|@0.3\na:+1|g\na:-2|g\n", True, 512)
    @example(b"a:1|c|#b:1,a:2\na:1|c|#a:2,b:1\na:1|c|#a:2;,b:1\n", True, 512)
    def test_datagrams_read_alike(self, text: bytes, flag: bool, max_name: int) -> None:
        """One datagram."""
        gatherer = made(flag, max_name)
        gatherer.datagram(text)
        self.assertEqual(outcome_of(gatherer), outcome_of_twin(text, flag, max_name))

    @law(TEXTS, st.lists(st.integers(1, 300), min_size=1, max_size=5), st.booleans(), examples=60)
    def test_streams_read_alike(self, text: bytes, cuts: list[int], closed: bool) -> None:
        """A stream, however it is cut, and whether or not its last line has an end."""
        text = text if closed else text.rstrip(b"\r\n")
        gatherer = made(True, 512)
        stream = native.StatsdStream(gatherer)
        at, turn = 0, 0
        while at < len(text):
            step = cuts[turn % len(cuts)] * (1 + len(text) // 2000)
            stream.feed(text[at : at + step])
            at, turn = at + step, turn + 1
        stream.end(True)
        self.assertEqual(outcome_of(gatherer), outcome_of_twin(text, True, 512))

    @law(st.lists(TEXTS, max_size=4), st.integers(1, 50), examples=25)
    def test_windows_add_up(self, texts: list[bytes], most: int) -> None:
        """What is given in parts, and between datagrams, is what is given at once."""
        once, parts = made(True, 512), made(True, 512)
        for text in texts:
            once.datagram(text)
        whole, partials = native.Accumulator(), native.Accumulator()
        scratch = native.StatsdScratch(native.Limits(newest=NEWEST), KINDS)
        once.give(scratch)
        whole.merge(scratch, 1)
        for text in texts:
            parts.datagram(text)
            while parts.waiting():
                scratch = native.StatsdScratch(native.Limits(newest=NEWEST), KINDS)
                parts.give(scratch, most)
                partials.merge(scratch, 1)
        self.assertEqual(partials.summary()[:2], whole.summary()[:2])
        self.assertEqual(parts.take().accepted, once.take().accepted)

    def test_cut_line(self) -> None:
        """A line at the end of a broken stream is refused, since it may be cut."""
        gatherer = made(True, 512)
        stream = native.StatsdStream(gatherer)
        stream.feed(b"a:1|c\na:1|c")
        stream.end(False)
        counts = gatherer.take()
        self.assertEqual((counts.accepted, counts.refused, counts.samples), (1, {"syntax": 1}, {"syntax": b"a:1|c"}))

    def test_forgetting(self) -> None:
        """Names that are forgotten begin anew: a gauge changes from 0."""
        gatherer = made(True, 512)
        gatherer.datagram(b"a:5|g")
        gatherer.clear(names=True)
        gatherer.datagram(b"a:+1|g")
        expected = outcome_of_twin(b"a:+1|g", True, 512)
        self.assertEqual(outcome_of(gatherer)[2], expected[2])

    def test_strange_type(self) -> None:
        """A scratch that lacks a Type gets nothing, and nothing is lost; sets take no Type of numbers."""
        gatherer = made(True, 512)
        gatherer.datagram(b"a:1|c")
        self.assertRaises(WrongType, gatherer.give, native.StatsdScratch(native.Limits(), {}))
        self.assertEqual(gatherer.waiting(), 1)
        self.assertEqual(outcome_of(gatherer)[0][1], 1)
        self.assertRaises(ValueError, gatherer.map, "s", "CounterGroup", native.COUNTER_GROUP)
        self.assertRaises(ValueError, gatherer.map, "c", "UniqueGroup", native.UNIQUE_GROUP)
