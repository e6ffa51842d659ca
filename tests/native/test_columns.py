"""Native frames of columns: the laws of all kernels, and equal to the twin for right and wrong frames."""

from __future__ import annotations

import json
import math
from types import ModuleType
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.errors import ColumnsError, LimitReached
from tests import strategies
from tests.native.verdicts import plain
from tests.strategies import law
from tests.twin import kernel
from tests.twin.frames import TYPES, FrameLaws, Row, encode, frames

ODD_NUMBERS = [math.nan, math.inf, -1.0, -0.0, 2e9]


class NativeFrameTests(FrameLaws, SynchronousTestCase):
    """The laws of frames, for the native core."""

    kernel: ModuleType = native


def read(side: ModuleType, *bodies: bytes, **limits: int) -> Any:
    """What frames come to on one side: each one's summary and facts or error, the stamps, all of their sections."""
    accumulator = side.Accumulator()
    answers: list[Any] = []
    stamp = 1_400_000_000_000_000
    for body in bodies:
        scratch = side.Columns(side.Limits(newest=strategies.NEWEST + 60.0, **limits), TYPES)
        try:
            scratch.feed(body)
            scratch.finish()
        except Exception as error:
            answers.append(type(error).__name__)
            continue
        summary = scratch.summary()
        told = (summary.accepted, dict(summary.refused), list(map(list, summary.samples)), list(summary.tabs))
        answers.append((told, summary.line, plain(scratch.facts())))
        stamp = accumulator.merge(scratch, stamp)
    return answers, stamp, accumulator.summary()[:2], plain(accumulator.encode(4))


class FrameTwinTests(SynchronousTestCase):
    """Native and twin side by side."""

    def _alike(self, *bodies: bytes, **limits: int) -> None:
        self.assertEqual(read(native, *bodies, **limits), read(kernel, *bodies, **limits))

    @law(frames(), examples=150)
    def test_frames_read_alike(self, frame: bytes) -> None:
        """The same events, refusals, facts and bytes."""
        self._alike(frame)

    @law(strategies.damaged(frames()), examples=200)
    def test_broken_frames_read_alike(self, frame: bytes) -> None:
        """Bytes changed, lost and added: the same kind of error, or the same events."""
        self._alike(frame)

    @law(frames(), st.sampled_from(strategies.BLANKS + '0e.-[]{},:"'), st.integers(0, 400), examples=150)
    def test_headers_are_judged_alike(self, frame: bytes, piece: str, place: int) -> None:
        """A character changed in the header."""
        length = int.from_bytes(frame[:4], "little")
        at = 4 + place % length
        self._alike(frame[:at] + piece.encode() + frame[at + 1 :])

    @law(st.lists(frames(), max_size=4), examples=40)
    def test_requests_merge_alike(self, bodies: list[bytes]) -> None:
        """Several frames of one commit: the same stamps and sections."""
        self._alike(*bodies)

    @law(st.text("0123456789.eE-+ ", max_size=20))
    def test_whole_numbers_are_judged_alike(self, text: str) -> None:
        """What is a count, and what a batch number."""
        for header in (f'{{"client":"c","tabs":[["a","CounterGroup",{text}]]}}', f'{{"client":"c","batch":{text}}}'):
            self._alike(encode(header.encode(), []))

    @law(frames(), st.integers(0, 30), st.integers(0, 4), st.integers(1, 30))
    def test_limits_are_met_alike(self, frame: bytes, max_payload: int, max_depth: int, max_name: int) -> None:
        """Payloads and names about as large as allowed."""
        self._alike(frame, max_payload=max_payload, max_depth=max_depth, max_name=max_name)

    @law(st.integers(0, 130), st.integers(0, 129), st.sampled_from(ODD_NUMBERS), st.booleans())
    def test_one_odd_number_is_found_anywhere(self, count: int, place: int, odd: float, is_time: bool) -> None:
        """A number that cannot be taken is seen wherever it stands in its column, and it alone is refused."""
        row = Row("a", "CounterGroup", [float(i) for i in range(count)], [float(i) for i in range(count)])
        if count:
            (row.times if is_time else row.values)[place % count] = odd
        header = json.dumps({"client": "c", "tabs": [["a", "CounterGroup", count]]}).encode()
        self._alike(encode(header, [row]))


class ErrorTests(SynchronousTestCase):
    """What is wrong, in words, and where."""

    def _error(self, body: bytes, **limits: int) -> Exception:
        scratch = native.Columns(native.Limits(**limits), TYPES)
        try:
            scratch.feed(body)
            scratch.finish()
        except Exception as error:
            return error
        raise AssertionError("nothing is wrong")

    def test_place_and_problem(self) -> None:
        """The byte at fault, and what is expected there."""
        error = self._error(encode(b'{"client":"c","tabs":[["a","CounterGroup","3"]]}', []))
        assert isinstance(error, ColumnsError)
        problem = "the count of a row must be a whole number from 0 to 2**53 - 1"
        self.assertEqual((error.place, error.problem), (46, problem))
        self.assertEqual(str(error), f"byte 46: {error.problem}")

    def test_limits(self) -> None:
        """Headers, rows and memory have limits, which the error names."""
        body = encode(b'{"client":"c","tabs":[["a","CounterGroup",1000000]]}', [])
        for limits, words in (
            ({"max_header": 10}, "header"), ({"max_rows": 0}, "rows"), ({"max_memory": 100_000}, "memory"),
        ):  # fmt: skip
            error = self._error(body, **limits)
            assert isinstance(error, LimitReached)
            self.assertIn(words, error.limit)

    def test_facts_before_the_header(self) -> None:
        """There are none yet."""
        self.assertRaises(ValueError, native.Columns(native.Limits(), TYPES).facts)
