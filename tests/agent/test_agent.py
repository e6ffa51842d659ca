"""An agent as a service over a disk in memory: what it acknowledges it keeps, over crashes and failing syncs."""

from __future__ import annotations

from random import Random

from taba import native
from taba.agent import sealing
from taba.agent.intake import MAX_INSTANCES, Applied, BatchNumber, Instance
from taba.errors import SpoolError, SpoolFull
from taba.testing.disk import MemoryDisk
from tests.agent.agent_case import AgentCase, Away, Gate


class AgentTests(AgentCase):
    """One agent in front of one fe, or of nobody."""

    def setUp(self) -> None:
        super().setUp()
        self.agent = self.start(self.local)

    def test_event_reaches_the_log(self) -> None:
        """What was acknowledged is in the log soon."""
        receipt = self.give(1, 2, 3)
        self.pass_time(0.2)
        self.successResultOf(self.agent.durable(receipt.commit))
        self.pass_time(1)
        self.assertEqual(self.total(), (3, 6))

    def test_not_acknowledged_before_it_is_durable(self) -> None:
        """Rule answer_after_sync: an answer waits for the commit that holds the events."""
        self.give(1)
        self.agent.committer._turning = True  # as while the disk is busy
        receipt = self.give(2)
        self.assertNoResult(self.agent.durable(receipt.commit + 1))

    def test_first_request_does_not_wait(self) -> None:
        """A request that finds the disk idle is committed at once, the next ones gather for AGENT_COMMIT_MS."""
        self.pass_time(1)
        receipt = self.give(1)
        self.clock.advance(0)
        self.successResultOf(self.agent.durable(receipt.commit))
        second = self.give(1)
        self.clock.advance(0.05)
        waiting = self.agent.durable(second.commit)
        self.assertNoResult(waiting)
        self.clock.advance(0.06)
        self.successResultOf(waiting)

    def test_duplicate(self) -> None:
        """Rule duplicate_after_commit: a number that was seen is not counted again, and answered after the first one.
        """
        instance = self.open_instance()
        first = self.give(5, batch=BatchNumber(instance, 1))
        again = self.give(5, batch=BatchNumber(instance, 1))
        self.assertEqual((first.applied, again.applied), (Applied.COUNTED, Applied.DUPLICATE))
        self.assertEqual(first.commit, again.commit)
        self.pass_time(2)
        self.assertEqual(self.total(), (1, 5))

    def test_unknown_instance(self) -> None:
        """An instance that this agent did not give is not known."""
        self.assertEqual(self.give(1, batch=BatchNumber("e" * 32, 1)).applied, Applied.UNKNOWN)
        self.pass_time(2)
        self.assertEqual(self.total(), (0, 0))

    def test_crash_after_acknowledging(self) -> None:
        """A crash right after the acknowledgement loses nothing, and the number stays known."""
        instance = self.open_instance()
        receipt = self.give(7, batch=BatchNumber(instance, 1))
        self.clock.advance(0.11)
        self.successResultOf(self.agent.durable(receipt.commit))
        self.crash()
        self.agent = self.start(self.local)
        self.assertEqual(self.give(7, batch=BatchNumber(instance, 1)).applied, Applied.DUPLICATE)
        self.pass_time(2)
        self.assertEqual(self.total(), (1, 7))

    def test_crash_before_acknowledging(self) -> None:
        """What was not acknowledged may be lost, and is counted once when the client sends it again."""
        instance = self.open_instance()
        self.give(7, batch=BatchNumber(instance, 1))
        self.crash()
        self.agent = self.start(self.local)
        self.assertEqual(self.give(7, batch=BatchNumber(instance, 1)).applied, Applied.COUNTED)
        self.pass_time(2)
        self.assertEqual(self.total(), (1, 7))

    def test_many_crashes(self) -> None:
        """Over many lives every acknowledged batch is in the log once."""
        instance = self.open_instance()
        number = 0
        for life in range(12):
            for _ in range(3):
                number += 1
                receipt = self.give(number, batch=BatchNumber(instance, number), tab=f"tab{number % 5}")
                self.pass_time(0.15)
                self.successResultOf(self.agent.durable(receipt.commit))
            self.pass_time(0.1 * (life % 4))
            self.crash()
            self.agent = self.start(self.local)
        self.pass_time(30)
        self.assertEqual(self.total(), (number, number * (number + 1) // 2))
        self.assertEqual(self.agent.ledger()["pending"], 0)

    def test_servers_away(self) -> None:
        """Without servers everything is kept, over restarts, and forwarded when they are there."""
        self.crash()
        self.disk = MemoryDisk(Random(4), torn=False)
        self.agent = self.start(Away())
        for _ in range(3):
            self.give(1, 2)
            self.pass_time(1)
            self.crash()
            self.agent = self.start(Away())
        self.assertEqual(self.agent.ledger()["pending"], 6)
        self.crash()
        self.agent = self.start(self.local)
        self.pass_time(3)
        self.assertEqual(self.total(), (6, 9))

    def test_disk_full(self) -> None:
        """A disk that is full refuses events, says why, and goes on by itself when there is room."""
        self.give(1)
        self.pass_time(0.5)
        self.disk.fill(True)
        receipt = self.give(2)
        waiting = self.agent.durable(receipt.commit)
        self.pass_time(0.5)
        self.failureResultOf(waiting, SpoolError)
        self.assertIn("spool", self.agent.refusing() or "")
        with self.assertRaises(SpoolFull):
            self.give(3)
        self.disk.fill(False)
        self.pass_time(5)
        self.assertIsNone(self.agent.refusing())
        self.successResultOf(self.agent.durable(receipt.commit))
        self.pass_time(2)
        self.assertEqual(self.total(), (2, 3))

    def test_failed_sync(self) -> None:
        """After a failed sync the commit is written elsewhere before anyone is answered, and counts once."""
        instance = self.open_instance()
        self.disk.fail_next_sync()
        receipt = self.give(4, batch=BatchNumber(instance, 1))
        self.pass_time(0.5)
        self.successResultOf(self.agent.durable(receipt.commit))
        self.crash()
        self.agent = self.start(self.local)
        self.assertEqual(self.give(4, batch=BatchNumber(instance, 1)).applied, Applied.DUPLICATE)
        self.pass_time(3)
        self.assertEqual(self.total(), (1, 4))

    def test_spool_limit(self) -> None:
        """A spool at its limit refuses events; what it has confirmed makes room again."""
        self.crash()
        self.disk = MemoryDisk(Random(4), torn=False)
        self.agent = self.start(Away(), max_spool_bytes=6 << 20)
        taken = 0
        for number in range(400):
            try:
                for tab in range(20):
                    self.give(number, tab=f"{'x' * 400}{number}.{tab}")
                    taken += 1
            except SpoolFull:
                break
            self.pass_time(0.1)
        else:
            self.fail("the spool was never full")
        self.assertIn("full", self.agent.refusing() or "")
        self.crash()
        self.agent = self.start(self.local, max_spool_bytes=6 << 20)
        self.pass_time(30)
        self.assertEqual(self.total()[0], self.agent.ledger()["received"])
        self.assertIsNone(self.agent.refusing())

    def test_confirmed_batches_leave(self) -> None:
        """What is confirmed is not held any more, and an idle agent has no timer."""
        self.give(1)
        self.pass_time(20)
        self.assertEqual(self.agent.lanes.totals().batches, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_and_start(self) -> None:
        """Stopping leaves nothing behind but what is on disk."""
        self.give(1)
        stopped = self.agent.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.agent = self.start(self.local)
        self.pass_time(3)
        self.assertEqual(self.total(), (1, 1))

    def test_status(self) -> None:
        """The agent accounts for every event."""
        scratch = self.agent.begin()
        scratch.feed(b'1\n\nc\n\nt\n["CounterGroup", 1, "1"]\nnonsense\n["Nope", 1, "1"]\n')
        scratch.finish()
        self.agent.apply(scratch, None, {"full": 3})
        self.pass_time(0.3)
        self.assertEqual(
            self.agent.ledger(),
            {"received": 3, "refused.json": 1, "refused.type": 1, "unsent.full": 3, "pending": 1},
        )
        self.assertIn("  received: 3", self.agent.text())
        self.assertIn('taba_agent_events{line="received"} 3', self.agent.metrics())

    def test_servers_that_take_nothing(self) -> None:
        """While no server takes what is sent, /status says what the last try met, and since when; then no more."""
        self.stop()
        gate = Gate(self.local)
        self.agent = self.start(gate)
        self.assertIn("sending_problem: none\n", self.agent.text())
        gate.open = False
        self.give(1)
        self.pass_time(3)
        first = self.agent.facts()["sending_problem"]
        self.assertRegex(first, r"^A server does not answer: away \(since 2023-11-14T22:13:2\dZ\)$")
        self.pass_time(30)
        self.assertEqual(self.agent.facts()["sending_problem"], first)
        self.assertIsNone(self.agent.facts()["problem"])
        gate.open = True
        self.pass_time(30)
        self.assertIsNone(self.agent.facts()["sending_problem"])

    def test_server_that_was_away_while_nothing_was_sent(self) -> None:
        """A server that answers again is no problem, though there is nothing to send."""
        self.stop()
        gate = Gate(self.local)
        gate.open = False
        self.agent = self.start(gate)
        self.pass_time(3)
        self.assertIn("does not answer: away", self.agent.facts()["sending_problem"])
        gate.open = True
        self.pass_time(30)
        self.assertIsNone(self.agent.facts()["sending_problem"])

    def test_gauges_of_equal_times(self) -> None:
        """Of gauge events with equal times the later one wins, also over requests."""
        for value in ("a", "b"):
            scratch = self.agent.begin()
            scratch.feed(f'1\n\nc\n\ng\n["Gauge", 5, "\\"{value}1\\""]\n["Gauge", 5, "\\"{value}2\\""]\n'.encode())
            scratch.finish()
            self.agent.apply(scratch, None, {})
        self.pass_time(1)
        entries = [
            each
            for entry in self.successResultOf(self.store.read(dict.fromkeys(range(4), 0), 1 << 30, 0.0))
            for each in native.batch_entries(entry.body)
        ]
        state = native.fold(native.GAUGE, b"", [each.partial for each in entries])
        self.assertEqual([each.value for each in native.gauge_entries(state)], [b'"b2"'])

    def test_idle_for_long(self) -> None:
        """After DEDUP_DAYS / 2 the next events go under a new incarnation, so that nobody takes them for a rolled
        back lane.
        """
        self.give(1)
        self.pass_time(20)
        before = self.agent.committer.incarnation
        self.clock.advance(8 * 86_400)
        self.give(2)
        self.pass_time(2)
        self.assertNotEqual(self.agent.committer.incarnation, before)
        rows = self.successResultOf(self.store.read(dict.fromkeys(range(4), 0), 1 << 30, 0.0))
        self.assertEqual(len(rows), 2)
        self.assertEqual(self.total(), (2, 3))

    def test_segment_that_cannot_begin(self) -> None:
        """When a new segment cannot begin for a while, the agent refuses, and goes on by itself afterwards."""
        self.give(1)
        self.pass_time(1)
        self.disk.read_only(True)
        self.agent.committer.renew("a" * 32)
        self.pass_time(5)
        self.assertIsNotNone(self.agent.refusing())
        self.disk.read_only(False)
        self.pass_time(10)
        self.assertIsNone(self.agent.refusing())
        self.give(2)
        self.pass_time(2)
        self.assertEqual(self.total(), (2, 3))

    def test_backlog_is_cut_into_batches(self) -> None:
        """What waited for the first topology is sealed in batches that servers take."""
        self.crash()
        self.disk = MemoryDisk(Random(4), torn=False)
        self.agent = self.start(Away())
        for number in range(40):
            for tab in range(200):
                self.give(number, tab=f"{'x' * 400}.{tab}")
            self.pass_time(0.2)
        self.crash()
        self.agent = self.start(self.local)
        self.pass_time(5)
        sizes = [len(each.body) for each in self.successResultOf(self.store.read({0: 0, 1: 0, 2: 0, 3: 0}, 1 << 30, 0))]
        self.assertLessEqual(max(sizes), sealing.BATCH_BYTES + (1 << 20))
        self.assertEqual(self.total()[0], 40 * 200)

    def test_too_many_instances(self) -> None:
        """Instances are bounded: who wants one more than that is asked to come back."""
        intake = self.agent.committer.intake
        for number in range(len(intake.instances), MAX_INSTANCES):
            intake.instances[f"{number:032x}"] = Instance(1, 0, self.wall())
        with self.assertRaises(SpoolFull):
            self.give(batch=BatchNumber(None, 0))
