"""A spool full of what was taken before the first topology is sent a few MiB at a time, each event once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba.agent import backlog, sealing
from taba.agent.committer import Committer
from taba.agent.held import Held
from taba.agent.holdings import Holdings
from taba.agent.intake import Intake
from taba.agent.records import DAMAGED_LINE, Commit, Extent, LaneKey, Record, Section, Snapshot, Waiting
from taba.agent.recovery import Recovered
from taba.agent.spool import BodyDamaged, SpoolState
from taba.native import Section as Part
from tests.agent.agent_case import KINDS, AgentCase, AtOnce, Away, Gate

MIB = 1 << 20
OLD, NEW = "a" * 32, "b" * 32
VBUCKETS = 16


@define
class Meter:
    """Counts bytes that are held."""

    now: int = 0
    most: int = 0

    def change(self, length: int) -> None:
        """So many more, or fewer."""
        self.now += length
        self.most = max(self.most, self.now)


class Counted(bytes):
    """Bytes that a meter counts while somebody holds them."""

    meter: Meter

    @classmethod
    def of(cls, length: int, meter: Meter) -> Counted:
        """So many zeros."""
        counted = cls(length)
        counted.meter = meter
        meter.change(length)
        return counted

    def __del__(self) -> None:
        self.meter.change(-len(self))


@define
class HugeSpool:
    """A spool of any size: it makes up the bytes that are read, and keeps none that are written."""

    meter: Meter
    state: SpoolState = SpoolState.WRITING
    bad: set[int] = field(factory=set)
    """Segments that cannot be read."""
    records: list[Record] = field(factory=list)

    def read(self, extents: Sequence[Extent]) -> bytes:
        """Zeros."""
        (extent,) = extents
        if extent.segment in self.bad:
            raise BodyDamaged("huge", extents)
        return Counted.of(extent.length, self.meter)

    def write(self, records: Sequence[Record]) -> list[tuple[Extent, ...]]:
        """Nobody reads it again."""
        self.records += records
        return [()] * len(records)

    def sync(self) -> None:
        """Nothing to do."""

    def room(self, length: int) -> bool:
        """There is always some."""
        return True

    def keep_spare(self) -> None:
        """None is needed."""

    def bytes_held(self) -> int:
        """As if it held nothing."""
        return 0

    def segment_full(self) -> bool:
        """Never."""
        return False


class MemoryTests(SynchronousTestCase):
    """What is held in memory while a spool of hundreds of MiB is sealed."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.meter = Meter()
        self.spool = HugeSpool(self.meter)
        self.bodies = self.most_bodies = self.sealed_bytes = 0
        self.seals: list[tuple[LaneKey, int]] = []
        spool: Any = self.spool
        self.committer = Committer(
            spool,
            AtOnce(),
            self.clock,
            lambda: 1000.0 + self.clock.seconds(),
            commit_seconds=0.1,
            flush_seconds=lambda: 0.25,
            unsent=lambda incarnation, vbucket: 0,
            sealed=self.sealed,
            noted=lambda key: None,
            prune=lambda snapshot: snapshot,
            draw_incarnation=lambda: None,
        )
        self.committer.backlog._split = self.split
        self.committer.incarnation = NEW

    def sealed(self, key: LaneKey, held: Held, body: bytes) -> None:
        """A batch is durable; its body is let go of when the turn is over."""
        self.bodies += len(body)
        self.most_bodies = max(self.bodies, self.most_bodies)
        self.sealed_bytes += len(body)
        self.seals.append((key, held.seq))

    def split(self, data: bytes, vbuckets: int) -> list[Part]:
        """Equal parts."""
        return [Part(vbucket, 1, Counted.of(len(data) // vbuckets, self.meter)) for vbucket in range(vbuckets)]

    def recover(self, waiting: Sequence[Waiting], undivided: Sequence[Waiting]) -> None:
        """A restart found these."""
        holdings = Holdings(1 + max(each.commit for each in (*waiting, *undivided)))
        lanes: dict[LaneKey, tuple[Waiting, ...]] = {}
        for each in waiting:
            key = (each.incarnation, each.vbucket)
            lanes[key] = (*lanes.get(key, ()), each)
            holdings.wait(*key, each.commit)
        for each in undivided:
            holdings.wait(each.incarnation, None, each.commit)
        snapshot = Snapshot("", "c" * 32, VBUCKETS, holdings.next_commit)
        recovered = Recovered(snapshot, {}, lanes, tuple(undivided), {}, holdings, None, 0, frozenset())
        self.committer.holdings = holdings
        self.committer.sealing.recover(recovered)
        self.committer.pending = self.committer.sealing.events()
        self.committer.intake = Intake.recovered(
            {}, holdings.next_commit, kinds=KINDS, new_id=lambda: NEW, max_memory=MIB, max_clock_skew=60.0
        )
        self.committer.vbuckets = VBUCKETS
        self.committer.wake()

    def drain(self, turns: int) -> None:
        """Let turns pass."""
        for _ in range(turns):
            self.bodies = 0
            self.clock.advance(0.25)

    def test_undivided(self) -> None:
        """Of 256 MiB that were taken before the first topology, some MiB are held at any time."""
        self.recover([], [Waiting(OLD, 0, n, 1.0, VBUCKETS, Extent(1, n * MIB, MIB)) for n in range(1, 257)])
        self.drain(70)
        self.assertEqual((self.sealed_bytes, self.committer.sealing.undivided), (256 * MIB, {}))
        self.assertEqual(len(self.seals), VBUCKETS * 256 // (sealing.DIVIDE_BYTES // MIB))
        self.assertLessEqual(self.meter.most, sealing.DIVIDE_BYTES + 2 * MIB)
        self.assertLessEqual(self.most_bodies, sealing.DIVIDE_BYTES + MIB)
        self.assertEqual((self.meter.now, self.committer.pending), (0, 256 * VBUCKETS))
        self.assertFalse(self.committer.holdings._undivided)

    def test_divided(self) -> None:
        """The same of sections that a restart found committed and not sealed."""
        size = MIB // 4
        waiting = [
            Waiting(OLD, vbucket, n, 1.0, 1, Extent(1, (n * VBUCKETS + vbucket) * size, size))
            for n in range(1, 33)
            for vbucket in range(VBUCKETS)
        ]
        self.recover(waiting, [])
        self.drain(60)
        self.assertEqual((self.sealed_bytes, self.committer.sealing.waiting), (128 * MIB, {}))
        self.assertLessEqual(self.meter.most, sealing.READ_BYTES + sealing.BATCH_BYTES)
        self.assertLessEqual(self.most_bodies, sealing.READ_BYTES + sealing.BATCH_BYTES)
        self.assertEqual(self.meter.now, 0)

    def test_unreadable(self) -> None:
        """A section that cannot be read is tried again, then given up and counted; the others go on."""
        undivided = [Waiting(OLD, 0, n, 1.0, VBUCKETS, Extent(n, 0, MIB)) for n in range(1, 11)]
        self.spool.bad = {3}
        self.recover([], undivided)
        self.drain(backlog.READ_TRIES - 1)
        self.assertEqual((self.seals, self.meter.now), ([], 0))
        self.drain(10)
        self.assertEqual(self.sealed_bytes, 9 * MIB)
        self.assertEqual(self.committer.ledger[DAMAGED_LINE], VBUCKETS)
        self.assertEqual(self.committer.pending, 9 * VBUCKETS)

    def test_new_commits_go_on(self) -> None:
        """What comes in meanwhile does not wait until all is divided."""
        self.recover([], [Waiting(OLD, 0, n, 1.0, VBUCKETS, Extent(1, n * MIB, MIB)) for n in range(1, 65)])
        number = self.committer.intake.next_commit
        commit = Commit(number, NEW, 1.0, {}, {}, (Section(3, 1, b"new"),), VBUCKETS)
        self.committer.sealing.add(commit)
        self.committer.holdings.add(commit)
        self.drain(1)
        self.assertIn(((NEW, 3), 1), self.seals)
        self.assertTrue(self.committer.sealing.undivided)


class DrainTests(AgentCase):
    """An agent that took much before it met its cluster."""

    def test_over_crashes(self) -> None:
        """However often it is killed while it sends what it had, each event is counted once."""
        self.agent = self.start(Away())
        given = self.give_much(14)
        gate = Gate(self.local)
        for turns in (1, 3, 2, 7, 4, 5):
            self.crash()
            gate.dead = True
            gate = Gate(self.local)
            self.agent = self.start(gate)
            self.pass_time(0.11 * turns)
            self.assertEqual(self.agent.ledger()["received"], given)
        self.assertTrue(self.agent.committer.sealing.undivided)
        self.pass_time(60)
        self.assertEqual((self.total()[0], self.agent.ledger()), (given, {"received": given, "pending": 0}))

    def test_met_while_running(self) -> None:
        """The cluster is met while it runs: new events do not wait for the old ones, and pending is true all along."""
        gate = Gate(self.local)
        gate.open = False
        self.agent = self.start(gate)
        given = self.give_much(14)
        gate.open = True
        while not self.agent.committer.vbuckets:
            self.pass_time(0.05)
        self.assertEqual(self.agent.ledger()["pending"], given)
        self.give(1, tab="new")
        self.pass_time(0.4)
        self.assertTrue(self.agent.committer.sealing.undivided)
        self.assertFalse(self.agent.committer.sealing.waiting)
        self.assertEqual(self.agent.ledger()["pending"], given + 1)
        self.pass_time(60)
        self.assertEqual((self.total()[0], self.agent.ledger()["pending"]), (given + 1, 0))
