"""The states of members that faults meet, for the table of a run."""

from __future__ import annotations

from typing import Any

from taba.agent.lane import LaneState
from taba.testing.cluster import MemoryCluster
from taba.testing.members import AgentMember, ApplicationMember, ServerMember


def agent_state(member: AgentMember) -> str:
    """In what state a fault meets an agent."""
    if not member.up:
        return "agent: down"
    agent = member.agent
    if agent is None or agent.intake is None or not member.ready:
        return "agent: starting"
    committer = agent.committer
    if committer.problem is not None:
        return "agent: failing disk"
    if committer.full:
        return "agent: full"
    if committer._turning:
        return "agent: commit under way"
    if any(lane.state is LaneState.IN_FLIGHT for lane in agent.lanes.each()):
        return "agent: batch in flight"
    return "agent: awaiting confirmation" if agent.lanes.totals().batches else "agent: idle"


def server_state(member: ServerMember) -> str:
    """In what state a fault meets the server."""
    if not member.up:
        return "server: down"
    server = member.server
    if server is None or not member.ready:
        return "server: starting"
    if any(folding.closed is not None for folding in server.server.backend.folding.values()):
        return "server: checkpoint under way"
    store: Any = server.server.store
    if any(end.entries for end in store._ends.values()):
        return "server: log not empty"
    return "server: idle"


def application_state(member: ApplicationMember) -> str:
    """In what state a fault meets an application."""
    if not member.up or member.service is None:
        return "application: down"
    status = member.client.get_status()
    if status.get("in_flight_events"):
        return "application: batch in flight"
    return "application: buffering" if status.get("buffered_events") else "application: idle"


def state_of(cluster: MemoryCluster, name: str) -> str:
    """In what state a fault meets a host."""
    try:
        member = cluster.member(name)
    except KeyError:
        return "other"
    if isinstance(member, ServerMember):
        return server_state(member)
    if isinstance(member, AgentMember):
        return agent_state(member)
    return application_state(member) if isinstance(member, ApplicationMember) else "other"
