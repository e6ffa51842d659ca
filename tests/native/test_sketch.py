"""The native sketch: the laws of all kernels, and equal to the twin in every answer, byte and refusal."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from tests import strategies
from tests.native.verdicts import plain, verdict
from tests.strategies import law
from tests.twin import examples
from tests.twin.laws import GoldenLaws, SketchLaws
from tests.twin.octaves import lower_edge
from tests.twin.sketch import Sketch

Lists = list[list[float]]


def both(*lists: list[float]) -> tuple[Any, Any]:
    """The sketch of the first list with those of the others merged into it, native and twin."""
    sketches = []
    for kind in (native.Sketch, Sketch):
        made: list[Any] = []
        for values in lists:
            made.append(kind())
            made[-1].add(values)
        for other in made[1:]:
            made[0].merge(other)
        sketches.append(made[0])
    return sketches[0], sketches[1]


class NativeSketchTests(SketchLaws, SynchronousTestCase):
    """The laws of sketches, for the native core."""

    kernel: ModuleType = native


class NativeGoldenTests(GoldenLaws, SynchronousTestCase):
    """What every kernel reads from the golden files, for the native core."""

    kernel: ModuleType = native


class SketchTwinTests(SynchronousTestCase):
    """Native and twin side by side."""

    @law(strategies.value_lists(), strategies.quantiles(), examples=150)
    def test_values_are_kept_alike(self, values: list[float], qs: list[float]) -> None:
        """The same values give the same bytes, summary and quantiles."""
        one, twin = both(values)
        self.assertEqual(one.encode(), twin.encode())
        self.assertEqual(plain(one.summary()), plain(twin.summary()))
        self.assertEqual(plain(one.quantiles(qs)), plain(twin.quantiles(qs)))

    @law(st.lists(strategies.value_lists(), min_size=2, max_size=4), strategies.quantiles(), examples=100)
    def test_merging_is_alike(self, lists: Lists, qs: list[float]) -> None:
        """Fractions too: sums are added in the same order and rounded the same."""
        one, twin = both(*lists)
        self.assertEqual(one.encode(), twin.encode())
        self.assertEqual(plain(one.quantiles(qs)), plain(twin.quantiles(qs)))

    @law(strategies.value_lists(strategies.wide_values()), strategies.value_lists(strategies.finite_values()))
    def test_wide_spans_are_scaled_alike(self, one_list: list[float], other: list[float]) -> None:
        """Values of all octaves: the same scale, and the same buckets after it, whatever comes first."""
        one, twin = both(one_list, other)
        self.assertEqual(one.encode(), twin.encode())
        one, twin = both(other, one_list)
        self.assertEqual(one.encode(), twin.encode())

    @law(strategies.finite_values().map(abs).filter(bool), st.integers(33, 40), examples=150)
    def test_every_value_lies_in_the_same_bucket(self, value: float, n: int) -> None:
        """Powers of the base and their neighbours fall where exact arithmetic puts them."""
        for values in ([value] * n, [-value] * n):
            one, twin = both(values)
            self.assertEqual(one.encode(), twin.encode())

    def test_every_boundary_of_an_octave(self) -> None:
        """All 64 boundaries, the doubles on both sides of each, in a low, a middle and a high octave."""
        for exponent in (-1070, -1022, 0, 1, 1023):
            for step in range(64):
                edge = math.ldexp(lower_edge(step), exponent)
                for value in (math.nextafter(edge, 0.0), edge, math.nextafter(edge, math.inf)):
                    one, twin = both([value] * 33)
                    self.assertEqual((value, one.encode()), (value, twin.encode()))

    @law(examples.sketches().map(lambda sketch: sketch.encode()), strategies.quantiles())
    def test_twins_bytes_are_read(self, blob: bytes, qs: list[float]) -> None:
        """What the twin wrote the native core reads, with the same answers."""
        one, twin = native.Sketch.decode(blob), Sketch.decode(blob)
        self.assertEqual(one.encode(), blob)
        self.assertEqual(plain(one.summary()), plain(twin.summary()))
        self.assertEqual(plain(one.quantiles(qs)), plain(twin.quantiles(qs)))

    def _same_verdict(self, blob: bytes) -> None:
        twin = verdict(lambda: Sketch.decode(blob).encode())
        self.assertEqual(verdict(lambda: native.Sketch.decode(blob).encode()), twin)

    @law(strategies.damaged(examples.sketches().map(lambda sketch: sketch.encode())), examples=300)
    def test_damaged_sketches_are_refused_alike(self, blob: bytes) -> None:
        """Changed, lost and added bytes: both refuse, or both read the same."""
        self._same_verdict(blob)

    @law(examples.tampered_sketches(), examples=200)
    def test_tampered_sketches_are_refused_alike(self, blob: bytes) -> None:
        """Sketches that break one rule: both refuse, or both read the same."""
        self._same_verdict(blob)

    @law(st.binary(max_size=40), examples=100)
    def test_any_bytes_are_refused_alike(self, blob: bytes) -> None:
        """Noise: both refuse, or both read the same."""
        self._same_verdict(blob)
        self._same_verdict(b"\x02" + blob)

    @law(examples.tampered_sketches(), strategies.value_lists(), strategies.quantiles(), examples=60)
    def test_accepted_sketches_work_on_alike(self, blob: bytes, values: list[float], qs: list[float]) -> None:
        """A sketch from elsewhere that passes the decoders merges and answers the same on both sides."""
        if verdict(Sketch.decode, blob)[0] or verdict(native.Sketch.decode, blob)[0]:
            return
        one, twin = native.Sketch.decode(blob), Sketch.decode(blob)
        more_one, more_twin = both(values)
        one.merge(more_one)
        twin.merge(more_twin)
        self.assertEqual(one.encode(), twin.encode())
        self.assertEqual(plain(one.quantiles(qs)), plain(twin.quantiles(qs)))
