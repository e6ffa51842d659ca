"""What be reads of the logs: every entry once and in order, from all shards, whatever goes wrong on the way."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.interfaces import LogEntry
from taba.store.redis.reads import CALL_ENTRIES, FIRST_GUESS, LARGEST_GUESS, LogReader, ShardReader
from taba.testing.redis import With
from tests.store.redis.stage import Stage

MEGABYTE = 1 << 20


class ReadingCase(SynchronousTestCase):
    """A LogReader of some shards."""

    shards = 1

    def setUp(self) -> None:
        self.stage = Stage(self.shards)
        self.addCleanup(lambda: self.stage.close())
        self.readers = {name: ShardReader(shard, self.stage.keys) for name, shard in self.stage.shards.items()}
        self.reader = LogReader(self.readers, self.stage.process.reactor)

    def put(self, vbucket: int, *bodies: bytes) -> None:
        """Entries in a log."""
        server = self.stage.servers[self.stage.map.shard_of(vbucket)]
        for body in bodies:
            server.ask("XADD", self.stage.keys.of("L", vbucket), "0-*", "t", "1.5", "n", 1, "b", body)

    def begin(self, after: Mapping[int, int], max_bytes: int = MEGABYTE, wait: float = 0.0) -> Deferred[list[LogEntry]]:
        parts = {name: {v: after[v] for v in some} for name, some in self.stage.map.by_shard(after).items()}
        return Deferred.fromCoroutine(self.reader.read(parts, max_bytes, wait))

    def read(self, after: Mapping[int, int], max_bytes: int = MEGABYTE, wait: float = 0.0) -> list[tuple[int, int]]:
        """What is read, as (vbucket, id)."""
        return [(each.vbucket, each.id) for each in self.stage.get(self.begin(after, max_bytes, wait))]

    def read_all(self, after: dict[int, int], max_bytes: int) -> list[list[tuple[int, int]]]:
        """What comes by reading until there is nothing more, each time after what came before."""
        pages = []
        while page := self.read(after, max_bytes):
            for vbucket, entry in page:
                self.assertEqual(entry, after[vbucket] + 1)
                after[vbucket] = entry
            pages.append(page)
        return pages


class OneShardTests(ReadingCase):
    """Logs on one shard."""

    def test_nothing_to_read(self) -> None:
        """Without vbuckets a read waits its time and brings nothing."""
        self.assertEqual(self.read({}), [])
        waiting = self.begin({}, wait=5.0)
        self.stage.world.advance(4.9)
        self.assertNoResult(waiting)
        self.stage.world.advance(0.2)
        self.assertEqual(self.successResultOf(waiting), [])

    def test_empty_logs(self) -> None:
        """Logs that have nothing new bring nothing, after the time that was given."""
        self.put(1, b"a")
        self.assertEqual(self.read({0: 0, 1: 1}), [])
        before = self.stage.world.clock.seconds()
        self.assertEqual(self.read({0: 0, 1: 1}, wait=3.0), [])
        self.assertAlmostEqual(self.stage.world.clock.seconds() - before, 3.0, 1)

    def test_entries(self) -> None:
        """Entries come whole, with the lineage they were read under."""
        self.put(1, b"a\x00", b"b")
        first, _ = self.stage.get(self.begin({1: 0}))
        self.assertEqual(first, LogEntry(1, 1, 1.5, 1, self.stage.shard.lineage, b"a\x00"))

    def test_wakes_for_what_comes(self) -> None:
        """A read that waits has what is appended at once."""
        waiting = self.begin({0: 0, 1: 0}, wait=30.0)
        self.stage.world.advance(7.3)
        self.assertNoResult(waiting)
        self.put(1, b"new")
        self.stage.world.advance(0.01)
        self.assertEqual([each.body for each in self.successResultOf(waiting)], [b"new"])

    def test_every_entry_comes_once(self) -> None:
        """Many logs of different lengths are read to their ends, each in order."""
        for vbucket in range(8):
            self.put(vbucket, *[b"x" * 10] * (50 * vbucket))
        after = dict.fromkeys(range(8), 0)
        pages = self.read_all(after, 2000)
        self.assertEqual(after, {v: 50 * v for v in range(8)})
        self.assertEqual(sum(map(len, pages)), 50 * 28)

    def test_logs_take_turns(self) -> None:
        """A long log does not keep the others waiting."""
        for vbucket in range(8):
            self.put(vbucket, *[b"x" * 1000] * 40)
        pages = self.read_all(dict.fromkeys(range(8), 0), 20_000)
        self.assertEqual({vbucket for page in pages[:6] for vbucket, _ in page}, set(range(8)))

    def test_reads_are_bounded(self) -> None:
        """A read has about as much as was asked for, and at least one entry."""
        self.put(1, *[b"x" * 100_000] * 20)
        for page in self.read_all({1: 0}, 250_000):
            self.assertLessEqual(len(page), 4)
        self.assertEqual(self.read({1: 0}, 1), [(1, 1)])

    def test_large_entries_after_small_ones(self) -> None:
        """No call asks for many entries, however small those before were."""
        self.put(0, *[b"x"] * 2000)
        self.read_all({0: 0}, MEGABYTE)
        counts = [command[2] for command in self.stage.shard.sent if command[0] == "XREAD"]
        self.assertLessEqual(max(counts), CALL_ENTRIES)

    def test_more_is_suspected_after_a_failure(self) -> None:
        """After a call that ran out of time entries are taken to be larger; when nothing is found, no longer."""
        reader = self.readers["shard1"]
        reader._size = 10.0
        self.stage.server.hang()
        with self.assertRaises(StoreUnavailable):
            self.stage.get(self.begin({0: 0}))
        self.stage.server.wake()
        self.assertEqual(reader._size, FIRST_GUESS)
        reader._size = LARGEST_GUESS
        self.stage.world.result_of(self.stage.shard.when_open())
        self.assertEqual(self.read({0: 0}, wait=4.0), [])
        self.assertEqual(reader._size, FIRST_GUESS)

    def test_what_a_cancelled_read_would_have_had(self) -> None:
        """The next read has it, if it asks for what follows; if it asks for another place, what is there."""
        self.put(1, b"a", b"b")
        waiting = self.begin({1: 0})
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.stage.world.advance(0.1)
        self.assertEqual(len(self.readers["shard1"].entries), 2)
        self.assertEqual(self.read({1: 0, 2: 0}), [(1, 1), (1, 2)])
        self.begin({1: 0}).addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        self.stage.world.advance(0.1)
        self.assertEqual(self.read({1: 1}), [(1, 2)])

    def test_cancelled_while_it_blocks(self) -> None:
        """A read that waits can be given up and begun anew with more logs, again and again."""
        for _ in range(20):
            waiting = self.begin({0: 0}, wait=30.0)
            self.stage.world.advance(0.03)
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
        self.put(1, b"a")
        self.assertEqual(self.read({0: 0, 1: 0}, wait=5.0), [(1, 1)])

    def test_what_was_fetched_before_a_loss_is_dropped(self) -> None:
        """What came by a connection that was closed is not given out: the log may be another one now."""
        self.put(1, b"a", b"b")
        self.begin({1: 0}).addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        self.stage.world.advance(0.1)
        self.stage.server.restart(With.NOTHING)
        self.stage.world.run_until(lambda: not self.stage.shard.state()["open"], 5.0)
        self.stage.world.result_of(self.stage.shard.when_open())
        self.put(1, b"other")
        entries = self.stage.get(self.begin({1: 0}))
        self.assertEqual([(each.body, each.lineage) for each in entries], [(b"other", self.stage.shard.lineage)])

    def test_trimmed_logs(self) -> None:
        """What follows a place before the beginning of a log is its beginning."""
        self.put(1, b"a", b"b", b"c")
        self.stage.server.ask("XTRIM", self.stage.keys.of("L", 1), "MINID", "0-3")
        self.assertEqual(self.read({1: 0}), [(1, 3)])

    def test_foreign_entries(self) -> None:
        """An entry that nobody of ours wrote fails the read, and is told; it is no loop without end."""
        self.stage.server.ask("XADD", self.stage.keys.of("L", 1), "0-*", "strange", "entry")
        with self.assertRaisesRegex(StoreUnavailable, "KeyError"):
            self.stage.get(self.begin({1: 0}))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(len(self.stage.world.flush_logged(KeyError)), 1)

    def test_fails_without_master(self) -> None:
        """When no shard can be read, the read fails, and so does the next, until one can."""
        self.stage.server.kill()
        self.stage.world.advance(1.0)
        for _ in range(2):
            with self.assertRaises(StoreUnavailable):
                self.stage.get(self.begin({1: 0}, wait=5.0))
        self.stage.server.restart(With.ITS_DATA)
        self.stage.world.result_of(self.stage.shard.when_open())
        self.put(1, b"a")
        self.assertEqual(self.read({1: 0}), [(1, 1)])


class SeveralShardsTests(ReadingCase):
    """Logs on two shards."""

    shards = 2

    def test_all_shards_are_read(self) -> None:
        """Entries of all shards come, and none is forgotten for another."""
        for vbucket in range(8):
            self.put(vbucket, *[b"x" * 1000] * 30)
        pages = self.read_all(dict.fromkeys(range(8), 0), 10_000)
        self.assertEqual(sum(map(len, pages)), 240)
        shards = [{self.stage.map.shard_of(vbucket) for vbucket, _ in page} for page in pages[:6]]
        self.assertEqual(set().union(*shards), {"shard1", "shard2"})

    def test_shards_take_turns(self) -> None:
        """What fills a read of one shard leaves that of the other for the next one."""
        for vbucket in (0, 7):
            self.put(vbucket, *[b"x" * 1000] * 10)
        self.begin({0: 0, 7: 0}).addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        self.stage.world.advance(0.1)
        self.assertEqual([len(each.entries) for each in self.readers.values()], [10, 10])
        pages = [self.read({0: 0, 7: 0}, 3000), self.read({0: 0, 7: 0}, 3000)]
        self.assertEqual({vbucket for page in pages for vbucket, _ in page}, {0, 7})

    def test_one_shard_is_down(self) -> None:
        """The other one is read, and waited for; when it is back, its entries come, too."""
        self.stage.servers["shard2"].kill()
        self.stage.world.advance(1.0)
        self.put(0, b"a")
        self.assertEqual(self.read({0: 0, 7: 0}), [(0, 1)])
        before = self.stage.world.clock.seconds()
        self.assertEqual(self.read({0: 1, 7: 0}, wait=3.0), [])
        self.assertAlmostEqual(self.stage.world.clock.seconds() - before, 3.0, 0)
        waiting = self.begin({0: 1, 7: 0}, wait=30.0)
        self.stage.servers["shard2"].restart(With.ITS_DATA)
        self.stage.world.result_of(self.stage.shards["shard2"].when_open())
        self.put(7, b"b")
        self.stage.world.advance(1.0)
        self.assertEqual([each.body for each in self.successResultOf(waiting)], [b"b"])

    def test_one_shard_hangs(self) -> None:
        """Entries of the other one come at once, again and again."""
        self.stage.servers["shard2"].hang()
        for entry in range(1, 6):
            self.put(0, b"a")
            before = self.stage.world.clock.seconds()
            self.assertEqual(self.read({0: entry - 1, 7: 0}, wait=10.0), [(0, entry)])
            self.assertLess(self.stage.world.clock.seconds() - before, 0.1)
        self.stage.servers["shard2"].wake()
        self.stage.world.advance(5.0)

    def test_all_shards_are_down(self) -> None:
        """The read fails."""
        for server in self.stage.servers.values():
            server.kill()
        self.stage.world.advance(1.0)
        with self.assertRaises(StoreUnavailable):
            self.stage.get(self.begin({0: 0, 7: 0}, wait=5.0))
        for server in self.stage.servers.values():
            server.restart(With.ITS_DATA)
        self.stage.world.advance(5.0)


