"""The sketch, as an object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from taba.errors import CorruptBlob
from taba.native.core import blob_of, bytes_of, doubles, ffi, lib, new_buffer, owned, verify


@frozen
class SketchSummary:
    """What a sketch knows exactly, and the bound of the relative error of its quantiles (0 while it is exact)."""

    count: int
    sum: float
    min: float
    max: float
    error: float


def summary_of(out: Any) -> SketchSummary:
    return SketchSummary(out.count, out.sum, out.min, out.max, out.error)


class Sketch:
    """An exponential histogram with a bounded relative error; see the header."""

    def __init__(self) -> None:
        self._sketch = owned(lib.taba_sketch_new(ffi.NULL), lib.taba_sketch_free)

    def add(self, values: Sequence[float]) -> None:
        """Add finite values; ValueError, and none is added, when one is not finite."""
        verify(lib.taba_sketch_add(self._sketch, doubles(values), len(values)))

    def merge(self, other: Sketch) -> None:
        """Add all that another sketch holds."""
        if other is self:
            raise ValueError("a sketch cannot be merged into itself")
        verify(lib.taba_sketch_merge(self._sketch, other._sketch))

    def summary(self) -> SketchSummary:
        """Count, sum, minimum, maximum and error bound."""
        out = ffi.new("taba_sketch_summary *")
        lib.taba_sketch_summary_of(self._sketch, out)
        return summary_of(out)

    def quantiles(self, quantiles: Sequence[float]) -> list[float]:
        """The values of rank min(trunc(q * count), count - 1); 0.0 when empty. ValueError for a q outside [0, 1]."""
        out = ffi.new("double[]", len(quantiles))
        verify(lib.taba_sketch_quantiles(self._sketch, doubles(quantiles), len(quantiles), out))
        return list(out)

    def encode(self) -> bytes:
        """The sketch as bytes."""
        out = new_buffer()
        verify(lib.taba_sketch_encode(self._sketch, out))
        return bytes_of(out)

    @classmethod
    def decode(cls, data: bytes) -> Sketch:
        """The sketch that `data` is the encoding of; CodecError when it is none, or when bytes follow."""
        sketch = cls()
        used = ffi.new("size_t *")
        verify(lib.taba_sketch_decode(sketch._sketch, *blob_of(data), used))
        if used[0] != len(data):
            raise CorruptBlob("bytes after the end of a sketch")
        return sketch
