"""The contract of `IStore.load`, `states`, `aggregates` and `checkpoint`: what owners write and find again."""

from __future__ import annotations

from attrs import evolve

from taba.errors import LocalProtocolError
from taba.interfaces import RETIRED, Checkpoint, Position, Written
from tests.contracts.store_harness import StoreSuite, V, W, batch


class CheckpointContract(StoreSuite):
    """Checkpoints are whole or not at all, and only on top of what their owner loaded."""

    # -------------------------------------------------------------------------------------------------- round trips

    def test_new_vbucket_is_empty(self) -> None:
        """A vbucket that nobody ever wrote begins at zero."""
        loaded = self.get(self.store.load(self.lease()))
        self.assertEqual((loaded.vbucket, loaded.position), (V, Position(0, 0)))
        self.assertEqual(loaded.lineage, self.store.cluster.lineage)
        self.assertEqual((dict(loaded.types), dict(loaded.ledger)), ({}, {}))

    def test_everything_of_a_checkpoint_is_found_again(self) -> None:
        """States, Aggregates, Types and the ledger row come back as they were written."""
        self.append(batch(1))
        lease = self.lease()
        checkpoint = self.next_checkpoint(
            lease,
            1,
            states={("tab", "c1"): b"\x00one", ("tab", "c2"): b"", ("tab", RETIRED): b"retired"},
            aggregates={"tab": b"sum"},
            types={"tab": "CounterGroup", "other": "Gauge"},
            ledger={"folded": 10, "refused: future": 2},
        )
        self.assertEqual(self.write(checkpoint), [Written.DONE])
        loaded = self.get(self.store.load(lease))
        self.assertEqual(loaded.position, checkpoint.position)
        self.assertEqual(dict(loaded.types), {"tab": "CounterGroup", "other": "Gauge"})
        self.assertEqual(dict(loaded.ledger), {"folded": 10, "refused: future": 2})
        keys = [("tab", "c1"), ("tab", "c2"), ("tab", RETIRED)]
        self.assertEqual(
            self.get(self.store.states(V, keys)),
            {("tab", "c1"): b"\x00one", ("tab", "c2"): b"", ("tab", RETIRED): b"retired"},
        )
        self.assertEqual(self.get(self.store.aggregates(V, ["tab"])), {"tab": b"sum"})

    def test_what_does_not_exist_is_missing(self) -> None:
        """Asking for unknown tabs and clients is no error."""
        self.put(states={("tab", "c1"): b"1"}, aggregates={"tab": b"1"}, types={"tab": "Gauge"})
        asked = [("tab", "c1"), ("tab", "c2"), ("nothing", "c1"), ("tab", RETIRED)]
        self.assertEqual(self.get(self.store.states(V, asked)), {("tab", "c1"): b"1"})
        self.assertEqual(self.get(self.store.aggregates(V, ["nothing", "tab"])), {"tab": b"1"})
        self.assertEqual(self.get(self.store.states(W, asked)), {})
        self.assertEqual(self.get(self.store.aggregates(W, ["tab"])), {})

    def test_what_is_not_named_stays(self) -> None:
        """A checkpoint carries what changed; the rest is as it was."""
        self.put(states={("tab", "c1"): b"1", ("tab", "c2"): b"1"}, aggregates={"tab": b"1"}, types={"tab": "Gauge"})
        self.put(states={("tab", "c2"): b"2"})
        self.assertEqual([row.state for row in self.select_states()], [b"1", b"2"])
        self.assertEqual([row.aggregate for row in self.select_aggregates()], [b"1"])
        self.assertEqual(self.get(self.store.tabs()), {"tab": "Gauge"})

    def test_known_states(self) -> None:
        """States that are there are written without a word about their being there; their clients count as before."""
        self.put(states={("t", "c1"): b"1", ("t", "c2"): b"1", ("u", "c1"): b"1"}, types={"t": "Gauge", "u": "Gauge"})
        self.put(known=[("t", [("c1", b"2"), ("c2", b"3")]), ("u", [("c1", b"4")])], states={("t", "c3"): b"5"})
        self.assertEqual([row.state for row in self.select_states()], [b"2", b"3", b"5", b"4"])
        self.put(states={("t", "c2"): None, ("t", "c3"): None})
        self.assertEqual(self.get(self.store.clients(None)), {"c1"})

    def test_vbuckets_are_apart(self) -> None:
        """What is written for one vbucket shows in no other."""
        self.put(V, types={"v": "Gauge"}, ledger={"folded": 1})
        self.put(W, types={"w": "Gauge"}, ledger={"folded": 2})
        loaded = self.get(self.store.load(self.lease(V)))
        self.assertEqual((dict(loaded.types), dict(loaded.ledger)), ({"v": "Gauge"}, {"folded": 1}))

    def test_large_values(self) -> None:
        """States and Aggregates of many pages come back whole."""
        large = bytes(range(256)) * 1000
        self.put(states={("tab", "c1"): large}, aggregates={"tab": large}, types={"tab": "Gauge"})
        self.assertEqual(self.get(self.store.states(V, [("tab", "c1")])), {("tab", "c1"): large})
        self.assertEqual(self.get(self.store.aggregates(V, ["tab"])), {"tab": large})

    # ------------------------------------------------------------------------------------------------------ deletes

    def test_deletes(self) -> None:
        """None deletes a State, an Aggregate, a Type; the others stay."""
        self.put(
            states={("tab", "c1"): b"1", ("tab", "c2"): b"2", ("other", "c1"): b"3"},
            aggregates={"tab": b"1", "other": b"2"},
            types={"tab": "Gauge", "other": "Gauge"},
        )
        self.put(states={("tab", "c1"): None, ("tab", "c2"): None}, aggregates={"tab": None}, types={"tab": None})
        self.assertEqual([(row.tab, row.client) for row in self.select_states()], [("other", "c1")])
        self.assertEqual([row.tab for row in self.select_aggregates()], ["other"])
        self.assertEqual(self.get(self.store.tabs()), {"other": "Gauge"})
        self.assertEqual(dict(self.get(self.store.load(self.lease())).types), {"other": "Gauge"})

    def test_deleting_what_is_not_there(self) -> None:
        """A delete of nothing is no error."""
        self.put(states={("tab", "c1"): None}, aggregates={"tab": None}, types={"tab": None})
        self.assertEqual((self.select_states(), self.get(self.store.tabs())), ([], {}))

    def test_deleted_tab_can_come_again(self) -> None:
        """After a delete a tab may begin anew, with another Type."""
        self.put(states={("tab", "c1"): b"1"}, aggregates={"tab": b"1"}, types={"tab": "Gauge"})
        self.put(states={("tab", "c1"): None}, aggregates={"tab": None}, types={"tab": None})
        self.put(states={("tab", "c2"): b"2"}, types={"tab": "Buffer"})
        self.assertEqual(self.get(self.store.tabs()), {"tab": "Buffer"})
        self.assertEqual([(row.client, row.type) for row in self.select_states()], [("c2", "Buffer")])
        self.assertEqual(self.select_aggregates(), [])

    def test_states_that_are_pruned_go_into_the_retired_one(self) -> None:
        """GC deletes a State and writes the retired one in one step."""
        self.put(states={("tab", "c1"): b"1"}, types={"tab": "TotalsCounter"})
        self.put(states={("tab", "c1"): None, ("tab", RETIRED): b"1"})
        self.assertEqual([(row.client, row.state) for row in self.select_states()], [(RETIRED, b"1")])

    def test_delete_and_write_in_one_list(self) -> None:
        """A list may take a client's last State away and give it another one."""
        v, w = self.lease(V), self.lease(W)
        self.put(states={("v", "c1"): b"1"}, types={"v": "Gauge"})
        v = self.lease(V)
        checkpoints = [
            self.next_checkpoint(v, states={("v", "c1"): None}, types={"v": None}),
            self.next_checkpoint(w, states={("w", "c1"): b"2"}, types={"w": "Gauge"}),
        ]
        self.assertEqual(self.write(*checkpoints), [Written.DONE, Written.DONE])
        self.assertEqual([(row.tab, row.client) for row in self.select_states()], [("w", "c1")])
        self.assertEqual(self.get(self.store.clients(None)), {"c1"})

    # ---------------------------------------------------------------------------------------------------------- log

    def test_log_is_dropped_up_to_the_position(self) -> None:
        """What the States contain is not read again; what they do not is."""
        self.append(batch(1), batch(2), batch(3))
        self.put(folded=2)
        self.assertEqual([entry.id for entry in self.entries()], [3])

    def test_other_logs_are_left_alone(self) -> None:
        """Trimming one log trims no other."""
        self.append(batch(1), batch(1, vbucket=V - 1), batch(1, vbucket=V + 1))
        self.put(folded=1)
        self.assertEqual((len(self.bodies(V - 1)), len(self.bodies(V)), len(self.bodies(V + 1))), (1, 0, 1))

    def test_ids_go_on_after_trimming(self) -> None:
        """An empty log goes on counting where it was."""
        self.append(batch(1), batch(2))
        self.put(folded=2)
        self.append(batch(3))
        self.assertEqual([entry.id for entry in self.entries()], [3])

    def test_ids_go_on_after_trimming_and_a_crash(self) -> None:
        """An empty log goes on counting where it was when the store starts again."""
        self.append(batch(1), batch(2))
        self.put(folded=2)
        self.harness.crash()
        self.append(batch(3))
        self.assertEqual([entry.id for entry in self.entries()], [3])

    # -------------------------------------------------------------------------------------------------------- stale

    def test_position_that_moved_is_stale(self) -> None:
        """A checkpoint on top of what somebody else has folded since writes nothing."""
        self.append(batch(1), batch(2))
        lease = self.lease()
        checkpoint = self.next_checkpoint(lease, 1, states={("tab", "c1"): b"1"}, ledger={"folded": 10})
        self.write(evolve(checkpoint, states={}, ledger={}))
        self.assertEqual(self.write(checkpoint), [Written.STALE])
        self.assertEqual(self.select_states(), [])
        self.assertEqual(dict(self.get(self.store.load(lease)).ledger), {})
        self.assertEqual([entry.id for entry in self.entries()], [2])

    def test_empty_checkpoint_counts(self) -> None:
        """A checkpoint that folds nothing moves the count of commits, so a late one from before it is stale."""
        lease = self.lease()
        late = self.next_checkpoint(lease, states={("tab", "c1"): b"late"})
        empty = self.next_checkpoint(lease)
        self.assertEqual(self.write(empty), [Written.DONE])
        self.assertEqual(self.get(self.store.load(lease)).position, Position(0, 1))
        self.assertEqual(self.write(late), [Written.STALE])
        self.assertEqual(self.select_states(), [])

    def test_other_lineage_is_stale(self) -> None:
        """What was folded from another history of the store is not written into this one."""
        lease = self.lease()
        checkpoint = evolve(self.next_checkpoint(lease, states={("tab", "c1"): b"1"}), lineage="f" * 32)
        self.assertEqual(self.write(checkpoint), [Written.STALE])
        self.assertEqual(self.select_states(), [])

    def test_each_checkpoint_of_a_list_is_judged_alone(self) -> None:
        """The good ones of a list are written, the others are not, and the answers stand in order."""
        good, stale, fenced = self.lease(V), self.lease(W), self.lease(1)
        checkpoints = [
            self.next_checkpoint(fenced, states={("fenced", "c"): b"1"}),
            evolve(
                self.next_checkpoint(stale, states={("stale", "c"): b"1"}),
                expected=Position(0, 7),
                position=Position(0, 8),
            ),
            self.next_checkpoint(good, states={("good", "c"): b"1"}),
        ]
        self.lease(1)
        self.assertEqual(self.write(*checkpoints), [Written.FENCED, Written.STALE, Written.DONE])
        self.assertEqual([row.tab for row in self.select_states()], ["good"])

    def test_no_checkpoints_are_answered_by_nothing(self) -> None:
        """A call without checkpoints is answered without any."""
        self.assertEqual(self.write(), [])

    def test_checkpoint_that_does_not_count_is_a_defect(self) -> None:
        """The store refuses to be asked for a checkpoint that leaves the count as it was, or goes back."""
        lease = self.lease()
        good = self.next_checkpoint(lease)
        for position in (Position(0, 0), Position(-1, 1)):
            bad: Checkpoint = evolve(good, position=position)
            self.fails(self.store.checkpoint([bad]), LocalProtocolError)
        self.assertEqual(self.write(good), [Written.DONE])

    # ------------------------------------------------------------------------------------------------------- ledger

    def test_ledger_row_is_replaced(self) -> None:
        """The row that is written last is the row."""
        self.put(ledger={"folded": 10, "refused: future": 1})
        self.put(ledger={"folded": 20})
        self.assertEqual(dict(self.get(self.store.load(self.lease())).ledger), {"folded": 20})

    def test_checkpoint_keeps_the_lines_of_the_store(self) -> None:
        """What the store counted as lost is not in what a be loads, and not overwritten by what it writes."""
        self.append(batch(3, after=0))
        lease = self.lease()
        self.assertEqual(dict(self.get(self.store.load(lease)).ledger), {})
        self.write(self.next_checkpoint(lease, 1, ledger={"folded": 10, "lost": 7, "flushed": 7}))
        self.assertEqual(self.get(self.store.ledger()), {"folded": 10, "lost": 20, "flushed": 0})
