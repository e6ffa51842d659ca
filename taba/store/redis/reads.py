"""What be reads of the logs: one fetch at a time on each shard, and what it brought until somebody takes it.

A fetch sweeps over the streams it is asked for, some at a time, so that no reply is large, until it has about what was
asked for or every stream was found empty. Only then it may block: on all streams together, where nothing waits.

Whoever reads may go away while a fetch is under way; what the fetch brings stays, and is given to the next who asks for
just what follows what it has. Anything else is dropped: it is in the log. Dropped, too, is what came by a connection
that has been closed since: it may have been rolled back.

How large a reply becomes can only be guessed, from the entries seen before. Replies are small in number of entries, and
a call that fails makes the guess much larger: large entries after many small ones must not make calls that run out of
time again and again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from taba.errors import StoreError, StoreUnavailable
from taba.interfaces import LogEntry
from taba.store.redis import rows
from taba.store.redis.asking import ask_on
from taba.store.redis.keys import LOG, Keys
from taba.store.redis.link import Link
from taba.store.redis.shard import Shard

BLOCK_SECONDS = 0.25
"""How long one XREAD waits: so long a be that got another vbucket waits at most before its log is looked at."""
STREAMS = 64
"""The streams of one call in a sweep, at most."""
ENTRIES = 64
"""The entries of one stream in one call, at most: XREAD counts by stream."""
CALL_ENTRIES = 256
"""The entries of all streams in one call of a sweep, at most."""
SUSPICION = 16
"""How many times larger than seen before entries are taken to be after a call that failed."""
LARGEST_GUESS = 16 << 20
"""The size that entries are taken to have at most: fe takes no larger requests."""
BLOCKED_ENTRIES = 2
"""The same while it waits for what comes new, on all streams."""
RETRY_SECONDS = 0.25
"""How long a shard that failed is left alone while others are read."""
FIRST_GUESS = 64 << 10
"""The size of an entry before one was seen."""


@define(eq=False)
class ShardReader:
    """The fetches on one shard."""

    shard: Shard
    _keys: Keys
    busy: bool = field(default=False, init=False)
    entries: deque[tuple[int, LogEntry]] = field(factory=deque, init=False)
    """What was fetched and not taken yet; before each the id it follows, which a trimmed log may leave far behind."""
    empty: Mapping[int, int] | None = field(default=None, init=False)
    """What nothing was found after: the very mapping that was asked for."""
    problem: StoreError | None = field(default=None, init=False)
    """Why the last fetch failed."""
    _size: float = field(default=FIRST_GUESS, init=False)
    """The size of an entry, about."""
    _turn: int = field(default=0, init=False)
    """The vbucket that the next sweep begins with."""
    _link: Link | None = field(default=None, init=False)
    """What was used last."""
    _log = Logger()

    async def fetch(self, after: Mapping[int, int], max_bytes: int, block: float) -> None:
        """Fetch what follows `after`, and block for `block` seconds when there is nothing; `problem` says what failed.
        """
        self.busy, self.problem = True, None
        try:
            found = await self._sweep(after, max_bytes)
            if not found:
                self.empty = after
                if block > 0:
                    found = _after_each(await self._call(after, sorted(after), BLOCKED_ENTRIES, block), after)
            self.entries.extend(found)
        except StoreError as problem:
            self.problem = problem
        except Exception as defect:  # an entry that nobody of ours wrote: the other shards are read all the same
            self._log.failure("What shard {shard} has in its logs cannot be read", shard=self.shard.name)
            self.problem = StoreUnavailable(f"{self.shard.name}: {defect!r}")
        finally:
            self.busy = False

    async def _sweep(self, after: Mapping[int, int], max_bytes: int) -> list[tuple[int, LogEntry]]:
        """Go round the streams until there is enough, or a whole round found no more."""
        upto = dict(after)
        streams = sorted(after, key=lambda vbucket: (vbucket < self._turn, vbucket))
        found: list[tuple[int, LogEntry]] = []
        size = idle = start = 0
        while idle < len(streams) and size * 2 < max_bytes:
            width = max(1, min(STREAMS, len(streams) - start, int(max_bytes / self._size)))
            part = streams[start : start + width]
            count = max(1, min(ENTRIES, CALL_ENTRIES // width, int((max_bytes - size) / (self._size * width))))
            entries = await self._call(upto, part, count, 0)
            for entry in entries:
                found.append((upto[entry.vbucket], entry))
                upto[entry.vbucket] = entry.id
                size += len(entry.body)
            idle = 0 if len(entries) >= count else idle + len(part)
            start = (start + width) % len(streams) if start + width < len(streams) else 0
            self._turn = part[-1] + 1
        return found

    async def _call(self, after: Mapping[int, int], part: Sequence[int], count: int, block: float) -> list[LogEntry]:
        """One XREAD of some streams."""
        link = self._link = self.shard.link("read")
        names = {self._keys.of(LOG, vbucket): vbucket for vbucket in part}
        patience: tuple[Any, ...] = ("BLOCK", max(1, round(block * 1000))) if block > 0 else ()
        ids = [rows.log_id(after[vbucket]) for vbucket in part]
        try:
            reply = await ask_on(self.shard, link, "XREAD", "COUNT", count, *patience, "STREAMS", *names, *ids)
        except StoreUnavailable:
            self._size = min(max(self._size * SUSPICION, FIRST_GUESS), LARGEST_GUESS)
            raise
        entries = [
            entry for name, found in reply or () for entry in rows.read_entries(names[name], link.lineage, found)
        ]
        if entries:
            average = sum(len(entry.body) for entry in entries) / len(entries)
            self._size = max(1.0, 0.75 * self._size + 0.25 * average, average / 4)
        elif self._size > FIRST_GUESS:
            self._size = max(FIRST_GUESS, self._size / 2)  # else a suspicion would make many small calls for ever
        return entries

    def take(self, after: dict[int, int], max_bytes: int) -> list[LogEntry]:
        """Take what follows `after`, which is moved on; drop what does not."""
        taken: list[LogEntry] = []
        if self._link is not None and not self._link.alive:
            self.entries.clear()
        while self.entries and (max_bytes > 0 or not taken):
            follows, entry = self.entries.popleft()
            if follows == after.get(entry.vbucket):
                after[entry.vbucket] = entry.id
                taken.append(entry)
                max_bytes -= len(entry.body)
        return taken


def _after_each(entries: Sequence[LogEntry], after: Mapping[int, int]) -> list[tuple[int, LogEntry]]:
    """Entries, with the id that each follows."""
    upto = dict(after)
    found = []
    for entry in entries:
        found.append((upto[entry.vbucket], entry))
        upto[entry.vbucket] = entry.id
    return found


@define(eq=False)
class LogReader:
    """The reads of one process, of all shards."""

    _readers: Mapping[str, ShardReader]
    _clock: IReactorTime
    _news: Deferred[None] = field(factory=Deferred, init=False)
    _first: int = field(default=0, init=False)
    """Which shard is taken from first."""

    async def read(self, parts: Mapping[str, Mapping[int, int]], max_bytes: int, wait: float) -> list[LogEntry]:
        """See `IStore.read`; `parts` has the vbuckets of each shard. Fails when no shard can be read."""
        until = self._clock.seconds() + wait
        readers = [(self._readers[name], after) for name, after in parts.items() if after]
        failed: dict[str, float] = {}  # shard -> when
        while readers:
            if entries := self._take(readers, max_bytes):
                return entries
            now = self._clock.seconds()
            self._note_failures([reader for reader, _ in readers], failed, now)
            if now >= until and all(reader.empty is after or reader.shard.name in failed for reader, after in readers):
                return []
            news = self._news
            for reader, after in readers:
                name = reader.shard.name
                if not reader.busy and now - failed.get(name, now - RETRY_SECONDS) >= RETRY_SECONDS:
                    failed.pop(name, None)
                    block = min(BLOCK_SECONDS, until - now) if reader.empty is after else 0.0
                    Deferred.fromCoroutine(reader.fetch(after, max_bytes, block)).addBoth(self._tell)
            await self._wait(news, min(until - now, RETRY_SECONDS) if failed else until - now)
        if wait > 0:
            await self._wait(Deferred(), wait)
        return []

    def _note_failures(self, readers: Sequence[ShardReader], failed: dict[str, float], now: float) -> None:
        """Note which fetches failed; raises what the last one said when none is left."""
        problem = None
        for reader in readers:
            if reader.problem is not None:
                problem, reader.problem = reader.problem, None
                failed[reader.shard.name] = now
        if problem is not None and len(failed) == len(readers):
            raise StoreUnavailable(str(problem)) from problem

    def _take(self, readers: Sequence[tuple[ShardReader, Mapping[int, int]]], max_bytes: int) -> list[LogEntry]:
        taken: list[LogEntry] = []
        self._first += 1
        for number in range(len(readers)):
            reader, after = readers[(self._first + number) % len(readers)]
            if not taken or max_bytes > 0:
                more = reader.take(dict(after), max_bytes)
                max_bytes -= sum(len(entry.body) for entry in more)
                taken += more
        return taken

    def _tell(self, result: Any) -> Any:
        news, self._news = self._news, Deferred()
        news.callback(None)
        return result

    async def _wait(self, news: Deferred[None], seconds: float) -> None:
        """Wait for a fetch to end. Each waiter has a Deferred of its own, which it may cancel."""
        woken: Deferred[None] = Deferred()
        timer: list[IDelayedCall] = []

        def wake(_: Any = None) -> None:
            if not woken.called:
                woken.callback(None)

        if seconds > 0:
            timer.append(self._clock.callLater(seconds, wake))
        news.addBoth(lambda _: wake())
        try:
            await woken
        finally:
            for call in timer:
                if call.active():
                    call.cancel()
