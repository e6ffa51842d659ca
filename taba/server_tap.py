"""`twistd taba-server` and the console script `taba-server`: options, and the assembly of a server. One of the two
places that know the real reactor.

`makeService` opens nothing: twistd forks after it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from attrs import evolve
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, inlineCallbacks

from taba.agent.budget import memory_inside
from taba.agent.http import AgentResources
from taba.agent.service import Agent
from taba.agent.site import agent_site
from taba.binding import MOST_PORT, EndpointString, check_endpoints, tcp_endpoint
from taba.client.api import Client
from taba.client.engines.twisted import TwistedEngine
from taba.errors import SettingsError
from taba.guarding import shared_token
from taba.handlers.registry import Registry, check_installed, installed
from taba.interfaces import IStore
from taba.local_endpoint import LocalEndpoint
from taba.options import SettingsOptions, given, located
from taba.process import Process
from taba.reloading import Reloading
from taba.server.blacklist import Blacklist, compiled
from taba.server.budget import ServerBudget
from taba.server.service import RELOADABLE, Server
from taba.settings import AgentSettings, Endpoint, Gathered, ServerSettings, gather
from taba.stopping import stop_in_turn
from taba.store.embedded import EmbeddedStore
from taba.store.memory import MemoryStore
from taba.store.redis.inspection import inspect
from taba.store.redis.opening import check_database, open_redis_store
from taba.store.redis.store import RedisStore
from taba.web.forwarded import TrustedProxies
from taba.web.listening import Listening, listen
from taba.workers import KILL_SECONDS, ParentWatch, Workers

OWN_FLUSH_SECONDS = 10.0
"""How often the server records its own events."""


class Options(SettingsOptions):
    """Command line of `twistd taba-server`."""

    program = "taba-server"
    synopsis = "[options]"
    longdesc = (
        "A complete Taba in one process: takes events, folds them durably, answers queries. Without --config it also "
        "opens an agent's port for applications on this host."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["data-dir", "d", None, "Folder of the embedded store and the spool [default: taba-data]"],
        ["port", "p", None, "TCP port for agents and queries [default: 8300]", int],
        ["agent-port", None, None, "TCP port for applications on this host [default: 8279]", int],
        ["interface", "i", None, "Address to listen on [default: 127.0.0.1]"],
        ["worker", None, None, "Given by the parent of SERVER_WORKERS: which of them this is, from 0.", int],
    ]
    optFlags = [["memory", None, "Keep everything in memory: a stop loses it. The agent inside still keeps its spool,"
         " what the store has not taken yet, in --data-dir."]]

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(environment)
        self["listen"] = []
        self["agent-listen"] = []

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """See `usage.Options`. What was given is kept, for workers."""
        self.given = list(options or ())
        super().parseOptions(options)

    def opt_listen(self, value: str) -> None:
        """Twisted endpoint string for agents and queries, in place of --interface and --port; may be given several
        times
        """
        self["listen"].append(value)

    def opt_agent_listen(self, value: str) -> None:
        """Twisted endpoint string for applications, in place of --interface and --agent-port; may be given several
        times
        """
        self["agent-listen"].append(value)

    def gathered(self) -> Gathered[ServerSettings]:
        """See `SettingsOptions`. Without a file this process is an agent, too."""
        options = {
            "DATA_DIR": (self["data-dir"], "--data-dir"),
            "BASE_PORT": (self["port"], "--port"),
            "AGENT_PORT": (self["agent-port"], "--agent-port"),
            "INTERFACE": (self["interface"], "--interface"),
            "LISTEN": (tuple(self["listen"]), "--listen"),
            "AGENT_LISTEN": (tuple(self["agent-listen"]), "--agent-listen"),
            "DB_SETTINGS.USE_MEMORY_DB": (True if self["memory"] else None, "--memory"),
        }
        basis = {"EMBEDDED_AGENT": (True, "there being no settings file")} if self["config"] is None else {}
        options = {**given(options), **self.common()}
        found = gather(ServerSettings, self["config"], self.environment, options, basis)
        settings = with_absolute_paths(found.settings)
        with located(found):
            check(settings)
        if self["worker"] is not None:
            settings = of_worker(settings, self["worker"])
        return evolve(found, settings=settings)

    def inspected(self, settings: ServerSettings) -> int:
        """See `SettingsOptions`."""
        return look_at_redis(settings) if settings.database.redis else 0


def look_at_redis(settings: ServerSettings) -> int:
    """Print what there is to say of the Redis servers of settings; 0, or 1 when Taba cannot work with them."""
    from twisted.internet import reactor, task

    from taba.real import monotonic, real_process

    status = 1

    async def look(_: object) -> None:
        nonlocal status
        report = await inspect(settings.database, real_process(reactor), AgentSettings().confirm_seconds)
        for line in report.lines:
            print(line, flush=True)
        status = 0 if report.works else 1

    monotonic(reactor)
    try:
        task.react(lambda clock: Deferred.fromCoroutine(look(clock)))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) and ended.code else status


def with_absolute_paths(settings: ServerSettings) -> ServerSettings:
    """Settings whose files are where they were when the command was given: twistd may change its folder."""
    return evolve(
        settings,
        data_dir=os.path.abspath(settings.data_dir),
        listen=tuple(str(EndpointString.parse(each).with_absolute_paths()) for each in settings.listen),
        agent_listen=tuple(str(EndpointString.parse(each).with_absolute_paths()) for each in settings.agent_listen),
        token_file=settings.token_file and os.path.abspath(settings.token_file),
    )


def check(settings: ServerSettings) -> None:
    """SettingsError for what each setting alone does not show, and for files that cannot be used."""
    roles = set(settings.roles.split(","))
    unknown = sorted(roles - {"fe", "be", "ctrl"})
    if unknown:
        raise SettingsError(f"SERVER_ROLES: {', '.join(unknown)} is no role; there are fe, be, ctrl.")
    if settings.database.redis:
        check_database(settings.database)
    elif not {"fe", "be"} <= roles:
        raise SettingsError("SERVER_ROLES: the embedded store is of one process, which has to be fe and be.")
    if settings.workers > 1:
        check_workers(settings)
    if settings.agent_port == 0 and not settings.embedded_agent:
        raise SettingsError("AGENT_PORT: 0 picks a free port for an agent in this process only (EMBEDDED_AGENT).")
    if settings.agent_listen and not settings.embedded_agent:
        raise SettingsError("AGENT_LISTEN: this process opens no agent's port unless EMBEDDED_AGENT is true.")
    Blacklist.of(settings.name_blacklist, settings.client_blacklist)
    for number, each in enumerate(settings.tabs):
        compiled(each.name, f"TABS[{number}].name")
    check_installed(settings.additional_handlers)
    check_proxies(settings.trusted_proxies)
    shared_token(settings.token_file, lambda: 0.0)
    check_endpoints(
        (*settings.endpoints(), *settings.agent_endpoints()),
        token=settings.token_file is not None,
        insecure=settings.insecure,
    )


def check_proxies(entries: Sequence[str]) -> None:
    """SettingsError for what is no proxy in TRUSTED_PROXIES."""
    try:
        TrustedProxies.of(entries)
    except ValueError as problem:
        raise SettingsError(f"TRUSTED_PROXIES: {problem}.")


def check_workers(settings: ServerSettings) -> None:
    """SettingsError for what several processes cannot share."""
    if not settings.database.redis:
        raise SettingsError(
            f"SERVER_WORKERS is {settings.workers}, but the store in a file or in memory is of one process. Set it to"
            " 1, or give the servers Redis (DB_SETTINGS)."
        )
    if settings.listen:
        raise SettingsError("LISTEN: several SERVER_WORKERS listen on BASE_PORT, BASE_PORT + 1, ...; take one out.")
    if settings.port == 0 or settings.port + settings.workers - 1 > MOST_PORT:
        raise SettingsError(f"BASE_PORT: {settings.workers} SERVER_WORKERS need as many ports from there on.")


def of_worker(settings: ServerSettings, number: int) -> ServerSettings:
    """The settings of one of SERVER_WORKERS: a port and a folder of its own; the first alone is an agent, too."""
    return evolve(
        settings,
        workers=1,
        port=settings.port + number,
        data_dir=os.path.join(settings.data_dir, f"worker-{number}"),
        embedded_agent=settings.embedded_agent and number == 0,
    )


def open_store(settings: ServerSettings, process: Process) -> IStore:
    """The store that the settings ask for, not started yet."""
    if settings.database.redis:
        return open_redis_store(settings.database, process, settings.dedup_days)
    clock, wall, new_id = process.reactor, process.wall, process.new_id
    vbuckets, dedup_days = settings.database.vbuckets, settings.dedup_days
    if settings.database.memory:
        return MemoryStore(vbuckets, clock, wall, new_id, dedup_days=dedup_days)
    return EmbeddedStore(
        process.open_folder(settings.data_dir),
        vbuckets,
        clock,
        wall,
        new_id,
        process.worker("taba-store"),
        process.worker("taba-queries"),
        dedup_days=dedup_days,
    )


def inside_agent(settings: ServerSettings, process: Process, registry: Registry) -> tuple[Agent, LocalEndpoint]:
    """The agent in the server's process: it serves `/post`, and the local applications' port where that is open."""
    endpoint = LocalEndpoint()
    agent_settings = AgentSettings(
        port=settings.agent_port,
        interface=settings.interface,
        servers=(),
        flush_seconds=settings.agent_flush_seconds,
        spool=os.path.join(settings.data_dir, "spool"),
        max_memory_bytes=memory_inside(ServerBudget.of(settings.memory_bytes).agent),
        max_body_bytes=settings.max_body_bytes,
        max_clock_skew=settings.max_clock_skew,
        dedup_days=settings.dedup_days,
        insecure=settings.insecure,
    )
    return Agent(agent_settings, process, registry.kinds(), [endpoint]), endpoint


class EmbeddedServer(Service):
    """A server with its agent and its own instrumentation."""

    reloadable = RELOADABLE

    def take_settings(self, settings: ServerSettings) -> None:
        """See `Reloadable`."""
        self.server.take_settings(settings)

    def __init__(self, settings: ServerSettings, process: Process, registry: Registry) -> None:
        self.settings = settings
        self._process = process
        token = shared_token(settings.token_file, process.reactor.seconds, process.say)
        self.agent, endpoint = inside_agent(settings, process, registry)
        resources = AgentResources(self.agent)
        self.record = Client(wall=process.wall, jitter=process.random.random, monotonic=process.reactor.seconds)
        self.server = Server(
            settings,
            process,
            open_store(settings, process),
            registry,
            self.record,
            self.agent,
            resources.intake(),
            resources.bodies(),
            token.guard(),
            self.agent.operate,
        )
        endpoint.serve(self.server.frontend)
        self._site = agent_site(resources, process, token.guard())
        self._agent_port: Listening | None = None

    @inlineCallbacks
    def startService(self):  # type: ignore[no-untyped-def]
        """Fires when everything is ready."""
        super().startService()
        for remark in self.settings.remarks():
            self._process.say(remark)
        yield self.server.startService()
        if self.settings.embedded_agent:
            yield self._open_agent_port()
        yield self.record.initialize(
            f"taba_server.{self._process.host}",
            f"{self._own_agent().url()}/post",
            OWN_FLUSH_SECONDS,
            lambda sender, url: TwistedEngine(sender, url, reactor=self._process.reactor),
            token_file=self.settings.token_file or "",
        )
        self._process.say(f"Taba keeps its data {_place(self.settings)}. Ready.")

    @inlineCallbacks
    def _open_agent_port(self):  # type: ignore[no-untyped-def]
        """Open the agent's port, and one more for own events where it is not to be had without TLS."""
        endpoints = self.settings.agent_endpoints()
        if not any(EndpointString.parse(each).kind in ("tcp", "tcp6") for each in endpoints):
            endpoints = (*endpoints, tcp_endpoint("127.0.0.1", 0))
        listening: Listening = yield listen(self._process.reactor, endpoints, self._site)
        self._agent_port = listening
        self._process.say(f"Taba agent: applications on {', '.join(f'{url}/post' for url in listening.urls())}")

    def interrupt(self) -> None:
        """End a start that waits for Redis: the process is to end."""
        if isinstance(self.server.store, RedisStore):
            self.server.store.interrupt()

    def _own_agent(self) -> Endpoint:
        """Where own events go: the agent in this process when it listens, else the agent of this host."""
        here = self._agent_port.plain() if self._agent_port is not None else None
        return here or Endpoint("127.0.0.1", self.settings.agent_port)

    @inlineCallbacks
    def stopService(self):  # type: ignore[no-untyped-def]
        """Fires when everything is written and closed."""
        super().stopService()
        listening = [self._agent_port.close] if self._agent_port is not None else []
        yield stop_in_turn(self.record.stop, *listening, self.server.stopService)


def _place(settings: ServerSettings) -> str:
    """Where a server keeps its data, for the operator."""
    if settings.database.memory:
        return "in memory only"
    if settings.database.redis:
        return f"in Redis, and its own agent's spool in {settings.data_dir}"
    return f"in {settings.data_dir}"


def make_server(settings: ServerSettings, process: Process) -> IService:
    """The service of a server on any machine, the simulated one included. StartError when its folder cannot be used."""
    return EmbeddedServer(settings, process, installed(settings.additional_handlers, settings.buffer_seconds))


def worker_command(given: Sequence[str], number: int) -> list[str]:
    """How one of SERVER_WORKERS is started, whose parent was given some options."""
    twistd = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
    own = ["--worker", str(number), "--log-format", "json"]
    return [sys.executable, "-c", twistd, "--nodaemon", "--pidfile=", "taba-server", *given, *own]


def makeService(options: Any, process: Process | None = None, reactor: Any = None) -> IService:
    """Called by twistd. Opens nothing."""
    from taba.real import running_on

    settings: ServerSettings = options["settings"]
    reloading = Reloading(settings, options.read_again, options.log) if process is None else None
    if settings.workers == 1 or process is not None:
        service = running_on(make_server, settings, process, reactor, reloading=reloading)
        if options.get("worker") is not None:
            watch_parent()
        return service
    folder = os.getcwd()  # twistd may change it before the workers start

    def make_parent(settings: ServerSettings, machine: Process) -> IService:
        return Workers(
            settings.workers,
            lambda number: worker_command(options.given, number),
            machine.reactor,
            os.environ,
            folder,
            stop_seconds=settings.stop_seconds,
            reloadable=RELOADABLE,
        )

    longer = evolve(settings, stop_seconds=settings.stop_seconds + 2 * KILL_SECONDS)
    return running_on(make_parent, longer, reloading=reloading)


def watch_parent() -> None:
    """Let this process stop when its parent is gone."""
    from twisted.internet import reactor

    running: Any = reactor
    running.callWhenRunning(lambda: running.addReader(ParentWatch(running, running.stop)))


def main() -> None:
    """The console script `taba-server SETTINGS`."""
    from taba.console import run_twistd

    run_twistd("taba-server", sys.argv[1:])
