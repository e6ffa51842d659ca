"""The contract of stores in trouble: away, crashed, rolled back, and answers that got lost."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from taba.interfaces import IStore, Position, Verdict, Written
from tests.contracts.store_aside import partial
from tests.contracts.store_harness import TTL, VBUCKETS, B, StoreSuite, V, W, batch, look, selection


class TroubleContract(StoreSuite):
    """Whatever happens, asking again is enough."""

    def every_call(self) -> list[Deferred[Any]]:
        """One call of each method, none of which changes anything by itself."""
        lease = self.old_lease
        return [
            self.store.append([look(1)]),
            self.store.read({V: 0}, 1000, 0),
            self.store.acquire([], "be-1", TTL),
            self.store.renew([], TTL),
            self.store.release([]),
            self.store.load(lease),
            self.store.states(V, []),
            self.store.aggregates(V, []),
            self.store.checkpoint([]),
            self.store.tabs(),
            self.store.clients(None),
            self.store.clients(frozenset()),
            self.store.each_state(selection(), lambda page: None),
            self.store.each_aggregate(selection(), lambda page: None),
            self.store.ledger(),
            self.store.depth(),
            self.store.aside(1),
            self.store.aside_of(V, []),
            self.store.flush(),
            self.store.publish("be-0", {}, 0),
            self.store.members(),
            self.store.prune(0.0),
        ]

    def setUp(self) -> None:
        super().setUp()
        self.old_lease = self.lease(V, "be-0")
        self.get(self.store.release([self.old_lease]))

    def test_provides_the_interface(self) -> None:
        """It is an IStore."""
        self.assertTrue(verifyObject(IStore, self.store))

    def test_cluster(self) -> None:
        """The store says who it is."""
        cluster = self.store.cluster
        self.assertEqual((len(cluster.id), len(cluster.lineage), cluster.vbuckets), (32, 32, VBUCKETS))
        self.assertIn(cluster.durability, ("memory", "replicated", "fsynced"))

    # ----------------------------------------------------------------------------------------------------------- away

    def test_every_call_works(self) -> None:
        """What the following tests ask for is answered by a store in good health."""
        for asked in self.every_call():
            self.get(asked)

    def test_every_call_fails_while_the_store_is_away(self) -> None:
        """A store that cannot be reached says so, and works again when it can."""
        self.harness.unavailable(True)
        for asked in self.every_call():
            self.fails(asked)
        self.harness.unavailable(False)
        for asked in self.every_call():
            self.get(asked)

    def test_every_call_fails_when_the_store_is_closed(self) -> None:
        """After stopService nothing is done any more."""
        self.harness.stop()
        for asked in self.every_call():
            self.fails(asked)

    def test_nothing_is_done_while_the_store_is_away(self) -> None:
        """What failed before it reached the store is not there afterwards."""
        self.harness.unavailable(True)
        self.fails(self.store.append([batch(1)]))
        self.harness.unavailable(False)
        self.assertEqual(self.append_one(look(1)).verdict, Verdict.GAP)
        self.assertEqual(self.bodies(), [])

    # ------------------------------------------------------------------------------------------------ unknown outcomes

    def test_append_with_a_lost_answer_is_repeated(self) -> None:
        """Batches whose answer was lost are sent again, and are in the log once."""
        batches = [batch(1), batch(2), batch(1, vbucket=W), batch(4, after=0, lane=B)]
        self.harness.lose_next_answer()
        self.fails(self.store.append(batches))
        outcomes = self.append(*batches)
        self.assertEqual([outcome.verdict for outcome in outcomes], [Verdict.OK] * 4)
        self.assertEqual((len(self.bodies(V)), len(self.bodies(W)), self.lost()), (3, 1, 30))

    def test_append_with_a_lost_answer_can_be_read(self) -> None:
        """A reader gets what was appended, whether its sender knows of it or not."""
        self.harness.lose_next_answer()
        self.fails(self.store.append([batch(1)]))
        self.assertEqual(self.bodies(), [batch(1).body])

    def test_checkpoint_with_a_lost_answer_is_loaded(self) -> None:
        """A be that does not know whether its checkpoint was written loads again, and finds out."""
        self.append(batch(1))
        lease = self.lease()
        checkpoint = self.next_checkpoint(lease, 1, states={("tab", "c"): b"1"}, ledger={"folded": 10})
        self.harness.lose_next_answer()
        self.fails(self.store.checkpoint([checkpoint]))
        loaded = self.get(self.store.load(lease))
        self.assertEqual((loaded.position, dict(loaded.ledger)), (Position(1, 1), {"folded": 10}))
        self.assertEqual(self.write(checkpoint), [Written.STALE])

    def test_lease_with_a_lost_answer_is_granted_again(self) -> None:
        """An owner that missed its grant asks again and gets it."""
        self.harness.lose_next_answer()
        self.fails(self.store.acquire([V], "be-1", TTL))
        lease = self.lease(V, "be-1")
        self.assertEqual(self.write(self.next_checkpoint(lease)), [Written.DONE])

    # --------------------------------------------------------------------------------------------------------- crashes

    def fill_everything(self) -> None:
        """Something of everything."""
        self.append(batch(1), batch(2), batch(5, after=0, lane=B), batch(1, vbucket=W))
        self.put(
            folded=1,
            states={("tab", "c"): b"1"},
            aggregates={"tab": b"sum"},
            types={"tab": "Gauge"},
            ledger={"folded": 10},
            set_aside=[partial(1)],
        )

    def everything(self) -> tuple[object, ...]:
        """What can be asked for."""
        loaded = self.get(self.store.load(self.old_lease))
        return (
            self.store.cluster.id,
            [evolve(entry, lineage="") for entry in self.entries(V) + self.entries(W)],
            (loaded.position, dict(loaded.types), dict(loaded.ledger)),
            self.select_states(),
            self.select_aggregates(),
            self.get(self.store.tabs()),
            self.get(self.store.clients(None)),
            self.get(self.store.ledger()),
            self.get(self.store.depth()),
            self.get(self.store.aside(10)),
            [outcome.last for outcome in self.append(look(1), look(1, lane=B), look(1, vbucket=W), look(1, vbucket=0))],
        )

    def test_everything_outlives_a_crash(self) -> None:
        """What was answered is there when the store starts again, and the cluster is the same one."""
        self.fill_everything()
        before = self.everything()
        self.harness.crash()
        self.assertEqual(self.everything(), before)

    def test_lanes_go_on_after_a_crash(self) -> None:
        """Duplicates are known, the next numbers are taken."""
        self.fill_everything()
        self.harness.crash()
        outcomes = self.append(batch(2), batch(3, previous=batch(2).checksum), batch(6, lane=B))
        self.assertEqual([outcome.appended for outcome in outcomes], [False, True, True])
        self.assertEqual([entry.id for entry in self.entries()], [2, 3, 4, 5])

    def test_lineage_changes_with_a_crash(self) -> None:
        """A store that starts again begins another history: it may have lost what it did not answer."""
        before = self.store.cluster.lineage
        self.harness.crash()
        self.assertNotEqual(self.store.cluster.lineage, before)
        self.assertEqual(self.append_one(look(1)).lineage, self.store.cluster.lineage)

    def test_memory_of_before_a_crash_is_stale(self) -> None:
        """A be does not write what it folded under the lineage of before, though the position is the same."""
        lineage = self.store.cluster.lineage
        self.harness.crash()
        self.harness.advance(TTL + 0.1)
        lease = self.lease()
        checkpoint = self.next_checkpoint(lease, lineage=lineage)
        self.assertEqual(self.write(checkpoint), [Written.STALE])

    # ------------------------------------------------------------------------------------------------------- rollbacks

    def test_rollback_is_seen_as_a_gap(self) -> None:
        """A store that lost the last batches answers with the last it has, on lanes that go on and on quiet ones."""
        self.append(batch(1), batch(1, lane=B))
        snapshot = self.harness.snapshot()
        self.append(batch(2), batch(3), batch(2, lane=B))
        self.harness.rollback(snapshot)
        outcomes = self.append(batch(4), look(2, lane=B))
        self.assertEqual([(o.verdict, o.last) for o in outcomes], [(Verdict.GAP, 1), (Verdict.GAP, 1)])
        self.assertEqual(outcomes[0].checksum, batch(1).checksum)

    def test_rollback_is_repaired_by_the_agents(self) -> None:
        """The batches that are missing are sent again, under their numbers, and counted once."""
        self.append(batch(1))
        snapshot = self.harness.snapshot()
        self.append(batch(2), batch(3))
        self.harness.rollback(snapshot)
        self.append(batch(2), batch(3, previous=batch(2).checksum))
        self.assertEqual(self.bodies(), [batch(1).body, batch(2).body, batch(3).body])
        self.assertEqual(self.lost(), 0)

    def test_rollback_takes_log_lanes_states_and_position_together(self) -> None:
        """What was folded after the snapshot is in the log again, and not in the States."""
        self.append(batch(1))
        snapshot = self.harness.snapshot()
        before = self.everything()
        self.append(batch(2))
        self.put(folded=2, states={("tab", "c"): b"1"}, ledger={"folded": 20}, set_aside=[partial(1)])
        self.harness.rollback(snapshot)
        self.assertEqual(self.everything(), before)

    def test_rollback_changes_the_lineage(self) -> None:
        """Nobody takes the older history for the one before."""
        lineage = self.store.cluster.lineage
        self.harness.rollback(self.harness.snapshot())
        self.assertNotEqual(self.store.cluster.lineage, lineage)

    def test_memory_of_before_a_rollback_is_stale(self) -> None:
        """A be that folded entries which are gone does not write them, though others have their ids."""
        snapshot = self.harness.snapshot()
        self.append(batch(1))
        lease = self.lease()
        folded = self.next_checkpoint(lease, 1, states={("tab", "c"): b"of batch 1 of a"})
        self.harness.rollback(snapshot)
        self.append(batch(1, lane=B))
        self.harness.advance(TTL + 0.1)
        lease = self.lease()
        late = self.next_checkpoint(lease, 1, lineage=folded.lineage, states=folded.states)
        self.assertEqual(self.write(late), [Written.STALE])
        self.assertEqual(self.bodies(), [batch(1, lane=B).body])

    def test_forgotten_lane_after_a_rollback_passes_over(self) -> None:
        """A store that lost a whole lane takes its next batch when told so, and counts what is missing."""
        snapshot = self.harness.snapshot()
        self.append(batch(1), batch(2))
        self.harness.rollback(snapshot)
        self.append(batch(3, after=0))
        self.assertEqual((self.bodies(), self.lost()), ([batch(3).body], 20))
