"""The sketches in a CounterGroup's Partial: by them, Types that forget when things happened fold the same Partials.

A Type of numbers whose Handler names the kind `native.COUNTER_GROUP` has its payloads judged where they come in, one by
one, and its events travel as such Partials: one sketch per minute that they touch, ascending. The seconds that stand
beside them are not needed here.
"""

from __future__ import annotations

from taba import native
from taba.errors import WrongType
from taba.handlers.encoding import DOUBLE, Reader

_EXACT = 1
_BUCKETS = 2


def minute_sketches(partial: bytes) -> list[native.Sketch]:
    """The sketches of a CounterGroup's Partial, none of them empty, the oldest minute first. Together they hold all
    its events. CodecError for other bytes.
    """
    first = native.check(partial)  # the whole Partial: what follows only looks for ends
    if first != native.PARTIAL | native.COUNTER_GROUP:
        raise WrongType(f"a blob of {first:#04x} where a CounterGroup's Partial is due")
    reader = Reader(partial, 2)
    sketches = []
    for _ in range(reader.uvarint()):
        reader.uvarint()  # the minute
        start = reader.offset
        _pass_sketch(reader)
        sketches.append(native.Sketch.decode(partial[start : reader.offset]))
    return sketches


def newest_second(partial: bytes) -> int:
    """The start of the newest second in which a CounterGroup's Partial has an event, in whole seconds since 1970."""
    _, newest = native.partial_extent(partial)
    return int(newest)


def _pass_sketch(reader: Reader) -> None:
    """Go behind a sketch; its bytes are known to be sound."""
    head = reader.u8()
    form = head & 3
    if form == _EXACT:
        count = reader.uvarint()
        for _ in range(count):
            _pass_number(reader, head >> 2 & 3)
    elif form == _BUCKETS:
        reader.uvarint()  # the count
        for shift in (2, 4, 6):  # sum, min, max
            _pass_number(reader, head >> shift & 3)
        reader.u8()  # the scale
        reader.uvarint()  # the zeros
        _pass_range(reader)
        _pass_range(reader)


def _pass_number(reader: Reader, kind: int) -> None:
    if kind == DOUBLE:
        reader.take(8)
    else:
        reader.uvarint()


def _pass_range(reader: Reader) -> None:
    """Go behind the buckets of one sign: `left` of those that are not empty are still to come."""
    left = reader.uvarint()
    if not left:
        return
    bits = reader.u8()
    reader.uvarint()  # the first index
    far = (1 << bits) - 1
    while left:
        token = reader.uvarint()
        if bits:
            left -= 1
            if token & far == far:
                reader.uvarint()  # the rest of the gap
        else:
            left -= token > 0
