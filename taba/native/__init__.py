"""The native core as Python objects: the only package that touches `taba._native`.

Bytes in, bytes out; the manual is native/include/taba.h, the encodings are docs/reference/states-and-partials.md and
batches.md. Codes become the exceptions of `taba.errors`. Calls release the GIL. A `Sketch`, `Scratch` or
`Accumulator` belongs to one thread at a time; the functions may be called in any thread.
"""

from taba.native.batches import Entry, Section, batch_entries, batch_partials, batch_split
from taba.native.core import (
    COUNTER_GROUP,
    COUNTER_GROUP_LEVELS,
    GAUGE,
    PARTIAL,
    PERCENTILE_GROUP,
    RAW,
    RAW_EXPIRING,
    RAW_NUMBER,
    REFUSED,
    UNIQUE_GROUP,
    UNIQUE_GROUP_LEVELS,
    VERSION,
    crc32,
    crc32c,
)
from taba.native.hot import AGGREGATE, HotStates, WaitingPartials
from taba.native.requests import Accumulator, Columns, ColumnsFacts, Limits, Scratch, ScratchSummary
from taba.native.sketches import Sketch, SketchSummary
from taba.native.states import (
    RENDERED,
    GaugeEntry,
    UniqueWindow,
    Window,
    check,
    counter_group_buckets,
    counter_group_summary,
    fold,
    gauge_entries,
    partial_extent,
    percentile_group_summary,
    raw_events,
    reduce,
    render,
    state_newest,
    unique_group_buckets,
    unique_group_summary,
    unique_hash,
)
from taba.native.statsd import (
    STATSD_IGNORED,
    STATSD_LINE_MAX,
    STATSD_METRICS,
    STATSD_REASONS,
    STATSD_WEIGHT_MAX,
    Received,
    Statsd,
    StatsdCounts,
    StatsdScratch,
    StatsdStream,
)

__all__ = [
    "AGGREGATE", "COUNTER_GROUP", "COUNTER_GROUP_LEVELS", "GAUGE", "PARTIAL", "PERCENTILE_GROUP", "RAW",
    "RAW_EXPIRING", "RAW_NUMBER", "REFUSED", "RENDERED", "STATSD_IGNORED", "STATSD_LINE_MAX", "STATSD_METRICS",
    "STATSD_REASONS", "STATSD_WEIGHT_MAX", "UNIQUE_GROUP", "UNIQUE_GROUP_LEVELS", "VERSION", "Accumulator",
    "Columns", "ColumnsFacts", "Entry", "GaugeEntry", "HotStates", "Limits", "Received", "Scratch",
    "ScratchSummary", "Section", "Sketch", "SketchSummary", "Statsd", "StatsdCounts", "StatsdScratch",
    "StatsdStream", "UniqueWindow", "WaitingPartials", "Window", "batch_entries", "batch_partials",
    "batch_split", "check", "counter_group_buckets", "counter_group_summary", "crc32", "crc32c", "fold",
    "gauge_entries", "partial_extent", "percentile_group_summary", "raw_events", "reduce", "render",
    "state_newest", "unique_group_buckets", "unique_group_summary", "unique_hash",
]  # fmt: skip
