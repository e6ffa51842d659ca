"""Strategies of what the twin can make: sketches, Partials, States, batches; and blobs wrong in one deep place.

A blob damaged at random seldom passes the first checks of a decoder. `tampered_sketches` and `tampered_blobs` break one
rule at a time and keep all others, so that every rule meets a blob that only it refuses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from hypothesis import strategies as st

from tests import strategies
from tests.twin import counter_group, gauge, percentile_group, states, unique_group
from tests.twin.batches import Entry, encode_section
from tests.twin.blobs import COUNTER_GROUP, GAUGE, PERCENTILE_GROUP, RAW, UNIQUE_GROUP
from tests.twin.hll import Hll, unique_hash
from tests.twin.primitives import encode_uvarint
from tests.twin.sketch import Sketch

RUNNING = (COUNTER_GROUP, PERCENTILE_GROUP, UNIQUE_GROUP)
WITH_STATES = (*RUNNING, GAUGE)
ALL_TYPES = (RAW, *WITH_STATES)
Values = st.SearchStrategy[float] | None


@functools.cache
def sketches(kind: Values = None) -> st.SearchStrategy[Sketch]:
    """Sketches of every form, some of them merged."""
    made = strategies.value_lists(kind).map(Sketch.of)
    return st.one_of(made, made, st.tuples(made, made).map(lambda pair: _merged(*pair)))


def _merged(one: Sketch, other: Sketch) -> Sketch:
    one.merge(other)
    return one


@functools.cache
def entries() -> st.SearchStrategy[gauge.GaugeEntry]:
    """Events of gauges and raw Types; several often have the same time, value or stamp."""
    json_text = st.one_of(st.sampled_from(['"a"', '"b"', "1"]), strategies.json_texts())
    stamps = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))
    times = st.one_of(st.sampled_from([1.5, 2.0]), strategies.times())
    return st.builds(gauge.GaugeEntry, times, stamps, json_text.map(str.encode))


@functools.cache
def partials(type_number: int, kind: Values = None) -> st.SearchStrategy[bytes]:
    """Encoded Partials of a Type, with one event at least."""
    if type_number == GAUGE:
        return st.lists(entries(), min_size=1, max_size=4).map(lambda some: gauge.Partial.of(some).encode())
    if type_number == RAW:
        return st.lists(entries(), min_size=1, max_size=4).map(lambda some: gauge.RawPartial(some).encode())
    return strategies.numeric_events(kind).filter(bool).map(lambda some: partial_of(type_number, some))


def partial_of(type_number: int, events: list[tuple[float, float]]) -> bytes:
    """The Partial of events, 1 at least, of a Type of numbers, or of distinct values: those are the numbers' texts."""
    if type_number == UNIQUE_GROUP:
        return unique_group.Partial.of([(time, unique_hash(repr(value).encode())) for time, value in events]).encode()
    partial = counter_group.Partial if type_number == COUNTER_GROUP else percentile_group.Partial
    return partial.of(events).encode()


@functools.cache
def folded(type_number: int, kind: Values = None) -> st.SearchStrategy[bytes]:
    """Encoded States of one client, the empty one among them."""
    some = st.lists(partials(type_number, kind), max_size=3)
    return some.map(lambda blobs: states.fold(type_number, b"", blobs))


@functools.cache
def all_states(type_number: int, kind: Values = None) -> st.SearchStrategy[bytes]:
    """Encoded States, those of several clients among them."""
    one = folded(type_number, kind)
    return st.one_of(one, st.lists(one, max_size=3).map(lambda blobs: states.reduce(type_number, blobs)))


@functools.cache
def blobs() -> st.SearchStrategy[bytes]:
    """States and Partials of every Type."""
    return st.one_of(
        *(partials(type_number) for type_number in ALL_TYPES),
        *(all_states(type_number).filter(bool) for type_number in WITH_STATES),
    )


@functools.cache
def batch_sections() -> st.SearchStrategy[bytes]:
    """Sections with several Partials."""
    entry = st.builds(
        Entry,
        strategies.tab_names(),
        strategies.client_ids(),
        st.sampled_from(sorted(strategies.TYPES)),
        st.integers(1, 2**40),
        st.one_of(st.sampled_from(ALL_TYPES).flatmap(partials), st.binary(min_size=1, max_size=5)),
    )
    return st.lists(entry, min_size=1, max_size=8, unique_by=Entry.key).map(encode_section)


def batches() -> st.SearchStrategy[bytes]:
    """Batches of one to three sections."""
    return st.lists(batch_sections(), min_size=1, max_size=3).map(b"".join)


# ------------------------------------------------------------------------------------------------- blobs that are wrong


def _shift_bucket(sketch: Sketch) -> None:
    index, count = sketch.positive.popitem() if sketch.positive else sketch.negative.popitem()
    sketch.positive[index + 3] = count


def _finer_than_due(sketch: Sketch) -> None:
    sketch.scale += 1


def _too_few(sketch: Sketch) -> None:
    for buckets in (sketch.positive, sketch.negative):
        buckets.update(dict.fromkeys(buckets, 1))
    sketch.zeros = min(sketch.zeros, 1)
    sketch.count = len(sketch.positive) + len(sketch.negative) + sketch.zeros


def _another_zero(sketch: Sketch) -> None:
    sketch.zeros += 1
    sketch.count += 1


def _swapped_ends(sketch: Sketch) -> None:
    sketch.least, sketch.greatest = sketch.greatest, sketch.least


def _set(name: str, change: Callable[[Sketch], float]) -> Callable[[Sketch], None]:
    def tamper(sketch: Sketch) -> None:
        setattr(sketch, name, change(sketch))

    return tamper


TAMPERINGS: dict[str, Callable[[Sketch], None]] = {
    "one more counted": _set("count", lambda s: s.count + 1),
    "one more zero": _set("zeros", lambda s: s.zeros + 1),
    "a zero that is counted": _another_zero,
    "a lower min": _set("least", lambda s: max(s.least - abs(s.least) / 2 - 1, -1e308)),
    "a slightly lower min": _set("least", lambda s: s.least * (1 - 1e-3)),
    "a higher max": _set("greatest", lambda s: min(s.greatest + abs(s.greatest) / 2 + 1, 1e308)),
    "a slightly lower max": _set("greatest", lambda s: s.greatest * (1 - 1e-3)),
    "min above max": _swapped_ends,
    "another sum": _set("sum", lambda s: s.sum / 2 + 1.0),
    "a moved bucket": _shift_bucket,
    "a scale too coarse": lambda s: s._coarsen(1),
    "a scale too fine": _finer_than_due,
    "too few for buckets": _too_few,
}


def tampered_sketches() -> st.SearchStrategy[bytes]:
    """Encoded sketches in bucket form that break one rule (and a few that turn out to break none)."""
    shapes = ("prices", "normal", "wide", "zeros", "counts", "steps")
    made = strategies.many_values(*shapes).filter(lambda some: len(some) > 32).map(Sketch.of)
    return st.tuples(made, st.sampled_from(sorted(TAMPERINGS))).map(lambda part: _tampered(*part))


def _tampered(sketch: Sketch, tampering: str) -> bytes:
    if sketch.positive or sketch.negative:
        TAMPERINGS[tampering](sketch)
    return sketch._encode_buckets()


def tampered_blobs() -> st.SearchStrategy[bytes]:
    """States and Partials that break one rule of the whole: buckets too old, missing, or counts that differ."""
    counters, percentiles = folded(COUNTER_GROUP).filter(bool), folded(PERCENTILE_GROUP).filter(bool)
    levels, behind = st.integers(0, 3), st.sampled_from([1, 2, 4, 7, 30, 150, 151, 152, 1000])
    return st.one_of(
        st.builds(_old_bucket, counters, levels, behind),
        st.builds(_without_newest, counters, levels),
        counters.map(_without_sketch),
        st.builds(_old_sketch, percentiles, levels, behind),
        st.builds(_tampered_uniques, folded(UNIQUE_GROUP).filter(bool), levels, behind),
        st.builds(_other_counts, partials(COUNTER_GROUP), st.integers(1, 3)),
        st.builds(_moved, partials(COUNTER_GROUP), st.sampled_from([1, 60, -60, 3600])),
        st.sampled_from([b"\x01\x01" + b"\x00" * 5, b"\x02\x01" + b"\x00" * 4, b"\x03\x01\x00", b"\x80\x01\x00"]),
        st.just(b"\x08\x01" + b"\x00" * 4),
        st.sampled_from([b"\x81\x01\x00\x00", b"\x82\x01\x00", b"\x83\x01\x00" + b"\x00" * 8 + b"\x00\x011"]),
        st.integers(0, 2**64 - 1).map(lambda length: b"\x80\x01\x01" + b"\x00" * 9 + encode_uvarint(length)),
    )


def _counter_state(sketch: bytes, levels: list[counter_group.Buckets]) -> bytes:
    return b"\x01\x01" + sketch + b"".join(map(counter_group.encode_level, levels))


def _old_bucket(blob: bytes, level: int, behind: int) -> bytes:
    state = counter_group.State.decode(blob)
    state.levels[level][min(state.levels[level]) - behind] = counter_group.Window(1, 1.0)
    return _counter_state(state.sketch.encode(), state.levels)


def _without_newest(blob: bytes, level: int) -> bytes:
    state = counter_group.State.decode(blob)
    del state.levels[level][max(state.levels[level])]
    return _counter_state(state.sketch.encode(), state.levels)


def _without_sketch(blob: bytes) -> bytes:
    return _counter_state(b"\x00", counter_group.State.decode(blob).levels)


def _old_sketch(blob: bytes, level: int, behind: int) -> bytes:
    state = percentile_group.State.decode(blob)
    state.levels[level][min(state.levels[level]) - behind] = Sketch.of([1.0])
    return b"\x02\x01" + b"".join(map(percentile_group.encode_sketches, state.levels))


def _tampered_uniques(blob: bytes, level: int, behind: int) -> bytes:
    state = unique_group.State.decode(blob)
    buckets = state.levels[level]
    if behind == 1:
        del buckets[max(buckets)]
    elif behind == 2:
        buckets[max(buckets)].count = buckets[max(buckets)].values.least() - 1
    elif behind == 4:
        buckets[max(buckets)].values._spill()
    else:
        buckets[min(buckets) - behind] = unique_group.Bucket(1, Hll.of(7))
    return b"\x08\x01" + b"".join(map(unique_group.encode_buckets, state.levels))


def _other_counts(blob: bytes, more: int) -> bytes:
    partial = counter_group.Partial.decode(blob)
    partial.seconds[max(partial.seconds)] = counter_group.Window(
        partial.seconds[max(partial.seconds)].count + more, 1.0
    )
    return partial.encode()


def _moved(blob: bytes, seconds: int) -> bytes:
    partial = counter_group.Partial.decode(blob)
    partial.seconds = {index + seconds: bucket for index, bucket in partial.seconds.items()}
    return partial.encode()
