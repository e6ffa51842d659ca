"""Sends what the lanes have to send, and tells them what became of it. IO, thin: what is sent is for `lanes` to say, to
whom for `endpoints`.

A server is asked for its topology before anything is sent to it, and nothing goes to a cluster that the spool does not
belong to. The forwarder works in turns: in each it fills as few requests as the due lanes need, one endpoint for each,
and sleeps until the lanes have something to send again, or somebody calls `wake`. With nothing to send no timer runs.

Turns are at least a flush interval apart, the agent's own or the longer one that the servers ask for; while lanes have
fallen behind, an eighth of that. Whatever goes wrong with a request, its lanes are told that nothing is known, and send
again by their own rules.

All methods are to be called in the reactor thread.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba.agent.endpoint import EndpointDown, IEndpoint, WrongCluster
from taba.agent.endpoints import Endpoints, EndpointStatus, ServerClock
from taba.agent.held import Action, Held
from taba.agent.lanes import NOW, Lanes, Outgoing
from taba.interfaces import Append
from taba.wire.v2 import AppendRequest, Topology

CATCH_UP = 8
"""Turns per flush interval while lanes have fallen behind."""
STRANGER_SECONDS = 60.0
"""How long a server of another cluster is left alone."""

ReadBodies = Callable[[Sequence[tuple[tuple[str, int], Held]]], Deferred[list[bytes | None]]]


@frozen
class ForwarderSettings:
    """How a forwarder behaves."""

    flush_seconds: float = 0.25
    """AGENT_FLUSH_SECONDS: the shortest time between two turns."""
    request_bytes: int = 4 * 1024 * 1024
    """The most bytes of bodies in a request; a larger single batch goes alone."""
    request_batches: int = 4096
    """The most batches and looks in a request."""
    stop_seconds: float = 5.0
    """How long stopService waits for requests in flight before it gives them up."""
    topology_seconds: float = 600.0
    """A server whose topology is older than this is asked again before anything more is sent to it."""


@frozen
class _Met:
    """What a server said of itself, and when."""

    topology: Topology
    at: float


class Forwarder(Service):
    """The sending side of one agent.

    `read_bodies` gives the bodies of batches, named by ((incarnation, vbucket), batch), in order, and None for one that
    is damaged for good; it fails when they can perhaps be read later. `act` carries out what answers mean; whoever
    does tells the lanes when a batch that was set aside is noted on disk, and calls `wake`. `joined` is given every
    topology of the cluster. `chance` gives numbers in [0, 1), `wall` the wall time.
    """

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
        requests_per_endpoint: int = 1,
        settings: ForwarderSettings = ForwarderSettings(),
    ) -> None:
        self.cluster: str | None = None
        """The cluster that batches are for; None until it is known."""
        self.shortest_flush = 0.0
        """How often at most, in seconds, the servers want to hear from an agent, as the last answer said."""
        self._lanes = lanes
        self._servers = {each.name: each for each in endpoints}
        self._choice = Endpoints(list(self._servers), chance, requests_per_endpoint)
        self._read_bodies = read_bodies
        self._act = act
        self._joined = joined
        self._clock = clock
        self._wall = wall
        self._settings = settings
        self._server_clock = ServerClock()
        self._met: dict[str, _Met] = {}
        self._told: set[str] = set()  # the endpoints of which the log says that they do not answer
        self._timer: IDelayedCall | None = None
        self._requests: set[Deferred[None]] = set()
        self._idle: Deferred[None] | None = None  # fires when the last request has ended
        self._flushed_at = NOW
        self._not_before = NOW

    def join(self, cluster: str) -> None:
        """The spool belongs to a cluster: nothing is sent to another one."""
        self.cluster = cluster

    def clock_offset(self) -> float:
        """Seconds that the servers' clock is ahead of this one, as recent answers tell it; 0.0 before the first."""
        return self._server_clock.offset(self._clock.seconds(), self._wall())

    def endpoint_status(self) -> list[EndpointStatus]:
        """What is thought of each endpoint now."""
        return self._choice.status(self._clock.seconds())

    # ------------------------------------------------------------------------------------------ service

    def startService(self) -> None:
        """Begin, by asking for the topology."""
        super().startService()
        self.wake()

    def stopService(self) -> Deferred[None]:
        """Send nothing more. Fires when no request is in flight; those that take too long are given up."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._requests:
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._idle = idle
        deadline = self._clock.callLater(self._settings.stop_seconds, self._give_up)
        stopped: Deferred[None] = idle.addCallback(lambda _: deadline.cancel() if deadline.active() else None)
        return stopped

    def _give_up(self) -> None:
        """End the requests that are still in flight."""
        for request in list(self._requests):
            request.cancel()

    # ------------------------------------------------------------------------------------------ turns

    def wake(self) -> None:
        """There may be something to send: call this when batches were added to the lanes. Many calls are one turn."""
        self._wake_at(NOW)

    def _wake_at(self, at: float) -> None:
        """Have a turn at `at`, or earlier."""
        if not self.running:
            return
        delay = max(0.0, at - self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(delay, self._try_turn)
        elif self._timer.getTime() > self._clock.seconds() + delay:
            self._timer.reset(delay)

    def _try_turn(self) -> None:
        """Have a turn. A defect in one must not be the end of all."""
        self._timer = None
        try:
            self._turn(self._clock.seconds())
        except Exception:
            self._log.failure("A turn failed")
            self._wake_at(self._clock.seconds() + self._settings.flush_seconds)

    def _turn(self, now: float) -> None:
        """Send what is due, and plan the next turn."""
        due = self._lanes.next_due() if self._met else NOW
        if due is None:
            return
        if (at := max(due, self._not_before)) > now:
            self._wake_at(at)
            return
        requests = []
        while self._is_due(now):
            name = self._choice.take(now)
            if name is None:
                break
            met = self._met.get(name)
            if met is None or now - met.at > self._settings.topology_seconds:
                self._start(self._meet(name, now))
            else:
                requests.append((name, self._gather(met.topology, now)))
        self._plan(now, bool(requests))
        for name, sent in requests:
            self._start(self._exchange(name, sent, now))

    def _is_due(self, now: float) -> bool:
        """Whether a request is to be made now: for a first topology, or for lanes."""
        due = self._lanes.next_due()
        return not self._met or (due is not None and due <= now)

    def _gather(self, topology: Topology, now: float) -> list[Outgoing]:
        """What one request takes."""
        most = self._settings.request_bytes
        if "body" in topology.limits:
            most = min(most, topology.limits["body"] * 3 // 4)  # the limit counts the header, too
        return self._lanes.gather(now, most, self._settings.request_batches)

    def _plan(self, now: float, sent: bool) -> None:
        """Plan the next turn. What found no endpoint waits for one, not for the flush interval."""
        if sent:
            self._flushed_at = now
        if self._is_due(now):
            at = self._choice.next_at(now)  # None: all are busy, and the next answer wakes
            if at is not None:
                self._wake_at(at)
            return
        if sent:
            self._not_before = now + self._interval
        due = self._lanes.next_due()
        if due is not None:
            self._wake_at(max(due, self._not_before))

    @property
    def _interval(self) -> float:
        return max(self._settings.flush_seconds, self.shortest_flush)

    # ------------------------------------------------------------------------------------------ requests

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run one request; whatever becomes of it, a turn follows."""
        request = Deferred.fromCoroutine(work)
        self._requests.add(request)
        request.addErrback(lambda failure: self._log.failure("A request could not be handled", failure))
        request.addBoth(self._ended, request)

    def _ended(self, _: object, request: Deferred[None]) -> None:
        self._requests.discard(request)
        self.wake()
        if not self._requests and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

    async def _meet(self, name: str, now: float) -> None:
        """Ask a server for its topology."""
        try:
            topology = await self._servers[name].topology()
            self._check_cluster(name, topology.cluster)
        except Exception as problem:
            self._met.pop(name, None)
            self._failed(name, problem)
            return
        self._answered(name, topology.time, now)
        self._met[name] = _Met(topology, self._clock.seconds())
        self.cluster = topology.cluster
        self._joined(topology)

    async def _exchange(self, name: str, sent: list[Outgoing], gathered: float) -> None:
        """Send what was gathered, and give the answer to the lanes."""
        try:
            batches = await self._bodies(sent)
        except Exception as problem:
            # The server has no part in this; the lanes' next turn is a flush interval away.
            self._lanes.failed(sent, self._clock.seconds())
            self._choice.released(name)
            self._report(problem, "The bodies of batches could not be read")
            return
        started = self._clock.seconds()
        if not batches:
            self._choice.released(name)
            return
        try:
            answer = await self._servers[name].append(AppendRequest(self.cluster or "", self._wall(), batches))
            self._check_cluster(name, answer.cluster)
        except Exception as problem:
            self._lanes.failed(sent, self._clock.seconds())
            self._failed(name, problem)
            return
        self._answered(name, answer.time, started)
        self.shortest_flush = answer.flush
        actions = self._lanes.answered(sent, answer.outcomes, gathered, self._clock.seconds())
        if any(each.lane.unsent > 1 for each in sent):
            self._not_before = min(self._not_before, self._flushed_at + self._interval / CATCH_UP)
        if actions:
            self._act(actions)

    async def _bodies(self, sent: Sequence[Outgoing]) -> tuple[Append, ...]:
        """The batches with their bodies, and the looks. A batch whose body is damaged stays at home: its lane asks."""
        held = [each for each in sent if each.held is not None]
        batches = [each.append for each in sent if each.held is None]
        wanted = [((each.lane.incarnation, each.lane.vbucket), each.held) for each in held if each.held]
        bodies = await self._read_bodies(wanted) if wanted else []
        for each, (_, batch), body in zip(held, wanted, bodies, strict=True):
            if body is None or len(body) != batch.length:
                self._lanes.unreadable(each, self._clock.seconds())
            else:
                batches.append(_with_body(each.append, body))
        return tuple(batches)

    def _check_cluster(self, name: str, cluster: str) -> None:
        if self.cluster not in (None, cluster):
            raise WrongCluster(name, cluster)

    # ------------------------------------------------------------------------------------------ what was learned

    def _answered(self, name: str, server_time: float, started: float) -> None:
        """A server answered."""
        now = self._clock.seconds()
        self._choice.answered(name, now, now - started)
        self._server_clock.heard(server_time, started, now)
        if name in self._told:
            self._told.discard(name)
            self._log.info("{name} answers again", name=name)

    def _failed(self, name: str, problem: Exception) -> None:
        """A server did not answer, or not with an answer."""
        now = self._clock.seconds()
        if isinstance(problem, WrongCluster):
            self._met.pop(name, None)
            self._choice.failed(name, now, STRANGER_SECONDS)
            self._tell(name, f"{problem}; this agent's spool belongs to {self.cluster}. Nothing is sent there.")
        elif isinstance(problem, EndpointDown):
            self._choice.failed(name, now, problem.retry_after)
            self._tell(name, f"A server does not answer: {problem}")
        else:
            self._choice.failed(name, now)
            self._report(problem, "A request could not be handled")

    def _tell(self, name: str, sentence: str) -> None:
        """Say it once until the server answers again."""
        if name not in self._told:
            self._told.add(name)
            self._log.warn("{sentence}", sentence=sentence)

    def _report(self, problem: Exception, sentence: str) -> None:
        """Log what nobody expects; giving a request up is none of that."""
        if not isinstance(problem, CancelledError):
            self._log.failure("{sentence}", Failure(problem), sentence=sentence)


def _with_body(batch: Append, body: bytes) -> Append:
    """The batch with its body: `evolve`, at a third of its cost, which counts here as it is done for every batch."""
    return Append(
        batch.vbucket,
        batch.incarnation,
        batch.seq,
        batch.after,
        batch.previous,
        batch.before,
        batch.events,
        batch.sealed,
        batch.checksum,
        body,
    )
