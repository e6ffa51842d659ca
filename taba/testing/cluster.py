"""A whole Taba in one process: a server, agents and applications on the machines of a simulated `World`.

Every process is assembled by the functions that production uses (`make_server`, `make_agent`, `Client` with its
`TwistedEngine`), under the same `Running` service that twistd runs; only reactor, network and disks are simulated.

    with MemoryCluster(seed=7) as cluster:
        cluster.start()
        cluster.applications[0].client.counter("bids_won", 1)
        cluster.world.network.partition("agent-1", "server-1")
        cluster.agents[0].crash()
        cluster.world.advance(10)
        cluster.heal()
        cluster.settle()                            # until all is folded and confirmed, or NotReached
        print(cluster.get("/tabs"))

A process that ends by itself (it cannot start while its disk is full, say) is started again by `supervise`, which
`settle` calls, as an init system would do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.application.service import IService
from twisted.web.client import Agent as HTTPAgent
from twisted.web.client import readBody

from taba.agent_tap import make_agent
from taba.errors import StoreError
from taba.process import Process as Machine
from taba.settings import AgentSettings, DatabaseSettings, Endpoint, ServerSettings
from taba.testing.disk import MemoryDisk
from taba.testing.machine import running
from taba.testing.members import (
    DATA,
    SPOOL,
    AgentMember,
    Application,
    ApplicationMember,
    Host,
    Member,
    ServerMember,
    making_server,
)
from taba.testing.world import World

if TYPE_CHECKING:
    from typing import Self

SERVER_PORT = 8300
AGENT_PORT = 8279
ALL_ROLES = "fe,be"


@define(eq=False)
class MemoryCluster:
    """A server, agents and applications; `start` starts them. All that is random follows from `seed`."""

    seed: int
    server_count: int = field(default=1, init=False)
    agent_count: int = 2
    application_count: int = 3
    vbuckets: int = 4
    embedded_agent: bool = False
    """Whether the server opens an agent's port; the last application posts there then."""
    confirm_seconds: float = 5.0
    flush_seconds: float = 1.0
    """How often applications send."""
    checkpoint_seconds: float = 0.5
    """How often servers write changed States."""
    keep_trace: bool = False
    server_settings: dict[str, Any] = field(factory=dict)
    """Further fields of the servers' `ServerSettings`."""
    roles: Sequence[str] = ()
    """SERVER_ROLES of the first servers; the others have all."""
    weights: Sequence[float] = ()
    """WEIGHT of the first servers; that of the others is 1."""
    world: World = field(init=False)
    servers: list[ServerMember] = field(factory=list, init=False)
    agents: list[AgentMember] = field(factory=list, init=False)
    applications: list[ApplicationMember] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.world = World(self.seed, keep_trace=self.keep_trace)
        self._add_store()
        for number in range(1, self.server_count + 1):
            (roles,) = self.roles[number - 1 : number] or (ALL_ROLES,)
            (weight,) = self.weights[number - 1 : number] or (1.0,)
            self.add_server(f"server-{number}", roles, weight)
        for number in range(1, self.agent_count + 1):
            self.add_agent(f"agent-{number}")
        for number in range(1, self.application_count + 1):
            target: AgentMember | ServerMember = self.agents[(number - 1) % len(self.agents)]
            if self.embedded_agent and number == self.application_count:
                target = self.server
            self.add_application(f"app-{number}", target)

    def _add_store(self) -> None:
        """Add the machines that the servers keep their data on, where these are not their own."""

    def database(self) -> DatabaseSettings:
        """DB_SETTINGS of the servers."""
        return DatabaseSettings(vbuckets=self.vbuckets)

    def add_server(self, name: str, roles: str = ALL_ROLES, weight: float = 1.0) -> ServerMember:
        """One more server, not started yet."""
        settings = ServerSettings(
            roles=roles,
            weight=weight,
            port=SERVER_PORT,
            interface="0.0.0.0",
            agent_port=AGENT_PORT,
            embedded_agent=self.embedded_agent,
            data_dir=DATA,
            database=self.database(),
            checkpoint_seconds=self.checkpoint_seconds,
            insecure=True,
            **self.server_settings,
        )
        member = ServerMember(self.world.node(name), making_server(settings), settings=settings)
        self.servers.append(member)
        return member

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.world.close()

    # ----------------------------------------------------------------------------------------------------- members

    @property
    def server(self) -> ServerMember:
        """The first server."""
        return self.servers[0]

    def endpoints(self) -> tuple[Endpoint, ...]:
        """SERVER_ENDPOINTS of agents that are added now."""
        return tuple(Endpoint(each.name, SERVER_PORT) for each in self.servers if "fe" in each.settings.roles)

    def add_agent(self, name: str, disk: MemoryDisk | None = None) -> AgentMember:
        """One more standalone agent, not started yet; on `disk`, for a twin of another."""
        settings = AgentSettings(
            port=AGENT_PORT,
            interface="0.0.0.0",
            servers=self.endpoints(),
            confirm_seconds=self.confirm_seconds,
            spool=SPOOL,
            insecure=True,
        )
        member = AgentMember(self.world.node(name, disk), running(partial(make_agent, settings)), settings=settings)
        self.agents.append(member)
        return member

    def add_application(
        self,
        name: str,
        agent: AgentMember | ServerMember,
        client_id: str = "",
        on_answer: Callable[[dict[str, Any]], None] = lambda status: None,
    ) -> ApplicationMember:
        """One more application, not started yet. Its client id is its name, unless another is given."""

        def make(machine: Machine) -> IService:
            url = f"http://{agent.name}:{AGENT_PORT}/post"
            return Application(
                machine, member.client_id, url, self.flush_seconds, lambda status: member.on_answer(status)
            )

        member = ApplicationMember(self.world.node(name), running(make), client_id or name, agent, on_answer)
        self.applications.append(member)
        return member

    def members(self) -> Iterator[Member]:
        """All that run Taba, the servers first."""
        yield from self.servers
        yield from self.agents
        yield from self.applications

    def hosts(self) -> Iterator[Host]:
        """All machines, those of the store first."""
        yield from self.members()

    def spools(self) -> list[AgentMember | ServerMember]:
        """All members with an agent, those inside the servers among them."""
        return [*self.servers, *self.agents]

    def member(self, name: str) -> Member:
        """The member of that name; KeyError when there is none."""
        for member in self.members():
            if member.name == name:
                return member
        raise KeyError(name)

    def start(self, limit: float = 30.0) -> None:
        """Start all, and wait until the servers and the agents listen."""
        for host in self.hosts():
            host.start()
        self.world.run_until(lambda: all(each.ready for each in self.spools()), limit, "servers and agents to listen")

    def supervise(self) -> None:
        """Start again what ended by itself."""
        for host in self.hosts():
            if host.wanted and not host.up:
                host.start()

    # ------------------------------------------------------------------------------------------------------- rest

    def heal(self) -> None:
        """End all faults of network and disks, and start what is down. Clocks stay as they are."""
        self.world.network.heal()
        for a, b in sorted(self.world.network._delays):
            if a < b:
                self.world.network.delay(a, b, 0.0)
        for host in self.hosts():
            disk = host.node.disk
            if disk._full:
                disk.fill(False)
            if not disk.writable:
                disk.read_only(False)
            disk.failing_syncs.clear()
            host.start()

    def unrest(self) -> list[str]:
        """What is not at rest, in words: something is buffered, held, or not folded."""
        found = []
        for member in self.members():
            if not member.up or member.service is None:
                found.append(f"{member.name} is down")
        for application in self.applications:
            if application.up and application.service is not None:
                status = application.client.get_status()
                if status.get("buffered_events"):
                    found.append(f"{application.name} holds {status['buffered_events']} events")
        for each in self.spools():
            found += self._unrest_of_agent(each)
        return found + self._unrest_of_servers()

    def _unrest_of_agent(self, member: AgentMember | ServerMember) -> list[str]:
        agent = member.agent
        if agent is None or agent.intake is None or not member.ready:
            return [f"{member.name} starts"]
        found = []
        if pending := agent.ledger()["pending"]:
            found.append(f"{member.name} has {pending} events pending")
        if agent.lanes.totals().batches:
            found.append(f"{member.name} holds {agent.lanes.totals().batches} batches")
        if not agent.intake.open.empty:
            found.append(f"{member.name} has an open commit")
        if (problem := agent.refusing()) is not None:
            found.append(f"{member.name} takes nothing: {problem}")
        return found

    def _unrest_of_servers(self) -> list[str]:
        found, owners = [], Counter[int]()
        for member in self.servers:
            server = member.server
            if server is None or not member.ready:
                found.append(f"{member.name} starts")
                continue
            for vbucket, folding in server.server.backend.folding.items():
                owners[vbucket] += 1
                if folding.dirty or folding.closed is not None:
                    found.append(f"vbucket {vbucket} has something to checkpoint on {member.name}")
        found += [f"vbucket {v} has {owners[v]} owners" for v in range(self.vbuckets) if owners[v] != 1]
        return found or self._unrest_of_logs()

    def _unrest_of_logs(self) -> list[str]:
        """What waits in the logs, as the store says."""
        server = self.server.server
        assert server is not None
        try:
            depths = self.world.result_of(server.server.store.depth())
        except StoreError as problem:
            return [f"the store cannot be asked: {problem}"]
        return [f"the log of vbucket {each.vbucket} has {each.entries} entries" for each in depths]

    def settle(self, limit: float = 300.0) -> None:
        """Run until all members are at rest; NotReached, with what is not, after `limit` virtual seconds.

        Servers record events about themselves for as long as they run, so they are told to stop that.
        """
        end = self.world.clock.seconds() + limit
        quiet = 0
        while quiet < 2:
            self.world.advance(1.0)
            self.supervise()
            for member in self.servers:
                server = member.server
                if server is not None and member.ready and server.record.get_status()["state"] == "running":
                    server.record.stop()
            unrest = self.unrest()
            quiet = 0 if unrest else quiet + 1
            if unrest and self.world.clock.seconds() > end:
                self.world.run_until(lambda: False, 0.0, f"rest; {'; '.join(unrest)}")

    # ------------------------------------------------------------------------------------------------------ queries

    def get(self, path: str, host: str = "", port: int = SERVER_PORT, limit: float = 60.0) -> bytes:
        """What the server (or `host`) answers to a GET from a machine beside the cluster; the body of any status."""
        node = self.world.node("reader")
        process = node.process or node.start()
        url = f"http://{host or self.server.name}:{port}{path}".encode()
        answer = HTTPAgent(process.reactor).request(b"GET", url)
        return self.world.result_of(answer.addCallback(readBody), limit)
