"""A coordinator: hands out the configuration, and gives each change of it a higher version.

The master reads a file, when it starts, on SIGUSR1 and on POST /reload; a file with a mistake changes nothing. The
others ask the master, and go on with what they know while it is away. What was handed out last is kept on disk, so that
a version is never given to two different configurations; a new version is also at least the seconds since 1970, so that
a coordinator whose folder was removed does not fall behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from taba.binding import check_endpoints, tcp_endpoint
from taba.errors import SettingsError, StartError
from taba.guarding import shared_token
from taba.process import Process
from taba.stopping import stop_in_turn
from taba.tako.configuration import Configuration, as_json
from taba.tako.member import interface_for
from taba.tako.reading import read_object, read_text
from taba.tako.settings import CoordinatorSettings
from taba.tako.source import MAX_BYTES, fetch, read_copy, same_but_version, write_copy
from taba.tako.status import coordinator_tree
from taba.web.listening import Listening, listen
from taba.web.site import BoundedSite
from taba.wire.frame import decode_object

SERVED = "served.json"


class TakoCoordinator(Service):
    """One coordinator."""

    _log = Logger()

    def __init__(self, settings: CoordinatorSettings, process: Process) -> None:
        self.settings, self.process = settings, process
        self.started_at = process.reactor.seconds()
        self.token = shared_token(settings.security.token_file, process.reactor.seconds, process.say)
        self.configuration: Configuration | None = None
        self.problem: str | None = None
        """Why the last look at the file, or at the master, failed."""
        self.served = 0
        self.reloads = 0
        self._folder = process.open_folder(settings.var)
        self._worker = process.worker("tako-coordinator")
        self._listening: Listening | None = None
        self._timer: Any = None
        self._stop_signal: Callable[[], None] = lambda: None

    # ----------------------------------------------------------------------------------------------- start and stop

    def startService(self) -> Deferred[None]:
        """Fires when it serves; StartError says why it cannot."""
        super().startService()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        served = await self._worker(read_copy, self._folder, SERVED)
        read = self._read()
        if self.settings.name not in read.coordinators:
            known = ", ".join(sorted(read.coordinators)) or "none"
            raise StartError(f"The configuration has no coordinator {self.settings.name}; there are: {known}.")
        self.configuration = served
        if self.is_master(read):
            await self._hand_out(read)
        else:
            self.configuration = served or read
            self._ask_master()
        host, port = read.coordinators[self.settings.name]
        endpoints = [tcp_endpoint(interface_for(host), port)]
        security = self.settings.security
        check_endpoints(endpoints, token=security.token_file is not None, insecure=security.insecure)
        site = BoundedSite(coordinator_tree(self), self.process.reactor, {}, guard=self.token.guard())
        self._listening = await listen(self.process.reactor, endpoints, site)
        self.process.say(f"Tako coordinator {self.settings.name}: {self._listening.urls()[0]}/configuration. Ready.")

    def is_master(self, configuration: Configuration) -> bool:
        """Whether this coordinator decides."""
        return configuration.master_coordinator in (None, self.settings.name)

    def _read(self) -> Configuration:
        try:
            return read_text(self.settings.read_file(), "the configuration")
        except OSError as problem:
            raise StartError(f"The configuration cannot be read: {problem.strerror}: {problem.filename}.")

    def stopService(self) -> Deferred[Any]:
        """Fires when nothing is open any more."""
        super().stopService()
        self._stop_signal()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        closing = [self._listening.close] if self._listening is not None else []
        stopped: Deferred[Any] = stop_in_turn(*closing, self._worker.stop)
        return stopped

    def on_signal(self, install: Callable[[Callable[[], None]], Callable[[], None]]) -> None:
        """Reload when a signal comes: `install` is given what to call, and gives what ends that."""

        def came() -> None:
            self.reload().addErrback(lambda _: None)  # it was logged

        self._stop_signal = install(came)

    # ---------------------------------------------------------------------------------------------------- changes

    def reload(self) -> Deferred[Configuration]:
        """Read the file again, or ask the master again; fires with what is handed out from now on. SettingsError when
        the file has a mistake: then nothing changes.
        """
        return Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> Configuration:
        self.reloads += 1
        assert self.configuration is not None
        try:
            read = self._read()
        except StartError as problem:
            self.problem = str(problem)
            self._log.error("The configuration stays as it was: {problem}", problem=problem)
            raise
        self.problem = None
        if self.is_master(read):
            await self._hand_out(read)
        else:
            await self._follow(read)
        return self.configuration

    async def _hand_out(self, read: Configuration) -> None:
        """Hand out what was read, under a new version if it says something new."""
        last = self.configuration
        if last is not None and same_but_version(last, read):
            return
        version = max(read.version, int(self.process.wall()), last.version + 1 if last is not None else 1)
        await self._take(evolve(read, version=version))

    async def _take(self, configuration: Configuration) -> None:
        try:
            await self._worker(write_copy, self._folder, SERVED, configuration)
        except OSError as problem:
            raise SettingsError(f"The configuration cannot be written to {self._folder.path}: {problem}.")
        self.configuration = configuration
        self.process.say(f"Tako configuration {configuration.version} is handed out.")

    def _ask_master(self) -> None:
        self._timer = self.process.reactor.callLater(self.settings.update_seconds, self._ask_master)
        assert self.configuration is not None
        Deferred.fromCoroutine(self._follow(self.configuration)).addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        self._log.failure("Asking the master failed", failure)

    async def _follow(self, known: Configuration) -> None:
        """Take what the master hands out, if that is newer."""
        host, port = known.coordinators[known.master_coordinator or self.settings.name]
        try:
            body = await fetch(self.process.reactor, host, port, self.token.to_send())
            given = read_object(decode_object(body, MAX_BYTES), f"http://{host}:{port}/configuration")
        except Exception as problem:  # the master may be down, or answer anything
            self.problem = f"{host}:{port}: {problem or type(problem).__name__}"
            return
        self.problem = None
        assert self.configuration is not None
        if given.version > self.configuration.version:
            await self._take(given)

    def document(self) -> bytes:
        """What GET /configuration answers."""
        assert self.configuration is not None
        self.served += 1
        return as_json(self.configuration)


def make_coordinator(settings: CoordinatorSettings, process: Process) -> TakoCoordinator:
    """The service of a coordinator on any machine, the simulated one included."""
    return TakoCoordinator(settings, process)
