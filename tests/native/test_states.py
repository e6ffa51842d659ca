"""Native States and Partials: the laws of all kernels, and equal to the twin in every answer, byte and refusal."""

from __future__ import annotations

from types import ModuleType

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from tests import strategies
from tests.native.verdicts import plain, verdict
from tests.strategies import law
from tests.twin import counter_group, examples, gauge, kernel, percentile_group, states, unique_group
from tests.twin.blobs import COUNTER_GROUP, GAUGE, PERCENTILE_GROUP, UNIQUE_GROUP
from tests.twin.laws import CODEC_ERRORS, StateLaws

Drawn = tuple[int, bytes, list[bytes]]


class NativeStateTests(StateLaws, SynchronousTestCase):
    """The laws of States, for the native core."""

    kernel: ModuleType = native


class StateTwinTests(SynchronousTestCase):
    """Native and twin side by side."""

    @law(
        st.sampled_from(examples.WITH_STATES).flatmap(
            lambda t: st.tuples(st.just(t), examples.folded(t), st.lists(examples.partials(t), max_size=4))
        ),
        examples=150,
    )
    def test_folding_is_alike(self, drawn: Drawn) -> None:
        """The same State and Partials give the same bytes, fractions too."""
        self.assertEqual(native.fold(*drawn), states.fold(*drawn))

    @law(
        st.sampled_from(examples.WITH_STATES).flatmap(
            lambda t: st.tuples(st.just(t), st.lists(examples.all_states(t), max_size=4))
        ),
        examples=80,
    )
    def test_reducing_is_alike(self, drawn: tuple[int, list[bytes]]) -> None:
        """The same States give the same bytes, fractions too."""
        self.assertEqual(native.reduce(*drawn), states.reduce(*drawn))

    @law(examples.blobs(), examples=60)
    def test_extents_are_alike(self, blob: bytes) -> None:
        """The number of events and the newest time of Partials; a wrong Type for States."""
        self.assertEqual(verdict(native.partial_extent, blob), verdict(states.partial_extent, blob))
        self.assertEqual(native.check(blob), blob[0])

    @law(st.sampled_from(examples.WITH_STATES).flatmap(examples.all_states), examples=60)
    def test_newest_times_are_alike(self, state: bytes) -> None:
        """The time of the newest event that a State holds."""
        self.assertEqual(verdict(native.state_newest, state), verdict(states.state_newest, state))

    @law(examples.all_states(COUNTER_GROUP), strategies.times(), strategies.quantiles(), examples=60)
    def test_counters_show_the_same(self, state: bytes, time: float, qs: list[float]) -> None:
        """Windows, buckets, summary and quantiles at any time."""
        shown = native.counter_group_summary(state, time, qs)
        self.assertEqual(plain(shown), plain(counter_group.summary(state, time, qs)))
        for level in range(4):
            buckets = native.counter_group_buckets(state, time, level)
            self.assertEqual(plain(buckets), plain(counter_group.buckets(state, time, level)))

    @law(examples.all_states(PERCENTILE_GROUP), strategies.times(), strategies.quantiles(), examples=60)
    def test_percentiles_show_the_same(self, state: bytes, time: float, qs: list[float]) -> None:
        """Summaries and quantiles of all windows at any time."""
        shown = native.percentile_group_summary(state, time, qs)
        self.assertEqual(plain(shown), plain(percentile_group.summary(state, time, qs)))

    @law(examples.all_states(UNIQUE_GROUP), strategies.times(), examples=60)
    def test_distinct_values_show_the_same(self, state: bytes, time: float) -> None:
        """Windows and buckets at any time, to the last bit."""
        self.assertEqual(plain(native.unique_group_summary(state, time)), plain(unique_group.summary(state, time)))
        for level in range(4):
            buckets = native.unique_group_buckets(state, time, level)
            self.assertEqual(plain(buckets), plain(unique_group.buckets(state, time, level)))

    @law(st.sampled_from([float("nan"), float("inf"), float("-inf"), 0.0, -5.5, 1e9]), strategies.times())
    def test_times_of_asking_are_judged_alike(self, time: float, event: float) -> None:
        """ValueError for a time that is none; before 1970 is a time."""
        for state in (b"", states.fold(COUNTER_GROUP, b"", [counter_group.Partial.of([(event, 1.0)]).encode()])):
            twin = verdict(counter_group.summary, state, time, [0.5])
            self.assertEqual(verdict(native.counter_group_summary, state, time, [0.5]), twin)
            twin = verdict(counter_group.buckets, state, time, 3)
            self.assertEqual(verdict(native.counter_group_buckets, state, time, 3), twin)
        twin = verdict(unique_group.summary, b"", time)
        self.assertEqual(verdict(native.unique_group_summary, b"", time), twin)
        twin = verdict(percentile_group.summary, b"", time, [0.5])
        self.assertEqual(verdict(native.percentile_group_summary, b"", time, [0.5]), twin)

    @law(examples.all_states(GAUGE), examples.partials(0), examples=30)
    def test_entries_are_told_alike(self, state: bytes, raw: bytes) -> None:
        """The entries of Gauges and the events of raw Partials, in their order."""
        self.assertEqual(plain(native.gauge_entries(state)), plain(gauge.State.decode(state).entries))
        self.assertEqual(plain(native.raw_events(raw)), plain(gauge.RawPartial.decode(raw).entries))


class RefusalTwinTests(SynchronousTestCase):
    """What one side refuses the other refuses, with the same error."""

    def _same_verdict(self, blob: bytes) -> None:
        self.assertEqual(verdict(native.check, blob), verdict(kernel.check, blob))
        self.assertEqual(verdict(native.partial_extent, blob), verdict(kernel.partial_extent, blob))
        self._same_newest(blob)
        for number in examples.WITH_STATES:
            twin = verdict(kernel.fold, number, b"", [blob])
            self.assertEqual((number, verdict(native.fold, number, b"", [blob])), (number, twin))
            twin = verdict(kernel.reduce, number, [blob])
            self.assertEqual((number, verdict(native.reduce, number, [blob])), (number, twin))

    def _same_newest(self, blob: bytes) -> None:
        """A corrupt Partial is a Partial all the same: its first byte is looked at before the rest."""
        twin = ("WrongType", None) if blob[0] & native.PARTIAL else verdict(kernel.state_newest, blob)
        self.assertEqual(verdict(native.state_newest, blob), twin)

    @law(strategies.damaged(examples.blobs()).filter(bool), examples=200)
    def test_damaged_blobs_are_refused_alike(self, blob: bytes) -> None:
        """Changed, lost and added bytes."""
        self._same_verdict(blob)

    @law(examples.tampered_blobs(), examples=150)
    def test_tampered_blobs_are_refused_alike(self, blob: bytes) -> None:
        """States and Partials that break one rule."""
        self._same_verdict(blob)

    @law(st.sampled_from([1, 2, 3, 8, 0x80, 0x81, 0x82, 0x83, 0x88]), st.binary(max_size=30), examples=100)
    def test_any_bytes_are_refused_alike(self, first: int, noise: bytes) -> None:
        """Noise, and noise behind a right head."""
        if noise:
            self._same_verdict(noise)
        self._same_verdict(bytes([first, 1]) + noise)

    @law(strategies.damaged(examples.all_states(GAUGE)), strategies.damaged(examples.partials(0)))
    def test_damaged_entries_are_refused_alike(self, state: bytes, raw: bytes) -> None:
        """Reading entries one by one refuses what reading the whole refuses."""
        for blob in (state, raw):
            for mine, twins in ((native.gauge_entries, kernel.gauge_entries), (native.raw_events, kernel.raw_events)):
                if blob and not verdict(twins, blob)[0]:
                    self.assertEqual(verdict(mine, blob), verdict(twins, blob))

    def test_no_bytes_are_no_partial(self) -> None:
        """No bytes at all are the empty State, and a Partial of no Type."""
        self.assertEqual(native.reduce(COUNTER_GROUP, [b""]), b"")
        for call in (native.check, native.partial_extent, native.raw_events):
            self.assertIn(verdict(call, b"")[0], CODEC_ERRORS)
        for number in examples.WITH_STATES:
            self.assertIn(verdict(native.fold, number, b"", [b""])[0], CODEC_ERRORS)

    def test_types_without_states(self) -> None:
        """Raw events are neither folded nor reduced here, and no other number is a Type."""
        for number in (0, 4, -1, 0x81, 255):
            self.assertEqual(verdict(native.fold, number, b"", [])[0], verdict(kernel.fold, number, b"", [])[0])
            self.assertEqual(verdict(native.reduce, number, [])[0], verdict(kernel.reduce, number, [])[0])
