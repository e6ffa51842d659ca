"""A parent keeps its workers running, and leaves none behind."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taba.workers import FIRST_PAUSE, KILL_SECONDS, LONGEST_PAUSE, SOUND_SECONDS, ParentWatch, Pauses, Workers


class Spawned:
    """A process that the test ends."""

    def __init__(self, protocol: Any, arguments: list[str], more: dict[str, Any]) -> None:
        self.protocol = protocol
        self.more = more
        self.arguments = arguments
        self.signals: list[int] = []
        self.alive = True

    def signalProcess(self, number: int) -> None:
        """What the parent sends."""
        if not self.alive:
            raise ProcessExitedAlready
        self.signals.append(number)

    def end(self, status: int = 0) -> None:
        """The process is gone."""
        self.alive = False
        self.protocol.processEnded(Failure(ProcessTerminated(status) if status else ProcessDone(0)))


class SpawningClock(Clock):
    """A clock that starts processes, too."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[Spawned] = []

    def spawnProcess(self, protocol: Any, executable: str, arguments: list[str], **more: Any) -> Spawned:
        """As IReactorProcess."""
        self.spawned.append(Spawned(protocol, arguments, more))
        return self.spawned[-1]


class WorkerTests(SynchronousTestCase):
    """Two workers and their parent."""

    def setUp(self) -> None:
        self.reactor = SpawningClock()
        environment = {"HOME": "/", "NOTIFY_SOCKET": "/run/systemd", "WATCHDOG_USEC": "1"}
        self.parent = Workers(
            2, lambda number: ["taba", str(number)], self.reactor, environment, "/srv", stop_seconds=45.0
        )
        self.parent.startService()
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def test_each_is_started(self) -> None:
        """There are as many as were asked for, and each knows its number."""
        self.assertEqual([each.arguments for each in self.reactor.spawned], [["taba", "0"], ["taba", "1"]])
        self.assertEqual(self.reactor.spawned[0].more["env"], {"HOME": "/"})  # systemd speaks to the parent
        self.assertEqual(self.reactor.spawned[0].more["path"], "/srv")

    def test_who_ends_is_started_again(self) -> None:
        """One that dies costs a moment; one that keeps dying is tried less and less often; a long life is forgiven."""
        pauses = Pauses()
        self.assertEqual([pauses.after(1.0) for _ in range(8)], [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, LONGEST_PAUSE])
        self.assertEqual(pauses.after(SOUND_SECONDS), FIRST_PAUSE)
        self.reactor.spawned[1].end(status=1)
        self.reactor.advance(FIRST_PAUSE - 0.01)
        self.assertEqual(len(self.reactor.spawned), 2)
        self.reactor.advance(0.01)
        self.assertEqual([each.arguments[1] for each in self.reactor.spawned], ["0", "1", "1"])

    def test_stops_all(self) -> None:
        """The end of the parent waits for the end of each; who does not stop is killed; nobody is started again."""
        first, second = self.reactor.spawned
        second.end(status=1)  # it waits to be started again
        stopped = self.parent.stopService()
        self.assertEqual(first.signals, [signal.SIGTERM])
        self.assertNoResult(stopped)
        self.reactor.advance(45.0 + KILL_SECONDS)
        self.assertEqual(first.signals, [signal.SIGTERM, signal.SIGKILL])
        first.end(status=1)
        self.successResultOf(stopped)
        self.reactor.advance(2 * LONGEST_PAUSE)
        self.assertEqual(len(self.reactor.spawned), 2)

    def test_settings_are_for_all(self) -> None:
        """When the settings have changed, each worker that runs is told to read them again."""
        first, second = self.reactor.spawned
        second.end(status=1)
        self.parent.take_settings(None)
        self.assertEqual((first.signals, second.signals), ([signal.SIGHUP], []))

    def test_signal_to_one_that_just_ended(self) -> None:
        """A worker that ends by itself while the parent stops is no trouble."""
        for each in self.reactor.spawned:
            each.alive = False
        stopped = self.parent.stopService()
        for each in self.reactor.spawned:
            each.end()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_log(self) -> None:
        """What workers log stands in the parent's log, under their number and level; other output too, line by line."""
        said = self.reactor.spawned[1].protocol
        said.childDataReceived(1, b'{"level": "warn", "message": "Leases: slow"}\nplain ')
        said.childDataReceived(2, b"words\n")
        lines = [(each["log_level"], each["worker"], each["line"]) for each in self.events if "worker" in each]
        self.assertEqual(lines, [(LogLevel.warn, 1, "Leases: slow"), (LogLevel.info, 1, "plain words")])

    def test_last_words(self) -> None:
        """The end of the output is not lost, without a line feed either; a line without an end is passed on in
        pieces.
        """
        said = self.reactor.spawned[0].protocol
        said.childDataReceived(1, b"x" * 70_000)
        said.childDataReceived(1, b"last words")
        self.reactor.spawned[0].end()
        lines = [each["line"] for each in self.events if "line" in each]
        self.assertEqual([len(line) for line in lines], [70_000, 10])

    def test_parent_is_gone(self) -> None:
        """A worker stops when the pipe to its parent ends, and not before."""
        calls: list[object] = []
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)

        class Reactor:
            def removeReader(self, watch: object) -> None:
                calls.append(watch)

        watch = ParentWatch(Reactor(), lambda: calls.append("stop"), reader)
        self.assertEqual(watch.fileno(), reader)
        os.write(writer, b"x")
        watch.doRead()
        self.assertEqual(calls, [])
        os.close(writer)
        watch.doRead()
        self.assertEqual(calls, [watch, "stop"])
        watch.connectionLost(Failure(ConnectionError()))
        self.assertEqual(calls, [watch, "stop"])
        other = ParentWatch(Reactor(), lambda: calls.append("again"), reader)
        other.connectionLost(Failure(ConnectionError()))  # some reactors see the end by themselves
        self.assertEqual(calls[2:], ["again"])
