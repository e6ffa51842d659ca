"""DOUBLE_AGENT: a copy of everything in a second spool, for a second set of servers, exactly once each."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from taba.agent.double import MISSED, SECOND_SECONDS, UNCERTAIN, second_settings
from taba.agent.intake import Applied, BatchNumber
from taba.errors import FolderLocked, SpoolError, StartError
from taba.settings import AgentSettings, DoubleAgentSettings, Endpoint
from tests.agent.agent_case import Away
from tests.agent.double_case import SECOND, DoubleCase


class CopyTests(DoubleCase):
    """Both spools take, both sets of servers get."""

    def test_both_get_everything(self) -> None:
        """What is acknowledged is in both stores soon, once."""
        self.durable(self.give(1, 2, 3))
        instance = self.open_instance()
        self.durable(self.give(4, 5, batch=BatchNumber(instance, 1)))
        self.durable(self.give(4, 5, batch=BatchNumber(instance, 1)))
        self.assertEqual(self.totals(), ((5, 15), (5, 15)))

    def test_second_servers_away(self) -> None:
        """The first one does not wait for the second one's servers, and these get all when they are back."""
        self.stop()
        self.begin(second=Away())
        self.durable(self.give(1, 2, 3))
        self.assertEqual(self.totals(), ((3, 6), (0, 0)))
        self.stop()
        self.begin()
        self.assertEqual(self.totals(), ((3, 6), (3, 6)))

    def test_answer_waits_for_both(self) -> None:
        """An answer waits for the commit in the second spool, too."""
        self.workers[1].hold()
        waiting = self.agent.durable(self.give(1).commit)
        self.pass_time(1)
        self.assertEqual(self.agent.intake.durable if self.agent.intake else 0, 1)
        self.assertNoResult(waiting)
        self.workers[1].go_on()
        self.pass_time(0.1)
        self.successResultOf(waiting)
        self.assertEqual(self.totals(), ((1, 1), (1, 1)))

    def test_refused_by_the_first(self) -> None:
        """What the first one cannot take, the second one does not get."""
        self.disk.fill(True)
        while self.agent.refusing() is None:
            self.give(1)
            self.pass_time(0.2)
        held = self.agent.second.ledger()["received"]
        self.assertRaises(SpoolError, self.give, 1)
        self.pass_time(1)
        self.assertEqual(self.agent.second.ledger()["received"], held)

    def test_unknown_instance(self) -> None:
        """The first one's instances decide: what it does not know, neither takes."""
        receipt = self.give(1, batch=BatchNumber("f" * 32, 1))
        self.assertIs(receipt.applied, Applied.UNKNOWN)
        self.assertEqual(self.totals(), ((0, 0), (0, 0)))

    def test_second_spool_added_later(self) -> None:
        """Instances from before the second spool go on in both; what was counted before is in the first one only."""
        instance = self.open_instance()
        self.durable(self.give(7, batch=BatchNumber(instance, 1)))
        self.totals()
        self.stop()
        self.second_disk.lose()
        self.begin()
        self.durable(self.give(1, 2, batch=BatchNumber(instance, 2)))
        again = self.give(1, 2, batch=BatchNumber(instance, 2))
        self.assertIs(again.applied, Applied.DUPLICATE)
        self.durable(again)
        self.assertEqual(self.totals(), ((3, 10), (3, 10)))

    def test_settings_of_the_second(self) -> None:
        """The second one has its own servers, spool and rhythm, and remembers clients longer."""
        given = DoubleAgentSettings(servers=(Endpoint("b", 1),), flush_seconds=3.0, queues_per_server=4)
        second = second_settings(AgentSettings(spool="/x", double_agent=given, instance_days=2.0))
        self.assertEqual((second.servers, second.flush_seconds, second.queues_per_server), (given.servers, 3.0, 4))
        self.assertEqual((second.spool, second.instance_days, second.double_agent), ("/x-double", 3.0, None))

    def test_account(self) -> None:
        """Status, for people and machines, and metrics tell of both."""
        self.durable(self.give(1, 2))
        self.assertEqual(self.agent.facts()["double"]["ledger"]["received"], 2)
        text, metrics = self.agent.text(), self.agent.metrics()
        self.assertIn("\ndouble agent:\n  incarnation: ", text)
        self.assertNotIn("{", text)
        self.assertIn('taba_agent_events{line="received"} 2\n', metrics)
        self.assertIn('taba_double_agent_events{line="received"} 2\n', metrics)

    def test_nobody_waits(self) -> None:
        """Senders that wait for no answer leave nothing behind, and are copied, too."""
        self.agent.most_copies = 10
        for _ in range(40):
            self.give(1)
            self.pass_time(0.15)
            self.assertLessEqual(len(self.agent._copies), 10)
        self.assertEqual(self.totals(), ((40, 40), (40, 40)))

    def test_stops_at_rest(self) -> None:
        """After a stop nothing is left to be called."""
        self.give(1)
        self.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_second_folder_locked(self) -> None:
        """An agent whose second spool belongs to another process does not start."""
        agent = self.made()
        self.stop()
        other = self.second_disk.folder(SECOND)
        other.lock()
        self.assertIsInstance(self.failureResultOf(agent.startService()).value, StartError | FolderLocked)
        stopped = agent.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)
        other.unlock()
        self.begin()


class CrashTests(DoubleCase):
    """Kill -9 between the two commits."""

    def crash_between(self, left_behind: int) -> BatchNumber:
        """A batch is durable in one spool, `left_behind` is the number of the other one; then the process is killed.
        """
        batch = BatchNumber(self.open_instance(), 1)
        self.workers[left_behind].hold()
        waiting = self.agent.durable(self.give(3, 4, batch=batch).commit)
        self.pass_time(0.5)
        self.assertNoResult(waiting)
        self.crash()
        self.begin()
        return batch

    def test_in_the_first_only(self) -> None:
        """The client, who got no answer, repeats: the first spool sees a duplicate, the second one takes it."""
        batch = self.crash_between(left_behind=1)
        self.pass_time(2)
        self.assertEqual(self.totals(), ((2, 7), (0, 0)))
        again = self.give(3, 4, batch=batch)
        self.assertIs(again.applied, Applied.DUPLICATE)
        self.durable(again)
        self.assertEqual(self.totals(), ((2, 7), (2, 7)))
        self.durable(self.give(3, 4, batch=batch))
        self.assertEqual(self.totals(), ((2, 7), (2, 7)))
        self.assertEqual(self.line(MISSED), 0)

    def test_in_the_second_only(self) -> None:
        """The other way round: the first spool counts the repeated batch, the second one has it already."""
        batch = self.crash_between(left_behind=0)
        self.pass_time(2)
        self.assertEqual(self.totals(), ((0, 0), (2, 7)))
        again = self.give(3, 4, batch=batch)
        self.assertIs(again.applied, Applied.COUNTED)
        self.durable(again)
        self.assertEqual(self.totals(), ((2, 7), (2, 7)))

    def test_in_neither(self) -> None:
        """What neither had on disk is taken by both when it is repeated."""
        batch = BatchNumber(self.open_instance(), 1)
        for each in self.workers:
            each.hold()
        self.give(3, 4, batch=batch)
        self.pass_time(0.5)
        self.crash()
        self.begin()
        self.durable(self.give(3, 4, batch=batch))
        self.assertEqual(self.totals(), ((2, 7), (2, 7)))


class FullTests(DoubleCase):
    """The second spool is full, or fails: the first one goes on, and says what the second one missed."""

    def fill_second(self) -> None:
        """The disk of the second spool is full, and it has noticed."""
        self.second_disk.fill(True)
        while self.agent.second.refusing() is None:
            self.give(1, tab="filling")
            self.pass_time(0.2)

    def test_first_goes_on(self) -> None:
        """Requests are answered by the first spool alone, and the ledger has every event that the second one lacks."""
        self.fill_second()
        before = self.agent.second.committer.intake.open.ledger["received"]
        missed = self.line(MISSED)
        self.durable(self.give(1, 2, 3))
        self.durable(self.give(4))
        self.assertEqual(self.line(MISSED), missed + 4)
        self.assertEqual(self.agent.second.committer.intake.open.ledger["received"], before)

    def test_count_is_exact(self) -> None:
        """What the first one received is what the second one received and what it missed, whenever it had room."""
        instance = self.open_instance()
        self.fill_second()
        for number in range(1, 6):
            self.durable(self.give(*range(number), batch=BatchNumber(instance, number)))
        self.second_disk.fill(False)
        self.pass_time(5)
        for number in range(6, 9):
            self.durable(self.give(*range(number), batch=BatchNumber(instance, number)))
        first, second = self.totals()
        self.assertEqual(first[0], second[0] + self.line(MISSED))
        self.assertGreaterEqual(second[0], 6 + 7 + 8)

    def test_repeated_while_missing(self) -> None:
        """A batch that was counted as missed stays missed when it is repeated, so that the count stays true."""
        instance = self.open_instance()
        self.fill_second()
        missed = self.line(MISSED)
        batch = BatchNumber(instance, 1)
        self.durable(self.give(1, 2, batch=batch))
        self.durable(self.give(1, 2, batch=batch))
        self.second_disk.fill(False)
        self.pass_time(5)
        self.durable(self.give(1, 2, batch=batch))
        self.assertEqual(self.line(MISSED), missed + 2)
        first, second = self.totals()
        self.assertEqual(first[0], second[0] + self.line(MISSED))

    def test_missed_in_the_same_commit(self) -> None:
        """The count of what was missed is durable when the events are: a crash takes both or none."""
        self.fill_second()
        missed = self.line(MISSED)
        self.durable(self.give(1, 2, 3))
        self.crash()
        self.begin()
        self.assertEqual(self.line(MISSED), missed + 3)

    def test_second_disk_hangs(self) -> None:
        """When the second disk does not come back, the answer does not wait for ever, and the ledger says what is
        uncertain; when it does come back, nothing is missing.
        """
        self.workers[1].hold()
        waiting = self.agent.durable(self.give(1, 2).commit)
        self.pass_time(SECOND_SECONDS - 0.5)
        self.assertNoResult(waiting)
        self.pass_time(1)
        self.successResultOf(waiting)
        self.assertEqual(self.line(UNCERTAIN), 2)
        self.workers[1].go_on()
        self.assertEqual(self.totals(), ((2, 3), (2, 3)))

    def test_second_sync_fails(self) -> None:
        """A second disk that fails to sync delays the answer, or is passed over; nothing is counted twice."""
        self.second_disk.fail_next_sync()
        self.durable(self.give(1, 2))
        self.pass_time(3)
        self.assertEqual(self.totals(), ((2, 3), (2, 3)))


class AnyFaultTests(DoubleCase):
    """Whatever happens to the second disk and to the process, both are exact."""

    @settings(deadline=None)
    @given(
        st.lists(
            st.sampled_from(["give", "repeat", "full", "room", "crash", "crash holding 0", "crash holding 1", "pass"]),
            min_size=3, max_size=14,
        )
    )  # fmt: skip
    def test_exact(self, steps: list[str]) -> None:
        """The first store has every answered event once; the second one has them, less what was missed, and nothing
        twice.
        """
        self.clock = Clock()
        self.setUp()
        instance, number, events = self.open_instance(), 0, 0
        crashed_full = False
        for step in [*steps, "room"]:
            if step in ("give", "repeat") or step.startswith("crash holding"):
                number += step != "repeat" or number == 0
                if step.startswith("crash holding"):
                    self.workers[int(step[-1])].hold()
                    unheard = self.agent.durable(self.give(1, batch=BatchNumber(instance, number)).commit)
                    unheard.addErrback(lambda _: None)
                    self.pass_time(0.3)
                    crashed_full = crashed_full or self.second_disk._full
                    self.crash()
                    self.begin()
                self.durable(self.give(1, batch=BatchNumber(instance, number)))
                events = number
            elif step in ("full", "room"):
                self.second_disk.fill(step == "full")
                self.pass_time(3)
            elif step == "crash":
                crashed_full = crashed_full or self.second_disk._full
                self.crash()
                self.begin()
            else:
                self.pass_time(1)
        self.pass_time(5)
        first, second = self.totals()
        self.assertEqual(first[0], events)
        self.assertLessEqual(second[0], events)
        lacking = self.line(MISSED) + self.line(UNCERTAIN)
        if crashed_full:
            self.assertGreaterEqual(second[0] + lacking, events)
        else:
            self.assertEqual(second[0] + self.line(MISSED), events)
