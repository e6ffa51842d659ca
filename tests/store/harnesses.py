"""Harnesses of the contracts for the stores and folders of `taba.store`: what crashes, goes back and fails there."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock

from taba.interfaces import IFolder
from taba.store.embedded import EmbeddedStore
from taba.store.folder import open_folder
from taba.store.limits import Limits
from taba.store.memory import Contents, MemoryStore
from taba.store.transactions import DATABASE
from taba.testing.disk import DiskImage, MemoryDisk
from taba.testing.stores import FaultyStore
from tests.contracts.store_harness import ASIDE_BYTES, ASIDE_ROWS, DEDUP_DAYS, PAGE_ROWS, START, VBUCKETS

T = TypeVar("T")

LIMITS = Limits(aside_rows=ASIDE_ROWS, aside_bytes=ASIDE_BYTES, page_rows=PAGE_ROWS)


class InlineWorker:
    """A `taba.process.Worker` without a thread: everything is done when it is asked for."""

    def __init__(self) -> None:
        self.stopped = False

    def __call__(self, function: Callable[..., T], *arguments: Any, **named: Any) -> Deferred[T]:
        if self.stopped:
            raise RuntimeError("the worker has stopped")
        return maybeDeferred(function, *arguments, **named)

    def stop(self) -> Deferred[None]:
        self.stopped = True
        return succeed(None)


class QueuedWorker:
    """A `taba.process.Worker` that does what it was given when it is told to."""

    def __init__(self) -> None:
        self.queue: list[Callable[[], None]] = []
        self.stopped = False

    def __call__(self, function: Callable[..., T], *arguments: Any, **named: Any) -> Deferred[T]:
        done: Deferred[T] = Deferred()

        def do() -> None:
            maybeDeferred(function, *arguments, **named).addBoth(self._end, done)

        self.queue.append(do)
        return done

    def _end(self, result: Any, done: Deferred[Any]) -> None:
        if not done.called:  # it may have been cancelled
            done.callback(result)

    def step(self) -> None:
        """Do the first of what waits."""
        self.queue.pop(0)()

    def finish(self) -> None:
        """Do all of it, and what comes of that."""
        while self.queue:
            self.step()

    def stop(self) -> Deferred[None]:
        self.stopped = True
        return succeed(None)


@define(eq=False)
class Surroundings:
    """Clocks and chance for stores under test."""

    clock: Clock = field(factory=Clock)
    _ids: count[int] = field(factory=lambda: count(1))

    def wall(self) -> float:
        """Wall time, which passes like the other."""
        return START + self.clock.seconds()

    def new_id(self) -> str:
        """Ids that are easy to tell apart."""
        return f"{next(self._ids):032x}"

    def embedded(self, folder: IFolder, vbuckets: int = VBUCKETS, **more: Any) -> EmbeddedStore:
        """An embedded store in a folder, not started yet."""
        more.setdefault("writer", InlineWorker())
        more.setdefault("reader", InlineWorker())
        more.setdefault("limits", LIMITS)
        return EmbeddedStore(
            folder,
            vbuckets,
            clock=self.clock,
            wall=self.wall,
            new_id=self.new_id,
            dedup_days=DEDUP_DAYS,
            **more,
        )

    def memory(self, contents: Contents | None = None, vbuckets: int = VBUCKETS, **more: Any) -> MemoryStore:
        """A memory store, not started yet."""
        more.setdefault("dedup_days", DEDUP_DAYS)
        return MemoryStore(
            vbuckets,
            clock=self.clock,
            wall=self.wall,
            new_id=self.new_id,
            limits=LIMITS,
            contents=contents,
            **more,
        )


def started(store: Any) -> Any:
    """A store after startService, which must be done at once."""
    done: list[Any] = []
    store.startService().addBoth(done.append)
    if done != [None]:
        raise AssertionError(f"the store did not start: {done}")
    return store


class LocalHarness:
    """What the harnesses have in common: a store behind a `FaultyStore`, and everything else on one clock.

    Faults come from the `FaultyStore`: a store in the same process has no natural way to lose an answer.
    """

    def __init__(self) -> None:
        self.surroundings = Surroundings()
        self.store = FaultyStore(started(self.first()))

    def first(self) -> Any:
        """A new, empty store, not started yet."""
        raise NotImplementedError

    def next(self, snapshot: Any) -> Any:
        """A store with what a snapshot has, not started yet."""
        raise NotImplementedError

    def snapshot(self) -> Any:
        raise NotImplementedError

    def crash(self) -> None:
        self.rollback(self.snapshot())

    def rollback(self, snapshot: Any) -> None:
        self.store = FaultyStore(started(self.next(snapshot)))

    def unavailable(self, down: bool) -> None:
        self.store.unavailable(down)

    def lose_next_answer(self) -> None:
        self.store.fail_after()

    def advance(self, seconds: float) -> None:
        self.surroundings.clock.advance(seconds)

    def wall(self) -> float:
        return self.surroundings.wall()

    def settle(self, sought: Deferred[Any] | None = None) -> None:
        pass

    def stop(self) -> None:
        self.store.stopService()

    def close(self) -> None:
        self.stop()
        left = self.surroundings.clock.getDelayedCalls()
        if left:
            raise AssertionError(f"the store left timers behind: {left}")


class MemoryHarness(LocalHarness):
    """A memory store, whose contents outlive it."""

    def first(self) -> MemoryStore:
        self.contents = Contents.empty(self.surroundings.new_id(), VBUCKETS)
        return self.surroundings.memory(self.contents)

    def next(self, snapshot: Contents) -> MemoryStore:
        self.contents = snapshot.copy()
        return self.surroundings.memory(self.contents)

    def snapshot(self) -> Contents:
        return self.contents.copy()


class RealFolderHarness(LocalHarness):
    """An embedded store on a file system.

    A snapshot is a copy of the files while the store runs, as a power cut would leave them: the database and the
    write-ahead log, of which the database lacks what was not moved to it yet. Another store is started on a copy of
    that, in a folder of its own.
    """

    def __init__(self, path: str) -> None:
        self._paths = (os.path.join(path, str(number)) for number in count())
        self._retired: list[FaultyStore] = []
        super().__init__()

    def first(self) -> EmbeddedStore:
        return self.next({})

    def next(self, snapshot: dict[str, bytes]) -> EmbeddedStore:
        self.path = next(self._paths)
        folder = open_folder(self.path)
        for name, content in snapshot.items():
            with open(os.path.join(self.path, name), "xb") as file:
                file.write(content)
        return self.surroundings.embedded(folder)

    def rollback(self, snapshot: dict[str, bytes]) -> None:
        self._retired.append(self.store)
        super().rollback(snapshot)

    def snapshot(self) -> dict[str, bytes]:
        files = {}
        for name in (DATABASE, f"{DATABASE}-wal"):
            with open(os.path.join(self.path, name), "rb") as file:
                files[name] = file.read()
        return files

    def close(self) -> None:
        for store in self._retired:
            store.stopService()
        super().close()


class SimulatedDiskHarness(LocalHarness):
    """An embedded store on a simulated disk."""

    def first(self) -> EmbeddedStore:
        self.disk = MemoryDisk(Random(1))
        return self.surroundings.embedded(self.disk.folder())

    def next(self, snapshot: DiskImage) -> EmbeddedStore:
        self.disk.restore(snapshot)
        return self.surroundings.embedded(self.disk.folder())

    def crash(self) -> None:
        self.disk.crash()
        self.store = FaultyStore(started(self.surroundings.embedded(self.disk.folder())))

    def snapshot(self) -> DiskImage:
        return self.disk.snapshot()

    def close(self) -> None:
        super().close()
        self.disk.close()
