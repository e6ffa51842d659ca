"""Nodes: processes start, stop, crash and start again on them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import FolderLocked
from taba.testing import NotReached, Process, World
from tests.testing.talk import TalkerFactory, listening


class Diary(Service):
    """Writes what happens to it into its process's folder, and needs a second to stop."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.file = process.folder.open_append("diary")
        self.ticks = 0

    def startService(self) -> None:
        Service.startService(self)
        self.write("start")
        self.tick()

    def tick(self) -> None:
        self.ticks += 1
        self.process.reactor.callLater(10, self.tick)

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        for call in self.process.reactor.getDelayedCalls():
            call.cancel()
        return deferLater(self.process.reactor, 1, self.write, "stop")

    def write(self, word: str) -> None:
        self.file.write(f"{word} {self.process.number}\n".encode())
        self.file.sync()
        self.process.folder.sync()


class LifeTests(SynchronousTestCase):
    """Processes live and die on a node."""

    def setUp(self) -> None:
        self.world = World(seed=1)
        self.addCleanup(self.world.close)
        self.node = self.world.node("machine")

    def diary(self) -> list[str]:
        return self.node.disk.folder().read("diary").decode().splitlines()

    def test_start(self) -> None:
        """A service starts with its process, and runs on virtual time."""
        process = self.node.start(Diary)
        service: Any = process.service
        self.assertEqual((self.diary(), service.running, process.reactor.running), (["start 1"], 1, True))
        self.world.advance(35)
        self.assertEqual(service.ticks, 4)

    def test_stop_waits_for_the_end(self) -> None:
        """stop lets the service end, and tells that it left nothing behind."""
        process = self.node.start(Diary)
        self.assertEqual(self.node.stop(), [])
        self.assertEqual((self.diary(), self.world.clock.seconds()), (["start 1", "stop 1"], 1.0))
        self.assertFalse(process.running or self.node.process)
        self.assertEqual(self.node.stop(), [])

    def test_stop_tells_what_is_left(self) -> None:
        """What a service leaves behind is named, and gone with the process."""

        def make(process: Process) -> IService:
            process.reactor.callLater(100, Logger.info)
            process.reactor.listenTCP(99, TalkerFactory())
            return MultiService()

        self.node.start(make)
        left = self.node.stop()
        self.assertEqual(len(left), 2)
        self.assertIn("Logger.info", left[0])
        self.assertIn("99", left[1])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_stop_that_takes_too_long(self) -> None:
        """A service that does not end is an error that says what was waited for."""

        class Stubborn(Service):
            def stopService(self) -> Deferred[None]:
                return Deferred()

        self.node.start(lambda process: Stubborn())
        self.assertIn("machine to stop", str(self.assertRaises(NotReached, self.node.stop, 10)))

    def test_process_that_stops_itself(self) -> None:
        """A process may stop its reactor; its services end in order, and the node is free."""
        process = self.node.start(Diary)
        process.reactor.callLater(5, process.reactor.stop)
        self.world.advance(10)
        self.assertEqual((self.diary(), self.node.process), (["start 1", "stop 1"], None))

    def test_crash_runs_nothing(self) -> None:
        """A crash calls no stopService, no callback and no finally block; the next life finds what was synced."""
        log_of_cleanups: list[str] = []

        @inlineCallbacks
        def wait(process: Process) -> Generator[Deferred[Any], Any, None]:
            try:
                yield deferLater(process.reactor, 5, int)
            finally:
                log_of_cleanups.append("cleanup")

        process = self.node.start(Diary)
        wait(process)
        del process
        self.world.advance(1)
        self.assertTrue(self.node.crash())
        self.world.advance(100)
        self.world.check_quiet()
        self.assertEqual((log_of_cleanups, self.diary()), ([], ["start 1"]))
        self.assertFalse(self.node.crash())

    def test_restart(self) -> None:
        """restart crashes the process and starts another with the same maker, or with a new one."""
        first = self.node.start(Diary)
        second = self.node.restart()
        self.assertFalse(first.running)
        self.assertEqual((second.number, self.diary()), (2, ["start 1", "start 2"]))
        self.assertIsInstance(self.node.restart(lambda process: MultiService()).service, MultiService)

    def test_one_process_at_a_time(self) -> None:
        """A node that runs cannot be started, nor given another disk."""
        self.node.start()
        self.assertRaises(RuntimeError, self.node.start)
        self.assertRaises(RuntimeError, self.node.replace_disk, self.node.disk.copy())

    def test_failed_start(self) -> None:
        """A service that cannot start ends its process, and the error comes out; the next start is free."""
        self.node.start(listening(80, TalkerFactory()))
        self.node.stop()

        def make(process: Process) -> IService:
            process.reactor.listenTCP(80, TalkerFactory())
            return listening(80, TalkerFactory())(process)

        self.assertRaises(CannotListenError, self.node.start, make)
        self.assertIsNone(self.node.process)
        self.node.start(listening(80, TalkerFactory()))
        self.assertEqual(len(self.world.network.ports_of(self.node.process.reactor)), 1)  # type: ignore[union-attr]

    def test_lock_of_the_dead(self) -> None:
        """A folder is locked for one life."""

        def make(process: Process) -> IService:
            process.folder.lock()
            self.assertRaises(FolderLocked, process.disk.folder().lock)
            return MultiService()

        self.node.start(make)
        self.node.restart()
        self.node.stop()
        self.assertEqual(self.node.start().number, 3)

    def test_copied_disk(self) -> None:
        """A twin starts on a copy of a running machine's disk."""
        self.node.start(Diary)
        twin = self.world.node("twin", disk=self.node.disk.copy())
        twin.start(Diary)
        self.assertEqual(twin.disk.folder().read("diary"), b"start 1\nstart 1\n")
        self.assertRaises(ValueError, self.world.node, "twin", self.node.disk.copy())
        twin.crash()
        twin.replace_disk(self.node.disk.copy())
        self.assertEqual(twin.disk.folder().read("diary"), b"start 1\n")

    def test_crash_inside_a_disk_operation(self) -> None:
        """A test may crash a node at any step of its disk; the work that was under way is never heard of again."""
        process = self.node.start()
        steps: list[str] = []

        def work() -> None:
            file = process.folder.open_append("a")
            file.write(b"x")
            file.sync()

        def crash_at_sync(step: str) -> None:
            steps.append(step)
            if step.startswith("sync"):
                self.node.crash()

        self.node.disk.on_step = crash_at_sync
        done = process.off_reactor(work)
        self.world.advance(10)
        self.assertNoResult(done)
        self.assertEqual(steps, ["open data/a", "write data/a", "sync data/a"])
        self.world.check_quiet()

    def test_seeded_by_life(self) -> None:
        """Each life has random numbers of its own, the same in every run."""
        first, second = self.node.start().random.random(), self.node.restart().random.random()
        self.assertNotEqual(first, second)
        with World(seed=1) as again:
            self.assertEqual(again.node("machine").start().random.random(), first)
        with World(seed=2) as other:
            self.assertNotEqual(other.node("machine").start().random.random(), first)
