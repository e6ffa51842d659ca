"""Where vbuckets are, by what the shards say of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taba.store.redis.placing import Marker, MoveRow, Placement, ShardFacts, place
from taba.store.redis.shard_map import ShardRange, shard_map

HOME = shard_map(2, [ShardRange("a", 0, 0), ShardRange("b", 1, 1)])


class PlaceTests(SynchronousTestCase):
    """Vbucket 0 is at home on shard a; vbucket 1 is active on b."""

    def place(self, a: str = "", b: str = "", moves: str = "", moves_of_b: str = "") -> Placement:
        """What comes of the markers of vbucket 0 on both shards, and of their rows."""
        markers = [{0: Marker.read(value.encode())} if value else {} for value in (a, b)]
        rows = [{0: MoveRow.read(value.encode())} if value else {} for value in (moves, moves_of_b)]
        facts = {"a": ShardFacts(markers[0], rows[0]), "b": ShardFacts({**markers[1], 1: Marker("A", 1)}, rows[1])}
        return place(facts, HOME)

    def test_active(self) -> None:
        """The highest epoch counts, wherever it is."""
        for a, b, shard, epoch in (
            ("A:1", "", "a", 1), ("S:1", "A:2", "b", 2), ("A:1", "A:2", "b", 2), ("A:3", "S:2", "a", 3),
            ("A:1", "I:2", "a", 1), ("A:3", "A:2", "a", 3), ("A:1", "A:1", "a", 1), ("A:1", "S:2", "a", 1),
        ):  # fmt: skip
            found = self.place(a, b)
            self.assertEqual((found.map.shard_of(0), found.epochs[0], found.missing), (shard, epoch, {}), (a, b))

    def test_sealed(self) -> None:
        """While none is active it is where it was sealed, unless it has left."""
        for a, b, row, shard in (("S:1", "I:2", "moving:b", "a"), ("S:1", "", "", "a"), ("S:1", "S:2", "", "b")):
            found = self.place(a, b, row)
            self.assertEqual((found.map.shard_of(0), found.missing), (shard, {}))
        lost = self.place("S:1", "", "gone:b")
        self.assertEqual((lost.map.shard_of(0), lost.missing), ("b", {"b": [0]}))

    def test_lost(self) -> None:
        """Where nobody knows it, its home has lost it; an import that was left alone is nothing."""
        for a, b in (("", ""), ("", "I:2"), ("strange", ""), ("A:", ""), ("A:x", "")):
            self.assertEqual(self.place(a, b).missing, {"a": [0]}, (a, b))

    def test_migrating(self) -> None:
        """A store that is being migrated here is not lost."""
        found = self.place("I:1")
        self.assertEqual((found.map.shard_of(0), found.missing), ("a", {}))

    def test_elsewhere(self) -> None:
        """A shard that is not known has it, or will: it is told, and nothing is taken for the vbucket."""
        for row in ("gone:c", "moving:c"):
            found = self.place("S:1" if row[0] == "g" else "A:1", "", row)
            self.assertEqual((found.elsewhere, found.map.shard_of(0)), ({"c": [0]}, "a"))
            self.assertNotIn(0, found.epochs)

    def test_involved(self) -> None:
        """While it moves both shards count; when it has left they do not."""
        self.assertEqual(self.place("A:1", "", "moving:b").involved, {0: {"a", "b"}})
        self.assertEqual(self.place("A:1", "S:2", "undoing:b", "gone:a").involved, {0: {"a", "b"}})
        self.assertEqual(self.place("S:1", "A:2", "gone:b").involved, {})

    def test_values(self) -> None:
        """What is written is what is read."""
        for value in (b"A:1", b"S:12", b"I:3"):
            self.assertEqual(Marker.read(value).value, value)
        self.assertEqual(MoveRow.read(b"moving:shard:1").value, b"moving:shard:1")
        for value in (b"moving", b"leaving:a"):
            with self.assertRaises(ValueError):
                MoveRow.read(value)
