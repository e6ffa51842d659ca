"""The twin's States and Partials: the laws of all kernels, and worked examples of windows and bytes."""

from __future__ import annotations

import struct
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from tests.strategies import law
from tests.twin import counter_group, examples, kernel, percentile_group, states
from tests.twin.blobs import COUNTER_GROUP, PERCENTILE_GROUP
from tests.twin.counter_group import Window
from tests.twin.errors import CorruptBlob, TwinError
from tests.twin.gauge import GaugeEntry, Partial, RawPartial, State
from tests.twin.laws import StateLaws


class TwinStateTests(StateLaws, SynchronousTestCase):
    """The laws of States, for the twin."""

    kernel: ModuleType = kernel


class BlobTests(SynchronousTestCase):
    """States and Partials as bytes."""

    def test_counter_partial(self) -> None:
        """Two events of one second and one a minute later."""
        partial = counter_group.Partial.of([(120.25, 1.0), (120.75, 2.0), (180.0, 0.5)])
        level = bytes([2, 0xF0, 1, 1 << 3, 6, 0 << 3 | 1 << 1 | 1, 58, 0xE8, 7])
        minutes = bytes([2, 4, 0x01, 2, 2, 1, 0, 0x05, 1, 0xE8, 7])
        self.assertEqual(partial.encode(), b"\x81\x01" + minutes + level)

    def test_percentile_partial(self) -> None:
        """Two events 15 seconds apart."""
        partial = percentile_group.Partial.of([(30.0, 1.0), (45.5, 2.0)])
        self.assertEqual(partial.encode(), b"\x82\x01" + bytes([2, 4, 1, 1, 2, 0, 1, 1, 4]))

    def test_gauge_partial_and_state(self) -> None:
        """The number of events, and the latest; the State puts the value first."""
        partial = Partial.of([GaugeEntry(2.5, 7, b'"a"'), GaugeEntry(2.5, 8, b"1")])
        self.assertEqual(partial.encode(), b"\x83\x01\x02" + struct.pack("<d", 2.5) + b"\x08\x01" + b"1")
        folded = states.fold(3, b"", [partial.encode()])
        self.assertEqual(folded, b"\x03\x01\x01\x01" + b"1" + struct.pack("<d", 2.5) + b"\x08")

    def test_raw_partial(self) -> None:
        """Events in their order; the extent tells the newest time of all."""
        partial = RawPartial([GaugeEntry(5.0, 1, b"[]"), GaugeEntry(4.0, 2, b"{}")]).encode()
        head = b"\x80\x01\x02" + struct.pack("<d", 5.0) + b"\x01\x02[]"
        self.assertEqual(partial, head + struct.pack("<d", 4.0) + b"\x02\x02{}")
        self.assertEqual(states.partial_extent(partial), (2, 5.0))

    def test_equal_entries_of_a_gauge_stay(self) -> None:
        """Two clients with the same value, time and stamp count twice."""
        one = State([GaugeEntry(1.0, 1, b"1")]).encode()
        self.assertEqual(len(State.decode(states.reduce(3, [one, one])).entries), 2)

    @law(examples.tampered_blobs(), examples=100)
    def test_what_is_accepted_is_canonical(self, blob: bytes) -> None:
        """A blob with one wrong part is refused, or is a right one that survives decoding."""
        try:
            decoded = states.decode(blob)
        except TwinError:
            return
        self.assertEqual(decoded.encode(), blob)

    def test_empty_state_has_no_other_encoding(self) -> None:
        """The empty State is no bytes at all; heads with nothing behind them are corrupt."""
        for blob in (b"\x01\x01" + b"\x00" * 5, b"\x02\x01" + b"\x00" * 4, b"\x03\x01\x00"):
            self.assertRaises(CorruptBlob, states.check, blob)


class WindowTests(SynchronousTestCase):
    """What windows show, and what States keep."""

    def _state(self, *events: tuple[float, float]) -> bytes:
        return states.fold(COUNTER_GROUP, b"", [counter_group.Partial.of(events).encode()])

    def test_window_ends_at_the_time_of_asking(self) -> None:
        """The minute that ends with the second asked for: sixty buckets, none later."""
        state = self._state((1000.5, 1.0), (1059.0, 2.0), (1060.0, 4.0))
        windows, _, _ = counter_group.summary(state, 1059.9, [])
        self.assertEqual(windows[0], Window(2, 3.0))
        windows, _, _ = counter_group.summary(state, 1060.0, [])
        self.assertEqual(windows[0], Window(2, 6.0))

    def test_buckets_are_shown_with_the_empty_ones(self) -> None:
        """All buckets of a level, oldest first, and where the oldest starts."""
        first, shown = counter_group.buckets(self._state((1000.0, 1.0), (1010.0, 2.0)), 1015.0, 1)
        self.assertEqual((first, len(shown)), (420, 60))
        self.assertEqual(shown[-3:], [Window(0, 0.0), Window(1, 1.0), Window(1, 2.0)])

    def test_state_keeps_a_window_and_the_margin(self) -> None:
        """A second's bucket stays until the newest event is 150 s later, and a second event that old never enters."""
        self.assertIn(850, counter_group.State.decode(self._state((850.0, 1.0), (1000.0, 1.0))).levels[0])
        self.assertNotIn(849, counter_group.State.decode(self._state((849.0, 1.0), (1000.0, 1.0))).levels[0])
        late = states.fold(
            COUNTER_GROUP, self._state((1000.0, 1.0)), [counter_group.Partial.of([(849.0, 1.0)]).encode()]
        )
        self.assertEqual(late, self._state((849.0, 1.0), (1000.0, 1.0)))
        self.assertEqual(counter_group.summary(late, 1000.0, [])[1].count, 2)

    def test_percentiles_of_a_window(self) -> None:
        """A minute is four buckets of 15 s; the newest of them holds the time asked for."""
        events = [(900.0, 1.0), (914.0, 2.0), (915.0, 3.0), (959.9, 4.0), (960.0, 5.0)]
        state = states.fold(PERCENTILE_GROUP, b"", [percentile_group.Partial.of(events).encode()])
        summary, values = percentile_group.summary(state, 959.0, [0.0, 1.0])[0]
        self.assertEqual((summary.count, summary.sum, values), (4, 10.0, [1.0, 4.0]))
        summary, values = percentile_group.summary(state, 960.0, [0.0, 1.0])[0]
        self.assertEqual((summary.count, summary.sum, values), (3, 12.0, [3.0, 5.0]))

    def test_time_that_is_none_is_refused(self) -> None:
        """ValueError for NaN and infinities, of empty States too."""
        for time in (float("nan"), float("inf")):
            self.assertRaises(ValueError, counter_group.summary, b"", time, [])
            self.assertRaises(ValueError, counter_group.buckets, b"", time, 0)
            self.assertRaises(ValueError, percentile_group.summary, b"", time, [])
