"""CounterGroup: counts and totals in four windows, and a sketch of all time.

A State that holds nothing is the empty byte string. Any other holds the newest bucket at every level, and no bucket
that is too old for it; the decoder refuses States that do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import Factory, define, frozen

from tests.twin.blobs import COUNTER_GROUP, PARTIAL, check_canonical, head, open_blob
from tests.twin.errors import CorruptBlob
from tests.twin.primitives import Reader, add, encode_number, encode_svarint, encode_uvarint, kind_of, number
from tests.twin.sketch import MOST_VALUES, Sketch, SketchSummary
from tests.twin.windows import Level, encode_indices, kept, read_index, within

LEVELS = (Level(1, 60), Level(10, 60), Level(30, 120), Level(900, 96))
MINUTE = Level(60, 1)


@frozen
class Window:
    """Events of a bucket or of a whole window."""

    count: int
    total: float

    def plus(self, other: Window) -> Window:
        """Both together."""
        return Window(self.count + other.count, add(self.total, other.total))


NOTHING = Window(0, 0.0)
Buckets = dict[int, Window]


@define
class State:
    """All that is kept for one (tab, client)."""

    sketch: Sketch = Factory(Sketch)
    levels: list[Buckets] = Factory(lambda: [{} for _ in LEVELS])

    def newest(self) -> int:
        """The start of the last 1 s bucket; not to be asked of an empty State."""
        return max(self.levels[0])

    def fold(self, partial: Partial) -> None:
        """Fold a Partial, all but the dropping of what is too old."""
        for minute in sorted(partial.minutes):
            self.sketch.merge(partial.minutes[minute])
        for start in sorted(partial.seconds):
            for level, buckets in zip(LEVELS, self.levels, strict=True):
                add_bucket(buckets, level.index(start), partial.seconds[start])

    def reduce(self, other: State) -> None:
        """Add another State, all but the dropping of what is too old."""
        self.sketch.merge(other.sketch)
        for mine, theirs in zip(self.levels, other.levels, strict=True):
            for index in sorted(theirs):
                add_bucket(mine, index, theirs[index])

    def encode(self) -> bytes:
        """The one encoding, after dropping what is too old."""
        if not self.levels[0]:
            return b""
        levels = [kept(level, buckets, self.newest()) for level, buckets in zip(LEVELS, self.levels, strict=True)]
        return head(COUNTER_GROUP) + self.sketch.encode() + b"".join(map(encode_level, levels))

    @classmethod
    def decode(cls, blob: bytes) -> State:
        """A State; an empty blob is the empty one."""
        if not blob:
            return cls()
        reader = open_blob(blob, COUNTER_GROUP)
        state = cls(Sketch.read(reader), [read_level(reader, level.width) for level in LEVELS])
        reader.end()
        if not state.levels[0] or not state.sketch.summary().count:
            raise CorruptBlob("an empty State with bytes")
        for level, buckets in zip(LEVELS, state.levels, strict=True):
            if not buckets or max(buckets) != level.index(state.newest()):
                raise CorruptBlob("a level without the newest bucket")
            if sum(bucket.count for bucket in buckets.values()) > state.sketch.summary().count:
                raise CorruptBlob("events in a level that are not in the sketch")
        check_canonical(blob, state.encode())
        return state


@define
class Partial:
    """The events of one commit: a sketch a minute, and buckets of 1 s."""

    minutes: dict[int, Sketch] = Factory(dict)
    seconds: Buckets = Factory(dict)

    @classmethod
    def of(cls, events: Iterable[tuple[float, float]]) -> Partial:
        """The Partial of (time, value) events, in this order."""
        partial = cls()
        for time, value in events:
            partial.add(time, value)
        return partial

    def add(self, time: float, value: float) -> None:
        """Add one event."""
        self.minutes.setdefault(MINUTE.index(time), Sketch()).add([value])
        add_bucket(self.seconds, LEVELS[0].index(time), Window(1, number(value)))

    def events(self) -> int:
        """How many events it holds."""
        return sum(bucket.count for bucket in self.seconds.values())

    def newest(self) -> float:
        """The start of its last bucket."""
        return float(max(self.seconds))

    def encode(self) -> bytes:
        """The one encoding."""
        minutes = sorted(self.minutes)
        encoded = [head(PARTIAL | COUNTER_GROUP), encode_uvarint(len(minutes))]
        for minute, index in zip(minutes, encode_indices(minutes), strict=True):
            encoded += [index, self.minutes[minute].encode()]
        return b"".join(encoded) + encode_level(self.seconds)

    @classmethod
    def decode(cls, blob: bytes) -> Partial:
        """A Partial. It holds one event at least."""
        reader = open_blob(blob, PARTIAL | COUNTER_GROUP)
        partial = cls(read_sketches(reader, MINUTE.width), read_level(reader, LEVELS[0].width))
        reader.end()
        if not partial.minutes:
            raise CorruptBlob("a Partial without events")
        if sum(sketch.summary().count for sketch in partial.minutes.values()) != partial.events():
            raise CorruptBlob("the counts of the sketches and of the level differ")
        check_canonical(blob, partial.encode())
        return partial


def add_bucket(buckets: Buckets, index: int, bucket: Window) -> None:
    """Add to the bucket of this index, which may be missing."""
    buckets[index] = buckets[index].plus(bucket) if index in buckets else bucket


def encode_level(buckets: Buckets) -> bytes:
    """The buckets of one level."""
    encoded = [encode_uvarint(len(buckets))]
    previous = None
    for index in sorted(buckets):
        bucket = buckets[index]
        far = previous is not None and index != previous + 1
        if previous is None:
            encoded.append(encode_svarint(index))
        encoded.append(encode_uvarint(bucket.count - 1 << 3 | kind_of(bucket.total) << 1 | far))
        if previous is not None and far:
            encoded.append(encode_uvarint(index - previous - 2))
        encoded.append(encode_number(bucket.total))
        previous = index
    return b"".join(encoded)


def read_level(reader: Reader, width: int) -> Buckets:
    """The buckets of one level."""
    buckets: Buckets = {}
    n = reader.uvarint()
    index = reader.svarint() - 1 if n else 0
    for _ in range(n):
        token = reader.uvarint()
        index = within(index + (2 + reader.uvarint() if token & 1 else 1), width)
        buckets[index] = Window((token >> 3) + 1, reader.number(token >> 1 & 3))
    return buckets


def read_sketches(reader: Reader, width: int) -> dict[int, Sketch]:
    """`uvarint n`, then n times (index, sketch); none of the sketches may be empty, nor all together count too much."""
    sketches: dict[int, Sketch] = {}
    index = None
    for _ in range(reader.uvarint()):
        index = read_index(reader, index, width)
        sketches[index] = Sketch.read(reader)
        if not sketches[index].summary().count:
            raise CorruptBlob("an empty sketch in a bucket")
    if sum(sketch.summary().count for sketch in sketches.values()) > MOST_VALUES:
        raise CorruptBlob(f"sketches of more than {MOST_VALUES} values")
    return sketches


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


def buckets(state: bytes, time: float, level: int) -> tuple[int, list[Window]]:
    """The start of the window of `level` at `time`, and all its buckets, oldest first. ValueError for no such level."""
    if not 0 <= level < len(LEVELS):
        raise ValueError(f"there is no level {level}")
    shown = LEVELS[level].shown(time)
    held = State.decode(state).levels[level]
    return shown[0] * LEVELS[level].width, [held.get(index, NOTHING) for index in shown]


def summary(state: bytes, time: float, qs: Sequence[float]) -> tuple[list[Window], SketchSummary, list[float]]:
    """The four windows at `time`, the sketch of all time and its quantiles."""
    windows = []
    for level in range(len(LEVELS)):
        window = NOTHING
        for bucket in buckets(state, time, level)[1]:
            window = window.plus(bucket)
        windows.append(window)
    sketch = State.decode(state).sketch
    return windows, sketch.summary(), sketch.quantiles(qs)
