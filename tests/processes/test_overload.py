"""Ten times what can be done, for a moment: the short version of `python -m tests.benchmarks overload`.

REAL: server and agent processes on loopback, redis-server; disks below a preloaded library.
"""

from __future__ import annotations

import shutil

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.benchmarks.overload import Outcome, Plan, run_case
from tests.benchmarks.overload_cases import CASES
from tests.processes import ailing_disk

MIB = 1 << 20
AGENT, SERVER = 96 * MIB, 160 * MIB
"""The least that the settings allow."""
SHORT = Plan(clients=3, tabs=60, events=4, warm=1.0, base=2.0, broken=2.0, after=0.0, drained=60.0)
FLOOD = Plan(clients=2, tabs=1000, events=2, warm=1.0, base=1.0, broken=2.0, after=0.0, drained=60.0, most_clients=25)


class OverloadTests(SynchronousTestCase):
    """What is offered goes on, whatever the agent says; one thing is broken for two seconds."""

    skip = ailing_disk.missing()

    def overload(self, name: str, plan: Plan = SHORT) -> Outcome:
        """Go through a case; every acknowledged event is counted once, and the processes keep to their budgets."""
        settings = {"agent": {"AGENT_MEMORY_BYTES": AGENT}, "server": {"SERVER_MEMORY_BYTES": SERVER}}
        outcome = run_case(CASES[name], plan, **settings)
        print("\n".join(outcome.lines()))
        self.assertGreater(outcome.accepted, 0)
        self.assertEqual(outcome.counted, outcome.accepted)
        self.assertLessEqual(outcome.peaks["agent"], AGENT)
        self.assertLessEqual(outcome.peaks["server"], SERVER)
        return outcome

    def test_dead_store(self) -> None:
        """Redis hangs: the agent takes everything meanwhile, and it is all there afterwards."""
        if shutil.which("redis-server") is None:
            raise SkipTest("there is no redis-server")
        outcome = self.overload("dead-store")
        self.assertEqual(outcome.refusals, {})

    def test_flood(self) -> None:
        """Far more clients than before, each with many tabs, and nothing else that is wrong."""
        self.overload("flood", FLOOD)
