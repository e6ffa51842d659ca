"""Schedules by hand over a fleet on Redis that changes: who takes, hands over, stops and dies when, at what cost.

tests/mutants switches the rules off.
"""

from __future__ import annotations

from attrs import define, evolve, field

from taba.server.observation import Observer
from taba.server_tap import EmbeddedServer, make_server
from taba.testing.machine import running
from taba.testing.members import ServerMember
from tests.cluster.liveness import LONGEST_PAUSE, Liveness
from tests.cluster.redis_script import RedisScript
from tests.cluster.test_redis_scripts import RedisScriptCase

JOINER = "server-4"
"""Beside `server-1` this one is preferred by the vbucket of all counters."""


@define(eq=False)
class Fleet:
    """A script, and the figures of its servers, those that have stopped among them."""

    script: RedisScript
    liveness: Liveness = field(init=False)
    observers: list[Observer] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.liveness = Liveness(self.script.fleet)
        self.liveness.watch()
        for member in self.script.fleet.servers:
            self.look_at(member)

    def look_at(self, member: ServerMember) -> EmbeddedServer:
        """Count what a server that runs does."""
        server = member.server
        assert server is not None
        self.observers.append(server.server.observer)
        return server

    def join(self, name: str = JOINER) -> ServerMember:
        """A server begins that nobody knew."""
        member = self.script.fleet.add_server(name)
        member.start()
        self.script.until(lambda: member.ready, f"{name} to be there")
        self.look_at(member)
        return member

    @property
    def taken(self) -> int:
        """How many batches all servers have taken from logs, those twice that two have taken."""
        return sum(each.measures.taken_batches for each in self.observers)

    @property
    def handed_over(self) -> int:
        """How many vbuckets all servers have handed over."""
        return sum(each.measures.handed_over for each in self.observers)

    @property
    def appended(self) -> int:
        """How many batches all logs have had."""
        s = self.script
        return sum(s.logged_of(vbucket) for vbucket in range(s.fleet.vbuckets))


class AssignmentTests(RedisScriptCase):
    """Servers that come and go, one at a time, under load."""

    def fleet(self, servers: int, checkpoint_seconds: float = 5.0) -> tuple[RedisScript, Fleet]:
        """Servers that write rarely, so that there is always something folded and not written."""
        s = self.script(server_count=servers, checkpoint_seconds=checkpoint_seconds)
        s.world.advance(5.0)
        return s, Fleet(s)

    def load(self, s: RedisScript, seconds: int) -> None:
        """Let both applications record something every half second."""
        for _ in range(2 * seconds):
            s.record()
            s.record(s.other_application)
            s.world.advance(0.5)

    def owner_of(self, s: RedisScript) -> str | None:
        """The name of the server that folds the vbucket of all counters."""
        owner = s.owner()
        return owner.name if owner is not None else None

    def end(self, s: RedisScript) -> None:
        """Every event is counted once."""
        self.assertEqual(set(s.end().values()), {1})

    def test_joiner_goes_on_where_others_were(self) -> None:
        """A server joins: it gets its share, nobody else has that any more, and no batch is folded a second time, for
        what was folded was written before.
        """
        s, fleet = self.fleet(1)
        self.load(s, 4)
        joiner = fleet.join()
        self.load(s, 10)
        self.assertEqual(self.owner_of(s), joiner.name)
        self.assertEqual(fleet.liveness.doubled, 0)
        s.until_confirmed()
        self.assertEqual(fleet.taken, fleet.appended)
        self.assertLess(fleet.liveness.longest, 1.5)
        self.end(s)

    def test_joiner_of_the_same_name(self) -> None:
        """A server joins whose host name and port another one has, as a copy of a container: it has a share all the
        same, and every event is counted once.
        """
        s, fleet = self.fleet(1, checkpoint_seconds=0.5)
        self.load(s, 2)
        first, joiner = s.fleet.server, s.fleet.add_server(JOINER)

        joiner.make = running(lambda machine: make_server(joiner.settings, evolve(machine, host=first.name)))
        joiner.start()
        s.until(lambda: joiner.ready, "it to be there")
        self.load(s, 12)
        members = [fleet.look_at(each).server for each in (first, joiner)]
        name = f"taba_server.{first.name}.8300"
        self.assertEqual([each.publishing.member for each in members], [name, f"{name}.2"])
        held = [len(each.backend.folding) for each in members]
        self.assertEqual(sum(held), s.fleet.vbuckets)
        self.assertGreater(min(held), 0)
        self.assertLess(fleet.liveness.longest, 2.0)
        self.end(s)

    def test_who_stops_leaves_all_written(self) -> None:
        """A server is stopped: another one has its vbuckets in a moment, and folds nothing a second time."""
        s, fleet = self.fleet(2, checkpoint_seconds=30.0)
        self.load(s, 4)
        owner = s.owner()
        assert owner is not None
        fleet.script.fleet.world.network.partition(s.agent.name, owner.name)
        owner.wanted = False
        owner.node.stop()
        self.load(s, 4)
        self.assertNotIn(self.owner_of(s), (None, owner.name))
        self.assertLess(fleet.liveness.longest, 1.2)
        s.until_confirmed()
        self.assertEqual(fleet.taken, fleet.appended)
        owner.start()
        self.end(s)

    def test_takeover_after_a_kill(self) -> None:
        """A server is killed: others have its vbuckets within three seconds."""
        s, fleet = self.fleet(3, checkpoint_seconds=0.5)
        self.load(s, 2)
        owner = s.owner()
        assert owner is not None
        owner.crash()
        self.load(s, 6)
        self.assertNotIn(self.owner_of(s), (None, owner.name))
        self.assertLessEqual(fleet.liveness.longest, LONGEST_PAUSE)
        self.assertGreater(fleet.liveness.longest, 1.0)
        owner.start()
        self.end(s)

    def test_shares_follow_weights(self) -> None:
        """The WEIGHT of a server is read again: everybody hears of it, what has to move does, and no batch is folded a
        second time.
        """
        s, fleet = self.fleet(3)
        self.load(s, 4)
        before, handed_over = fleet.liveness.owners(), fleet.handed_over
        heavy = s.fleet.servers[2]
        heavy.reload(evolve(heavy.settings, weight=100.0))
        self.load(s, 8)
        fleet.liveness.check_shares(0.0)
        owners = fleet.liveness.owners()
        self.assertEqual(set(map(tuple, owners.values())), {(heavy.name,)})
        self.assertEqual(fleet.handed_over - handed_over, sum(names != [heavy.name] for names in before.values()))
        self.assertGreater(fleet.handed_over, handed_over)
        s.until_confirmed()
        self.assertEqual(fleet.taken, fleet.appended)
        self.assertLess(fleet.liveness.longest, 1.5)
        self.end(s)

    def test_nothing_moves_without_cause(self) -> None:
        """Nobody joins or leaves: for half a minute nothing is handed over, and nobody is left waiting."""
        s, fleet = self.fleet(3, checkpoint_seconds=0.5)
        s.world.advance(10.0)
        before = fleet.handed_over
        self.load(s, 30)
        self.assertEqual(fleet.handed_over, before)
        self.assertLess(fleet.liveness.longest, 0.2)
        self.end(s)

    def test_rolling_restart(self) -> None:
        """All servers are started anew, one after the other, each as soon as the one before is back."""
        s, fleet = self.fleet(3, checkpoint_seconds=0.5)
        for member in list(s.fleet.servers):
            member.node.stop()
            member.start()
            s.until(lambda member=member: member.ready, "it to be back")  # type: ignore[misc]
            self.load(s, 3)
        self.assertLessEqual(fleet.liveness.longest, LONGEST_PAUSE)
        self.end(s)
