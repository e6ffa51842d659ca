"""Sends what the lanes have to send, and tells them what became of it. IO; the rules are those of `lanes`.

The forwarder asks a server for its topology and sends nothing before it has one. From then on it has turns: in each it
fills as few requests as the due lanes need, one endpoint for each, and sleeps until the lanes have something to send
again, or somebody calls `wake`. With nothing to send no timer runs.

Turns are at least a flush interval apart, the agent's own or the longer one that the servers ask for; while lanes have
fallen behind, an eighth of that.

All methods are to be called in the reactor thread.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from taba.agent.endpoints import Endpoints, EndpointStatus, ServerClock
from taba.agent.lanes import NOW, Action, Lanes, Outgoing, SetAside
from taba.errors import TabaError
from taba.interfaces import Append
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology

CATCH_UP = 8  # turns per flush interval while lanes have fallen behind
WRONG_CLUSTER_SECONDS = 60.0  # until a server of another cluster is asked again


class EndpointDown(TabaError):
    """A server did not answer, or not with an answer. What was asked may or may not have been done."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        """For how many seconds the server wants to be left alone, if it said so."""


class WrongCluster(TabaError):
    """A server belongs to another cluster than the one that the batches are for; it took nothing."""

    def __init__(self, cluster: str) -> None:
        super().__init__(f"the server belongs to cluster {cluster}")
        self.cluster = cluster


class BodyLost(TabaError):
    """The body of a held batch cannot be read any more, now or later."""


class IEndpoint(Interface):
    """One server, as the agent sees it. To be used in the reactor thread."""

    name = Attribute("What it is called in status pages and logs; no two endpoints of a forwarder have the same.")

    def topology() -> Deferred[Topology]:
        """Ask for the topology. Fails with EndpointDown. Cancelling ends the request."""

    def append(request: AppendRequest) -> Deferred[AppendAnswer]:
        """Send batches and looks. Fails with EndpointDown or WrongCluster. Cancelling ends the request.

        After EndpointDown, and after cancelling, the batches may be in their logs, or not, or come there later.
        """


@frozen
class ForwarderSettings:
    """How a forwarder behaves."""

    flush_seconds: float = 0.25
    """AGENT_FLUSH_SECONDS: the shortest time between two turns."""
    parallel: int = 1
    """AGENT_QUEUES_PER_SERVER: the most requests that one endpoint has in flight."""
    request_bytes: int = 4 * 1024 * 1024
    """The most bytes of bodies in a request; a larger single batch goes alone."""
    request_batches: int = 4096
    """The most batches and looks in a request."""
    stop_seconds: float = 5.0
    """How long stopService waits for requests in flight."""
    topology_seconds: float = 600.0
    """A topology older than this is asked for again, when there is something to send."""


class Forwarder(Service):
    """Delivers the batches of `lanes` to servers.

    `read_body` gives the body of a batch by its source; it fails with BodyLost when there is none any more, and with
    anything else when it may work later. `on_actions` is given what lanes ask for; where a batch was set aside, the
    Deferred it returns fires when that is on disk, and the lane waits for it. `on_topology` is given every topology.
    `cluster` is the id of the cluster that the batches are for; None takes the first one that answers.
    """

    _log = Logger()

    def __init__(
        self,
        lanes: Lanes,
        endpoints: Sequence[IEndpoint],
        read_body: Callable[[object], Deferred[bytes]],
        clock: IReactorTime,
        wall: Callable[[], float],
        chance: Callable[[], float],
        on_actions: Callable[[list[Action]], Deferred[None] | None],
        *,
        on_topology: Callable[[Topology], None] | None = None,
        cluster: str | None = None,
        settings: ForwarderSettings = ForwarderSettings(),  # noqa: B008  (frozen)
    ) -> None:
        self.cluster = cluster
        self.topology: Topology | None = None
        self.wrong_clusters: dict[str, str] = {}
        """Endpoint -> the other cluster's id that it answered with last."""
        self._lanes = lanes
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._choice = Endpoints(list(self._endpoints), chance, settings.parallel)
        self._read_body = read_body
        self._clock = clock
        self._wall = wall
        self._on_actions = on_actions
        self._on_topology = on_topology
        self._settings = settings
        self._server_clock = ServerClock()
        self._timer: IDelayedCall | None = None
        self._requests: set[Deferred[None]] = set()
        self._asking = False  # for the topology
        self._topology_at = 0.0
        self._interval = settings.flush_seconds
        self._flushed_at = NOW
        self._not_before = NOW
        self._idle: Deferred[None] | None = None  # fires when the last request has ended

    # -- service

    def startService(self) -> None:
        """Ask for the topology, and begin."""
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
        self._idle = idle = Deferred()
        deadline = self._clock.callLater(self._settings.stop_seconds, self._give_up)
        return idle.addCallback(lambda _: deadline.cancel() if deadline.active() else None)

    def _give_up(self) -> None:
        """End the requests that are still in flight."""
        for request in list(self._requests):
            request.cancel()

    # -- what others ask

    def wake(self) -> None:
        """There is something to send: call this when batches were added to the lanes. Cheap; many calls are one."""
        self._wake_at(NOW)

    def clock_offset(self) -> float:
        """Seconds to add to the wall time here to get the servers'; 0.0 before the first answer."""
        return self._server_clock.offset(self._clock.seconds(), self._wall())

    def endpoint_status(self) -> list[EndpointStatus]:
        """What is thought of each endpoint now."""
        return self._choice.status(self._clock.seconds())

    # -- turns

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
            self._turn()
        except Exception:
            self._log.failure("A turn failed")
            self._wake_at(self._clock.seconds() + self._interval)

    def _turn(self) -> None:
        """Send what is due, and plan the next turn."""
        now = self._clock.seconds()
        if self.topology is None:
            self._ask_topology(now)
            return
        due = self._lanes.next_due()
        if due is None:
            return
        if (at := max(due, self._not_before)) > now:
            self._wake_at(at)
            return
        if now - self._topology_at > self._settings.topology_seconds:
            self._ask_topology(now)
        taken = self._fill_requests(now, self.topology)
        self._plan(now, bool(taken))
        for name, sent in taken:
            self._start(self._exchange(name, sent, now))

    def _fill_requests(self, now: float, topology: Topology) -> list[tuple[str, list[Outgoing]]]:
        """Requests for all lanes that are due, as far as endpoints have room for them."""
        max_bytes = self._settings.request_bytes
        if "body" in topology.limits:
            max_bytes = min(max_bytes, topology.limits["body"] // 2)  # the header needs some room, too
        taken = []
        while (due := self._lanes.next_due()) is not None and due <= now:
            name = self._choice.take(now)
            if name is None:
                break
            taken.append((name, self._lanes.gather(now, max_bytes, self._settings.request_batches)))
        return taken

    def _plan(self, now: float, sent: bool) -> None:
        """Plan the next turn. What found no endpoint waits for one, not for the flush interval."""
        due = self._lanes.next_due()
        if sent:
            self._flushed_at = now
        if due is not None and due <= now:
            at = self._choice.next_at(now)
            if at is not None:
                self._wake_at(at)
            return
        if sent:
            self._not_before = now + self._interval
        if due is not None:
            self._wake_at(max(due, self._not_before))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run one request; whatever becomes of it, a turn follows."""
        request = Deferred.fromCoroutine(work)
        self._requests.add(request)
        request.addErrback(lambda failure: self._log.failure("A request ended unexpectedly", failure))
        request.addBoth(self._ended, request)

    def _ended(self, _: object, request: Deferred[None]) -> None:
        self._requests.discard(request)
        self.wake()
        if not self._requests and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

    # -- topology

    def _ask_topology(self, now: float) -> None:
        """Ask one endpoint, unless one is being asked already."""
        if self._asking:
            return
        name = self._choice.take(now)
        if name is None:
            if (at := self._choice.next_at(now)) is not None:
                self._wake_at(at)
            return
        self._asking = True
        self._start(self._topology_from(name, now))

    async def _topology_from(self, name: str, now: float) -> None:
        try:
            topology = await self._endpoints[name].topology()
            self._check_cluster(topology.cluster)
        except (EndpointDown, WrongCluster, CancelledError) as problem:
            self._note_failure(name, problem)
            return
        except Exception:
            self._log.failure("Could not ask {endpoint} for the topology", endpoint=name)
            self._choice.failed(name, self._clock.seconds())
            return
        finally:
            self._asking = False
        self._note_answer(name, topology.time, now)
        self.cluster, self.topology, self._topology_at = topology.cluster, topology, self._clock.seconds()
        if self._on_topology is not None:
            self._on_topology(topology)

    def _check_cluster(self, cluster: str) -> None:
        if self.cluster not in (None, cluster):
            raise WrongCluster(cluster)

    # -- one request

    async def _exchange(self, name: str, sent: list[Outgoing], gathered_at: float) -> None:
        """Send what was gathered, and give the answer back to the lanes. Never fails."""
        try:
            batches = await self._with_bodies(sent)
            if not batches:
                self._choice.released(name)
                return
            started = self._clock.seconds()
            answer = await self._endpoints[name].append(AppendRequest(self.cluster or "", self._wall(), batches))
            self._check_cluster(answer.cluster)
        except (EndpointDown, WrongCluster, CancelledError) as problem:
            self._lanes.failed(sent, self._clock.seconds())
            self._note_failure(name, problem)
            return
        except Exception:
            self._log.failure("Could not send to {endpoint}", endpoint=name)
            self._lanes.failed(sent, self._clock.seconds())
            self._choice.failed(name, self._clock.seconds())
            return
        self._note_answer(name, answer.time, started)
        self._interval = max(self._settings.flush_seconds, answer.flush)
        self._act(self._lanes.answered(sent, answer.outcomes, gathered_at, self._clock.seconds()))
        if any(each.lane.unsent > 1 for each in sent):
            self._not_before = min(self._not_before, self._flushed_at + self._interval / CATCH_UP)

    async def _with_bodies(self, sent: list[Outgoing]) -> tuple[Append, ...]:
        """The batches with their bodies, and the looks. What cannot be read stays behind."""
        held = [(each, each.held) for each in sent if each.held is not None]
        batches = [each.append for each in sent if each.held is None]
        bodies = await DeferredList(
            [maybeDeferred(self._read_body, batch.source) for _, batch in held], consumeErrors=True
        )
        later: list[Failure] = []
        for (each, batch), (read, body) in zip(held, bodies, strict=True):
            if not read and not body.check(BodyLost):
                later.append(body)
                self._lanes.failed([each], self._clock.seconds())
            elif not read or len(body) != batch.length:
                self._lanes.unreadable(each, self._clock.seconds())
            else:
                batches.append(_with_body(each.append, body))
        if later:
            self._log.failure("Could not read {count} batches, the first because of this", later[0], count=len(later))
        return tuple(batches)

    def _act(self, actions: list[Action]) -> None:
        """Have the actions carried out; lanes that set something aside go on when that is on disk."""
        if not actions:
            return
        aside = [(each.incarnation, each.vbucket) for each in actions if isinstance(each, SetAside)]
        done = maybeDeferred(self._on_actions, actions)
        # A lane that waited for ever because its note failed would fill the disk: it goes on, and the log says so.
        done.addErrback(lambda failure: self._log.failure("Could not carry out what the lanes ask for", failure))
        if aside:
            done.addCallback(self._noted, aside)

    def _noted(self, _: object, lanes: list[tuple[str, int]]) -> None:
        for incarnation, vbucket in lanes:
            self._lanes.noted(incarnation, vbucket, self._clock.seconds())
        self.wake()

    # -- what was learned of an endpoint

    def _note_answer(self, name: str, server_time: float, started: float) -> None:
        now = self._clock.seconds()
        self.wrong_clusters.pop(name, None)
        self._choice.answered(name, now, now - started)
        self._server_clock.heard(server_time, started, now)

    def _note_failure(self, name: str, problem: Exception) -> None:
        now = self._clock.seconds()
        if isinstance(problem, WrongCluster):
            self.wrong_clusters[name] = problem.cluster
            self._log.error("{endpoint}: {problem}, not to {here}", endpoint=name, problem=problem, here=self.cluster)
            self._choice.failed(name, now, WRONG_CLUSTER_SECONDS)
            return
        self._log.info("{endpoint} does not answer: {problem}", endpoint=name, problem=problem)
        self._choice.failed(name, now, getattr(problem, "retry_after", None))


def _with_body(batch: Append, body: bytes) -> Append:
    """The batch with its body; evolve() does the same, at three times the cost, for every batch there is."""
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
