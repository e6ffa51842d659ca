"""What the native core renders is what the Handlers in Python do, to the character."""

from __future__ import annotations

import json
import math

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.handlers.counter_group import CounterGroup
from taba.handlers.gauge import LIFETIME, Gauge
from taba.handlers.percentile_group import PercentileGroup
from taba.handlers.unique_group import UniqueGroup
from taba.interfaces import Style
from tests.server.making import NOW, sections
from tests.strategies import law

VALUES = st.one_of(
    st.integers(-200_000, 200_000).map(lambda n: n / 200),  # ties of rounding, some of them exact
    st.integers(-(2**70), 2**70).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1e-3, 1e-3),
    st.integers(-(2**20), 2**20).map(lambda n: n / 1024),
    st.sampled_from([0.0, 0.005, 0.125, 0.375, 2.675, 1e15 + 0.5, 2.0**53, 2.0**53 - 1, 1e300, 5e-324, 0.995, 99.995]),
)
HANDLERS = {"CounterGroup": CounterGroup(), "PercentileGroup": PercentileGroup(), "UniqueGroup": UniqueGroup()}
KINDS = {name: handler.kind for name, handler in HANDLERS.items()}

TEXTS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from('"\\/\b\f\n\r\t\x00\x1f\x7f')), max_size=8)
NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["-0", "-0.0", "0e5", "1E5", "1.50", "1e16", "1e15", "0.0001", "0.00001", "12e-3", "1" * 299]),
)
SCALARS = st.one_of(
    NUMBERS,
    st.sampled_from(["true", "false", "null"]),
    st.builds(lambda text, plain: json.dumps(text, ensure_ascii=not plain), TEXTS, st.booleans()),
)
BLANKS = st.sampled_from(["", "", " "])


def _array(parts: list[str], blank: str) -> str:
    return f"{blank}[{blank}{f'{blank},'.join(parts)}{blank}]{blank}"


def _object(parts: list[tuple[str, str]], blank: str) -> str:
    rows = [f"{blank}{json.dumps(name)}{blank}:{blank}{value}" for name, value in parts]
    return f"{{{','.join(rows)}{blank}}}"


VALUES_OF_GAUGES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(_array, st.lists(inner, max_size=4), BLANKS),
        st.builds(_object, st.lists(st.tuples(TEXTS, inner), max_size=4, unique_by=lambda pair: pair[0]), BLANKS),
    ),
    max_leaves=6,
)


def state_of(type: str, values: list[float], ago: float) -> bytes:
    """The State of events some seconds ago."""
    events = [("c", "a", type, NOW - ago, repr(value)) for value in values]
    return HANDLERS[type].fold(b"", [each.partial for each in native.batch_entries(sections(events, 1, KINDS)[0].data)])


def gauge_of(*rows: tuple[str, float]) -> bytes:
    """The State of clients, each with its value and that value's age."""
    states = []
    for value, ago in rows:
        made = sections([("c", "a", "Gauge", NOW - ago, value)])
        states.append(native.fold(native.GAUGE, b"", [each.partial for each in native.batch_entries(made[0].data)]))
    return native.reduce(native.GAUGE, states)


class RenderTests(SynchronousTestCase):
    """The Python Handlers are the twin."""

    @law(
        st.sampled_from(sorted(HANDLERS)),
        st.lists(st.tuples(st.lists(VALUES, min_size=1, max_size=40), st.floats(0, 100_000)), max_size=4),
        examples=100,
    )
    def test_to_the_character(self, type: str, rows: list[tuple[list[float], float]]) -> None:
        """Any numbers, in any window and bucket, and nothing at all."""
        states = [b"", *(state_of(type, values, ago) for values, ago in rows)]
        for style in Style:
            expected = [HANDLERS[type].render(state, NOW, style) for state in states]
            self.assertEqual(native.render(KINDS[type], states, NOW, style is Style.DETAILED), expected)

    @law(st.lists(st.tuples(VALUES_OF_GAUGES, st.sampled_from([0.0, 5.0, LIFETIME])), max_size=6), examples=80)
    def test_gauges(self, rows: list[tuple[str, float]]) -> None:
        """Any JSON, of which values that look alike are one, and those of before their lifetime are none."""
        state, handler = gauge_of(*rows), Gauge()
        for detailed in (False, True):
            (shown,) = native.render(native.GAUGE, [state], NOW, detailed)
            self.assertEqual(shown, handler.render(state, NOW, Style.JSON))

    def test_doubles(self) -> None:
        """A gauge's number has the fewest digits that give it back, at every power of two and around it."""
        powers = [2.0**n for n in range(-1074, 1024)]
        values = [near for one in powers for near in (one, math.nextafter(one, 0), math.nextafter(one, math.inf))]
        written = [repr(value) for value in values if 0 < value < math.inf]
        shown = native.render(native.GAUGE, [gauge_of((each, 0.0)) for each in written], NOW)
        self.assertEqual(shown, [f'{{"{each}": 1}}' for each in written])

    def test_left_to_python(self) -> None:
        """What needs a whole JSON reader has no text, and keeps no other from having one."""
        half, twice, deep = '"\\ud800"', '{"a": 1, "a": 2}', "[" * 20 + "]" * 20
        wide = json.dumps({str(n): n for n in range(33)})
        for value in (half, twice, f"[{deep}]", wide, "1" * 301, '{"a": ["\\ud800"]}'):
            states = [gauge_of((value, 0.0)), gauge_of(("1", 0.0), (value, 1.0)), gauge_of((value, LIFETIME))]
            self.assertEqual(native.render(native.GAUGE, states, NOW), ["", "", "{}"])

    def test_damaged(self) -> None:
        """A State that cannot be read has no text, and keeps no other from having one."""
        sound = state_of("CounterGroup", [1.0], 0.0)
        shown = native.render(native.COUNTER_GROUP, [sound, sound[:-1], b"\x02\x01", sound], NOW)
        self.assertEqual([bool(text) for text in shown], [True, False, False, True])
        self.assertEqual(native.render(native.COUNTER_GROUP, [], NOW), [])

    def test_no_time(self) -> None:
        """There is nothing to show as of a time that is none."""
        for kind in native.RENDERED:
            self.assertRaises(ValueError, native.render, kind, [b""], math.nan)
