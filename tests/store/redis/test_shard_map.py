"""Which shard has which vbuckets."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import SettingsError
from taba.store.redis.shard_map import ShardRange, shard_map
from tests.strategies import law


class ShardMapTests(SynchronousTestCase):
    """Maps, and settings that make none."""

    def test_several_ranges(self) -> None:
        """A shard may have several ranges; names are sorted, vbuckets ascending."""
        made = shard_map(6, [ShardRange("b", 4, 5), ShardRange("a", 2, 3), ShardRange("b", 0, 1)])
        self.assertEqual(made.names(), ["a", "b"])
        self.assertEqual(made.vbuckets_of("b"), [0, 1, 4, 5])
        self.assertEqual([made.shard_of(v) for v in range(6)], ["b", "b", "a", "a", "b", "b"])
        self.assertEqual(made.by_shard([5, -1, 2, 0, 6]), {"b": [5, 0], "a": [2]})

    @law(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.randoms())
    def test_every_vbucket_has_one_shard(self, sizes: list[int], random: object) -> None:
        """Ranges that cover all, in any order, give each vbucket its shard."""
        starts = [sum(sizes[:place]) for place in range(len(sizes))]
        ranges = [ShardRange(f"s{at}", at, at + size - 1) for at, size in zip(starts, sizes, strict=True)]
        random.shuffle(ranges)  # type: ignore[attr-defined]
        made = shard_map(sum(sizes), ranges)
        for each in ranges:
            self.assertEqual(made.vbuckets_of(each.name), list(range(each.first, each.last + 1)))
        self.assertEqual(made.by_shard(range(sum(sizes))), {name: made.vbuckets_of(name) for name in made.by_shard(
            range(sum(sizes)))})  # fmt: skip

    def assertSaid(self, words: str, *ranges: tuple[str, int, int]) -> None:
        """Ranges over ten vbuckets are refused in these words."""
        with self.assertRaises(SettingsError) as raised:
            shard_map(10, [ShardRange(*each) for each in ranges])
        self.assertIn(words, str(raised.exception))

    def test_mistakes(self) -> None:
        """Each mistake is named, with the shard and the vbuckets."""
        self.assertSaid("the range [0, 10] of a is not within 0 and 9", ("a", 0, 10))
        self.assertSaid("the range [-1, 9] of a", ("a", -1, 9))
        self.assertSaid("the range [5, 4] of b", ("a", 0, 9), ("b", 5, 4))
        self.assertSaid("a and b both have vbucket 5", ("a", 0, 5), ("b", 5, 9))
        self.assertSaid("no shard has the vbuckets from 3 to 5.", ("a", 0, 2), ("b", 6, 9))
        self.assertSaid("no shard has the vbuckets from 6 to 9.", ("a", 0, 5))
        self.assertSaid("no shard has the vbuckets from 0 to 9.")
