"""Wall clocks that are stepped, or wrong: timers and leases do not run on them, events are stamped by them.

REAL: server and agent processes on loopback, under a preloaded library that shifts their wall clock (clock_shim.c).
"""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.asking import counters
from tests.processes.running import AgentProcess, ServerProcess, Stage, start_all
from tests.processes.shifted_clock import ShiftedClock, missing, shifting_library

HOUR = 3600
STOPS_WITHIN = 40.0
"""Seconds; after 45 a server is ended by force."""


class ClockTests(SynchronousTestCase):
    """One server, whose clock is set while it runs; one agent, whose clock is wrong."""

    skip = missing()

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.library = shifting_library(self.stage.folder)

    def assertVisible(self, server: ServerProcess, count: int) -> None:
        """So many events come to be visible, and every vbucket is in good hands."""
        server.wait_for_count("stepped", count)
        self.assertEqual(server.ask("/readyz").text, "ok\n")

    def wait_for_offset(self, agent: AgentProcess, offset: float) -> None:
        """Wait until an agent knows by how many seconds the server's clock is ahead of its own."""
        agent.wait_for(lambda: abs(agent.json("/status")["clock_offset"] - offset) < 5, f"{offset} s of difference")

    def test_stepped_clock(self) -> None:
        """While a server runs its clock is set an hour forward, and two hours back: events go on to be visible in time,
        nothing is counted twice, and it stops as usual.
        """
        clock = ShiftedClock(self.stage.folder / "server.offset", self.library)
        server = self.stage.server(variables=clock.variables)
        start_all(server)
        count = 0
        for offset in (0, HOUR, 0, -HOUR, 0):
            clock.step(offset)
            count += 1
            answer = server.post(counters("client", "stepped", [1], clock.time()))
            self.assertEqual((answer.status, answer.text), (200, ""), f"the clock is {offset} s ahead")
            self.assertVisible(server, count)
        self.assertIn(f"folded: {count}", "\n".join(server.ask("/status").text.splitlines()[-3:]))
        since = time.monotonic()
        server.stop()
        self.assertLess(time.monotonic() - since, STOPS_WITHIN)
        start_all(server)
        self.assertVisible(server, count)

    def test_agent_with_a_wrong_clock(self) -> None:
        """An agent whose clock is an hour behind, or ahead, learns the server's, and takes events of right clocks."""
        server = self.stage.server()
        agents = []
        for name, offset in (("behind", -HOUR), ("ahead", HOUR)):
            clock = ShiftedClock(self.stage.folder / f"{name}.offset", self.library)
            clock.step(offset)
            agents.append((self.stage.agent(server.port, name=name, variables=clock.variables), offset))
        start_all(server, *[agent for agent, _ in agents])
        for count, (agent, offset) in enumerate(agents, 1):
            self.wait_for_offset(agent, -offset)
            answer = agent.post(counters("client", "stepped", [1]))
            self.assertEqual((answer.status, answer.text), (200, ""))
            self.assertVisible(server, count)
