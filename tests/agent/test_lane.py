"""The rules of one lane, one by one. Their meeting in any order is the matter of test_lanes_model."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from taba.agent.lanes import (
    CONFIRM_SECONDS,
    Confirmed,
    Lane,
    LaneState,
    Lost,
    NewIncarnation,
    SetAside,
)
from taba.errors import LocalProtocolError
from taba.interfaces import Append, Verdict
from tests.agent.lane_case import (
    INCARNATION,
    LINEAGE,
    NEXT_LINEAGE,
    LaneCase,
    held,
    outcome,
)


class LaneTests(LaneCase):
    """One lane sends its batches in order, one at a time, until they are in the log for good."""

    def test_batch_says_everything(self) -> None:
        """What goes out names the lane, the number, what it follows, and what the body holds."""
        self.add(1, 2)
        self.serve()
        sent = self.send()
        self.assertEqual(sent.append, Append(7, INCARNATION, 2, 1, 101, 10, 10, 1.7e9 + 2, 102))
        self.assertEqual(sent.held, held(2))

    def test_one_in_flight(self) -> None:
        """While a batch is on its way, the next one waits."""
        self.add(1, 2)
        self.send()
        self.assertIsNone(self.lane.next(self.now))

    def test_failed_is_sent_again(self) -> None:
        """What got no answer goes out again, the same as before."""
        self.add(1)
        first = self.send()
        self.lane.failed(self.now)
        self.assertEqual(self.send().append, first.append)

    def test_answer_after_giving_up_is_ignored(self) -> None:
        """An answer to a request that was given up says nothing about the one that is under way now."""
        self.add(1, 2)
        first = self.send()
        self.lane.failed(self.now)
        self.assertEqual(self.answer(first), [])
        self.assertEqual(self.lane.unsent, 2)

    def test_bytes_that_wait(self) -> None:
        """The bytes that are not known to be in the log: of all that is held, of what comes after it, then none."""
        self.assertEqual(self.lane.unsent_bytes, 0)
        self.add(1, 2)
        self.assertEqual(self.lane.unsent_bytes, held(1).length + held(2).length)
        self.serve()
        self.assertEqual(self.lane.unsent_bytes, held(2).length)
        self.serve()
        self.assertEqual((self.lane.unsent_bytes, len(self.lane.held)), (0, 2))

    def test_oldest_is_the_first_that_is_held(self) -> None:
        """What waits longest to be confirmed is the first batch that the lane still holds; an empty lane has none."""
        self.assertIsNone(self.lane.oldest)
        self.serve_all(1, 2)
        self.add(3)
        self.assertEqual(self.lane.oldest, held(1))
        self.later()
        self.serve()
        self.assertEqual(self.lane.oldest, held(3))

    def test_answer_to_another_number_is_ignored(self) -> None:
        """An answer that names another number than the one in flight leaves the lane waiting."""
        self.serve_all(1)
        self.add(2)
        sent = self.send()
        self.assertEqual(self.lane.answered(evolve(outcome(sent, last=9), seq=1), self.now, self.now), [])
        self.assertIs(self.lane.state, LaneState.IN_FLIGHT)

    def test_numbers_have_no_gaps(self) -> None:
        """A batch that is not the next one is a defect of the caller."""
        self.add(1)
        self.assertRaises(LocalProtocolError, self.lane.add, held(3))
        self.assertRaises(LocalProtocolError, self.lane.add, held(1))

    def test_first_batch_may_have_any_number(self) -> None:
        """A lane whose earlier batches are all confirmed and forgotten goes on where it was."""
        self.add(57)
        self.assertEqual(self.send().append, Append(7, INCARNATION, 57, 56, None, 560, 10, 1.7e9 + 57, 157))

    def test_rewind_to_last(self) -> None:
        """When the log has lost batches, the lane goes back to the one after its last, and forward from there."""
        self.serve_all(1, 2, 3)
        self.add(4)
        self.answer(self.send(), Verdict.GAP, 1)
        resent = []
        for _ in range(3):
            sent = self.send()
            resent.append(sent.append.seq)
            self.answer(sent)
        self.assertEqual(resent, [2, 3, 4])

    def test_rewind_forgets_first_oks(self) -> None:
        """A batch that the log lost needs a first ok and a second look anew."""
        self.serve_all(1, 2)
        self.now = self.lane.due
        self.answer(self.send(), Verdict.GAP, 1)
        self.serve()
        self.assertEqual(self.numbers_held(), [2])

    def test_what_the_log_kept_has_its_first_ok(self) -> None:
        """Of batches that one answer spoke of, those that the log still has are confirmed; the rest is sent again."""
        self.lane.recover([held(1), held(2), held(3)])
        self.assertEqual(self.serve(), [])
        self.now = self.lane.due
        self.assertEqual(self.answer(self.send(), Verdict.GAP, 1), [Confirmed(INCARNATION, 7, (held(1),))])
        self.assertEqual((self.numbers_held(), self.send().append.seq), ([2, 3], 2))

    def test_moved_waits_longer_each_time(self) -> None:
        """A log that is being moved is asked again after a pause, and nothing is concluded from its answer."""
        self.add(1)
        pauses = []
        for _ in range(7):
            self.answer(self.send(), Verdict.MOVED, 0, lineage="")
            pauses.append(self.lane.due - self.now)
            self.now = self.lane.due
        self.assertEqual(pauses, [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0])
        self.assertEqual(self.serve(), [])
        self.assertEqual(self.lane.lineage, LINEAGE)

    def test_refused_look_sets_nothing_aside(self) -> None:
        """A refusal concerns a batch that was sent, never one that was only asked about."""
        self.serve_all(1)
        self.later()
        self.now = max(self.now, self.lane.due)
        self.assertEqual(self.answer(self.send(), Verdict.REFUSED, reason="no such vbucket"), [])
        self.assertEqual(self.numbers_held(), [1])


class RetentionTests(LaneCase):
    """A batch leaves the agent only when no failover can take it back any more."""

    def test_first_ok_frees_nothing(self) -> None:
        """`retention`: fails if a batch is dropped at its first ok."""
        self.serve_all(1)
        self.assertEqual(self.numbers_held(), [1])

    def test_time_alone_confirms_nothing(self) -> None:
        """`second_look`: fails if a batch is confirmed by its age, without asking the log again."""
        self.serve_all(1)
        self.later(10 * CONFIRM_SECONDS)
        self.send()
        self.lane.failed(self.now)
        self.add(2)
        self.assertEqual(self.numbers_held(), [1, 2])

    def test_second_look_confirms(self) -> None:
        """An answer to a request sent long enough after the first ok lets the batch go."""
        self.serve_all(1)
        self.now = self.lane.due
        self.assertEqual(self.serve(), [Confirmed(INCARNATION, 7, (held(1),))])
        self.assertIs(self.lane.state, LaneState.EMPTY)

    def test_when_the_request_was_sent_counts(self) -> None:
        """A request sent too early confirms nothing, however late its answer comes: `second_look`."""
        self.serve_all(1)
        self.add(2)
        self.later(CONFIRM_SECONDS - 1)
        sent, sent_at = self.send(), self.now
        self.later(100)
        self.assertEqual(self.lane.answered(outcome(sent), sent_at, self.now), [])

    def test_next_batch_is_a_look_too(self) -> None:
        """In a busy lane the answers to later batches confirm the earlier ones; nothing else is sent."""
        self.serve_all(1, 2)
        self.later()
        self.add(3)
        self.assertEqual(self.serve(), [Confirmed(INCARNATION, 7, (held(1), held(2)))])
        self.assertEqual(self.numbers_held(), [3])

    def test_another_lineage_is_a_first_ok(self) -> None:
        """`look_lineage`: fails if an ok under one lineage and a look under another confirm a batch."""
        self.serve_all(1)
        self.now = self.lane.due
        self.assertEqual(self.serve(lineage=NEXT_LINEAGE), [])
        self.later(CONFIRM_SECONDS / 2)
        self.add(2)
        self.assertEqual(self.serve(lineage=NEXT_LINEAGE), [])
        self.later(CONFIRM_SECONDS / 2)
        self.add(3)
        self.assertEqual(self.serve(lineage=NEXT_LINEAGE), [Confirmed(INCARNATION, 7, (held(1),))])

    def test_quiet_lane_looks(self) -> None:
        """`quiet_lanes_look`: fails if a lane with nothing to send does not ask for its last number."""
        self.serve_all(1, 2)
        self.assertIsNone(self.lane.next(self.now))
        self.later(CONFIRM_SECONDS * 1.2)
        self.assertEqual(self.send().append, Append(7, INCARNATION, 2))

    def test_quiet_lane_sees_a_rollback(self) -> None:
        """`quiet_lanes_look`: what a failover took from a lane that sends nothing more is sent again."""
        self.serve_all(1, 2)
        self.now = self.lane.due
        self.answer(self.send(), Verdict.GAP, 1, lineage=NEXT_LINEAGE)
        self.assertEqual(self.send().append.seq, 2)

    def test_look_comes_soon_after_it_may_confirm(self) -> None:
        """The second look waits as long as it must, and not much longer."""
        self.serve_all(1)
        self.assertGreaterEqual(self.lane.due, self.now + CONFIRM_SECONDS)
        self.assertLess(self.lane.due, self.now + CONFIRM_SECONDS * 1.2)

    def test_empty_lane_is_silent(self) -> None:
        """Once all is confirmed, a lane never sends anything by itself."""
        self.serve_all(1)
        self.now = self.lane.due
        self.serve()
        self.later(1e9)
        self.assertIsNone(self.lane.next(self.now))

    def test_failed_look_is_repeated_at_once(self) -> None:
        """A look that got no answer does not wait for its turn again."""
        self.serve_all(1)
        self.now = self.lane.due
        self.send()
        self.lane.failed(self.now)
        self.assertEqual(self.send().append.seq, 1)


class TwinTests(LaneCase):
    """Another agent, on a copy of the disk, is found out before it can stand for this one."""

    def test_other_checksum_of_the_last_number(self) -> None:
        """`checksum`: fails if an ok is believed although the log's last batch is not ours."""
        self.add(1)
        actions = self.answer(self.send(), checksum=999)
        self.assertEqual(actions[0], SetAside(INCARNATION, 7, held(1), "conflict", False))
        self.assertIsInstance(actions[1], NewIncarnation)
        self.assertEqual(self.numbers_held(), [])

    def test_conflict_sets_the_log_s_last_number_aside(self) -> None:
        """`chain`: a conflict about the batch before puts that one aside, not the one that was sent."""
        self.serve_all(1)
        self.add(2)
        actions = self.answer(self.send(), Verdict.CONFLICT, 1, checksum=999)
        self.assertEqual(actions[0], SetAside(INCARNATION, 7, held(1), "conflict", False))
        self.lane.noted(self.now)
        self.assertEqual(self.send().append, Append(7, INCARNATION, 2, 1, None, 10, 10, 1.7e9 + 2, 102))

    def test_batch_names_the_one_before(self) -> None:
        """`chain`: fails if a batch does not name the checksum of the one it follows while that is held."""
        self.serve_all(1)
        self.add(2)
        self.assertEqual(self.send().append.previous, 101)

    def test_confirmed_batch_is_not_named(self) -> None:
        """No other batch can take the place of a confirmed one, so its checksum is neither needed nor kept."""
        self.serve_all(1)
        self.now = self.lane.due
        self.serve()
        self.add(2)
        self.assertIsNone(self.send().append.previous)

    def test_last_number_that_was_never_given(self) -> None:
        """`checksum`: a last number above all that this agent gave betrays a twin, too."""
        self.add(1)
        actions = self.answer(self.send(), last=2)
        self.assertEqual([type(action) for action in actions], [NewIncarnation])
        self.assertEqual(actions[0].incarnation, INCARNATION)

    def test_number_the_twin_took_is_compared(self) -> None:
        """A batch sealed later under a number that the twin used is a conflict, unless it is the very same batch."""
        self.add(1)
        self.answer(self.send(), last=2, checksum=999)
        self.add(2)
        actions = self.answer(self.send(), Verdict.CONFLICT, 2, checksum=999)
        self.assertEqual(actions[0], SetAside(INCARNATION, 7, held(2), "conflict", False))

    def test_conflict_about_nothing(self) -> None:
        """A log that claims a conflict with a batch that is not held cannot make the lane spin."""
        self.add(1)
        actions = self.answer(self.send(), Verdict.CONFLICT, 0)
        self.assertEqual([type(action) for action in actions], [NewIncarnation])
        self.assertGreater(self.lane.due, self.now)
        self.assertEqual(self.numbers_held(), [1])


class GapTests(LaneCase):
    """What the log lost and the agent does not hold any more."""

    def setUp(self) -> None:
        super().setUp()
        self.serve_all(1, 2)
        self.now = self.lane.due
        self.serve()  # 1 and 2 are confirmed
        self.add(3)
        self.actions = self.answer(self.send(), Verdict.GAP, 0)

    def ask(self, last: int = 0) -> list[Any]:
        """Wait until the lane asks again, and say the same."""
        self.now = self.lane.due
        return self.answer(self.send(), Verdict.GAP, last)

    def ask_until_believed(self, last: int = 0) -> int:
        """Answer with the same gap until the lane believes it; how often that took. The action is in `actions`."""
        for asked in range(1, 20):
            self.actions = self.ask(last)
            if self.actions:
                return asked
        raise AssertionError("the gap is never believed")

    def test_gap_is_asked_again(self) -> None:
        """`gap_stands`: fails if a gap is believed at once; it is asked again, without the body, until it has stood."""
        self.assertEqual(self.actions, [])
        since = self.now
        asked = self.ask_until_believed()
        self.assertGreaterEqual(self.now, since + CONFIRM_SECONDS)
        self.assertEqual(self.actions, [Lost(INCARNATION, 7, 1, 2, None)])
        self.assertGreater(asked, 2)

    def test_question_has_no_body(self) -> None:
        """While a gap stands the lane only looks."""
        self.now = self.lane.due
        self.assertIsNone(self.send().held)

    def test_next_batch_passes_over(self) -> None:
        """`pass_over`: fails if the batch gets another number, or is never sent: it follows the log's last one."""
        self.ask_until_believed()
        self.assertEqual(self.send().append, Append(7, INCARNATION, 3, 0, None, 20, 10, 1.7e9 + 3, 103))

    def test_gap_that_heals_is_forgotten(self) -> None:
        """When the log has the numbers after all, the lane goes on as if nothing had been."""
        self.ask()
        self.now = self.lane.due
        self.answer(self.send(), Verdict.GAP, 2)
        self.assertEqual(self.send().append.after, 2)

    def test_another_last_number_is_another_gap(self) -> None:
        """A gap that changes has to stand anew."""
        since = self.now
        self.ask()
        self.ask()
        changed = self.lane.due
        self.ask_until_believed(1)
        self.assertGreaterEqual(self.now, changed + CONFIRM_SECONDS)
        self.assertGreater(self.now, since + CONFIRM_SECONDS)
        self.assertEqual(self.actions, [Lost(INCARNATION, 7, 2, 2, None)])

    def test_new_batches_wait_behind_the_gap(self) -> None:
        """What is sealed meanwhile goes out after the batch that passes over."""
        self.add(4)
        self.ask_until_believed()
        self.serve()
        self.assertEqual(self.send().append.after, 3)

    def test_lost_events_are_told_where_known(self) -> None:
        """When the batch before the hole is still held, the lane knows how many events are missing."""
        lane = Lane(INCARNATION, 7)
        lane.recover([held(1), held(4)])
        sent = lane.next(self.now)
        assert sent is not None
        lane.answered(outcome(sent, Verdict.GAP, 1), self.now, self.now)
        self.later()
        sent = lane.next(self.now)
        assert sent is not None
        actions = lane.answered(outcome(sent, Verdict.GAP, 1), self.now, self.now)
        self.assertEqual(actions[-1], Lost(INCARNATION, 7, 2, 3, 20))
