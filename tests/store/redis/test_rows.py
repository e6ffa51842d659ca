"""What stands in the values of the Redis store's keys is read as it was written."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.interfaces import Append, Lease, LogDepth, LogEntry, Position, Verdict
from taba.store.judge import LaneRow
from taba.store.redis import rows
from tests.contracts.store_harness import A, batch, look
from tests.strategies import law

whole = st.integers(0, 2**53 - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


class RowTests(SynchronousTestCase):
    """Rows there and back."""

    @law(whole, whole, whole)
    def test_positions(self, folded: int, commits: int, epoch: int) -> None:
        """A position is read without the epoch that stands with it."""
        value = rows.position_value(Position(folded, commits), epoch)
        self.assertEqual(rows.read_position(value), Position(folded, commits))
        self.assertTrue(value.endswith(b":%d" % epoch))

    @law(whole, st.integers(0, 2**32 - 1), whole, st.floats(0, 4e9))
    def test_lanes(self, last: int, checksum: int, events: int, touched: float) -> None:
        """A dedup row keeps microseconds."""
        read = rows.read_lane(rows.lane_value(LaneRow(last, checksum, events, touched)))
        self.assertEqual((read.last, read.checksum, read.events), (last, checksum, events))
        self.assertAlmostEqual(read.touched, touched, 5)

    @law(st.dictionaries(names, st.integers(-(2**60), 2**60)))
    def test_ledgers(self, ledger: dict[str, int]) -> None:
        """A ledger row may have lines of any name."""
        self.assertEqual(rows.read_ledger(rows.ledger_value(ledger)), ledger)

    @law(st.dictionaries(names, st.binary()))
    def test_hashes(self, held: dict[str, bytes]) -> None:
        """The names in a hash may be any Unicode."""
        flat = [each for name, value in held.items() for each in (name.encode(), value)]
        self.assertEqual(rows.pairs(flat), held)

    def test_leases(self) -> None:
        """A lease is its owner and its epoch."""
        self.assertEqual(rows.lease_value(Lease(3, "host:1/ä", 7)), "host:1/ä:7".encode())

    def test_depth(self) -> None:
        """The bytes of a log are known from its first and last sizes, though the sum began before it."""
        found = rows.depth(5, 3, b"100.500000:10:1010", b"200.000000:30:1060")
        self.assertEqual(found, LogDepth(5, 3, 60, 100.5))
        self.assertEqual(rows.depth(5, 1, b"1.0:7:9", b"1.0:7:9").bytes, 7)

    def test_entries(self) -> None:
        """An entry of a stream is a LogEntry, whatever the order of its fields."""
        found = rows.read_entries(4, A, [[b"0-12", [b"b", b"\x00\xff", b"n", b"3", b"t", b"1.500000"]]])
        self.assertEqual(found, [LogEntry(4, 12, 1.5, 3, A, b"\x00\xff")])
        self.assertEqual(rows.log_id(12), b"0-12")

    def test_foreign_entries(self) -> None:
        """What nobody of ours wrote is an error, not an entry."""
        with self.assertRaises(KeyError):
            rows.read_entries(4, A, [[b"0-1", [b"x", b"y"]]])

    def test_arguments(self) -> None:
        """A batch has ten arguments, and so has a look, which is told by what it lacks."""
        whole_batch = batch(3, previous=9, body=b"")
        self.assertEqual(
            rows.append_arguments(2, whole_batch),
            (2, A, 3, 2, 9, 20, 10, f"{whole_batch.sealed:.6f}", whole_batch.checksum, b""),
        )
        self.assertEqual(rows.append_arguments(1, batch(1))[4], b"")
        self.assertEqual(rows.append_arguments(1, batch(1, previous=0))[4], 0)
        self.assertEqual(rows.append_arguments(1, look(3)), (1, A, 3, *[b""] * 7))

    def test_outcomes(self) -> None:
        """What a log said of a batch, with and without a reason."""
        given = Append(vbucket=2, incarnation=A, seq=5)
        outcome = rows.read_outcome(given, b"refused 4 77 0 too old", "f" * 32)
        self.assertEqual((outcome.verdict, outcome.last, outcome.checksum), (Verdict.REFUSED, 4, 77))
        self.assertEqual((outcome.reason, outcome.appended, outcome.lineage), ("too old", False, "f" * 32))
        none = rows.read_outcome(given, b"gap 0 - 0 ", "f" * 32)
        self.assertEqual((none.verdict, none.last, none.checksum, none.reason), (Verdict.GAP, 0, None, ""))
        self.assertTrue(rows.read_outcome(given, b"ok 5 7 1 ", "f" * 32).appended)

    def test_what_never_should_be(self) -> None:
        """What a server cannot mean is as good as no answer."""
        rows.expect(True, "anything")
        with self.assertRaisesRegex(StoreUnavailable, "never should: two of them"):
            rows.expect([], "two of them")
