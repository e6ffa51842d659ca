"""What an agent holds between a request and its commit: the accumulator, the numbers of client batches, and who waits
for what. Pure.

Invariants: `apply` is one step, so that the number of a batch and its events enter the same commit, whatever comes
between the chunks of other requests; a duplicate is answered only after the commit that holds the first one; an
instance is told to its client only after the commit that holds it.

Commits are numbered. `cut` closes the open one; from then on its content never changes, and it is written, again if
need be, until it is durable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum

from attrs import define, field, frozen

from taba.agent.unsent import Unsent, lines_of
from taba.errors import SpoolFull
from taba.native import Accumulator, Limits, Scratch

SPARES = 8
"""So many scratches are kept for later requests,"""
SPARE_SHARE = 64
"""each with this part of the memory that the agent may use, or less."""
MAX_INSTANCES = 100_000
"""So many instances are kept; no more are opened."""


@frozen
class BatchNumber:
    """What `Taba-Batch` says: batch 0 opens an instance and names none."""

    instance: str | None
    number: int


class Applied(Enum):
    """What became of a request."""

    COUNTED = "counted"
    DUPLICATE = "duplicate"
    UNKNOWN = "unknown"
    """Its instance is not known here: nothing was applied."""


@frozen
class Receipt:
    """The result of `Intake.apply`: answer with it once the commit numbered `commit` is durable."""

    applied: Applied
    commit: int
    instance: str | None = None
    """Of batch 0: the instance that was opened."""


@define
class Instance:
    """What is kept of a client's instance."""

    last: int
    commit: int
    """The commit that holds the batch numbered `last`."""
    used: float


@define
class OpenCommit:
    """What has been applied since the last cut."""

    number: int
    accumulator: Accumulator = field(factory=Accumulator)
    instances: dict[str, int] = field(factory=dict)
    ledger: Counter[str] = field(factory=Counter)
    opened: float | None = None
    """Wall time of the first request in it; None while it is empty."""
    memory: int = 0
    """Bytes that its accumulator held when it was cut."""
    events: int = 0
    """Events that were accepted, when it was cut."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        return self.opened is None


@define
class Intake:
    """The intake of one agent. `next_commit` goes on from the spool's; `instances` are those the spool knows, as
    (last number, time last used).
    """

    kinds: Mapping[str, int]
    new_id: Callable[[], str]
    max_memory: int
    max_clock_skew: float
    next_commit: int = 1
    instances: dict[str, Instance] = field(factory=dict)
    durable: int = 0
    """All commits up to this one are durable."""
    next_stamp: int = 0
    open: OpenCommit = field(init=False)
    in_flight: int = 0
    """Bytes of memory of commits that are cut but not yet durable."""
    receiving: int = 0
    """Bytes that are held of requests which are still coming in."""
    spares: list[Scratch] = field(factory=list)
    """Scratches of requests that are over."""
    spare_accumulator: Accumulator | None = None
    """The accumulator of a commit that is durable, emptied."""
    unsent_tabs: set[str] = field(factory=set)
    """The tabs of which the ledger tells by name what senders dropped; see `taba.agent.unsent`."""

    def __attrs_post_init__(self) -> None:
        self.open = OpenCommit(self.next_commit)
        self.durable = self.next_commit - 1

    @classmethod
    def recovered(
        cls, instances: Mapping[str, tuple[int, float]], next_commit: int, **settings: object
    ) -> Intake:
        """The intake after a restart: all that the spool gave back is durable."""
        known = {name: Instance(last, next_commit - 1, used) for name, (last, used) in instances.items()}
        return cls(next_commit=next_commit, instances=known, **settings)  # type: ignore[arg-type]

    def begin(self, now: float, form: type[Scratch] = Scratch) -> Scratch:
        """The scratch for a request of a form (protocol 1, columns) that begins at wall time `now`, by the servers'
        clock.

        It may take half of the memory: a body that needs more is refused for good, others wait until there is room.
        """
        newest = now + self.max_clock_skew
        for i, spare in enumerate(self.spares):
            if type(spare) is form and spare.types is self.kinds:
                del self.spares[i]
                spare.renew(newest)
                return spare
        return form(Limits(newest=newest, max_memory=self.max_memory // 2), self.kinds)

    def over(self, scratch: Scratch) -> None:
        """The request of a scratch is over, and nobody will look at it any more."""
        if scratch.types is self.kinds and scratch.memory() <= self.max_memory // SPARE_SHARE:
            self.spares = [scratch, *self.spares[: SPARES - 1]]

    def memory(self) -> int:
        """Bytes held: the open commit, those on their way to the disk, and bodies that are coming in."""
        return self.open.accumulator.summary()[2] + self.in_flight + self.receiving

    def apply(
        self,
        scratch: Scratch | None,
        batch: BatchNumber | None,
        unsent: Unsent,
        now: float,
    ) -> Receipt:
        """ONE step: look at the number, merge the scratch, note the number and the counts.

        `unsent` is what the sender says it dropped: reason -> events, or tab -> events. SpoolFull when there is no
        room; then nothing was applied.
        """
        if batch is not None and batch.instance is None:
            if len(self.instances) >= MAX_INSTANCES:
                raise SpoolFull("The agent knows too many clients' instances; idle ones are forgotten in time.")
            instance = self.new_id()
            self._note(instance, 0, now)
            return Receipt(Applied.COUNTED, self.open.number, instance)
        if batch is not None:
            known = self.instances.get(batch.instance or "")
            if known is None:
                return Receipt(Applied.UNKNOWN, 0)
            if batch.number <= known.last:
                known.used = now
                return Receipt(Applied.DUPLICATE, known.commit)
        if self.memory() > self.max_memory:
            raise SpoolFull("The agent's memory is full of events that are not yet on disk.")
        if scratch is not None:
            self._merge(scratch, now)
        for line, count in lines_of(unsent, self.unsent_tabs):
            self.open.ledger[line] += count
        if batch is not None and batch.instance is not None:
            self._note(batch.instance, batch.number, now)
        return Receipt(Applied.COUNTED, self.open.number)

    def _merge(self, scratch: Scratch, now: float) -> None:
        stamp = max(self.next_stamp, int(now * 1e6))
        self.next_stamp = self.open.accumulator.merge(scratch, stamp)
        summary = scratch.summary()
        self.open.ledger["received"] += summary.accepted + sum(summary.refused.values())
        for reason, count in summary.refused.items():
            self.open.ledger[f"refused.{reason}"] += count
        self._opened(now)

    def _note(self, instance: str, number: int, now: float) -> None:
        self.instances[instance] = Instance(number, self.open.number, now)
        self.open.instances[instance] = number
        self._opened(now)

    def count(self, line: str, events: int, now: float) -> int:
        """Add to a line of the ledger; answers with the commit that will hold it."""
        self.open.ledger[line] += events
        self._opened(now)
        return self.open.number

    def _opened(self, now: float) -> None:
        if self.open.opened is None:
            self.open.opened = now

    def cut(self) -> OpenCommit:
        """Close the open commit, which is not empty, and begin the next one."""
        closed = self.open
        closed.events, _, closed.memory = closed.accumulator.summary()
        self.in_flight += closed.memory
        self.open = OpenCommit(closed.number + 1)
        if self.spare_accumulator is not None:
            self.open.accumulator, self.spare_accumulator = self.spare_accumulator, None
        return closed

    def committed(self, commit: OpenCommit) -> None:
        """`commit` is durable, and all before it. Called in the order of the cuts."""
        self.in_flight -= commit.memory
        self.durable = commit.number
        if commit.memory <= self.max_memory // SPARE_SHARE:
            commit.accumulator.clear()
            self.spare_accumulator = commit.accumulator

    def forget_idle(self, before: float) -> int:
        """Forget instances not used since wall time `before`; answers how many."""
        idle = [name for name, each in self.instances.items() if each.used < before and each.commit <= self.durable]
        for name in idle:
            del self.instances[name]
        return len(idle)
