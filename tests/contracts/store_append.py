"""The contract of `IStore.append` and `IStore.prune`: the rules of lanes, as any store has to keep them."""

from __future__ import annotations

from taba.interfaces import Append, Outcome, Verdict
from tests.contracts.store_harness import DAY, DEDUP_DAYS, START, A, B, StoreSuite, V, W, batch, checksum_of, look


class AppendContract(StoreSuite):
    """Batches in order, duplicates, gaps, conflicts, numbers passed over, and lanes that are forgotten."""

    def assertAnswer(self, asked: Append, verdict: Verdict, last: int, reason: str = "") -> Outcome:
        """Ask for one batch or look, and check what is said to it."""
        outcome = self.append_one(asked)
        self.assertEqual((outcome.verdict, outcome.last, outcome.reason), (verdict, last, reason))
        return outcome

    # --------------------------------------------------------------------------------------------------- in order

    def test_first_batch_is_appended(self) -> None:
        """The first batch of an agent goes into the log, and the answer says so in full."""
        first = batch(1)
        self.assertEqual(
            self.append_one(first),
            Outcome(V, A, 1, Verdict.OK, 1, first.checksum, self.store.cluster.lineage, "", True),
        )
        self.assertEqual(self.bodies(), [first.body])

    def test_lane_goes_on(self) -> None:
        """Each batch that follows the one before it is appended, in order."""
        for seq in (1, 2, 3):
            self.assertAnswer(batch(seq), Verdict.OK, seq)
        self.assertEqual(self.bodies(), [batch(1).body, batch(2).body, batch(3).body])

    def test_entries_have_the_time_of_the_append(self) -> None:
        """An entry says when the store took it, by the store's own wall clock."""
        self.append(batch(1))
        self.harness.advance(7)
        self.append(batch(2))
        first, second = self.entries()
        self.assertApproximates(first.appended, START, 1.0)
        self.assertApproximates(second.appended - first.appended, 7, 1.0)

    def test_ids_are_dense_in_each_vbucket(self) -> None:
        """Every log numbers its entries 1, 2, 3, whatever lanes they come from."""
        self.append(batch(1), batch(1, vbucket=W), batch(1, lane=B), batch(2))
        self.assertEqual([entry.id for entry in self.entries(V)], [1, 2, 3])
        self.assertEqual([entry.id for entry in self.entries(W)], [1])

    def test_answers_come_in_the_order_of_the_batches(self) -> None:
        """One call for many lanes is answered lane by lane, as asked."""
        asked = [batch(1, vbucket=W), batch(1, lane=B), batch(3), look(4, lane=B), batch(1)]
        outcomes = self.append(*asked)
        self.assertEqual(
            [(o.vbucket, o.incarnation, o.seq) for o in outcomes],
            [(W, A, 1), (V, B, 1), (V, A, 3), (V, B, 4), (V, A, 1)],
        )
        self.assertEqual([o.verdict for o in outcomes], [Verdict.OK, Verdict.OK, Verdict.GAP, Verdict.GAP, Verdict.OK])

    def test_batches_of_one_lane_in_one_call_are_judged_in_order(self) -> None:
        """A call may bring several batches of a lane; each is judged on top of those before it."""
        outcomes = self.append(look(1), batch(1), look(1), batch(1), batch(2), batch(4))
        self.assertEqual([o.verdict.value for o in outcomes], ["gap", "ok", "ok", "ok", "ok", "gap"])
        self.assertEqual([o.appended for o in outcomes], [False, True, False, False, True, False])
        self.assertEqual([o.last for o in outcomes], [0, 1, 1, 1, 2, 2])
        self.assertEqual(self.bodies(), [batch(1).body, batch(2).body])

    def test_no_batches_are_answered_by_nothing(self) -> None:
        """A call without batches is answered without outcomes."""
        self.assertEqual(self.append(), [])

    def test_lanes_are_of_one_incarnation_and_one_vbucket(self) -> None:
        """The same number of another agent, or for another vbucket, is another batch."""
        self.append(batch(1), batch(1, lane=B), batch(1, vbucket=W))
        self.assertEqual((len(self.bodies(V)), len(self.bodies(W))), (2, 1))

    # ------------------------------------------------------------------------------------------------- duplicates

    def test_repeated_batch_is_a_duplicate(self) -> None:
        """Sending a batch again is answered ok, and keeps one copy."""
        self.append(batch(1))
        self.assertFalse(self.assertAnswer(batch(1), Verdict.OK, 1).appended)
        self.assertEqual(self.bodies(), [batch(1).body])

    def test_older_batch_is_a_duplicate(self) -> None:
        """A copy that arrives when later batches are in the log is answered with the last of these."""
        self.append(batch(1), batch(2), batch(3))
        outcome = self.assertAnswer(batch(1), Verdict.OK, 3)
        self.assertEqual(outcome.checksum, batch(3).checksum)
        self.assertEqual(len(self.bodies()), 3)

    def test_duplicate_counts_no_loss(self) -> None:
        """A copy, whatever it says of the events before it, changes nothing in the ledger."""
        self.append(batch(1))
        self.append(batch(1, before=1000))
        self.assertEqual(self.lost(), 0)

    def test_very_late_duplicate_is_a_duplicate(self) -> None:
        """A batch that the store has is never refused as too old."""
        self.append(batch(1))
        self.harness.advance(10 * DAY)
        self.append(batch(2, sealed=START + 10 * DAY))
        self.harness.advance(10 * DAY)
        self.assertAnswer(batch(1), Verdict.OK, 2)

    # -------------------------------------------------------------------------------------------------- conflicts

    def test_same_number_with_other_events_is_a_conflict(self) -> None:
        """Two agents that use one lane are told so, and nothing of the second gets in."""
        self.append(batch(1))
        outcome = self.assertAnswer(batch(1, body=b"another"), Verdict.CONFLICT, 1)
        self.assertEqual(outcome.checksum, batch(1).checksum)
        self.assertEqual(self.bodies(), [batch(1).body])

    def test_conflict_changes_nothing(self) -> None:
        """After a conflict the first agent goes on as if nothing had happened."""
        self.append(batch(1))
        self.append(batch(1, body=b"another"))
        self.assertAnswer(batch(1), Verdict.OK, 1)
        self.assertAnswer(batch(2, previous=batch(1).checksum), Verdict.OK, 2)

    def test_batch_that_follows_the_last_one_is_appended(self) -> None:
        """A batch that names the checksum of the one before it is appended when that one is the last."""
        self.append(batch(1))
        self.assertTrue(self.assertAnswer(batch(2, previous=batch(1).checksum), Verdict.OK, 2).appended)

    def test_batch_that_follows_another_one_is_a_conflict(self) -> None:
        """A twin's number 1 does not stand for the original's: its number 2 finds out."""
        self.append(batch(1, body=b"the twin's"))
        outcome = self.assertAnswer(batch(2, previous=batch(1).checksum), Verdict.CONFLICT, 1)
        self.assertEqual(outcome.checksum, checksum_of(b"the twin's"))
        self.assertEqual(self.bodies(), [b"the twin's"])

    def test_previous_counts_only_for_the_last(self) -> None:
        """Where the batch that is followed is not the last, its checksum is not known, and not compared."""
        self.append(batch(1), batch(2))
        self.assertAnswer(batch(5, after=1, previous=999), Verdict.OK, 5)

    # ------------------------------------------------------------------------------------------------------- gaps

    def test_gap_is_answered_with_the_last_number(self) -> None:
        """A batch whose predecessor is missing is not taken; the agent learns where to go back to."""
        self.append(batch(1))
        outcome = self.assertAnswer(batch(3), Verdict.GAP, 1)
        self.assertEqual(outcome.checksum, batch(1).checksum)
        self.assertEqual(self.bodies(), [batch(1).body])

    def test_gap_in_an_unknown_lane(self) -> None:
        """A lane that the store never saw, or forgot, has the last number 0 and no checksum."""
        self.assertIsNone(self.assertAnswer(batch(3), Verdict.GAP, 0).checksum)

    def test_gap_closes(self) -> None:
        """When the missing batch arrives, the rest follows."""
        self.append(batch(1), batch(3))
        self.append(batch(2), batch(3))
        self.assertEqual(self.bodies(), [batch(1).body, batch(2).body, batch(3).body])

    def test_old_batch_over_a_gap_is_a_gap(self) -> None:
        """How old a batch is counts only where it would be appended."""
        self.assertAnswer(batch(3, sealed=START - 100 * DAY), Verdict.GAP, 0)

    # ------------------------------------------------------------------------------------------ numbers passed over

    def test_passing_over_counts_what_is_lost(self) -> None:
        """A batch that follows an older number is taken; the events between are counted as lost."""
        self.append(batch(1))
        self.assertAnswer(batch(5, after=1), Verdict.OK, 5)
        self.assertEqual(self.bodies(), [batch(1).body, batch(5).body])
        self.assertEqual(self.lost(), 30)

    def test_numbers_passed_over_are_duplicates(self) -> None:
        """A late copy of a number that was passed over does not get in behind the others."""
        self.append(batch(1), batch(5, after=1))
        self.assertAnswer(batch(3), Verdict.OK, 5)
        self.assertEqual(len(self.bodies()), 2)

    def test_first_batch_of_an_unknown_lane_counts_what_is_lost(self) -> None:
        """When the store has lost a lane, the batch that passes over all of it says how much that was."""
        self.append(batch(4, after=0))
        self.assertEqual(self.lost(), 30)

    def test_lost_events_add_up(self) -> None:
        """Losses of several lanes and calls come together in the ledger."""
        self.append(batch(2, after=0), batch(3, after=0, lane=B), batch(2, after=0, vbucket=W))
        self.append(batch(4, after=2))
        self.assertEqual(self.lost(), 10 + 20 + 10 + 10)

    def test_nothing_is_lost_when_numbers_pass_over_nothing(self) -> None:
        """Where the numbers between had no events, nothing is lost."""
        self.append(batch(1), batch(3, after=1, before=10))
        self.assertEqual(self.lost(), 0)

    def test_lost_events_are_counted_once(self) -> None:
        """The batches after the one that passed over count nothing again."""
        self.append(batch(5, after=0), batch(6))
        self.append(batch(7))
        self.assertEqual(self.lost(), 40)

    # ---------------------------------------------------------------------------------------------------- too old

    def test_batch_that_is_too_old_is_refused(self) -> None:
        """A batch of a time of which rows may have been forgotten is not taken, and the lane stays as it was."""
        self.append(batch(1))
        old = START - (DEDUP_DAYS - 1) * DAY - 60
        self.assertAnswer(batch(2, sealed=old), Verdict.REFUSED, 1, "too old")
        self.assertEqual(self.bodies(), [batch(1).body])

    def test_lane_goes_on_after_a_refused_batch(self) -> None:
        """The next batch passes over the refused one, whose events the agent has counted itself."""
        self.append(batch(1), batch(2, sealed=START - 100 * DAY))
        self.assertAnswer(batch(3, after=1, before=10), Verdict.OK, 3)
        self.assertEqual(self.lost(), 0)

    def test_refused_batch_makes_no_lane(self) -> None:
        """An agent that only has old batches is as unknown as before."""
        self.append(batch(1, sealed=START - 100 * DAY))
        self.assertAnswer(look(1), Verdict.GAP, 0)

    def test_batch_that_is_almost_too_old_is_taken(self) -> None:
        """Up to DEDUP_DAYS - 1 an agent may have been cut off."""
        self.assertAnswer(batch(1, sealed=START - (DEDUP_DAYS - 1) * DAY + 60), Verdict.OK, 1)

    # ------------------------------------------------------------------------------------------------------ looks

    def test_look_at_a_number_that_is_there(self) -> None:
        """A quiet lane's look finds its highest number, or a later one."""
        self.append(batch(1), batch(2))
        self.assertAnswer(look(2), Verdict.OK, 2)
        outcome = self.assertAnswer(look(1), Verdict.OK, 2)
        self.assertEqual((outcome.checksum, outcome.appended), (batch(2).checksum, False))

    def test_look_at_a_number_that_is_missing_is_a_gap(self) -> None:
        """A rollback shows up on a quiet lane, too."""
        self.append(batch(1))
        self.assertAnswer(look(2), Verdict.GAP, 1)
        self.assertAnswer(look(1, lane=B), Verdict.GAP, 0)

    def test_look_changes_nothing(self) -> None:
        """Looks make no lane, no entry and no loss."""
        self.append(look(3), look(3))
        self.assertAnswer(batch(1), Verdict.OK, 1)
        self.assertEqual((self.bodies(), self.lost()), ([batch(1).body], 0))

    def test_look_keeps_no_row(self) -> None:
        """A lane that is only looked at is forgotten like an idle one."""
        self.append(batch(1))
        self.harness.advance(DEDUP_DAYS * DAY - 60)
        self.append(look(1))
        self.harness.advance(120)
        self.assertEqual(self.prune(), 1)

    # ------------------------------------------------------------------------------------------------------ prune

    def prune(self) -> int:
        return self.get(self.store.prune(self.harness.wall()))

    def test_idle_lanes_are_forgotten(self) -> None:
        """After DEDUP_DAYS without a batch nothing is known of a lane; its entries stay."""
        self.append(batch(1), batch(1, lane=B), batch(1, vbucket=W))
        self.harness.advance(DEDUP_DAYS * DAY + 60)
        self.assertEqual(self.prune(), 3)
        self.assertAnswer(look(1), Verdict.GAP, 0)
        self.assertEqual(len(self.bodies()), 2)

    def test_lanes_in_use_are_kept(self) -> None:
        """Lanes with younger batches stay."""
        self.append(batch(1), batch(1, lane=B))
        self.harness.advance(DEDUP_DAYS * DAY / 2)
        self.append(batch(2, lane=B, sealed=self.harness.wall()))
        self.harness.advance(DEDUP_DAYS * DAY / 2 + 60)
        self.assertEqual(self.prune(), 1)
        self.assertAnswer(look(2, lane=B), Verdict.OK, 2)

    def test_duplicate_keeps_its_lane(self) -> None:
        """While copies of a batch arrive, the store knows them."""
        self.append(batch(1))
        self.harness.advance(DEDUP_DAYS * DAY / 2)
        self.append(batch(1))
        self.harness.advance(DEDUP_DAYS * DAY / 2 + 60)
        self.assertEqual(self.prune(), 0)
        self.assertAnswer(batch(1), Verdict.OK, 1)

    def test_prune_is_idempotent(self) -> None:
        """What is gone is not counted again, and an empty store has nothing to forget."""
        self.assertEqual(self.prune(), 0)
        self.append(batch(1))
        self.harness.advance(DEDUP_DAYS * DAY + 60)
        self.assertEqual((self.prune(), self.prune()), (1, 0))
