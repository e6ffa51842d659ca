"""What the native core renders is what the Handlers in Python do, to the character."""

from __future__ import annotations

import math

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.handlers.counter_group import CounterGroup
from taba.handlers.percentile_group import PercentileGroup
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
HANDLERS = {"CounterGroup": CounterGroup(), "PercentileGroup": PercentileGroup()}


def state_of(type: str, values: list[float], ago: float) -> bytes:
    """The State of events some seconds ago."""
    events = [("c", "a", type, NOW - ago, repr(value)) for value in values]
    return HANDLERS[type].fold(b"", [each.partial for each in native.batch_entries(sections(events)[0].data)])


class RenderTests(SynchronousTestCase):
    """The Python Handlers are the twin."""

    @law(
        st.sampled_from(sorted(HANDLERS)),
        st.lists(st.tuples(st.lists(VALUES, min_size=1, max_size=40), st.floats(0, 100_000)), max_size=4),
        examples=150,
    )
    def test_to_the_character(self, type: str, rows: list[tuple[list[float], float]]) -> None:
        """Any numbers, in any window, and nothing at all."""
        states = [b"", *(state_of(type, values, ago) for values, ago in rows)]
        expected = [HANDLERS[type].render(state, NOW, Style.TEXT) for state in states]
        self.assertEqual(native.render(HANDLERS[type].kind, states, NOW), expected)

    def test_damaged(self) -> None:
        """A State that cannot be read has no text, and keeps no other from having one."""
        sound = state_of("CounterGroup", [1.0], 0.0)
        shown = native.render(native.COUNTER_GROUP, [sound, sound[:-1], b"\x02\x01", sound], NOW)
        self.assertEqual([bool(text) for text in shown], [True, False, False, True])
        self.assertEqual(native.render(native.COUNTER_GROUP, [], NOW), [])

    def test_no_time(self) -> None:
        """There is nothing to show as of a time that is none."""
        self.assertRaises(ValueError, native.render, native.COUNTER_GROUP, [b""], math.nan)
