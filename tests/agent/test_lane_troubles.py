"""What a lane does with batches that cannot be kept or read, after a start, and in whatever state."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.lanes import (
    Confirmed,
    Lane,
    LaneState,
    Lost,
    Outgoing,
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
