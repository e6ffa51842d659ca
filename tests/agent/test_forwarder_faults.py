"""The forwarder when disks, servers and their limits are not as one would like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NoReturn

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from taba.agent.endpoint import EndpointDown, IEndpoint
from taba.agent.forwarder import Forwarder
from taba.agent.held import Action, Held, SetAside
from taba.agent.lanes import Lanes
from taba.interfaces import Append, Outcome, Verdict
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology

CLUSTER, OTHER = "c" * 32, "d" * 32
INCARNATION = "1" * 32
LINEAGE = "2" * 32
WALL = 1_700_000_000.0
CONFIRM = 30.0


@define
class Log:
    """What servers write to: the last number of each lane. A batch that follows it is taken, all else is a gap."""

    last: dict[tuple[str, int], int] = field(factory=dict)
    bodies: list[bytes] = field(factory=list)

    def judge(self, batch: Append) -> Outcome:
        """What becomes of a batch or a look."""
        lane = batch.incarnation, batch.vbucket
        last = self.last.get(lane, 0)
        if batch.body is not None and batch.after <= last < batch.seq:
            self.bodies.append(batch.body)
            self.last[lane] = last = batch.seq
        verdict = Verdict.OK if batch.seq <= last else Verdict.GAP
        return Outcome(batch.vbucket, batch.incarnation, batch.seq, verdict, last, last or None, LINEAGE)


@implementer(IEndpoint)
@define(eq=False)
class FakeServer:
    """A server in memory. `spoil` may change an answer, or raise."""

    name: str
    clock: Clock
    log: Log = field(factory=Log)
    limits: dict[str, int] = field(factory=dict)
    requests: list[AppendRequest] = field(factory=list)
    spoil: Callable[[AppendAnswer], AppendAnswer] = lambda answer: answer

    def topology(self) -> Deferred[Topology]:
        """See IEndpoint."""
        return succeed(Topology(CLUSTER, 4, limits=self.limits, durability="memory", time=WALL))

    def append(self, request: AppendRequest) -> Deferred[AppendAnswer]:
        """See IEndpoint."""
        self.requests.append(request)
        outcomes = tuple(self.log.judge(batch) for batch in request.batches)
        try:
            return succeed(self.spoil(AppendAnswer(CLUSTER, WALL, 0.0, outcomes)))
        except EndpointDown as down:
            return fail(down)


def throw(problem: Exception) -> NoReturn:
    """Raise, where an expression is wanted."""
    raise problem


class FaultTests(SynchronousTestCase):
    """Batches are neither lost nor stuck."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1.0)
        self.lanes = Lanes(CONFIRM)
        self.actions: list[Action] = []
        self.damaged: set[tuple[int, int]] = set()
        self.disk: Callable[[], Deferred[Any]] = lambda: succeed(None)
        self.given: dict[int, int] = {}
        self.server = FakeServer("a", self.clock)
        self.cut = 0

    def start(self) -> Forwarder:
        """A running forwarder that has had time to ask for the topology."""
        forwarder = Forwarder(
            self.lanes,
            [self.server],
            self.read,
            self.act,
            lambda topology: None,
            self.clock,
            lambda: WALL + self.clock.seconds(),
            Random(7).random,
            requests_per_endpoint=1,
        )
        forwarder.startService()
        self.clock.advance(0)
        self.addCleanup(lambda: self.successResultOf(forwarder.stopService()))
        self.forwarder = forwarder
        return forwarder

    def read(self, wanted: Sequence[tuple[tuple[str, int], Held]]) -> Deferred[list[bytes | None]]:
        """The bodies of batches, or None for damaged ones."""
        bodies = [
            None
            if (key[1], held.seq) in self.damaged
            else (b"%d/%d" % (key[1], held.seq)).ljust(held.length - self.cut)
            for key, held in wanted
        ]
        return self.disk().addCallback(lambda _: bodies)

    def act(self, actions: Sequence[Action]) -> None:
        """Note at once whatever is set aside."""
        self.actions += actions
        for action in actions:
            if isinstance(action, SetAside):
                self.lanes.noted(action.incarnation, action.vbucket, self.clock.seconds())
                self.forwarder.wake()

    def seal(self, *vbuckets: int, length: int = 3) -> None:
        """A new batch of each of these lanes."""
        for vbucket in vbuckets:
            seq = self.given[vbucket] = self.given.get(vbucket, 0) + 1
            self.lanes.add(INCARNATION, vbucket, Held(seq, seq - 1, seq - 1, 1, WALL, seq, length))
        self.forwarder.wake()

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)

    def set_aside(self) -> list[tuple[int, int, str]]:
        """What was set aside: vbucket, number, reason."""
        return [(each.vbucket, each.batch.seq, each.reason) for each in self.actions if isinstance(each, SetAside)]

    def test_fake_is_an_endpoint(self) -> None:
        """What these tests use is what the forwarder expects."""
        self.assertTrue(verifyObject(IEndpoint, self.server))

    def test_limit_of_the_server(self) -> None:
        """A request is not larger than the server says it takes; the rest follows in further ones."""
        self.server.limits = {"body": 4000}
        self.start()
        self.seal(1, 2, 3, 4, length=1000)
        self.pass_time(1)
        self.assertEqual([len(request.batches) for request in self.server.requests], [3, 1])

    def test_damaged_body_leaves_the_others(self) -> None:
        """A damaged batch is asked about, then set aside; the batches beside and behind it are delivered."""
        self.start()
        self.damaged.add((1, 1))
        self.seal(1, 2)
        self.seal(1)
        self.pass_time(3)
        self.assertEqual(sorted(self.server.log.bodies), [b"1/2", b"2/1"])
        self.assertEqual(self.set_aside(), [(1, 1, "damaged")])

    def test_damaged_body_alone(self) -> None:
        """Nothing but a look is sent for a batch that cannot be read."""
        self.start()
        self.damaged.add((1, 1))
        self.seal(1)
        self.pass_time(3)
        self.assertEqual([[each.body for each in request.batches] for request in self.server.requests], [[None]])

    def test_damaged_body_that_the_log_has(self) -> None:
        """If an earlier request brought the batch, it is not set aside."""
        self.start()
        self.damaged.add((1, 1))
        self.server.log.last[INCARNATION, 1] = 1
        self.seal(1)
        self.pass_time(3)
        self.assertEqual((self.set_aside(), self.lanes.unsent(INCARNATION, 1)), ([], 0))

    def test_body_of_another_length(self) -> None:
        """A body that is not as long as it was sealed is a damaged one."""
        self.start()
        self.cut = 1
        self.seal(1, length=99)
        self.pass_time(3)
        self.assertEqual((self.set_aside(), self.server.log.bodies), ([(1, 1, "damaged")], []))

    def test_disk_that_fails_for_a_while(self) -> None:
        """When bodies cannot be read now, nothing is concluded from it: they are read again later."""
        self.start()
        self.disk = lambda: fail(OSError(5, "Input/output error"))
        self.seal(1)
        self.pass_time(3)
        self.assertGreaterEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.disk = lambda: succeed(None)
        self.pass_time(30)
        self.assertEqual((self.server.log.bodies, self.set_aside()), ([b"1/1"], []))

    def test_busy_server(self) -> None:
        """A server that tells its topology, and refuses all batches, keeps being named until it takes some."""
        self.server.spoil = lambda answer: throw(EndpointDown("a: 503 the logs are full", 1.0))
        forwarder = self.start()
        self.seal(1)
        self.pass_time(20)
        obstacle = forwarder.obstacle()
        assert obstacle is not None
        self.assertEqual(obstacle.sentence, "A server does not answer: a: 503 the logs are full")
        self.assertLess(obstacle.since, WALL + 3.0)
        obstacle.passed(probe=True)
        self.assertIs(forwarder.obstacle(), obstacle)
        self.server.spoil = lambda answer: answer
        self.pass_time(20)
        self.assertIsNone(forwarder.obstacle())

    def test_answer_from_another_cluster(self) -> None:
        """An answer that names another cluster than the request is believed in nothing."""
        self.server.spoil = lambda answer: evolve(answer, cluster=OTHER)
        self.start()
        self.seal(1)
        self.pass_time(1)
        self.assertEqual(self.lanes.unsent(INCARNATION, 1), 1)

    def test_answer_that_forgets_lanes(self) -> None:
        """Lanes that an answer does not mention are sent again, and are in the log once."""
        forgotten = [1]

        def forget(answer: AppendAnswer) -> AppendAnswer:
            return evolve(answer, outcomes=answer.outcomes[1:]) if forgotten and forgotten.pop() else answer

        self.server.spoil = forget
        self.start()
        self.seal(1, 2)
        self.pass_time(2)
        self.assertEqual(sorted(self.server.log.bodies), [b"1/1", b"2/1"])
        self.assertEqual([self.lanes.unsent(INCARNATION, vbucket) for vbucket in (1, 2)], [0, 0])

    def test_server_asks_for_a_pause(self) -> None:
        """A server that says Retry-After is left alone for that long."""

        def busy(answer: AppendAnswer) -> AppendAnswer:
            raise EndpointDown("full", 20.0)

        self.server.spoil = busy
        self.start()
        self.seal(1)
        self.pass_time(19)
        self.assertEqual(len(self.server.requests), 1)
        self.pass_time(10)
        self.assertEqual(len(self.server.requests), 2)
