"""`twistd taba-server` and the console script `taba-server`: the assembly of a server. One of the two
places that know the real reactor.

`makeService` opens nothing: twistd forks after it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.application.service import IService, Service
from twisted.internet.defer import inlineCallbacks

from taba.agent.budget import memory_inside
from taba.agent.http import AgentResources
from taba.agent.service import Agent
from taba.agent.site import agent_site
from taba.agent.statsd.service import StatsdPorts
from taba.binding import EndpointString, tcp_endpoint
from taba.client.api import Client
from taba.client.engines.twisted import TwistedEngine
from taba.guarding import shared_token
from taba.handlers.registry import Registry, installed
from taba.interfaces import IStore
from taba.local_endpoint import LocalEndpoint
from taba.process import Process
from taba.reloading import Reloading
from taba.server.budget import ServerBudget
from taba.server.service import RELOADABLE, Server
from taba.server_options import Options as Options  # twistd looks for it here
from taba.settings import AgentSettings, Endpoint, ServerSettings
from taba.stopping import stop_in_turn
from taba.store.embedded import EmbeddedStore
from taba.store.memory import MemoryStore
from taba.store.redis.opening import open_redis_store
from taba.store.redis.store import RedisStore
from taba.web.listening import Listening, listen
from taba.workers import KILL_SECONDS, ParentWatch, Workers

OWN_FLUSH_SECONDS = 10.0
"""How often the server records its own events."""


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
        statsd_listen=settings.statsd_listen,
        statsd_types=settings.statsd_types,
        statsd_client=settings.statsd_client,
        statsd_gauges=settings.statsd_gauges,
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
        self._statsd: StatsdPorts | None = None
        if settings.statsd_listen:
            self.agent.statsd = self._statsd = StatsdPorts(self.agent.settings, process, self.agent)

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
        if self._statsd is not None:
            yield self._statsd.startService()
            self._process.say(f"Taba agent: StatsD on {', '.join(self._statsd.names())}.")

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
        statsd = [self._statsd.stopService] if self._statsd is not None else []
        yield stop_in_turn(self.record.stop, *listening, *statsd, self.server.stopService)


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
