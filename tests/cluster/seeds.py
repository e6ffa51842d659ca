"""Many runs of the simulated cluster, over the processors of this machine."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator

from attrs import define, field, frozen
from twisted.logger import globalLogBeginner

from taba.testing.world import met_table
from tests.cluster.faults import VERBS
from tests.cluster.run import Result, run_seed

REPEAT_EVERY = 25
"""One in so many seeds runs twice, and both runs must be equal."""


@frozen
class Outcome:
    """What is told of a seed over the border between processes."""

    seed: int
    problem: str | None
    virtual_seconds: float
    cpu_seconds: float
    events: int
    notes: dict[str, int]
    meetings: Counter[tuple[str, str]]


def _begin_quietly() -> None:
    """Runs look at the log themselves; what processes say to their operators is not for the terminal."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)


def run_one(seed: int, run: Callable[[int], Result] = run_seed) -> Outcome:
    """Run a seed, twice now and then; whatever goes wrong is its problem."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            result = run(seed)
            problem = result.problem
            if seed % REPEAT_EVERY == 0 and run(seed).fingerprint != result.fingerprint:
                problem = f"{problem or ''} a second run differs from the first one"
    except Exception:
        return Outcome(seed, traceback.format_exc(limit=-8), 0.0, 0.0, 0, {}, Counter())
    mine = Counter({key: count for key, count in result.meetings.items() if key[0].startswith("* ")})
    return Outcome(
        seed, problem, result.virtual_seconds, result.cpu_seconds, result.events, dict(result.notes), mine
    )


@define
class Report:
    """All outcomes together. `verbs` are those that runs may draw, `replay` the module that repeats one."""

    verbs: Collection[str] = tuple(VERBS)
    replay: str = "tests.cluster.replay"
    outcomes: list[Outcome] = field(factory=list)

    @property
    def failures(self) -> list[Outcome]:
        """Those with a problem."""
        return sorted((each for each in self.outcomes if each.problem), key=lambda each: each.seed)

    def meetings(self) -> Counter[tuple[str, str]]:
        """Which fault met which state, how often."""
        total: Counter[tuple[str, str]] = Counter()
        for each in self.outcomes:
            total.update(each.meetings)
        return total

    def never_met(self) -> list[str]:
        """The verbs that no run came to."""
        met = {verb.removeprefix("* ") for verb, _ in self.meetings()}
        return sorted(set(self.verbs) - met)

    def notes(self) -> dict[str, int]:
        """The figures of all runs: sums, but of what is the longest the longest."""
        total: Counter[str] = Counter()
        for each in self.outcomes:
            for name, figure in each.notes.items():
                total[name] = max(total[name], figure) if name.startswith("longest") else total[name] + figure
        return dict(total)

    def text(self) -> str:
        """For people."""
        seconds = sum(each.virtual_seconds for each in self.outcomes)
        cpu = sum(each.cpu_seconds for each in self.outcomes)
        notes = self.notes()
        lines = [
            met_table(self.meetings()),
            f"{len(self.outcomes)} seeds, {seconds:.0f} virtual seconds, "
            f"{sum(each.events for each in self.outcomes)} events, {cpu:.0f} s of CPU, {len(self.failures)} failures",
            f"in all: {notes}",
        ]
        for each in self.failures:
            lines.append(f"seed {each.seed}: {(each.problem or '')[:1000]}")
            lines.append(f"    again, with its trace: TABA_SEED={each.seed} python -m {self.replay} {each.seed}")
        return "\n".join(lines)


def chosen_seeds(text: str) -> Iterable[int]:
    """`TABA_SEEDS`: "40-60,77"."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def run_seeds(
    seeds: Iterable[int],
    budget: float,
    least: int,
    processes: int = 2,
    one: Callable[[int], Outcome] = run_one,
    report: Report | None = None,
) -> Report:
    """Run seeds, each by `one`, until `budget` seconds have passed, but `least` of them in any case."""
    began, report = time.monotonic(), report or Report()

    def due() -> Iterator[int]:
        for count, seed in enumerate(seeds):
            if count >= least and time.monotonic() - began > budget:
                return
            yield seed

    with multiprocessing.get_context("spawn").Pool(processes, _begin_quietly) as pool:
        left = due()
        running = [pool.apply_async(one, (seed,)) for _, seed in zip(range(processes + 1), left, strict=False)]
        while running:
            report.outcomes.append(running.pop(0).get())
            seed = next(left, None)
            if seed is not None:
                running.append(pool.apply_async(one, (seed,)))
    return report


def from_environment() -> Report:
    """The runs that TABA_SEEDS, TABA_SIM_SECONDS and TABA_SIM_LEAST ask for."""
    given = os.environ.get("TABA_SEEDS", "")
    if given:
        seeds = list(chosen_seeds(given))
        return run_seeds(seeds, float("inf"), len(seeds))
    budget = float(os.environ.get("TABA_SIM_SECONDS", "40"))
    return run_seeds(iter(range(1_000_000_000)), budget, int(os.environ.get("TABA_SIM_LEAST", "100")))
