"""The twin's sketch: the laws of all kernels, and worked examples of its bytes."""

from __future__ import annotations

from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from tests.strategies import law
from tests.twin import examples, kernel
from tests.twin.errors import CorruptBlob
from tests.twin.laws import SketchLaws
from tests.twin.sketch import Sketch, encode_range


class TwinSketchTests(SketchLaws, SynchronousTestCase):
    """The laws of sketches, for the twin."""

    kernel: ModuleType = kernel


class SketchBytesTests(SynchronousTestCase):
    """Encodings worked out by hand."""

    def test_empty(self) -> None:
        """One byte."""
        self.assertEqual(Sketch().encode(), b"\x00")

    def test_exact_whole_numbers(self) -> None:
        """1, 2, 5: form 1, kind 0, three values, first 1 (zigzag 2), then the differences."""
        self.assertEqual(Sketch.of([5.0, 1.0, 2.0]).encode(), bytes([0x01, 3, 2, 1, 3]))

    def test_exact_thousandths(self) -> None:
        """-0.5 and 1: kind 1 for both, first -500 (zigzag 999), difference 1500."""
        self.assertEqual(Sketch.of([1.0, -0.5]).encode(), bytes([0x05, 2, 0xE7, 0x07, 0xDC, 0x0B]))

    def test_buckets_of_whole_numbers(self) -> None:
        """Forty twos: count 40, sum 80, min and max 2, scale 6, no zeros, one bucket at 63 with 40."""
        self.assertEqual(Sketch.of([2.0] * 40).encode(), bytes([0x02, 40, 0xA0, 1, 4, 4, 6, 0, 1, 0, 126, 40, 0]))

    def test_ranges_take_the_shortest_form(self) -> None:
        """Neighbours as they are; a gap of three as k = 2 has it; a far one in an extra number."""
        self.assertEqual(encode_range({5: 1, 6: 2}), bytes([2, 0, 10, 1, 2]))
        self.assertEqual(encode_range({0: 1, 3: 2}), bytes([2, 2, 0, 0, 1 << 2 | 2]))
        self.assertEqual(encode_range({0: 1, 100: 1}), bytes([2, 1, 0, 0, 1, 98]))

    def test_scale_follows_the_span(self) -> None:
        """4096 indices fit at scale 6, one more halves it, and the whole range of doubles needs scale 0."""
        fits = Sketch.of([2.0**-31, *[2.0] * 40, 2.0**32.984375])
        self.assertEqual(fits.scale, 6)
        self.assertEqual(Sketch.of([2.0**-31, *[2.0] * 40, 2.0**33, 2.0**33.01]).scale, 5)
        self.assertEqual(Sketch.of([5e-324, *[2.0] * 40, 1.7e308]).scale, 0)

    @law(examples.tampered_sketches(), examples=150)
    def test_what_is_accepted_is_canonical(self, blob: bytes) -> None:
        """A sketch with one wrong part is refused, or turns out to be a right one."""
        try:
            sketch = Sketch.decode(blob)
        except CorruptBlob:
            return
        self.assertEqual(sketch.encode(), blob)
        sketch._check()
