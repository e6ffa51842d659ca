"""Flushes of shards, and the members, while shards are well, down, or too few replicas follow."""

from __future__ import annotations

from taba.errors import StoreUnavailable
from taba.interfaces import Position, Written
from taba.store.redis.durability import Level
from taba.testing.redis import With
from tests.contracts.store_harness import batch
from tests.store.redis.test_checkpoints import CheckpointsCase
from tests.store.redis.test_store import HERE, THERE, StoreCase


class FlushTests(StoreCase):
    """A store on two shards."""

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.stage.get(self.store.append([batch(1, vbucket=HERE), batch(1, vbucket=THERE, events=5)]))

    def test_all_shards(self) -> None:
        """What waits on any of them is dropped and counted."""
        self.assertEqual(self.stage.get(self.store.flush()), 15)
        self.assertEqual(self.stage.get(self.store.ledger()), {"lost": 0, "flushed": 15})
        self.assertEqual(self.stage.get(self.store.depth()), [])

    def test_shard_that_is_down(self) -> None:
        """The flush fails, the other shard is flushed, and the ledger says so afterwards."""
        self.stage.servers["shard2"].kill()
        self.stage.world.advance(0.1)
        self.fails(self.store.flush())
        self.back()
        self.assertEqual([each.vbucket for each in self.stage.get(self.store.depth())], [THERE])
        self.assertEqual(self.stage.get(self.store.ledger())["flushed"], 10)
        self.assertEqual(self.stage.get(self.store.flush()), 5)

    def test_members_are_on_the_first_shard(self) -> None:
        """They are told of while the shard of vbucket 0 can be reached, whatever becomes of the others."""
        self.stage.servers["shard2"].kill()
        self.stage.world.advance(0.1)
        self.stage.get(self.store.publish("be", {"weight": 1}, 60.0))
        self.assertEqual(self.stage.get(self.store.members()), {"be": {"weight": 1}})
        self.back()
        self.stage.servers["shard1"].kill()
        self.stage.world.advance(0.1)
        self.fails(self.store.publish("be", {}, 60.0))
        self.fails(self.store.members())
        self.back("shard1")
        self.assertEqual(self.stage.get(self.store.members()), {"be": {"weight": 1}})


class ReplicatedFlushTests(StoreCase):
    """One shard with a replica."""

    shards = 1
    replicas = 1

    def test_waits_for_the_replica(self) -> None:
        """What an operator is told was dropped is not there again after a failover."""
        self.store = self.make(level=Level.REPLICATED)
        self.start()
        self.stage.get(self.store.append([batch(1)]))
        self.stage.shard.words()
        self.assertEqual(self.stage.get(self.store.flush()), 10)
        words = self.stage.shard.words()
        self.assertEqual((words[0], words[-1], words.count("WAIT")), ("taba_flush", "WAIT", 1))
        self.stage.replicas["shard1"][0].kill()
        self.stage.world.advance(1.0)
        self.assertIn("replicas had it", self.fails(self.store.flush(), StoreUnavailable))
        self.stage.replicas["shard1"][0].restart(With.ITS_DATA)
        self.stage.world.advance(3.0)


class BetweenTests(CheckpointsCase):
    """A flush while a checkpoint is under way."""

    def flush(self) -> object:
        keys = [self.stage.keys.of(letter, 1) for letter in "OLQCM"]
        return self.stage.server.ask("FCALL", "taba_flush", 5, *keys)

    def test_flush_between_guard_and_transaction(self) -> None:
        """Nothing of the transaction is done: what was dropped is in no State."""
        self.ask("XADD", "L", 1, "0-*", "t", "1.5", "n", 7, "b", "x")
        self.ask("RPUSH", "M", 1, "1.500000:1:1:7:7")
        lease = self.lease(1)
        checkpoint = self.next(lease, states={("t", "c"): b"s"}, ledger={"folded": 7})
        self.stage.shard.before("MULTI", self.flush)
        self.assertEqual(self.write(checkpoint), [Written.STALE])
        self.assertEqual((self.states("t"), self.hash("C")), ({}, {b"flushed": b"7"}))
        self.assertEqual(self.stage.get(self.owners.load(1)).position, Position(1, 1))
        self.assertEqual(self.write(self.next(lease)), [Written.DONE])
