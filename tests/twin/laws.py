"""The laws of the kernels, as suites that run on the twin and on the native core.

A suite is no TestCase by itself: one inherits it and names the kernel, a module with the functions of `taba.native`.
"""

from __future__ import annotations

import json
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests import strategies
from tests.strategies import law
from tests.twin import examples, gauge, golden
from tests.twin.blobs import GAUGE, UNIQUE_GROUP

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as Suite
else:
    Suite = object

INTEGRAL = strategies.integral_values()
CODEC_ERRORS = ("CorruptBlob", "WrongType", "UnknownVersion")


def error_of(call: Any, *arguments: Any) -> str:
    """The name of the error that a call raises, or nothing."""
    try:
        call(*arguments)
    except Exception as error:
        return type(error).__name__
    return ""


class SketchLaws(Suite):
    """What holds for sketches."""

    kernel: ModuleType

    def _of(self, values: list[float]) -> Any:
        sketch = self.kernel.Sketch()
        sketch.add(values)
        return sketch

    def _merged(self, *parts: Any) -> bytes:
        sketch = self.kernel.Sketch()
        for part in parts:
            sketch.merge(part)
        encoded: bytes = sketch.encode()
        return encoded

    @law(strategies.value_lists(INTEGRAL), strategies.value_lists(INTEGRAL), strategies.value_lists(INTEGRAL))
    def test_merging_is_associative_and_commutative(self, a: list[float], b: list[float], c: list[float]) -> None:
        """Whole numbers: sketches merged in any order and grouping are equal to the last bit."""
        one, two, three = self._of(a), self._of(b), self._of(c)
        right = self._of(b)
        right.merge(three)
        self.assertEqual(self._merged(one, two, three), self._merged(one, right))
        self.assertEqual(self._merged(one, two, three), self._merged(three, two, one))

    @law(st.tuples(strategies.value_lists(), strategies.value_lists(), strategies.value_lists()))
    def test_merging_fractions_differs_by_the_sum_alone(self, lists: tuple[list[float], ...]) -> None:
        """Any values: count, min, max and quantiles do not depend on the order, and the sum does by rounding only."""
        there, back = self.kernel.Sketch(), self.kernel.Sketch()
        for values in lists:
            there.merge(self._of(values))
        for values in reversed(lists):
            back.merge(self._of(values))
        one, other = there.summary(), back.summary()
        self.assertEqual((one.count, one.min, one.max, one.error), (other.count, other.min, other.max, other.error))
        q = [i / 16 for i in range(17)]
        self.assertEqual(there.quantiles(q), back.quantiles(q))
        size = sum(min(abs(value), 1e300) for values in lists for value in values)
        if size < 1e300:  # beyond it a sum may have been held at the largest double
            self.assertLessEqual(abs(one.sum - other.sum), size * 1e-12)

    @law(strategies.value_lists(INTEGRAL), st.randoms(use_true_random=False))
    def test_order_of_values_is_forgotten(self, values: list[float], chance: Any) -> None:
        """The same whole numbers, added in another order or merged from pieces, give the same bytes."""
        shuffled = chance.sample(values, len(values))
        place = chance.randint(0, len(values))
        pieces = self._merged(self._of(shuffled[:place]), self._of(shuffled[place:]))
        self.assertEqual(self._of(values).encode(), pieces)
        self.assertEqual(self._of(values).encode(), self._of(shuffled).encode())

    @law(strategies.value_lists())
    def test_adding_many_is_adding_one_by_one(self, values: list[float]) -> None:
        """One call with all values and a call for each give the same bytes, fractions too."""
        one_by_one = self.kernel.Sketch()
        for value in values:
            one_by_one.add([value])
        self.assertEqual(self._of(values).encode(), one_by_one.encode())

    @law(strategies.value_lists())
    def test_empty_sketch_is_the_identity(self, values: list[float]) -> None:
        """Merging with an empty sketch, from either side, changes nothing."""
        sketch = self._of(values)
        before = sketch.encode()
        self.assertEqual(self._merged(self.kernel.Sketch(), sketch), before)
        sketch.merge(self.kernel.Sketch())
        self.assertEqual(sketch.encode(), before)

    @law(strategies.value_lists(), strategies.quantiles())
    def test_decoded_sketch_is_the_one_encoded(self, values: list[float], qs: list[float]) -> None:
        """Decoding gives back the summary and the quantiles, and encoding again the bytes."""
        sketch = self._of(values)
        decoded = self.kernel.Sketch.decode(sketch.encode())
        self.assertEqual(decoded.encode(), sketch.encode())
        self.assertEqual(decoded.summary(), sketch.summary())
        self.assertEqual(decoded.quantiles(qs), sketch.quantiles(qs))

    @law(examples.sketches().map(lambda sketch: sketch.encode()), examples=25)
    def test_every_prefix_is_refused(self, blob: bytes) -> None:
        """A sketch cut short anywhere is corrupt."""
        step = max(1, len(blob) // 100)
        for length in range(0, len(blob), step):
            self.assertEqual(error_of(self.kernel.Sketch.decode, blob[:length]), "CorruptBlob")

    @law(strategies.value_lists().filter(bool), st.floats(0.0, 1.0))
    def test_quantiles_are_of_the_rank(self, values: list[float], q: float) -> None:
        """A quantile is the value of rank min(trunc(q * n), n - 1): itself up to 32 values, else within the error."""
        sketch = self._of(values)
        exact = sorted(values)[min(int(q * len(values)), len(values) - 1)]
        [given] = sketch.quantiles([q])
        slack = abs(exact) * sketch.summary().error * (1 + 1e-9)
        self.assertLessEqual(abs(given - exact), slack + 5e-324)  # the last for middles below the least normal double

    def test_values_that_are_not_finite_are_refused(self) -> None:
        """NaN and infinities raise ValueError and add nothing, whatever stands beside them."""
        for bad in (float("nan"), float("inf"), float("-inf")):
            sketch = self._of([1.0])
            with self.assertRaises(ValueError):
                sketch.add([2.0, bad])
            self.assertEqual(sketch.encode(), self._of([1.0]).encode())

    def test_quantiles_outside_0_to_1_are_refused(self) -> None:
        """ValueError for a q below 0, above 1 or NaN, of full and of empty sketches."""
        for q in (-0.1, 1.1, float("nan")):
            for values in ([], [1.0], [1.0] * 40):
                with self.assertRaises(ValueError):
                    self._of(values).quantiles([q])

    def test_sums_stay_finite(self) -> None:
        """A sum that would overflow stays at the largest double of its sign."""
        largest = 1.7976931348623157e308
        for n in (2, 40):
            self.assertEqual(self._of([largest] * n).summary().sum, largest)
            self.assertEqual(self._of([-largest] * n).summary().sum, -largest)

    def test_negative_zero_is_zero(self) -> None:
        """Minus zero is counted and written as zero."""
        for n in (1, 40):
            self.assertEqual(self._of([-0.0] * n).encode(), self._of([0.0] * n).encode())


class StateLaws(Suite):
    """What holds for States and Partials of every Type."""

    kernel: ModuleType

    def _fold(self, type_number: int, state: bytes, *partials: bytes) -> bytes:
        folded: bytes = self.kernel.fold(type_number, state, partials)
        return folded

    def _reduce(self, type_number: int, *states: bytes) -> bytes:
        reduced: bytes = self.kernel.reduce(type_number, states)
        return reduced

    @law(
        st.sampled_from(examples.WITH_STATES).flatmap(
            lambda t: st.tuples(st.just(t), examples.folded(t), st.lists(examples.partials(t), max_size=4))
        ),
        st.integers(0, 4),
    )
    def test_folding_together_is_folding_in_turn(self, drawn: tuple[int, bytes, list[bytes]], place: int) -> None:
        """Folding Partials in one call or in several gives the same State."""
        number, state, partials = drawn
        in_turn = self._fold(number, self._fold(number, state, *partials[:place]), *partials[place:])
        self.assertEqual(self._fold(number, state, *partials), in_turn)

    @law(
        st.sampled_from(examples.RUNNING),
        strategies.numeric_events(INTEGRAL),
        st.randoms(use_true_random=False),
    )
    def test_grouping_of_events_is_forgotten(self, number: int, events: list[tuple[float, float]], chance: Any) -> None:
        """Whole numbers: the State depends on the events, not on their order or on how they came into Partials."""
        together = [examples.partial_of(number, events)] if events else []
        shuffled = chance.sample(events, len(events))
        places = sorted(chance.randint(0, len(events)) for _ in range(3))
        groups = [shuffled[a:b] for a, b in zip([0, *places], [*places, len(events)], strict=True)]
        apart = [examples.partial_of(number, group) for group in groups if group]
        self.assertEqual(self._fold(number, b"", *together), self._fold(number, b"", *apart))

    @law(st.lists(examples.entries(), min_size=1, max_size=8), st.integers(0, 8), st.randoms(use_true_random=False))
    def test_latest_gauge_stays(self, entries: list[gauge.GaugeEntry], place: int, chance: Any) -> None:
        """A gauge keeps the event that is greatest by (time, stamp, value), however the events were grouped."""
        latest = max(entries, key=gauge.GaugeEntry.lateness)
        chance.shuffle(entries)
        partials = [gauge.Partial.of(group).encode() for group in (entries[:place], entries[place:]) if group]
        folded = self._fold(GAUGE, b"", *partials)
        [kept] = self.kernel.gauge_entries(folded)
        self.assertEqual((kept.time, kept.stamp, kept.value), (latest.time, latest.stamp, latest.value))

    @law(
        st.sampled_from(examples.WITH_STATES).flatmap(
            lambda t: st.tuples(st.just(t), *[examples.all_states(t, INTEGRAL)] * 3),
        )
    )
    def test_reducing_is_associative_and_commutative(self, drawn: tuple[int, bytes, bytes, bytes]) -> None:
        """Whole numbers: States reduced in any order and grouping are equal bit for bit; the empty one adds nothing."""
        number, a, b, c = drawn
        together = self._reduce(number, a, b, c)
        self.assertEqual(together, self._reduce(number, c, b, a))
        self.assertEqual(together, self._reduce(number, self._reduce(number, a, b), c))
        self.assertEqual(together, self._reduce(number, a, self._reduce(number, b, c)))
        self.assertEqual(self._reduce(number, b"", a, b""), a)

    @law(
        st.sampled_from(examples.RUNNING).flatmap(
            lambda t: st.tuples(
                st.just(t), examples.folded(t, INTEGRAL), st.lists(examples.partials(t, INTEGRAL), max_size=3)
            )
        )
    )
    def test_running_aggregate_is_the_aggregate(self, drawn: tuple[int, bytes, list[bytes]]) -> None:
        """Whole numbers: fold(s, p) == reduce(s, fold(empty, p)), so Aggregates can be kept by folding."""
        number, state, partials = drawn
        self.assertEqual(
            self._fold(number, state, *partials), self._reduce(number, state, self._fold(number, b"", *partials))
        )

    @law(st.sampled_from(examples.WITH_STATES).flatmap(lambda t: st.tuples(st.just(t), examples.all_states(t))))
    def test_state_survives_decoding(self, drawn: tuple[int, bytes]) -> None:
        """Reducing a State alone, and folding nothing into it, writes the very same bytes, fractions too."""
        number, state = drawn
        self.assertEqual(self._reduce(number, state), state)
        if number != GAUGE or len(self.kernel.gauge_entries(state)) < 2:
            self.assertEqual(self._fold(number, state), state)

    @law(examples.blobs(), examples=25)
    def test_every_prefix_is_refused(self, blob: bytes) -> None:
        """A State or Partial cut short anywhere is corrupt, and so is one with a byte too many."""
        self.assertEqual(self.kernel.check(blob), blob[0])
        self.assertEqual(error_of(self.kernel.check, blob + b"\x00"), "CorruptBlob")
        for length in range(0, len(blob), max(1, len(blob) // 60)):
            self.assertEqual(error_of(self.kernel.check, blob[:length]), "CorruptBlob")

    @law(examples.blobs(), examples=25)
    def test_other_version_is_told(self, blob: bytes) -> None:
        """A blob of another version is refused as such, and one of a first byte that says nothing as a wrong Type."""
        for version in (0, 2, 255):
            self.assertEqual(error_of(self.kernel.check, blob[:1] + bytes([version]) + blob[2:]), "UnknownVersion")
        for first in (0x00, 0x04, 0x84, 0xFF):
            self.assertEqual(error_of(self.kernel.check, bytes([first]) + blob[1:]), "WrongType")

    @law(
        st.sampled_from(examples.WITH_STATES).flatmap(
            lambda t: st.tuples(
                st.just(t),
                st.sampled_from([other for other in examples.ALL_TYPES if other != t]).flatmap(examples.partials),
                examples.partials(t),
                examples.folded(t).filter(bool),
            )
        ),
        examples=25,
    )
    def test_blob_of_another_type_is_told(self, drawn: tuple[int, bytes, bytes, bytes]) -> None:
        """A Partial of another Type, a State as a Partial and a Partial as a State are refused as a wrong Type."""
        number, other, partial, state = drawn
        self.assertEqual(error_of(self.kernel.fold, number, state, [partial, other]), "WrongType")
        self.assertEqual(error_of(self.kernel.fold, number, state, [state]), "WrongType")
        self.assertEqual(error_of(self.kernel.fold, number, partial, []), "WrongType")
        self.assertEqual(error_of(self.kernel.reduce, number, [state, partial]), "WrongType")
        self.assertEqual(error_of(self.kernel.partial_extent, state), "WrongType")

    @law(examples.all_states(UNIQUE_GROUP), examples.all_states(UNIQUE_GROUP), strategies.times())
    def test_values_seen_twice_are_one_value(self, one: bytes, other: bytes, time: float) -> None:
        """Distinct values of a State with itself, or again with what it was made of, are as many as before, but that
        an estimate is not above the count, which then is higher."""
        both = self._reduce(UNIQUE_GROUP, one, other)
        shown = self.kernel.unique_group_summary(both, time)
        for again in (both, one, other):
            more = self.kernel.unique_group_summary(self._reduce(UNIQUE_GROUP, both, again), time)
            at_most = [min(now.unique, before.count) for now, before in zip(more, shown, strict=True)]
            self.assertEqual(at_most, [window.unique for window in shown])

    def test_no_state_reduces_to_the_empty_one(self) -> None:
        """Nothing folded or reduced is the empty State."""
        for number in examples.WITH_STATES:
            self.assertEqual(self._reduce(number), b"")
            self.assertEqual(self._reduce(number, b"", b""), b"")
            self.assertEqual(self._fold(number, b""), b"")

    @law(st.lists(examples.folded(GAUGE).filter(bool), min_size=2, max_size=3), examples.partials(GAUGE), examples=10)
    def test_gauge_of_several_clients_is_not_folded_into(self, states: list[bytes], partial: bytes) -> None:
        """ValueError for folding into a State that holds several clients."""
        several = self._reduce(GAUGE, *states)
        self.assertEqual(error_of(self.kernel.fold, GAUGE, several, [partial]), "ValueError")


class BodyLaws(Suite):
    """What holds for protocol 1 and the accumulator."""

    kernel: ModuleType

    def _read(self, *pieces: bytes) -> tuple[Any, list[Any]]:
        """The summary and the sections that a body comes to; or its error, as (name, line)."""
        scratch = self.kernel.Scratch(self.kernel.Limits(newest=strategies.NEWEST + 60.0), strategies.TYPES)
        try:
            for piece in pieces:
                scratch.feed(piece)
            scratch.finish()
        except Exception as error:
            return (type(error).__name__, getattr(error, "line", None)), []
        accumulator = self.kernel.Accumulator()
        accumulator.merge(scratch, 7)
        summary = scratch.summary()
        facts = (summary.accepted, dict(summary.refused), list(summary.samples), summary.line)
        return facts, accumulator.encode(4)

    @law(strategies.splits(st.one_of(strategies.bodies(), strategies.damaged(strategies.bodies()))))
    def test_every_split_of_a_body_reads_the_same(self, drawn: tuple[bytes, list[bytes]]) -> None:
        """Whole, byte by byte or in pieces: a body comes to the same events, refusals and sections, or to one error."""
        whole, pieces = drawn
        self.assertEqual(self._read(whole), self._read(*pieces))

    @law(strategies.bodies_and_ends())
    def test_blank_lines_at_the_end_do_not_matter(self, drawn: tuple[bytes, int]) -> None:
        """A body comes to the same events with all of its last line ends, and without any of them."""
        body, needed = drawn
        facts, sections = self._read(body)
        for length in range(needed, len(body)):
            bare_facts, bare_sections = self._read(body[:length])
            self.assertEqual((facts[:3], sections), (bare_facts[:3], bare_sections))

    @law(strategies.bodies(), strategies.bodies())
    def test_sections_hold_what_was_accepted(self, one: bytes, other: bytes) -> None:
        """Two requests merged: the sections' events add up, and each Partial is whole and in its vbucket's section."""
        accumulator = self.kernel.Accumulator()
        accepted, stamp = 0, 1
        for body in (one, other):
            scratch = self.kernel.Scratch(self.kernel.Limits(newest=strategies.NEWEST + 60.0), strategies.TYPES)
            scratch.feed(body)
            scratch.finish()
            stamp = accumulator.merge(scratch, stamp)
            accepted += scratch.summary().accepted
        for num_vbuckets in (0, 1, 16):
            sections = accumulator.encode(num_vbuckets)
            self.assertEqual(sum(section.events for section in sections), accepted)
            self.assertEqual([s.vbucket for s in sections], sorted({s.vbucket for s in sections}))
            for section in sections:
                for entry in self.kernel.batch_entries(section.data):
                    self.assertEqual(self.kernel.partial_extent(entry.partial)[0], entry.events)
                    self.assertEqual(self.kernel.crc32(entry.tab.encode()) % max(num_vbuckets, 1), section.vbucket)

    @law(strategies.bodies(), st.integers(1, 8))
    def test_undivided_section_splits_as_if_divided_at_once(self, body: bytes, num_vbuckets: int) -> None:
        """What an agent committed before it met its cluster comes out as if it had known the number of vbuckets."""
        scratch = self.kernel.Scratch(self.kernel.Limits(newest=strategies.NEWEST + 60.0), strategies.TYPES)
        scratch.feed(body)
        scratch.finish()
        accumulator = self.kernel.Accumulator()
        accumulator.merge(scratch, 1)
        undivided = b"".join(section.data for section in accumulator.encode(0))
        if undivided:
            self.assertEqual(self.kernel.batch_split(undivided, num_vbuckets), accumulator.encode(num_vbuckets))


class GoldenLaws(Suite):
    """What every build reads from the files of tests/golden/, and writes again."""

    kernel: ModuleType

    def test_files_say_what_they_said(self) -> None:
        """Each file decodes to what its description tells."""
        for path in sorted(golden.FOLDER.glob("*.json")):
            told = json.loads(path.read_text(encoding="utf-8"))
            contains = golden.CONTAINS[told["encoding"]](path.with_suffix(".bin").read_bytes(), self.kernel)
            self.assertEqual((path.stem, json.loads(json.dumps(contains))), (path.stem, told["contains"]))

    def test_files_are_written_again(self) -> None:
        """States and sketches of this version, decoded and encoded, are the bytes of the files."""
        for path in sorted(golden.FOLDER.glob("*.bin")):
            told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            blob = path.read_bytes()
            if told["version"] == 1 and told["encoding"] == "sketch":
                self.assertEqual(self.kernel.Sketch.decode(blob).encode(), blob)
            elif told["version"] == 1 and told["encoding"].endswith("state"):
                self.assertEqual(self.kernel.reduce(blob[0], [blob]), blob)
