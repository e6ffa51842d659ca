"""One run of the simulated cluster on Redis in which some servers and agents are of the previous release.

Which ones the seed draws. The verb `upgrade` starts one of them anew as the present release; when the run is healed the
others follow, one after the other and in any order, and all has to come to rest and to the same counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import define, field
from twisted.application.service import IService

from taba.testing.machine import running
from taba.testing.members import AgentMember, ServerMember
from taba.testing.node import Process
from tests.cluster.fleet_faults import FLEET_VERBS, FleetFaults
from tests.cluster.redis_quiet import free_the_dead
from tests.cluster.redis_run import RedisRun
from tests.cluster.release import Release, load, release_folder
from tests.cluster.run import REST_SECONDS, Result

MIXED_VERBS: dict[str, float] = {**FLEET_VERBS, "upgrade_host": 4.0}
"""Verb -> how often it is drawn."""


@define(eq=False)
class MixedFaults(FleetFaults):
    """The faults of a run with two releases."""

    release: Release = field(factory=lambda: load(release_folder()))
    old: list[ServerMember | AgentMember] = field(factory=list, init=False)
    """The members that are still of the previous release."""
    upgraded: int = field(default=0, init=False)
    _present: dict[str, Callable[[Process], IService]] = field(factory=dict, init=False)
    """Member -> what makes it of the present release."""

    def begin_mixed(self) -> None:
        """Let members be of the previous release: some of them, one at least."""
        members: list[ServerMember | AgentMember] = [*self.fleet.servers, *self.fleet.agents]
        drawn = [each for each in members if self.random.random() < 0.6] or [self._one(members)]
        for member in drawn:
            tap, make = ("server_tap", "make_server") if isinstance(member, ServerMember) else _AGENT
            settings = self.release.settings(member.settings)
            self._present[member.name] = member.make
            member.make = running(partial(getattr(self.release.module(tap), make), settings))
            self.old.append(member)

    def _has_weights(self, server: ServerMember) -> bool:
        """See `FleetFaults`; those of the previous release keep theirs until they are upgraded."""
        return super()._has_weights(server) and server not in self.old

    def upgrade_host(self) -> None:
        """A server or an agent of the previous release is stopped, or killed, and started as the present one."""
        member = self._one(self.old)
        if member is not None:
            self._mark("upgrade_host", member)
            self._become_present(member)
            if self.random.random() < 0.5 or not self._is_settled(member):
                member.restart()
            else:
                self._stop(member)  # `supervise` starts it again

    def _become_present(self, member: ServerMember | AgentMember) -> None:
        self.old.remove(member)
        self.upgraded += 1
        member.make = self._present[member.name]

    def upgrade_all(self) -> None:
        """Upgrade the members that are left, one after the other."""
        world = self.fleet.world
        self.random.shuffle(self.old)
        for member in list(self.old):
            self._become_present(member)
            if member.up:
                member.stop()
            member.start()
            world.run_until(lambda member=member: member.ready, REST_SECONDS, f"{member.name} to be there")  # type: ignore[misc]


_AGENT = ("agent_tap", "make_agent")


@define(eq=False)
class MixedRun(RedisRun):
    """One run."""

    faults: MixedFaults = field(init=False)

    def _build(self) -> None:
        self.known_verbs = MIXED_VERBS
        super()._build()
        self.faults.begin_mixed()

    def _make_faults(self) -> MixedFaults:
        return MixedFaults(self.cluster, self.oracle, self.random, weighing=self.weighing)

    def _heal(self) -> None:
        super()._heal()
        self.faults.upgrade_all()
        self.liveness.check_assigned()
        self.liveness.check_shares()

    def _check_quiet(self) -> None:
        super()._check_quiet()
        self.oracle.notes = {**self.oracle.notes, "upgraded": self.faults.upgraded}


def run_mixed_seed(seed: int, keep_trace: bool = False) -> Result:
    """Run one seed."""
    result = MixedRun(seed, keep_trace=keep_trace).go()
    free_the_dead()
    return result
