"""UniqueGroup: the number of events, and a set of their values, in each of four buckets, in four windows.

Buckets, empty States and what is too old: as in `percentile_group`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import Factory, define, frozen

from tests.twin.blobs import PARTIAL, UNIQUE_GROUP, check_canonical, head, open_blob
from tests.twin.errors import CorruptBlob
from tests.twin.hll import Hll
from tests.twin.percentile_group import LEVELS
from tests.twin.primitives import Reader, encode_uvarint
from tests.twin.sketch import MOST_VALUES
from tests.twin.windows import Level, encode_indices, kept, read_index


@frozen
class UniqueWindow:
    """The events of a window or bucket, and the distinct values among them."""

    count: int
    unique: float


@define
class Bucket:
    """Events, and their values."""

    count: int = 0
    values: Hll = Factory(Hll)

    def merge(self, other: Bucket) -> None:
        """Add another one."""
        self.count += other.count
        self.values.merge(other.values)

    def window(self) -> UniqueWindow:
        """What is told of it."""
        return UniqueWindow(self.count, min(self.values.estimate(), float(self.count)))


Buckets = dict[int, Bucket]


@define
class State:
    """All that is kept for one (tab, client)."""

    levels: list[Buckets] = Factory(lambda: [{} for _ in LEVELS])

    def newest(self) -> int:
        """The start of the last 15 s bucket; not to be asked of an empty State."""
        return max(self.levels[0]) * LEVELS[0].width

    def fold(self, partial: Partial) -> None:
        """Fold a Partial, all but the dropping of what is too old."""
        for index, bucket in partial.buckets.items():
            for level, buckets in zip(LEVELS, self.levels, strict=True):
                merge_bucket(buckets, index * LEVELS[0].width // level.width, bucket)

    def reduce(self, other: State) -> None:
        """Add another State, all but the dropping of what is too old."""
        for mine, theirs in zip(self.levels, other.levels, strict=True):
            for index, bucket in theirs.items():
                merge_bucket(mine, index, bucket)

    def encode(self) -> bytes:
        """The one encoding, after dropping what is too old."""
        if not self.levels[0]:
            return b""
        levels = [kept(level, buckets, self.newest()) for level, buckets in zip(LEVELS, self.levels, strict=True)]
        return head(UNIQUE_GROUP) + b"".join(map(encode_buckets, levels))

    @classmethod
    def decode(cls, blob: bytes) -> State:
        """A State; an empty blob is the empty one."""
        if not blob:
            return cls()
        reader = open_blob(blob, UNIQUE_GROUP)
        state = cls([read_buckets(reader, level) for level in LEVELS])
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
    """The events of one commit, per 15 s."""

    buckets: Buckets = Factory(dict)

    @classmethod
    def of(cls, events: Iterable[tuple[float, int]]) -> Partial:
        """The Partial of (time, hash of the value) events."""
        partial = cls()
        for time, value_hash in events:
            partial.add(time, value_hash)
        return partial

    def add(self, time: float, value_hash: int) -> None:
        """Add one event."""
        merge_bucket(self.buckets, LEVELS[0].index(time), Bucket(1, Hll.of(value_hash)))

    def events(self) -> int:
        """How many events it holds."""
        return sum(bucket.count for bucket in self.buckets.values())

    def newest(self) -> float:
        """The start of its last bucket."""
        return float(max(self.buckets) * LEVELS[0].width)

    def encode(self) -> bytes:
        """The one encoding."""
        return head(PARTIAL | UNIQUE_GROUP) + encode_buckets(self.buckets)

    @classmethod
    def decode(cls, blob: bytes) -> Partial:
        """A Partial. It holds one event at least."""
        reader = open_blob(blob, PARTIAL | UNIQUE_GROUP)
        partial = cls(read_buckets(reader, LEVELS[0]))
        reader.end()
        if not partial.buckets:
            raise CorruptBlob("a Partial without events")
        check_canonical(blob, partial.encode())
        return partial


def merge_bucket(buckets: Buckets, index: int, more: Bucket) -> None:
    """Merge into the bucket of this index, which may be missing."""
    buckets.setdefault(index, Bucket()).merge(more)


def encode_buckets(buckets: Buckets) -> bytes:
    """A ulevel. ValueError when they count more events than may be in one level."""
    if sum(bucket.count for bucket in buckets.values()) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES} events")
    indices = sorted(buckets)
    encoded = [encode_uvarint(len(indices))]
    for index, written in zip(indices, encode_indices(indices), strict=True):
        encoded += [written, encode_uvarint(buckets[index].count), buckets[index].values.encode()]
    return b"".join(encoded)


def read_buckets(reader: Reader, level: Level) -> Buckets:
    """The buckets of a ulevel."""
    buckets: Buckets = {}
    index: int | None = None
    for _ in range(reader.uvarint()):
        index = read_index(reader, index, level.width)
        buckets[index] = Bucket(reader.uvarint(), Hll.read(reader))
        if buckets[index].count < buckets[index].values.least():
            raise CorruptBlob("fewer events than values")
    if sum(bucket.count for bucket in buckets.values()) > MOST_VALUES:
        raise CorruptBlob("too many events")
    return buckets


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


def summary(state: bytes, time: float) -> list[UniqueWindow]:
    """The windows at `time`. ValueError for a wrong time."""
    windows = []
    for level, buckets in zip(LEVELS, State.decode(state).levels, strict=True):
        window = Bucket()
        for index in level.shown(time):
            window.merge(buckets.get(index, Bucket()))
        windows.append(window.window())
    return windows


def buckets(state: bytes, time: float, level: int) -> tuple[int, list[UniqueWindow]]:
    """All buckets of a window at `time`, oldest first, and the start of the oldest."""
    shown = LEVELS[level].shown(time)
    held = State.decode(state).levels[level]
    return shown[0] * LEVELS[level].width, [held.get(index, Bucket()).window() for index in shown]
