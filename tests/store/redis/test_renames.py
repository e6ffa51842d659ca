"""Tabs that get other names, on one shard: what it costs, what is asked first, and who comes between."""

from __future__ import annotations

from taba.errors import LocalProtocolError, StoreUnavailable
from taba.interfaces import Written
from tests.store.redis.test_checkpoints import CheckpointsCase


class RenameTests(CheckpointsCase):
    """Checkpoints with renames."""

    def test_everything_is_moved(self) -> None:
        """Type, States and Aggregate stand under the new name; the counts of clients stay."""
        self.put(states={("t", "c"): b"s", ("t", "d"): b"s"}, aggregates={"t": b"a"}, types={"t": "X"})
        self.put(renames={"t": "t deleted 1"})
        self.assertEqual((self.hash("T"), self.hash("A")), ({b"t deleted 1": b"X"}, {b"t deleted 1": b"a"}))
        self.assertEqual((self.states("t"), self.states("t deleted 1")), ({}, {b"c": b"s", b"d": b"s"}))
        self.assertEqual(self.hash("N"), {b"c": b"1", b"d": b"1"})

    def test_costs_the_same_however_many_states(self) -> None:
        """No State is read or sent."""
        self.put(states={("t", f"c{number}"): b"s" * 100 for number in range(2000)})
        self.stage.shard.words()
        self.put(renames={"t": "grave"})
        sent = self.stage.shard.sent
        self.assertLess(len(sent), 15)
        self.assertLess(sum(len(each) for command in sent for each in command if isinstance(each, bytes)), 500)
        self.assertEqual(len(self.states("grave")), 2000)

    def test_states_that_were_known_have_other_names(self) -> None:
        """A State written under the old name afterwards is a new one of its client."""
        self.put(states={("t", "c"): b"s"})
        self.put(renames={"t": "grave"})
        self.put(states={("t", "c"): b"s"})
        self.assertEqual((self.hash("N"), self.hash("T")), ({b"c": b"2"}, {b"grave": b"", b"t": b""}))
        self.put(states={("grave", "c"): None})
        self.assertEqual((self.hash("N"), self.hash("T")), ({b"c": b"1"}, {b"t": b""}))

    def test_name_that_is_taken(self) -> None:
        """Nothing is written, nor of the others of the same transaction; nothing stays watched."""
        self.put(types={"t": "X", "taken": "X"})
        other = self.next(self.lease(2), types={"o": "X"})
        bad = self.next(self.held[1], renames={"t": "taken"}, types={"new": "X"})
        with self.assertRaises(LocalProtocolError) as raised:
            self.write(other, bad)
        self.assertIn("'taken'", str(raised.exception))
        self.assertEqual((set(self.hash("T")), self.hash("T", 2)), ({b"t", b"taken"}, {}))
        self.ask("SET", "Q", 1, "9:9:9")
        self.assertEqual(self.write(other), [Written.DONE])

    def test_name_that_is_taken_of_a_stale_checkpoint(self) -> None:
        """What is not written breaks no rule."""
        self.put(types={"t": "X", "taken": "X"})
        bad = self.next(self.held[1], renames={"t": "taken"})
        self.put(ledger={"folded": 1})
        good = self.next(self.lease(2), types={"o": "X"})
        self.assertEqual(self.write(bad, good), [Written.STALE, Written.DONE])

    def test_name_that_is_taken_after_the_guard(self) -> None:
        """Whoever writes a tab of that name meanwhile writes a position, too: nothing of the transaction is done."""
        self.put(types={"t": "X"})
        checkpoint = self.next(self.held[1], renames={"t": "new"})

        def write() -> None:
            self.ask("HSET", "T", 1, "new", "Y")
            self.ask("SET", "Q", 1, "0:9:1")

        self.stage.shard.before("MULTI", write)
        self.assertEqual(self.write(checkpoint), [Written.STALE])
        self.assertEqual(self.hash("T"), {b"t": b"X", b"new": b"Y"})

    def test_somebody_else_writes_without_a_position(self) -> None:
        """That is none of ours; the function overwrites nothing, and the be is told to load again."""
        self.put(types={"t": "X"}, states={("t", "c"): b"s"})
        checkpoint = self.next(self.held[1], renames={"t": "new"})
        self.stage.shard.before("MULTI", lambda: self.ask("HSET", "T", 1, "new", "Y"))
        with self.assertRaisesRegex(StoreUnavailable, "new name"):
            self.write(checkpoint)
        self.assertEqual((self.hash("T"), self.states("t")), ({b"t": b"X", b"new": b"Y"}, {b"c": b"s"}))
