"""The process of `tests.benchmarks.fold`: a store, a be, and a gate between them.

    python -m tests.benchmarks.folding_be embedded|redis TABS CLIENTS TIMES

Prints one JSON object: thousand Partials per CPU-second of each round, by kind of round, and the memory at most.
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

HOT_ROUNDS = 2
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
        entries: Sequence[LogEntry] = yield self._store.read(after, max_bytes, 0.05)
        return entries


def sections(tabs: int, clients: int, at: float, seed: int) -> list[native.Section]:
    """One Partial of one event for each tab and client, by vbucket."""
    chance = random.Random(seed)
    scratch = native.Scratch(native.Limits(max_memory=1 << 30), builtin().kinds())
    parts = ["1\n\n"]
    for client in range(clients):
        parts.append(f"host_{client:03d}.example\n\n")
        for tab in range(tabs):
            value = chance.expovariate(1)
            parts.append(f'bench_tab_{tab:06d}\n["CounterGroup", {at - chance.random():.3f}, "{value:.3f}"]\n\n')
        parts.append("\n")
    scratch.feed("".join(parts).encode())
    scratch.finish()
    accumulator = native.Accumulator()
    accumulator.merge(scratch, 1)
    return list(accumulator.encode(VBUCKETS))


class Measuring:
    """One be after the other on one store."""

    def __init__(self, process: Process, store: IStore, tabs: int, clients: int, times: int) -> None:
        self._process = process
        self._store = store
        self._shape = tabs, clients
        self._times = times
        self._given = [0, 0]
        """Batches and events of each lane so far."""
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
        for _ in range(self._times):
            self._at += 1.0
            made = sections(*self._shape, self._at, self._given[0])
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
        """Fill the logs, let be have them: thousand Partials per CPU-second."""
        yield self._fill()
        while len(backend.folding) < VBUCKETS:
            yield self._slept(0.05)
        goals = {vbucket: each.folded + self._times for vbucket, each in backend.folding.items()}
        began = time.process_time()
        gated.open()
        while any(backend.folding[v].stored.folded < goal for v, goal in goals.items() if v in backend.folding):
            yield self._slept(0.02)
        used = time.process_time() - began
        gated.close()
        return self._shape[0] * self._shape[1] * self._times / used / 1e3

    def _slept(self, seconds: float) -> Deferred[None]:
        slept = Deferred[None]()
        self._process.reactor.callLater(seconds, slept.callback, None)
        return slept

    @inlineCallbacks
    def run(self):  # type: ignore[no-untyped-def]
        """All rounds, by kind."""
        found: dict[str, list[float]] = {}
        backend, gated = self._backend()
        backend.startService()
        found["new"] = [(yield self.round(backend, gated))]
        found["hot"] = []
        for _ in range(HOT_ROUNDS):
            found["hot"].append((yield self.round(backend, gated)))
        gated.open()
        yield backend.stopService()
        backend, gated = self._backend()
        backend.startService()
        found["cold"] = [(yield self.round(backend, gated))]
        gated.open()
        yield backend.stopService()
        total = yield self._store.ledger()
        expected = self._shape[0] * self._shape[1] * self._times * (HOT_ROUNDS + 2)
        if total["folded"] != expected:
            raise RuntimeError(f"{total['folded']} events are folded, {expected} were sent")
        found["memory"] = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]
        return found


@inlineCallbacks
def _main(reactor: Any, kind: str, tabs: int, clients: int, times: int):  # type: ignore[no-untyped-def]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="taba-bench-"))
        database = DatabaseSettings(vbuckets=VBUCKETS)
        if kind == "redis":
            from tests.benchmarks.redis import running_redis

            port = stack.enter_context(running_redis()).port
            url = f"redis://127.0.0.1:{port}"
            database = DatabaseSettings(vbuckets=VBUCKETS, durability="memory", redis_url=url)
        process = real_process(reactor)
        store = open_store(ServerSettings(data_dir=os.path.join(folder, "data"), database=database), process)
        yield store.startService()  # type: ignore[func-returns-value]
        found = yield Measuring(process, store, tabs, clients, times).run()
        yield store.stopService()
        print(json.dumps(found), flush=True)


def main(kind: str, *shape: str) -> None:
    """Run in this process."""
    from twisted.internet import reactor
    from twisted.internet.task import react

    monotonic(reactor)
    react(lambda machine: _main(machine, kind, *map(int, shape)), [], reactor)


if __name__ == "__main__":
    main(*sys.argv[1:])
