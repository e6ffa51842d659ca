"""`python -m tests.cluster.mixed_seeds`: many runs of the simulated cluster on Redis with two releases in it.

TABA_MIXED_SEEDS names seeds ("40-60,77"); else seeds run from TABA_MIXED_SIM_FIRST on until TABA_MIXED_SIM_SECONDS have
passed, but TABA_MIXED_SIM_LEAST of them in any case. TABA_PREVIOUS names another previous release than the newest tag,
or the commit before; the runs of a seed are equal only with the same one.
"""

from __future__ import annotations

import os
import sys

from tests.cluster.mixed_run import MIXED_VERBS, run_mixed_seed
from tests.cluster.release import FOLDER, release_folder
from tests.cluster.seeds import Outcome, Report, chosen_seeds, run_one, run_seeds


def run_one_mixed(seed: int) -> Outcome:
    """Run a seed, twice now and then; whatever goes wrong is its problem."""
    return run_one(seed, run_mixed_seed)


def mixed_seeds_from_environment() -> Report:
    """The runs that the environment asks for. Raises NotToBeHad without a previous release."""
    os.environ[FOLDER] = str(release_folder())  # built once, for all processes that run seeds
    report = Report(tuple(MIXED_VERBS), "tests.cluster.mixed_replay")
    given = os.environ.get("TABA_MIXED_SEEDS", "")
    if given:
        seeds = list(chosen_seeds(given))
        return run_seeds(seeds, float("inf"), len(seeds), one=run_one_mixed, report=report)
    first = int(os.environ.get("TABA_MIXED_SIM_FIRST", "0"))
    budget = float(os.environ.get("TABA_MIXED_SIM_SECONDS", "0"))
    least = int(os.environ.get("TABA_MIXED_SIM_LEAST", "2"))
    return run_seeds(iter(range(first, first + 1_000_000)), budget, least, one=run_one_mixed, report=report)


def main() -> int:
    """Run, and print; 1 when a run failed."""
    report = mixed_seeds_from_environment()
    print(report.text())
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
