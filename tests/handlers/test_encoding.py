"""The primitives of States that are encoded in Python, side by side with those of the twin."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

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
