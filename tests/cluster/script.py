"""Short words for schedules by hand over the simulated cluster."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import define, field

from taba.agent.service import Agent
from taba.store.transactions import DATABASE
from taba.testing.cluster import MemoryCluster
from taba.testing.disk import DiskImage, MemoryDisk
from taba.testing.members import DATA, AgentMember, ApplicationMember, Member
from taba.testing.redelivery import RecordedRequest
from tests.cluster.events import EventId, StoreView, view_store
from tests.cluster.oracle import Fate, Oracle

POSTS = (b"/post", b"/v2/events")
"""Where applications send their events."""
_OPENING = re.compile(rb"(?i)taba-batch: 0\r\n|\r\n\r\n....[{].*\"batch\": ?0[,}]", re.DOTALL)
"""What opens an instance, in either protocol."""
LIMIT = 60.0
"""Virtual seconds within which a step of a schedule is done."""


@define(eq=False)
class Script:
    """A cluster of two agents with an application each, started, and its recount."""

    connected: bool = True
    """Whether agents reach the server from the beginning."""
    cluster: MemoryCluster = field(init=False)
    oracle: Oracle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._build()
        self.world.network.record(lambda path: path in (*POSTS, b"/v2/append"))
        if not self.connected:
            for agent in self.cluster.agents:
                self.cut(agent)
        self.cluster.start()
        for application in self.cluster.applications:
            self.oracle.begins(application)
        self.agent, self.other = self.cluster.agents
        self.application, self.other_application = self.cluster.applications
        self.world.advance(1.0)

    def _build(self) -> None:
        """Make cluster and recount."""
        self.cluster = MemoryCluster(seed=11, application_count=2)
        self.oracle = Oracle(self.cluster)

    agent: AgentMember = field(init=False)
    other: AgentMember = field(init=False)
    application: ApplicationMember = field(init=False)
    other_application: ApplicationMember = field(init=False)

    def close(self) -> None:
        """Free everything."""
        self.world.close()

    @property
    def world(self):  # type: ignore[no-untyped-def]
        """The world of the cluster."""
        return self.cluster.world

    def until(self, predicate: Callable[[], object], what: str) -> None:
        """Let time pass until something is so."""
        self.world.run_until(predicate, LIMIT, what)

    # ---------------------------------------------------------------------------------------------------- events

    def record(self, application: ApplicationMember | None = None) -> EventId:
        """An application records an event."""
        member = application or self.application
        n = self.oracle.numbers[member.client_id, "c"]
        self.oracle.record(member, "c")
        return EventId(member.client_id, "c", n)

    def give(self, application: ApplicationMember | None = None) -> EventId:
        """An application records an event and gets its agent's ok."""
        event = self.record(application)
        self.until(lambda: self.oracle.fates[event] is Fate.ACKED, f"{event} to be acknowledged")
        return event

    def posts(self) -> list[RecordedRequest]:
        """The batches with events that applications sent so far, oldest first."""
        return [each for each in self.world.network.requests if each.path in POSTS and not _OPENING.search(each.raw)]

    def appends(self) -> list[RecordedRequest]:
        """The requests that agents sent to the server so far, oldest first."""
        return [each for each in self.world.network.requests if each.path == b"/v2/append"]

    def redeliver(self, request: RecordedRequest) -> int:
        """A request that was sent before arrives again; the status of its answer."""
        again = self.world.network.redeliver(request)
        self.until(lambda: again.status is not None, "the answer to a request that was delivered again")
        return int(again.status or 0)

    # ---------------------------------------------------------------------------------------------------- agents

    def running(self, member: AgentMember | None = None) -> Agent:
        """The agent of a member, which runs."""
        agent = (member or self.agent).agent
        assert agent is not None
        return agent

    def cut(self, member: AgentMember) -> None:
        """An agent cannot reach the servers."""
        for server in self.cluster.servers:
            self.world.network.partition(member.name, server.name)

    def join(self, member: AgentMember) -> None:
        """It reaches them again."""
        for server in self.cluster.servers:
            self.world.network.heal(member.name, server.name)

    def until_sent(self, member: AgentMember | None = None) -> None:
        """Until the log is known to have all that an agent holds."""
        self.until(lambda: self.sent(member), "the agent's batches to be in the log")

    def sent(self, member: AgentMember | None = None) -> bool:
        """Whether an agent holds batches, and was told of all that the log has them."""
        agent = self.running(member)
        sealed = not agent.committer._turning and not agent.committer.sealing.waiting
        known = all(lane.unsent == 0 for lane in agent.lanes.each())
        return bool(agent.lanes.totals().batches) and sealed and known

    def until_confirmed(self, member: AgentMember | None = None) -> None:
        """Until an agent holds nothing any more."""
        agent = self.running(member)

        def confirmed() -> bool:
            return not agent.committer._turning and not agent.ledger()["pending"]

        self.until(confirmed, "the agent's batches to be confirmed")

    def copy_disk(self, member: AgentMember | None = None) -> MemoryDisk:
        """A copy of what is synced on an agent's disk."""
        self.oracle.causes["twin"] += 1
        return (member or self.agent).node.disk.copy("twin-1")

    def start_twin(self, disk: MemoryDisk) -> AgentMember:
        """An agent starts on such a copy."""
        twin = self.cluster.add_agent("twin-1", disk)
        twin.node.wall_offset = self.agent.node.wall_offset
        twin.start()
        self.until(lambda: twin.ready, "the twin to listen")
        return twin

    def lose_disk(self, member: AgentMember | None = None) -> None:
        """An agent dies, its disk is lost, and it starts with an empty one."""
        agent = member or self.agent
        self.oracle.loses_disk(agent)
        agent.crash()
        agent.node.disk.lose()
        agent.start()
        self.until(lambda: agent.ready, "the agent to listen")

    def restart(self, member: AgentMember | None = None) -> None:
        """An agent is killed and started again."""
        agent = member or self.agent
        agent.restart()
        self.until(lambda: agent.ready, "the agent to listen")

    def freeze(self, seconds: float, member: Member | None = None) -> None:
        """What an agent, or another member, was about to do comes later; what reaches it from now on it does in time.
        """
        process = (member or self.agent).node.process
        assert process is not None
        for call in self.world.clock.calls_of(process.reactor):
            if call.getTime() < self.world.clock.seconds() + seconds:
                call.reset(seconds)

    # ---------------------------------------------------------------------------------------------------- the store

    def backup(self) -> DiskImage:
        """A backup of the store."""
        image: DiskImage = self.cluster.server.node.disk.snapshot()
        return image

    def restore(self, backup: DiskImage) -> None:
        """The store goes back to a backup, under a new lineage, and the agents' clients hear of it by answers only."""
        server = self.cluster.server
        server.crash()
        self.oracle.restores(backup.databases[DATA][DATABASE])
        disk = server.node.disk
        now = disk.snapshot()
        disk.restore(DiskImage(now.files, {**now.databases, DATA: backup.databases[DATA]}))
        server.start()
        self.until(lambda: server.ready, "the server to listen")

    def view(self) -> StoreView:
        """What the store has."""
        view = view_store(self.cluster.server.node.disk)
        assert view is not None
        return view

    def folded(self) -> dict[EventId, int]:
        """How often each event is in the States."""
        return {event: times for event, times in self.oracle.folded(self.view()).items() if times}

    def end(self) -> dict[EventId, int]:
        """All faults end, all comes to rest, the recount agrees; how often each event was folded."""
        self.cluster.heal()
        self.cluster.settle()
        self.oracle.check_at_rest()
        self.world.check_quiet()
        return self.folded()
