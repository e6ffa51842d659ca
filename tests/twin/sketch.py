"""The sketch: up to 32 values as they are, beyond that the counts of an exponential histogram.

A sketch counts 2**61 values at most, so that every token of an encoding fits 64 bits. Invariants of the bucket form,
which the decoder checks as far as a blob shows them: `count` is zeros plus all bucket counts and at least 33; `least`
and `greatest` lie in the outermost buckets; the scale is the largest at which neither sign spans over 4096 indices.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from itertools import pairwise

from attrs import Factory, define, field, frozen

from tests.twin import octaves
from tests.twin.errors import CorruptBlob
from tests.twin.primitives import (
    DOUBLE,
    MAX_UVARINT,
    MAX_WHOLE,
    THOUSANDTHS,
    WHOLE,
    Reader,
    add,
    encode_f64,
    encode_number,
    encode_svarint,
    encode_uvarint,
    kind_of,
    number,
    thousandths_of,
    whole_of,
)

MOST_EXACT = 32
MOST_BUCKETS = 4096
MOST_VALUES = 2**61
EMPTY, EXACT, BUCKETS = 0, 1, 2  # the forms

Buckets = dict[int, int]  # index at the sketch's scale -> count, which is never 0


@frozen
class SketchSummary:
    """What a rendering shows of a sketch; all 0 while it is empty. `error` bounds the relative error of quantiles."""

    count: int
    sum: float
    min: float
    max: float
    error: float


@define
class Sketch:
    """A multiset of numbers. `values` holds them in ascending order while there are 32 at most, and is None then."""

    values: list[float] | None = field(factory=list)
    count: int = 0
    sum: float = 0.0
    least: float = 0.0
    greatest: float = 0.0
    scale: int = octaves.SCALE
    zeros: int = 0
    positive: Buckets = Factory(dict)
    negative: Buckets = Factory(dict)  # of the absolute values

    @classmethod
    def of(cls, values: Iterable[float]) -> Sketch:
        """The sketch of these values, added one by one."""
        sketch = cls()
        sketch.add(values)
        return sketch

    def copy(self) -> Sketch:
        """An equal sketch that shares nothing with this one."""
        copied = Sketch()
        copied.merge(self)
        return copied

    def add(self, values: Iterable[float]) -> None:
        """Add finite values, one by one. ValueError if one is not finite, or if they are too many: none is added."""
        numbers = [number(value) for value in values]
        self._check_room(len(numbers))
        for value in numbers:
            if self.values is not None and len(self.values) < MOST_EXACT:
                bisect.insort(self.values, value)
            else:
                self._to_buckets()
                self.sum = add(self.sum, value)
                self._count(value)
                self._fit()

    def merge(self, other: Sketch) -> None:
        """Add all that `other` holds; `other` stays as it is. ValueError when the values would be too many."""
        self._check_room(other.summary().count)
        if self.values is not None and other.values is not None and len(self.values) + len(other.values) <= MOST_EXACT:
            self.values = sorted(self.values + other.values)
            return
        self._to_buckets()
        if other.values is not None:
            self.sum = add(self.sum, sum_ascending(other.values))
            for value in other.values:
                self._count(value)
        else:
            self._merge_buckets(other)
        self._fit()

    def summary(self) -> SketchSummary:
        """Count, sum, min, max and the bound of the error."""
        if self.values is None:
            return SketchSummary(self.count, self.sum, self.least, self.greatest, octaves.error(self.scale))
        ends = (self.values[0], self.values[-1]) if self.values else (0.0, 0.0)
        return SketchSummary(len(self.values), sum_ascending(self.values), *ends, 0.0)

    def quantiles(self, qs: Sequence[float]) -> list[float]:
        """The value of rank min(trunc(q * n), n - 1) for each q; 0.0 when empty. ValueError for a q outside [0, 1]."""
        if not all(0.0 <= q <= 1.0 for q in qs):
            raise ValueError(f"quantiles are 0 to 1, not {qs}")
        n = self.summary().count
        return [self._value_of_rank(min(int(q * float(n)), n - 1)) if n else 0.0 for q in qs]

    def encode(self) -> bytes:
        """The one encoding of this sketch."""
        if self.values is None:
            return self._encode_buckets()
        return _encode_exact(self.values) if self.values else bytes([EMPTY])

    @classmethod
    def decode(cls, data: bytes) -> Sketch:
        """The sketch that `data` encodes, all of it."""
        reader = Reader(data)
        sketch = cls.read(reader)
        reader.end()
        return sketch

    @classmethod
    def read(cls, reader: Reader) -> Sketch:
        """Take a sketch from the front of what is left."""
        start = reader.offset
        head = reader.u8()
        form, kinds = head & 3, [head >> 2 & 3, head >> 4 & 3, head >> 6]
        if form == BUCKETS:
            sketch = _read_buckets(reader, kinds)
            sketch._check()
        elif form == EXACT:
            sketch = Sketch(_read_exact(reader, kinds[0]))
        else:
            sketch = Sketch()
        if sketch.encode() != reader.data[start : reader.offset]:
            raise CorruptBlob("not the one encoding of this sketch")
        return sketch

    def _check_room(self, more: int) -> None:
        if self.summary().count + more > MOST_VALUES:
            raise ValueError(f"a sketch counts {MOST_VALUES} values at most")

    def _to_buckets(self) -> None:
        """Leave the exact form: make its sum, and count its values."""
        if self.values is None:
            return
        values, self.values = self.values, None
        self.sum = sum_ascending(values)
        for value in values:
            self._count(value)

    def _count(self, value: float) -> None:
        """Count one value in its bucket, without its sum."""
        self.least = min(self.least, value) if self.count else value
        self.greatest = max(self.greatest, value) if self.count else value
        self.count += 1
        if value == 0.0:
            self.zeros += 1
        else:
            buckets = self.positive if value > 0.0 else self.negative
            bucket = octaves.index(abs(value), self.scale)
            buckets[bucket] = buckets.get(bucket, 0) + 1

    def _merge_buckets(self, other: Sketch) -> None:
        self.sum = add(self.sum, other.sum)
        self.least = min(self.least, other.least) if self.count else other.least
        self.greatest = max(self.greatest, other.greatest) if self.count else other.greatest
        self.count += other.count
        self.zeros += other.zeros
        scale = min(self.scale, other.scale)
        self._coarsen(self.scale - scale)
        for mine, theirs in ((self.positive, other.positive), (self.negative, other.negative)):
            for bucket, count in _coarser(theirs, other.scale - scale).items():
                mine[bucket] = mine.get(bucket, 0) + count

    def _coarsen(self, halvings: int) -> None:
        self.positive = _coarser(self.positive, halvings)
        self.negative = _coarser(self.negative, halvings)
        self.scale -= halvings

    def _fit(self) -> None:
        """Halve the scale until both signs fit."""
        while max(span(self.positive), span(self.negative)) > MOST_BUCKETS:
            self._coarsen(1)

    def _value_of_rank(self, rank: int) -> float:
        if self.values is not None:
            return self.values[rank]
        ascending = [
            *((-octaves.representative(i, self.scale), self.negative[i]) for i in sorted(self.negative, reverse=True)),
            (0.0, self.zeros),
            *((octaves.representative(i, self.scale), self.positive[i]) for i in sorted(self.positive)),
        ]
        for value, count in ascending:
            if rank < count:
                return min(max(value, self.least), self.greatest)
            rank -= count
        raise AssertionError("a rank is below the count")

    def _encode_buckets(self) -> bytes:
        kinds = [kind_of(value) for value in (self.sum, self.least, self.greatest)]
        return b"".join(
            [
                bytes([BUCKETS | kinds[0] << 2 | kinds[1] << 4 | kinds[2] << 6]),
                encode_uvarint(self.count),
                encode_number(self.sum),
                encode_number(self.least),
                encode_number(self.greatest),
                bytes([self.scale]),
                encode_uvarint(self.zeros),
                encode_range(self.positive),
                encode_range(self.negative),
            ]
        )

    def _check(self) -> None:
        """The invariants of the bucket form. CorruptBlob where one does not hold."""
        counted = self.zeros + sum(self.positive.values()) + sum(self.negative.values())
        if self.count != counted or not MOST_EXACT < self.count <= MOST_VALUES:
            raise CorruptBlob("the count is wrong")
        if self.least > self.greatest:
            raise CorruptBlob("min is above max")
        if self.least != self._end(self.negative, self.positive, self.least):
            raise CorruptBlob("min is not in the lowest bucket")
        if -self.greatest != self._end(self.positive, self.negative, -self.greatest):
            raise CorruptBlob("max is not in the highest bucket")
        if max(span(self.positive), span(self.negative)) > MOST_BUCKETS or not self._is_largest_scale():
            raise CorruptBlob("not the scale of its span")

    def _end(self, below: Buckets, above: Buckets, least: float) -> float | None:
        """`least` if it lies in the lowest bucket of all (`below` holds negated values), else what should be there."""
        if below:
            return least if least < 0.0 and octaves.index(-least, self.scale) == max(below) else None
        if self.zeros:
            return 0.0
        return least if least > 0.0 and octaves.index(least, self.scale) == min(above) else None

    def _is_largest_scale(self) -> bool:
        """Whether one step finer a sign could have spanned too much; an end that is not min or max is not known."""
        if self.scale >= octaves.SCALE:
            return self.scale == octaves.SCALE
        finer = self.scale + 1
        for buckets, nearest, farthest in (
            (self.positive, self.least, self.greatest),
            (self.negative, -self.greatest, -self.least),
        ):
            if buckets:
                low = octaves.index(nearest, finer) if nearest > 0.0 else 2 * min(buckets)
                if octaves.index(farthest, finer) - low + 1 > MOST_BUCKETS:
                    return True
        return False


def sum_ascending(values: Sequence[float]) -> float:
    """The sum of values that stand in ascending order, from 0.0."""
    total = 0.0
    for value in values:
        total = add(total, value)
    return total


def span(buckets: Buckets) -> int:
    """How many indices lie from the first to the last."""
    return max(buckets) - min(buckets) + 1 if buckets else 0


def _coarser(buckets: Buckets, halvings: int) -> Buckets:
    coarser: Buckets = {}
    for index, count in buckets.items():
        coarser[index >> halvings] = coarser.get(index >> halvings, 0) + count
    return coarser


def _encode_exact(values: Sequence[float]) -> bytes:
    count = encode_uvarint(len(values))
    for kind, scaled_of in ((WHOLE, whole_of), (THOUSANDTHS, thousandths_of)):
        scaled = [m for value in values if (m := scaled_of(value)) is not None]
        if len(scaled) == len(values):
            differences = [later - earlier for earlier, later in pairwise(scaled)]
            head = bytes([EXACT | kind << 2]) + count + encode_svarint(scaled[0])
            return head + b"".join(map(encode_uvarint, differences))
    return bytes([EXACT | DOUBLE << 2]) + count + b"".join(map(encode_f64, values))


def _read_exact(reader: Reader, kind: int) -> list[float]:
    n = reader.uvarint()
    if not 1 <= n <= MOST_EXACT or kind > DOUBLE:
        raise CorruptBlob("an exact sketch of no or too many values, or of no kind")
    if kind == DOUBLE:
        values = [reader.f64() for _ in range(n)]
    else:
        scaled = [reader.scaled()]
        for _ in range(n - 1):
            scaled.append(scaled[-1] + reader.uvarint())
        if scaled[-1] > MAX_WHOLE:
            raise CorruptBlob("m is beyond 2**53")
        values = [m / (1.0 if kind == WHOLE else 1000.0) for m in scaled]
    if values != sorted(values):
        raise CorruptBlob("values that do not ascend")
    return values


def _tokens(buckets: Buckets, k: int) -> bytes | None:
    """The tokens of a range for this k; None when one would not fit a uvarint."""
    indices = sorted(buckets)
    if k == 0:
        return b"".join(encode_uvarint(buckets.get(i, 0)) for i in range(indices[0], indices[-1] + 1))
    tokens, most = bytearray(), 2**k - 1
    for previous, index in zip([indices[0] - 1, *indices], indices, strict=False):
        gap = index - previous
        g = min(gap - 1, most)
        token = (buckets[index] - 1) << k | g
        if token > MAX_UVARINT:
            return None
        tokens += encode_uvarint(token)
        if g == most:
            tokens += encode_uvarint(gap - 1 - g)
    return bytes(tokens)


def encode_range(buckets: Buckets) -> bytes:
    """One sign's buckets, with the k that takes the fewest bytes, the lowest of equals."""
    if not buckets:
        return encode_uvarint(0)
    sized = [(len(tokens), k, tokens) for k in range(4) if (tokens := _tokens(buckets, k)) is not None]
    _, k, tokens = min(sized)
    return encode_uvarint(len(buckets)) + bytes([k]) + encode_svarint(min(buckets)) + tokens


def _read_range(reader: Reader) -> Buckets:
    n = reader.uvarint()
    if n == 0:
        return {}
    if n > MOST_BUCKETS:
        raise CorruptBlob("more buckets than a range has")
    k, index = reader.u8(), reader.svarint()
    if k > 3:
        raise CorruptBlob("there is no such k")
    buckets: Buckets = {}
    most = 2**k - 1
    while len(buckets) < n:
        token = reader.uvarint()
        if k == 0:
            if token:
                buckets[index] = token
            index += 1
        else:
            g = token & most
            gap = g + 1 + (reader.uvarint() if g == most else 0)
            index += gap - 1 if not buckets else gap
            buckets[index] = (token >> k) + 1
    return buckets


def _read_buckets(reader: Reader, kinds: Sequence[int]) -> Sketch:
    count = reader.uvarint()
    total, least, greatest = (reader.number(kind) for kind in kinds)
    scale, zeros = reader.u8(), reader.uvarint()
    if scale > octaves.SCALE:
        raise CorruptBlob("there is no such scale")
    return Sketch(None, count, total, least, greatest, scale, zeros, _read_range(reader), _read_range(reader))
