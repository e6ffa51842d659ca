"""A thousand agents, and a fleet of servers that is away for a while and comes back at once: do they trample it down?

The agents' sending half is the real one: `Forwarder`, `Endpoints`, `Lanes`, on virtual time. The rest is a light model:
an agent seals a batch of each of its lanes every flush, but where batches wait already; a server answers requests one
after another, each taking SERVICE_SECONDS and time by its bytes, and the network takes about a millisecond. What is
measured are the requests that reach servers, by time.

    python -m tests.cluster.stampede                       # 1,000 agents, 3 servers, away for 60 s
    python -m tests.cluster.stampede --agents 200 --outage 5 --silent
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from taba.agent.endpoint import EndpointDown, IEndpoint
from taba.agent.forwarder import Forwarder
from taba.agent.held import Held
from taba.agent.lanes import Lanes
from taba.agent.records import LaneKey
from taba.interfaces import Append, Outcome, Verdict
from taba.testing.clock import HeapClock
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology

CLUSTER, LINEAGE = "c" * 32, "2" * 32
WALL = 1_700_000_000.0
CONFIRM_SECONDS = 30.0
TIME_LIMIT = 10.0
"""Of a request, as `HTTPEndpoint` has it."""
SERVICE_SECONDS = 0.0005
BYTES_A_SECOND = 100e6
SLICE = 0.1
"""Seconds; requests are counted in slices of this length."""


@frozen
class Scene:
    """What is played."""

    agents: int = 1000
    servers: int = 3
    outage: float = 60.0
    silent: bool = False
    """Whether servers are away without a word, instead of refusing connections."""
    lanes: int = 8
    flush: float = 1.0
    body: int = 300
    steady: float = 60.0
    """Seconds before the outage; the rate of the second half is what is compared with."""
    after: float = 60.0
    seed: int = 1


@implementer(IEndpoint)
@define(eq=False)
class ModelServer:
    """One server: a queue, and counts of what arrived."""

    name: str
    clock: HeapClock
    random: Random
    log: dict[tuple[str, int], int]
    up: bool = True
    silent: bool = False
    arrived: Counter[tuple[str, int]] = field(factory=Counter)
    """(topology or append, slice) -> requests."""
    brought: Counter[int] = field(factory=Counter)
    """Slice -> bytes of bodies."""
    free_at: float = 0.0
    longest: float = 0.0
    """The longest that a request waited."""

    def topology(self) -> Deferred[Topology]:
        """See IEndpoint."""
        return self._asked("topology", 0, lambda: Topology(CLUSTER, 8, durability="memory", time=self._wall()))

    def append(self, request: AppendRequest) -> Deferred[AppendAnswer]:
        """See IEndpoint."""
        size = sum(len(each.body or b"") for each in request.batches)
        return self._asked("append", size, lambda: self._append(request))

    def _wall(self) -> float:
        return WALL + self.clock.seconds()

    def _append(self, request: AppendRequest) -> AppendAnswer:
        return AppendAnswer(CLUSTER, self._wall(), 0.0, tuple(self._judge(each) for each in request.batches))

    def _judge(self, batch: Append) -> Outcome:
        lane = batch.incarnation, batch.vbucket
        last = self.log.get(lane, 0)
        if batch.body is not None and batch.after <= last < batch.seq:
            self.log[lane] = last = batch.seq
        verdict = Verdict.OK if batch.seq <= last else Verdict.GAP
        return Outcome(batch.vbucket, batch.incarnation, batch.seq, verdict, last, last or None, LINEAGE)

    def _asked(self, kind: str, size: int, answer: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        way = 0.0005 + 0.001 * self.random.random()
        if not self.up:
            problem = EndpointDown("away")
            self.clock.callLater(TIME_LIMIT if self.silent else way, done.errback, problem)
            return done
        now = self.clock.seconds()
        self.arrived[kind, int(now / SLICE)] += 1
        self.brought[int(now / SLICE)] += size
        self.free_at = max(self.free_at, now) + SERVICE_SECONDS + size / BYTES_A_SECOND
        waits = self.free_at - now
        self.longest = max(self.longest, waits)
        if waits > TIME_LIMIT:
            self.clock.callLater(TIME_LIMIT, done.errback, EndpointDown("no answer"))
        else:
            self.clock.callLater(waits + way, lambda: done.callback(answer()))
        return done


class ModelAgent:
    """One agent: the real sending half, and batches that are sealed by the clock."""

    def __init__(self, number: int, scene: Scene, clock: HeapClock, servers: Sequence[ModelServer]) -> None:
        random = Random(f"{scene.seed}/{number}")
        self.incarnation = f"{number:032x}"
        self.lanes = Lanes(CONFIRM_SECONDS, random.random())
        self._scene = scene
        self._clock = clock
        self._body = bytes(scene.body)
        self._given = dict.fromkeys(range(scene.lanes), 0)
        self.forwarder = Forwarder(
            self.lanes,
            servers,
            self._read,
            lambda actions: None,
            lambda topology: None,
            clock,
            lambda: WALL + clock.seconds(),
            random.random,
            requests_per_endpoint=1,
        )
        clock.callLater(scene.flush * random.random(), self._start)

    def _start(self) -> None:
        self.forwarder.startService()
        self._seal()

    def _seal(self) -> None:
        for vbucket, last in self._given.items():
            if self.lanes.unsent(self.incarnation, vbucket) < 2:
                self._given[vbucket] = last + 1
                held = Held(last + 1, last, last, 1, WALL, last + 1, len(self._body))
                self.lanes.add(self.incarnation, vbucket, held)
        self.forwarder.wake()
        self._clock.callLater(self._scene.flush, self._seal)

    def _read(self, wanted: Sequence[tuple[LaneKey, Held]]) -> Deferred[list[bytes | None]]:
        return succeed([self._body for _ in wanted])

    def unsent(self) -> int:
        """Batches that no server is known to have."""
        return sum(self.lanes.unsent(self.incarnation, vbucket) for vbucket in self._given)


@frozen
class Figures:
    """What came of it; rates are requests a second, over all servers."""

    steady: float
    first_second: float
    """In the first second after the return."""
    peak: float
    """In the worst second after the return."""
    peak_slice: float
    """The rate of the worst SLICE after the return."""
    peak_topologies: float
    """Topologies alone, in the worst second."""
    peak_server: float
    """At the one server that had the most in a second, times the number of servers."""
    longest: float
    """Seconds that the longest request waited at a server."""
    back: float
    """Seconds from the return until nine in ten agents have sent all they held before it."""
    all_back: float
    """Until all have."""

    def lines(self) -> list[str]:
        """A table."""
        return [
            f"steady                        {self.steady:8.0f} requests/s",
            f"first second after the return {self.first_second:8.0f}",
            f"worst second                  {self.peak:8.0f}   {self.peak / self.steady:5.2f} times steady",
            f"worst {SLICE * 1000:3.0f} ms                  {self.peak_slice:8.0f}   "
            f"{self.peak_slice / self.steady:5.2f} times steady",
            f"worst server (times servers)  {self.peak_server:8.0f}",
            f"topologies in a second        {self.peak_topologies:8.0f}",
            f"longest wait at a server      {self.longest * 1000:8.0f} ms",
            f"backlog of 90 % sent after    {self.back:8.1f} s, of all after {self.all_back:.1f} s",
        ]


def play(scene: Scene) -> Figures:
    """Play a scene."""
    clock = HeapClock()
    log: dict[tuple[str, int], int] = {}
    clock.advance(1000.0)
    names = [f"server-{number}" for number in range(1, scene.servers + 1)]
    servers = [ModelServer(name, clock, Random(f"{scene.seed}/{name}"), log, silent=scene.silent) for name in names]
    agents = [ModelAgent(number, scene, clock, servers) for number in range(scene.agents)]
    clock.advance(scene.steady)
    for each in servers:
        each.up = False
    down = clock.seconds()
    clock.advance(scene.outage)
    for each in servers:
        each.up, each.longest = True, 0.0
    returned = clock.seconds()
    waiting = {agent for agent in agents if agent.unsent()}
    held, ages = len(waiting), []
    while clock.seconds() < returned + scene.after:
        clock.advance(SLICE)
        done = {agent for agent in waiting if agent.unsent() < scene.lanes}
        waiting -= done
        ages += [clock.seconds() - returned] * len(done)
    ages += [float("inf")] * (held - len(ages))
    return figures(scene, servers, down, returned, ages)


def figures(
    scene: Scene, servers: Sequence[ModelServer], down: float, returned: float, ages: Sequence[float]
) -> Figures:
    """What was counted, as rates."""
    a_second = round(1 / SLICE)
    by_server = [Counter[int]() for _ in servers]
    topologies = Counter[int]()
    for counts, server in zip(by_server, servers, strict=True):
        for (kind, at), count in server.arrived.items():
            counts[at] += count
            topologies[at] += count if kind == "topology" else 0
    every = sum(by_server, Counter[int]())
    begin, end = int(returned / SLICE), int((returned + scene.after) / SLICE)

    def worst(counts: Counter[int], width: int) -> float:
        return max(sum(counts[at + n] for n in range(width)) for at in range(begin, end - width)) / (width * SLICE)

    since, until = int((down - scene.steady / 2) / SLICE), int(down / SLICE)
    return Figures(
        steady=sum(every[at] for at in range(since, until)) / (scene.steady / 2),
        first_second=sum(every[begin + n] for n in range(a_second)),
        peak=worst(every, a_second),
        peak_slice=worst(every, 1),
        peak_topologies=worst(topologies, a_second),
        peak_server=max(worst(counts, a_second) for counts in by_server) * scene.servers,
        longest=max(each.longest for each in servers),
        back=sorted(ages)[len(ages) * 9 // 10] if ages else 0.0,
        all_back=max(ages, default=0.0),
    )


def main(arguments: Sequence[str]) -> None:
    """Play what the command line says, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("agents", "servers", "lanes", "seed", "body"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Scene(), name))
    for name in ("outage", "flush", "steady", "after"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Scene(), name))
    parser.add_argument("--silent", action="store_true", help="servers are away without a word")
    scene = Scene(**vars(parser.parse_args(arguments)))
    begun = time.process_time()
    found = play(scene)
    print(f"{scene.agents} agents, {scene.servers} servers, away for {scene.outage:g} s, seed {scene.seed}:")
    print("\n".join(f"  {line}" for line in found.lines()))
    print(f"  ({time.process_time() - begun:.0f} s of processor time)")


if __name__ == "__main__":
    main(sys.argv[1:])
