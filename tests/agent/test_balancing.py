"""The forwarder among servers of which one is slow, silent, comes and goes, is gone, or says no: what is sealed arrives
in time all the same, and a server that is well again gets its share back, a little at first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from taba.agent.endpoint import EndpointDown, IEndpoint
from taba.agent.forwarder import LEAST_BYTES, Forwarder
from taba.agent.held import Held
from taba.agent.lanes import Lanes
from taba.agent.records import LaneKey
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology
from tests.agent.test_forwarder_faults import CLUSTER, INCARNATION, WALL, Log

STEP = 0.01
LATENCY = 0.02
TIME_LIMIT = 10.0
"""Of a request, as HTTPEndpoint has it."""
FLUSH = 0.25
LANES = 8
LOSES = 2.0
"""Within so many seconds a bad server has lost its lanes."""


@implementer(IEndpoint)
@define(eq=False)
class TimedServer:
    """A server whose answers take time, and which can be bad in several ways."""

    name: str
    clock: Clock
    log: Log
    mode: str = "well"
    latency: float = LATENCY
    asked: list[float] = field(factory=list)
    """When topologies were asked for."""
    given: list[tuple[float, int, int]] = field(factory=list)
    """When a request with batches came, of how many batches, and how many bytes of bodies."""
    most: int = 1 << 30
    """Bytes of bodies that somebody before it takes in one request."""

    def topology(self) -> Deferred[Topology]:
        """See IEndpoint."""
        self.asked.append(self.clock.seconds())
        return self._soon(lambda: Topology(CLUSTER, LANES, durability="memory", time=WALL))

    def append(self, request: AppendRequest) -> Deferred[AppendAnswer]:
        """See IEndpoint."""
        size = sum(len(each.body or b"") for each in request.batches)
        self.given.append((self.clock.seconds(), len(request.batches), size))
        if size > self.most:
            return self._later(0.0, lambda: _raise(EndpointDown("413", too_large=True)))

        def judge() -> AppendAnswer:
            return AppendAnswer(CLUSTER, WALL, 0.0, tuple(self.log.judge(each) for each in request.batches))

        return self._soon(judge)

    def _soon(self, answer: Any) -> Deferred[Any]:
        mode = self.mode
        if mode == "flapping":
            mode = "well" if int(self.clock.seconds()) % 2 else "refused"
        if mode == "refused":
            return self._later(0.001, lambda: _raise(EndpointDown("Connection was refused")))
        if mode == "busy":
            return self._later(0.005, lambda: _raise(EndpointDown("503 The logs are full.", 1.0)))
        if mode == "hung":
            return self._later(TIME_LIMIT, lambda: _raise(EndpointDown("no answer within 10 s")))
        return self._later(self.latency, answer)

    def _later(self, seconds: float, answer: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.clock.callLater(seconds, lambda: done.callback(None))
        return done.addCallback(lambda _: answer())

    def batches(self, since: float, until: float = 1e9) -> int:
        """How many batches and looks it was given."""
        return sum(count for at, count, _ in self.given if since <= at < until)


def _raise(problem: Exception) -> Any:
    raise problem


class BalancingTests(SynchronousTestCase):
    """An agent that seals a batch of each of eight lanes four times a second, and three servers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.log = Log()
        self.lanes = Lanes(30.0)
        self.length, self.flush = 100, FLUSH
        self.parts = deque([range(LANES)])
        """Which lanes are sealed at a time, in turn."""
        self.sealed: dict[tuple[int, int], float] = {}
        self.given = dict.fromkeys(range(LANES), 0)

    def start(self, *names: str, parallel: int = 1, seed: int = 7) -> list[TimedServer]:
        """Servers, and a forwarder that has sent to them for a while."""
        self.servers = [TimedServer(name, self.clock, self.log) for name in names]
        self.forwarder = Forwarder(
            self.lanes,
            self.servers,
            self.read,
            lambda actions: None,
            lambda topology: None,
            self.clock,
            lambda: WALL + self.clock.seconds(),
            Random(seed).random,
            requests_per_endpoint=parallel,
        )
        self.forwarder.startService()
        self.addCleanup(self.forwarder.stopService)
        self.go_on(20.0)
        return self.servers

    def read(self, wanted: Sequence[tuple[LaneKey, Held]]) -> Deferred[list[bytes | None]]:
        """The bodies of batches."""
        done: Deferred[list[bytes | None]] = Deferred()
        done.callback([b"%d/%d" % (key[1], held.seq) + bytes(held.length - len(b"%d/%d" % (key[1], held.seq)))
                       for key, held in wanted])  # fmt: skip
        return done

    def seal(self) -> None:
        """A new batch of every lane, but where some wait already: as the agent's committer does."""
        self.parts.rotate(1)
        for vbucket in self.parts[0]:
            if self.lanes.unsent(INCARNATION, vbucket) < 2:
                seq = self.given[vbucket] = self.given[vbucket] + 1
                self.lanes.add(INCARNATION, vbucket, Held(seq, seq - 1, seq - 1, 1, WALL, seq, self.length))
                self.sealed[vbucket, seq] = self.clock.seconds()
        self.forwarder.wake()

    def go_on(self, seconds: float) -> float:
        """Let time pass, sealing; the longest time that a batch has waited, or waits, until it is in the log."""
        longest, due = 0.0, self.clock.seconds()
        for _ in range(round(seconds / STEP)):
            if self.clock.seconds() >= due:
                self.seal()
                due += self.flush
            self.clock.advance(STEP)
            now = self.clock.seconds()
            for (vbucket, seq), at in list(self.sealed.items()):
                longest = max(longest, now - at)
                if self.log.last.get((INCARNATION, vbucket), 0) >= seq:
                    del self.sealed[vbucket, seq]
        return longest

    def share(self, server: TimedServer, since: float) -> float:
        """Which part of all batches a server was given."""
        return server.batches(since) / max(1, sum(each.batches(since) for each in self.servers))

    def loses_its_lanes(self, bad: TimedServer, mode: str, most: float) -> None:
        """A server gets bad: no batch waits for longer than LOSES, and by then the server gets next to nothing; when it
        is well again it gets its share back.
        """
        self.length = 30_000  # from now on all lanes together have more than a first request may
        self.go_on(20.0)
        self.assertGreater(self.share(bad, self.clock.seconds() - 10), 0.2)
        self.assertGreater(bad.given[-1][2], LEAST_BYTES)
        bad.mode = mode
        self.assertLess(self.go_on(LOSES), LOSES)
        after = self.clock.seconds()
        self.assertLess(self.go_on(20.0), LOSES)
        self.assertLessEqual(self.share(bad, after), most)
        bad.mode, well = "well", self.clock.seconds()
        self.assertLess(self.go_on(90.0), LOSES)
        first = next(size for at, _, size in bad.given if at >= well)
        self.assertLessEqual(first, LEAST_BYTES)
        late = self.clock.seconds()
        self.go_on(20.0)
        self.assertGreater(self.share(bad, late), 0.2)

    def test_slow(self) -> None:
        """A server that takes twenty times as long gets next to nothing."""
        bad = self.start("a", "b", "c")[0]
        bad.latency = 20 * LATENCY
        after = self.clock.seconds() + LOSES
        self.assertLess(self.go_on(30.0), 1.0)
        self.assertLess(self.share(bad, after), 0.08)
        bad.latency = LATENCY
        self.go_on(30.0)
        late = self.clock.seconds()
        self.go_on(20.0)
        self.assertGreater(self.share(bad, late), 0.2)

    def test_slow_under_load(self) -> None:
        """While the quick server is busy, waiting for it is quicker than asking the slow one."""
        bad, _ = self.start("a", "b")
        bad.latency, self.flush = 20 * LATENCY, 0.02
        self.parts = deque([range(4), range(4, LANES)])
        self.go_on(LOSES)
        after = self.clock.seconds()
        self.assertLess(self.go_on(8.0), 0.3)
        self.assertLess(self.share(bad, after), 0.02)

    def test_hung(self) -> None:
        """A server that takes requests and never answers: what it was given goes to others."""
        self.loses_its_lanes(self.start("a", "b", "c")[1], "hung", 0.02)

    def test_hung_with_several_requests(self) -> None:
        """So it is where servers get several requests at a time."""
        self.loses_its_lanes(self.start("a", "b", "c", parallel=4)[1], "hung", 0.02)

    def test_flapping(self) -> None:
        """A server that is up for a second and down for a second is tried less and less often."""
        self.loses_its_lanes(self.start("a", "b", "c")[2], "flapping", 0.08)

    def test_refused(self) -> None:
        """A server that is not there is tried now and then."""
        self.loses_its_lanes(self.start("a", "b", "c")[0], "refused", 0.05)

    def test_busy(self) -> None:
        """So is a server that answers 503."""
        self.loses_its_lanes(self.start("a", "b", "c")[0], "busy", 0.05)

    def test_all_are_slow(self) -> None:
        """When all servers become slow together, what is under way stays where it is, once that is known: to send it
        twice would make them slower.
        """
        servers = self.start("a", "b", "c")
        for each in servers:
            each.latency = 3.0
        self.go_on(10.0)
        appended, since = len(self.log.bodies), self.clock.seconds()
        self.go_on(60.0)
        given = sum(each.batches(since) for each in servers)
        self.assertLess(given, 1.1 * (len(self.log.bodies) - appended) + 3 * LANES + 60 / 3.75 * LANES)

    def test_all_are_hung(self) -> None:
        """When no server answers, each is given things once per time limit; when they answer again all arrives."""
        servers = self.start("a", "b", "c")
        for each in servers:
            each.mode = "hung"
        since = self.clock.seconds()
        self.go_on(60.0)
        self.assertLess(sum(at >= since for each in servers for at, _, _ in each.given), 3 * 60 / TIME_LIMIT)
        for each in servers:
            each.mode = "well"
        self.go_on(25.0)
        self.assertLess(self.go_on(10.0), 1.0)

    def test_late_answer_changes_nothing(self) -> None:
        """A server answers when others have long been given what it was asked: every batch is in the log once."""
        bad = self.start("a", "b")[0]
        bad.latency = 4.0
        self.go_on(30.0)
        self.assertEqual(len(self.log.bodies), len(set(self.log.bodies)))
        self.assertEqual(sum(self.given.values()) - len(self.sealed), len(self.log.bodies))

    def test_single_server_that_is_slow(self) -> None:
        """Where there is no other server nothing is taken away from it."""
        (only,) = self.start("a")
        only.latency = 5.0
        self.go_on(10.0)
        since, appended = self.clock.seconds(), len(self.log.bodies)
        self.go_on(50.0)
        given = only.batches(since, self.clock.seconds() - 5.0)
        self.assertLessEqual(abs(given - (len(self.log.bodies) - appended)), LANES)

    def test_too_large_for_somebody_on_the_way(self) -> None:
        """A proxy that takes less than the server says: requests get smaller until they pass, and stay so."""
        (only,) = self.start("a")
        only.most = 300_000
        self.length = 100_000
        self.go_on(60.0)
        refused = sum(size > only.most for _, _, size in only.given)
        self.assertLess(refused, 6)
        self.assertLess(self.go_on(20.0), 2.0)
        self.assertEqual(sum(size > only.most for _, _, size in only.given), refused)
