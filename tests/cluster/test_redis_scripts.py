"""Schedules by hand over the real code on Redis: for each rule that a failover needs, the shortest run that goes wrong
without it. tests/mutants switches the rules off.
"""

from __future__ import annotations

from typing import Any

from taba.interfaces import Lease, LogEntry
from tests.cluster.events import events_of_batch
from tests.cluster.oracle import Fate
from tests.cluster.redis_quiet import QuietCase
from tests.cluster.redis_script import RedisScript


class RedisScriptCase(QuietCase):
    """A cluster on Redis to be played with."""

    def script(self, **options: Any) -> RedisScript:
        script = RedisScript(**options)
        self.addCleanup(script.close)
        return script


class AnswerTests(RedisScriptCase):
    """What an agent is told, and when."""

    def test_append_waits_for_replica(self) -> None:
        """A replica hangs: no batch is ok that it does not have, until it wakes."""
        s = self.script()
        s.give()
        s.until_confirmed()
        number = s.logged()
        replica = s.replica
        replica.redis.hang()
        event = s.record()
        s.until_logged(number + 1)
        s.world.advance(0.8)
        self.assertFalse(s.sent())
        replica.redis.wake()
        s.until_sent()
        self.assertEqual(s.end()[event], 1)

    def test_duplicate_waits_for_replica(self) -> None:
        """A batch is appended, and the replica hangs; the agent repeats it by way of a server whose connection has
        written nothing yet: it is not ok before the replica has it.
        """
        s = self.script(server_count=2)
        first, second = s.fleet.servers
        s.give()
        s.until_confirmed()
        number = s.logged()
        s.hides(s.agent, second)
        s.replica.redis.hang()
        s.record()
        s.until_logged(number + 1)
        s.world.network.heal(s.agent.name, second.name)
        s.hides(s.agent, first)
        appends = len(s.appends())
        s.until(lambda: len(s.appends()) > appends, "the batch to be repeated")
        self.assertEqual(s.appends()[-1].target, second.name)
        s.world.advance(0.5)
        self.assertFalse(s.sent())
        s.end()

    def test_sentinel_majority(self) -> None:
        """A master goes on among a minority of the Sentinels, with a replica and a server, and agents send to that: it
        is no longer believed after some seconds, and when it is deposed nothing is missing.
        """
        s = self.script(server_count=2, copies=3)
        s.give()
        s.until_confirmed()
        first, second = s.fleet.servers
        with_it, other = s.fleet.replicas(s.shard)
        old = s.master
        here = [old.name, with_it.name, first.name, "sentinel-1"]
        for one in here:
            for there in (other.name, second.name, "sentinel-2", "sentinel-3"):
                s.world.network.partition(one, there)
        s.hides(s.agent, second)
        s.world.advance(8.0)  # words of the others are not believed any more
        event = s.give()
        s.world.advance(2.5 * s.fleet.confirm_seconds)
        self.assertGreater(s.running().ledger()["pending"], 0)
        self.assertEqual(s.end()[event], 1)
        self.assertIsNot(s.master, old)


class FailoverTests(RedisScriptCase):
    """A replica is promoted that lacks the last batches."""

    def test_rollback_is_repaired(self) -> None:
        """DURABILITY memory, the replica cut off, the master killed: what had its ok is sent again."""
        s = self.script(durability="memory")
        first = s.give()
        s.until_confirmed()
        s.cut_links()
        events = {first: 1}
        for _ in range(3):
            events[s.give()] = 1
            s.until_sent()
        s.fail_over()
        self.assertEqual(s.end(), events)

    def test_rollback_of_a_quiet_lane(self) -> None:
        """So is what lies in a lane that gives nothing any more."""
        s = self.script(durability="memory")
        s.cut_links()
        event = s.give()
        s.until_sent()
        s.fail_over()
        s.world.advance(5.0)
        self.assertNotIn(event, s.folded())
        self.assertEqual(s.end(), {event: 1})

    def test_look_lineage(self) -> None:
        """A failover takes a batch back, a late request brings it again, the next failover takes it back: the first ok
        and the look between do not confirm it.
        """
        s = self.script(durability="memory")
        s.cut_links()
        event = s.give()
        s.until_sent()
        s.freeze(40.0)
        looks_at = s.world.clock.seconds() + 40.0
        old = s.fail_over()
        s.return_as_replica(old)
        s.world.advance(looks_at - 1.0 - s.world.clock.seconds())
        s.cut_links()
        self.assertEqual(s.redeliver(s.appends()[-1]), 200)
        looks = len(s.appends())
        s.until(lambda: len(s.appends()) > looks, "the look")
        s.world.advance(1.0)
        s.fail_over()
        self.assertEqual(s.end(), {event: 1})

    def test_gap_is_filled(self) -> None:
        """What the agent gives next goes out before any look, and must not be appended over what is missing."""
        s = self.script(durability="memory")
        events = {s.give(): 1}
        s.until_confirmed()
        s.cut_links()
        for _ in range(2):
            events[s.give()] = 1
            s.until_sent()
        s.freeze(30.0)
        s.fail_over()
        events[s.give()] = 1
        self.assertEqual(s.end(), events)
        self.assertEqual(s.view().ledger["lost"], 0)

    def test_lineage_in_guard(self) -> None:
        """be has folded a batch that only the old master had, and is kept from its work for some seconds. Meanwhile a
        replica is promoted, and in the batch's place in the log comes another one. What be has in memory is not
        written.
        """
        s = self.script(checkpoint_seconds=20.0)
        events = {s.give(): 1}
        s.until_sent()
        s.until_checkpointed(s.logged())
        number, old = s.logged(), s.master
        s.until_checkpointed(number, s.replica)
        s.replica.node.step_wall(-10.0)  # so that the lease outlives the failover
        s.cut_links()
        events[s.record()] = 1
        s.until_folded(number + 1)
        s.cut(s.agent)
        s.freeze(8.0, s.fleet.server)
        old.crash()
        s.until_led_by_another(old)
        s.join_links()
        self.assertEqual(s.logged(), number)
        events[s.record(s.other_application)] = 1
        s.until_logged(number + 1)
        s.until_checkpointed(number + 1)
        self.assertEqual(s.end(), events)

    def test_quiet_vbucket_is_folded_again(self) -> None:
        """A checkpoint is taken back while be is between two looks at its leases, and the batch comes again, last of
        its log: it is folded, though nothing comes after it.
        """
        s = self.script(durability="memory")
        s.give()
        s.until_sent()
        number = s.logged()
        s.until_checkpointed(number, s.replica)
        s.replica.node.step_wall(-10.0)  # so that the lease outlives the failover
        s.cut_links()
        event = s.give()
        s.until_checkpointed(number + 1)
        s.freeze(4.0, s.fleet.server)
        s.switch_over()
        self.assertNotIn(event, s.folded())
        s.until_logged(number + 1)
        s.world.advance(3.0)
        self.assertEqual(s.folded()[event], 1)
        s.end()

    def test_chain(self) -> None:
        """A failover takes number 3 of the original back, the twin gives its own number 3, the original goes on with 4:
        the store sees that 4 does not follow that 3.
        """
        s = self.script(durability="memory")
        s.cut(s.agent)
        earlier = []
        for _ in range(2):  # while two batches wait to be sent, what comes after them is not sealed yet
            earlier.append(s.give())
            s.world.advance(1.0)
        first = s.give()
        copy = s.copy_disk()
        second = s.give()
        s.cut_links()
        s.join(s.agent)
        s.until_sent()
        s.freeze(30.0)
        s.fail_over()
        s.start_twin(copy)
        s.until_sent(s.fleet.agents[-1])
        third = s.give()
        s.until_sent()
        folded = s.end()
        self.assertEqual([folded.get(event, 0) for event in (*earlier, first, second, third)], [1, 1, 1, 0, 1])
        self.assertEqual(s.oracle.agents_ledger()["refused.conflict"], 2)

    def test_pass_over(self) -> None:
        """Backups lack number 1, which is confirmed, and number 2, which is not: 2 is repaired, 1 is counted as lost,
        and late requests with both change nothing.
        """
        s = self.script()
        before = s.back_up()
        first = s.give()
        s.until_confirmed()
        request = next(each for each in s.appends() if each.source == s.agent.name)
        second = s.give()
        s.until_sent()
        late = [request, s.appends()[-1]]
        s.put_back(before)
        s.fleet.settle()
        for each in late:
            s.redeliver(each)
        self.assertEqual(s.end(), {second: 1})
        self.assertEqual(s.view().ledger["lost"], 1)
        self.assertIs(s.oracle.fates[first], Fate.ACKED)

    def test_old_requests(self) -> None:
        """Every request that an agent ever sent arrives again after a failover: each event counts once."""
        s = self.script()
        events = {s.give(): 1 for _ in range(3)}
        s.until_confirmed()
        s.return_as_replica(s.fail_over())
        for each in s.appends():
            self.assertEqual(s.redeliver(each), 200)
        self.assertEqual(s.end(), events)


class ReaderTests(RedisScriptCase):
    """What is read of the logs."""

    def test_entries_of_a_former_master(self) -> None:
        """A batch is read from a master, and nobody takes it before a failover that takes the batch back; in its place
        in the log comes another one. Who loads then, and reads on, is not given the first as what follows.
        """
        s = self.script(durability="memory", checkpoint_seconds=20.0)
        first = s.give()
        s.until_sent()
        s.until_checkpointed(s.logged())
        number = s.logged()
        s.until_checkpointed(number, s.replica)
        store = s.another_store()
        s.cut_links()
        second = s.record()
        s.until_logged(number + 1)
        reading = store.read({s.vbucket: number}, 1 << 20, 30.0)
        reading.addErrback(lambda failure: None)
        reading.cancel()  # as be does when it gets another vbucket; what is under way comes in all the same
        reader = store._reader._readers[s.shard]
        s.until(lambda: reader.entries, "the batch to come in")
        s.cut(s.agent)
        s.fail_over()
        third = s.give(s.other_application)
        s.until_logged(number + 1)
        lineage = s.world.result_of(store.load(Lease(s.vbucket, "somebody", 1))).lineage
        following: list[LogEntry] = []
        while not following:
            read = s.world.result_of(store.read({s.vbucket: number}, 1 << 20, 1.0))
            following = [each for each in read if each.lineage == lineage]
        given = {event for each in following for event in events_of_batch(each.body, s.oracle.latest)}
        self.assertEqual(given, {third})
        self.assertEqual(s.end(), {first: 1, second: 1, third: 1})


class MarkerTests(RedisScriptCase):
    """What a marker says of a vbucket."""

    def test_marker_epoch(self) -> None:
        """A vbucket has another epoch than a server knows: the server looks at once, and the agent notices nothing."""
        s = self.script()
        s.give()
        s.until_confirmed()
        s.master.redis.ask("SET", f"O:{s.vbucket}", "A:2")
        before = len(s.appends())
        event = s.record()
        s.until(lambda: len(s.appends()) > before, "the request")
        s.world.advance(0.5)
        self.assertTrue(s.sent())
        self.assertEqual(len(s.appends()), before + 1)
        self.assertEqual(s.end()[event], 1)

    def test_sealed(self) -> None:
        """Nothing is appended to a sealed vbucket, and what is in its log is folded."""
        s = self.script()
        first = s.give()
        s.until_confirmed()
        number = s.logged()
        s.master.redis.ask("SET", f"O:{s.vbucket}", "S:1")
        event = s.give()
        s.world.advance(20.0)
        self.assertEqual(s.logged(), number)
        s.master.redis.ask("SET", f"O:{s.vbucket}", "A:1")
        self.assertEqual(s.end(), {first: 1, event: 1})


class LeaseTests(RedisScriptCase):
    """Several servers."""

    def test_clock_set_back(self) -> None:
        """The clock of a Redis was an hour ahead and is set right, and then a server is killed: its leases do not
        hold for that hour.
        """
        s = self.script(server_count=2)
        s.give()
        s.until_confirmed()
        s.master.node.step_wall(3600.0)
        s.world.advance(3.0)
        s.master.node.step_wall(-3600.0)
        owner = s.owner()
        assert owner is not None
        owner.crash()
        s.world.advance(6.0)
        owners = [each.name for each in s.fleet.servers if each in (owner, s.owner())]
        self.assertEqual(owners, ["server-1", "server-2"])
        s.oracle.causes["clock"] += 1
        s.end()

    def test_takeover(self) -> None:
        """A server is killed with what it has folded and not written: another one takes its vbuckets, and folds again.
        """
        s = self.script(server_count=2, checkpoint_seconds=5.0)
        events = {s.give(): 1}
        s.until_sent()
        s.until_checkpointed(s.logged())
        events[s.give()] = 1
        s.until_sent()
        s.until_folded(s.logged())
        owner = s.owner()
        assert owner is not None
        owner.crash()
        s.until_folded(s.logged())
        self.assertEqual(s.end(), events)
