"""Which Types an agent takes: its own, those that its servers fold, and what it remembers of these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from taba import native
from taba.agent.endpoint import EndpointDown, IEndpoint
from taba.agent.intake import Receipt
from taba.agent.service import Agent
from taba.agent.types import ASK_SECONDS, MAX_LEARNED, KnownTypes, TypesTaken
from taba.handlers.registry import builtin
from taba.native import ScratchSummary
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology
from tests.agent.agent_case import WALL, AgentCase, Away

OWN = builtin().kinds()
CLUSTER = "c" * 32


class KnownTypesTests(SynchronousTestCase):
    """What is known from what was told."""

    def known(self, servers: int = 2, remembered: Mapping[str, int] | None = None) -> KnownTypes:
        """An agent with the built-in Types."""
        return KnownTypes(OWN, servers, remembered or {})

    def test_own_types(self) -> None:
        """Nobody has to tell what the agent has Handlers of, and nobody can change it."""
        known = self.known()
        self.assertEqual(known.kinds(), OWN)
        self.assertFalse(known.heard("a", OWN, dict.fromkeys(OWN, native.RAW)))
        self.assertEqual(known.kinds(), OWN)

    def test_types_of_any_server(self) -> None:
        """A Type is taken raw when one server folds it, whatever the others know."""
        known = self.known()
        self.assertTrue(known.heard("a", [*OWN, "Distinct"], {}))
        self.assertFalse(known.heard("b", OWN, {}))
        self.assertEqual(known.learned(), {"Distinct": native.RAW})
        self.assertEqual(known.kinds()["Distinct"], native.RAW)

    def test_shapes(self) -> None:
        """A server's word on the payloads holds, unless another one contradicts."""
        known = self.known()
        known.heard("a", ["Level", "Until"], {"Level": native.RAW_NUMBER, "Until": native.RAW_EXPIRING})
        self.assertEqual(known.learned(), {"Level": native.RAW_NUMBER, "Until": native.RAW_EXPIRING})
        self.assertTrue(known.heard("b", ["Level"], {"Level": native.RAW}))
        self.assertEqual(known.learned(), {"Level": native.RAW, "Until": native.RAW_EXPIRING})

    def test_partials_that_cannot_be_made(self) -> None:
        """A newer server's Type with Partials of its own kind is not taken: nothing here could make them."""
        known = self.known()
        self.assertFalse(known.heard("a", ["New", "Newer"], {"New": native.PERCENTILE_GROUP, "Newer": 77}))

    def test_operations_are_never_learned(self) -> None:
        """What carries Taba's own operations no sender may feed; neither is a name taken that no event can carry."""
        known = self.known(remembered={"taba.delete": 0})
        self.assertFalse(known.heard("a", ["taba.delete", "taba.x", "two words", ""], {}))
        self.assertEqual(known.learned(), {})

    def test_remembered_until_all_have_told(self) -> None:
        """What an earlier life learned counts until every server was heard in this one."""
        known = self.known(remembered={"Distinct": native.RAW, "Level": native.RAW_NUMBER})
        self.assertEqual(set(known.learned()), {"Distinct", "Level"})
        self.assertFalse(known.heard("a", ["Distinct"], {}))
        self.assertEqual(known.learned()["Level"], native.RAW_NUMBER)
        self.assertTrue(known.heard("b", OWN, {}))
        self.assertEqual(known.learned(), {"Distinct": native.RAW})

    def test_number_of_types_is_bounded(self) -> None:
        """No server can fill the agent's memory with names."""
        known = self.known()
        known.heard("a", [f"T{number}" for number in range(MAX_LEARNED + 5)], {})
        self.assertEqual(len(known.learned()), MAX_LEARNED)


@implementer(IEndpoint)
class Server:
    """A server that tells which Types it folds, while it is there, and takes no batch."""

    def __init__(self, name: str = "a", *types: str) -> None:
        self.name = name
        self.types = types
        self.cluster = CLUSTER
        self.there = True
        self.asked = 0
        self.waiting: Deferred[Topology] | None = None

    def topology(self) -> Deferred[Topology]:
        """Now, or when `waiting` fires."""
        self.asked += 1
        if self.waiting is not None:
            return self.waiting
        if not self.there:
            return fail(EndpointDown("away"))
        return succeed(Topology(self.cluster, 4, types=(*OWN, *self.types), durability="memory", time=WALL))

    def append(self, request: AppendRequest) -> Deferred[AppendAnswer]:
        """Never."""
        return fail(EndpointDown("away"))


class OtherServersTests(SynchronousTestCase):
    """When servers come and go."""

    def test_what_a_gone_server_said(self) -> None:
        """It counts until all that are there now have told."""
        known = KnownTypes({}, 2)
        known.heard("a", ["Distinct"], {})
        known.heard("b", [], {})
        known.use(["b", "c"])
        self.assertEqual(list(known.learned()), ["Distinct"])
        known.heard("c", [], {})
        self.assertEqual(list(known.learned()), [])

    def test_late_word_of_a_gone_server(self) -> None:
        """What a server says when it is none any more is not heard."""
        gone, stays = Server("a", "Distinct"), Server("b")
        waiting: Deferred[Topology] = Deferred()
        gone.waiting = waiting
        changed: list[None] = []
        taken = TypesTaken(OWN, [gone, stays], Clock(), lambda: None, lambda: changed.append(None))
        taken.endpoints[0].topology()
        taken.use([stays])
        waiting.callback(Topology("c" * 32, 4, types=("Distinct",), durability="memory", time=WALL))
        self.assertEqual((changed, taken.known.learned(), taken.known.servers), ([], {}, 1))


class AgentTypesTests(AgentCase):
    """An agent in front of servers that learn of Types."""

    def make(self, endpoint: Any, **settings: Any) -> Agent:
        """With every Type that comes with Taba, in front of one or several servers."""
        made = super().make(Away(), **settings)
        endpoints = endpoint if isinstance(endpoint, list) else [endpoint]
        return Agent(made.settings, self.process, OWN, endpoints)

    def send(self, type: str, payload: str = "1") -> tuple[ScratchSummary, Receipt]:
        """One event of a Type: what became of it."""
        scratch = self.agent.begin()
        scratch.feed(f'1\n\nclient\n\nt\n["{type}", {self.wall():.3f}, "{payload}"]\n'.encode())
        scratch.finish()
        return scratch.summary(), self.agent.apply(scratch, None, {})

    def taken(self, type: str, payload: str = "1") -> bool:
        """Whether one event of a Type is accepted."""
        return self.send(type, payload)[0].accepted == 1

    def test_custom_types_of_the_servers(self) -> None:
        """A Type that the servers fold is taken once they were met; another one is refused at once, with its line."""
        self.agent = self.start(Server("a", "Distinct"))
        self.pass_time(0.1)
        self.assertTrue(self.taken("Distinct"))
        self.assertIn("learned_types: Distinct\n", self.agent.text())
        summary, _ = self.send("Unheard")
        self.assertEqual((summary.accepted, summary.refused, list(summary.samples)), (0, {"type": 1}, [(6, "type")]))
        self.stop()

    def test_new_type_is_learned_when_it_is_needed(self) -> None:
        """A server that gets a new Type is asked when the first event of it comes, not more often than all 10 s."""
        server = Server("a")
        self.agent = self.start(server)
        self.pass_time(0.1)
        self.assertFalse(self.taken("Distinct"))
        self.assertEqual(server.asked, 2)
        server.types = ("Distinct",)
        for _ in range(3):
            self.assertFalse(self.taken("Distinct"))
        self.assertEqual(server.asked, 2)
        self.pass_time(5 * ASK_SECONDS)
        self.assertEqual(server.asked, 2)  # nobody polls
        self.assertFalse(self.taken("Distinct"))
        self.assertTrue(self.taken("Distinct"))
        self.assertEqual(server.asked, 3)
        self.stop()

    def test_one_server_of_several(self) -> None:
        """While a fleet is upgraded, a Type is taken as soon as any server folds it."""
        servers = [Server("a"), Server("b")]
        self.agent = self.start(servers)
        self.pass_time(1)
        servers[1].types = ("Distinct",)
        self.taken("Distinct")
        self.assertTrue(self.taken("Distinct"))
        self.stop()

    def test_remembered_over_a_restart(self) -> None:
        """After a kill, with no server there, what was learned is taken; what is new to all is not."""
        server = Server("a", "Distinct")
        self.agent = self.start(server)
        self.pass_time(1)
        self.crash()
        server.there = False
        self.agent = self.start(server)
        self.assertTrue(self.taken("Distinct"))
        self.assertFalse(self.taken("Other"))
        self.pass_time(1)
        self.assertTrue(self.taken("Distinct"))
        self.stop()
        self.agent = self.start(server)
        self.assertTrue(self.taken("Distinct"))
        self.stop()

    def test_learned_late_and_remembered(self) -> None:
        """What was learned long after the start is on the disk at once, too."""
        server = Server("a")
        self.agent = self.start(server)
        self.pass_time(1)
        server.types = ("Distinct",)
        self.assertFalse(self.taken("Distinct"))
        self.pass_time(0.2)
        self.crash()
        server.there = False
        self.agent = self.start(server)
        self.assertTrue(self.taken("Distinct"))
        self.stop()

    def test_forgotten_when_no_server_folds_it_any_more(self) -> None:
        """When every server has said that it does not know a Type, its events are refused where they come in."""
        server = Server("a", "Distinct")
        self.agent = self.start(server)
        self.pass_time(1)
        server.types = ()
        self.stop()
        self.agent = self.start(server)
        self.pass_time(1)
        self.assertFalse(self.taken("Distinct"))
        self.stop()

    def test_shape_of_payloads(self) -> None:
        """Where a server says what payloads a Type takes, others are refused alone, as values."""
        server = Server("a", "Level")
        self.agent = self.start(server)
        self.agent.types.known.heard("a", ["Level"], {"Level": native.RAW_NUMBER})
        self.agent.committer.intake.kinds = self.agent.types.known.kinds()
        summary, _ = self.send("Level", '\\"x\\"')
        self.assertEqual(summary.refused, {"value": 1})
        self.assertTrue(self.taken("Level"))
        self.stop()

    def test_strangers_tell_nothing(self) -> None:
        """The Types of another cluster's server are not learned."""
        servers = [Server("a"), Server("b", "Distinct")]
        servers[1].cluster = "d" * 32
        self.agent = self.start(servers[:1])
        self.pass_time(1)
        self.stop()
        self.agent = self.start(servers)
        self.pass_time(1)
        self.taken("Distinct")
        self.assertFalse(self.taken("Distinct"))
        self.stop()

    def test_stop_while_a_server_is_asked(self) -> None:
        """An agent that stops does not wait for a server that is asked for its Types."""
        server = Server("a")
        self.agent = self.start(server)
        self.pass_time(1)
        server.waiting = Deferred()
        self.taken("Distinct")
        self.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(server.waiting.result)

    def test_refused_in_the_account(self) -> None:
        """What was refused for its Type, and what its shape does not allow, is received and refused, by reason."""
        self.agent = self.start(Server("a", "Distinct"))
        self.pass_time(0.1)
        for type, payload in (("Distinct", "1"), ("Other", "1"), ("ExpiryGauge", "1"), ("ExpiryGauge", "[1, 2]")):
            self.send(type, payload)
        self.pass_time(0.5)
        ledger = self.agent.ledger()
        self.assertEqual(ledger, {"received": 4, "refused.type": 1, "refused.value": 1, "pending": 2})
        self.stop()

    def test_overheard_servers_are_servers(self) -> None:
        """What stands between forwarder and server is an IEndpoint, too."""
        self.agent = self.start(Server("a"))
        for endpoint in self.agent.types.endpoints:
            self.assertTrue(verifyObject(IEndpoint, endpoint))
            self.assertEqual(endpoint.name, "a")
        self.stop()
