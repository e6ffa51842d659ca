"""The contract of `IStore.flush`: what waits is dropped, and counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from taba.interfaces import Position, Verdict, Written
from tests.contracts.store_harness import TTL, B, StoreSuite, V, W, batch, look


class FlushContract(StoreSuite):
    """An operator drops what waits; nothing else is lost, and the account stays exact."""

    def flush(self) -> int:
        return self.get(self.store.flush())

    def flushed(self) -> int:
        """The events that the ledger says were flushed."""
        return self.get(self.store.ledger())["flushed"]

    def test_everything_that_waits_goes(self) -> None:
        """All logs are empty afterwards, and the events are in the ledger."""
        self.append(batch(1), batch(2, events=7), batch(1, vbucket=W, events=100))
        self.assertEqual(self.flush(), 117)
        self.assertEqual((self.bodies(V), self.bodies(W), self.get(self.store.depth())), ([], [], []))
        self.assertEqual(self.flushed(), 117)

    def test_position_moves_to_the_end(self) -> None:
        """The next owner loads a position at the end of the log, with one commit more; the rest is as it was."""
        self.append(batch(1), batch(2), batch(3))
        self.put(folded=1, states={("tab", "c"): b"1"}, types={"tab": "Gauge"}, ledger={"folded": 10})
        self.assertEqual(self.flush(), 20)
        loaded = self.get(self.store.load(self.lease()))
        self.assertEqual(loaded.position, Position(3, 2))
        self.assertEqual((dict(loaded.types), dict(loaded.ledger)), ({"tab": "Gauge"}, {"folded": 10}))
        self.assertEqual([row.state for row in self.select_states()], [b"1"])
        self.assertEqual(self.get(self.store.ledger()), {"folded": 10, "lost": 0, "flushed": 20})

    def test_empty_logs_are_left_alone(self) -> None:
        """Where nothing waits no owner is disturbed."""
        self.append(batch(1))
        lease, other = self.lease(V), self.lease(W)
        self.write(self.next_checkpoint(lease, 1))
        first, second = self.next_checkpoint(lease), self.next_checkpoint(other)
        self.assertEqual(self.flush(), 0)
        self.assertEqual(self.write(first, second), [Written.DONE, Written.DONE])
        self.assertEqual(self.flushed(), 0)

    def test_flushing_twice(self) -> None:
        """What is gone is not counted again; what comes after is."""
        self.append(batch(1))
        self.assertEqual((self.flush(), self.flush(), self.flushed()), (10, 0, 10))
        self.append(batch(2))
        self.assertEqual((self.flush(), self.flush(), self.flushed()), (10, 0, 20))

    def test_owner_that_folded_what_was_flushed_is_stale(self) -> None:
        """What was dropped does not come into the States by way of an owner that had read it."""
        self.append(batch(1), batch(2))
        lease = self.lease()
        checkpoint = self.next_checkpoint(lease, 2, states={("tab", "c"): b"1"}, ledger={"folded": 20})
        self.flush()
        self.assertEqual(self.write(checkpoint), [Written.STALE])
        self.assertEqual((self.select_states(), self.flushed()), ([], 20))
        self.assertEqual(dict(self.get(self.store.load(lease)).ledger), {})

    def test_owner_that_wrote_first_keeps_what_it_wrote(self) -> None:
        """Only what no checkpoint has written yet is dropped."""
        self.append(batch(1), batch(2))
        self.put(folded=2, states={("tab", "c"): b"1"})
        self.assertEqual((self.flush(), len(self.select_states())), (0, 1))

    def test_flush_and_checkpoint_at_once(self) -> None:
        """Whatever comes first, each event is in the States or in the ledger, once."""
        for number in range(6):
            self.append(batch(number + 1, body=b"%d" % number))
            lease = self.lease()
            before = self.get(self.store.ledger())
            loaded = self.get(self.store.load(lease)).position
            folded = before.get("folded", 0) + 10
            checkpoint = self.next_checkpoint(lease, loaded.folded + 1, ledger={"folded": folded})
            calls: list[Callable[[], Deferred[Any]]] = [partial(self.store.checkpoint, [checkpoint]), self.store.flush]
            asked = [call() for call in (calls if number % 2 else calls[::-1])]
            results = [self.get(each) for each in asked]
            after = self.get(self.store.ledger())
            self.assertEqual(after.get("folded", 0) + after["flushed"], 10 * (number + 1), results)
            self.assertEqual(self.get(self.store.load(lease)).position.folded, number + 1)

    def test_lease_outlives_a_flush(self) -> None:
        """Its owner loads again and goes on under the same lease."""
        self.append(batch(1))
        lease = self.lease()
        self.flush()
        self.append(batch(2))
        self.assertEqual([entry.id for entry in self.entries(after=1)], [2])
        self.assertEqual(self.write(self.next_checkpoint(lease, 2)), [Written.DONE])

    def test_reader_that_is_behind_gets_what_comes_next(self) -> None:
        """A be that had not read what was dropped is given what comes after it."""
        self.append(batch(1), batch(2))
        self.flush()
        self.append(batch(3))
        self.assertEqual([(entry.id, entry.body) for entry in self.entries(after=0)], [(3, batch(3).body)])

    def test_lanes_go_on(self) -> None:
        """Duplicates of what was dropped are duplicates; the next number is taken; nothing counts as lost."""
        self.append(batch(1), batch(2), batch(1, lane=B))
        self.flush()
        outcomes = self.append(batch(2), batch(3, previous=batch(2).checksum), look(1, lane=B), look(2, lane=B))
        verdicts = [Verdict.OK, Verdict.OK, Verdict.OK, Verdict.GAP]
        self.assertEqual([outcome.verdict for outcome in outcomes], verdicts)
        self.assertEqual([outcome.appended for outcome in outcomes], [False, True, False, False])
        self.assertEqual((self.bodies(), self.lost()), ([batch(3).body], 0))

    def test_flush_outlives_a_crash(self) -> None:
        """What was dropped stays dropped, and counted."""
        self.append(batch(1), batch(2))
        self.flush()
        self.harness.crash()
        self.assertEqual((self.bodies(), self.flushed(), self.get(self.store.depth())), ([], 20, []))
        self.append(batch(3))
        self.assertEqual([entry.id for entry in self.entries()], [3])

    def test_rollback_takes_the_flush_back(self) -> None:
        """Log, position and ledger go back together: the events wait again, and do not count as flushed."""
        self.append(batch(1))
        snapshot = self.harness.snapshot()
        self.flush()
        self.harness.rollback(snapshot)
        self.assertEqual((self.bodies(), self.flushed()), ([batch(1).body], 0))
        self.harness.advance(TTL + 0.1)
        self.assertEqual(self.write(self.next_checkpoint(self.lease(), 1)), [Written.DONE])

    def test_flush_with_a_lost_answer(self) -> None:
        """Asked again it has nothing to do; the ledger says what the first one did."""
        self.append(batch(1))
        self.harness.lose_next_answer()
        self.fails(self.store.flush())
        self.assertEqual((self.flush(), self.flushed(), self.bodies()), (0, 10, []))

    def test_no_checkpoint_writes_the_line(self) -> None:
        """A be that names the line has no say in it."""
        self.append(batch(1))
        self.flush()
        self.put(ledger={"folded": 1, "flushed": 99})
        self.assertEqual(self.get(self.store.ledger()), {"folded": 1, "flushed": 10, "lost": 0})
        self.assertEqual(dict(self.get(self.store.load(self.lease())).ledger), {"folded": 1})

    def test_lost_and_flushed_are_apart(self) -> None:
        """What never came is lost; what came and was dropped is flushed."""
        self.append(batch(4, after=0))
        self.flush()
        self.assertEqual(self.get(self.store.ledger()), {"lost": 30, "flushed": 10})

    def test_stale_position_of_before(self) -> None:
        """A checkpoint that expects the end of the log, and not the commit of the flush, is stale."""
        self.append(batch(1))
        lease = self.lease()
        checkpoint = self.next_checkpoint(lease)
        self.flush()
        guess = evolve(checkpoint, expected=Position(1, 0), position=Position(1, 1))
        self.assertEqual(self.write(checkpoint, guess), [Written.STALE] * 2)
