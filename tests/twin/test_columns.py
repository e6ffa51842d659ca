"""The twin's frames of columns: the laws of all kernels, and worked examples."""

from __future__ import annotations

import math
import struct
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from tests.twin import kernel
from tests.twin.columns import Frame, parse
from tests.twin.errors import ColumnsError
from tests.twin.frames import INSTANCE, TYPES, FrameLaws
from tests.twin.protocol1 import Limits


def read(header: str, *numbers: float) -> Frame:
    """A frame as a test has it."""
    text = header.encode()
    body = struct.pack("<I", len(text)) + text + struct.pack(f"<{len(numbers)}d", *numbers)
    return parse(body, Limits(newest=100.0), TYPES)


class TwinFrameTests(FrameLaws, SynchronousTestCase):
    """The laws of frames, for the twin."""

    kernel: ModuleType = kernel


class FrameTests(SynchronousTestCase):
    """Worked examples."""

    def test_columns(self) -> None:
        """Times first, then values, row by row; structured events before them."""
        frame = read(
            '{"client":"c","tabs":[["a","CounterGroup",2],["b","PercentileGroup",1]],'
            '"structured":[["g","Gauge",[[3, "v" ]]]]}',
            *[1, 2, 10, 20, 4, -0.0],
        )
        found = [(event.tab, event.time, event.value) for event in frame.events]
        self.assertEqual(found, [("g", 3.0, b'"v"'), ("a", 1.0, 10.0), ("a", 2.0, 20.0), ("b", 4.0, 0.0)])
        self.assertEqual(math.copysign(1.0, float(found[3][2])), 1.0)

    def test_facts(self) -> None:
        """The number of the batch, and what was not sent, as it came."""
        frame = read(f'{{"unsent":{{"full" : {{}}}},"instance":"{INSTANCE}","batch":3,"client":"c"}}')
        self.assertEqual((frame.instance, frame.batch, frame.unsent), (INSTANCE, 3, b'{"full" : {}}'))

    def test_refused(self) -> None:
        """Each event for itself, with its tab and its number."""
        numbers = [1, -1, 101, 2, 5, 5, 5, math.inf, 0, 0, 0, 0]
        rows = '[["a","CounterGroup",4],["x y","CounterGroup",1],["g","Gauge",1]]'
        frame = read(f'{{"client":"c","tabs":{rows}}}', *numbers)
        self.assertEqual(frame.samples, [(1, "time"), (2, "future"), (3, "value"), (0, "name"), (0, "type")])
        self.assertEqual(frame.tabs, ["a", "a", "a", "x y", "g"])

    def test_malformed(self) -> None:
        """Headers that are none."""
        for header in ("", "[]", "{}", '{"client":"c","batch":1}', '{"client":"c","tabs":[["a","CounterGroup",1.0]]}'):
            self.assertRaises(ColumnsError, read, header)
