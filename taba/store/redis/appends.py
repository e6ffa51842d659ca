"""What fe writes to one shard: batches, in rounds, each made as durable as the settings say before the answer.

A round takes what waits, in a few calls of taba_append, and ends with one WAIT on the same connection; the next round
begins when that is answered. So the commands per second do not follow the event rate. Answers are given only while a
majority of the Sentinels names the very master that gave them: anything else is "ask again".

What waits is bounded: a round is no larger than what a server takes well within the time of a call, and while too much
waits already, more is refused. Nothing of that is appended, and the agents ask again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from taba.errors import StoreError, StoreUnavailable
from taba.interfaces import Append, Outcome
from taba.store.redis import rows
from taba.store.redis.asking import ask_all
from taba.store.redis.durability import Durability
from taba.store.redis.keys import ENTRIES, LANES, LEDGER, LOG, MARKERS, Keys
from taba.store.redis.link import Link
from taba.store.redis.shard import Shard
from taba.store.redis.side_by_side import together

CALL_BYTES = 256 << 10
"""About how many bytes of batches one call takes: Lua copies them, and blocks the shard meanwhile."""
BATCH_OVERHEAD = 200
"""The bytes of a batch beside its body, roughly."""
ROUND_BYTES = 8 << 20
"""About how many bytes of batches one round takes, or those of one call of `append`: all of a round has to be answered
in the time of one call.
"""
QUEUE_BYTES = 64 << 20
"""How many bytes of batches may wait for the rounds to come."""

@define(eq=False)
class _Waiting:
    """One call of `append` that is not answered yet."""

    batches: Sequence[Append]
    size: int
    answered: Deferred[list[Outcome]]


@define(eq=False)
class Appender:
    """The appends of one process to one shard."""

    _shard: Shard
    _keys: Keys
    _durability: Durability
    _dedup_seconds: float
    epochs: Mapping[int, int]
    """The epoch of each vbucket's marker."""
    _queue: deque[_Waiting] = field(factory=deque, init=False)
    _queued: int = field(default=0, init=False)
    """The bytes of what is in the queue."""
    _running: bool = field(default=False, init=False)

    def append(self, batches: Sequence[Append]) -> Deferred[list[Outcome]]:
        """The outcomes of batches, all of this shard, in order; fails with StoreUnavailable when nothing is known.

        To cancel it is to hear nothing of the outcomes: the batches are appended all the same.
        """
        size = sum(map(_size, batches))
        if self._queue and self._queued + size > QUEUE_BYTES:
            return fail(
                StoreUnavailable(
                    f"{self._shard.name}: {self._queued >> 20} MiB of batches wait already. Agents hold their events"
                    " and ask again. Is the shard slow, or its network?"
                )
            )
        waiting = _Waiting(batches, size, Deferred(lambda _: None))
        self._queue.append(waiting)
        self._queued += size
        if not self._running:
            self._running = True
            Deferred.fromCoroutine(self._rounds())
        return waiting.answered

    async def _rounds(self) -> None:
        while self._queue:
            together_now = self._take()
            try:
                outcomes = await self._round([batch for each in together_now for batch in each.batches])
            except Exception as problem:
                failure = Failure(problem if isinstance(problem, StoreError) else StoreUnavailable(repr(problem)))
                for each in together_now:
                    _fire(each.answered, failure)
                continue
            start = 0
            for each in together_now:
                _fire(each.answered, outcomes[start : start + len(each.batches)])
                start += len(each.batches)
        self._running = False

    def _take(self) -> list[_Waiting]:
        """What goes into the next round, from the front of the queue."""
        taken: list[_Waiting] = []
        size = 0
        while self._queue and (not taken or size + self._queue[0].size <= ROUND_BYTES):
            taken.append(self._queue.popleft())
            size += taken[-1].size
        self._queued -= size
        return taken

    async def _round(self, batches: Sequence[Append]) -> list[Outcome]:
        link = self._shard.link("append")
        self._check_vouched(link)
        parts = _parts(batches)
        calls = [self._call(part) for part in parts]
        answers, _ = await together([ask_all(self._shard, link, calls), self._durability.confirm(self._shard, link)])
        self._check_vouched(link)
        outcomes: list[Outcome] = []
        for part, answer in zip(parts, answers, strict=True):
            lineage = answer[0].decode()
            if lineage != link.lineage:
                self._shard.lost(f"shard {self._shard.name} at {link.address} has begun a new lineage", link)
            rows.expect(len(answer) == len(part) + 1, "another number of outcomes than of batches")
            outcomes += [rows.read_outcome(batch, one, lineage) for batch, one in zip(part, answer[1:], strict=True)]
        return outcomes

    def _check_vouched(self, link: Link) -> None:
        if not link.alive or not self._shard.vouched():
            raise StoreUnavailable(
                f"{self._shard.name}: no majority of the Sentinels has named its master, {link.address}, in the last"
                " seconds. Batches are asked for again until one does."
            )

    def _call(self, batches: Sequence[Append]) -> tuple[Any, ...]:
        """The call of taba_append for some batches."""
        places: dict[int, int] = {}
        for batch in batches:
            places.setdefault(batch.vbucket, len(places) + 1)
        of = self._keys.of
        keys = [of(letter, v) for v in places for letter in (MARKERS, LOG, LANES, LEDGER, ENTRIES)]
        arguments: list[Any] = [f"{self._dedup_seconds:.0f}", len(places), *(self.epochs.get(v, 0) for v in places)]
        for batch in batches:
            arguments += rows.append_arguments(places[batch.vbucket], batch)
        return "FCALL", "taba_append", len(keys), *keys, *arguments


def _size(batch: Append) -> int:
    """About how many bytes a batch takes on its way."""
    return BATCH_OVERHEAD + len(batch.body or b"")


def _parts(batches: Sequence[Append]) -> list[Sequence[Append]]:
    """Batches in runs of about CALL_BYTES."""
    parts: list[Sequence[Append]] = []
    start = size = 0
    for end, batch in enumerate(batches):
        length = _size(batch)
        if end > start and size + length > CALL_BYTES:
            parts.append(batches[start:end])
            start, size = end, 0
        size += length
    if start < len(batches):
        parts.append(batches[start:])
    return parts


def _fire(answered: Deferred[list[Outcome]], result: Any) -> None:
    if not answered.called:  # it may have been cancelled: the batches are in the log all the same
        answered.callback(result)
