"""`python -m tests.cluster.loss [SEEDS [FIRST]]`: what the rules for failovers save.

Runs seeds of the simulated cluster on Redis with DURABILITY memory, where an ok says only that a master has a batch,
under faults that take batches back: as the code is, and with rules switched off in a copy of it. Prints how many of the
events that clients were told of as safe are missing in the end, or there more than once.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from attrs import define
from twisted.logger import globalLogBeginner

from taba.testing.redis_cluster import RedisCluster
from taba.testing.world import NotReached
from tests.cluster.events import Violation
from tests.cluster.oracle import Fate, Oracle
from tests.cluster.redis_faults import REDIS_VERBS
from tests.cluster.redis_move_faults import MoveFaults
from tests.cluster.redis_quiet import free_the_dead
from tests.cluster.redis_run import RedisRun

VERBS = ("lagging_failover", "redis_power_loss", "forced_failover", "redis_link", "redis_lag", "minority_master")
RULES = {
    "all rules": (),
    "gaps are not answered": ("no_gaps",),
    "the first ok lets go": ("failover_retention",),
}
"""What is tried: a name, and the mutants of tests/mutants that make it."""


@define(eq=False)
class LossRun(RedisRun):
    """A run that only counts. Nothing is checked while it goes on, nor at its end."""

    def _build(self) -> None:
        self.cluster = RedisCluster(self.seed, durability="memory")
        self.oracle = Oracle(self.cluster, views=lambda: ())
        self.faults = MoveFaults(self.cluster, self.oracle, self.random)
        self.original = None

    def _rest(self) -> None:
        self._heal()
        with contextlib.suppress(NotReached):  # without its rules a lane may never come to rest
            self.cluster.settle(120.0)
        folded: Counter[object] = Counter()
        for view in self._views()[:1]:
            with contextlib.suppress(Violation):
                folded.update(self.oracle.folded(view))
        acked = [event for event, fate in self.oracle.fates.items() if fate is Fate.ACKED and event.kind != "g"]
        self.oracle.notes = {
            "acknowledged": len(acked),
            "missing": sum(not folded[event] for event in acked),
            "doubled": sum(folded[event] > 1 for event in acked),
            "batches taken back": self._taken_back,
        }


def count(first: int, seeds: int) -> dict[str, int]:
    """Run seeds with the code that is loaded; the sums."""
    assert set(VERBS) <= set(REDIS_VERBS)
    total: Counter[str] = Counter()
    for seed in range(first, first + seeds):
        with contextlib.redirect_stderr(io.StringIO()):
            total.update(LossRun(seed, VERBS).go().notes)
        free_the_dead()
    return dict(total)


def count_without(rules: tuple[str, ...], first: int, seeds: int) -> dict[str, int]:
    """The same with a copy of the code in which rules are switched off."""
    from tests.mutants.trying import apply, chosen, copy_project

    with tempfile.TemporaryDirectory(prefix="taba-loss-") as folder:
        root = Path(folder)
        copy_project(root)
        for mutant in chosen(rules) if rules else ():
            apply(mutant, root)
        environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "tests.cluster.loss", "--count", str(first), str(seeds)]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
        found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
        return found


def main(arguments: list[str]) -> int:
    """1 when something is missing, or doubled, with all rules on."""
    if arguments[:1] == ["--count"]:
        globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
        print(json.dumps(count(int(arguments[1]), int(arguments[2]))))
        return 0
    seeds, first = (int(each) for each in (*arguments, *("20", "0")[len(arguments) :]))
    print(f"{seeds} seeds from {first}, DURABILITY memory, faults: {', '.join(VERBS)}")
    bad = 0
    for name, rules in RULES.items():
        found = count_without(rules, first, seeds)
        print(f"{name:<24} {', '.join(f'{each} {line}' for line, each in found.items())}", flush=True)
        if not rules:
            bad = found["missing"] + found["doubled"]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
