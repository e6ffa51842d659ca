"""What the tests of the server share: batches made by the real accumulator, a memory store, a silent recorder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from taba import native
from taba.handlers.registry import Registry, builtin
from taba.interfaces import Append
from taba.server.admin import Administered, AdminResources
from taba.server.backend import Backend
from taba.server.checking import Checking
from taba.server.gc import Pruning
from taba.server.http import QueryResources
from taba.server.inspection import InspectionResources
from taba.server.keeping import Keeping
from taba.server.latency import LatencyTracker
from taba.server.maintenance import Maintenance
from taba.server.observation import Observer
from taba.server.operations import Operations
from taba.server.publishing import Publishing
from taba.server.query import Query
from taba.server.status import ServerStatus
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


class InsideAgent:
    """The agent inside a server, without a spool: what it takes is in the logs at once, by lanes of its own."""

    def __init__(self, memory: MemoryStore, vbuckets: int, incarnation: str = "f" * 32) -> None:
        self._memory = memory
        self._vbuckets = vbuckets
        self._lanes = Lanes(incarnation)
        self._stamp = 1
        self.bodies: list[bytes] = []

    def operate(self, body: bytes, types: Iterable[str]) -> Deferred[None]:
        """Take a body of operations."""
        self.bodies.append(body)
        scratch = native.Scratch(native.Limits(), dict.fromkeys(types, native.RAW))
        scratch.feed(body)
        scratch.finish()
        accumulator = native.Accumulator()
        self._stamp = accumulator.merge(scratch, self._stamp)
        appends = self._lanes.appends(accumulator.encode(self._vbuckets))
        return self._memory.append(appends).addCallback(lambda _: None)


@define(eq=False, slots=False)
class Served:
    """A server without ports over a store; `memory` is the store behind it, in `vbuckets` slices."""

    store: Any
    memory: MemoryStore
    clock: Clock
    wall: Callable[[], float] = lambda: NOW
    vbuckets: int = 4
    keeping: Keeping = field(factory=Keeping)
    client_ttl: float = 604_800.0
    gc_seconds: float = 1e9
    status_options: dict[str, Any] = field(factory=dict)
    handlers: Any = field(factory=builtin)
    """Those that queries use."""
    latency: Callable[[], float] = lambda: 0.0
    types: Registry = field(factory=builtin)
    """Those of its be."""
    incarnation: str = "f" * 32
    """Of the agent inside it."""

    def __attrs_post_init__(self) -> None:
        clock, wall = self.clock, self.wall
        self.agent = InsideAgent(self.memory, self.vbuckets, self.incarnation)
        self.tracker = LatencyTracker()
        self.observer = Observer(Silent(), wall, self.tracker, clock.seconds)
        types = self.types
        self.backend = Backend(self.memory, types, clock, wall, "be", self.observer, keeping=self.keeping)
        self.maintenance = Maintenance(
            self.memory, types, self.backend, clock, wall, Pruning(types, self.keeping, self.client_ttl),
            gc_seconds=self.gc_seconds,
        )  # fmt: skip
        self.publishing = Publishing(
            self.store, "taba_server.host.8300", ["fe", "be"], self.backend, self.tracker, clock, wall,
            self.maintenance.collect,
        )  # fmt: skip
        self.status = ServerStatus(
            self.publishing, self.store, self.backend, self.observer, wall, **self.status_options
        )
        self.operations = Operations(self.agent.operate, "taba_server.host.8300", wall, new_ids())
        self.query = Query(self.store, self.handlers, wall, clock, self.latency)

    def administered(self) -> Administered:
        """What the admin endpoints work on."""
        checking = Checking(self.store, self.handlers, self.operations, self.clock, self.wall)
        return Administered(
            self.store, self.status, self.operations, checking, self.publishing, self.clock, self.wall,
        )  # fmt: skip

    def leaves(self, **options: Any) -> dict[str, Resource]:
        """All endpoints; `options` are those of the admin ones."""
        inspection = InspectionResources(self.store, self.query, self.handlers, self.publishing, self.clock)
        return {
            **QueryResources(self.query, self.status, self.clock).leaves(),
            **inspection.leaves(),
            **AdminResources(self.administered(), **options).leaves(),
        }
