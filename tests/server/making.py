"""What the tests of the server share: batches made by the real accumulator, a memory store, a silent recorder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from twisted.internet.task import Clock

from taba import native
from taba.handlers.registry import Registry, builtin
from taba.interfaces import Append
from taba.store.memory import MemoryStore

NOW = 1_700_000_000.0
INCARNATION = "0" * 31 + "1"
TYPES = {"CounterGroup": native.COUNTER_GROUP, "PercentileGroup": native.PERCENTILE_GROUP, "Gauge": native.GAUGE}


class Silent:
    """A recorder that keeps what it was told."""

    def __init__(self) -> None:
        self.counters: list[tuple[str, float]] = []
        self.percentiles: list[tuple[str, float]] = []

    def counter(self, name: str, value: float = 1) -> None:
        """Keep a counter event."""
        self.counters.append((name, value))

    def percentile(self, name: str, value: float) -> None:
        """Keep a percentile event."""
        self.percentiles.append((name, value))


def sections(
    events: Sequence[tuple[str, str, str, float, str]],
    vbuckets: int = 1,
    types: dict[str, int] = TYPES,
) -> list[native.Section]:
    """Sections with events given as (client, tab, Type, time, payload JSON), folded as an agent does."""
    accumulator = native.Accumulator()
    stamp = 1
    for client, tab, type, time, payload in events:
        scratch = native.Scratch(native.Limits(), types)
        quoted = payload.replace("\\", "\\\\").replace('"', '\\"')
        scratch.feed(f'1\n\n{client}\n\n{tab}\n["{type}", {time!r}, "{quoted}"]\n'.encode())
        scratch.finish()
        if scratch.summary().accepted != 1:
            raise ValueError(f"not an event: {type} {time} {payload}")
        stamp = accumulator.merge(scratch, stamp)
    return accumulator.encode(vbuckets)


def new_ids() -> Callable[[], str]:
    """Ids 1, 2, 3 ... as 32 hexadecimal digits."""
    numbers = itertools.count(1)
    return lambda: f"{next(numbers):032x}"


class Lanes:
    """Gives the batches of one agent their numbers."""

    def __init__(self, incarnation: str = INCARNATION) -> None:
        self.incarnation = incarnation
        self._given: dict[int, tuple[int, int]] = {}

    def appends(self, made: Sequence[native.Section], sealed: float = NOW) -> list[Append]:
        """One batch per section."""
        batches = []
        for section in made:
            seq, before = self._given.get(section.vbucket, (0, 0))
            batches.append(
                Append(
                    section.vbucket,
                    self.incarnation,
                    seq + 1,
                    seq,
                    None,
                    before,
                    section.events,
                    sealed,
                    native.crc32c(section.data),
                    section.data,
                )
            )
            self._given[section.vbucket] = (seq + 1, before + section.events)
        return batches


def memory_store(clock: Clock, vbuckets: int = 1, wall: Callable[[], float] = lambda: NOW) -> MemoryStore:
    """A memory store that has started."""
    store = MemoryStore(vbuckets, clock, wall, new_ids())
    store.startService()
    return store


def registry() -> Registry:
    """The built-in Types."""
    return builtin()
