"""Schedules by hand over the real code: for each rule of the protocol that needs a cluster to show, the shortest run
that goes wrong without it. tests/mutants switches the rules off.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taba.testing.clock import VirtualCall
from tests.cluster.oracle import Fate
from tests.cluster.script import Script

DAY = 86_400.0


class ScriptCase(SynchronousTestCase):
    """A cluster to be played with."""

    def script(self, connected: bool = True) -> Script:
        script = Script(connected)
        self.addCleanup(script.close)
        return script


class ClientTests(ScriptCase):
    """Between a client and its agent."""

    def test_sent_is_unknown(self) -> None:
        """A batch is taken, its answer lost, then the disk; delivered again, and repeated, it does not count twice."""
        s = self.script()
        first = s.give()
        s.until_confirmed()
        event = s.record()
        posts = len(s.posts())
        s.until(lambda: len(s.posts()) > posts, "the batch to be sent")
        taken = s.running().intake
        assert taken is not None
        s.until(lambda: taken.open.opened is not None, "the batch to be taken")
        s.world.network.partition(s.application.name, s.agent.name)
        s.until_sent()
        s.world.network.drop_connection(s.application.name, s.agent.name)
        s.lose_disk()
        s.world.network.heal()
        self.assertEqual(s.redeliver(s.posts()[-1]), 409)
        s.until(lambda: s.oracle.fates[event] is not Fate.BUFFERED, "the client to be done with the batch")
        self.assertEqual(s.end(), {first: 1, event: 1})
        self.assertIs(s.oracle.fates[event], Fate.UNCERTAIN)

    def test_client_crash(self) -> None:
        """A client dies with a batch on its way; a late copy of the batch counts once, and the next life numbers anew.
        """
        s = self.script()
        event = s.give()
        s.oracle.dies(s.application)
        s.application.restart()
        s.oracle.begins(s.application)
        second = s.give()
        for post in s.posts():
            self.assertEqual(s.redeliver(post), 200)
        self.assertEqual(s.end(), {event: 1, second: 1})


class IntakeTests(ScriptCase):
    """An agent, between request and commit."""

    def test_one_step_merge(self) -> None:
        """A batch arrives twice at once, in pieces between one another: it counts once."""
        s = self.script()
        s.give()
        event = s.record()
        posts = len(s.posts())
        s.until(lambda: len(s.posts()) > posts, "the batch to be sent")
        copies = [s.world.network.redeliver(s.posts()[-1]) for _ in range(20)]
        s.until(lambda: all(copy.status for copy in copies), "all copies to be answered")
        self.assertEqual(s.end()[event], 1)

    def test_number_with_data(self) -> None:
        """An agent is killed once it has answered a batch: it knows the batch again."""
        s = self.script()
        event = s.give()
        s.restart()
        self.assertEqual(s.redeliver(s.posts()[-1]), 200)
        self.assertEqual(s.end(), {event: 1})

    def test_answer_after_sync(self) -> None:
        """What is acknowledged survives that the agent is killed at once."""
        s = self.script()
        event = s.give()
        s.restart()
        self.assertEqual(s.end(), {event: 1})

    def test_duplicate_after_commit(self) -> None:
        """A batch is repeated while the commit that holds it is not written: it is not acknowledged before that."""
        s = self.script()
        first = s.give()
        event = s.record()
        intake = s.running().intake
        assert intake is not None
        s.until(lambda: intake.open.opened is not None, "the batch to be taken")
        committer = s.running().committer
        s.until(lambda: committer._turning and intake.open.empty, "the commit to be under way")
        s.freeze(5.0)  # the disk takes its time
        s.world.network.drop_connection(s.application.name, s.agent.name)
        posts = len(s.posts())
        s.until(lambda: len(s.posts()) > posts, "the batch to be repeated")
        s.world.advance(0.5)
        self.assertIs(s.oracle.fates[event], Fate.BUFFERED)
        s.restart()
        self.assertEqual(s.end(), {first: 1, event: 1})


class SealingTests(ScriptCase):
    """An agent, from commit to batch."""

    def test_seal_before_send(self) -> None:
        """While the disk refuses, nothing of what it refuses is sent; killed then, the agent takes it again, once."""
        s = self.script()
        first = s.give()
        s.until_confirmed()
        event = s.record()
        intake = s.running().intake
        assert intake is not None
        s.until(lambda: intake.open.opened is not None, "the batch to be taken")
        s.agent.node.disk.fill()
        s.world.advance(3.0)
        self.assertEqual(s.folded(), {first: 1})
        s.agent.crash()
        s.agent.node.disk.fill(False)
        s.agent.start()
        self.assertEqual(s.end(), {first: 1, event: 1})

    def test_snapshot_between_commits(self) -> None:
        """An agent is killed when a new segment has its place and the open commit is not written: its number is not
        known then, and the batch is taken again.
        """
        s = self.script(connected=False)
        first = s.give()
        intake, server = s.running().intake, s.cluster.server.server
        assert intake is not None
        assert server is not None
        event = s.record()
        s.until(lambda: intake.open.opened is not None, "the batch to be taken")
        placed = []

        def step(what: str) -> None:
            if what.startswith("rename"):
                placed.append(what)
            elif placed and what.startswith("write"):
                s.agent.crash()

        s.agent.node.disk.on_step = step
        cluster = server.server.store.cluster
        s.running().committer.join(cluster.id, cluster.vbuckets)  # the first topology comes at this moment
        s.until(lambda: not s.agent.up, "the agent to be killed")
        s.agent.node.disk.on_step = None
        s.agent.start()
        self.assertEqual(s.end(), {first: 1, event: 1})

    def test_new_incarnation(self) -> None:
        """Two agents start from one disk image at rest: neither gives a number of the other's to other events."""
        s = self.script()
        first = s.give()
        s.until_confirmed()
        twin = s.start_twin(s.copy_disk())
        application = s.cluster.add_application("twin-app-1", twin)
        application.start()
        s.oracle.begins(application)
        s.restart()
        events = {s.give(): 1, s.give(application): 1, first: 1}
        self.assertEqual(s.end(), events)
        self.assertNotIn("refused.conflict", s.oracle.agents_ledger())

    def test_old_lane_for_unsealed(self) -> None:
        """What was committed and not sealed when a disk was copied is sent by both agents under one number."""
        s = self.script(connected=False)
        event = s.give()
        twin = s.start_twin(s.copy_disk())
        s.until_confirmed(twin)
        self.assertEqual(s.end(), {event: 1})

    def test_commit_time_as_seal_time(self) -> None:
        """A copied disk starts when the servers have forgotten its lanes: what it holds is refused as too old."""
        s = self.script(connected=False)
        event = s.give()
        copy = s.copy_disk()
        s.join(s.agent)
        s.until_confirmed()
        for member in s.cluster.members():
            member.node.step_wall(15 * DAY)
        server = s.cluster.server.server
        assert server is not None
        s.world.result_of(server.server.store.prune(s.cluster.server.node.wall()))
        s.start_twin(copy)
        s.cluster.heal()
        s.cluster.settle()
        self.assertEqual(s.folded(), {event: 1})
        self.assertEqual(s.oracle.agents_ledger()["refused.too old"], 1)


class LaneTests(ScriptCase):
    """Between agents and a store that goes back."""

    def test_look_lineage(self) -> None:
        """A rollback takes a batch back, a late request brings it again, another rollback takes it back: the first ok
        and that look do not confirm it.
        """
        s = self.script()
        before = s.backup()
        event = s.give()
        s.until_sent()
        s.freeze(6.0)
        s.restore(before)
        s.world.advance(4.0)
        self.assertEqual(s.redeliver(s.appends()[-1]), 200)
        s.world.advance(3.0)  # the look
        s.restore(before)
        self.assertEqual(s.end(), {event: 1})

    def test_retention(self) -> None:
        """What an agent got the first ok for is sent again after a rollback."""
        s = self.script()
        before = s.backup()
        event = s.give()
        s.until(lambda: s.folded().get(event), "the event to be folded")
        s.restore(before)
        self.assertEqual(s.end(), {event: 1})

    def test_rollback_of_a_quiet_lane(self) -> None:
        """So is what lies in a lane that gives nothing any more, while another lane goes on."""
        s = self.script()
        before = s.backup()
        event, other = s.give(), s.give(s.other_application)
        s.until_sent()
        s.world.advance(2.0)
        s.restore(before)
        self.assertEqual(s.end(), {event: 1, other: 1})

    def test_checksum(self) -> None:
        """Original and twin give a number to other events: one of them hears of it, and nothing is missing in silence.
        """
        s = self.script(connected=False)
        first = s.give()
        copy = s.copy_disk()
        second = s.give()
        s.start_twin(copy)
        s.until_confirmed(s.cluster.agents[-1])
        s.join(s.agent)
        folded = s.end()
        self.assertEqual(folded[first], 1)
        self.assertNotIn(second, folded)
        self.assertEqual(s.oracle.agents_ledger()["refused.conflict"], 2)

    def test_chain(self) -> None:
        """A rollback takes number 3 of the original back, the twin gives its own number 3, the original goes on with 4:
        the store sees that 4 does not follow that 3.
        """
        s = self.script()
        before = s.backup()
        s.cut(s.agent)
        earlier = []
        for _ in range(2):  # while two batches wait to be sent, what comes after them is not sealed yet
            earlier.append(s.give())
            s.world.advance(1.0)
        first = s.give()
        copy = s.copy_disk()
        second = s.give()
        s.join(s.agent)
        s.until_sent()
        s.freeze(30.0)
        s.restore(before)
        s.start_twin(copy)
        s.until_sent(s.cluster.agents[-1])
        third = s.give()
        s.until_sent()
        folded = s.end()
        self.assertEqual([folded.get(event, 0) for event in (*earlier, first, second, third)], [1, 1, 1, 0, 1])
        self.assertEqual(s.oracle.agents_ledger()["refused.conflict"], 2)

    def test_pass_over(self) -> None:
        """A backup lacks number 1, which is confirmed, and number 2, which is not: 2 is repaired, 1 is counted as lost,
        and late requests with both change nothing.
        """
        s = self.script()
        before = s.backup()
        first = s.give()
        s.until_confirmed()
        request = next(each for each in s.appends() if each.source == s.agent.name)
        second = s.give()
        s.until_sent()
        late = [request, s.appends()[-1]]
        s.restore(before)
        s.cluster.settle()
        for each in late:
            s.redeliver(each)
        self.assertEqual(s.end(), {second: 1})
        self.assertEqual(s.view().ledger["lost"], 1)
        self.assertIs(s.oracle.fates[first], Fate.ACKED)

    def test_old_requests(self) -> None:
        """Every request that an agent ever sent arrives again, and again: each event counts once."""
        s = self.script()
        events = {s.give(): 1 for _ in range(3)}
        s.until_confirmed()
        for _ in range(2):
            for each in s.appends():
                self.assertEqual(s.redeliver(each), 200)
        self.assertEqual(s.end(), events)

    def test_gap_is_filled(self) -> None:
        """A backup lacks batches that are not confirmed: they are all repaired, and nothing is lost."""
        s = self.script()
        events = {s.give(): 1}
        s.until_confirmed()
        before = s.backup()
        for _ in range(3):
            events[s.give()] = 1
            s.until_sent()
        s.freeze(30.0)
        s.restore(before)
        events[s.give()] = 1  # goes out before any look
        self.assertEqual(s.end(), events)
        self.assertEqual(s.view().ledger["lost"], 0)


class BackendTests(ScriptCase):
    """Between log and States."""

    def test_killed_between_log_and_checkpoint(self) -> None:
        """The server is killed at every step of folding a batch: it counts once."""
        for steps in range(12):
            with self.subTest(steps=steps):
                s = Script()
                event = s.give()
                left = steps

                def kill(call: VirtualCall, s: Script = s) -> None:
                    nonlocal left
                    process = s.cluster.server.node.process
                    if process is not None and call.owner is process.reactor and call.what() == "off_reactor":
                        left -= 1
                        if left == 0:
                            s.world.soon(s.cluster.server.restart)

                s.world.clock.on_call = kill
                self.assertEqual(s.end(), {event: 1})
                s.close()
