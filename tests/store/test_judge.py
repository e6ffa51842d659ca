"""The rules of lanes and checkpoints, as pure functions: every branch, and laws over whatever agents may send."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.interfaces import Append, Checkpoint, Lease, Position, Verdict, Written
from taba.store.judge import (
    BAD_NUMBER,
    FLUSHED,
    LOST,
    NO_SUCH_VBUCKET,
    TOO_OLD,
    Judgement,
    LaneRow,
    breaks_rules,
    is_idle,
    judge,
    judge_checkpoint,
    judge_in_order,
    names_to_be_free,
    own_ledger,
)
from tests.contracts.store_harness import A, batch, look
from tests.strategies import law

DAY = 86400.0
DEDUP = 14 * DAY
NOW = 1_700_000_000.0
ROW = LaneRow(last=5, checksum=555, events=50, touched=NOW - 100)


def verdict(row: LaneRow | None, asked: Append, now: float = NOW) -> Judgement:
    return judge(row, asked, now, DEDUP)


class LookTests(SynchronousTestCase):
    """A look asks for the last number, and leaves no trace."""

    def test_number_that_is_there(self) -> None:
        """A number that is not above the last is there, the last one included."""
        self.assertEqual([verdict(ROW, look(seq)) for seq in (1, 5)], [Judgement(Verdict.OK)] * 2)

    def test_number_that_is_missing(self) -> None:
        """A number above the last is missing; of an unknown lane all are."""
        self.assertEqual(verdict(ROW, look(6)), Judgement(Verdict.GAP))
        self.assertEqual(verdict(None, look(1)), Judgement(Verdict.GAP))


class DuplicateTests(SynchronousTestCase):
    """A number that the log has is not taken again."""

    def duplicate(self, seq: int, **fields: Any) -> Append:
        return evolve(batch(seq, sealed=NOW), **{"checksum": 555, **fields})

    def test_last_number_is_touched(self) -> None:
        """A copy of the last batch keeps the row, and only its age changes."""
        self.assertEqual(verdict(ROW, self.duplicate(5)), Judgement(Verdict.OK, row=LaneRow(5, 555, 50, NOW)))

    def test_older_number_is_touched(self) -> None:
        """A copy of an older batch does the same, whatever its checksum: nobody remembers it."""
        self.assertEqual(verdict(ROW, self.duplicate(2, checksum=1)).row, LaneRow(5, 555, 50, NOW))

    def test_duplicate_before_too_old(self) -> None:
        """A copy of a batch that the log has is a duplicate at any age."""
        self.assertEqual(verdict(ROW, self.duplicate(5, sealed=0.0)).verdict, Verdict.OK)

    def test_duplicate_before_gap_and_chain(self) -> None:
        """What a copy says it follows does not matter any more."""
        self.assertEqual(verdict(ROW, self.duplicate(5, after=4, previous=999)).verdict, Verdict.OK)

    def test_other_events_under_the_last_number_are_a_conflict(self) -> None:
        """The last number with another checksum is another agent's, and touches nothing."""
        self.assertEqual(verdict(ROW, self.duplicate(5, checksum=556)), Judgement(Verdict.CONFLICT))

    def test_time_that_steps_back_ages_no_row(self) -> None:
        """A row keeps the latest touch."""
        self.assertEqual(verdict(ROW, self.duplicate(5), now=NOW - 1000).row, ROW)


class NextTests(SynchronousTestCase):
    """What is appended, and what is not."""

    def test_first_batch_of_a_lane(self) -> None:
        """Number 1 of an unknown lane is appended."""
        first = batch(1, sealed=NOW)
        self.assertEqual(
            verdict(None, first), Judgement(Verdict.OK, row=LaneRow(1, first.checksum, 10, NOW), appended=True)
        )

    def test_next_batch(self) -> None:
        """The number after the last is appended, with or without the checksum of the last."""
        for previous in (None, 555):
            asked = batch(6, previous=previous, sealed=NOW)
            self.assertEqual(
                verdict(ROW, asked), Judgement(Verdict.OK, row=LaneRow(6, asked.checksum, 60, NOW), appended=True)
            )

    def test_chain_by_checksum(self) -> None:
        """A batch that follows another number 5 than the log's is a conflict; so is one that follows a number 0."""
        self.assertEqual(verdict(ROW, batch(6, previous=556, sealed=NOW)), Judgement(Verdict.CONFLICT))
        self.assertEqual(verdict(None, batch(1, previous=0, sealed=NOW)), Judgement(Verdict.CONFLICT))

    def test_chain_is_only_of_the_last(self) -> None:
        """A batch that follows an older number names a checksum that nobody can compare."""
        self.assertTrue(verdict(ROW, batch(6, after=4, previous=999, sealed=NOW)).appended)

    def test_gap(self) -> None:
        """A batch that follows a number above the last is not taken, however old it is."""
        self.assertEqual(verdict(ROW, batch(7, sealed=NOW)), Judgement(Verdict.GAP))
        self.assertEqual(verdict(None, batch(7, sealed=0.0)), Judgement(Verdict.GAP))

    def test_passing_over_counts_the_events_between(self) -> None:
        """What the lane gave between the last batch and this one is lost."""
        judgement = verdict(ROW, batch(9, after=5, before=80, sealed=NOW))
        self.assertEqual((judgement.lost, judgement.row), (30, LaneRow(9, batch(9).checksum, 90, NOW)))

    def test_passing_over_from_an_older_number(self) -> None:
        """What the log has of the numbers between is not lost."""
        self.assertEqual(verdict(ROW, batch(9, after=2, before=80, sealed=NOW)).lost, 30)

    def test_fewer_events_than_remembered_are_no_gain(self) -> None:
        """The count of lost events never falls."""
        self.assertEqual(verdict(ROW, batch(6, before=40, sealed=NOW)).lost, 0)

    def test_too_old(self) -> None:
        """A batch sealed more than DEDUP_DAYS - 1 days ago is refused, after gap and chain have been looked at."""
        limit = NOW - 13 * DAY
        self.assertTrue(verdict(ROW, batch(6, sealed=limit)).appended)
        self.assertEqual(verdict(ROW, batch(6, sealed=limit - 1)), Judgement(Verdict.REFUSED, TOO_OLD))
        self.assertEqual(verdict(ROW, batch(6, previous=1, sealed=limit - 1)).verdict, Verdict.CONFLICT)

    def test_bad_numbers(self) -> None:
        """A number that follows itself, a later one or a negative one is no number; one below 1 is no duplicate."""
        for seq, after in ((6, 6), (6, 7), (6, -1), (0, 0), (-1, -2), (0, -1)):
            for row in (None, ROW):
                self.assertEqual(
                    verdict(row, batch(seq, after=after, before=0, sealed=NOW)), Judgement(Verdict.REFUSED, BAD_NUMBER)
                )

    def test_time_that_steps_back_ages_no_row(self) -> None:
        """A row keeps the latest touch."""
        row = verdict(ROW, batch(6, sealed=NOW), now=NOW - 1000).row
        assert row is not None
        self.assertEqual(row.touched, ROW.touched)


class InOrderTests(SynchronousTestCase):
    """One call for many batches."""

    def test_each_on_top_of_those_before(self) -> None:
        """Batches of one lane follow one another within the call."""
        batches = [batch(seq, sealed=NOW) for seq in (1, 2, 2, 4, 3)]
        judged = judge_in_order(batches, lambda *lane: None, vbuckets=8, lineage="line", now=NOW, dedup_seconds=DEDUP)
        self.assertEqual([o.verdict.value for o in judged.outcomes], ["ok", "ok", "ok", "gap", "ok"])
        self.assertEqual([one.seq for one in judged.appended], [1, 2, 3])
        self.assertEqual(judged.rows, {(A, 3): LaneRow(3, batch(3).checksum, 30, NOW)})

    def test_losses_add_up_by_vbucket(self) -> None:
        """Several lanes of one vbucket lose together."""
        batches = [
            batch(3, after=0, sealed=NOW),
            batch(2, after=0, lane="b" * 32, sealed=NOW),
            batch(2, after=0, vbucket=5, sealed=NOW),
            batch(1, vbucket=6, sealed=NOW),
        ]
        judged = judge_in_order(batches, lambda *lane: None, vbuckets=8, lineage="line", now=NOW, dedup_seconds=DEDUP)
        self.assertEqual(judged.lost, {3: 30, 5: 10})

    def test_vbuckets_that_do_not_exist(self) -> None:
        """A batch for a vbucket that the cluster does not have will never be taken; no row is looked for."""
        judged = judge_in_order(
            [batch(1, vbucket=8), batch(1, vbucket=-1), look(1, vbucket=8)],
            lambda *lane: self.fail("there is no such row"),
            vbuckets=8,
            lineage="line",
            now=NOW,
            dedup_seconds=DEDUP,
        )
        self.assertEqual(
            [(o.verdict, o.reason, o.last, o.checksum) for o in judged.outcomes],
            [(Verdict.REFUSED, NO_SUCH_VBUCKET, 0, None)] * 3,
        )
        self.assertEqual((judged.rows, judged.appended), ({}, []))

    def test_outcome_shows_the_lane_after_the_batch(self) -> None:
        """Last number and checksum are those after the batch, or those that stayed."""
        judged = judge_in_order(
            [batch(6, sealed=NOW), batch(9, sealed=NOW)],
            lambda *lane: ROW,
            vbuckets=8,
            lineage="line",
            now=NOW,
            dedup_seconds=DEDUP,
        )
        self.assertEqual(
            [(o.last, o.checksum, o.lineage) for o in judged.outcomes], [(6, batch(6).checksum, "line")] * 2
        )


ANY_ROW = st.none() | st.builds(
    LaneRow, st.integers(1, 6), st.integers(1, 3), st.integers(0, 60), st.floats(NOW - 20 * DAY, NOW)
)
ANY_BATCH = st.builds(
    lambda seq, after, previous, before, events, age, checksum, body: Append(
        3, A, seq, after, previous, before, events, NOW - age, checksum, body
    ),
    st.integers(-1, 8),
    st.integers(-1, 8),
    st.none() | st.integers(1, 3),
    st.integers(0, 80),
    st.integers(0, 10),
    st.floats(0, 20 * DAY),
    st.integers(1, 3),
    st.none() | st.just(b"x"),
)


class Laws(SynchronousTestCase):
    """What holds whatever is asked."""

    @law(ANY_ROW, ANY_BATCH)
    def test_what_is_appended_is_a_duplicate_from_then_on(self, row: LaneRow | None, asked: Append) -> None:
        """The same batch is never appended twice in a row, and its second copy is acknowledged."""
        first = verdict(row, asked)
        if first.appended:
            again = verdict(first.row, asked)
            self.assertEqual((again.verdict, again.appended, again.lost), (Verdict.OK, False, 0))

    @law(ANY_ROW, ANY_BATCH)
    def test_last_numbers_only_rise(self, row: LaneRow | None, asked: Append) -> None:
        """No batch takes a lane back, and only an append moves it."""
        judgement = verdict(row, asked)
        if judgement.row:
            before = row.last if row else 0
            self.assertEqual(judgement.row.last > before, judgement.appended)
            self.assertGreaterEqual(judgement.row.last, before)

    @law(ANY_ROW, ANY_BATCH)
    def test_only_ok_changes_anything(self, row: LaneRow | None, asked: Append) -> None:
        """Whatever is not OK leaves row, log and ledger alone, and only a refusal has a reason."""
        judgement = verdict(row, asked)
        if judgement.verdict is not Verdict.OK:
            self.assertEqual((judgement.row, judgement.lost, judgement.appended), (None, 0, False))
        self.assertEqual(bool(judgement.reason), judgement.verdict is Verdict.REFUSED)

    @law(ANY_ROW, ANY_BATCH)
    def test_what_is_acknowledged_is_in_the_log(self, row: LaneRow | None, asked: Append) -> None:
        """A batch is answered OK only if it is appended now, or the log's last number is not below it."""
        judgement = verdict(row, asked)
        if judgement.verdict is Verdict.OK and asked.body is not None:
            self.assertTrue(judgement.appended or (row is not None and 1 <= asked.seq <= row.last))

    @law(ANY_ROW, ANY_BATCH, st.floats(0, 30 * DAY))
    def test_forgotten_batches_are_too_old(self, row: LaneRow | None, asked: Append, later: float) -> None:
        """A batch that was appended is, once its row may be forgotten, refused: no late copy is counted twice."""
        judgement = verdict(row, asked)
        if judgement.appended and judgement.row and is_idle(judgement.row.touched, NOW + later, DEDUP):
            self.assertFalse(judge(None, asked, NOW + later, DEDUP).appended)


class IdleTests(SynchronousTestCase):
    """When a lane may be forgotten."""

    def test_idle(self) -> None:
        """After exactly so long without a touch, and not before."""
        self.assertFalse(is_idle(NOW - DEDUP + 1, NOW, DEDUP))
        self.assertTrue(is_idle(NOW - DEDUP, NOW, DEDUP))


LEASE = Lease(3, "be", 7)
CHECKPOINT = Checkpoint(LEASE, "line", Position(10, 4), Position(12, 5))


class CheckpointTests(SynchronousTestCase):
    """Whether a checkpoint is written."""

    def written(self, checkpoint: Checkpoint = CHECKPOINT, held: bool = True, last_id: int = 12) -> Written:
        return judge_checkpoint(checkpoint, held=held, lineage="line", position=Position(10, 4), last_id=last_id)

    def test_done(self) -> None:
        """A lease that is held, the store's lineage, the store's position, and entries that the log has."""
        self.assertEqual(self.written(), Written.DONE)

    def test_fenced(self) -> None:
        """A lease that is not held is fenced before anything else is looked at."""
        self.assertEqual(self.written(held=False), Written.FENCED)
        self.assertEqual(self.written(evolve(CHECKPOINT, lineage="other"), held=False), Written.FENCED)

    def test_stale(self) -> None:
        """Another lineage, another position or another count of commits is stale."""
        for wrong in (
            evolve(CHECKPOINT, lineage="other"),
            evolve(CHECKPOINT, expected=Position(9, 4)),
            evolve(CHECKPOINT, expected=Position(10, 3)),
        ):
            self.assertEqual(self.written(wrong), Written.STALE)

    def test_entries_that_the_log_does_not_have_are_stale(self) -> None:
        """Nobody may have folded what is not there: entries to come would be dropped unread."""
        self.assertEqual(self.written(last_id=11), Written.STALE)

    def test_rules_of_positions(self) -> None:
        """Every checkpoint counts, and none goes back."""
        self.assertEqual(breaks_rules(CHECKPOINT), "")
        self.assertEqual(breaks_rules(evolve(CHECKPOINT, position=Position(10, 5))), "")
        self.assertIn("count", breaks_rules(evolve(CHECKPOINT, position=Position(12, 4))))
        self.assertIn("back", breaks_rules(evolve(CHECKPOINT, position=Position(9, 5))))


names = st.sampled_from(["a", "b", "c", "d"])


class RenameTests(SynchronousTestCase):
    """Whether tabs may get other names."""

    def problem(self, renames: dict[str, str], **fields: Any) -> str:
        return breaks_rules(evolve(CHECKPOINT, renames=renames, **fields))

    def test_names_that_the_checkpoint_uses(self) -> None:
        """A name that is written to, in any way, or given twice, is not free."""
        self.assertEqual(self.problem({"a": "b", "c": "d"}, states={("a", "x"): b""}, types={"c": None}), "")
        for fields in ({"states": {("b", "x"): None}}, {"aggregates": {"b": b""}}, {"types": {"b": "X"}}):
            self.assertIn("'b'", self.problem({"a": "b"}, **fields))
        self.assertIn("'c'", self.problem({"a": "c", "b": "c"}))
        self.assertIn("'a'", self.problem({"a": "a"}))

    def test_names_that_are_freed(self) -> None:
        """A name is free once its tab has another one, and taken again by the next who gets it."""
        self.assertEqual(self.problem({"b": "c", "a": "b"}, types={"b": "X"}), "")
        self.assertEqual(self.problem({"a": "b", "b": "c", "d": "b"}), "")
        self.assertIn("'b'", self.problem({"b": "c", "a": "b", "d": "b"}))
        self.assertEqual(names_to_be_free({"b": "c", "a": "b", "d": "a"}), ["c"])
        self.assertEqual(names_to_be_free({"a": "b", "b": "c"}), ["b", "c"])

    @law(st.dictionaries(names, names, max_size=4), st.sets(names), st.sets(names))
    def test_as_if_one_after_the_other(self, renames: dict[str, str], there: set[str], written: set[str]) -> None:
        """The rules find just what somebody would who did one rename after the other, on top of what is written."""
        taken, wrong = there | written, False
        for old, new in renames.items():
            wrong = wrong or new == old or new in taken
            taken = taken - {old} | {new}
        found = bool(self.problem(renames, types=dict.fromkeys(written, "X")))
        self.assertEqual(found or bool(set(names_to_be_free(renames)) & there), wrong)


class LedgerTests(SynchronousTestCase):
    """The row that a checkpoint writes."""

    def test_own_lines_are_left_out(self) -> None:
        """The store keeps its own lines itself."""
        row = {"folded": 1, LOST: 2, FLUSHED: 3, "refused.future": 4}
        self.assertEqual(own_ledger(evolve(CHECKPOINT, ledger=row)), {"folded": 1, "refused.future": 4})
