"""What the store contract needs of an implementation under test, and words to write its tests with."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from taba.errors import StoreUnavailable
from taba.interfaces import (
    AggregateRow,
    Append,
    Checkpoint,
    IStore,
    Lease,
    LogEntry,
    Outcome,
    Position,
    Selection,
    StateRow,
    Written,
)

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as Suite
else:
    Suite = object

T = TypeVar("T")

A, B = "a" * 32, "b" * 32
"""Two incarnations."""
V, W = 3, 5
"""Two vbuckets."""
VBUCKETS = 8
START = 1_700_000_000.0
"""Wall time when a harness is made."""
DAY = 86400.0
DEDUP_DAYS = 14.0
PAGE_ROWS = 4
"""The most rows of a page."""
ASIDE_ROWS, ASIDE_BYTES = 5, 1000
"""How much may be set aside."""
TTL = 2.0


class StoreHarness(Protocol):
    """One store, which can be made to crash, to go back and to fail.

    It has VBUCKETS vbuckets, DEDUP_DAYS, pages of PAGE_ROWS and room for ASIDE_ROWS or ASIDE_BYTES.
    """

    @property
    def store(self) -> IStore:
        """The store that runs now."""

    def crash(self) -> None:
        """Let the process of the store end without notice, and start it again."""

    def snapshot(self) -> Any:
        """What the store has now, as a backup or a lagging replica would have it."""

    def rollback(self, snapshot: Any) -> None:
        """Go on with what a snapshot has, under a new lineage."""

    def unavailable(self, down: bool) -> None:
        """Let every call fail, or work again."""

    def lose_next_answer(self) -> None:
        """Let the next call be done and fail with StoreUnavailable."""

    def advance(self, seconds: float) -> None:
        """Let time pass on all clocks."""

    def settle(self, sought: Deferred[Any] | None = None) -> None:
        """Let everything happen that needs no time; and, where a real server takes some, wait for what is sought."""

    def wall(self) -> float:
        """The store's wall time."""

    def stop(self) -> None:
        """Stop the store in good order."""

    def close(self) -> None:
        """The end of the test: stop what runs, and complain of what is left over."""


def batch(
    seq: int = 1,
    *,
    vbucket: int = V,
    lane: str = A,
    after: int | None = None,
    previous: int | None = None,
    before: int | None = None,
    events: int = 10,
    sealed: float = START,
    body: bytes | None = None,
) -> Append:
    """A batch of ten events; the lane gave ten for each number before it."""
    body = b"batch %d of %s" % (seq, lane[:1].encode()) if body is None else body
    return Append(
        vbucket=vbucket,
        incarnation=lane,
        seq=seq,
        after=seq - 1 if after is None else after,
        previous=previous,
        before=10 * (seq - 1) if before is None else before,
        events=events,
        sealed=sealed,
        checksum=checksum_of(body),
        body=body,
    )


def checksum_of(body: bytes) -> int:
    """The checksum that `batch` gives to a body. Stores only compare them, so any will do."""
    return zlib.crc32(body)


def look(seq: int, *, vbucket: int = V, lane: str = A) -> Append:
    """A look at a lane."""
    return Append(vbucket=vbucket, incarnation=lane, seq=seq)


class StoreSuite(Suite):
    """The base of the contract's parts: a store, and what to ask it."""

    harness: StoreHarness

    def make_harness(self) -> StoreHarness:
        """The harness of the implementation under test, with a new, empty store that runs."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.harness = self.make_harness()
        self.addCleanup(lambda: self.harness.close())

    @property
    def store(self) -> IStore:
        return self.harness.store

    def get(self, deferred: Deferred[T]) -> T:
        """The result of what was asked, which must be there when everything has settled."""
        self.harness.settle(deferred)
        return self.successResultOf(deferred)

    def fails(self, deferred: Deferred[Any], error: type[Exception] = StoreUnavailable) -> None:
        """Whatever was asked must have failed."""
        self.harness.settle(deferred)
        self.failureResultOf(deferred, error)

    def waits(self, deferred: Deferred[Any]) -> None:
        """What was asked must not have come yet."""
        self.harness.settle()
        self.assertNoResult(deferred)

    # ------------------------------------------------------------------------------------------------------- log

    def append(self, *batches: Append) -> list[Outcome]:
        return self.get(self.store.append(batches))

    def append_one(self, batch: Append) -> Outcome:
        (outcome,) = self.append(batch)
        return outcome

    def entries(self, vbucket: int = V, after: int = 0) -> list[LogEntry]:
        """What the log has now."""
        return self.get(self.store.read({vbucket: after}, 1 << 20, 0))

    def bodies(self, vbucket: int = V) -> list[bytes]:
        return [entry.body for entry in self.entries(vbucket)]

    def lost(self) -> int:
        """The events that the ledger says are lost."""
        return self.get(self.store.ledger()).get("lost", 0)

    # ----------------------------------------------------------------------------------------------- checkpoints

    def lease(self, vbucket: int = V, owner: str = "be-1", ttl: float = TTL) -> Lease:
        """A lease that must be granted."""
        return self.get(self.store.acquire([vbucket], owner, ttl))[vbucket]

    def next_checkpoint(self, lease: Lease, folded: int | None = None, **fields: Any) -> Checkpoint:
        """The checkpoint that may follow now; `folded` None folds nothing."""
        loaded = self.get(self.store.load(lease))
        expected = loaded.position
        position = Position(expected.folded if folded is None else folded, expected.commits + 1)
        given = {"lineage": loaded.lineage, "expected": expected, "position": position, **fields}
        return Checkpoint(lease=lease, **given)

    def write(self, *checkpoints: Checkpoint) -> list[Written]:
        return self.get(self.store.checkpoint(checkpoints))

    def put(self, vbucket: int = V, folded: int | None = None, **fields: Any) -> None:
        """Write something by a checkpoint that must be done."""
        lease = self.lease(vbucket)
        self.assertEqual(self.write(self.next_checkpoint(lease, folded, **fields)), [Written.DONE])

    # --------------------------------------------------------------------------------------------------- queries

    def select_states(self, tabs: set[str] | None = None, clients: set[str] | None = None) -> list[StateRow]:
        """All rows of a query, whatever its pages."""
        rows: list[StateRow] = []
        self.get(self.store.each_state(selection(tabs, clients), lambda page: rows.extend(page)))
        return rows

    def select_aggregates(self, tabs: set[str] | None = None) -> list[AggregateRow]:
        """All rows of a query, whatever its pages."""
        rows: list[AggregateRow] = []
        self.get(self.store.each_aggregate(selection(tabs), lambda page: rows.extend(page)))
        return rows


def selection(tabs: set[str] | None = None, clients: set[str] | None = None) -> Selection:
    """A selection from plain sets."""
    return Selection(None if tabs is None else frozenset(tabs), None if clients is None else frozenset(clients))


def names_of(rows: Sequence[StateRow]) -> list[tuple[str, str]]:
    """(tab, client) of each row."""
    return [(row.tab, row.client) for row in rows]
