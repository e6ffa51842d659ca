"""The process of `tests.benchmarks.fold`: a store, a be, and a gate between them.

    python -m tests.benchmarks.folding_be '{"store": "embedded", "tabs": 20000, "clients": 10, "times": 10, ...}'

The object has the fields of `Shape`. Prints one JSON object: the runs of each kind of round.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from attrs import asdict, frozen
from twisted.internet.defer import Deferred, inlineCallbacks

from taba import native
from taba.handlers.registry import builtin
from taba.interfaces import Append, IStore, LogEntry
from taba.process import Process
from taba.real import monotonic, real_process
from taba.server.backend import Backend
from taba.server.observation import Observer
from taba.server_tap import open_store
from taba.settings import DatabaseSettings, ServerSettings
from tests.benchmarks.counting import check
from tests.benchmarks.report import Run
from tests.benchmarks.workloads import VALUES

VBUCKETS = 128
APPENDED_AT_A_TIME = 32


class Nothing:
    """Own tabs are not what is measured."""

    def counter(self, name: str, value: float = 1) -> None:
        """See `Recorder`."""

    def percentile(self, name: str, value: float) -> None:
        """See `Recorder`."""


class Gated:
    """A store that gives its log only while the gate is open."""

    def __init__(self, store: IStore) -> None:
        self._store = store
        self._closed: Deferred[None] | None = Deferred()
        self.reading = 0
        """Reads that passed the gate and are not answered: they could still get what is appended now."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def open(self) -> None:
        """Let be read."""
        waiting, self._closed = self._closed, None
        if waiting is not None:
            waiting.callback(None)

    def close(self) -> None:
        """Let be read no more."""
        self._closed = Deferred()

    @inlineCallbacks
    def read(self, after: Mapping[int, int], max_bytes: int, wait: float):  # type: ignore[no-untyped-def]
        """See `IStore.read`."""
        while self._closed is not None:
            yield self._closed
        self.reading += 1
        try:
            entries: Sequence[LogEntry] = yield self._store.read(after, max_bytes, 0.05)
        finally:
            self.reading -= 1
        return entries


@frozen
class Shape:
    """What is folded."""

    store: str = "embedded"
    """`embedded` or `redis`."""
    tabs: int = 20_000
    clients: int = 10
    times: int = 10
    """Partials per State and checkpoint."""
    events: int = 1
    """In a Partial."""
    type: str = "CounterGroup"
    values: str = "decimal"
    rounds: int = 2
    """Those that count, in which be has the States in memory."""

    @property
    def per_round(self) -> int:
        """Partials of a round."""
        return self.tabs * self.clients * self.times

    def __str__(self) -> str:
        what = f"{self.store}, {self.tabs} tabs x {self.clients} clients, {self.times} per State and checkpoint"
        if (self.events, self.type, self.values) == (1, "CounterGroup", "decimal"):
            return what
        return f"{what}, {self.type} of {self.events}, {self.values}"


def sections(shape: Shape, at: float, seed: int) -> list[native.Section]:
    """One Partial for each tab and client, by vbucket."""
    chance, value = random.Random(seed), VALUES[shape.values]
    scratch = native.Scratch(native.Limits(max_memory=1 << 30), builtin().kinds())
    parts = ["1\n\n"]
    for client in range(shape.clients):
        parts.append(f"host_{client:03d}.example\n\n")
        for tab in range(shape.tabs):
            parts.append(f"bench_tab_{tab:06d}\n")
            for _ in range(shape.events):
                parts.append(f'["{shape.type}", {at - chance.random():.3f}, "{value(chance)!r}"]\n')
            parts.append("\n")
        parts.append("\n")
    scratch.feed("".join(parts).encode())
    scratch.finish()
    accumulator = native.Accumulator()
    accumulator.merge(scratch, 1)
    return list(accumulator.encode(VBUCKETS))


class Measuring:
    """One be after the other on one store."""

    def __init__(self, process: Process, store: IStore, shape: Shape) -> None:
        self._process = process
        self._store = store
        self._shape = shape
        self._given = [0, 0]
        """Batches and events of each lane so far."""
        self._filled: set[int] = set()
        """The vbuckets that the tabs fall into: all of them, unless the tabs are few."""
        self._at = time.time() - 3000.0

    def _backend(self) -> tuple[Backend, Gated]:
        gated = Gated(self._store)
        observer = Observer(Nothing(), time.time)
        return (
            Backend(
                gated,  # type: ignore[arg-type]
                builtin(),
                self._process.reactor,
                time.time,
                "be",
                observer,
                checkpoint_seconds=0.5,
                lease_seconds=60.0,
            ),
            gated,
        )

    @inlineCallbacks
    def _fill(self):  # type: ignore[no-untyped-def]
        """Append one batch after the other to every vbucket's log."""
        for _ in range(self._shape.times):
            self._at += 1.0
            made = sections(self._shape, self._at, self._given[0])
            self._filled = {each.vbucket for each in made}
            seq, before = self._given
            for start in range(0, len(made), APPENDED_AT_A_TIME):
                batches = [
                    Append(
                        each.vbucket, "0" * 32, seq + 1, seq, None, before, each.events, self._at,
                        native.crc32c(each.data), each.data,
                    )
                    for each in made[start : start + APPENDED_AT_A_TIME]
                ]  # fmt: skip
                outcomes = yield self._store.append(batches)
                assert all(each.appended for each in outcomes)
            self._given = [seq + 1, before + max(each.events for each in made)]

    @inlineCallbacks
    def round(self, backend: Backend, gated: Gated):  # type: ignore[no-untyped-def]
        """Fill the logs, let be have them: what that took, as a Run of Partials."""
        while len(backend.folding) < VBUCKETS or gated.reading:
            yield self._slept(0.05)
        yield self._fill()
        goals = {vbucket: backend.folding[vbucket].folded + self._shape.times for vbucket in self._filled}
        began, started = time.process_time(), time.monotonic()
        gated.open()
        while any(backend.folding[v].stored.folded < goal for v, goal in goals.items() if v in backend.folding):
            yield self._slept(0.02)
        used, wall = time.process_time() - began, time.monotonic() - started
        gated.close()
        return Run(self._shape.per_round, used, wall, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)

    def _slept(self, seconds: float) -> Deferred[None]:
        slept = Deferred[None]()
        self._process.reactor.callLater(seconds, slept.callback, None)
        return slept

    @inlineCallbacks
    def run(self):  # type: ignore[no-untyped-def]
        """All rounds, by kind."""
        found: dict[str, list[Run]] = {}
        backend, gated = self._backend()
        backend.startService()
        found["new"] = [(yield self.round(backend, gated))]
        found["hot"] = []
        for _ in range(self._shape.rounds):
            found["hot"].append((yield self.round(backend, gated)))
        gated.open()
        yield backend.stopService()
        backend, gated = self._backend()
        backend.startService()
        found["cold"] = [(yield self.round(backend, gated))]
        gated.open()
        yield backend.stopService()
        count_of(self._shape, (yield self._store.ledger()))
        return found


def count_of(shape: Shape, ledger: Mapping[str, int]) -> None:
    """Compare the store's ledger at the end with what all rounds gave. Raises Miscounted."""
    check(f"be: {shape}", ledger["folded"], shape.per_round * shape.events * (shape.rounds + 2))


@inlineCallbacks
def _main(reactor: Any, shape: Shape):  # type: ignore[no-untyped-def]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="taba-bench-"))
        database = DatabaseSettings(vbuckets=VBUCKETS)
        if shape.store == "redis":
            from tests.benchmarks.redis import running_redis

            port = stack.enter_context(running_redis()).port
            url = f"redis://127.0.0.1:{port}"
            database = DatabaseSettings(vbuckets=VBUCKETS, durability="memory", redis_url=url)
        process = real_process(reactor)
        store = open_store(ServerSettings(data_dir=os.path.join(folder, "data"), database=database), process)
        yield store.startService()
        found = yield Measuring(process, store, shape).run()
        yield store.stopService()
        print(json.dumps({kind: [asdict(run) for run in runs] for kind, runs in found.items()}), flush=True)


def main(shape: str) -> None:
    """Run in this process."""
    from twisted.internet import reactor
    from twisted.internet.task import react

    monotonic(reactor)
    react(lambda machine: _main(machine, Shape(**json.loads(shape))), [], reactor)


if __name__ == "__main__":
    main(*sys.argv[1:])
