"""An agent on a disk that is full, fails, or is gone: it starts, says so, sends on, and goes on by itself."""

from __future__ import annotations

import os
import shutil

from attrs import evolve
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from taba.agent.http import AgentResources
from taba.agent.intake import BatchNumber
from taba.agent.service import Agent
from taba.agent.site import agent_site
from taba.agent.spare import SPARE_NAME
from taba.agent.spool import FolderGone
from taba.errors import SpoolError, SpoolFull, StartError
from taba.interfaces import IFolder
from taba.store.folder import open_folder
from tests.agent.agent_case import AgentCase, Gate

SPOOL = "taba-spool"


class FullDiskCase(AgentCase):
    """A server that can be away, and a disk to fill."""

    def setUp(self) -> None:
        super().setUp()
        self.gate = Gate(self.local)

    def fill_up(self) -> None:
        """Others take all the room that is left, and leave what becomes free."""
        self.disk.limit((1 << 40) - self.disk.free_bytes())


class StartTests(FullDiskCase):
    """The disk is full when the agent starts."""

    def test_starts_and_waits_for_room(self) -> None:
        """The agent starts, says why it takes nothing, tries about every second, and takes events when there is room.
        """
        self.disk.fill()
        self.agent = self.start(self.gate)
        for _ in range(3):
            self.assertIn(f"spool in disk:{SPOOL} cannot be written", self.agent.refusing() or "")
            self.assertIn("No space left on device", self.agent.text())
            self.assertIn("taba_agent_taking 0", self.agent.metrics())
            with self.assertRaises(SpoolError):
                self.give(1)
            self.pass_time(1)
        self.disk.fill(False)
        self.pass_time(1.3)
        self.assertIsNone(self.agent.refusing())
        self.give(5)
        self.pass_time(1)
        self.assertEqual(self.total(), (1, 5))

    def test_duplicates_wait(self) -> None:
        """While it is not known whether a number is durable, nobody is told that it was counted."""
        self.agent = self.start(self.gate)
        instance = self.open_instance()
        self.give(1, batch=BatchNumber(instance, 1))
        self.pass_time(0.3)
        self.crash()
        self.disk.fill()
        self.agent = self.start(self.gate)
        with self.assertRaises(SpoolError):
            self.agent.apply(None, BatchNumber(instance, 1), {})
        self.assertEqual(self.agent.ledger()["received"], 1)

    def test_sends_on(self) -> None:
        """What was sealed is sent while the disk is full; nothing is counted twice when there is room again."""
        self.agent = self.start(self.gate)
        self.pass_time(0.5)
        self.gate.open = False
        self.give(1, 2)
        self.pass_time(1)
        self.give(3, tab="another")
        self.pass_time(1)
        self.stop()
        self.gate.open = True
        self.disk.fill()
        self.agent = self.start(self.gate)
        self.pass_time(10)
        self.assertEqual((self.total(), self.agent.ledger()["pending"]), ((3, 6), 0))
        self.assertIsNotNone(self.agent.refusing())
        self.disk.fill(False)
        self.pass_time(10)
        self.assertEqual((self.total(), self.agent.ledger()["pending"]), ((3, 6), 0))
        self.crash()
        self.agent = self.start(self.gate)
        self.pass_time(10)
        self.assertEqual(self.total(), (3, 6))

    def test_what_may_not_be_durable_waits(self) -> None:
        """After a crash the last records may stand in memory only: their lanes wait until they are written again."""
        self.agent = self.start(self.gate)
        self.pass_time(0.5)
        self.gate.open = False
        self.give(1, 2)
        self.pass_time(1)
        self.crash()
        self.gate.open = True
        self.disk.fill()
        self.agent = self.start(self.gate)
        self.pass_time(5)
        self.assertEqual(self.total(), (0, 0))
        self.assertEqual(self.agent.ledger()["pending"], 2)
        self.disk.fill(False)
        self.pass_time(5)
        self.assertEqual(self.total(), (2, 3))

    def test_many_failures(self) -> None:
        """Whatever fails at the start, over whatever restarts, each event is counted once in the end."""
        self.agent = self.start(self.gate)
        given = 0
        for life in range(24):
            given += 1
            self.give(given, tab=f"tab{life % 3}")
            self.pass_time(0.1 * (life % 7) + 0.3)
            (self.stop if life % 4 == 0 else self.crash)()
            self.gate.open = life % 5 != 0
            self.disk.fill(life % 2 == 0)
            if life % 3 == 0:
                self.disk.fail_next_sync(".")
            if life % 3 == 1:
                self.disk.fail_next_sync("opening")
            self.agent = self.start(self.gate)
            self.pass_time(1.7)
            self.disk.fill(False)
            self.disk.failing_syncs.clear()
            self.pass_time(2.2)
            self.assertIsNone(self.agent.refusing())
        self.gate.open = True
        self.pass_time(30)
        self.assertEqual(self.total(), (given, given * (given + 1) // 2))
        self.assertEqual(self.agent.ledger(), {"received": given, "pending": 0})

    def test_stops_while_it_waits(self) -> None:
        """An agent that waits for room can be stopped, and leaves nothing behind."""
        self.disk.fill()
        self.agent = self.start(self.gate)
        self.pass_time(3)
        stopped = self.agent.stopService()
        self.pass_time(1.1)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.disk.fill(False)
        self.agent = self.start(self.gate)
        self.assertIsNone(self.agent.refusing())

    def test_read_only(self) -> None:
        """A folder that nobody may write to is no start: the sentence says why."""
        self.disk.read_only()
        agent = self.make(self.gate)
        problem = self.failureResultOf(agent.startService(), StartError).value
        self.assertIn("taba-spool cannot be used", str(problem))
        self.assertIn("Read-only file system", str(problem))
        stopped = agent.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)


class PortTests(FullDiskCase):
    """The port of an agent that started on a full disk."""

    def ask(self, request: bytes) -> str:
        """The answer, head and text."""
        channel = self.site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(request)
        self.pass_time(0.5)
        channel.connectionLost(Failure(ConnectionDone()))
        answer: str = transport.value().decode()
        return answer

    def test_answers(self) -> None:
        """Asked how it is it says why it takes nothing, and events are answered 503; then it takes them."""
        self.disk.fill()
        self.agent = self.start(self.gate)
        self.site = agent_site(AgentResources(self.agent), self.process)
        for path in ("/healthz", "/status", "/metrics"):
            self.assertIn(" 200 OK", self.ask(f"GET {path} HTTP/1.0\r\n\r\n".encode()))
        post = b"POST /post HTTP/1.0\r\nContent-Length: 3\r\n\r\n1\n\n"
        opening = b"POST /post HTTP/1.0\r\nTaba-Batch: 0\r\nContent-Length: 0\r\n\r\n"
        for request in (b"GET /readyz HTTP/1.0\r\n\r\n", post, opening):
            answer = self.ask(request)
            self.assertIn(" 503 ", answer)
            self.assertIn("cannot be written", answer)
            self.assertEqual("retry-after: 1" in answer.lower(), request.startswith(b"POST"))
        self.disk.fill(False)
        self.pass_time(1.5)
        for request in (b"GET /readyz HTTP/1.0\r\n\r\n", post, opening):
            self.assertIn(" 200 OK", self.ask(request))


class WayOutTests(FullDiskCase):
    """The disk is full of what the agent itself has, and all of that is confirmed."""

    def test_only_segment(self) -> None:
        """Not a byte is free, and all that the spool holds is in the segment that is written: the spare file makes
        room for the next one, and the agent goes on.
        """
        self.agent = self.start(self.gate)
        self.gate.open = False
        given = self.give_much(7)
        self.assertIn(SPARE_NAME, self.disk.folder(SPOOL).names())
        self.fill_up()
        self.pass_time(3)
        self.gate.open = True
        self.pass_time(90)
        self.assertEqual(self.total()[0], given)
        self.assertIsNone(self.agent.refusing())
        self.assertLess(self.agent.spool.bytes_held(), 1 << 20)
        self.assertIn(SPARE_NAME, self.disk.folder(SPOOL).names())
        self.give(1)
        self.pass_time(2)
        self.assertEqual(self.total()[0], given + 1)

    def test_older_segments(self) -> None:
        """A start without a byte of room, and without spare file: what is confirmed meanwhile makes room for the first
        segment.
        """
        self.agent = self.start(self.gate, max_spool_bytes=16 << 20)
        self.pass_time(0.5)
        self.gate.open = False
        given = self.give_much(10)
        self.pass_time(70)  # all is sealed by then
        self.stop()
        self.disk.folder(SPOOL).remove(SPARE_NAME)
        self.fill_up()
        self.agent = self.start(self.gate, max_spool_bytes=16 << 20)
        self.pass_time(3)
        self.assertIsNotNone(self.agent.refusing())
        self.gate.open = True
        self.pass_time(40)
        self.assertEqual(self.total()[0], given)
        self.assertIsNone(self.agent.refusing())

    def test_restart_with_spare(self) -> None:
        """A start on a full disk takes the spare file's room: what was taken before is sent on."""
        self.agent = self.start(self.gate)
        self.give(1)
        self.pass_time(0.2)
        self.crash()
        self.fill_up()
        self.agent = self.start(self.gate)
        self.pass_time(3)
        self.assertIn("full", self.agent.refusing() or "")
        self.assertEqual(self.total(), (1, 1))


class GoneTests(FullDiskCase):
    """The folder is deleted or moved while the agent runs; on real files."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        super().setUp()
        self.agent = self.start(self.gate)
        self.addCleanup(self.stop)

    def open_folder(self, path: str) -> IFolder:
        """A real one."""
        return open_folder(self.path)

    def lose(self, agent: Agent) -> None:
        """Give an event that finds no folder."""
        receipt = self.give(7)
        waiting = agent.durable(receipt.commit)
        self.pass_time(0.3)
        self.failureResultOf(waiting, SpoolError)
        self.assertIn(self.path, agent.refusing() or "")
        self.assertIn("gone", agent.refusing() or "")
        with self.assertRaises(SpoolFull):
            self.give(8)

    def test_deleted(self) -> None:
        """The agent says that the folder is gone, and where it was; what it could not make durable it keeps, and it
        goes on when there is a folder again.
        """
        self.give(1)
        self.pass_time(1)
        shutil.rmtree(self.path)
        self.lose(self.agent)
        self.pass_time(3)
        self.assertIn("gone", self.agent.refusing() or "")
        os.mkdir(self.path)
        self.pass_time(2)
        self.assertIsNone(self.agent.refusing())
        self.pass_time(10)
        self.assertEqual((self.total(), self.agent.ledger()["pending"]), ((2, 8), 0))
        self.assertRaises(StartError, open_folder(self.path).lock)

    def test_moved_and_put_back(self) -> None:
        """Batches in a folder that is away for a while are not damaged: they are sent when it is back."""
        self.pass_time(0.5)
        self.gate.open = False
        self.give(1)
        self.pass_time(1)
        self.stop()
        self.agent = self.start(self.gate)
        os.rename(self.path, self.path + ".moved")
        self.lose(self.agent)
        self.gate.open = True
        self.pass_time(5)
        os.rename(self.path + ".moved", self.path)
        self.pass_time(40)
        self.assertEqual((self.total(), self.agent.ledger()), ((2, 8), {"received": 2, "pending": 0}))
        self.assertNotEqual(self.flushLoggedErrors(), [])

    def test_taken_by_another(self) -> None:
        """A folder that another process has taken meanwhile is not written."""
        shutil.rmtree(self.path)
        self.lose(self.agent)
        other = open_folder(self.path)
        other.lock()
        self.pass_time(3)
        self.assertIn("another process", self.agent.refusing() or "")
        self.assertEqual(other.names(), [])
        other.unlock()
        self.pass_time(2)
        self.assertIsNone(self.agent.refusing())

    def test_gone_before_the_first_segment(self) -> None:
        """It may go while the agent waits for the disk at its start: the one that comes in its place is taken."""
        self.stop()
        self.agent = self.make(self.gate)
        self.agent.spool.open()
        shutil.rmtree(self.path)
        snapshot = evolve(self.agent.spool.snapshot(), incarnation="a" * 32)
        for _ in range(2):
            self.assertRaises(FolderGone, self.agent.spool.start_segment, snapshot)
        os.mkdir(self.path)
        self.agent.spool.start_segment(snapshot)
        self.assertRaises(StartError, open_folder(self.path).lock)
        self.agent.spool.close()
        self.agent = self.start(self.gate)

    def test_full_and_gone(self) -> None:
        """When the spool is full because the folder is gone, the folder is what is told."""
        shutil.rmtree(self.path)
        self.agent.committer._released = True  # a turn that writes nothing
        self.agent.committer.wake()
        self.pass_time(1)
        self.assertIn("gone", self.agent.refusing() or "")
        os.mkdir(self.path)
        self.pass_time(3)
        self.assertIsNone(self.agent.refusing())
