# mypy: untyped-calls-exclude="twisted"
"""The members of a simulated cluster: a server, agents and applications, each a machine and what is to run on it.

What runs is made by the functions that production uses: `make_server`, `make_agent`, and `Client` with its
`TwistedEngine`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, field
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred

from taba.agent.service import Agent
from taba.client.api import Client
from taba.client.engines.twisted import TwistedEngine
from taba.client.sender import Answer, Post, Sender, Wait
from taba.process import Process as Machine
from taba.running import Running
from taba.server_tap import EmbeddedServer, make_server
from taba.settings import ServerSettings
from taba.testing.machine import running
from taba.testing.node import Node, Process

DATA = "taba-data"
"""The folder of a server's store; its agent's spool is in `taba-data/spool`."""
SPOOL = "taba-spool"
"""The folder of a standalone agent's spool."""


@define(eq=False)
class Host:
    """A machine of the cluster, on which one kind of process runs when it is wanted."""

    node: Node
    wanted: bool = field(default=False, init=False)
    """Whether a process should run: then `supervise` starts it again."""

    @property
    def name(self) -> str:
        """The name of the machine."""
        return self.node.name

    @property
    def up(self) -> bool:
        """Whether a process lives."""
        return self.node.process is not None

    def start(self) -> None:
        """Start the process, unless it runs."""
        self.wanted = True
        if not self.up:
            self._begin()

    def _begin(self) -> None:
        raise NotImplementedError

    def crash(self, torn: bool | None = None) -> None:
        """Kill it; what the disk had not synced is lost, in part. It stays down until `start`."""
        self.wanted = False
        self.node.crash(torn)

    def stop(self) -> None:
        """Stop it in good order."""
        self.wanted = False
        self.node.stop()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.crash()
        self.start()


@define(eq=False)
class Member(Host):
    """A machine that runs what `make` makes: production code, as twistd would run it."""

    make: Callable[[Process], IService]
    settings: Any = field(default=None, kw_only=True)
    """What it was made with, if that was settings."""

    def _begin(self) -> None:
        self.node.start(self.make)

    @property
    def service(self) -> Any:
        """The service that runs, made by production code; None when none does."""
        process = self.node.process
        outer = process.service if process is not None else None
        return outer.service if isinstance(outer, Running) else outer


@define(eq=False)
class AgentMember(Member):
    """A standalone agent."""

    @property
    def agent(self) -> Agent | None:
        """The agent itself; None when none runs."""
        agent: Agent | None = getattr(self.service, "agent", None)  # whichever release's it is
        return agent

    @property
    def spool_folder(self) -> str:
        """Where its spool is."""
        return SPOOL

    @property
    def ready(self) -> bool:
        """Whether it listens."""
        return self.up and self.service is not None and self.service._port is not None


def making_server(settings: ServerSettings) -> Callable[[Process], IService]:
    """What makes a server with these settings."""
    return running(partial(make_server, settings))


@define(eq=False)
class ServerMember(Member):
    """The server, with the agent inside."""

    def reload(self, settings: ServerSettings) -> None:
        """Give it other settings: it starts with them from now on, and one that runs takes what can be taken at once,
        as when an operator changes the file and sends SIGHUP.
        """
        self.settings, self.make = settings, making_server(settings)
        process = self.node.process
        outer: Any = process.service if process is not None else None
        if isinstance(outer, Running):
            outer.reload(lambda server: server.take_settings(settings))

    @property
    def server(self) -> EmbeddedServer | None:
        """The service itself; None when none runs."""
        service: EmbeddedServer | None = self.service
        return service if hasattr(service, "server") else None  # whichever release's it is

    @property
    def agent(self) -> Agent | None:
        """The agent inside."""
        server = self.server
        return server.agent if server is not None else None

    @property
    def spool_folder(self) -> str:
        """Where the spool of the agent inside is."""
        return f"{DATA}/spool"

    @property
    def ready(self) -> bool:
        """Whether it listens."""
        server = self.server
        return server is not None and server.server._port is not None


@define(eq=False)
class WatchedSender:
    """A client's Sender, and somebody who is told its account after each answer."""

    _sender: Sender
    _told: Callable[[dict[str, Any]], None]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sender, name)

    def next_action(self, now: float) -> Post | Wait:
        """See `Sender`."""
        return self._sender.next_action(now)

    def answered(self, post: Post, answer: Answer, now: float) -> None:
        """See `Sender`."""
        self._sender.answered(post, answer, now)
        self._told(self._sender.status())


class Application(Service):
    """A process that records events: a `Client` on an engine for its reactor."""

    def __init__(
        self, machine: Machine, client_id: str, url: str, flush: float, told: Callable[[dict[str, Any]], None]
    ) -> None:
        self.client = Client(wall=machine.wall, jitter=machine.random.random)
        self._machine = machine
        self._client_id = client_id
        self._url = url
        self._flush = flush
        self._told = told

    def startService(self) -> Deferred[None]:
        """Begin to record."""
        super().startService()

        def engine(sender: Sender, url: str) -> TwistedEngine:
            watched: Any = WatchedSender(sender, self._told)
            return TwistedEngine(watched, url, reactor=self._machine.reactor)

        started: Deferred[None] = self.client.initialize(self._client_id, self._url, self._flush, engine)
        return started

    def stopService(self) -> Deferred[Any]:
        """Send what is left, for five seconds."""
        super().stopService()
        stopped: Deferred[Any] = self.client.stop()
        return stopped


@define(eq=False)
class ApplicationMember(Member):
    """An application. `on_answer` is told the client's status after each answer."""

    client_id: str = ""
    agent: AgentMember | ServerMember | None = None
    on_answer: Callable[[dict[str, Any]], None] = field(default=lambda status: None)

    @property
    def client(self) -> Client:
        """The Client of the process that lives; ValueError when none does."""
        service = self.service
        if not isinstance(service, Application):
            raise ValueError(f"{self.name} is down")
        return service.client
