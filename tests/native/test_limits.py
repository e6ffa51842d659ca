"""Where counts and times end: native and twin refuse the same numbers, and read again what they accept."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from tests.native.verdicts import verdict
from tests.strategies import law
from tests.twin import counter_group, kernel, percentile_group
from tests.twin.blobs import COUNTER_GROUP, PERCENTILE_GROUP
from tests.twin.counter_group import Window
from tests.twin.primitives import encode_svarint, encode_uvarint
from tests.twin.sketch import MOST_VALUES, Sketch
from tests.twin.windows import LAST_SECOND


def counts() -> st.SearchStrategy[int]:
    """Numbers of values, around those where doubles, tokens and 64 bits end."""
    bounds = st.sampled_from([33, 2**32, 2**53, MOST_VALUES // 2, MOST_VALUES, 2**63])
    return st.tuples(bounds, st.integers(-2, 2)).map(lambda part: max(33, part[0] + part[1]))


def twos(count: int) -> bytes:
    """A sketch of so many twos."""
    return Sketch(None, count, 2.0, 2.0, 2.0, 6, 0, {63: count}, {}).encode()


def counter_partial(numbers: list[int], first: int = 0) -> bytes:
    """So many twos in the first seconds of minutes, one after another from `first` on."""
    seconds = {60 * (first + i): Window(count, 2.0) for i, count in enumerate(numbers)}
    sketches = b"\x00".join(map(twos, numbers))
    head = b"\x81\x01" + encode_uvarint(len(numbers)) + encode_svarint(first)
    return head + sketches + counter_group.encode_level(seconds)


def percentile_partial(numbers: list[int], first: int = 0) -> bytes:
    """So many twos in buckets of 15 s, one after another from `first` on."""
    head = b"\x82\x01" + encode_uvarint(len(numbers)) + encode_svarint(first)
    return head + b"\x00".join(map(twos, numbers))


class CountLimitTests(SynchronousTestCase):
    """Counts near 2**61 and beyond."""

    @law(counts(), counts(), st.floats(0.0, 1.0))
    def test_sketches_are_refused_alike(self, count: int, other: int, q: float) -> None:
        """Decoding, merging, adding and quantiles of huge counts."""
        blob, more = twos(count), twos(other)
        answers = []
        for kind in (native.Sketch, Sketch):
            decoded = verdict(kind.decode, blob)[0], verdict(kind.decode, more)[0]
            answer: list[object] = [decoded]
            if decoded == ("", ""):
                sketch = kind.decode(blob)
                answer.append(verdict(sketch.quantiles, [q]))
                answer.append(verdict(sketch.merge, kind.decode(more))[0])
                answer.append(verdict(sketch.add, [2.0])[0])
                answer.append(verdict(sketch.encode))
            answers.append(answer)
        self.assertEqual(answers[0], answers[1])

    @law(st.lists(counts().filter(lambda n: n < 2**61), min_size=1, max_size=3), st.sampled_from([1, 2]))
    def test_partials_and_states_are_refused_alike(self, numbers: list[int], number: int) -> None:
        """Checking, folding twice and reducing."""
        partial = (counter_partial if number == COUNTER_GROUP else percentile_partial)(numbers)
        self.assertEqual(verdict(native.check, partial), verdict(kernel.check, partial))
        self.assertEqual(verdict(native.partial_extent, partial), verdict(kernel.partial_extent, partial))
        for partials in ([partial], [partial, partial]):
            twin = verdict(kernel.fold, number, b"", partials)
            self.assertEqual(verdict(native.fold, number, b"", partials), twin)
            if not twin[0]:
                states = [twin[1], twin[1]]
                self.assertEqual(verdict(native.reduce, number, states), verdict(kernel.reduce, number, states))


class TimeLimitTests(SynchronousTestCase):
    """Times near 2**53 s on both sides."""

    @law(st.sampled_from([LAST_SECOND, -LAST_SECOND]), st.integers(-(10**5), 10**5), st.sampled_from([1, 2]))
    def test_partials_are_refused_alike(self, bound: int, offset: int, number: int) -> None:
        """Buckets about the last second that counts."""
        width, partial = (60, counter_partial) if number == COUNTER_GROUP else (15, percentile_partial)
        blob = partial([33], (bound + offset) // width)
        self.assertEqual(verdict(native.check, blob), verdict(kernel.check, blob))
        self.assertEqual(verdict(native.partial_extent, blob), verdict(kernel.partial_extent, blob))
        self.assertEqual(verdict(native.fold, number, b"", [blob]), verdict(kernel.fold, number, b"", [blob]))

    def test_folded_states_can_be_read_again(self) -> None:
        """A Partial near the first second that counts is refused, or becomes a State that is not."""
        for seconds in range(0, 50_000, 500):
            for number, width, partial in (
                (COUNTER_GROUP, 60, counter_partial),
                (PERCENTILE_GROUP, 15, percentile_partial),
            ):
                blob = partial([33], (seconds - LAST_SECOND) // width)
                error, state = verdict(native.fold, number, b"", [blob])
                if not error:
                    self.assertEqual((seconds, number, verdict(native.check, state)[0]), (seconds, number, ""))

    @law(st.sampled_from([-1.0, 1.0]), st.integers(-10, 10))
    def test_times_of_asking_are_refused_alike(self, sign: float, offset: int) -> None:
        """ValueError beyond that second; the windows of the empty State up to it."""
        time = sign * (LAST_SECOND + offset)
        for state in (b"", kernel.fold(COUNTER_GROUP, b"", [counter_partial([33])])):
            twin = verdict(counter_group.summary, state, time, [])
            self.assertEqual(verdict(native.counter_group_summary, state, time, []), twin)
            for level in range(4):
                twin = verdict(counter_group.buckets, state, time, level)
                self.assertEqual(verdict(native.counter_group_buckets, state, time, level), twin)
        twin = verdict(percentile_group.summary, b"", time, [])
        self.assertEqual(verdict(native.percentile_group_summary, b"", time, []), twin)
