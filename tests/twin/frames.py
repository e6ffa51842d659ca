"""Frames of columns by chance, and the laws of all that read them."""

from __future__ import annotations

import json
import math
import struct
from types import ModuleType
from typing import TYPE_CHECKING, Any

from attrs import frozen
from hypothesis import strategies as st

from tests import strategies
from tests.strategies import law

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as Suite
else:
    Suite = object

TYPES = {**strategies.TYPES, "Number": 0x100, "Expiring": 0x200}
INSTANCE = "0123456789abcdef" * 2
COLUMN_TYPES = ["CounterGroup", "PercentileGroup"]
ODD_NAMES = ["", "a b", "t" * 513, "\u00e9", "\ud800", 'q"\\', "x\x00"]
ODD_TIMES = [-1.0, math.nan, math.inf, -math.inf, -0.0, 253402300800.0, 1.5e9, 253402300799.0, 5e-324]
ODD_VALUES = [math.nan, math.inf, -math.inf, -0.0, 1.7e308, 5e-324, -5e-324]


FACTS = [[], ['"batch":0'], [f'"instance":"{INSTANCE}"', '"batch":12'], ['"unsent":{"full": {"a":1}}'], ['"x":[1e999]']]


@frozen
class Row:
    """A row of `tabs` with its columns."""

    tab: str
    type: str
    times: list[float]
    values: list[float]


def encode(header: bytes, rows: list[Row]) -> bytes:
    """The frame of a header and the columns of its rows."""
    columns = [struct.pack(f"<{2 * len(row.times)}d", *row.times, *row.values) for row in rows]
    return struct.pack("<I", len(header)) + header + b"".join(columns)


def names() -> st.SearchStrategy[str]:
    """Names of tabs, some of which cannot be."""
    few = st.sampled_from(["a", "b", "a.long_name_of/a_tab:here", "t" * 512])
    return strategies.mostly(few, st.sampled_from(ODD_NAMES))


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """A row, some of whose events may be refused."""
    count = draw(st.one_of(st.integers(0, 4), st.integers(0, 40)))
    near = st.floats(-100.0, 60.0).map(lambda ago: strategies.NEWEST + ago)
    odd = draw(st.booleans())
    times = st.one_of(near, st.sampled_from(ODD_TIMES)) if odd else near
    values = st.one_of(st.floats(-1e6, 1e6), st.sampled_from(ODD_VALUES)) if odd else st.floats(-1e6, 1e6)
    types = strategies.mostly(st.sampled_from(COLUMN_TYPES), st.sampled_from(["Gauge", "Number", "?", ""]))
    columns = [draw(st.lists(each, min_size=count, max_size=count)) for each in (times, values)]
    return Row(draw(names()), draw(types), *columns)


def structured_events() -> st.SearchStrategy[str]:
    """Elements of a structured row, as JSON: mostly [time, value]."""
    times = strategies.mostly(st.integers(0, strategies.NEWEST).map(str), st.sampled_from(strategies.TIMES_REFUSED))
    pairs = st.tuples(times, strategies.json_texts()).map(lambda part: f"[{part[0]},{part[1]}]")
    shaped = ["[1,[2,3]]", "[1,[[1,[2]],3.5]]", "[1,[1,null]]", "[ 2 , 5 ]", "[1,[true,{}]]", '[3,[",",1]]']
    no_events = ["[]", "1", "[1]", "[1,2,3]", "{}", '["1",1]', "[1,[1e999]]"]
    return st.one_of(pairs, st.sampled_from(shaped), st.sampled_from(no_events))


def structured_rows() -> st.SearchStrategy[str]:
    """Rows of `structured`, as JSON."""
    types = st.sampled_from([*TYPES, "?"])
    events = st.lists(structured_events(), max_size=4).map(",".join)
    return st.tuples(names(), types, events).map(lambda p: f"[{json.dumps(p[0])},{json.dumps(p[1])},[{p[2]}]]")


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Whole frames, in whose events something may be wrong; their members stand in any order."""
    drawn = draw(st.lists(rows(), max_size=5))
    tabs = json.dumps([[row.tab, row.type, len(row.times)] for row in drawn], ensure_ascii=draw(st.booleans()))
    if any(0xD800 <= ord(c) < 0xE000 for c in tabs):
        tabs = json.dumps(json.loads(tabs))
    members = [f'"client":{json.dumps(draw(strategies.mostly(st.just("client"), st.just("c d"))))}', f'"tabs":{tabs}']
    if draw(st.booleans()):
        members.append(f'"structured":[{",".join(draw(st.lists(structured_rows(), max_size=3)))}]')
    members += draw(st.sampled_from(FACTS))
    blank = draw(st.sampled_from(["", " ", "\r\n\t"]))
    header = "{" + f"{blank},{blank}".join(draw(st.permutations(members))) + blank + "}"
    return encode(header.encode(), drawn)


class FrameLaws(Suite):
    """What holds for columns."""

    kernel: ModuleType

    def _read(self, *pieces: bytes) -> Any:
        """What a frame comes to: summary, facts and sections; or the name of its error."""
        scratch = self.kernel.Columns(self.kernel.Limits(newest=strategies.NEWEST + 60.0), TYPES)
        try:
            for piece in pieces:
                scratch.feed(piece)
            scratch.finish()
        except Exception as error:
            return type(error).__name__
        accumulator = self.kernel.Accumulator()
        accumulator.merge(scratch, 7)
        summary = scratch.summary()
        told = (summary.accepted, dict(summary.refused), list(summary.samples), list(summary.tabs), summary.line)
        return told, scratch.facts(), accumulator.encode(4)

    @law(strategies.splits(st.one_of(frames(), strategies.damaged(frames()))))
    def test_every_split_of_a_frame_reads_the_same(self, drawn: tuple[bytes, list[bytes]]) -> None:
        """Whole, byte by byte or in pieces: a frame comes to the same events, refusals and sections, or one error."""
        whole, pieces = drawn
        self.assertEqual(self._read(whole), self._read(*pieces))

    @law(frames(), examples=15)
    def test_every_prefix_of_a_frame_is_refused(self, frame: bytes) -> None:
        """A frame cut short anywhere is malformed, and so is one with a byte too many."""
        self.assertNotIsInstance(self._read(frame), str)
        self.assertEqual(self._read(frame + b"\x00"), "ColumnsError")
        for length in range(0, len(frame), max(1, len(frame) // 80)):
            self.assertEqual((length, self._read(frame[:length])), (length, "ColumnsError"))

    @law(frames())
    def test_every_event_is_accepted_or_refused(self, frame: bytes) -> None:
        """Accepted and refused add up, and the sections hold what was accepted."""
        (accepted, refused, samples, _, _), _, sections = self._read(frame)
        self.assertEqual(sum(section.events for section in sections), accepted)
        self.assertEqual(len(samples), min(10, sum(refused.values())))
