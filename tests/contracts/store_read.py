"""The contract of `IStore.read` and `IStore.depth`: what waits in the logs, and waiting for it."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from taba.interfaces import LogDepth
from tests.contracts.store_harness import START, B, StoreSuite, V, W, batch


class ReadContract(StoreSuite):
    """Entries after a position, in order, at once or when they come."""

    def test_entries_after_an_id(self) -> None:
        """A reader gets what it has not read yet, oldest first."""
        self.append(batch(1), batch(2), batch(3))
        self.assertEqual([entry.id for entry in self.entries(after=1)], [2, 3])

    def test_entries_name_their_vbucket(self) -> None:
        """Entries of several vbuckets are told apart by their vbucket, and each one's ascend."""
        self.append(batch(1), batch(1, vbucket=W), batch(2), batch(2, vbucket=W))
        entries = self.get(self.store.read({V: 1, W: 0}, 1 << 20, 0))
        self.assertEqual([entry.id for entry in entries if entry.vbucket == V], [2])
        self.assertEqual([entry.id for entry in entries if entry.vbucket == W], [1, 2])
        self.assertEqual(len(entries), 3)

    def test_entries_say_what_they_are(self) -> None:
        """An entry has the batch's body and number of events, the time of its append, and the history it belongs to."""
        self.append(batch(1, events=7))
        (entry,) = self.entries()
        lineage = self.get(self.store.load(self.lease())).lineage
        self.assertEqual((entry.events, entry.lineage, entry.body), (7, lineage, batch(1).body))
        self.assertApproximates(entry.appended, self.harness.wall(), 1.0)

    def test_only_the_vbuckets_that_were_asked_for(self) -> None:
        """The logs of other owners are left alone."""
        self.append(batch(1), batch(1, vbucket=W))
        self.assertEqual([entry.vbucket for entry in self.entries(W)], [W])

    def test_size_is_limited(self) -> None:
        """A long log comes in pieces of about the size asked for."""
        self.append(*[batch(seq, body=b"x" * 1000) for seq in range(1, 11)])
        entries = self.get(self.store.read({V: 0}, 3000, 0))
        self.assertLessEqual(2, len(entries))
        self.assertLessEqual(len(entries), 4)
        self.assertEqual([entry.id for entry in entries], list(range(1, len(entries) + 1)))

    def test_at_least_one_entry(self) -> None:
        """An entry that is larger than the limit comes alone."""
        self.append(batch(1, body=b"x" * 1000), batch(2))
        self.assertEqual([entry.id for entry in self.get(self.store.read({V: 0}, 1, 0))], [1])

    def test_a_busy_vbucket_keeps_no_other_waiting(self) -> None:
        """Reading in small pieces, and going on after each, comes to every vbucket before one of them is at its end."""
        self.append(*[batch(seq, vbucket=v, body=b"x" * 100) for v in (V, W) for seq in range(1, 11)])
        after = {V: 0, W: 0}
        seen = set()
        for _ in range(4):
            for entry in self.get(self.store.read(after, 200, 0)):
                after[entry.vbucket] = entry.id
                seen.add(entry.vbucket)
        self.assertEqual(seen, {V, W})

    def test_empty_log(self) -> None:
        """Without entries, and without patience, there is nothing."""
        self.assertEqual(self.entries(), [])

    # ---------------------------------------------------------------------------------------------------- waiting

    def test_waits_for_an_append(self) -> None:
        """A reader at the end of the log is woken by the next batch."""
        self.append(batch(1))
        reading = self.store.read({V: 1}, 1 << 20, 10)
        self.waits(reading)
        self.append(batch(2))
        self.assertEqual([entry.body for entry in self.get(reading)], [batch(2).body])

    def test_gives_up_waiting(self) -> None:
        """When nothing comes, the reader is let go after the time it gave, with nothing."""
        reading = self.store.read({V: 0}, 1 << 20, 10)
        self.harness.advance(9)
        self.waits(reading)
        self.harness.advance(1.5)
        self.assertEqual(self.get(reading), [])

    def test_appends_to_other_vbuckets_wake_nobody(self) -> None:
        """A batch for somebody else's vbucket is no reason to answer."""
        reading = self.store.read({V: 0}, 1 << 20, 10)
        self.append(batch(1, vbucket=W))
        self.waits(reading)
        self.append(batch(1))
        self.assertEqual(len(self.get(reading)), 1)

    def test_duplicates_wake_nobody(self) -> None:
        """A batch that is not appended brings nothing to read."""
        self.append(batch(1))
        reading = self.store.read({V: 1}, 1 << 20, 10)
        self.append(batch(1), batch(5))
        self.waits(reading)
        self.append(batch(1, lane=B))
        self.assertEqual([entry.id for entry in self.get(reading)], [2])

    def test_waiting_can_be_cancelled(self) -> None:
        """A be that stops reading takes nothing with it."""
        reading = self.store.read({V: 0}, 1 << 20, 10)
        self.harness.settle()
        reading.cancel()
        self.fails(reading, CancelledError)
        self.append(batch(1))
        self.assertEqual(self.bodies(), [batch(1).body])

    # ------------------------------------------------------------------------------------------------------ depth

    def test_depth(self) -> None:
        """How much waits, and since when, for every vbucket where something does."""
        self.append(batch(1, body=b"12345"))
        self.harness.advance(7)
        self.append(batch(2, body=b"123"), batch(1, vbucket=W, body=b"1"))
        depths = {depth.vbucket: depth for depth in self.get(self.store.depth())}
        self.assertEqual(set(depths), {V, W})
        self.assertEqual((depths[V].entries, depths[V].bytes), (2, 8))
        self.assertEqual((depths[W].entries, depths[W].bytes), (1, 1))
        self.assertApproximates(depths[V].oldest, START, 1.0)
        self.assertApproximates(depths[W].oldest, START + 7, 1.0)

    def test_depth_shrinks_with_checkpoints(self) -> None:
        """What is folded waits no more; what is left has its own age."""
        self.append(batch(1, body=b"12345"))
        self.harness.advance(7)
        self.append(batch(2, body=b"123"))
        self.put(folded=1)
        (depth,) = self.get(self.store.depth())
        self.assertEqual((depth.vbucket, depth.entries, depth.bytes), (V, 1, 3))
        self.assertApproximates(depth.oldest, START + 7, 1.0)
        self.put(folded=2)
        self.assertEqual(self.get(self.store.depth()), list[LogDepth]())
