"""The seams of Taba: what stores, folders and endpoints promise, in one place.

Implementations say `@implementer(...)` and pass the contract suite of the interface in tests/contracts/. The frozen
classes here are what travels across the seams. Times are seconds since 1970 (wall time) unless said to be monotonic;
incarnations, cluster ids and lineages are 32 hexadecimal digits; checksums are CRC-32C.

All methods that return a Deferred must be called in the reactor thread, and their Deferreds fire there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from attrs import field, frozen
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

RETIRED = " "
"""The client under which a tab's retired State is kept: the States that were pruned, merged. No client id has a
blank.
"""


# --------------------------------------------------------------------------------------------------------- handlers


class Style(Enum):
    """How a State is to be shown."""

    TEXT = "text/plain"
    JSON = "application/json"
    DETAILED = "application/json-detailed"


class IHandler(Interface):
    """The code of one Type. Stateless: States and Partials are byte strings, b"" is the empty State; nothing here
    reads a clock.

    Laws: fold(s, [p, q]) == fold(fold(s, [p]), [q]); reduce is associative and commutative with b"" as identity;
    where `running_aggregate` holds, fold(reduce(s), [p]) == reduce(s with p folded into one of them). Malformed bytes
    raise `taba.errors.CodecError`. May be called in any thread.
    """

    name = Attribute("The Type's name, as events carry it.")
    kind = Attribute("How its events travel: native.RAW (as they came), or the native kind whose Partials it folds.")
    running_aggregate = Attribute("Whether a tab's Aggregate is a fold of all its Partials: be keeps it running.")
    version = Attribute("The version that its States are written in.")

    def fold(state: bytes, partials: Sequence[bytes]) -> bytes:
        """The State after folding Partials, in their order."""

    def reduce(states: Sequence[bytes]) -> bytes:
        """The State of several clients or tabs as one."""

    def render(state: bytes, time: float, style: Style) -> str:
        """The State as it is at `time`, on one line; valid JSON where `style` asks for it."""

    def expired(state: bytes, time: float) -> bool:
        """Whether nothing of the State can be seen any more at `time` or later, so that it may be pruned."""

    def upgrade(state: bytes) -> bytes:
        """The State in the present version; the same bytes when it is in it."""

    def newest(state: bytes) -> float:
        """The time of the newest event in the State, rounded down to what the State keeps of it; 0.0 for the empty one.
        """

    def merge(older: bytes, newer: bytes) -> bytes:
        """Two States of the SAME client as one, as if their events had been folded into one State. Where `reduce` does
        that, it is `reduce([older, newer])`; a Gauge, of which a client has one value, keeps the later one.
        """


# ---------------------------------------------------------------------------------------------------------- append


@frozen
class Append:
    """One batch of a lane on its way to a log, or, with `body` None, a look at the lane's last number."""

    vbucket: int
    incarnation: str
    seq: int
    """The batch's number, from 1; of a look the highest number that awaits confirmation."""
    after: int = 0
    """The number this batch follows: seq - 1, unless numbers between were set aside or are lost."""
    previous: int | None = None
    """The checksum of the batch numbered `after`, or None where the agent no longer holds that batch."""
    before: int = 0
    """The number of events that the lane gave before this batch."""
    events: int = 0
    sealed: float = 0.0
    """Wall time at which the oldest events of the batch were committed by the agent."""
    checksum: int = 0
    body: bytes | None = field(default=None, repr=False)


class Verdict(Enum):
    """What a log says to an `Append`."""

    OK = "ok"
    """The batch is in the log, now or from before; of a look: its number is not above the last."""
    GAP = "gap"
    """The batch follows a number that the log does not have: go back to the one after `last`."""
    CONFLICT = "conflict"
    """The log has other events under a number of this lane: somebody else uses it, too."""
    MOVED = "moved"
    """The vbucket is served elsewhere, or not now: ask again."""
    REFUSED = "refused"
    """The batch will never be taken; `reason` says why ("too old")."""


@frozen
class Outcome:
    """The answer of a log to one `Append`."""

    vbucket: int
    incarnation: str
    seq: int
    verdict: Verdict
    last: int
    """The last number that the log has of this lane, 0 for none."""
    checksum: int | None
    """The checksum of that one; None when there is none."""
    lineage: str
    """The unbroken history of the store that says so."""
    reason: str = ""
    appended: bool = False
    """Whether this very call put the batch into the log (False for duplicates and looks)."""


@frozen
class LogEntry:
    """One batch in the log of a vbucket."""

    vbucket: int
    id: int
    """Dense, from 1, rising; numbers come again only after a rollback, under another lineage."""
    appended: float
    """Wall time of the store at the append; be judges by it what is in the future."""
    events: int
    """How many events the batch says it has."""
    lineage: str
    """The history of the store that this was read from: it follows only what was loaded under the same."""
    body: bytes = field(repr=False)


# ------------------------------------------------------------------------------------------------------ checkpoint


@frozen
class Position:
    """How far a vbucket is folded. Every checkpoint raises `commits`, also one that folds nothing."""

    folded: int
    """The id of the last log entry that the States contain."""
    commits: int


@frozen
class Lease:
    """The right of `owner` to checkpoint `vbucket`, until it expires; every grant has a higher epoch."""

    vbucket: int
    owner: str
    epoch: int


@frozen
class Loaded:
    """What a be needs to go on with a vbucket."""

    vbucket: int
    position: Position
    lineage: str
    types: Mapping[str, str]
    """Tab -> Type, of every tab of the vbucket."""
    ledger: Mapping[str, int]
    """The row as the last checkpoint wrote it, without the store's own lines."""


@frozen
class SetAside:
    """A Partial that could not be folded, kept (bounded) to be folded again."""

    reason: str
    tab: str
    client: str
    type: str
    events: int
    partial: bytes = field(repr=False)
    vbucket: int = -1
    """Whose log it was in; given by the store."""
    id: str = ""
    """Its name in the store, for ever, also where the store went back to an earlier moment: no blank, at most 64
    characters; given by the store.
    """


@frozen
class Checkpoint:
    """The changed States of a vbucket with the position they stand for: written all, or not at all.

    It is fenced when `lease` is not held any more, and refused when `expected` is not the position in the store,
    `lineage` not the store's, or `position` beyond the log. Values of None delete. `ledger` replaces the whole row, but
    for the store's own lines. `position` must not be before `expected` and must have more commits: anything else fails
    with LocalProtocolError.
    """

    lease: Lease
    lineage: str
    expected: Position
    position: Position
    states: Mapping[tuple[str, str], bytes | None] = field(factory=dict, repr=False)
    """(tab, client) -> State; the client RETIRED holds the retired State."""
    known: Sequence[tuple[str, Sequence[tuple[str, bytes]]]] = field(factory=tuple, repr=False)
    """States that the store has already, in other words: (tab, its (client, State) pairs), each tab once, none of them
    in `states`. A store need not look for whether they are there.
    """
    aggregates: Mapping[str, bytes | None] = field(factory=dict, repr=False)
    types: Mapping[str, str | None] = field(factory=dict)
    ledger: Mapping[str, int] = field(factory=dict)
    set_aside: Sequence[SetAside] = ()
    renames: Mapping[str, str] = field(factory=dict)
    """Tab -> tab of the same vbucket, that there is not yet: its Type, States, retired State and Aggregate go there,
    after everything else was written; one after the other, in the order of the mapping. Costs the same however many
    States there are.

    What there is nothing of is passed over. The new name must be free: a checkpoint that names it elsewhere (in its
    States, Aggregates or Types), or gives it to two tabs, or where it has a Type, a State or an Aggregate in the store,
    fails with LocalProtocolError, and nothing of it is written. A rename before it may have freed the name.
    """
    refolded: Sequence[str] = ()
    """The ids of Partials that this vbucket had set aside and that are not set aside any more; those that are not there
    are passed over.
    """

    @property
    def changes(self) -> int:
        """How many States it writes or deletes."""
        return len(self.states) + sum(len(states) for _, states in self.known)


class Written(Enum):
    """What became of a checkpoint. Only DONE changed anything; after the others the vbucket is to be loaded again."""

    DONE = "done"
    FENCED = "fenced"
    """The lease is not held any more: it expired, was given back, or was granted anew."""
    STALE = "stale"
    """Position or lineage differ: somebody wrote, or the store was rolled back."""


# ---------------------------------------------------------------------------------------------------------- queries


@frozen
class Cluster:
    """Who the store is. Kept with the data; never changes."""

    id: str
    vbuckets: int
    lineage: str
    """Of this opening of the store."""
    durability: str
    """`memory`, `replicated` or `fsynced`: what an ok of `append` promises."""


@frozen
class Selection:
    """Which rows a query reads: None means all. Names that do not exist select nothing."""

    tabs: frozenset[str] | None = None
    clients: frozenset[str] | None = None
    vbucket: int | None = None
    """Where the tabs are: a store need not look for them elsewhere, and may pass over what it has of them there."""


@frozen
class StateRow:
    """One State, as a query reads it."""

    tab: str
    client: str
    type: str
    state: bytes = field(repr=False)


@frozen
class AggregateRow:
    """One running Aggregate, as a query reads it."""

    tab: str
    type: str
    aggregate: bytes = field(repr=False)


@frozen
class LogDepth:
    """What waits in the log of a vbucket."""

    vbucket: int
    entries: int
    bytes: int
    oldest: float
    """Wall time of the oldest waiting entry's append; 0.0 when none waits."""


class IStore(IService):
    """Logs and States of the vbuckets. Atomic where said, durable when the Deferred fires (as `Cluster.durability`
    says).

    Any method may fail with `StoreUnavailable`; then nothing is known about what was asked: it may have been done, or
    may still be. Callers append again (duplicates are recognised), and load again after a failed checkpoint. It is a
    Twisted service too: `startService` may return a Deferred, `stopService` returns one that fires when nothing is
    under way and the data is closed.
    """

    cluster = Attribute("The `Cluster`, from the end of startService on.")

    def append(batches: Sequence[Append]) -> Deferred[list[Outcome]]:
        """Append what the rules of lanes allow, and answer for each batch, in order. A batch and what is remembered of
        its lane are one atomic step; a call is one in a store of one process, and several where there are shards.

        For a lane with last number `last` (0 when unknown): after <= last < seq appends and remembers seq, its
        checksum and before + events (what `before` exceeds the events remembered by is counted as `lost` in the
        vbucket's ledger); with after == last and a `previous` that differs from the remembered checksum it is
        CONFLICT instead; and when sealed more than DEDUP_DAYS - 1 days before now it is REFUSED, "too old". seq <=
        last is OK, a duplicate (CONFLICT when seq == last and the checksums differ), and keeps the lane's row from
        being pruned. after > last is GAP. A look is OK when seq <= last, else GAP; it changes nothing.

        REFUSED, too, is what belongs to no vbucket of the cluster, and a batch that does not follow a smaller number,
        from 0. `taba.store.judge` has these rules as functions.
        """

    def read(after: Mapping[int, int], max_bytes: int, wait: float) -> Deferred[list[LogEntry]]:
        """The entries of each vbucket of `after` with an id above the given one, ascending by id, up to about
        `max_bytes` in all.

        At least one entry, when there is any. When there is none, fires when one is appended, or after `wait` seconds
        with []. At most one such call waits at a time for a process. Cancelling it is allowed.
        """

    def acquire(vbuckets: Sequence[int], owner: str, ttl: float) -> Deferred[dict[int, Lease]]:
        """Grant leases for `ttl` seconds on those that nobody else holds; the others are missing from the answer.

        Whoever asks again for what it holds gets a new grant, with a higher epoch.
        """

    def renew(leases: Sequence[Lease], ttl: float) -> Deferred[set[int]]:
        """Prolong leases; answers with the vbuckets that are still held. A checkpoint prolongs its lease as well."""

    def release(leases: Sequence[Lease]) -> Deferred[None]:
        """Give leases back, where they are still held."""

    def load(lease: Lease) -> Deferred[Loaded]:
        """What the owner of `lease` needs to go on; whether the lease is held is not looked at.

        No checkpoint under an earlier lease is written after it. This method, `states` and `aggregates` fail with
        `NotHere` for a vbucket that the store does not have.
        """

    def states(vbucket: int, keys: Sequence[tuple[str, str]]) -> Deferred[dict[tuple[str, str], bytes]]:
        """The States of (tab, client) pairs of one vbucket; those that do not exist are missing."""

    def aggregates(vbucket: int, tabs: Sequence[str]) -> Deferred[dict[str, bytes]]:
        """The running Aggregates of tabs of one vbucket; those that do not exist are missing."""

    def checkpoint(checkpoints: Sequence[Checkpoint]) -> Deferred[list[Written]]:
        """Write each checkpoint, in one atomic step each, and drop its log up to the new position. Answers in order.

        Where one fails with LocalProtocolError for a rename, the others of the call may have been written, or not.
        """

    def tabs(wanted: frozenset[str] | None = None) -> Deferred[dict[str, str]]:
        """Tab -> Type, of all tabs, or of those of `wanted` that there are."""

    def clients(tabs: frozenset[str] | None) -> Deferred[set[str]]:
        """The clients with a State, in any of `tabs` (None: at all); RETIRED is none of them."""

    def each_state(
        selection: Selection, consume: Callable[[Sequence[StateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """Give the selected States to `consume`, page by page, ascending by (tab, client); RETIRED only where
        `selection.clients` is None.

        When `consume` returns a Deferred, the next page waits for it; an error of it ends the query with that error.
        What a page has of one tab is of one moment; the rest of it, and other pages, may be of others.
        """

    def each_aggregate(
        selection: Selection, consume: Callable[[Sequence[AggregateRow]], Deferred[Any] | None]
    ) -> Deferred[None]:
        """The running Aggregates of `selection.tabs`, page by page, ascending by tab. `selection.clients` must be
        None.
        """

    def ledger() -> Deferred[dict[str, int]]:
        """The sum of all vbuckets' ledger rows, line by line, with the store's own lines: `lost`, `flushed`."""

    def depth() -> Deferred[list[LogDepth]]:
        """What waits, of every vbucket with a log that is not empty."""

    def aside(limit: int) -> Deferred[list[SetAside]]:
        """The newest Partials that were set aside, at most `limit`, the newest first."""

    def aside_of(vbucket: int, ids: Sequence[str]) -> Deferred[list[SetAside]]:
        """Those of `ids` that a vbucket set aside and that are still there, in the order of `ids`."""

    def flush() -> Deferred[int]:
        """Drop everything that waits in the logs, vbucket by vbucket, each in one atomic step: the position moves to
        the end of the log, with one commit more, and the events go to the store's own ledger line `flushed`. Answers
        with how many events that were. The lanes' numbers stay. Owners notice by their next checkpoint, which is STALE.

        A vbucket whose log is empty stays as it is. When it fails, some may have been flushed; the ledger says so.
        """

    def publish(member: str, facts: Mapping[str, Any], ttl: float) -> Deferred[None]:
        """Let `members` name this process, with facts that JSON can hold, for `ttl` seconds; a ttl of 0 takes it back.

        A hint, which nothing that must be right rests on: a store that crashes or goes back may forget it, or bring it
        back, until it is published again or its time is over. A store of one process names that process only.
        """

    def members() -> Deferred[dict[str, Mapping[str, Any]]]:
        """The processes that published themselves and have not expired, by name."""

    def prune(now: float) -> Deferred[int]:
        """Drop what is known of lanes idle for DEDUP_DAYS; answers how many."""


# ------------------------------------------------------------------------------------------------------------- disk


class IAppendFile(Interface):
    """A file that only grows. Used by one thread at a time."""

    def write(data: bytes) -> None:
        """Append all of `data`, or raise OSError; after an error the tail of the file is unknown."""

    def sync() -> None:
        """Make everything written durable (fdatasync), or raise OSError; after an error the file must not be used
        again.
        """

    def size() -> int:
        """The number of bytes written, those before opening included."""

    def close() -> None:
        """Close without making durable. Idempotent."""


class IFolder(Interface):
    """One folder of one process. All methods block, may be called in any thread, and raise OSError."""

    path = Attribute("Its path, for messages.")

    def names() -> list[str]:
        """The names of the files in it, sorted."""

    def open_append(name: str) -> IAppendFile:
        """Open a file for appending, made when it is not there."""

    def read(name: str, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes of a file from `offset` on, at most `length`."""

    def remove(name: str) -> None:
        """Remove a file."""

    def rename(old: str, new: str) -> None:
        """Give a file another name, replacing what had that name."""

    def sync() -> None:
        """Make the making, renaming and removing of files durable."""

    def lock() -> None:
        """Take the folder for this process, for as long as it lives; raises `taba.errors.FolderLocked`."""

    def unlock() -> None:
        """Give it back. Idempotent."""

    def free_bytes() -> int:
        """The bytes that the disk still has room for."""

    def database(name: str) -> sqlite3.Connection:
        """A connection to the SQLite database of that name (made when missing), usable from any one thread at a time,
        in autocommit mode.
        """
