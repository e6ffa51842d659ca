"""The lanes against a small model of a log, with every fault that their rules are for, in any order.

What is modelled: requests that are lost, delayed, doubled and delivered again much later; answers that are lost or
late; failovers to a replica that lacks the last MAX_LAG seconds; a deposed master that still answers for SENTINEL_VIEW
seconds; an agent that crashes and rebuilds its lanes from what its disk had synced; batches that become too old.
What is not: twins (scripts in test_lanes show those), WAIT (retention makes it unnecessary for exactness), bytes.
"""

from __future__ import annotations

from typing import Any

from attrs import define, evolve, field, frozen
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.lanes import Confirmed, Held, Lanes, Lost, NewIncarnation, Outgoing, SetAside
from taba.interfaces import Append, Outcome, Verdict

MAX_LAG = 30.0  # seconds; what a replica that is promoted can lack
SENTINEL_VIEW = 5.0  # seconds for which a deposed master is still believed
CONFIRM = 40.0  # more than both together
TOO_OLD = 2000.0
VBUCKETS = 2

FATES = ["answered"] * 5 + ["under way", "answer under way", "lost", "answer lost"]

Key = tuple[str, int]


# ------------------------------------------------------------------------------------------------------------ the store


@frozen
class Log:
    """What a master has: rows of lanes, the batches in order, and the count of what it lost."""

    rows: dict[Key, tuple[int, int, int]] = field(factory=dict)
    """Lane -> last number, its checksum, the events taken."""
    entries: tuple[tuple[Key, int, int], ...] = ()
    """(lane, number, checksum); a checksum names one batch for ever."""
    lost: int = 0

    def append(self, batch: Append, now: float, lineage: str) -> tuple[Log, Outcome]:
        """The judgement of IStore.append, as its docstring has it."""
        key = batch.incarnation, batch.vbucket
        last, checksum, taken = self.rows.get(key, (0, None, 0))
        verdict, reason, log = Verdict.OK, "", self
        if batch.body is None:
            verdict = Verdict.OK if batch.seq <= last else Verdict.GAP
        elif batch.seq <= last:
            verdict = Verdict.CONFLICT if batch.seq == last and batch.checksum != checksum else Verdict.OK
        elif batch.after > last:
            verdict = Verdict.GAP
        elif batch.after == last and batch.previous not in (None, checksum):
            verdict = Verdict.CONFLICT
        elif now - batch.sealed > TOO_OLD:
            verdict, reason = Verdict.REFUSED, "too old"
        else:
            last, checksum = batch.seq, batch.checksum
            log = Log(
                {**self.rows, key: (last, checksum, batch.before + batch.events)},
                (*self.entries, (key, batch.seq, batch.checksum)),
                self.lost + max(0, batch.before - taken),
            )
        return log, Outcome(batch.vbucket, batch.incarnation, batch.seq, verdict, last, checksum, lineage, reason)


@define
class Master:
    """A store that is, or was, the master; its history is what its replicas may have."""

    lineage: str
    history: list[tuple[float, Log]]
    deposed_at: float | None = None

    @property
    def log(self) -> Log:
        return self.history[-1][1]

    def answer(self, batches: tuple[Append, ...], now: float) -> list[Outcome]:
        outcomes = []
        for batch in batches:
            log, outcome = self.log.append(batch, now, self.lineage)
            if log is not self.log:
                self.history.append((now, log))
            outcomes.append(outcome)
        if self.deposed_at is not None and now > self.deposed_at + SENTINEL_VIEW:
            return [evolve(outcome, verdict=Verdict.MOVED) for outcome in outcomes]
        return outcomes

    def promotable(self, now: float) -> list[Log]:
        """What a replica may have that lacks nothing older than MAX_LAG."""
        kept = [
            log for (_, log), (then, _) in zip(self.history, self.history[1:], strict=False) if then > now - MAX_LAG
        ]
        return [*kept, self.log]


# ------------------------------------------------------------------------------------------------------------ the agent


@define
class Numbers:
    """What whoever seals keeps of a lane."""

    given: int = 0
    follows: int = 0
    so_far: int = 0

    def set_aside(self, batch: Held, pass_over: bool) -> None:
        """As `SetAside` asks."""
        if pass_over:
            self.so_far -= batch.events
            self.follows = batch.after if self.follows == batch.seq else self.follows


@frozen
class Seal:
    """A record of the disk."""

    key: Key
    batch: Held


@frozen
class Aside:
    """A record of the disk."""

    key: Key
    batch: Held
    pass_over: bool


@frozen
class Request:
    """A request under way, with the bodies in it."""

    sent: list[Outgoing]
    batches: tuple[Append, ...]
    sent_at: float
    life: int


def recovered(records: list[Seal | Aside], confirmed: set[int]) -> dict[Key, tuple[list[Held], Numbers]]:
    """What a disk says about each lane."""
    lanes: dict[Key, tuple[dict[int, Held], Numbers]] = {}
    for record in records:
        held, numbers = lanes.setdefault(record.key, ({}, Numbers()))
        seq = record.batch.seq
        if isinstance(record, Seal):
            held[seq] = record.batch
            numbers.given = numbers.follows = seq
            numbers.so_far = record.batch.before + record.batch.events
            continue
        gone = held.pop(seq)
        later = sorted(number for number in held if number > seq and record.pass_over)
        for number in later:
            held[number] = evolve(held[number], before=held[number].before - gone.events)
        if later:
            held[later[0]] = evolve(held[later[0]], after=gone.after)
        numbers.set_aside(gone, record.pass_over)
    return {
        key: ([batch for batch in held.values() if batch.checksum not in confirmed], numbers)
        for key, (held, numbers) in lanes.items()
    }


# ------------------------------------------------------------------------------------------------------------ the world


class LanesMachine(RuleBasedStateMachine):
    """One agent, one shard, a bad network. Ends by healing everything and counting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.names = 0
        self.main = Master(self.name(), [(self.now, Log())])
        self.stale: Master | None = None
        self.disk: list[Seal | Aside] = []
        self.synced = 0
        self.life = 0
        self.incarnation = self.name()
        self.lanes = Lanes(CONFIRM)
        self.numbers: dict[Key, Numbers] = {}
        self.network: list[Request] = []
        self.past: list[Request] = []
        self.answers: list[tuple[Request, list[Outcome]]] = []
        self.batches: dict[int, Held] = {}  # checksum -> batch, of all that were ever handed to the lanes
        self.confirmed: set[int] = set()
        self.aside: set[int] = set()
        self.restored = False

    def name(self) -> str:
        self.names += 1
        return f"{self.names:032x}"

    # -- the agent at work

    def seal(self, vbucket: int, events: int) -> None:
        key = self.incarnation, vbucket
        numbers = self.numbers.setdefault(key, Numbers())
        self.names += 1
        batch = Held(numbers.given + 1, numbers.follows, numbers.so_far, events, self.now, self.names, 10)
        numbers.given = numbers.follows = batch.seq
        numbers.so_far += events
        self.disk.append(Seal(key, batch))

    @rule(vbuckets=st.lists(st.integers(0, VBUCKETS - 1), min_size=1, max_size=3), synced=st.integers(0, 4))
    def work(self, vbuckets: list[int], synced: int) -> None:
        """Seal some batches; as a rule they are synced at once."""
        for vbucket in vbuckets:
            self.seal(vbucket, 1 + self.names % 3)
        if synced:
            self.sync()

    @rule()
    def sync(self) -> None:
        records, self.synced = self.disk[self.synced :], len(self.disk)
        for record in records:
            if isinstance(record, Seal):
                self.batches[record.batch.checksum] = record.batch
                self.lanes.add(*record.key, record.batch)
            else:
                self.aside.add(record.batch.checksum)
                self.lanes.noted(*record.key, self.now)

    @rule(most=st.sampled_from([1, 9, 9]), fate=st.sampled_from(FATES), stale=st.booleans())
    def exchange(self, most: int, fate: str, stale: bool) -> None:
        """Send what is due; what becomes of the request is `fate`."""
        due = self.lanes.next_due()
        sent = self.lanes.gather(self.now, 1000, most)
        assert bool(sent) == (due is not None and due <= self.now), "gather and next_due disagree"
        if not sent:
            return
        batches = tuple(evolve(each.append, body=b"x" if each.held else None) for each in sent)
        request = Request(sent, batches, self.now, self.life)
        self.past = [*self.past[-9:], request]
        if fate == "under way":
            self.network.append(request)
            return
        if fate != "lost":
            self.take(request, stale)
        if fate == "answered":
            self.receive(-1, 1)
        elif fate != "answer under way":
            self.answers = [each for each in self.answers if each[0] is not request]
            self.lanes.failed(sent, self.now)

    @rule(turns=st.integers(1, 4))
    def serve(self, turns: int) -> None:
        """Nothing goes wrong for a while: due lanes are served, and time passes until the next one is due."""
        for _ in range(turns):
            due = self.lanes.next_due()
            if due is None:
                return
            self.now = max(self.now, due)
            self.exchange(9, "answered", False)

    def take(self, request: Request, stale: bool) -> None:
        """A store judges a request, and its answer sets out."""
        master = self.stale if stale and self.stale else self.main
        self.answers.append((request, master.answer(request.batches, self.now)))

    def act(self, actions: list[Any]) -> None:
        for action in actions:
            if isinstance(action, Confirmed):
                self.confirmed.update(batch.checksum for batch in action.batches)
            elif isinstance(action, SetAside):
                assert action.reason == "too old", action
                self.disk.append(Aside((action.incarnation, action.vbucket), action.batch, action.pass_over))
                key = action.incarnation, action.vbucket
                self.numbers.setdefault(key, Numbers()).set_aside(action.batch, action.pass_over)
            elif isinstance(action, Lost):
                assert self.restored, f"no store lost anything: {action}"
            else:
                assert isinstance(action, NewIncarnation)
                raise AssertionError(f"there is no twin: {action}")

    # -- the network

    @precondition(lambda self: self.network)
    @rule(which=st.integers(0, 9), stale=st.booleans())
    def deliver(self, which: int, stale: bool) -> None:
        self.take(self.network.pop(which % len(self.network)), stale)

    @precondition(lambda self: self.answers)
    @rule(which=st.integers(0, 9), forget=st.integers(0, 3))
    def receive(self, which: int, forget: int) -> None:
        request, outcomes = self.answers.pop(which % len(self.answers))
        if request.life == self.life:
            if forget == 0:
                outcomes = outcomes[1:]
            self.act(self.lanes.answered(request.sent, outcomes, request.sent_at, self.now))

    @precondition(lambda self: self.past)
    @rule(which=st.integers(0, 19))
    def time_out(self, which: int) -> None:
        """The agent gives a request up; it, or its answer, may still be under way, and the answer is not heard."""
        request = self.past[which % len(self.past)]
        self.answers = [each for each in self.answers if each[0] is not request]
        if request.life == self.life:
            self.lanes.failed(request.sent, self.now)

    @precondition(lambda self: self.past)
    @rule(which=st.integers(0, 19))
    def deliver_again(self, which: int) -> None:
        self.main.answer(self.past[which % len(self.past)].batches, self.now)

    # -- time and faults

    @rule(seconds=st.sampled_from([1.0, 3.0, 10.0, CONFIRM / 2, CONFIRM + 1, CONFIRM * 1.2, CONFIRM * 1.2]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.names % 8 == 0)
    @rule()
    def sleep(self) -> None:
        self.now += TOO_OLD * 2 / 3

    @rule(which=st.sampled_from([0, 0, 0, 1, 2, -1]))
    def fail_over(self, which: int) -> None:
        """A replica is promoted: as a rule the one that lacks the most."""
        logs = self.main.promotable(self.now)
        self.main.deposed_at = self.now
        self.stale = self.main
        self.main = Master(self.name(), [(self.now, logs[which % len(logs)])])

    @precondition(lambda self: self.names % 4 == 0)
    @rule(kept=st.integers(0, 9))
    def crash(self, kept: int) -> None:
        """The agent dies; of what was not synced any beginning stays. What stays is synced by the restart."""
        self.disk = self.disk[: self.synced + kept]
        self.synced = len(self.disk)
        self.aside = {record.batch.checksum for record in self.disk if isinstance(record, Aside)}
        for record in self.disk:
            if isinstance(record, Seal):
                self.batches[record.batch.checksum] = record.batch
        self.life += 1
        self.incarnation = self.name()
        self.lanes = Lanes(CONFIRM)
        self.numbers = {}
        for key, (held, numbers) in recovered(self.disk, self.confirmed).items():
            self.numbers[key] = numbers
            self.lanes.recover(*key, held, given=numbers.given, follows=numbers.follows, so_far=numbers.so_far)

    # -- the end

    def teardown(self) -> None:
        """Heal; let everything come to rest; count."""
        self.stale = None
        for _ in range(400):
            self.sync()
            while self.network:
                self.deliver(0, False)
            while self.answers:
                self.receive(0, 1)
            for request in self.past:
                if request.life == self.life:
                    self.lanes.failed(request.sent, self.now)
            self.exchange(100, "under way", False)
            due = self.lanes.next_due()
            if not self.network and due is None and self.synced == len(self.disk):
                break
            if not self.network and due is not None:
                self.now = max(self.now, due)
        self.check()

    def check(self) -> None:
        in_log = [checksum for _, _, checksum in self.main.log.entries]
        assert len(in_log) == len(set(in_log)), "a batch is in the log twice"
        totals = self.lanes.totals()
        assert totals.batches == totals.events == totals.bytes == 0, f"does not come to rest: {totals}"
        assert self.lanes.next_due() is None
        missing = self.batches.keys() - set(in_log) - self.aside
        if not self.restored:
            assert not missing, "a batch is missing"
            assert self.main.log.lost == 0, "the store counts as lost what is not lost"
        assert not self.aside & set(in_log), "what was set aside is in the log"


class RestoredMachine(LanesMachine):
    """Beside all that, the store once gets an old backup: only what was confirmed before may be missing."""

    @initialize()
    def begin(self) -> None:
        self.confirmed_before: set[int] = set()
        self.backup = self.main.log

    @precondition(lambda self: self.names % 8 == 0)
    @rule()
    def back_up(self) -> None:
        self.backup = self.main.log

    @precondition(lambda self: self.confirmed and not self.restored)
    @rule()
    def restore(self) -> None:
        self.restored = True
        self.confirmed_before = set(self.confirmed)
        self.stale = None
        self.main = Master(self.name(), [(self.now, self.backup)])

    def check(self) -> None:
        super().check()
        in_log = {checksum for _, _, checksum in self.main.log.entries}
        missing = self.batches.keys() - in_log - self.aside
        assert not missing - self.confirmed_before, "a batch is missing although the spool held it"
        events = sum(self.batches[checksum].events for checksum in missing)
        assert self.main.log.lost <= events, "the store counts as lost more than is missing"


SETTINGS = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


class LanesModelTests(SynchronousTestCase):
    """Whatever happens between an agent and a store, every batch ends in the log exactly once."""

    def test_every_batch_once(self) -> None:
        """Lost, late and doubled messages, failovers and crashes neither lose a batch nor bring one twice."""
        run_state_machine_as_test(LanesMachine, settings=SETTINGS)

    def test_old_backup(self) -> None:
        """After an old backup was restored only what had been confirmed before is missing, and is counted as lost."""
        run_state_machine_as_test(RestoredMachine, settings=SETTINGS)
