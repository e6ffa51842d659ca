"""States and Partials of every Type, by the first byte or by the number of the Type."""

from __future__ import annotations

from collections.abc import Sequence

from tests.twin import counter_group, gauge, percentile_group, unique_group
from tests.twin.blobs import COUNTER_GROUP, GAUGE, PARTIAL, PERCENTILE_GROUP, RAW, UNIQUE_GROUP
from tests.twin.errors import CorruptBlob, WrongType

AnyState = counter_group.State | percentile_group.State | gauge.State | unique_group.State
AnyPartial = counter_group.Partial | percentile_group.Partial | gauge.Partial | gauge.RawPartial | unique_group.Partial


def fold(type_number: int, state: bytes, partials: Sequence[bytes]) -> bytes:
    """Fold Partials, in their order, into a State. WrongType for a Type without States."""
    if type_number == COUNTER_GROUP:
        return counter_group.fold(state, partials)
    if type_number == PERCENTILE_GROUP:
        return percentile_group.fold(state, partials)
    if type_number == GAUGE:
        return gauge.fold(state, partials)
    if type_number == UNIQUE_GROUP:
        return unique_group.fold(state, partials)
    raise WrongType(f"Type {type_number} has no State here")


def reduce(type_number: int, states: Sequence[bytes]) -> bytes:
    """Reduce States to one. WrongType for a Type without States."""
    if type_number == COUNTER_GROUP:
        return counter_group.reduce(states)
    if type_number == PERCENTILE_GROUP:
        return percentile_group.reduce(states)
    if type_number == GAUGE:
        return gauge.reduce(states)
    if type_number == UNIQUE_GROUP:
        return unique_group.reduce(states)
    raise WrongType(f"Type {type_number} has no State here")


def decode_partial(blob: bytes) -> AnyPartial:
    """A Partial of any Type. WrongType for a State, which no bytes are, too."""
    if not blob:
        raise WrongType("the empty State")
    if blob[0] == PARTIAL | COUNTER_GROUP:
        return counter_group.Partial.decode(blob)
    if blob[0] == PARTIAL | PERCENTILE_GROUP:
        return percentile_group.Partial.decode(blob)
    if blob[0] == PARTIAL | GAUGE:
        return gauge.Partial.decode(blob)
    if blob[0] == PARTIAL | UNIQUE_GROUP:
        return unique_group.Partial.decode(blob)
    if blob[0] == PARTIAL | RAW:
        return gauge.RawPartial.decode(blob)
    raise WrongType(f"no Partial starts with {blob[0]:#04x}")


def decode(blob: bytes) -> AnyState | AnyPartial:
    """A State or Partial of any Type."""
    if not blob:
        raise CorruptBlob("no bytes")
    if blob[0] == COUNTER_GROUP:
        return counter_group.State.decode(blob)
    if blob[0] == PERCENTILE_GROUP:
        return percentile_group.State.decode(blob)
    if blob[0] == GAUGE:
        return gauge.State.decode(blob)
    if blob[0] == UNIQUE_GROUP:
        return unique_group.State.decode(blob)
    return decode_partial(blob)


def check(blob: bytes) -> int:
    """The first byte of a whole, canonical State or Partial."""
    decode(blob)
    return blob[0]


def state_newest(blob: bytes) -> float:
    """The time of the newest event in a State, rounded down to what it keeps; 0.0 for the empty one."""
    if not blob:
        return 0.0
    state = decode(blob)
    if isinstance(state, gauge.State):
        return max(entry.time for entry in state.entries)
    if isinstance(state, counter_group.State | percentile_group.State | unique_group.State):
        return float(state.newest())
    raise WrongType("a Partial")


def partial_extent(blob: bytes) -> tuple[int, float]:
    """How many events a Partial holds, and the time of the newest, rounded down to its bucket."""
    partial = decode_partial(blob)
    return partial.events(), partial.newest()
