"""The rules of all lanes of an agent together: what is gathered, answered and counted."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.lane import PAUSE_SECONDS
from taba.agent.lanes import (
    CONFIRM_SECONDS,
    NOW,
    Held,
    Lanes,
    Lost,
    NewIncarnation,
    Totals,
)
from taba.errors import LocalProtocolError
from taba.interfaces import Outcome, Verdict
from tests.agent.lane_case import (
    INCARNATION,
    NEXT_LINEAGE,
    OTHER,
    LanesCase,
    held,
    outcome,
)


class GatherTests(LanesCase):
    """One request takes what is due, and no more than it may."""

    def test_takes_every_lane_once(self) -> None:
        """All lanes with a batch go into one request; then nothing is due until they are answered."""
        self.add(3, 1, 2)
        self.assertEqual(self.lanes.next_due(), NOW)
        self.assertEqual(self.vbuckets(self.gather()), [3, 1, 2])
        self.assertEqual(self.gather(), [])
        self.assertIsNone(self.lanes.next_due())

    def test_bounded_in_bytes(self) -> None:
        """Bodies beyond the limit wait for the next request, first in line."""
        self.add(1, 2, 3)
        self.assertEqual(self.vbuckets(self.gather(max_bytes=2500)), [1, 2])
        self.assertEqual(self.vbuckets(self.gather(max_bytes=2500)), [3])

    def test_large_body_goes_alone(self) -> None:
        """A batch that is larger than a request may be is sent all the same."""
        self.add(1, 2)
        self.assertEqual(self.vbuckets(self.gather(max_bytes=10)), [1])

    def test_bounded_in_batches(self) -> None:
        """A request has at most so many batches and looks."""
        self.add(1, 2, 3)
        self.assertEqual(self.vbuckets(self.gather(max_batches=2)), [1, 2])

    def test_lanes_take_turns(self) -> None:
        """A lane that is served goes to the end of the line."""
        for seq in (1, 2):
            self.add(1, 2, 3, seq=seq)
        self.answer(self.gather(max_batches=1))
        self.assertEqual(self.vbuckets(self.gather(max_batches=2)), [2, 3])

    def test_failed_request_is_due_again(self) -> None:
        """What got no answer is gathered again."""
        self.add(1, 2)
        self.lanes.failed(self.gather(), self.now)
        self.assertEqual(self.vbuckets(self.gather()), [1, 2])

    def test_failure_of_a_request_that_was_answered(self) -> None:
        """It comes too late: what is under way by then stays so."""
        self.add(1)
        first = self.gather()
        self.answer(first)
        self.add(1, seq=2)
        (second,) = self.gather()
        self.lanes.failed(first, self.now)
        self.assertIs(second.lane.flight, second)
        self.assertEqual(self.gather(), [])

    def test_looks_of_many_lanes_share_a_request(self) -> None:
        """Lanes that went quiet within a second or two are looked up together, in one request."""
        for vbucket in range(20):
            self.add(vbucket)
            self.answer(self.gather())
            self.now += 0.1
        requests = 0
        while (due := self.lanes.next_due()) is not None:
            self.now = max(self.now, due)
            self.answer(self.gather())
            requests += 1
        self.assertLessEqual(requests, 2)
        self.assertEqual(self.lanes.totals().batches, 0)

    def test_look_waits_while_batches_come(self) -> None:
        """A lane that sends something every few seconds is never looked up besides."""
        looks = 0
        for seq in range(1, 60):
            self.add(1, seq=seq)
            sent = self.gather()
            looks += sum(each.held is None for each in sent)
            self.answer(sent)
            for _ in range(10):
                self.now += 1.0
                looks += len(self.gather())
        self.assertEqual(looks, 0)

    def test_next_due_is_the_next_look(self) -> None:
        """Between requests the lanes know when they have something to send again."""
        self.add(1)
        self.answer(self.gather())
        due = self.lanes.next_due()
        assert due is not None
        self.assertEqual(self.lanes.gather(due - 0.001, 1, 1), [])
        self.assertEqual(len(self.lanes.gather(due, 1, 1)), 1)

    def test_due_time_that_changed(self) -> None:
        """A lane that was due at one time, and then at an earlier and a later one, is asked for once, at the last."""
        self.add(1)
        self.answer(self.gather())
        first = self.lanes.next_due()
        self.now += 1
        self.add(1, seq=2)
        self.answer(self.gather(), verdict=Verdict.MOVED, last=0, lineage="")
        self.now += PAUSE_SECONDS
        self.assertEqual(self.lanes.next_due(), self.now)
        sent = self.gather()
        self.assertEqual([each.append.seq for each in sent], [2])
        self.now += CONFIRM_SECONDS / 2
        self.answer(sent)
        last = self.lanes.next_due()
        assert first is not None
        assert last is not None
        self.assertGreater(last, first)
        self.now = first
        self.assertEqual(self.gather(), [])
        self.now = last
        self.assertEqual(self.vbuckets(self.gather()), [1])
        self.assertIsNone(self.lanes.next_due())

    def test_idle_lanes_cost_nothing(self) -> None:
        """Thousands of lanes with nothing to do stand neither in the queue nor in the heap."""
        for vbucket in range(2000):
            self.lanes.recover(OTHER, vbucket, given=9, follows=9, so_far=90)
        self.assertIsNone(self.lanes.next_due())
        self.assertEqual(self.gather(), [])

    def test_heap_does_not_grow_with_time(self) -> None:
        """A busy lane leaves no trail of alarms behind."""
        for seq in range(1, 2000):
            self.add(1, 2, seq=seq)
            self.answer(self.gather())
            self.now += 0.25
        self.assertLessEqual(len(self.lanes._alarms), 4)


class AnswersTests(LanesCase):
    """What an answer to many lanes does to each of them."""

    def test_what_is_not_mentioned_comes_later(self) -> None:
        """A lane that the answer forgets is sent again after a pause, as after `moved`; the others go on."""
        self.add(1, 2)
        sent = self.gather()
        self.lanes.answered(sent, [outcome(sent[0])], self.now, self.now)
        self.assertEqual(self.gather(), [])
        self.now += PAUSE_SECONDS
        self.assertEqual(self.vbuckets(self.gather()), [2])

    def test_pause_of_what_is_not_mentioned_grows(self) -> None:
        """A server that goes on leaving a lane out is asked less and less often, and so is one that answers a number
        that was not sent.
        """
        self.add(1)
        dues = []
        for turn in range(8):
            sent = self.gather()
            self.lanes.answered(sent, [evolve(outcome(sent[0]), seq=7)] if turn % 2 else [], self.now, self.now)
            due = self.lanes.next_due()
            assert due is not None
            dues.append(due - self.now)
            self.now = due
        self.assertEqual(dues, [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0])

    def test_answer_about_other_lanes_is_ignored(self) -> None:
        """Outcomes of lanes that were not in the request change nothing."""
        self.add(1, 2)
        first, second = self.gather(max_batches=1), self.gather(max_batches=1)
        self.lanes.answered(first, [outcome(first[0]), outcome(second[0])], self.now, self.now)
        self.assertEqual(self.lanes.unsent(INCARNATION, 2), 1)

    def test_answer_to_a_request_given_up(self) -> None:
        """Once a request has failed its answer is not believed, not even if the same batches are under way again."""
        self.add(1)
        first = self.gather()
        self.lanes.failed(first, self.now)
        self.gather()
        self.answer(first)
        self.assertEqual(self.lanes.unsent(INCARNATION, 1), 1)

    def test_change_of_lineage_makes_quiet_lanes_look(self) -> None:
        """When one lane hears of a failover, the quiet lanes of that shard ask at once, and no others."""
        self.add(1, 2)
        self.answer(self.gather())
        self.add(3)
        self.answer(self.gather(), lineage="3" * 32)
        self.add(1, seq=2)
        self.answer(self.gather(), lineage=NEXT_LINEAGE)
        self.assertEqual(self.vbuckets(self.gather()), [2])

    def test_sending_time_counts(self) -> None:
        """An answer confirms by the time its request was gathered, not by the time it comes."""
        self.add(1)
        self.answer(self.gather())
        self.now += CONFIRM_SECONDS - 1
        self.add(1, seq=2)
        sent, sent_at = self.gather(), self.now
        self.now += 100
        self.assertEqual(self.lanes.answered(sent, [outcome(sent[0])], sent_at, self.now), [])

    def test_twin_is_told_once(self) -> None:
        """A twin shows in many lanes; the new incarnation is asked for once."""
        self.add(1, 2, 3)
        actions = self.answer(self.gather(), last=5)
        self.assertEqual([type(action) for action in actions], [NewIncarnation])

    def test_set_aside_waits_for_the_spool(self) -> None:
        """A lane that set something aside is due again when the spool has noted it."""
        for seq in (1, 2):
            self.add(1, seq=seq)
        self.answer(self.gather(), verdict=Verdict.REFUSED, last=0, reason="too old")
        self.assertIsNone(self.lanes.next_due())
        self.lanes.noted(INCARNATION, 1, self.now)
        self.assertEqual([each.append.seq for each in self.gather()], [2])

    def test_unreadable_body(self) -> None:
        """A lane whose body cannot be read looks next."""
        self.add(1)
        (sent,) = self.gather()
        self.lanes.unreadable(sent, self.now)
        self.assertIsNone(self.gather()[0].held)

    def test_unreadable_body_of_a_request_given_up(self) -> None:
        """A body that is found damaged when its request has failed says nothing about what is under way by then."""
        self.add(1)
        (first,) = self.gather()
        self.lanes.failed([first], self.now)
        (second,) = self.gather()
        self.lanes.unreadable(first, self.now)
        self.assertIs(second.lane.flight, second)
        self.assertEqual(self.lanes.answered([second], [outcome(second)], self.now, self.now), [])
        self.assertEqual(self.lanes.unsent(INCARNATION, 1), 0)


class AccountTests(LanesCase):
    """Every event is held, confirmed or set aside, and counted so."""

    def test_lost(self) -> None:
        """A gap that stays is told with its events, and nothing of what is held counts as set aside or confirmed."""
        for seq in (1, 2):
            self.add(1, seq=seq)
        self.lanes.recover(OTHER, 1, [held(4)])
        found: list[Any] = []
        for _ in range(20):
            sent = [each for each in self.gather() if each.append.incarnation == OTHER]
            found += self.answer(sent, verdict=Verdict.GAP, last=2)
            self.now += CONFIRM_SECONDS / 5
            if found:
                break
        self.assertEqual(found, [Lost(OTHER, 1, 3, 3, None)])
        self.assertEqual(self.lanes.totals(), Totals(3, 30, 3000, 30, 0, 0))

    def test_totals(self) -> None:
        """The totals follow a batch from its seal to its confirmation, or to where it was set aside."""
        self.add(1, 2)
        self.lanes.recover(OTHER, 1, [held(4, events=7)])
        self.assertEqual(self.lanes.totals(), Totals(3, 27, 3000, 27, 0, 0))
        sent = self.gather()
        outcomes = [outcome(each) for each in sent]
        outcomes[0] = outcome(sent[0], Verdict.REFUSED, 0, reason="too old")
        self.lanes.answered(sent, outcomes, self.now, self.now)
        self.assertEqual(self.lanes.totals(), Totals(2, 17, 2000, 27, 0, 10))
        due = self.lanes.next_due()
        assert due is not None
        self.now = due
        self.answer(self.gather())
        self.assertEqual(self.lanes.totals(), Totals(0, 0, 0, 27, 17, 10))

    def test_unsent(self) -> None:
        """Whoever seals can see that a lane has something waiting already."""
        self.assertEqual(self.lanes.unsent(INCARNATION, 1), 0)
        self.add(1)
        self.assertEqual(self.lanes.unsent(INCARNATION, 1), 1)
        self.answer(self.gather())
        self.assertEqual(self.lanes.unsent(INCARNATION, 1), 0)

    def test_forget(self) -> None:
        """An old incarnation's lanes go when they are empty; those that hold something stay."""
        self.lanes.recover(OTHER, 1, [held(4)])
        self.lanes.recover(OTHER, 2, given=9, follows=9, so_far=90)
        self.add(1)
        self.assertEqual(self.lanes.forget(OTHER), 1)
        self.assertEqual(
            sorted((lane.incarnation, lane.vbucket) for lane in self.lanes.each()), [(INCARNATION, 1), (OTHER, 1)]
        )

    def test_recover_over_a_lane(self) -> None:
        """Recovering a lane that already holds something is a defect of the caller."""
        self.add(1)
        self.assertRaises(LocalProtocolError, self.lanes.recover, INCARNATION, 1, [held(4)])


class PhaseTests(SynchronousTestCase):
    """When the looks of many agents fall due."""

    def due(self, phase: float, confirm: float = 8.0) -> float:
        """When a lane that had its ok at 100.3 looks, on a grain of a second."""
        lanes = Lanes(confirm, phase)
        lanes.add("1" * 32, 0, Held(1, 0, 0, 1, 0.0, 7, 3))
        sent = lanes.gather(100.0, 1000, 10)
        lanes.answered(sent, [Outcome(0, "1" * 32, 1, Verdict.OK, 1, 7, "l")], 100.0, 100.3)
        due = lanes.next_due()
        assert due is not None
        return due

    def test_looks_are_spread(self) -> None:
        """Agents that got an answer at the same moment look at times of their own, never too early, and never more than
        a grain too late.
        """
        self.assertEqual(self.due(0.0), 109.0)
        self.assertEqual(round(self.due(0.25), 6), 109.25)
        self.assertEqual(round(self.due(0.5), 6), 108.5)
        found = {self.due(n / 100) for n in range(100)}
        self.assertEqual(len(found), 100)
        self.assertGreaterEqual(min(found), 108.3)
        self.assertLess(max(found), 109.3001)
