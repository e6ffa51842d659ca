"""A process ends when it is told to, whatever hangs, and takes settings while it runs."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import SettingsError
from taba.logs import LogOfProcess
from taba.reloading import Reloading, changed_keys
from taba.running import Deadline, Running
from taba.settings import ServerSettings


class Hanging(Service):
    """A service whose stop the test ends."""

    reloadable = ("NAME_BLACKLIST",)

    def __init__(self) -> None:
        self.stopped: Deferred[None] = Deferred()
        self.taken: list[ServerSettings] = []
        self.problem: Exception | None = None

    def stopService(self) -> Deferred[None]:
        """See `IService`."""
        return self.stopped

    def take_settings(self, settings: ServerSettings) -> None:
        """See `Reloadable`."""
        if self.problem is not None:
            raise self.problem
        self.taken.append(settings)


class Told:
    """What writes the log, as far as it hears of settings."""

    def __init__(self) -> None:
        self.debug: list[bool] = []

    def become(self, line: object, debug: bool) -> None:
        """See `LogObserver`."""
        self.debug.append(debug)


class Heard(SynchronousTestCase):
    """What the log says."""

    def setUp(self) -> None:
        self.said: list[str] = []

        def remember(event: LogEvent) -> None:
            self.said.append(str(event.get("log_format", "")).format(**event))

        keep: Any = remember
        globalLogPublisher.addObserver(keep)
        self.addCleanup(globalLogPublisher.removeObserver, keep)


class DeadlineTests(Heard):
    """STOP_SECONDS."""

    def setUp(self) -> None:
        super().setUp()
        self.clock, self.service, self.ended = Clock(), Hanging(), 0
        self.running = Running(lambda: self.service, lambda: None, Deadline(self.clock, 45.0, self.end))
        self.running.startService()

    def end(self) -> None:
        """The process is to end, whatever hangs."""
        self.ended += 1

    def test_in_time(self) -> None:
        """What comes to rest in time ends as ever, and nothing is left behind."""
        stopped = self.running.stopService()
        self.clock.advance(44.0)
        self.assertNoResult(stopped)
        self.service.stopped.callback(None)
        self.successResultOf(stopped)
        self.assertEqual((self.ended, self.clock.getDelayedCalls()), (0, []))

    def test_what_hangs(self) -> None:
        """A store that hangs does not keep the process: it says so, and ends; what comes later changes nothing."""
        stopped = self.running.stopService()
        self.clock.advance(45.0)
        self.successResultOf(stopped)
        self.assertEqual(self.ended, 1)
        self.assertIn("Not everything came to rest within 45.0 s", self.said[-1])
        self.service.stopped.callback(None)


class ReloadingTests(Heard):
    """SIGHUP."""

    def setUp(self) -> None:
        super().setUp()
        self.service = Hanging()
        self.running = Running(lambda: self.service, lambda: None)
        self.running.startService()
        self.present: Any = ServerSettings()
        self.reloading = Reloading(ServerSettings(), self.read)

    def read(self) -> ServerSettings:
        """The file as it is now."""
        if isinstance(self.present, Exception):
            raise self.present
        found: ServerSettings = self.present
        return found

    def reload(self, present: Any) -> str:
        """Read again; what the log says."""
        self.present = present
        self.running.reload(self.reloading.reload)
        return self.said[-1]

    def test_what_can_be_taken_is(self) -> None:
        """What can change while the process runs does, and what cannot is named; each of it once."""
        wanted = ServerSettings(name_blacklist=("tmp_",), port=9000, debug=True)
        said = self.reload(wanted)
        self.assertIn("taken over: NAME_BLACKLIST, DEBUG; after a restart: BASE_PORT.", said)
        self.assertEqual(self.service.taken, [wanted])
        self.assertIn("nothing is to be taken over; after a restart: BASE_PORT.", self.reload(wanted))
        said = self.reload(ServerSettings(name_blacklist=("tmp_",), debug=True))
        self.assertEqual(said, "The settings were read again; nothing is to be taken over.")
        self.assertEqual(len(self.service.taken), 1)

    def test_mistakes_change_nothing(self) -> None:
        """A file with a mistake leaves everything as it was, and the log says what is wrong with it."""
        self.assertIn("stay as they are: QUEUE_CAPACITY", self.reload(SettingsError("QUEUE_CAPACITY: too little.")))
        self.assertEqual(self.service.taken, [])

    def test_what_the_service_cannot_take(self) -> None:
        """What a service finds a mistake in changes nothing either, the log's settings among it: it is tried again."""
        log: Any = Told()
        self.reloading = Reloading(ServerSettings(), self.read, LogOfProcess(log))
        self.service.problem = ValueError("not an address")
        wanted = ServerSettings(name_blacklist=("tmp_",), debug=True)
        self.assertEqual(self.reload(wanted), "The settings stay as they are: not an address")
        self.assertEqual(log.debug, [])
        self.service.problem = None
        self.assertIn("taken over: NAME_BLACKLIST, DEBUG.", self.reload(wanted))
        self.assertEqual(log.debug, [True])

    def test_not_while_it_stops(self) -> None:
        """A process that ends reads nothing."""
        self.running.stopService()
        self.assertIn("are not read again", self.reload(ServerSettings(debug=True)))

    def test_changed_keys(self) -> None:
        """Keys are those of the file, in its order."""
        other = ServerSettings(weight=2.0, roles="be")
        self.assertEqual(changed_keys(ServerSettings(), other), ["SERVER_ROLES", "WEIGHT"])
