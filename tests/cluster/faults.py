"""What goes wrong in a run: the verbs, each a method that draws its target, and the states in which they meet it.

A verb is noted, with the state of its target, when it is done; a fault that lasts ends by itself after some seconds of
virtual time, or when the run is healed.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field

from taba.store.transactions import DATABASE
from taba.testing.clock import VirtualCall
from taba.testing.cluster import MemoryCluster
from taba.testing.disk import DiskImage
from taba.testing.members import DATA, AgentMember, ApplicationMember, Member, ServerMember
from tests.cluster.operating import Operating, OperatorVerbs
from tests.cluster.oracle import Oracle
from tests.cluster.states import state_of

HOUR = 3600.0
LONGEST = 200.0
"""Virtual seconds within which what goes wrong has ended by itself; far fewer as a rule."""


@define(eq=False)
class Faults(OperatorVerbs):
    """The faults of one run."""

    cluster: MemoryCluster
    oracle: Oracle
    random: Random
    backups: list[DiskImage] = field(factory=list, init=False)
    begun: Callable[[ApplicationMember], None] = field(default=lambda member: None)
    """Is told of applications that a verb adds."""
    operating: Operating = field(init=False)
    _cuts: dict[tuple[str, str], int] = field(factory=dict, init=False)
    _unfinished: int = field(default=0, init=False)
    """How many ends of faults are still to come."""
    _children: int = field(default=0, init=False)
    _mid_call: tuple[Member, int] | None = field(default=None, init=False)
    _on_call: Callable[[VirtualCall], None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        world = self.cluster.world
        self.operating = Operating(self.cluster, self.oracle, self.random)
        world.state_of = lambda name: state_of(self.cluster, name)
        self._on_call = world.clock.on_call
        world.clock.on_call = self._watch_call
        world.network.record(lambda path: path in (b"/post", b"/v2/events", b"/v2/append"), limit=60)

    # ------------------------------------------------------------------------------------------------ small things

    def _later(self, seconds: float, function: Callable[[], object]) -> None:
        """Do the rest of a fault, most often its end, some time later."""
        self._unfinished += 1

        def finish() -> None:
            self._unfinished -= 1
            function()

        self.cluster.world.clock.callLater(seconds, finish)

    def let_end(self) -> None:
        """Let what goes on come to its end, and what would begin later begin."""
        world = self.cluster.world
        world.run_until(lambda: not self._unfinished, LONGEST, "faults to end")
        world.advance(1.0)

    def _one(self, things: list[Any]) -> Any:
        return self.random.choice(things) if things else None

    def _note(self, verb: str, member: Member) -> None:
        self.cluster.world.note_verb(f"* {verb}", member.name)

    def _agent(self) -> AgentMember | None:
        agent: AgentMember | None = self._one([each for each in self.cluster.agents if each.up])
        return agent

    def _holder(self) -> AgentMember | ServerMember | None:
        """An agent, or at times the server."""
        server = self._server()
        return server if server is not None and server.up and self.random.random() < 0.3 else self._agent()

    def _server(self) -> ServerMember | None:
        """A server to be met by a fault."""
        return self.cluster.server

    def _down_time(self) -> float:
        return self.random.choice((0.05, 1.0, 3.0, 12.0)) * (0.5 + self.random.random())

    def _start(self, member: Member) -> None:
        member.start()
        if isinstance(member, ApplicationMember):
            self.oracle.begins(member)

    # ------------------------------------------------------------------------------------------------ applications

    def client_crash(self) -> None:
        """An application dies and comes back with an empty buffer and no instance."""
        member = self._one([each for each in self.cluster.applications if each.up])
        if member is not None:
            self._note("client_crash", member)
            self.oracle.dies(member)
            member.crash()
            self._later(self._down_time(), lambda: self._revive(member))

    def _revive(self, member: ApplicationMember) -> None:
        if not member.up:
            self._start(member)

    def fork(self) -> None:
        """A child of an application begins, under the same client id."""
        parent = self._one(self.cluster.applications)
        if self._children < 2:
            self._children += 1
            self._note("fork", parent)
            child = self.cluster.add_application(f"child-{self._children}", parent.agent, parent.client_id)
            self._start(child)
            self.begun(child)

    # ------------------------------------------------------------------------------------------------ agents

    def _crash_agent(self, member: AgentMember) -> None:
        member.crash(self.random.choice((None, True, False)))
        self._later(self._down_time(), member.start)

    def agent_crash(self) -> None:
        """An agent is killed; of what was not synced anything may be left."""
        member = self._agent()
        if member is not None:
            self._note("agent_crash", member)
            self._crash_agent(member)

    def agent_crash_at_step(self) -> None:
        """An agent is killed in the middle of what it does on its disk."""
        member = self._agent()
        if member is None or member.node.disk.on_step is not None:
            return
        left = self.random.randint(1, 12)
        disk = member.node.disk

        def step(_: str) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                disk.on_step = None
                if member.up and member.node.disk is disk:
                    self._note("agent_crash_at_step", member)
                    self._crash_agent(member)

        disk.on_step = step

    def agent_stop(self) -> None:
        """An agent is stopped in good order, and started again."""
        member = self._agent()
        if member is not None and member.node.process is not None and member.node.process.reactor.running:
            self._note("agent_stop", member)
            self._stop(member)

    def _stop(self, member: Member) -> None:
        process = member.node.process
        assert process is not None
        if not process.reactor.stopping:
            process.reactor.stop()  # `supervise` starts it again

    def fsync_fails(self) -> None:
        """The next sync of an agent's disk, or of its folder, fails."""
        member = self._agent()
        if member is not None:
            self._note("fsync_fails", member)
            for _ in range(self.random.choice((1, 1, 2))):
                member.node.disk.fail_next_sync(self.random.choice((None, None, ".")))

    def twin(self) -> None:
        """Another agent starts on a copy of the synced content of a disk, while the original goes on, and has clients
        of its own.
        """
        if len(self.cluster.agents) > self.cluster.agent_count:
            return
        original = self._one(self.cluster.agents)
        self._note("twin", original)
        self.oracle.causes["twin"] += 1
        twin = self.cluster.add_agent("twin-1", original.node.disk.copy("twin-1"))
        self._start(twin)
        application = self.cluster.add_application("twin-app-1", twin)
        self._start(application)
        self.begun(application)

    def disk_lost(self) -> None:
        """An agent's disk is lost; it starts with an empty one."""
        member = self._one(self.cluster.agents)
        self._note("disk_lost", member)
        self.oracle.loses_disk(member)
        member.crash()
        member.node.disk.lose()
        self._later(self._down_time(), member.start)

    # ------------------------------------------------------------------------------------------------ disks

    def disk_full(self) -> None:
        """A disk is full for some seconds."""
        member = self._holder()
        if member is not None:
            self._note("disk_full", member)
            member.node.disk.fill()
            self._later(1 + 10 * self.random.random(), lambda: member.node.disk.fill(False))

    def disk_read_only(self) -> None:
        """A disk takes no changes for some seconds."""
        member = self._holder()
        if member is not None:
            self._note("disk_read_only", member)
            member.node.disk.read_only()
            self._later(1 + 10 * self.random.random(), lambda: member.node.disk.read_only(False))

    # ------------------------------------------------------------------------------------------------ the server

    def server_crash(self) -> None:
        """A server is killed."""
        server = self._server()
        if server is not None and server.up:
            self._note("server_crash", server)
            server.crash()
            self._later(self._down_time(), server.start)

    def server_stop(self) -> None:
        """A server is stopped in good order, and started again."""
        server = self._server()
        if server is not None and server.up and server.node.process is not None and server.node.process.reactor.running:
            self._note("server_stop", server)
            self._stop(server)

    def answer_lost(self) -> None:
        """The server, or an agent, is killed when its disk or store has done something, and nobody heard of it."""
        if self._mid_call is None:
            member = self._holder()
            if member is not None:
                self._mid_call = member, self.random.randint(1, 10)

    def _watch_call(self, call: VirtualCall) -> None:
        assert self._on_call is not None
        self._on_call(call)
        if self._mid_call is not None and call.what() == "off_reactor":
            member, left = self._mid_call
            if member.node.process is not None and call.owner is member.node.process.reactor:
                self._mid_call = (member, left - 1) if left > 1 else None
                if left <= 1:
                    self.cluster.world.soon(lambda: self._kill_mid_call(member))

    def _kill_mid_call(self, member: Member) -> None:
        if member.up:
            self._note("answer_lost", member)
            member.crash()
            self._later(self._down_time(), member.start)

    def backup(self) -> None:
        """A backup of the server's disk is made. No fault by itself."""
        if self.cluster.server.ready:
            self.backups.append(self.cluster.server.node.disk.snapshot())
            del self.backups[:-4]

    def restore(self) -> None:
        """The store is restored from a backup, the agents' spools are not."""
        server = self.cluster.server
        if not self.backups:
            return
        backup = self.random.choice(self.backups)
        self._note("restore", server)
        server.crash()

        def put_back() -> None:
            if server.up:
                return
            self.oracle.restores(backup.databases[DATA][DATABASE])
            disk = server.node.disk
            now = disk.snapshot()
            disk.restore(DiskImage(now.files, {**now.databases, DATA: backup.databases[DATA]}))
            server.start()

        self._later(4.0, put_back)  # answers that were on their way are there by then

    # ------------------------------------------------------------------------------------------------ network, time

    def _pair(self) -> tuple[Member, Member]:
        if self.random.random() < 0.6:
            return self._one(self.cluster.agents), self.cluster.server
        application = self._one(self.cluster.applications)
        return application, application.agent

    def drop(self) -> None:
        """Connections between two hosts are reset."""
        a, b = self._pair()
        self._note("drop", b)
        self.cluster.world.network.drop_connection(a.name, b.name)

    def partition(self) -> None:
        """Two hosts cannot reach each other for some seconds."""
        a, b = self._pair()
        self._note("partition", b)
        seconds = self.random.choice((2.0, 8.0, 25.0)) * (0.5 + self.random.random())
        self._cut(a.name, b.name, seconds)

    def _cut(self, a: str, b: str, seconds: float) -> None:
        network, pair = self.cluster.world.network, (min(a, b), max(a, b))
        self._cuts[pair] = self._cuts.get(pair, 0) + 1
        network.partition(*pair)

        def mend() -> None:
            self._cuts[pair] -= 1
            if not self._cuts[pair]:
                network.heal(*pair)

        self._later(seconds, mend)

    def delay(self) -> None:
        """What two hosts say to each other takes longer for some seconds."""
        a, b = self._pair()
        self._note("delay", b)
        network = self.cluster.world.network
        network.delay(a.name, b.name, self.random.choice((0.3, 2.0, 6.0)))
        self._later(20 * self.random.random(), lambda: network.delay(a.name, b.name, 0.0))

    def redeliver(self) -> None:
        """A request that was sent before arrives again."""
        requests = [
            each
            for each in self.cluster.world.network.requests
            if each.path != b"/post" or b"Taba-Batch" in each.raw
        ]
        request = self._one(requests)
        if request is not None:
            self._note("redeliver", self.cluster.member(request.target))
            self.cluster.world.network.redeliver(request)

    def step_wall(self) -> None:
        """A wall clock steps by an hour or two."""
        member = self._one(list(self.cluster.members()))
        offset = self._one([each for each in (-HOUR, 0.0, HOUR) if each != member.node.wall_offset])
        self._note("step_wall", member)
        self.oracle.causes["clock"] += 1
        member.node.step_wall(offset - member.node.wall_offset)

    def pause(self) -> None:
        """A machine does nothing for a while, and does not notice."""
        member = self._one([each for each in self.cluster.members() if each.up])
        if member is None:
            return
        self._note("pause", member)
        world, seconds = self.cluster.world, self.random.choice((3.0, 15.0, 40.0))
        for host in world.network.hosts():
            self._cut(member.name, host, seconds)
        now = world.clock.seconds()
        for call in world.clock.calls_of(member.node.process.reactor):
            if call.getTime() < now + seconds:
                call.reset(seconds)


VERBS: dict[str, float] = {
    "client_crash": 1.0,
    "fork": 0.6,
    "agent_crash": 2.0,
    "agent_crash_at_step": 1.5,
    "agent_stop": 0.7,
    "fsync_fails": 1.2,
    "twin": 0.7,
    "disk_lost": 0.5,
    "disk_full": 1.0,
    "disk_read_only": 0.7,
    "server_crash": 1.2,
    "server_stop": 0.6,
    "answer_lost": 1.5,
    "restore": 0.8,
    "drop": 1.5,
    "partition": 1.5,
    "delay": 1.0,
    "redeliver": 2.0,
    "step_wall": 0.7,
    "pause": 0.7,
    "delete": 1.5,
    "undelete": 1.5,
    "upgrade": 0.5,
    "gc": 1.5,
    "flush_all": 0.3,
}
"""Verb -> how often it is drawn."""
