"""Ten times what can be done: `python -m tests.benchmarks overload [CASE...]`, on real processes.

Clients offer events at a steady rate, whatever they are told, to an agent in front of a server. Then something breaks,
so that a tenth of what comes can be done at most, or, in a flood, ten times as much is offered as the server can fold;
later it is well again. Of each case is printed: the time to visibility before, the rates, what was refused, the peak of
every process's resident memory, how long after the end the time to visibility is back to 1.2 times what it was, and
whether every acknowledged event is counted once. That is checked; the rest is figures.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from attrs import define, field, frozen

from tests.benchmarks.overload_cases import CASES, Case, Cluster, cluster_for
from tests.benchmarks.report import Figure
from tests.processes.offered import Offering, Probe, prepared
from tests.processes.surroundings import until

MIB = 1 << 20
BACK = 1.2
"""So many times the base is called back to it."""
WINDOW_SECONDS = 4.0
"""Over so long what is back is judged."""


@frozen
class Plan:
    """How much is offered, and for how long, in seconds."""

    clients: int = 10
    tabs: int = 500
    events: int = 8
    """In a tab of a body; a body of each client a second."""
    warm: float = 8.0
    base: float = 15.0
    broken: float = 60.0
    after: float = 90.0
    """At most; less when it is back sooner."""
    drained: float = 300.0
    """In which everything has to be visible in the end."""
    flood: int = 10
    """Times the capacity, in a flood."""
    most_clients: int = 600
    """Of a flood."""


@define
class Outcome:
    """What came of a case."""

    case: Case
    base: Sequence[float]
    """Seconds to visibility, sorted."""
    rates: Mapping[str, float]
    peaks: Mapping[str, int]
    refusals: Mapping[int, int]
    back: float | None
    """Seconds until the median is back; None when it was not."""
    back_all: float | None
    """The same for the slowest of a window, compared with the slowest of the base."""
    worst: float
    """The longest that an event of the probe took."""
    accepted: int
    counted: int
    drained: float
    """Seconds from the end of the load until all is visible."""
    notes: dict[str, float] = field(factory=dict)

    def lines(self) -> list[str]:
        """For people."""
        base = self.base
        said = [
            f"{self.case.name}: {self.case.meaning}",
            f"  base: p50 {quantile(base, 0.5):.2f} s, p99 {quantile(base, 0.99):.2f} s",
            "  " + ", ".join(f"{name} {value:.3g}" for name, value in self.rates.items()),
            "  refused: " + (", ".join(f"{n} x {status or 'none'}" for status, n in self.refusals.items()) or "none"),
            "  peak: " + ", ".join(f"{name} {size / MIB:.0f} MiB" for name, size in self.peaks.items()),
            f"  back to {BACK} x base: p50 {_seconds(self.back)}, slowest {_seconds(self.back_all)};"
            f" the slowest event took {self.worst:.1f} s",
            f"  acknowledged {self.accepted}, counted {self.counted}: {'equal' if self.exact else 'NOT EQUAL'},"
            f" all visible {self.drained:.1f} s after the last",
        ]
        return said + [f"  {name}: {value:.3g}" for name, value in self.notes.items()]

    @property
    def exact(self) -> bool:
        """Whether every acknowledged event is counted once."""
        return self.accepted == self.counted


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"after {value:.1f} s"


def quantile(values: Sequence[float], q: float) -> float:
    """Of sorted values; infinity of none."""
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("inf")


def tabs_of(count: int) -> list[str]:
    """The tabs that are offered."""
    return [f"over_{n:05d}" for n in range(count)]


def offering(cluster: Cluster, plan: Plan, clients: int, name: str) -> Offering:
    """So many clients of a plan, not started."""
    tabs = tabs_of(plan.tabs)
    bodies = [prepared(f"{name}_{n}", tabs, plan.events) for n in range(clients)]
    return Offering(cluster.agent.port, bodies, plan.tabs * plan.events, 1.0)


def back_after(probe: Probe, since: float, until_when: float, limit: float, q: float) -> float | None:
    """Seconds from `since` until a quantile of a window is within a limit."""
    start = since
    while start + WINDOW_SECONDS <= until_when:
        window = probe.between(start, start + WINDOW_SECONDS)
        if len(window) >= int(WINDOW_SECONDS * 3) and quantile(window, q) <= limit:
            return start - since
        start += 0.25
    return None


def counted(cluster: Cluster) -> tuple[int, float]:
    """Count and total of everything that was offered, as the server has it."""
    answer = cluster.server.ask("/supertabs?re=1&name=over_", Accept="application/json")
    if answer.status != 200 or not answer.text.strip():
        return 0, 0.0
    facts = json.loads(answer.text)["pct"]
    return int(facts["count"]), float(facts["total"])


def run_case(case: Case, plan: Plan, **settings: Mapping[str, object]) -> Outcome:
    """One case, from the start of its processes to their end."""
    with cluster_for(case, **settings) as cluster:
        probe = Probe(cluster.agent.port, cluster.server.port)
        run = _Run(case, plan, cluster, probe, offering(cluster, plan, plan.clients, "steady"))
        base = run.well()
        ended, rates = run.broken(base)
        back = run.back(base, ended)
        return run.outcome(base, rates, *back)


@frozen
class _Base:
    """What was seen while all was well."""

    times: Sequence[float]
    """Seconds to visibility, sorted."""
    rate: float
    """Events a second that were acknowledged."""
    passed: Mapping[str, float]
    """Bytes a second, as `Cluster.passed` names them."""
    used: float
    """Of a CPU, by the server."""
    peaks: Mapping[str, int]


@define
class _Run:
    """A case under way: `well`, `broken`, `back` and `outcome` follow one another."""

    case: Case
    plan: Plan
    cluster: Cluster
    probe: Probe
    steady: Offering
    floods: list[Offering] = field(factory=list)
    """Those beside the steady one: one, once something is broken."""

    def well(self) -> _Base:
        """Offer what is steady, and see how long it takes to be visible."""
        plan, cluster = self.plan, self.cluster
        self.probe.start()
        self.steady.start()
        time.sleep(plan.warm)
        began, before, cpu = time.monotonic(), cluster.passed(), cluster.server.cpu_seconds()
        accepted = self.steady.accepted
        time.sleep(plan.base)
        passed = {name: (value - before[name]) / plan.base for name, value in cluster.passed().items()}
        used = (cluster.server.cpu_seconds() - cpu) / plan.base
        rate = (self.steady.accepted - accepted) / plan.base
        times = self.probe.between(began, time.monotonic() - min(3.0, plan.base / 2))
        return _Base(times, rate, passed, used, cluster.peaks())

    def broken(self, base: _Base) -> tuple[float, Mapping[str, float]]:
        """Break something, or let a flood come, and mend it: when that was, and what was offered and taken."""
        plan, steady = self.plan, self.steady
        flood = offering(self.cluster, plan, _flood_clients(self.case, plan, base.used), "flood")
        self.floods.append(flood)
        offered, accepted = steady.offered, steady.accepted
        flood.start()
        self.case.begin(self.cluster, base.passed)
        time.sleep(plan.broken)
        rates = {
            "base events/s": base.rate,
            "offered": (steady.offered + flood.offered - offered) / plan.broken,
            "accepted": (steady.accepted + flood.accepted - accepted) / plan.broken,
        }
        self.case.end(self.cluster)
        ended = time.monotonic()
        flood.finish(plan.drained)
        return ended, rates

    def back(self, base: _Base, ended: float) -> tuple[float | None, float | None]:
        """Wait until the time to visibility is what it was before: how long that took for median and slowest."""
        limits = BACK * quantile(base.times, 0.5), BACK * quantile(base.times, 0.99)
        back = back_all = None
        while time.monotonic() < ended + self.plan.after and (back is None or back_all is None):
            time.sleep(0.5)
            back, back_all = (
                back_after(self.probe, ended, time.monotonic(), limit, q)
                for limit, q in zip(limits, (0.5, 0.99), strict=True)
            )
        return back, back_all

    def outcome(self, base: _Base, rates: Mapping[str, float], back: float | None, back_all: float | None) -> Outcome:
        """End it: wait until everything that was acknowledged is visible, and count it."""
        plan, cluster, steady = self.plan, self.cluster, self.steady
        spool = cluster.agent.json("/status")["spool_bytes"]
        steady.finish(plan.drained)
        stopped = time.monotonic()
        accepted = steady.accepted + sum(each.accepted for each in self.floods)
        until(lambda: counted(cluster)[0] >= accepted, plan.drained, lambda: f"all is visible: {counted(cluster)}")
        drained = time.monotonic() - stopped
        time.sleep(1.0)  # what is counted twice may come later
        self.probe.finish(plan.drained)
        count, total = counted(cluster)
        refusals = sum((Counter(each.refusals) for each in (steady, *self.floods)), Counter[int]())
        notes = {
            "server's CPU in the base": base.used,
            "flood clients": float(sum(len(each.bodies) for each in self.floods)),
            "agent's peak in the base, MiB": base.peaks["agent"] / MIB,
            "server's peak in the base, MiB": base.peaks["server"] / MIB,
            "agent's spool at the end, MiB": spool / MIB,
        }
        return Outcome(
            self.case, base.times, rates, cluster.peaks(), refusals, back, back_all,
            max(took for _, took in self.probe.seen), accepted, count if total == count else -1, drained, notes,
        )  # fmt: skip


def _flood_clients(case: Case, plan: Plan, used: float) -> int:
    """Clients beside the steady ones: with them so many times of what the server could do, which spends `used` of a
    CPU on these.
    """
    wanted = int(plan.flood * plan.clients / max(used, 0.01))
    return min(plan.most_clients, wanted) - plan.clients if case.flood else 0


def run(names: Sequence[str] = ()) -> Iterator[Figure]:
    """All of it, or the cases named."""
    for name in names or CASES:
        outcome = run_case(CASES[name], Plan())
        print("\n".join(outcome.lines()), file=sys.stderr, flush=True)
        if not outcome.exact:
            raise RuntimeError(f"{name}: {outcome.counted} events are counted of {outcome.accepted}")
        for process, peak in outcome.peaks.items():
            yield Figure(f"{name}: the {process}'s memory at most", [peak / MIB], "MiB", _BUDGETS[process], True)
        back = outcome.back if outcome.back is not None else float("inf")
        yield Figure(f"{name}: time to visibility is back to {BACK} x base after", [back], "s", 60.0, True)


_BUDGETS = {"agent": 256.0, "server": 512.0}
