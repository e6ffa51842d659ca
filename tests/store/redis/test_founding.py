"""Whose the shards are: a new cluster, one that exists, and the days on which the settings and the data do not agree.

Two servers in memory, each a shard; a store is started on them with one set of settings, and with another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import LocalProtocolError, SettingsError, StartError, StoreUnavailable
from taba.interfaces import Append, Verdict
from taba.settings import DatabaseSettings, ShardSettings
from taba.store.redis.access import Address
from taba.store.redis.keys import Keys
from taba.store.redis.opening import check_database
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import ShardRange, shard_map
from taba.store.redis.source import FixedSource
from taba.store.redis.store import RedisStore
from taba.store.redis.tending import REFRESH_SECONDS
from taba.testing.machine import machine_of
from taba.testing.redis import FunctionLibrary, RedisServer
from taba.testing.redis.library import taba_library
from taba.testing.world import World

VBUCKETS = 8
HALVES = {"shard1": (0, 3), "shard2": (4, 7)}
LANE = "a" * 32


def batch(vbucket: int, seq: int = 1) -> Append:
    """A batch of a lane."""
    return Append(vbucket, LANE, seq, seq - 1, None, 0, 1, 1_700_000_000.0, seq, b"x")


class FoundingCase(SynchronousTestCase):
    """Two servers, `redis-1` and `redis-2`, and stores on them, one after the other or at once."""

    def setUp(self) -> None:
        self.world = World(seed=1, epoch=1_700_000_000.0)
        self.addCleanup(self.world.close)
        self.servers = [self.server(f"redis-{i + 1}") for i in range(2)]
        self.said: list[str] = []
        self.stores = 0

    def server(self, name: str, library: FunctionLibrary | None = None) -> RedisServer:
        return RedisServer(self.world.node(name), libraries={"taba": library or taba_library()}).start()

    def store(
        self,
        ranges: Mapping[str, tuple[int, int]] = HALVES,
        servers: Mapping[str, int] | None = None,
        vbuckets: int = VBUCKETS,
        prefix: str = "",
    ) -> RedisStore:
        """A store, not started; `servers` says which server, by number, each shard is on."""
        self.stores += 1
        process = machine_of(self.world.node(f"taba-{self.stores}").start())
        process.say = self.said.append
        places = servers or {"shard1": 0, "shard2": 1}
        shards = {
            name: Shard(name, process, source=FixedSource(Address(f"redis-{places[name] + 1}", 6379)))
            for name in ranges
        }
        chart = shard_map(vbuckets, [ShardRange(name, *both) for name, both in ranges.items()])
        return RedisStore(process, shards, chart, Keys(prefix))

    def started(self, **settings: Any) -> RedisStore:
        """A store that has started."""
        store = self.store(**settings)
        self.world.result_of(store.startService())
        self.addCleanup(self.stop, store)
        return store

    def stop(self, store: RedisStore) -> None:
        self.world.result_of(store.stopService())

    def refused(self, **settings: Any) -> str:
        """Why a store cannot start."""
        starting: Any = self.store(**settings).startService()
        failed = self.world.result_of(starting.addErrback(lambda failure: failure.value))
        self.assertIsInstance(failed, StartError)
        return str(failed)

    def verdict(self, store: RedisStore, vbucket: int, seq: int = 1) -> Verdict:
        """What becomes of a batch."""
        (outcome,) = self.world.result_of(store.append([batch(vbucket, seq)]))
        verdict: Verdict = outcome.verdict
        return verdict


class StartTests(FoundingCase):
    """Settings and data at the start."""

    def test_again(self) -> None:
        """A second server, and a later start, are of the same cluster."""
        first, second = self.started(), self.started()
        self.assertEqual(first.cluster.id, second.cluster.id)
        self.assertEqual((first.missing, first.problem()), ({}, ""))
        self.stop(first)
        self.assertEqual(self.started().cluster.id, second.cluster.id)

    def test_other_number_of_vbuckets(self) -> None:
        """NUM_VBUCKETS cannot be changed; the sentence says what it was."""
        self.started()
        said = self.refused(ranges={"shard1": (0, 3), "shard2": (4, 15)}, vbuckets=16)
        self.assertIn("was written with NUM_VBUCKETS 8", said)
        self.assertIn("set NUM_VBUCKETS to 8", said)

    def test_moved_ranges(self) -> None:
        """A range that the settings give to another shard than has its data is used where that is, and is named."""
        self.assertIs(self.verdict(self.started(), 4), Verdict.OK)
        store = self.started(ranges={"shard1": (0, 4), "shard2": (5, 7)})
        self.assertIn("SHARDS has vbucket 4 on shard1, and its data is on shard2", self.said[-1])
        self.assertIs(self.verdict(store, 4, 2), Verdict.OK)
        self.assertEqual((store.shard_of(4), store.missing, store.problem()), ("shard2", {}, ""))
        self.assertIsNone(self.servers[0].ask("GET", "O:4"))

    def test_moved_ranges_and_lost_data(self) -> None:
        """Nor is a shard that lost its data mistaken for another one, to which the settings want to have it moved."""
        self.stop(self.started())
        self.servers[1].ask("FLUSHALL")
        store = self.started(ranges={"shard1": (0, 4), "shard2": (5, 7)})
        self.assertEqual(store.missing, {"shard2": [4, 5, 6, 7]})

    def test_swapped_shards(self) -> None:
        """Shards whose names were swapped are told apart by what they hold."""
        self.started()
        said = self.refused(servers={"shard1": 1, "shard2": 0})
        self.assertIn("What the settings call shard shard1 holds the data of shard shard2", said)

    def test_another_cluster(self) -> None:
        """A shard with another cluster's data under the prefix is named, with both clusters; a prefix helps."""
        self.started(ranges={"shard2": (0, 7)}, servers={"shard2": 1})
        other = self.started(ranges={"shard1": (0, 7)}, servers={"shard1": 0})
        said = self.refused()
        self.assertIn("belong to different clusters", said)
        self.assertIn(other.cluster.id, said)
        self.assertIn("KEY_PREFIX", said)
        self.assertNotEqual(self.started(prefix="mine:").cluster.id, other.cluster.id)

    def test_newer_functions(self) -> None:
        """Functions of a newer Taba are left where they are, and the older one does not start."""
        self.servers.append(self.server("redis-3", FunctionLibrary("taba", {"taba_version": lambda *_: 99})))
        self.servers[2].ask("FUNCTION", "LOAD", "#!lua name=taba\n")
        said = self.refused(ranges={"shard1": (0, 7)}, servers={"shard1": 2})
        self.assertIn("functions of a newer Taba (version 99", said)

    def test_waits_and_can_be_interrupted(self) -> None:
        """While a shard is down the start waits, says why once, and goes on by itself; it can be interrupted."""
        self.servers[1].kill()
        store = self.store()
        starting = store.startService()
        self.addCleanup(self.stop, store)
        self.world.advance(20.0)
        waiting = [each for each in self.said if each.startswith("Waiting for Redis")]
        self.assertEqual(len(waiting), 1, self.said)
        self.assertIn("shard2 at redis-2:6379: the connection is refused", waiting[0])
        interrupted = self.store()
        failed = interrupted.startService().addErrback(lambda failure: failure.value)
        self.world.advance(3.0)
        interrupted.interrupt()
        self.assertIsInstance(self.world.result_of(failed, 1.0), CancelledError)
        self.servers[1].start()
        self.world.result_of(starting)
        self.assertIs(self.verdict(store, 7), Verdict.OK)


class LostTests(FoundingCase):
    """A shard that was emptied, while servers run or between two starts."""

    def lose(self, *numbers: int) -> None:
        for number in numbers:
            self.servers[number].ask("FLUSHALL")

    def assertLost(self, store: RedisStore, shard: str) -> None:
        """Nothing is written to a shard that lost its data, and the operator knows what to do."""
        self.assertEqual(list(store.missing), [shard])
        self.assertIn(f"taba-cli accept-loss {shard}", store.problem())
        self.assertTrue(any(f"taba-cli accept-loss {shard}" in each for each in self.said))
        self.assertIs(self.verdict(store, HALVES[shard][0]), Verdict.MOVED)

    def test_one_of_two_at_start(self) -> None:
        """Its vbuckets are refused, agents hold their events, and the other shard goes on; when the loss is accepted it
        begins anew, in the same cluster.
        """
        before = self.started()
        cluster = before.cluster.id
        self.stop(before)
        self.lose(1)
        store = self.started()
        self.assertLost(store, "shard2")
        self.assertIs(self.verdict(store, 0), Verdict.OK)
        self.assertEqual(self.world.result_of(store.accept_loss("shard2")), 4)
        self.assertEqual((store.cluster.id, store.missing, store.problem()), (cluster, {}, ""))
        self.assertIs(self.verdict(store, 7), Verdict.OK)
        self.assertEqual(self.started().cluster.id, cluster)

    def test_while_it_runs(self) -> None:
        """A running server notices, without a restart, and does not take the empty shards for a new cluster, not even
        when all of them are empty.
        """
        store = self.started()
        cluster = store.cluster.id
        self.lose(0, 1)
        self.world.advance(REFRESH_SECONDS + 1.0)
        self.assertEqual(sorted(store.missing), ["shard1", "shard2"])
        self.assertIs(self.verdict(store, 0), Verdict.MOVED)
        for shard in HALVES:
            self.assertEqual(self.world.result_of(store.accept_loss(shard)), 4)
        self.assertEqual((store.cluster.id, store.missing), (cluster, {}))
        self.assertIs(self.verdict(store, 7), Verdict.OK)
        self.assertEqual(self.started().cluster.id, cluster)

    def test_one_vbucket(self) -> None:
        """A shard that still knows whose it is, and lacks one vbucket, is held back for that one only."""
        self.stop(self.started())
        self.servers[1].ask("DEL", "O:5")
        store = self.started()
        self.assertEqual(store.missing, {"shard2": [5]})
        self.assertEqual([self.verdict(store, v) for v in (4, 5)], [Verdict.OK, Verdict.MOVED])
        self.assertEqual(self.world.result_of(store.accept_loss("shard2")), 1)
        self.assertEqual([self.verdict(store, v) for v in (4, 5)], [Verdict.OK, Verdict.OK])

    def test_nothing_lost(self) -> None:
        """To accept a loss where nothing was lost changes nothing; a shard that is none is named."""
        store = self.started()
        self.assertIs(self.verdict(store, 0), Verdict.OK)
        self.assertEqual(self.world.result_of(store.accept_loss("shard1")), 0)
        self.assertIs(self.verdict(store, 0, 2), Verdict.OK)
        failed = self.world.result_of(store.accept_loss("shard9").addErrback(lambda failure: failure.value))
        self.assertIsInstance(failed, LocalProtocolError)
        self.assertIn("the shards are shard1, shard2", str(failed))

    def test_other_data_while_it_runs(self) -> None:
        """A shard that suddenly holds another cluster's data is not written to, until the right one is back."""
        store = self.started()
        cluster = store.cluster.id
        self.servers[1].ask("HSET", "meta", "cluster", "b" * 32)
        self.world.advance(REFRESH_SECONDS + 1.0)
        self.assertIn("The store is not used any more", " ".join(self.said))
        self.assertIn("different clusters", store.problem())
        failed = self.world.result_of(store.append([batch(7)]).addErrback(lambda failure: failure.value))
        self.assertIsInstance(failed, StoreUnavailable)
        self.servers[1].ask("HSET", "meta", "cluster", cluster)
        self.world.advance(REFRESH_SECONDS + 1.0)
        self.assertEqual(store.problem(), "")
        self.assertIs(self.verdict(store, 7), Verdict.OK)


class RangeTests(SynchronousTestCase):
    """What the settings alone show."""

    def assertRefused(self, first: tuple[int, int], second: tuple[int, int], words: str) -> None:
        """Two ranges are refused in these words."""
        shards = (ShardSettings("shard1", first), ShardSettings("shard2", second))
        settings = DatabaseSettings(vbuckets=8, sentinels=(("localhost", 18000),), shards=shards)
        self.assertIn(words, str(self.assertRaises(SettingsError, check_database, settings)))

    def test_ranges(self) -> None:
        """Overlaps, holes and what is beyond the end are named by shard and vbucket."""
        self.assertRefused((0, 4), (4, 7), "shard1 and shard2 both have vbucket 4")
        self.assertRefused((0, 2), (5, 7), "no shard has the vbuckets from 3 to 4")
        self.assertRefused((0, 3), (4, 8), "the range [4, 8] of shard2 is not within 0 and 7")
        self.assertRefused((0, 3), (4, 6), "no shard has the vbuckets from 7 to 7")
