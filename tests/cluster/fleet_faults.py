"""What happens to a fleet in a run on Redis: servers join, leave and come back, everything is started anew in turn, and
in some runs servers are to have shares of their own, which change.

None of these is a fault by itself: in a run with nothing else `Liveness` demands that every vbucket is always soon with
somebody.
"""

from __future__ import annotations

from random import Random

from attrs import define, evolve, field

from taba.testing.members import AgentMember, ServerMember
from tests.cluster.redis_faults import REDIS_VERBS
from tests.cluster.redis_move_faults import MoveFaults

MOST_SERVERS = 5
JOINING_ROLES = ("be", "be", "fe,be")
WEIGHTS = (0.25, 0.5, 1.0, 1.0, 2.0, 4.0)
"""WEIGHT of servers, in runs with weights."""
WEIGHT_VERBS = {"reweigh": 1.5}
"""Verb -> how often it is drawn, in runs with weights; the others have none of these."""


@define(eq=False)
class FleetFaults(MoveFaults):
    """The faults of one run on Redis, with a fleet that changes."""

    rolling: int = field(default=0, init=False)
    """How many members are still to be started anew."""
    weighing: Random | None = None
    """What draws weights, in runs with weights: all other draws are as they would be without."""
    reweighed: int = field(default=0, init=False)
    """How often a server was given another weight."""

    def _weight(self) -> float:
        return self.weighing.choice(WEIGHTS) if self.weighing is not None else 1.0

    def _is_settled(self, member: ServerMember | AgentMember) -> bool:
        """Whether a process runs that can be told to stop."""
        process = member.node.process
        return process is not None and process.reactor.running and not process.reactor.stopping

    def _other_be(self, server: ServerMember) -> bool:
        """Whether a be is left without this server."""
        others = [each for each in self.fleet.servers if each is not server and each.wanted]
        return any("be" in each.settings.roles for each in others)

    def server_join(self) -> None:
        """A server that nobody knew begins."""
        if len(self.fleet.servers) < MOST_SERVERS:
            name = f"server-{len(self.fleet.servers) + 1}"
            server = self.fleet.add_server(name, self._one(list(JOINING_ROLES)), self._weight())
            server.start()
            self._mark("server_join", server)

    def server_leave(self) -> None:
        """A server is stopped in good order, and is away for a while."""
        server = self._one([each for each in self.fleet.servers if each.wanted and self._is_settled(each)])
        if server is not None and self._other_be(server):
            self._mark("server_leave", server)
            server.wanted = False
            self._stop(server)
            self._later(self._seconds(3.0, 15.0, 40.0), server.start)

    def reweigh(self) -> None:
        """A server is given another WEIGHT: it takes it at once if it runs, else when it starts."""
        server = self._one([each for each in self.fleet.servers if self._has_weights(each)])
        if server is not None:
            self._mark("reweigh", server)
            self.reweighed += 1
            server.reload(evolve(server.settings, weight=self._weight()))

    def _has_weights(self, server: ServerMember) -> bool:
        """Whether its WEIGHT can be changed."""
        return "be" in server.settings.roles

    def rolling_restart(self) -> None:
        """All servers are stopped and started again, one after the other, and then the agents; or all are killed."""
        if self.rolling:
            return
        pause, kill = self._seconds(2.0, 4.0, 8.0), self.random.random() < 0.3
        members: list[ServerMember | AgentMember] = [*self.fleet.servers, *self.fleet.agents]
        self.rolling = len(members)
        for place, member in enumerate(members):
            self._later(place * pause, lambda member=member: self._start_anew(member, kill))  # type: ignore[misc]

    def _start_anew(self, member: ServerMember | AgentMember, kill: bool) -> None:
        self.rolling -= 1
        if not member.wanted or not self._is_settled(member):
            return
        self._mark("rolling_restart", member)
        if kill:
            member.crash()
            self._later(self._seconds(0.2, 1.0), member.start)
        else:
            self._stop(member)


FLEET_VERBS: dict[str, float] = {**REDIS_VERBS, "server_join": 1.0, "server_leave": 1.0, "rolling_restart": 1.0}
"""Verb -> how often it is drawn."""

CALM_VERBS = (
    "rolling_restart", "server_join", "server_leave", "server_crash", "server_stop", "agent_crash", "agent_stop",
    "client_crash", "redeliver", "gc", "delete", "undelete",
)  # fmt: skip
"""What a fleet has to live with every day: with nothing else, no vbucket may be without an owner for long."""
