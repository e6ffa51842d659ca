"""Schedules by hand: vbuckets move between shards, and the worst happens at the worst moment. tests/mutants switches
the rules off that each of them is about.
"""

from __future__ import annotations

from typing import Any, cast

from taba.settings import ShardSettings
from taba.store.redis.mover import Task
from taba.store.redis.placing import ACTIVE, SEALED
from taba.store.redis.store import RedisStore
from taba.store.redis.stuck_moves import ARRIVED, RETURNED
from taba.testing.redis_cluster import RedisMember
from tests.cluster.events import EventId
from tests.cluster.redis_quiet import QuietCase
from tests.cluster.redis_script import RedisScript

LONG = 120.0


class MoveCase(QuietCase):
    """A cluster on two shards; the vbucket of all counters is to leave its shard for the other one."""

    def script(self, **options: Any) -> RedisScript:
        script = RedisScript(**options)
        self.addCleanup(script.close)
        self.source = script.shard
        (self.target,) = (name for name in script.fleet.shards() if name != self.source)
        return script

    def begin(self, s: RedisScript) -> None:
        """Somebody has all vbuckets but one moved to the other shard."""
        last = s.fleet.vbuckets - 1
        stays, rest = ((0, 0), (1, last)) if s.vbucket == last else ((last, last), (0, last - 1))
        s.fleet.mover.begin(Task.RUN, (ShardSettings(self.source, stays), ShardSettings(self.target, rest)))

    def stands(self, s: RedisScript, shard: str, letter: str) -> bool:
        """Whether the master of a shard says that of the vbucket."""
        marker = s.fleet.marker(shard, s.vbucket)
        return marker is not None and marker.letter == letter

    def until_sealed(self, s: RedisScript) -> None:
        """Until the very moment when the source is sealed."""
        s.until(lambda: self.stands(s, self.source, SEALED), "the vbucket to be sealed")

    def until_arrived(self, s: RedisScript) -> None:
        """Until the very moment when the target is active."""
        s.until(lambda: self.stands(s, self.target, ACTIVE), "the vbucket to arrive")

    def freed(self, s: RedisScript) -> dict[str, int]:
        """How many vbuckets all servers say that they let go on."""
        servers = [each.server.server for each in s.fleet.servers if each.server is not None]
        stores = [cast(RedisStore, each.store) for each in servers]
        return {how: sum(each.freed[how] for each in stores) for how in (ARRIVED, RETURNED)}

    def end(self, s: RedisScript) -> dict[EventId, int]:
        """All comes to rest, the moves, too; how often each event was folded."""
        s.fleet.heal()
        s.fleet.finish_moves()
        return s.end()

    def fail_over(self, s: RedisScript, shard: str) -> RedisMember:
        """The master of a shard is killed, another one leads; the old one."""
        old = s.fleet.master(shard)
        old.crash()

        def led() -> bool:
            new = s.fleet.master(shard)
            return new is not old and set(s.fleet.named(shard)) == {new} and new.redis.is_master

        s.until(led, "another master")
        for each in s.fleet.of_shard(shard):
            each.redis.join_link()
        return old


class MoveTests(MoveCase):
    def test_moves_under_load(self) -> None:
        """Events are given all the while: each counts once, and the shards have changed."""
        s = self.script(server_count=2)
        events = {s.give(): 1}
        self.begin(s)
        while s.fleet.mover.up:
            events[s.give()] = 1
        self.assertEqual(s.shard, self.target)
        self.assertGreater(s.fleet.mover.figures[0].moved, 0)
        self.assertEqual(self.end(s), events)

    def test_waits_for_the_target(self) -> None:
        """The target's replica hangs when the source was sealed: the target is not active before it wakes."""
        s = self.script()
        event = s.give()
        s.until_confirmed()
        self.begin(s)
        self.until_sealed(s)
        (replica,) = s.fleet.replicas(self.target)
        replica.redis.hang()
        s.world.advance(3.0)
        self.assertFalse(self.stands(s, self.target, ACTIVE))
        replica.redis.wake()
        self.until_arrived(s)
        self.assertEqual(self.end(s), {event: 1})

    def test_target_forgets(self) -> None:
        """The target arrives, and a failover takes that back; the source has kept everything, and it is moved again."""
        s = self.script(durability="memory")
        events = {s.give(): 1}
        s.until_confirmed()
        self.begin(s)
        s.world.advance(s.fleet.confirm_seconds - 0.5)
        for each in s.fleet.replicas(self.target):
            each.redis.cut_link()
        self.until_arrived(s)
        events[s.give()] = 1
        s.world.advance(2.0)
        self.fail_over(s, self.target)
        self.assertFalse(self.stands(s, self.target, ACTIVE))
        self.assertEqual(self.end(s), events)
        self.assertEqual(s.shard, self.target)

    def test_source_forgets(self) -> None:
        """The target arrives, and a failover takes the seal back: a server that has not seen both shards lately answers
        nothing, so that nothing is confirmed on the source.
        """
        s = self.script(durability="memory", server_count=2)
        events = {s.give(): 1}
        s.until_confirmed()
        first, second = s.fleet.servers
        self.begin(s)
        s.world.advance(s.fleet.confirm_seconds - 2.0)
        for each in s.fleet.replicas(self.source):
            each.redis.cut_link()
        for each in s.fleet.of_shard(self.target):  # the first server does not hear that it arrives
            s.world.network.partition(first.name, each.name)
            s.world.network.drop_connection(first.name, each.name)
        s.hides(s.agent, second)
        self.until_arrived(s)
        s.fleet.mover.crash()  # it would seal the source again
        self.fail_over(s, self.source)
        events[s.give()] = 1
        s.world.advance(3 * s.fleet.confirm_seconds)
        self.assertGreater(s.running().ledger()["pending"], 0)
        self.assertEqual(self.end(s), events)

    def test_mover_dies_when_it_is_sealed(self) -> None:
        """The mover is killed between seal and arrival: nothing is taken until another goes on, and nothing is lost."""
        s = self.script()
        events = {s.give(): 1}
        s.until_confirmed()
        self.begin(s)
        self.until_sealed(s)
        s.fleet.mover.crash()
        events[s.give()] = 1
        s.world.advance(5.0)
        self.assertFalse(s.sent())
        self.begin(s)
        s.until_sent()
        self.assertEqual(self.end(s), events)
        self.assertEqual(s.shard, self.target)

    def test_servers_go_on_when_it_is_sealed(self) -> None:
        """The mover is killed between seal and arrival, and nobody starts another: after a while a server goes on for
        this vbucket, at its target; nothing is lost.
        """
        s = self.script(server_count=2)
        events = {s.give(): 1}
        s.until_confirmed()
        self.begin(s)
        self.until_sealed(s)
        s.fleet.mover.crash()
        events[s.give()] = 1
        s.until_sent()
        self.assertEqual(s.shard, self.target)
        self.assertFalse(s.fleet.mover.up)
        s.until(lambda: self.freed(s) == {"arrived": 1, "returned": 0}, "a server to have counted it")
        self.assertEqual(self.end(s), events)

    def test_servers_unseal_when_it_was_undone(self) -> None:
        """The mover is killed while it undoes the move of a sealed vbucket: a server lets the source go on."""
        s = self.script(server_count=2)
        events = {s.give(): 1}
        s.until_confirmed()
        self.begin(s)
        self.until_sealed(s)
        s.fleet.mover.crash()
        s.fleet.mover.begin(Task.ABORT)
        redis = s.fleet.master(self.source).redis
        s.until(lambda: redis.ask("HGET", "moves", s.vbucket).startswith(b"undoing"), "the undoing to begin")
        s.fleet.mover.crash()
        self.assertTrue(self.stands(s, self.source, SEALED))
        events[s.give()] = 1
        s.until_sent()
        self.assertEqual(s.shard, self.source)
        s.until(lambda: self.freed(s) == {"arrived": 0, "returned": 1}, "a server to have counted it")
        self.assertEqual(self.end(s), events)

    def test_undone_when_it_is_sealed(self) -> None:
        """So it is when what it began is undone: the source goes on, under a higher epoch."""
        s = self.script()
        events = {s.give(): 1}
        s.until_confirmed()
        self.begin(s)
        self.until_sealed(s)
        s.fleet.mover.crash()
        s.fleet.mover.begin(Task.ABORT)
        events[s.give()] = 1
        s.until(lambda: not s.fleet.mover.up, "the end of it")
        self.assertEqual(s.fleet.on_the_move(), {})
        self.assertEqual(s.shard, self.source)
        self.assertEqual(s.end(), events)

    def test_both_fail_over(self) -> None:
        """Both masters die when the vbucket arrives, and their replicas lack what came last: it is moved again."""
        s = self.script(durability="memory")
        events = {s.give(): 1}
        s.until_confirmed()
        self.begin(s)
        s.world.advance(s.fleet.confirm_seconds - 2.0)
        for shard in s.fleet.shards():
            for each in s.fleet.replicas(shard):
                each.redis.cut_link()
        events[s.give()] = 1
        self.until_arrived(s)
        self.fail_over(s, self.target)
        self.fail_over(s, self.source)
        events[s.give()] = 1
        self.assertEqual(self.end(s), events)
