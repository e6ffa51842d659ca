"""The configuration that a node or proxy runs on: where it comes from, when a newer one is taken, and its copy on disk.

It comes from a file, or from coordinators, or, once another node has spoken of a newer one, from that node. It is on
disk before it is in force, so that a restart never goes back to an older one: who holds a key, and who may still be
asked by others on an older configuration, rests on that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers

from taba.errors import FrameError, SettingsError, StartError
from taba.interfaces import IFolder
from taba.process import Worker
from taba.tako.configuration import Configuration, as_json
from taba.tako.errors import ConfigurationError, TakoError
from taba.tako.placement import Placement
from taba.tako.reading import read_object, read_text
from taba.wire.frame import decode_object

CACHE = "configuration.json"
MAX_BYTES = 16 * 1024 * 1024
ASK_SECONDS = 5.0
PATIENT_SECONDS = 10.0
"""How long a start waits for a coordinator in silence, when there is no copy on disk; it waits on, and says so."""
RENEWAL_SECONDS = 2.0
"""How long a read or write waits for a newer configuration."""


async def fetch(reactor: Any, host: str, port: int, token: str | None) -> bytes:
    """What a coordinator serves. Fails with what Twisted's HTTP client fails with, or ValueError."""
    agent = Agent(reactor, connectTimeout=ASK_SECONDS, pool=HTTPConnectionPool(reactor, persistent=False))
    shown = f"[{host}]" if ":" in host else host
    headers = Headers({"Authorization": [f"Bearer {token}"]} if token is not None else {})
    asked = agent.request(b"GET", f"http://{shown}:{port}/configuration".encode(), headers)
    asked.addTimeout(ASK_SECONDS, reactor)
    answer: Any = await asked
    reading: Deferred[bytes] = readBody(answer)
    reading.addTimeout(ASK_SECONDS, reactor)
    body = await reading
    if answer.code != 200:
        raise ValueError(f"{answer.code}: {body[:200].decode('utf-8', 'replace').strip()}")
    if len(body) > MAX_BYTES:
        raise ValueError(f"{len(body)} bytes are no configuration")
    return body


def read_copy(folder: IFolder, name: str) -> Configuration | None:
    """The configuration in a file of a folder; None when there is none. StartError when it is none."""
    if name not in folder.names():
        return None
    try:
        return read_object(decode_object(folder.read(name), MAX_BYTES), f"{folder.path}/{name}")
    except (FrameError, SettingsError) as problem:
        raise StartError(f"{problem}\nRemove {name} in {folder.path}: it is a copy, and will be fetched again.")


def write_copy(folder: IFolder, name: str, configuration: Configuration) -> None:
    """Replace that file, durably. Raises OSError."""
    new = f"{name}.new"
    if new in folder.names():
        folder.remove(new)
    file = folder.open_append(new)
    try:
        file.write(as_json(configuration))
        file.sync()
    finally:
        file.close()
    folder.rename(new, name)
    folder.sync()


@define(eq=False)
class ConfigurationSource:
    """Keeps the configuration in force, and takes newer ones."""

    reactor: Any
    folder: IFolder
    worker: Worker
    read_file: Callable[[], str] | None
    """Reads the configuration's file, where this process was given one."""
    coordinators: Sequence[tuple[str, int]]
    """Host and port of those given on the command line."""
    update_seconds: float
    token: Callable[[], str | None] = lambda: None
    ask_node: Callable[[str], Deferred[Any]] | None = None
    """Asks a node for its configuration."""
    place: Callable[[Configuration], Placement] = Placement
    """Makes the placement of a configuration."""
    say: Callable[[str], object] = lambda _: None
    """Tells the operator."""
    _placement: Placement | None = field(default=None, init=False)
    _listeners: list[Callable[[Placement], object]] = field(factory=list, init=False)
    _renewals: list[Deferred[object]] = field(factory=list, init=False)
    _refreshing: bool = field(default=False, init=False)
    _asking: bool = field(default=False, init=False)
    _written: int = field(default=-1, init=False)
    """The highest version that was given to the disk, so that none is written over by an older one."""
    _file: Configuration | None = field(default=None, init=False)
    """What was in the file when it was read last: only a change of the file is a change."""
    _timer: Any = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)
    problem: str | None = field(default=None, init=False)
    """Why the last look for a newer configuration failed."""
    _log = Logger()

    def placement(self) -> Placement:
        """The placement in force."""
        assert self._placement is not None
        return self._placement

    @property
    def version(self) -> int:
        """Of the configuration in force; 0 before there is one."""
        return self._placement.configuration.version if self._placement is not None else 0

    def listen(self, listener: Callable[[Placement], object]) -> None:
        """Let `listener` be called with every new placement from now on."""
        self._listeners.append(listener)

    # ----------------------------------------------------------------------------------------------- start and stop

    async def start(self) -> Placement:
        """Find a configuration: in the file, in the copy, or, however long that takes, at a coordinator. StartError, or
        ConfigurationError, when the file or the copy has none.
        """
        if self.read_file is not None:
            await self._adopt(self._from_file())
        else:
            copy = await self.worker(read_copy, self.folder, CACHE)
            if copy is not None:
                self._put_in_force(copy)
            await self._first_answer()
        self._timer = self.reactor.callLater(self.update_seconds, self._tick)
        return self.placement()

    async def _first_answer(self) -> None:
        until = self.reactor.seconds() + PATIENT_SECONDS
        while not self._stopped:
            await self.refresh()
            if self._placement is not None:
                return
            if self.reactor.seconds() >= until:
                self.say(f"No coordinator gives a configuration, and there is no copy: {self.problem}. Waiting.")
                until += 6 * PATIENT_SECONDS
            pause: Deferred[None] = Deferred()
            self.reactor.callLater(0.5, pause.callback, None)
            await pause
        raise CancelledError()

    def _tick(self) -> None:
        self._timer = self.reactor.callLater(self.update_seconds, self._tick)
        Deferred.fromCoroutine(self.refresh()).addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        self._log.failure("Looking for a newer configuration failed", failure)

    def stop(self) -> None:
        """Look for no more."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._fire_renewals()

    # -------------------------------------------------------------------------------------------------- looking

    def heard(self, version: int, node: str) -> None:
        """A node has spoken of a configuration of this version."""
        if version > self.version and not self._asking and not self._stopped and self.ask_node is not None:
            self._asking = True
            Deferred.fromCoroutine(self._ask(node)).addErrback(self._failed)

    def renewed(self) -> Deferred[object]:
        """Fires when a newer configuration is in force, after RENEWAL_SECONDS at the latest."""
        done: Deferred[object] = Deferred()
        done.addTimeout(RENEWAL_SECONDS, self.reactor)
        done.addErrback(lambda failure: failure.trap(TimeoutError))
        if self._stopped:
            done.callback(None)
        else:
            self._renewals.append(done)
        return done

    def _fire_renewals(self) -> None:
        renewals, self._renewals = self._renewals, []
        for each in renewals:
            if not each.called:
                each.callback(None)

    async def refresh(self) -> None:
        """Look for a newer configuration in the file or at the coordinators, and take it."""
        if self._refreshing:
            return
        self._refreshing = True
        try:
            await self._look()
        finally:
            self._refreshing = False

    async def _look(self) -> None:
        if self.read_file is not None:
            try:
                await self._adopt(self._from_file())
            except SettingsError as problem:
                self._note(str(problem))
            return
        known = self._placement.configuration.coordinators.values() if self._placement is not None else ()
        for host, port in dict.fromkeys((*self.coordinators, *known)):
            try:
                body = await fetch(self.reactor, host, port, self.token())
                await self._adopt(read_object(decode_object(body, MAX_BYTES), f"http://{host}:{port}/configuration"))
            except Exception as problem:  # whatever a coordinator does, the next one is asked
                self._note(f"{host}:{port}: {problem or type(problem).__name__}")
                continue
            self.problem = None
            return

    async def _ask(self, node: str) -> None:
        assert self.ask_node is not None
        try:
            answer = await self.ask_node(node)
            await self._adopt(read_object(answer, f"node {node}"))
        except (TakoError, ConfigurationError, KeyError) as problem:
            self._note(f"{node}: {problem}")
        finally:
            self._asking = False

    def _note(self, problem: str) -> None:
        if problem != self.problem:
            self._log.warn("No newer configuration: {problem}", problem=problem)
        self.problem = problem

    def _from_file(self) -> Configuration:
        """What the file says; under a version above that in force if the file has changed since it was read last."""
        assert self.read_file is not None
        try:
            read = read_text(self.read_file(), "the configuration")
        except OSError as problem:
            raise StartError(f"The configuration cannot be read: {problem.strerror}: {problem.filename}.")
        last, self._file = self._file, read
        if last is None or last == read or self._placement is None:
            return read
        own = self._placement.configuration
        same = evolve(read, version=own.version) == own
        return read if same else evolve(read, version=max(read.version, own.version + 1))

    async def _adopt(self, configuration: Configuration) -> None:
        """Take a configuration that is newer."""
        if self._placement is not None and configuration.version <= self.version:
            return
        if configuration.version <= self._written:
            return
        before, self._written = self._written, configuration.version
        try:
            await self.worker(write_copy, self.folder, CACHE, configuration)
        except OSError as problem:
            self._written = before
            if self.read_file is None:
                self._note(f"a newer one cannot be written to {self.folder.path}: {problem}")
                return
        self._put_in_force(configuration)

    def _put_in_force(self, configuration: Configuration) -> None:
        if self._stopped or (self._placement is not None and configuration.version <= self.version):
            return
        self._placement = self.place(configuration)
        for listener in self._listeners:
            listener(self._placement)
        self._fire_renewals()


def same_but_version(one: Configuration, other: Configuration) -> bool:
    """Whether two configurations say the same."""
    same: bool = json.loads(as_json(evolve(one, version=0))) == json.loads(as_json(evolve(other, version=0)))
    return same
