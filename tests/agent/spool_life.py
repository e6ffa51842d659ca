"""A scripted life of a spool, with an account of what it was given, and a plain fold of that account to compare with.

Sections are texts of parts `vbucket=text;`, so that an undivided one can be split, and a body shows what it holds; a
part counts as many events as its text has letters.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from attrs import define, evolve, field, frozen

from taba.agent.holdings import Holdings
from taba.agent.records import (
    Aside,
    Commit,
    LaneKey,
    LaneNumbers,
    Record,
    Seal,
    Section,
    Snapshot,
)
from taba.agent.recovery import Recovered
from taba.agent.spool import Spool, SpoolLimits
from tests.agent.spool_folder import TracedFolder, checksum, error

A, B, C, D = "a" * 32, "b" * 32, "c" * 32, "d" * 32  # incarnations
ONE, TWO = "01" * 16, "02" * 16  # instances
CLUSTER = "ee" * 16
NONE = LaneNumbers(0, 0, 0)


def split(data: bytes) -> list[tuple[int, int, bytes]]:
    """(vbucket, events, bytes) of each part of a section."""
    parts = []
    for part in data.split(b";")[:-1]:
        vbucket, _, text = part.partition(b"=")
        parts.append((int(vbucket), len(text), part + b";"))
    return parts


def section(vbucket: int, *parts: bytes) -> Section:
    """A section with these parts."""
    data = b"".join(part + b";" for part in parts)
    return Section(vbucket, sum(events for _, events, _ in split(data)), data)


@frozen
class HeldBatch:
    """What a batch is, for comparison."""

    after: int
    before: int
    events: int
    sealed: float
    body: bytes


@define
class Account:
    """The plain fold of records."""

    incarnation: str = ""
    cluster: str | None = None
    next_commit: int = 1
    instances: dict[str, int] = field(factory=dict)
    ledger: Counter[str] = field(factory=Counter)
    lanes: dict[LaneKey, LaneNumbers] = field(factory=dict)
    held: dict[tuple[LaneKey, int], HeldBatch] = field(factory=dict)
    waiting: dict[LaneKey, list[tuple[int, float, int, bytes]]] = field(factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Account:
        """What these records say."""
        account = cls()
        for record in records:
            account.take(record)
        return account

    def take(self, record: Record) -> None:
        """The next record."""
        if isinstance(record, Commit):
            self.next_commit = record.number + 1
            self.instances.update(record.instances)
            self.ledger.update(record.ledger)
            for each in record.sections:
                parts = [(each.vbucket, each.events, each.data)] if record.divided else split(each.data)
                for vbucket, events, data in parts:
                    waits = self.waiting.setdefault((record.incarnation, vbucket), [])
                    waits.append((record.number, record.time, events, data))
        elif isinstance(record, Seal):
            waits = self.waiting.pop(record.key)
            taken = [part for part in waits if part[0] <= record.last_commit]
            if taken != waits:
                self.waiting[record.key] = waits[len(taken) :]
            lane = self.lanes.get(record.key, NONE)
            body = b"".join(data for *_, data in taken)
            self.lanes[record.key] = LaneNumbers(record.seq, lane.events + record.events, record.seq)
            batch = HeldBatch(lane.follows, lane.events, record.events, record.sealed, body)
            self.held[record.key, record.seq] = batch
        elif isinstance(record, Aside):
            self._aside(record)
        else:
            self.incarnation, self.cluster = record.incarnation, record.cluster

    def _aside(self, aside: Aside) -> None:
        self.ledger["refused." + aside.reason] += aside.events
        del self.held[aside.key, aside.seq]
        if aside.pass_over:
            lane = self.lanes[aside.key]
            follows = aside.after if lane.follows == aside.seq else lane.follows
            self.lanes[aside.key] = LaneNumbers(lane.given, lane.events - aside.events, follows)
            after = aside.after
            for (key, seq), batch in sorted(self.held.items()):
                if key == aside.key and seq > aside.seq:
                    self.held[key, seq] = evolve(batch, before=batch.before - aside.events, after=after)
                    after = seq

    def seal(self, key: LaneKey, through: int = 1 << 60) -> Seal:
        """The next seal of a lane."""
        taken = [part for part in self.waiting[key] if part[0] <= through]
        lane = self.lanes.get(key, NONE)
        body = b"".join(data for *_, data in taken)
        return Seal(
            *key,
            seq=lane.given + 1,
            after=lane.follows,
            before=lane.events,
            events=sum(events for _, _, events, _ in taken),
            sealed=min(time for _, time, *_ in taken),
            checksum=checksum(body),
            first_commit=taken[0][0],
            last_commit=taken[-1][0],
            length=len(body),
        )


def account_of(spool: Spool, recovered: Recovered) -> Account:
    """What a spool gave back, in the same form. The spool must have started its segment."""
    snapshot = recovered.snapshot
    account = Account(snapshot.incarnation, snapshot.cluster, snapshot.next_commit)
    account.instances = {instance: number for instance, (number, _) in snapshot.instances.items()}
    account.ledger.update(snapshot.ledger)
    account.lanes = dict(snapshot.lanes)
    batches = [(key, batch) for key, held in recovered.batches.items() for batch in held]
    bodies = spool.read_batches([(key[1], batch.held()) for key, batch in batches], split)
    for (key, batch), body in zip(batches, bodies, strict=True):
        seal = batch.seal
        said = HeldBatch(seal.after, seal.before, seal.events, seal.sealed, b"DAMAGED" if body is None else body)
        account.held[key, seal.seq] = said
    for piece in recovered.undivided:
        for vbucket, events, data in split(spool.read([piece.extent])):
            key = (piece.incarnation, vbucket)
            if piece.commit > recovered.through.get(key, 0):
                account.waiting.setdefault(key, []).append((piece.commit, piece.time, events, data))
    for key, pieces in recovered.waiting.items():
        for piece in pieces:
            data = spool.read([piece.extent])
            account.waiting.setdefault(key, []).append((piece.commit, piece.time, piece.events, data))
    return account


@frozen
class Mark:
    """After `at` steps: so many records were durable, so many given, and these batches released."""

    at: int
    durable: int
    given: int
    released: frozenset[tuple[LaneKey, int]]


@define(eq=False)
class Life:
    """One life of a spool, in a traced folder. Its verbs keep the account."""

    folder: TracedFolder = field(factory=TracedFolder)
    limits: SpoolLimits = field(factory=SpoolLimits)
    spool: Spool = field(init=False)
    holdings: Holdings = field(factory=Holdings)
    records: list[Record] = field(factory=list)
    durable: int = 0
    released: set[tuple[LaneKey, int]] = field(factory=set)
    marks: list[Mark] = field(factory=list)
    incarnation: str = A
    cluster: str | None = CLUSTER

    def __attrs_post_init__(self) -> None:
        self.spool = Spool(self.folder, checksum, self.limits)

    # -- the account

    def mark(self) -> None:
        """Note what is known by now."""
        mark = Mark(len(self.folder.trace), self.durable, len(self.records), frozenset(self.released))
        self.marks.append(mark)

    def account(self) -> Account:
        """What all records say."""
        return Account.of(self.records)

    def _synced(self) -> None:
        for record in self.records[self.durable :]:
            if isinstance(record, Commit):
                self.holdings.add(record)
            elif isinstance(record, Seal):
                self.holdings.seal(record)
        self.durable = len(self.records)
        self.mark()

    # -- verbs

    def start(self, incarnation: str, cluster: str | None = CLUSTER) -> Recovered:
        """Open, and start the first segment."""
        recovered = self.spool.open()
        self.holdings = recovered.holdings
        self.turn(incarnation, cluster, recovered.snapshot)
        return recovered

    def turn(self, incarnation: str, cluster: str | None = CLUSTER, snapshot: Snapshot | None = None) -> None:
        """A new segment."""
        if snapshot is None:
            self.sync()
        snapshot = evolve(
            snapshot or self.spool.snapshot(), incarnation=incarnation, cluster=cluster, vbuckets=8 if cluster else 0
        )
        snapshot = self.holdings.trim(snapshot)
        self.records.append(snapshot)
        self.mark()
        self.spool.start_segment(snapshot)
        self.incarnation, self.cluster = incarnation, cluster
        self._synced()

    def give(self, *records: Record) -> None:
        """Write records."""
        self.records += records
        self.mark()
        self.spool.write(records)

    def commit(self, *sections: Section, divided: int = 8, **noted: Mapping[str, int]) -> Commit:
        """A commit with the next number."""
        number = self.account().next_commit
        commit = Commit(
            number,
            self.incarnation,
            1000.0 + number,
            noted.get("instances", {}),
            {"received": sum(each.events for each in sections), **noted.get("ledger", {})},
            sections,
            divided,
        )
        self.give(commit)
        return commit

    def seal(self, *keys: LaneKey, through: int = 1 << 60) -> None:
        """Seal lanes."""
        account = self.account()
        self.give(*(account.seal(key, through) for key in keys))

    def sync(self) -> None:
        """Make durable."""
        self.spool.sync()
        self._synced()

    def aside(self, key: LaneKey, seq: int, reason: str, pass_over: bool) -> None:
        """Set a batch aside."""
        batch = self.account().held[key, seq]
        self.give(Aside(*key, seq, reason, pass_over, batch.after, batch.events))

    def release(self, *batches: tuple[LaneKey, int]) -> None:
        """Batches are confirmed."""
        for key, seq in batches:
            self.holdings.release(*key, seq)
            self.released.add((key, seq))
        self.mark()

    def drop(self) -> int:
        """Drop what is not needed."""
        return self.spool.drop_segments(self.holdings.first_needed())

    def fail_over(self) -> None:
        """Write again what was not durable."""
        self.spool.fail_over(self.records[self.durable :])
        self._synced()

    def failing(self, step: str, number: int = errno.EIO) -> None:
        """Let a step fail, the next time."""
        self.folder.failing.setdefault(step, []).append(error(number))


def keys(vbuckets: Sequence[int], incarnation: str = A) -> list[LaneKey]:
    """Lanes of an incarnation."""
    return [(incarnation, vbucket) for vbucket in vbuckets]


def started(limits: SpoolLimits | None = None) -> Life:
    """A life whose spool has its first segment."""
    life = Life(limits=limits or SpoolLimits())
    life.start(A)
    return life
