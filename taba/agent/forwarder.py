"""Brings the lanes' batches to servers and the answers back. IO, thin: what to send is for `lanes` to say, to whom
for `endpoints`.

Nothing is sent before a server has told its topology, and nothing to a cluster that the spool does not belong to.
While there is nothing to send no timer runs: `wake` is called when a batch was sealed. Whatever goes wrong with a
request, its lanes are told that nothing is known, and send again by their own rules.

A server that was silent is asked for its topology before it gets anything again. A request that is overdue, while
another server answers, loses its lanes to that one; its own answer, if it still comes, then tells how slow the server
is, and nothing else. So a batch may be on two ways at a time, as it may after a time limit: its number sees to that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from taba.agent.endpoint import EndpointDown, IEndpoint, WrongCluster
from taba.agent.endpoints import PATIENCE_SECONDS, Endpoints, EndpointStatus, Obstacle, ServerClock
from taba.agent.held import Action, Held
from taba.agent.lanes import Lanes, Outgoing
from taba.agent.measures import BUSY, DOWN, FAILED, STRANGER, AgentMeasures
from taba.agent.records import LaneKey
from taba.interfaces import Append
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology

MAX_BYTES = 4 << 20
"""Bodies in one request; a larger body goes alone."""
MAX_BATCHES = 4096
"""Batches and looks in one request."""
STUMBLE_SECONDS = 1.0
"""After so long a turn follows one that a defect ended."""
STRANGER_SECONDS = 30.0
"""How long a server of another cluster is left alone."""
GATHER_SECONDS = 0.02
"""How long the forwarder waits for further lanes of the same turn."""
LOOK_SECONDS = 0.25
"""How often a request that takes long is looked at."""
LEAST_BYTES = 65_536
"""A request may have so many, however new a server is, and whatever somebody found too large."""

ReadBodies = Callable[[Sequence[tuple[LaneKey, Held]]], Deferred[list[bytes | None]]]


@define(eq=False)
class _Sending:
    """A request under way."""

    name: str
    sent: Sequence[Outgoing]
    started: float
    bytes: int
    """Of bodies."""
    overdue: bool = False
    """Whether its lanes were given to others."""
    look: IDelayedCall | None = None


class Forwarder(Service):
    """The sending side of one agent."""

    _log = Logger()

    def __init__(
        self,
        lanes: Lanes,
        endpoints: Sequence[IEndpoint],
        read_bodies: ReadBodies,
        act: Callable[[Sequence[Action]], None],
        joined: Callable[[Topology], None],
        clock: IReactorTime,
        wall: Callable[[], float],
        chance: Callable[[], float],
        *,
        requests_per_endpoint: int,
        measures: AgentMeasures | None = None,
    ) -> None:
        """`read_bodies` gives bodies, None for damaged ones; `act` carries out what answers mean; `joined` is told of
        the cluster, `measures` of what becomes of requests.
        """
        self._lanes = lanes
        self._servers = {each.name: each for each in endpoints}
        self._endpoints = Endpoints(list(self._servers), chance, requests_per_endpoint)
        self._read_bodies = read_bodies
        self._act = act
        self._joined = joined
        self._clock = clock
        self._wall = wall
        self.cluster: str | None = None
        """The cluster that batches are for; None until it is known."""
        self.shortest_flush = 0.0
        """How often at most, in seconds, the servers want batches sealed."""
        self._met: dict[str, int] = {}  # server -> the bytes of bodies that one request to it may have
        self._probes: set[Deferred[Topology]] = set()
        self._ceilings: dict[str, int] = {}  # the same, where somebody on the way takes less than the server says
        self._timer: IDelayedCall | None = None
        self._under_way = 0
        self._stopped: Deferred[None] | None = None
        self._server_clock = ServerClock()
        self._told: set[str] = set()
        self._obstacle = Obstacle()
        self._measures = measures or AgentMeasures()

    def join(self, cluster: str) -> None:
        """The spool belongs to a cluster: nothing is sent to another one."""
        self.cluster = cluster

    def use(self, endpoints: Sequence[IEndpoint]) -> None:
        """Send to these servers from now on. What is under way to others may end; of those that stay all is known."""
        servers = {each.name: each for each in endpoints}
        self._endpoints.use(list(servers))
        self._servers = {**{name: each for name, each in self._servers.items() if name in self._endpoints}, **servers}
        for known in (self._met, self._ceilings):
            for name in [each for each in known if each not in servers]:
                del known[name]
        self._told &= set(servers)
        self.wake()

    def clock_offset(self) -> float:
        """Seconds that the servers' clock is ahead of this one, as recent answers tell it; 0 before the first."""
        return self._server_clock.offset(self._clock.seconds(), self._wall())

    def obstacle(self) -> Obstacle | None:
        """What keeps batches here; None while some server answers them."""
        return None if self._obstacle.sentence is None or self._endpoints.any_answers() else self._obstacle

    def endpoints(self) -> list[EndpointStatus]:
        """What is thought of each server now."""
        return self._endpoints.status(self._clock.seconds())

    # ------------------------------------------------------------------------------------------ service

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self.wake()

    def stopService(self) -> Deferred[None]:
        """Send nothing more; fires when all requests under way have ended, which their time limits see to. Topologies
        are not waited for.
        """
        super().stopService()
        self._cancel()
        for probe in list(self._probes):
            probe.cancel()
        stopped = self._stopped = Deferred()
        self._over()
        return stopped

    def _over(self) -> None:
        if self._stopped is not None and not self._under_way:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ------------------------------------------------------------------------------------------ when

    def wake(self) -> None:
        """Look whether there is something to send, now or later."""
        if not self.running:
            return
        now = self._clock.seconds()
        due = now if not self._met else self._lanes.next_due()
        if due is None:
            self._cancel()
            return
        due = max(due, now + GATHER_SECONDS if self._met else now)
        free = self._endpoints.next_at(now)
        if free is None:
            self._cancel()
            return  # all are busy: the next answer wakes
        due = max(due, free)
        if self._timer is None:
            self._timer = self._clock.callLater(due - now, self._turn)
        elif due < self._timer.getTime():
            self._timer.reset(due - now)

    def _turn(self) -> None:
        """One turn. Whatever it raises, another one follows."""
        self._timer = None
        try:
            self._send_due()
        except Exception:
            self._log.failure("A turn of the forwarder failed")
            self._timer = self._clock.callLater(STUMBLE_SECONDS, self._turn)
        else:
            self.wake()

    def _send_due(self) -> None:
        """Send what is due, to as many endpoints as are free."""
        while self.running:
            now = self._clock.seconds()
            name = self._endpoints.take(now)
            if name is None:
                break
            if name not in self._met:
                self._begin(self._meet(name))
                continue
            portion = self._endpoints.portion(name)
            most = min(self._met[name], self._ceilings.get(name, MAX_BYTES))
            size = min(most, max(LEAST_BYTES, int(most * portion)))
            sent = self._lanes.gather(now, size, max(1, int(MAX_BATCHES * portion)))
            if not sent:
                self._endpoints.released(name)
                break
            self._begin(self._send(name, sent, now))

    def _begin(self, asking: Deferred[None]) -> None:
        self._under_way += 1

        def end(_: object) -> None:
            self._under_way -= 1
            self._over()
            self.wake()

        asking.addErrback(lambda failure: self._log.failure("A request could not be handled", failure))
        asking.addCallback(end)

    # ------------------------------------------------------------------------------------------ requests

    @inlineCallbacks
    def _meet(self, name: str):  # type: ignore[no-untyped-def]
        """Ask a server for its topology before anything is sent to it."""
        started = self._clock.seconds()
        try:
            probe = self._servers[name].topology()
            self._probes.add(probe)
            try:
                topology: Topology = yield probe
            finally:
                self._probes.discard(probe)
        except EndpointDown as problem:
            self._down(name, problem, probe=True)
            return
        except CancelledError:
            self._endpoints.released(name)
            return
        except BaseException:
            self._broken(name, probe=True)
            raise
        now = self._clock.seconds()
        if self.cluster is not None and topology.cluster != self.cluster:
            self._stranger(WrongCluster(name, topology.cluster), probe=True)
            return
        self._heard(name, topology.time, started, now, probe=True)
        if name not in self._endpoints:
            return
        # A server's limit counts the header too, which is a small part of a large request.
        self._met[name] = min(MAX_BYTES, topology.limits.get("body", 2 * MAX_BYTES) * 3 // 4)
        self.cluster = topology.cluster
        self._joined(topology)

    @inlineCallbacks
    def _send(self, name: str, sent: Sequence[Outgoing], gathered: float):  # type: ignore[no-untyped-def]
        """Send what was gathered, and give the answer to the lanes."""
        started = gathered
        try:
            batches = yield self._bodies(sent)
            if not batches:
                self._endpoints.released(name)
                return
            started = self._clock.seconds()
            request = AppendRequest(self.cluster or "", self._wall(), tuple(batches))
            sending = self._watched(name, sent, batches)
            try:
                answer: AppendAnswer = yield self._servers[name].append(request)
            finally:
                self._ended(sending)
            if answer.cluster != self.cluster:
                raise WrongCluster(name, answer.cluster)
        except EndpointDown as problem:
            self._lanes.failed(sent, self._clock.seconds())
            if self._clock.seconds() - sending.started >= PATIENCE_SECONDS:
                self._met.pop(name, None)
            self._down(name, problem)
            if problem.too_large:
                self._ceilings[name] = max(LEAST_BYTES, sending.bytes // 2)
        except WrongCluster as problem:
            self._lanes.failed(sent, self._clock.seconds())
            self._stranger(problem)
        except BaseException:
            self._lanes.failed(sent, self._clock.seconds())
            self._broken(name)
            raise
        else:
            now = self._clock.seconds()
            self._heard(name, answer.time, started, now)
            self.shortest_flush = answer.flush
            self._measures.appended(sent, answer.outcomes, self._wall())
            try:
                self._act(self._lanes.answered(sent, answer.outcomes, gathered, now))
            finally:
                self._lanes.failed(sent, self._clock.seconds())  # those that a defect left waiting; else none

    @inlineCallbacks
    def _bodies(self, sent: Sequence[Outgoing]):  # type: ignore[no-untyped-def]
        """The batches with their bodies. One whose body is damaged stays at home: its lane will ask whether the log
        has it.
        """
        wanted = [
            ((each.lane.incarnation, each.lane.vbucket), each.held) for each in sent if each.held is not None
        ]
        bodies = iter((yield self._read_bodies(wanted)) if wanted else ())
        batches: list[Append] = []
        for each in sent:
            if each.held is None:
                batches.append(each.append)
                continue
            body = next(bodies)
            if body is None or len(body) != each.held.length:
                self._lanes.unreadable(each, self._clock.seconds())
            else:
                batches.append(evolve(each.append, body=body))
        return batches

    # ------------------------------------------------------------------------------------------ requests that take long

    def _watched(self, name: str, sent: Sequence[Outgoing], batches: Sequence[Append]) -> _Sending:
        """Note that a request goes out now, and look at it when its time comes."""
        size = sum(len(each.body) for each in batches if each.body is not None)
        sending = _Sending(name, sent, self._clock.seconds(), size)
        sending.look = self._clock.callLater(PATIENCE_SECONDS, self._look, sending)
        return sending

    def _look(self, sending: _Sending) -> None:
        """Give the lanes of a request to another server if one would answer sooner."""
        now, sending.look = self._clock.seconds(), None
        if not self._endpoints.is_overdue(sending.name, now, now - sending.started):
            sending.look = self._clock.callLater(LOOK_SECONDS, self._look, sending)
            return
        sending.overdue = True
        self._tell(sending.name, f"{sending.name} does not answer in time; others get what it was sent.")
        self._lanes.failed(sending.sent, now)
        self.wake()

    def _ended(self, sending: _Sending) -> None:
        """A request has ended, in whichever way."""
        if sending.look is not None:
            sending.look.cancel()
        if sending.overdue:
            self._endpoints.settled(sending.name)

    # ------------------------------------------------------------------------------------------ what answers tell

    def _heard(self, name: str, time: float, started: float, now: float, *, probe: bool = False) -> None:
        self._endpoints.answered(name, now, now - started, probe=probe)
        self._measures.answered(name, now - started)
        self._server_clock.heard(time, started, now)
        self._obstacle.passed(probe=probe)
        if name in self._told and not probe:
            self._told.discard(name)
            self._log.info("{name} answers again", name=name)

    def _broken(self, name: str, *, probe: bool = False) -> None:
        """A request ended by a defect, or was cancelled."""
        self._obstacle.met(f"A request to {name} ended by a defect; the log has it", self._wall(), probe=probe)
        self._endpoints.failed(name, self._clock.seconds())
        self._measures.unanswered(name, FAILED)

    def _down(self, name: str, problem: EndpointDown, *, probe: bool = False) -> None:
        self._measures.unanswered(name, DOWN if problem.retry_after is None else BUSY)
        self._endpoints.failed(name, self._clock.seconds(), problem.retry_after)
        sentence = f"A server does not answer: {problem}"
        self._obstacle.met(sentence, self._wall(), probe=probe)
        self._tell(name, sentence)

    def _stranger(self, problem: WrongCluster, *, probe: bool = False) -> None:
        """Another cluster's server is asked again, rarely: somebody may put things right."""
        self._met.pop(problem.name, None)
        self._measures.unanswered(problem.name, STRANGER)
        self._endpoints.failed(problem.name, self._clock.seconds(), STRANGER_SECONDS)
        sentence = f"{problem}; this agent's spool belongs to {self.cluster}. Nothing is sent there."
        self._obstacle.met(sentence, self._wall(), probe=probe)
        self._tell(problem.name, sentence)

    def _tell(self, name: str, sentence: str) -> None:
        """Say it once until the server answers again."""
        if name not in self._told:
            self._told.add(name)
            self._log.warn("{sentence}", sentence=sentence)
