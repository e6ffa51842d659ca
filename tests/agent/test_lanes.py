"""The rules of lanes, one by one. Their meeting in any order is the matter of test_lanes_model."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.lane import PAUSE_SECONDS
from taba.agent.lanes import (
    CONFIRM_SECONDS,
    NOW,
    Confirmed,
    Held,
    Lane,
    Lanes,
    LaneState,
    Lost,
    NewIncarnation,
    Outgoing,
    SetAside,
    Totals,
)
from taba.errors import LocalProtocolError
from taba.interfaces import Append, Outcome, Verdict

INCARNATION = "0" * 31 + "a"
OTHER = "0" * 31 + "b"
LINEAGE = "1" * 32
NEXT_LINEAGE = "2" * 32
EVENTS = 10  # in each batch, where a test does not say otherwise
LATER = CONFIRM_SECONDS + 1


def held(seq: int, *, events: int = EVENTS, after: int | None = None, before: int | None = None) -> Held:
    """Batch `seq` of a lane whose batches have EVENTS events each; its checksum is 100 + seq."""
    return Held(
        seq,
        seq - 1 if after is None else after,
        (seq - 1) * EVENTS if before is None else before,
        events,
        1.7e9 + seq,
        100 + seq,
        1000,
        f"record {seq}",
    )


def outcome(
    sent: Outgoing,
    verdict: Verdict = Verdict.OK,
    last: int | None = None,
    *,
    checksum: int | None = None,
    lineage: str = LINEAGE,
    reason: str = "",
) -> Outcome:
    """A log's answer; without more, that it has what was sent and nothing after it."""
    append = sent.append
    last = append.seq if last is None else last
    checksum = checksum if checksum is not None else 100 + last if last else None
    return Outcome(append.vbucket, append.incarnation, append.seq, verdict, last, checksum, lineage, reason)


class LaneCase(SynchronousTestCase):
    """One lane, a clock, and short words for what happens to them."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.lane = Lane(INCARNATION, 7)

    def add(self, *numbers: int) -> None:
        for seq in numbers:
            self.lane.add(held(seq))

    def send(self) -> Outgoing:
        sent = self.lane.next(self.now)
        assert sent is not None, f"nothing to send in state {self.lane.state}"
        return sent

    def answer(self, sent: Outgoing, *args: Any, **kwargs: Any) -> list[Any]:
        return self.lane.answered(outcome(sent, *args, **kwargs), self.now, self.now)

    def serve(self, **kwargs: Any) -> list[Any]:
        """Send whatever is next, and have it answered with ok."""
        return self.answer(self.send(), **kwargs)

    def serve_all(self, *numbers: int, **kwargs: Any) -> None:
        """Add batches and have each answered with its first ok."""
        for seq in numbers:
            self.add(seq)
            self.assertEqual(self.serve(**kwargs), [])

    def later(self, seconds: float = LATER) -> None:
        self.now += seconds

    def numbers_held(self) -> list[int]:
        return [batch.seq for batch in self.lane.held]


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


class SetAsideTests(LaneCase):
    """What the store will never take leaves neither a gap nor a doubt."""

    def refuse(self) -> SetAside:
        (action,) = self.answer(self.send(), Verdict.REFUSED, 0, reason="too old")
        assert isinstance(action, SetAside)
        return action

    def test_next_one_follows_the_one_before(self) -> None:
        """The batch after a refused one names the number before it, and the events without the refused ones."""
        self.add(1, 2, 3)
        self.assertEqual(self.refuse(), SetAside(INCARNATION, 7, held(1), "too old", True))
        self.lane.noted(self.now)
        first, second = self.send().append, self.lane.held[1]
        self.assertEqual((first.seq, first.after, first.before), (2, 0, 0))
        self.assertEqual((second.seq, second.after, second.before), (3, 2, 10))

    def test_batch_whose_seal_was_under_way(self) -> None:
        """A batch that was sealed before the refusal, and added after it, is corrected as well."""
        self.add(1)
        self.refuse()
        self.add(2, 3)
        self.lane.noted(self.now)
        self.assertEqual([(each.after, each.before) for each in self.lane.held], [(0, 0), (2, 10)])

    def test_several_refused(self) -> None:
        """Every batch of an old spool may be refused; the first that is not follows what the log has."""
        self.add(1, 2, 3)
        for _ in range(2):
            self.refuse()
            self.lane.noted(self.now)
        append = self.send().append
        self.assertEqual((append.seq, append.after, append.before), (3, 0, 0))

    def test_nothing_is_sent_before_it_is_noted(self) -> None:
        """If a batch went out before the spool noted the refusal, a crash would take the refused one for delivered."""
        self.add(1, 2)
        self.refuse()
        self.assertIsNone(self.lane.next(self.now))
        self.lane.failed(self.now)
        self.assertIsNone(self.lane.next(self.now + 1e9))
        self.lane.noted(self.now)
        self.assertEqual(self.send().append.seq, 2)

    def test_older_batches_that_no_answer_spoke_of(self) -> None:
        """When the newest batch is set aside right after a restart, the older ones are still asked about."""
        self.lane.recover([held(1), held(2)])
        self.answer(self.send(), checksum=999)
        self.lane.noted(self.now)
        sent = self.send()
        self.assertEqual(sent.append, Append(7, INCARNATION, 1))
        self.assertEqual(self.answer(sent, last=2, checksum=999), [])
        self.assertIs(self.lane.state, LaneState.QUIET)


class UnreadableTests(LaneCase):
    """A body that the disk does not give back."""

    def setUp(self) -> None:
        super().setUp()
        self.add(1, 2)
        self.send()
        self.lane.unreadable(self.now)

    def test_log_may_have_it(self) -> None:
        """If an earlier request brought the batch, its body is not needed any more."""
        self.answer(self.send(), Verdict.GAP, 1)
        self.assertEqual(self.send().append.seq, 2)
        self.assertEqual(self.numbers_held(), [1, 2])

    def test_otherwise_it_is_set_aside(self) -> None:
        """If the log does not have it, it is counted as damaged, and the next batch passes over it."""
        actions = self.answer(self.send(), Verdict.GAP, 0)
        self.assertEqual(actions, [SetAside(INCARNATION, 7, held(1), "damaged", True)])
        self.lane.noted(self.now)
        append = self.send().append
        self.assertEqual((append.seq, append.after, append.before), (2, 0, 0))

    def test_question_is_repeated(self) -> None:
        """Without an answer the lane asks again, and never sends the body."""
        self.send()
        self.lane.failed(self.now)
        self.assertIsNone(self.send().held)

    def test_behind_a_gap(self) -> None:
        """A batch that is behind a gap, and damaged, is set aside when the gap has stood."""
        lane = Lane(INCARNATION, 7, given=4, follows=4, so_far=40)
        lane.add(held(5))
        sent = lane.next(self.now)
        lane.unreadable(self.now)
        actions: list[Any] = []
        for _ in range(20):
            sent = lane.next(self.now)
            assert sent is not None
            actions += lane.answered(outcome(sent, Verdict.GAP, 3), self.now, self.now)
            if actions:
                break
            self.now = lane.due
        self.assertEqual([type(action) for action in actions], [Lost, SetAside])


class RecoveryTests(LaneCase):
    """After a restart a lane asks first, and sends only what the log lacks."""

    def test_looks_before_it_sends(self) -> None:
        """The first request has no body: it asks for the highest number."""
        self.lane.recover([held(5), held(6), held(7)])
        self.assertEqual(self.send(), Outgoing(self.lane, Append(7, INCARNATION, 7), None))

    def test_only_the_rest_is_sent(self) -> None:
        """What the log has needs no body again."""
        self.lane.recover([held(5), held(6), held(7)])
        self.answer(self.send(), Verdict.GAP, 6)
        append = self.send().append
        self.assertEqual((append.seq, append.after, append.previous), (7, 6, 106))

    def test_second_look_counts_from_the_restart(self) -> None:
        """When the first ok was is not on disk: the first answer of this life counts."""
        self.lane.recover([held(5)])
        self.assertEqual(self.serve(), [])
        self.now = self.lane.due
        self.assertEqual(self.serve(), [Confirmed(INCARNATION, 7, (held(5),))])

    def test_failed_look_is_still_first(self) -> None:
        """Without an answer no body goes out."""
        self.lane.recover([held(5)])
        self.send()
        self.lane.failed(self.now)
        self.answer(self.send(), Verdict.MOVED, 0, lineage="")
        self.now = self.lane.due
        self.assertIsNone(self.send().held)

    def test_numbers_that_were_set_aside_stay_given(self) -> None:
        """Where the newest batches were set aside, the next one has a number above theirs, and follows what is held."""
        self.lane = Lane(INCARNATION, 7, given=9, follows=5, so_far=50)
        self.lane.recover([held(5)])
        self.assertEqual(self.serve(), [])
        self.lane.add(held(10))
        append = self.send().append
        self.assertEqual((append.seq, append.after, append.previous, append.before), (10, 5, 105, 50))

    def test_goes_on_with_its_numbers(self) -> None:
        """Batches sealed after the restart follow the recovered ones, or else the numbers that were recovered."""
        self.lane.recover([held(5)])
        self.add(6)
        self.assertEqual(self.lane.held[1].after, 5)
        empty = Lane(INCARNATION, 7, given=9, follows=8, so_far=77)
        empty.recover([])
        empty.add(held(10))
        self.assertEqual((empty.held[0].after, empty.held[0].before), (8, 77))

    def test_only_a_new_lane(self) -> None:
        """A lane that holds something is not recovered over."""
        self.add(1)
        self.assertRaises(LocalProtocolError, self.lane.recover, [held(5)])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add")),
        st.tuples(st.just("next"), st.floats(0, 100)),
        st.tuples(st.just("failed")),
        st.tuples(st.just("unreadable")),
        st.tuples(st.just("noted")),
        st.tuples(st.just("suspect")),
        st.tuples(
            st.just("answered"),
            st.sampled_from(list(Verdict)),
            st.one_of(st.integers(0, 8), st.just(2**53 - 1)),
            st.one_of(st.none(), st.integers(100, 108)),
            st.sampled_from([LINEAGE, NEXT_LINEAGE]),
        ),
    ),
    max_size=40,
)


class EveryStateTests(SynchronousTestCase):
    """Whatever a caller does and a log says, in whatever state, the lane ends in a known state."""

    @settings(max_examples=300, deadline=None, database=None)
    @given(STEPS, st.booleans())
    def test_any_input_in_any_state(self, steps: list[tuple[Any, ...]], recovered: bool) -> None:
        """No input raises; something is in flight exactly in that state; what is due can be sent."""
        lane, now = Lane(INCARNATION, 7), 1000.0
        if recovered:
            lane.recover([held(1), held(2), held(3)])
        for name, *args in steps:
            if name == "add":
                lane.add(held(lane.given + 1))
            elif name == "next":
                now += args[0]
                due = lane.due <= now
                self.assertEqual(lane.next(now) is not None, due)
            elif name == "suspect":
                lane.suspect()
            elif name != "answered":
                getattr(lane, name)(now)
            elif lane.flight:
                lane.answered(outcome(lane.flight, args[0], args[1], checksum=args[2], lineage=args[3]), now, now)
            self.check(lane)

    def check(self, lane: Lane) -> None:
        self.assertEqual(lane.flight is not None, lane.state is LaneState.IN_FLIGHT)
        self.assertEqual(not lane.held, lane.state is LaneState.EMPTY or (not lane.held and lane.flight is None))
        self.assertEqual([batch.seq for batch in lane.held], sorted(batch.seq for batch in lane.held))
        for batch in lane.held:
            self.assertLess(batch.after, batch.seq)
            self.assertGreaterEqual(batch.before, 0)


# ---------------------------------------------------------------------------------------------------------------- lanes


class LanesCase(SynchronousTestCase):
    """All lanes of an agent, a clock, and a log that says ok."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.lanes = Lanes()

    def add(self, *vbuckets: int, seq: int = 1) -> None:
        for vbucket in vbuckets:
            self.lanes.add(INCARNATION, vbucket, held(seq))

    def gather(self, max_bytes: int = 10**6, max_batches: int = 1000) -> list[Outgoing]:
        return self.lanes.gather(self.now, max_bytes, max_batches)

    def answer(self, sent: list[Outgoing], **kwargs: Any) -> list[Any]:
        return self.lanes.answered(sent, [outcome(each, **kwargs) for each in sent], self.now, self.now)

    def vbuckets(self, sent: list[Outgoing]) -> list[int]:
        return [each.append.vbucket for each in sent]


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
