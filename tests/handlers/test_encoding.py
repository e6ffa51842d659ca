"""The primitives of States that are encoded in Python, side by side with those of the twin."""

from __future__ import annotations

import sys

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import CorruptBlob, UnknownVersion, WrongType
from taba.handlers import encoding
from tests import strategies
from tests.native.verdicts import verdict
from tests.strategies import law
from tests.twin import primitives

READS: list[tuple[str, tuple[int, ...]]] = [
    *((name, ()) for name in ("u8", "f64", "uvarint", "svarint", "string", "end")),
    *(("number", (kind,)) for kind in range(4)),
]


class PrimitiveTwinTests(SynchronousTestCase):
    """Handlers and twin write the same bytes, and read and refuse the same."""

    @law(strategies.values(), strategies.values(), examples=200)
    def test_numbers_are_written_alike(self, value: float, other: float) -> None:
        """Any number in its lowest kind, and the sum of two."""
        value += 0.0
        kind, encoded = encoding.encode_number(value)
        self.assertEqual((kind, encoded), (primitives.kind_of(value), primitives.encode_number(value)))
        self.assertEqual(encoding.Reader(encoded).number(kind), value)
        self.assertEqual(encoding.encode_f64(-value), primitives.encode_f64(-value))
        self.assertEqual(encoding.add(value, other), primitives.add(value, other))

    @law(st.integers(-1, 2**64), st.binary(max_size=200), examples=100)
    def test_whole_numbers_and_strings_are_written_alike(self, value: int, text: bytes) -> None:
        """Any whole number, ValueError for those that do not fit; strings with their lengths."""
        for name in ("encode_uvarint", "encode_svarint"):
            mine, twins = getattr(encoding, name), getattr(primitives, name)
            self.assertEqual((name, verdict(mine, value)), (name, verdict(twins, value)))
        self.assertEqual(primitives.Reader(encoding.encode_string(text)).string(), text)

    @law(st.one_of(st.binary(max_size=12), strategies.values().map(primitives.encode_number)), examples=200)
    def test_bytes_are_read_alike(self, blob: bytes) -> None:
        """Every read gives the same and goes as far, or is refused with the same error."""
        for name, arguments in READS:
            mine, twins = encoding.Reader(blob), primitives.Reader(blob)
            given = verdict(getattr(mine, name), *arguments)
            self.assertEqual((name, given), (name, verdict(getattr(twins, name), *arguments)))
            if not given[0]:
                self.assertEqual((name, mine.offset), (name, twins.offset))

    def test_what_is_not_finite_is_not_written(self) -> None:
        """ValueError for NaN and infinities."""
        for value in (float("nan"), float("inf"), float("-inf")):
            self.assertRaises(ValueError, encoding.encode_f64, value)


HEAD = encoding.head(0x41, 3)
"""That of a Type of somebody's own, in its third version."""


class StateTests(SynchronousTestCase):
    """What a Handler of one's own needs around its values."""

    def test_reads_behind_its_head(self) -> None:
        """A State begins with its Type and its version; what follows is the Handler's."""
        reader = encoding.Reader.of_state(HEAD + encoding.encode_string(b"ab") + b"\x07", 0x41, 3)
        self.assertEqual((reader.string(), reader.u8()), (b"ab", 7))
        reader.end()

    def test_states_of_others_are_refused(self) -> None:
        """Another Type, another version and half a head have errors of their own."""
        for state, error in (
            (b"", CorruptBlob),
            (HEAD[:1], CorruptBlob),
            (b"\x42\x03", WrongType),
            (b"\x41\x04", UnknownVersion),
        ):
            self.assertRaises(error, encoding.Reader.of_state, state, 0x41, 3)

    def test_present_version_needs_no_upgrade(self) -> None:
        """A State of the present version stays as it is, the empty one too; another version is no State of ours."""
        self.assertEqual(encoding.present(HEAD + b"whatever", 0x41, 3), HEAD + b"whatever")
        self.assertEqual(encoding.present(b"", 0x41, 3), b"")
        self.assertRaises(UnknownVersion, encoding.present, HEAD, 0x41, 4)
        self.assertRaises(WrongType, encoding.present, HEAD, 0x42, 3)

    def test_one_encoding_per_value(self) -> None:
        """A State that its Handler would have written otherwise is damaged."""
        encoding.check_canonical(HEAD, HEAD)
        self.assertRaises(CorruptBlob, encoding.check_canonical, HEAD + b"\0", HEAD)

    def test_seconds_of_buckets(self) -> None:
        """Before 1970 and far ahead, but not beyond what a double holds exactly."""
        for second in (0, -1, encoding.MAX_WHOLE, -encoding.MAX_WHOLE):
            self.assertEqual(encoding.Reader(encoding.encode_svarint(second)).second(), second)
        for second in (encoding.MAX_WHOLE + 1, -encoding.MAX_WHOLE - 1):
            self.assertRaises(CorruptBlob, encoding.Reader(encoding.encode_svarint(second)).second)

    def test_totals_have_an_end(self) -> None:
        """A total that would overflow stays at the largest double, of its sign."""
        largest = sys.float_info.max
        self.assertEqual([encoding.add(one, one) for one in (largest, -largest, 1.5)], [largest, -largest, 3.0])

    def test_numbers_that_fit_nowhere(self) -> None:
        """A whole number below 0 or beyond 64 bits, and what is not finite, are not written."""
        for number in (-1, 2**64):
            self.assertRaises(ValueError, encoding.encode_uvarint, number)
        self.assertRaises(ValueError, encoding.encode_f64, float("nan"))

    def test_counts_have_an_end(self) -> None:
        """So many events nobody has: the sum is refused, as the native Types refuse it, and not made smaller."""
        self.assertEqual(encoding.add_counts(encoding.MAX_COUNT - 1, 1), encoding.MAX_COUNT)
        self.assertRaises(ValueError, encoding.add_counts, encoding.MAX_COUNT, 1)

    def test_damaged_numbers(self) -> None:
        """What nobody writes is not read: too long, too large, not the shortest, not the lowest kind, cut."""
        for damaged in (b"\x80\x00", b"\xff" * 9 + b"\x02", b"\xff" * 11, b"\x80", b""):
            self.assertRaises(CorruptBlob, encoding.Reader(damaged).uvarint)
        nan, negative_zero = b"\0\0\0\0\0\0\xf8\x7f", b"\0" * 7 + b"\x80"
        for damaged, kind in (
            (encoding.encode_svarint(encoding.MAX_WHOLE + 1), encoding.WHOLE),
            (encoding.encode_svarint(1000), encoding.THOUSANDTHS),
            (encoding.encode_f64(1.0), encoding.DOUBLE),
            (nan, encoding.DOUBLE),
            (negative_zero, encoding.DOUBLE),
            (b"\0", 3),
        ):
            self.assertRaises(CorruptBlob, encoding.Reader(damaged).number, kind)

    def test_every_kind_of_number(self) -> None:
        """Whole numbers, thousandths and any other double come back as they were."""
        for value, kind in (
            (-3.0, encoding.WHOLE),
            (0.125, encoding.THOUSANDTHS),
            (0.1 + 0.2, encoding.DOUBLE),
            (1e308, encoding.DOUBLE),
        ):
            written = encoding.encode_number(value)
            self.assertEqual(written[0], kind, value)
            self.assertEqual(encoding.Reader(written[1]).number(kind), value)

    def test_nothing_may_follow(self) -> None:
        """Bytes after the end are damage."""
        self.assertRaises(CorruptBlob, encoding.Reader(b"\0").end)
