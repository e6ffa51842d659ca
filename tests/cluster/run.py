"""One run of the simulated cluster: traffic and faults by a seed, healing, rest, and the recount."""

from __future__ import annotations

import contextlib
import io
import re
import time
from collections import Counter
from collections.abc import Collection, Mapping
from random import Random
from typing import Any

from attrs import define, field, frozen

from taba.process import Process as Machine
from taba.settings import TabSettings
from taba.testing.cluster import AGENT_PORT, MemoryCluster
from taba.testing.machine import running
from taba.testing.members import ApplicationMember, Member
from taba.testing.world import NotQuiet, NotReached
from tests.cluster.events import Violation
from tests.cluster.faults import VERBS, Faults
from tests.cluster.oracle import Oracle
from tests.cluster.original import OriginalClient

SECONDS = 90.0
"""Virtual seconds of traffic and faults."""
FAULTS = 14
"""Faults of one run, about."""
REST_SECONDS = 400.0
"""Virtual seconds within which all must have come to rest once it is healed."""


def kept_shortly(merging: bool) -> dict[str, Any]:
    """Settings of servers that prune what was silent for a minute; with `merging` some tabs keep no State per client.
    """
    tabs = (TabSettings("[cp][0-2]$", "merge"), TabSettings("c4", "keep")) if merging else ()
    return {"client_ttl": 60.0, "tabs": tabs}


@frozen
class Result:
    """What a run came to."""

    seed: int
    problem: str | None
    """What was wrong, or None."""
    fingerprint: str
    virtual_seconds: float
    cpu_seconds: float
    events: int
    notes: dict[str, int]
    meetings: Counter[tuple[str, str]] = field(repr=False)
    trace: list[str] = field(repr=False)


@define(eq=False)
class Run:
    """One run."""

    seed: int
    verbs: Collection[str] | None = None
    """The verbs that may be drawn; None lets the seed draw half of them."""
    keep_trace: bool = False
    random: Random = field(init=False)
    known_verbs: Mapping[str, float] = field(default=VERBS, init=False)
    """All verbs of this kind of run, and how often each is drawn."""
    cluster: MemoryCluster = field(init=False)
    oracle: Oracle = field(init=False)
    faults: Faults = field(init=False)
    original: Member | None = field(default=None, init=False)
    """A client without numbers, in some runs."""

    def __attrs_post_init__(self) -> None:
        self.random = Random(f"{self.seed}/run")
        self._build()
        if self.random.random() < 0.4:
            self.original = self._add_original()
        if self.verbs is None:
            self.verbs = [verb for verb in self.known_verbs if self.random.random() < 0.5]

    def _build(self) -> None:
        """Make cluster, recount and faults."""
        embedded, merging = self.random.random() < 0.3, self.random.random() < 0.3
        self.cluster = MemoryCluster(
            self.seed,
            keep_trace=self.keep_trace,
            embedded_agent=embedded,
            server_settings=kept_shortly(merging),
        )
        self.oracle = Oracle(self.cluster)
        self.faults = Faults(self.cluster, self.oracle, self.random)

    def _add_original(self) -> Member:
        url = f"http://{self.cluster.agents[0].name}:{AGENT_PORT}/post"

        def make(machine: Machine) -> OriginalClient:
            return OriginalClient(machine, "original", url, self.oracle.acknowledge)

        return Member(self.cluster.world.node("original"), running(make))

    def go(self) -> Result:
        """Run; never raises for what is wrong with the code under test."""
        started = time.process_time()
        problem = None
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # a process that cannot start says so there
                self._go()
        except (Violation, NotReached, NotQuiet) as wrong:
            problem = f"{type(wrong).__name__}: {wrong}"
        world = self.cluster.world
        result = Result(
            self.seed,
            problem,
            world.fingerprint(),
            world.clock.seconds(),
            time.process_time() - started,
            len(self.oracle.fates),
            self.oracle.notes,
            world.meetings,
            world.trace,
        )
        world.close()
        return result

    def _go(self) -> None:
        self.cluster.world.note(f"verbs {' '.join(self.verbs or ())}")
        self._start()
        if self.original is not None:
            self.original.start()
        self._trouble()
        self._rest()
        if "redeliver" in (self.verbs or ()):
            for _ in range(5):
                self.faults.redeliver()
                self.cluster.world.advance(self.random.random())
            self._rest()
        self.faults.operating.finish(lambda: self.cluster.settle(REST_SECONDS))
        self.oracle.check_at_rest()
        self._check_quiet()

    def _start(self) -> None:
        for member in self.cluster.members():
            member.start()
            if isinstance(member, ApplicationMember):
                self.oracle.begins(member)

    def _trouble(self) -> None:
        """Traffic, and faults between."""
        world = self.cluster.world
        weights = [self.known_verbs[verb] for verb in self.verbs or ()]
        next_check = 20.0
        while world.clock.seconds() < SECONDS:
            world.advance(self.random.expovariate(1.5))
            self.cluster.supervise()
            self._traffic()
            if weights and self.random.random() < FAULTS * 0.67 / SECONDS:
                getattr(self.faults, self.random.choices(list(self.verbs or ()), weights)[0])()
            if self.random.random() < 0.05:
                self.faults.backup()
            if world.clock.seconds() >= next_check:
                next_check += 20.0
                for view in self.oracle.views():
                    self.oracle.check_always(view)

    def _traffic(self) -> None:
        for member in self.cluster.applications:
            if member.up and member.service is not None and self.random.random() < 0.6:
                for _ in range(self.random.choice((1, 1, 2, 5))):
                    self.oracle.record(member, self.random.choice("ccccppg"))
        if self.original is not None and self.random.random() < 0.4:
            self.original.service.record(self.oracle.record_unnumbered("original"))

    def _rest(self) -> None:
        self._heal()
        if self.original is not None:
            client: OriginalClient = self.original.service
            self.cluster.world.run_until(
                lambda: not client.waiting and not client.sending, REST_SECONDS, "the client without numbers"
            )
        self.cluster.settle(REST_SECONDS)
        self.oracle.check_at_rest()

    def _heal(self) -> None:
        """End all faults; what a fault would begin later has begun by then."""
        for host in self.cluster.hosts():
            host.node.disk.on_step = None
        self.faults._mid_call = None
        self.faults.let_end()
        for member in self.cluster.members():
            if not member.up and isinstance(member, ApplicationMember):
                member.start()
                self.oracle.begins(member)
        self.cluster.heal()

    def _check_quiet(self) -> None:
        """Nothing was logged as an error but that a process could not start while its disk failed."""
        world = self.cluster.world
        if {"disk_full", "disk_read_only", "fsync_fails"} & set(self.verbs or ()):
            world.problems = [each for each in world.problems if not _START.match(each.text)]
        world.check_quiet()


_START = re.compile(r"(Taba cannot start: )?The (spool in \S+ cannot be used|store cannot be opened): ")


def run_seed(seed: int, keep_trace: bool = False) -> Result:
    """Run one seed."""
    return Run(seed, keep_trace=keep_trace).go()
