"""Events as columns and rows, as frames of protocol 2, and as bodies of protocol 1."""

from __future__ import annotations

import json
import math
import struct
from array import array
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.client.encoding import (
    CHUNK_EVENTS,
    MAX_DEPTH,
    MAX_PAYLOAD_BYTES,
    Block,
    UnusableValue,
    decode_frame,
    encode_body,
    encode_frame,
    encode_numbers,
    encode_payload,
    encode_payloads,
)
from tests.client.model_agent import Event, read_body, read_frame

TIMES = st.floats(0, 4e9, allow_nan=False)
NUMBERS = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def read(blocks: list[Block]) -> list[Event]:
    return read_frame(encode_frame("c", None, 0, blocks))[1]


def text(blocks: list[Block]) -> bytes:
    """As a body of protocol 1."""
    return encode_body(encode_frame("example_client", None, 0, blocks))


class FrameTests(SynchronousTestCase):
    def test_to_the_byte(self) -> None:
        """A frame looks as the protocol's reference page has it."""
        counters, _, _ = encode_numbers("moving", "CounterGroup", [1400000000.25, 100, 1400000000.5, 2.5])
        gauges = encode_payloads("gauge", "Gauge", [1400000000.125, encode_payload({"a": "ü"})])
        frame = encode_frame("example_client", "0123456789abcdef" * 2, 7, counters + gauges, {"full": {"moving": 3}})
        header = (
            b'{"client":"example_client","instance":"0123456789abcdef0123456789abcdef","batch":7,'
            b'"tabs":[["moving","CounterGroup",2]],'
            b'"structured":[["gauge","Gauge",[[1400000000.125,{"a": "\\u00fc"}]]]],"unsent":{"full":{"moving":3}}}'
        )
        columns = struct.pack("<4d", 1400000000.25, 1400000000.5, 100.0, 2.5)
        self.assertEqual(frame, struct.pack("<I", len(header)) + header + columns)

    def test_opening(self) -> None:
        """Batch 0 has no instance and no events."""
        self.assertEqual(encode_frame("c", None, 0), b'\x22\0\0\0{"client":"c","batch":0,"tabs":[]}')

    def test_one_row_for_a_tab(self) -> None:
        """What was recorded of a tab in several flush periods stands together; another Type of it stands apart."""
        blocks: list[Block] = []
        for kind, tab, time in (("CounterGroup", "t", 1), ("CounterGroup", "u", 2), ("CounterGroup", "t", 3),
                                ("PercentileGroup", "t", 4)):  # fmt: skip
            blocks += encode_numbers(tab, kind, [float(time), time])[0]
        for tab, number in (("t", 5), ("u", 6), ("t", 7)):
            blocks += encode_payloads(tab, "Gauge", [float(number), str(number)])
        self.assertEqual([(e.tab, e.type, e.time, e.payload) for e in read(blocks)], [
            ("t", "CounterGroup", 1, 1), ("t", "CounterGroup", 3, 3), ("u", "CounterGroup", 2, 2),
            ("t", "PercentileGroup", 4, 4), ("t", "Gauge", 5, 5), ("t", "Gauge", 7, 7), ("u", "Gauge", 6, 6),
        ])  # fmt: skip
        header, columns = decode_frame(encode_frame("c", None, 0, blocks))
        self.assertEqual((len(header["tabs"]), len(header["structured"]), len(columns)), (3, 2, 3))

    def test_big_endian_machines(self) -> None:
        """Columns are little-endian also where the machine's doubles are not."""
        log = [1.5, 2.5]
        swapped = array("d", log)
        swapped.byteswap()
        (here,), (there,) = encode_numbers("t", "T", log)[0], encode_numbers("t", "T", list(swapped), swap=True)[0]
        self.assertEqual(here, there)


class BodyTests(SynchronousTestCase):
    def test_to_the_character(self) -> None:
        """For an older agent a frame becomes a body, as the page of protocol 1 has it."""
        counters, _, _ = encode_numbers("moving", "CounterGroup", [1400000000.12, 100, 1400000000.25, 2.5])
        gauges = encode_payloads("gauge", "Gauge", [1400000000.13, encode_payload("value")])
        self.assertEqual(
            text(counters + gauges),
            b"1\n\nexample_client\n\n"
            b'moving\n["CounterGroup", 1400000000.120000, "100.0"]\n["CounterGroup", 1400000000.250000, "2.5"]\n\n'
            b'gauge\n["Gauge", 1400000000.130000, "\\"value\\""]\n\n'
            b"\n",
        )

    def test_no_events(self) -> None:
        """A body without events is still one that the protocol allows."""
        self.assertEqual(text([]), b"1\n\nexample_client\n\n\n")

    @given(st.lists(st.tuples(TIMES, NUMBERS)), st.lists(st.tuples(TIMES, JSON_VALUES), max_size=5))
    def test_no_longer_than_said(self, numbers: list[tuple[float, float]], others: list[tuple[float, Any]]) -> None:
        """No tab takes more bytes of a request of either protocol than its Blocks say."""
        blocks, _, _ = encode_numbers("t", "PercentileGroup", [part for event in numbers for part in event])
        log = [part for time, value in others for part in (time, encode_payload(value))]
        blocks += encode_payloads("u", "Own.Type", log)
        for block in blocks:
            frame = encode_frame("c", None, 0, [block])
            room = block.longest + len(block.tab) + 2
            self.assertLessEqual(len(encode_body(frame)) - len(b"1\n\nc\n\n\n"), room)
            self.assertLessEqual(len(frame) - len(encode_frame("c", None, 0)), room + 60)


class NumberTests(SynchronousTestCase):
    @given(st.lists(st.tuples(TIMES, NUMBERS), max_size=40))
    def test_round_trip(self, events: list[tuple[float, float]]) -> None:
        """Every finite number arrives as the nearest double, with its time; as text with that to the microsecond."""
        blocks, _, left_out = encode_numbers("t", "CounterGroup", [part for event in events for part in event])
        self.assertEqual([(e.time, e.payload) for e in read(blocks)], [(time, float(n)) for time, n in events])
        self.assertEqual(left_out, 0)
        older = [(e.time, e.payload) for e in read_body(text(blocks))]
        self.assertEqual(older, [(float(f"{time:.6f}"), float(number)) for time, number in events])

    def test_exact_whole_numbers(self) -> None:
        """Whole numbers are exact up to 2**53, and the nearest double beyond."""
        blocks, _, _ = encode_numbers("t", "CounterGroup", [1.0, 2**53 - 1, 2.0, -(2**53), 3.0, 2**53 + 1])
        self.assertEqual([e.payload for e in read(blocks)], [2**53 - 1, -(2**53), 2**53])

    def test_not_finite(self) -> None:
        """NaN, infinities and integers beyond a double are left out and counted; those beside them travel."""
        log = [1.0, math.nan, 2.0, 7, 3.0, math.inf, 4.0, -math.inf, 5.0, 10**400, 6.0, -8.5, 7.0, 10**5000]
        blocks, _, left_out = encode_numbers("t", "CounterGroup", log)
        self.assertEqual([e.payload for e in read(blocks)], [7, -8.5])
        self.assertEqual(left_out, 5)

    def test_only_unusable(self) -> None:
        """Where nothing is left, there is no block."""
        self.assertEqual(encode_numbers("t", "CounterGroup", [1.0, math.nan]), ([], 1, 1))

    def test_sum_beyond_a_double(self) -> None:
        """Finite numbers whose sum is not finite are all sent."""
        blocks, _, left_out = encode_numbers("t", "CounterGroup", [1.0, 1.7e308, 2.0, 1.7e308])
        self.assertEqual(([e.payload for e in read(blocks)], left_out), ([1.7e308, 1.7e308], 0))

    def test_chunks(self) -> None:
        """Many events of a tab make several Blocks, so that a batch can be cut between them."""
        blocks, _, _ = encode_numbers("t", "CounterGroup", [1.0, 1] * (2 * CHUNK_EVENTS + 1))
        self.assertEqual([block.events for block in blocks], [CHUNK_EVENTS, CHUNK_EVENTS, 1])


class PayloadTests(SynchronousTestCase):
    @given(JSON_VALUES)
    def test_round_trip(self, value: object) -> None:
        """Whatever JSON can hold arrives as it is, in ASCII."""
        payload = encode_payload(value)
        self.assertTrue(payload.isascii())
        self.assertEqual(json.loads(payload), value)
        blocks = encode_payloads("t", "Gauge", [1.0, payload])
        self.assertEqual([e.payload for e in read(blocks) + read_body(text(blocks))], [value, value])

    def test_unusable(self) -> None:
        """What JSON cannot hold is refused with the one exception."""
        circle: list[object] = []
        circle.append(circle)
        deep: list[object] = []
        for _ in range(100_000):
            deep = [deep]
        for value in (math.nan, math.inf, [math.nan], object(), {1, 2}, b"bytes", {(1, 2): 3}, circle, deep):
            with self.assertRaises(UnusableValue):
                encode_payload(value)

    def test_what_no_agent_takes(self) -> None:
        """What agents refuse, perhaps with all that is beside it, is refused here; what looks like it is taken."""
        nested: Any = 1
        for _ in range(MAX_DEPTH):
            nested = [nested]
        twice: Any = {True: 1, "true": 2}
        refused: list[Any] = [10**309, [-(10**400)], {1: 2, "1": 3}, [{"a": twice}], [nested], {"a": nested}]
        for value in refused:
            with self.assertRaises(UnusableValue):
                encode_payload(value)
        taken: list[Any] = [nested, "9" * 400, 10**308, {"1": {"1": 1}}, [[]] * 100, "{{" * 100]
        for value in taken:
            self.assertEqual(json.loads(encode_payload(value)), value)

    def test_foreign_numbers(self) -> None:
        """Numbers of other libraries travel as what they are worth."""
        self.assertEqual([encode_payload(v) for v in (Decimal("1.5"), Fraction(1, 4))], ["1.5", "0.25"])

    def test_longest(self) -> None:
        """A payload may be as long as an agent takes, and no longer."""
        longest = MAX_PAYLOAD_BYTES - 2  # the quotation marks
        self.assertEqual(len(encode_payload("x" * longest)), MAX_PAYLOAD_BYTES)
        with self.assertRaises(UnusableValue):
            encode_payload("x" * (longest + 1))

    def test_chunks(self) -> None:
        """A long payload has a Block of its own, short ones share one up to the most events of a Block."""
        short, long = encode_payload(1), encode_payload("x" * 300_000)
        log = [part for payload in [short] * (CHUNK_EVENTS + 1) + [long, long, short] for part in (1.0, payload)]
        blocks = encode_payloads("t", "Gauge", log)
        self.assertEqual([block.events for block in blocks], [CHUNK_EVENTS, 1, 1, 1, 1])
        self.assertEqual(len(read(blocks)), CHUNK_EVENTS + 4)
