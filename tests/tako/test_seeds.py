"""The simulated cluster under load and faults, seed by seed: no acknowledged write is lost, replicas become equal,
deletes stay deleted, and a seed repeats to the byte.

TABA_TAKO_SEEDS says how many seeds are run, whatever time they take; without it as many as fit TABA_TAKO_SIM_SECONDS
(default 8, of CPU), two at least. TABA_TAKO_SEED is the first one.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.tako.scenario import Scenario, run_seed

FIRST = int(os.environ.get("TABA_TAKO_SEED", "1000"))
SEEDS = int(os.environ.get("TABA_TAKO_SEEDS", "0"))
SECONDS = float(os.environ.get("TABA_TAKO_SIM_SECONDS", "8"))
LEAST = 2


class SeedTests(SynchronousTestCase):
    """Random runs."""

    def test_nothing_acknowledged_is_lost(self) -> None:
        """Ten nodes, then fourteen; partitions, crashes, a lost disk, full disks, wrong clocks, a migration."""
        began, seed = time.process_time(), FIRST
        deeds: Counter[str] = Counter()
        reads = writes = failed = 0
        while seed < FIRST + (SEEDS or LEAST) or (not SEEDS and time.process_time() - began < SECONDS):
            wrong, scenario = run_seed(seed)
            deeds += scenario.deeds
            reads, writes = reads + scenario.oracle.reads, writes + scenario.oracle.writes
            failed += scenario.oracle.failed
            self.assertEqual(wrong, [], f"seed {seed}: repeat it with TABA_TAKO_SEED={seed} TABA_TAKO_SEEDS=1")
            seed += 1
        self.flushLoggedErrors()
        met = ", ".join(f"{name.strip('_')} {count}" for name, count in sorted(deeds.items()))
        print(f"seeds {FIRST} to {seed - 1}: {reads} reads, {writes} writes, {failed} failed; {met}", file=sys.stderr)
        self.assertGreater(writes, 50 * (seed - FIRST))

    def test_a_seed_repeats(self) -> None:
        """Equal seeds give equal runs, event by event."""
        prints = []
        for _ in range(2):
            scenario = Scenario(FIRST)
            scenario.tako.start()
            scenario.load(1)
            scenario._disturb(4.0)
            prints.append(scenario.tako.world.fingerprint())
            scenario.tako.world.close()
        self.flushLoggedErrors()
        self.assertEqual(prints[0], prints[1])
