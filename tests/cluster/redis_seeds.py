"""`python -m tests.cluster.redis_seeds`: many runs of the simulated cluster on Redis, as the environment asks for.

TABA_REDIS_SEEDS names seeds ("40-60,77"); else seeds run from TABA_REDIS_SIM_FIRST on until TABA_REDIS_SIM_SECONDS have
passed, but TABA_REDIS_SIM_LEAST of them in any case.
"""

from __future__ import annotations

import os
import sys

from tests.cluster.fleet_faults import FLEET_VERBS, WEIGHT_VERBS
from tests.cluster.redis_run import run_redis_seed
from tests.cluster.seeds import Outcome, Report, chosen_seeds, run_one, run_seeds


def run_one_redis(seed: int) -> Outcome:
    """Run a seed, twice now and then; whatever goes wrong is its problem."""
    return run_one(seed, run_redis_seed)


def redis_seeds_from_environment() -> Report:
    """The runs that the environment asks for."""
    report = Report((*FLEET_VERBS, *WEIGHT_VERBS), "tests.cluster.redis_replay")
    given = os.environ.get("TABA_REDIS_SEEDS", "")
    if given:
        seeds = list(chosen_seeds(given))
        return run_seeds(seeds, float("inf"), len(seeds), one=run_one_redis, report=report)
    first = int(os.environ.get("TABA_REDIS_SIM_FIRST", "0"))
    budget = float(os.environ.get("TABA_REDIS_SIM_SECONDS", "30"))
    least = int(os.environ.get("TABA_REDIS_SIM_LEAST", "10"))
    return run_seeds(iter(range(first, first + 1_000_000)), budget, least, one=run_one_redis, report=report)


def main() -> int:
    """Run, and print; 1 when a run failed."""
    report = redis_seeds_from_environment()
    print(report.text())
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
