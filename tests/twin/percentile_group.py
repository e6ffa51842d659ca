"""PercentileGroup: a sketch in each of four buckets, in four windows.

Empty States, the newest bucket and what is too old: as in `counter_group`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import Factory, define

from tests.twin.blobs import PARTIAL, PERCENTILE_GROUP, check_canonical, head, open_blob
from tests.twin.counter_group import read_sketches
from tests.twin.errors import CorruptBlob
from tests.twin.primitives import encode_uvarint
from tests.twin.sketch import MOST_VALUES, Sketch, SketchSummary
from tests.twin.windows import Level, encode_indices, kept

LEVELS = (Level(15, 4), Level(150, 4), Level(900, 4), Level(21600, 4))

Buckets = dict[int, Sketch]


@define
class State:
    """All that is kept for one (tab, client)."""

    levels: list[Buckets] = Factory(lambda: [{} for _ in LEVELS])

    def newest(self) -> int:
        """The start of the last 15 s bucket; not to be asked of an empty State."""
        return max(self.levels[0]) * LEVELS[0].width

    def fold(self, partial: Partial) -> None:
        """Fold a Partial, all but the dropping of what is too old."""
        for index in sorted(partial.sketches):
            for level, buckets in zip(LEVELS, self.levels, strict=True):
                start = index * LEVELS[0].width
                merge_bucket(buckets, start // level.width, partial.sketches[index])

    def reduce(self, other: State) -> None:
        """Add another State, all but the dropping of what is too old."""
        for mine, theirs in zip(self.levels, other.levels, strict=True):
            for index in sorted(theirs):
                merge_bucket(mine, index, theirs[index])

    def encode(self) -> bytes:
        """The one encoding, after dropping what is too old."""
        if not self.levels[0]:
            return b""
        levels = [kept(level, buckets, self.newest()) for level, buckets in zip(LEVELS, self.levels, strict=True)]
        return head(PERCENTILE_GROUP) + b"".join(map(encode_sketches, levels))

    @classmethod
    def decode(cls, blob: bytes) -> State:
        """A State; an empty blob is the empty one."""
        if not blob:
            return cls()
        reader = open_blob(blob, PERCENTILE_GROUP)
        state = cls([read_sketches(reader, level.width) for level in LEVELS])
        reader.end()
        if not state.levels[0]:
            raise CorruptBlob("an empty State with bytes")
        for level, buckets in zip(LEVELS, state.levels, strict=True):
            if not buckets or max(buckets) != state.newest() // level.width:
                raise CorruptBlob("a level without the newest bucket")
        check_canonical(blob, state.encode())
        return state


@define
class Partial:
    """The events of one commit: a sketch per 15 s."""

    sketches: Buckets = Factory(dict)

    @classmethod
    def of(cls, events: Iterable[tuple[float, float]]) -> Partial:
        """The Partial of (time, value) events, in this order."""
        partial = cls()
        for time, value in events:
            partial.add(time, value)
        return partial

    def add(self, time: float, value: float) -> None:
        """Add one event."""
        self.sketches.setdefault(LEVELS[0].index(time), Sketch()).add([value])

    def events(self) -> int:
        """How many events it holds."""
        return sum(sketch.summary().count for sketch in self.sketches.values())

    def newest(self) -> float:
        """The start of its last bucket."""
        return float(max(self.sketches) * LEVELS[0].width)

    def encode(self) -> bytes:
        """The one encoding."""
        return head(PARTIAL | PERCENTILE_GROUP) + encode_sketches(self.sketches)

    @classmethod
    def decode(cls, blob: bytes) -> Partial:
        """A Partial. It holds one event at least."""
        reader = open_blob(blob, PARTIAL | PERCENTILE_GROUP)
        partial = cls(read_sketches(reader, LEVELS[0].width))
        reader.end()
        if not partial.sketches:
            raise CorruptBlob("a Partial without events")
        check_canonical(blob, partial.encode())
        return partial


def merge_bucket(buckets: Buckets, index: int, sketch: Sketch) -> None:
    """Merge into the bucket of this index, which may be missing."""
    buckets.setdefault(index, Sketch()).merge(sketch)


def encode_sketches(buckets: Buckets) -> bytes:
    """An slevel. ValueError when its sketches together count more than one may, so that any window can be merged."""
    if sum(sketch.summary().count for sketch in buckets.values()) > MOST_VALUES:
        raise ValueError(f"sketches of more than {MOST_VALUES} values")
    indices = sorted(buckets)
    encoded = [encode_uvarint(len(indices))]
    for index, written in zip(indices, encode_indices(indices), strict=True):
        encoded += [written, buckets[index].encode()]
    return b"".join(encoded)


def fold(state: bytes, partials: Sequence[bytes]) -> bytes:
    """The State with the events of these Partials."""
    folded = State.decode(state)
    for partial in [Partial.decode(blob) for blob in partials]:
        folded.fold(partial)
    return folded.encode()


def reduce(states: Sequence[bytes]) -> bytes:
    """These States in one."""
    reduced = State()
    for state in [State.decode(blob) for blob in states]:
        reduced.reduce(state)
    return reduced.encode()


def summary(state: bytes, time: float, qs: Sequence[float]) -> list[tuple[SketchSummary, list[float]]]:
    """Of each window at `time` the summary of its sketch, and its quantiles. ValueError for a wrong time or q."""
    summaries = []
    for level, buckets in zip(LEVELS, State.decode(state).levels, strict=True):
        window = Sketch()
        for index in level.shown(time):
            if index in buckets:
                window.merge(buckets[index])
        summaries.append((window.summary(), window.quantiles(qs)))
    return summaries
