"""The golden files of tests/golden/encodings/: a `.bin` for each encoding of version 1 in each of its shapes.

A `.json` of the same name says what the bytes are (`what`, `encoding`, `version`) and what any build, of any later
version too, must read from them (`contains`). They are made once, by `python -m tests.twin.golden`, and never change:
when an encoding gets a version 2, files are added. No function of the mathematics library shapes the values, so that
they are the same everywhere.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from attrs import asdict, frozen

from tests.twin import counter_group, kernel, percentile_group, states, unique_group
from tests.twin.batches import Entry, encode_section
from tests.twin.blobs import COUNTER_GROUP, GAUGE, PERCENTILE_GROUP, UNIQUE_GROUP
from tests.twin.gauge import GaugeEntry, Partial, RawPartial
from tests.twin.hll import unique_hash
from tests.twin.sketch import Sketch

FOLDER = Path(__file__).parent.parent / "golden" / "encodings"
QUANTILES = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0]
NEWEST = 1_400_000_000.0


@frozen
class Golden:
    """One golden file before it is written."""

    encoding: str
    what: str
    blob: bytes


def _sketches() -> dict[str, Golden]:
    values: dict[str, tuple[str, list[float]]] = {
        "empty": ("no value", []),
        "exact-whole": ("five whole numbers, two of them equal", [3.0, -7.0, 0.0, 1e9, 3.0]),
        "exact-thousandths": ("thirty-two amounts with up to three decimals", [i * 0.125 - 1.0 for i in range(32)]),
        "exact-doubles": ("thirds, which no decimals express", [i / 3.0 for i in range(-4, 5)]),
        "buckets-whole": ("1 to 100, so that the first buckets lie far apart", [float(i) for i in range(1, 101)]),
        "buckets-dense": ("neighbouring buckets without gaps", [100.0 + i / 2.0 for i in range(200)]),
        "buckets-sparse": ("buckets 37 and 38 indices apart", [math.ldexp(3.0**i, -i) for i in range(33)]),
        "buckets-signs": ("both signs, and zeros", [(i * 7919 % 2001 - 1000) / 3.0 * (i % 4) for i in range(80)]),
        "buckets-one": ("one value, a thousand times", [12.34] * 1000),
        "buckets-scale-5": (
            "64 octaves and one index more",
            [math.ldexp(1.0 + i % 2 / 2.0, i) for i in range(-30, 36)],
        ),
        "buckets-scale-0": ("from the least to the greatest double", [5e-324, *[1.0] * 40, 1.7976931348623157e308]),
        "buckets-saturated": ("a sum beyond the doubles", [1.7976931348623157e308] * 40),
    }
    return {
        f"sketch-{name}": Golden("sketch", f"A sketch of {what}.", Sketch.of(v).encode())
        for name, (what, v) in values.items()
    }


def _events(n: int, step: float) -> list[tuple[float, float]]:
    return [(NEWEST - i * step, float(i % 7) if i % 3 else i / 8.0) for i in range(n)]


def _counters() -> dict[str, Golden]:
    few = counter_group.Partial.of([(NEWEST, 100.0), (NEWEST + 0.5, 0.25), (NEWEST + 61.0, 1 / 3)]).encode()
    busy = counter_group.Partial.of(_events(200, 0.4)).encode()
    day = counter_group.Partial.of(_events(300, 307.0)).encode()
    state = states.fold(COUNTER_GROUP, b"", [day, busy])
    return {
        "counter-group-partial": Golden("partial", "A CounterGroup's Partial of three events, two minutes.", few),
        "counter-group-partial-busy": Golden("partial", "A CounterGroup's Partial of 200 events in 80 s.", busy),
        "counter-group-state": Golden("counter-group-state", "A CounterGroup's State of a whole day.", state),
    }


def _percentiles() -> dict[str, Golden]:
    few = percentile_group.Partial.of([(NEWEST, 100.0), (NEWEST + 14.0, 0.25), (NEWEST + 61.0, 1 / 3)]).encode()
    busy = percentile_group.Partial.of(_events(200, 0.4)).encode()
    day = percentile_group.Partial.of(_events(300, 307.0)).encode()
    state = states.fold(PERCENTILE_GROUP, b"", [day, busy])
    return {
        "percentile-group-partial": Golden("partial", "A PercentileGroup's Partial of three events.", few),
        "percentile-group-partial-busy": Golden("partial", "A PercentileGroup's Partial of 200 events in 80 s.", busy),
        "percentile-group-state": Golden("percentile-group-state", "A PercentileGroup's State of a whole day.", state),
    }


def _uniques() -> dict[str, Golden]:
    def partial(n: int, step: float) -> bytes:
        events = [(NEWEST - i * step, unique_hash(f"user-{i * i % 9973}".encode())) for i in range(n)]
        return unique_group.Partial.of(events).encode()

    few, several, many = partial(5, 4.0), partial(300, 0.05), partial(6000, 0.001)
    state = states.fold(UNIQUE_GROUP, b"", [partial(300, 307.0), several, many])
    return {
        "unique-group-partial": Golden("partial", "A UniqueGroup's Partial of five events in 16 s.", few),
        "unique-group-partial-sparse": Golden("partial", "A UniqueGroup's Partial of 300 values in 15 s.", several),
        "unique-group-partial-dense": Golden("partial", "A UniqueGroup's Partial of some 3,500 values in 6 s.", many),
        "unique-group-state": Golden("unique-group-state", "A UniqueGroup's State of a whole day.", state),
    }


def _structured() -> dict[str, Golden]:
    entries = [
        GaugeEntry(NEWEST, 1_400_000_000_000_000, '"grün"'.encode()),
        GaugeEntry(NEWEST, 1_400_000_000_000_001, b'{"a": [1, null]}'),
        GaugeEntry(NEWEST - 0.5, 1_400_000_000_000_002, b"1.0"),
    ]
    partials = [Partial.of([entry]).encode() for entry in entries]
    several = states.reduce(GAUGE, [states.fold(GAUGE, b"", [partial]) for partial in [*partials, partials[0]]])
    return {
        "gauge-partial": Golden("partial", "A Gauge's Partial of three events.", Partial.of(entries).encode()),
        "gauge-state": Golden("gauge-state", "A Gauge's State of one client.", states.fold(GAUGE, b"", partials)),
        "gauge-state-several": Golden("gauge-state", "A Gauge's State of four clients, two alike.", several),
        "raw-partial": Golden(
            "raw-partial", "Three events of a Type that is not native.", RawPartial(entries).encode()
        ),
    }


def _batch(parts: Mapping[str, Golden]) -> dict[str, Golden]:
    def entry(tab: str, client: str, type_name: str, name: str) -> Entry:
        blob = parts[name].blob
        return Entry(tab, client, type_name, states.partial_extent(blob)[0], blob)

    one = [
        entry("bids", "web-1", "CounterGroup", "counter-group-partial"),
        entry("price", "web-1", "PercentileGroup", "percentile-group-partial"),
        entry("bids", "web-2", "CounterGroup", "counter-group-partial-busy"),
    ]
    other = [entry("CounterGroup", "bids", "Gauge", "gauge-partial"), entry("log", "web-1", "Buffer", "raw-partial")]
    batch = encode_section(one) + encode_section(other)
    return {"batch": Golden("batch", "A batch of two sections, with names that are used in several places.", batch)}


def goldens() -> dict[str, Golden]:
    """All golden files by name."""
    parts = {**_sketches(), **_counters(), **_percentiles(), **_uniques(), **_structured()}
    return {**parts, **_batch(parts)}


def _sketch_contains(blob: bytes, kernel: ModuleType) -> Any:
    sketch = kernel.Sketch.decode(blob)
    return {**asdict(sketch.summary()), "quantiles": sketch.quantiles(QUANTILES)}


def _partial_contains(blob: bytes, kernel: ModuleType) -> Any:
    events, newest = kernel.partial_extent(blob)
    folded = kernel.fold(blob[0] & 0x7F, b"", [blob])
    return {"first_byte": kernel.check(blob), "events": events, "newest": newest, "folded": folded.hex()}


def _counter_state_contains(blob: bytes, kernel: ModuleType) -> Any:
    windows, summary, quantiles = kernel.counter_group_summary(blob, NEWEST, QUANTILES)
    levels = [kernel.counter_group_buckets(blob, NEWEST, level) for level in range(4)]
    return {
        "time": NEWEST,
        "windows": [[window.count, window.total] for window in windows],
        "all_time": {**asdict(summary), "quantiles": quantiles},
        "levels": [
            [first, [[i, b.count, b.total] for i, b in enumerate(buckets) if b.count]] for first, buckets in levels
        ],
    }


def _percentile_state_contains(blob: bytes, kernel: ModuleType) -> Any:
    windows = kernel.percentile_group_summary(blob, NEWEST, QUANTILES)
    return {"time": NEWEST, "windows": [{**asdict(summary), "quantiles": values} for summary, values in windows]}


def _unique_state_contains(blob: bytes, kernel: ModuleType) -> Any:
    windows = kernel.unique_group_summary(blob, NEWEST)
    levels = [kernel.unique_group_buckets(blob, NEWEST, level) for level in range(4)]
    return {
        "time": NEWEST,
        "windows": [[window.count, window.unique] for window in windows],
        "levels": [[first, [[bucket.count, bucket.unique] for bucket in buckets]] for first, buckets in levels],
    }


def _entries_contain(entries: list[Any]) -> Any:
    return [[entry.time, entry.stamp, entry.value.decode()] for entry in entries]


def _batch_contains(blob: bytes, kernel: ModuleType) -> Any:
    entries = [[e.tab, e.client, e.type, e.events, e.partial.hex()] for e in kernel.batch_entries(blob)]
    return {"entries": entries}


CONTAINS: dict[str, Callable[[bytes, ModuleType], Any]] = {
    "sketch": _sketch_contains,
    "partial": _partial_contains,
    "counter-group-state": _counter_state_contains,
    "percentile-group-state": _percentile_state_contains,
    "unique-group-state": _unique_state_contains,
    "gauge-state": lambda blob, kernel: _entries_contain(kernel.gauge_entries(blob)),
    "raw-partial": lambda blob, kernel: _entries_contain(kernel.raw_events(blob)),
    "batch": _batch_contains,
}


def written(golden: Golden) -> str:
    """The `.json` of a golden file."""
    contains = CONTAINS[golden.encoding](golden.blob, kernel)
    told = {"what": golden.what, "encoding": golden.encoding, "version": 1, "contains": contains}
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files that are not there yet; an existing one is never written again."""
    for name, golden in goldens().items():
        for suffix, content in ((".bin", golden.blob), (".json", written(golden).encode())):
            path = FOLDER / f"{name}{suffix}"
            if path.exists():
                sys.stdout.write(f"{path.name} stays as it is\n")
            else:
                path.write_bytes(content)


if __name__ == "__main__":
    main()
