"""The forwarder between lanes and servers: what goes where, what silence means, and that nothing ticks while nothing
is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from taba.agent.endpoint import EndpointDown, IEndpoint, WrongCluster
from taba.agent.forwarder import Forwarder
from taba.agent.held import Action, Confirmed, Held
from taba.agent.lanes import Lanes
from taba.agent.records import LaneKey
from taba.interfaces import Append
from taba.local_endpoint import LocalEndpoint
from taba.store.memory import MemoryStore
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology

CLUSTER, OTHER = "c" * 32, "d" * 32
INCARNATION = "1" * 32
WALL = 1_700_000_000.0
CONFIRM = 5.0


@implementer(IEndpoint)
class FakeServer:
    """A server over a memory store that can be silent, broken, or of another cluster."""

    def __init__(self, name: str, clock: Clock, store: MemoryStore, cluster: str = CLUSTER) -> None:
        self.name = name
        self.clock = clock
        self.store = store
        self.cluster = cluster
        self.requests: list[AppendRequest] = []
        self.waiting: list[tuple[Deferred[AppendAnswer], AppendAnswer]] = []
        self.silent = self.down = self.deaf_to_answers = False
        self.passed_over: set[int] = set()
        """Vbuckets that are neither looked at nor mentioned in answers."""
        self.flush = 0.0

    def topology(self) -> Deferred[Topology]:
        """What the server says of its cluster."""
        if self.down:
            return self._never("down")
        return succeed(Topology(self.cluster, 4, durability="memory", time=self.time()))

    def append(self, request: AppendRequest) -> Deferred[AppendAnswer]:
        """Append to the store, unless told otherwise."""
        self.requests.append(request)
        if self.down:
            return self._never("down")
        if request.cluster != self.cluster:
            return _failed(WrongCluster(self.name, self.cluster))
        batches = [each for each in request.batches if each.vbucket not in self.passed_over]
        answer: Deferred[AppendAnswer] = self.store.append(batches).addCallback(
            lambda outcomes: AppendAnswer(self.cluster, self.time(), self.flush, tuple(outcomes))
        )
        if self.deaf_to_answers:
            return self._never("the answer was lost")
        if self.silent:
            held: Deferred[AppendAnswer] = Deferred()

            def hold(each: AppendAnswer) -> None:
                self.waiting.append((held, each))

            answer.addCallback(hold)
            return held
        return answer

    def time(self) -> float:
        """The server's wall clock is 100 s ahead."""
        return WALL + 100.0 + self.clock.seconds()

    def _never(self, reason: str) -> Deferred[Any]:
        return _failed(EndpointDown(reason))


def _failed(problem: Exception) -> Deferred[Any]:
    failed: Deferred[Any] = Deferred()
    failed.errback(problem)
    return failed


class ForwarderTests(SynchronousTestCase):
    """One agent's forwarder, a virtual clock, and servers that share a store."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1.0)
        numbers = iter(range(1, 1000))
        self.store = MemoryStore(4, self.clock, lambda: WALL, lambda: f"{next(numbers):032x}")
        self.successResultOf(self.store.startService())
        self.lanes = Lanes(CONFIRM)
        self.actions: list[Action] = []
        self.joined: list[Topology] = []
        self.bodies: dict[tuple[LaneKey, int], bytes | None] = {}
        self.given: dict[int, int] = {}

    def make(self, *servers: FakeServer, per_endpoint: int = 1) -> Forwarder:
        """A running forwarder."""
        forwarder = Forwarder(
            self.lanes,
            servers,
            self.read,
            self.actions.extend,
            self.joined.append,
            self.clock,
            lambda: WALL + self.clock.seconds(),
            Random(7).random,
            requests_per_endpoint=per_endpoint,
        )
        forwarder.startService()
        self.addCleanup(self.stop, forwarder, servers)
        return forwarder

    def stop(self, forwarder: Forwarder, servers: Sequence[FakeServer]) -> None:
        """Stop a forwarder, answering what it still waits for."""
        if forwarder.running:
            stopped = forwarder.stopService()
            for server in servers:
                for held, answer in server.waiting:
                    held.callback(answer)
            self.successResultOf(stopped)

    def server(self, name: str = "a", cluster: str = CLUSTER) -> FakeServer:
        """A server."""
        return FakeServer(name, self.clock, self.store, cluster)

    def read(self, wanted: Sequence[tuple[LaneKey, Held]]) -> Deferred[list[bytes | None]]:
        """The bodies of batches."""
        return succeed([self.bodies[key, held.seq] for key, held in wanted])

    def seal(self, forwarder: Forwarder, vbucket: int = 0, body: bytes | None = b"body") -> None:
        """A new batch of a lane."""
        seq = self.given[vbucket] = self.given.get(vbucket, 0) + 1
        held = Held(seq, seq - 1, (seq - 1) * 10, 10, WALL, 77 + seq, len(body or b""), None)
        self.bodies[(INCARNATION, vbucket), seq] = body
        self.lanes.add(INCARNATION, vbucket, held)
        forwarder.wake()

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)

    def logged(self, vbucket: int = 0) -> list[bytes]:
        """What the log of a vbucket has."""
        return [each.body for each in self.successResultOf(self.store.read({vbucket: 0}, 1 << 20, 0.0))]

    def test_provides(self) -> None:
        """Both kinds of endpoints are IEndpoints."""
        self.assertTrue(verifyObject(IEndpoint, self.server()))
        self.assertTrue(verifyObject(IEndpoint, LocalEndpoint()))

    def test_topology_comes_first(self) -> None:
        """Nothing is sent before the cluster is known, and then what waited is sent."""
        server = self.server()
        server.down = True
        forwarder = self.make(server)
        self.seal(forwarder)
        self.pass_time(3)
        self.assertEqual((server.requests, self.joined), ([], []))
        server.down = False
        self.pass_time(10)
        self.assertEqual(self.logged(), [b"body"])
        self.assertEqual([each.vbuckets for each in self.joined], [4])

    def test_lanes_share_a_request(self) -> None:
        """Batches of several lanes go in one request."""
        server = self.server()
        forwarder = self.make(server)
        self.pass_time(1)
        for vbucket in range(4):
            self.seal(forwarder, vbucket)
        self.pass_time(1)
        self.assertEqual([len(each.batches) for each in server.requests], [4])

    def test_confirmed_by_a_second_look(self) -> None:
        """A batch is confirmed by asking again after the time of confirmation, and then nothing is asked any more."""
        server = self.server()
        forwarder = self.make(server)
        self.seal(forwarder)
        self.pass_time(CONFIRM - 1)
        self.assertEqual(self.actions, [])
        self.pass_time(5)
        self.assertEqual([type(each) for each in self.actions], [Confirmed])
        asked = len(server.requests)
        self.pass_time(100)
        self.assertEqual(len(server.requests), asked)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost_answer(self) -> None:
        """When an answer is lost the batch is sent again, and is in the log once."""
        server = self.server()
        server.deaf_to_answers = True
        forwarder = self.make(server)
        self.seal(forwarder)
        self.pass_time(2)
        server.deaf_to_answers = False
        self.pass_time(30)
        self.assertGreater(len(server.requests), 1)
        self.assertEqual(self.logged(), [b"body"])
        self.assertEqual(sum(len(each.batches) for each in self.actions if isinstance(each, Confirmed)), 1)

    def test_lane_without_an_outcome(self) -> None:
        """A lane that a server leaves out of its answers is asked about less and less often, not without a pause, and
        holds up no other; once it is answered for, it goes on.
        """
        server = self.server()
        server.passed_over = {1}
        forwarder = self.make(server)
        self.pass_time(1)
        self.seal(forwarder, 0)
        self.seal(forwarder, 1)
        self.pass_time(60)
        asked = sum(each.vbucket == 1 for request in server.requests for each in request.batches)
        self.assertTrue(12 <= asked <= 17, asked)
        self.assertEqual((len(self.logged(0)), len(self.logged(1))), (1, 0))
        server.passed_over = set()
        self.pass_time(6)
        self.seal(forwarder, 1)
        self.pass_time(1)
        self.assertEqual(len(self.logged(1)), 2)

    def test_another_server(self) -> None:
        """A lane whose server fails goes to another one."""
        first, second = self.server("a"), self.server("b")
        forwarder = self.make(first, second)
        self.pass_time(1)
        first.down = True
        for vbucket in range(4):
            self.seal(forwarder, vbucket)
            self.pass_time(1)
        self.assertEqual([len(self.logged(vbucket)) for vbucket in range(4)], [1, 1, 1, 1])

    def test_other_cluster(self) -> None:
        """Nothing is sent to a cluster that the spool does not belong to."""
        server = self.server(cluster=OTHER)
        forwarder = self.make(server)
        forwarder.join(CLUSTER)
        self.seal(forwarder)
        self.pass_time(60)
        self.assertEqual((server.requests, self.joined, self.actions), ([], [], []))

    def test_server_that_changed_its_cluster(self) -> None:
        """A server that belongs to another cluster by now refuses, and gets nothing more; the batch waits."""
        server = self.server()
        forwarder = self.make(server)
        self.pass_time(1)
        server.cluster = OTHER
        self.seal(forwarder)
        self.pass_time(10)
        self.assertEqual((len(server.requests), self.logged()), (1, []))
        server.cluster = CLUSTER
        self.pass_time(120)
        self.assertEqual(self.logged(), [b"body"])

    def test_shortest_flush(self) -> None:
        """The servers' answers tell how often batches may be sealed."""
        server = self.server()
        server.flush = 2.0
        forwarder = self.make(server)
        self.seal(forwarder)
        self.pass_time(1)
        self.assertEqual(forwarder.shortest_flush, 2.0)

    def test_backlog_is_sent_at_once(self) -> None:
        """What has waited is sent batch after batch, without a pause between."""
        server = self.server()
        server.down = True
        forwarder = self.make(server)
        for _ in range(20):
            self.seal(forwarder)
        self.pass_time(5)
        server.down = False
        self.pass_time(10)
        self.assertEqual(len(self.logged()), 20)

    def test_damaged_body(self) -> None:
        """A batch whose body cannot be read is asked for in the log, and else set aside; others go on."""
        server = self.server()
        forwarder = self.make(server)
        self.seal(forwarder, 0, None)
        self.seal(forwarder, 1)
        self.pass_time(5)
        self.assertEqual((self.logged(0), self.logged(1)), ([], [b"body"]))
        self.assertIn("SetAside", [type(each).__name__ for each in self.actions])

    def test_clock_offset(self) -> None:
        """The servers' clock is told by their answers."""
        forwarder = self.make(self.server())
        self.pass_time(1)
        self.assertAlmostEqual(forwarder.clock_offset(), 100.0)

    def test_other_servers(self) -> None:
        """The servers are others from now on: the new one is met and gets what comes, the one that went gets nothing
        more, and what it still answers counts.
        """
        first, second, third = self.server("a"), self.server("b"), self.server("c")
        forwarder = self.make(first, second)
        self.pass_time(1)
        first.silent = second.silent = True
        self.seal(forwarder, 0)
        self.pass_time(0.5)
        asked = first if first.requests else second
        forwarder.use([third])
        self.assertEqual([each.name for each in forwarder.endpoints()], [asked.name, "c"])
        self.seal(forwarder, 1)
        self.pass_time(0.3)
        self.assertEqual((len(asked.requests), len(third.requests)), (1, 1))
        ((held, answer),) = asked.waiting
        asked.waiting.clear()
        held.callback(answer)
        self.assertEqual(self.lanes.unsent(INCARNATION, 0), 0)
        self.assertEqual([each.name for each in forwarder.endpoints()], ["c"])
        for vbucket in range(4):
            self.seal(forwarder, vbucket)
            self.pass_time(0.5)
        self.assertEqual(len(first.requests) + len(second.requests), 1)
        self.assertEqual([len(self.logged(vbucket)) for vbucket in range(4)], [2, 2, 1, 1])

    def test_silent_server_is_asked_for_its_topology_first(self) -> None:
        """One that was silent has to say who it is before it gets anything again; one that failed at once has not."""
        server = self.server()
        forwarder = self.make(server)
        self.pass_time(1)
        asked: list[str] = []
        topology = server.topology
        server.topology = lambda: asked.append("topology") or topology()  # type: ignore[method-assign, func-returns-value]
        server.down = True
        self.seal(forwarder)
        self.pass_time(3)
        self.assertEqual(asked, [])
        server.down, append, silence = False, server.append, Deferred[Any]()
        server.append = lambda request: silence  # type: ignore[method-assign]
        self.pass_time(5)
        self.assertEqual(asked, [])
        server.append = append  # type: ignore[method-assign]
        silence.errback(EndpointDown("no answer within 10 s"))
        self.pass_time(8)
        self.assertEqual((asked, self.logged()), (["topology"], [b"body"]))

    def test_one_request_at_a_time(self) -> None:
        """A server that has not answered yet gets no second request, unless it may have several."""
        server = self.server()
        server.silent = True
        forwarder = self.make(server)
        self.pass_time(1)
        self.seal(forwarder, 0)
        self.pass_time(1)
        self.seal(forwarder, 1)
        self.pass_time(1)
        self.assertEqual(len(server.requests), 1)

    def test_several_requests(self) -> None:
        """AGENT_QUEUES_PER_SERVER requests are under way at a time."""
        server = self.server()
        server.silent = True
        forwarder = self.make(server, per_endpoint=2)
        self.pass_time(1)
        for vbucket in range(3):
            self.seal(forwarder, vbucket)
            self.pass_time(1)
        self.assertEqual(len(server.requests), 2)

    def test_stops_after_requests_under_way(self) -> None:
        """Stopping waits for the request under way, and leaves no call behind."""
        server = self.server()
        server.silent = True
        forwarder = self.make(server)
        self.pass_time(1)
        self.seal(forwarder)
        self.pass_time(1)
        stopped = forwarder.stopService()
        self.assertNoResult(stopped)
        held, answer = server.waiting.pop()
        held.callback(answer)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_does_not_wait_for_topologies(self) -> None:
        """A server that takes connections and never says who it is holds up no end."""
        server = self.server()
        never: Deferred[Topology] = Deferred()
        server.topology = lambda: never  # type: ignore[method-assign]
        forwarder = self.make(server)
        self.seal(forwarder)
        self.pass_time(1)
        self.successResultOf(forwarder.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_defect_in_an_answer(self) -> None:
        """An answer that breaks something is logged, and the batch sent again."""
        server = self.server()
        forwarder = self.make(server)
        self.pass_time(1)
        good = server.append
        server.append = lambda request: _failed(ZeroDivisionError())  # type: ignore[method-assign]
        self.seal(forwarder)
        self.pass_time(1)
        server.append = good  # type: ignore[method-assign]
        self.pass_time(30)
        self.assertEqual(self.logged(), [b"body"])
        self.assertGreaterEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_append_without_body_is_a_look(self) -> None:
        """Looks carry no body."""
        server = self.server()
        forwarder = self.make(server)
        self.seal(forwarder)
        self.pass_time(CONFIRM + 5)
        looks = [each for request in server.requests for each in request.batches if each.body is None]
        self.assertEqual([evolve(each) for each in looks], [Append(0, INCARNATION, 1)])
