"""The twin's batches and accumulator: worked bytes, and what a decoder refuses."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests import strategies
from tests.strategies import law
from tests.twin import batches, examples
from tests.twin.accumulator import Accumulator
from tests.twin.batches import Entry
from tests.twin.errors import CorruptBlob, TwinError, UnknownVersion
from tests.twin.protocol1 import Limits, parse

ONE = Entry("t", "c", "Gauge", 2, b"xy")
TWO = Entry("c", "t", "Gauge", 1, b"z")
BYTES = b"\x01" + b"\x03\x01t\x01c\x05Gauge" + b"\x02" + b"\x00\x01\x02\x02\x02xy" + b"\x01\x00\x02\x01\x01z"


class BatchTests(SynchronousTestCase):
    """Sections and their entries."""

    def test_worked_example(self) -> None:
        """Names stand once, in the order of their first use."""
        self.assertEqual(batches.encode_section([ONE, TWO]), BYTES)
        self.assertEqual(batches.batch_entries(BYTES), [ONE, TWO])

    @law(examples.batches())
    def test_sections_survive(self, batch: bytes) -> None:
        """Reading a batch and writing its sections gives the same bytes."""
        self.assertEqual(b"".join(map(batches.encode_section, batches.read_sections(batch))), batch)

    @law(examples.batch_sections(), examples=20)
    def test_every_prefix_is_refused(self, section: bytes) -> None:
        """A section cut short anywhere is corrupt."""
        for length in range(0, len(section), max(1, len(section) // 60)):
            self.assertRaises(CorruptBlob, batches.batch_entries, section[:length])

    @law(strategies.damaged(examples.batches()), examples=60)
    def test_what_is_accepted_is_canonical(self, batch: bytes) -> None:
        """A damaged batch is refused, or is a right one."""
        try:
            sections = batches.read_sections(batch)
        except TwinError:
            return
        self.assertEqual(b"".join(map(batches.encode_section, sections)), batch)

    def test_wrong_sections(self) -> None:
        """Names unused, twice, in another order, or not names; entries twice; another version."""
        unused = b"\x01\x04\x01t\x01c\x05Gauge\x01x\x01\x00\x01\x02\x01\x01z"
        twice = b"\x01\x03\x01t\x01t\x05Gauge\x01\x00\x01\x02\x01\x01z"
        order = b"\x01\x03\x01c\x01t\x05Gauge\x01\x01\x00\x02\x01\x01z"
        no_name = b"\x01\x03\x01t\x01 \x05Gauge\x01\x00\x01\x02\x01\x01z"
        again = b"\x01\x03\x01t\x01c\x05Gauge\x02\x00\x01\x02\x01\x01z\x00\x01\x02\x01\x01z"
        for batch in (b"", unused, twice, order, no_name, again):
            self.assertRaises(CorruptBlob, batches.batch_entries, batch)
        self.assertRaises(UnknownVersion, batches.batch_entries, b"\x02" + BYTES[1:])

    @law(examples.batch_sections(), st.integers(1, 16))
    def test_splitting_keeps_every_entry(self, section: bytes, num_vbuckets: int) -> None:
        """Each entry goes to the section of its vbucket, in order."""
        entries = batches.batch_entries(section)
        for part in batches.batch_split(section, num_vbuckets):
            mine = [entry for entry in entries if batches.vbucket_of(entry.tab, num_vbuckets) == part.vbucket]
            self.assertEqual(batches.batch_entries(part.data), mine)
            self.assertEqual(part.events, sum(entry.events for entry in mine))


class AccumulatorTests(SynchronousTestCase):
    """Merging requests."""

    def test_stamps_are_given_in_order(self) -> None:
        """Gauges and raw events take one stamp each, counters none."""
        body = (
            b'1\n\nc\n\ng\n["Gauge", 1, "1"]\n["Gauge", 1, "2"]\n\nn\n["CounterGroup", 1, "3"]\n\nb\n["Buffer", 1, "4"]'
        )
        accumulator = Accumulator()
        self.assertEqual(accumulator.merge(parse(body, Limits(), strategies.TYPES).events, 10), 13)
        [section] = accumulator.encode(0)
        partials = [entry.partial[:3].hex() for entry in batches.batch_entries(section.data)]
        self.assertEqual((section.events, partials), (4, ["830102", "810101", "800101"]))
        self.assertEqual([partial.newest() for partial in accumulator.partials.values()], [1.0, 1.0, 1.0])

    def test_nothing_makes_no_section(self) -> None:
        """An empty accumulator encodes to nothing."""
        self.assertEqual((Accumulator().encode(0), Accumulator().encode(8)), ([], []))
