"""Whether every vbucket is with somebody: the promise of assignment, watched while a run goes on.

While nothing is wrong but that servers come, go and die, a vbucket is never without an owner for more than
`LONGEST_PAUSE` seconds, as long as a be is there that could take it. And whatever was wrong: once it has ended, every
vbucket has exactly one owner within `SETTLING` seconds, and is with the be that it prefers within `RETURNING`: the one
that rendezvous hashing names by the weights that all servers publish, which are those of their settings.
"""

from __future__ import annotations

from attrs import define, field

from taba.server.assignment import assigned
from taba.server.backend import Backend
from taba.server.membership import LONGEST_DECLINED, members_among
from taba.testing.members import ServerMember
from taba.testing.node import Process
from taba.testing.redis_cluster import RedisCluster
from tests.cluster.events import Violation

LONGEST_PAUSE = 3.0
SETTLING = 30.0
RETURNING = LONGEST_DECLINED + SETTLING
LOOK = 0.1
"""Virtual seconds between two looks."""


@define(eq=False)
class Liveness:
    """Watches who folds which vbucket."""

    cluster: RedisCluster
    strict: bool = False
    """Whether a pause that is too long is a Violation."""
    longest: float = field(default=0.0, init=False)
    """The longest pause of a vbucket while a be was there, in seconds."""
    doubled: int = field(default=0, init=False)
    """How often a vbucket was seen with several owners."""
    settled_after: float = field(default=0.0, init=False)
    """How long it took the last time until all vbuckets were where they belong."""
    shared_after: float = field(default=0.0, init=False)
    """How long it took the last time until all vbuckets were where weights want them."""
    _owned: dict[int, float] = field(factory=dict, init=False)
    """Vbucket -> when it was last seen with an owner."""
    _known: dict[str, tuple[Process, Backend]] = field(factory=dict, init=False)
    """Server -> its present life, and the be in it."""
    _ready: dict[str, float] = field(factory=dict, init=False)
    """Server -> since when it has been there."""

    def watch(self) -> None:
        """Look from now on."""
        now = self.cluster.world.clock.seconds()
        present = {each.name for each in self.cluster.servers if self._is_be(each)}
        self._ready = {name: self._ready.get(name, now) for name in sorted(present)}
        owners = self.owners()
        for vbucket in range(self.cluster.vbuckets):
            self.doubled += len(owners.get(vbucket, ())) > 1
            if owners.get(vbucket) or not present:
                self._owned[vbucket] = now
                continue
            pause = now - max(self._owned.get(vbucket, now), min(self._ready.values()))
            self.longest = max(self.longest, pause)
            if self.strict and pause > LONGEST_PAUSE:
                raise Violation(f"vbucket {vbucket} has been without an owner for {pause:.2f} s; {self.told()}")
        self.cluster.world.clock.callLater(LOOK, self.watch)

    def _is_be(self, member: ServerMember) -> bool:
        return member.ready and "be" in member.settings.roles

    def owners(self) -> dict[int, list[str]]:
        """Vbucket -> the servers that fold it."""
        found: dict[int, list[str]] = {}
        for member in self.cluster.servers:
            process = member.node.process
            if member.server is not None and process is not None:
                self._known[member.name] = process, member.server.server.backend
            known, backend = self._known.get(member.name, (None, None))
            if backend is not None and known is process:  # one that stops folds on until it has stopped
                for vbucket in backend.folding:
                    found.setdefault(vbucket, []).append(member.name)
        return found

    def told(self) -> str:
        """Who has what, in words."""
        owners = {vbucket: ", ".join(names) for vbucket, names in sorted(self.owners().items())}
        states = ", ".join(f"{each.name} {'there' if each.ready else 'not there'}" for each in self.cluster.servers)
        return f"owners {owners}; {states}"

    def check_assigned(self, limit: float = SETTLING) -> None:
        """Once all that was wrong has ended and all servers are there: every vbucket has one owner soon."""
        world, vbuckets = self.cluster.world, range(self.cluster.vbuckets)
        began = world.clock.seconds()

        def assigned() -> bool:
            owners = self.owners()
            return all(len(owners.get(vbucket, ())) == 1 for vbucket in vbuckets)

        if not world.clock.run_until(assigned, limit):
            raise Violation(f"after {limit:g} s of peace not every vbucket has one owner: {self.told()}")
        self.settled_after = max(self.settled_after, world.clock.seconds() - began)

    def check_shares(self, limit: float = RETURNING) -> None:
        """Once every vbucket has an owner: that is soon the one whom the published weights name, and these are as they
        were set.
        """
        world = self.cluster.world
        began = world.clock.seconds()
        while problem := self._misplaced():
            if world.clock.seconds() - began > limit:
                raise Violation(f"after {limit:g} s of peace {problem}; {self.told()}")
            world.advance(1.0)
        self.shared_after = max(self.shared_after, world.clock.seconds() - began)

    def _misplaced(self) -> str:
        """What is not as weights want it, in words; empty when all is."""
        servers = {each.name: each.server.server for each in self.cluster.servers if each.server is not None}
        members = {each.name: each for each in self.cluster.servers if self._is_be(each)}
        known_as = {name: server.publishing.member for name, server in servers.items()}
        wanted = {known_as[name]: each.settings.weight for name, each in members.items()}
        told = self.cluster.world.result_of(next(iter(servers.values())).publishing.members())
        weights = {name: each.weight for name, each in members_among(told, self.cluster.vbuckets).items()}
        if weights != wanted:
            return f"the weights are {weights}, not {wanted}"
        owners = {vbucket: [known_as[name] for name in names] for vbucket, names in self.owners().items()}
        right = assigned(range(self.cluster.vbuckets), weights)
        wrong = [vbucket for vbucket, name in right.items() if owners.get(vbucket) != [name]]
        return f"vbuckets {wrong} are not where weights {weights} want them" if wrong else ""
