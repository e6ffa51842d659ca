"""Wall clocks that are stepped, or wrong: timers and leases do not run on them, events are stamped by them.

REAL: server and agent processes on loopback, under a preloaded library that shifts their wall clock (clock_shim.c).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.processes.asking import counters
from tests.processes.running import AgentProcess, ServerProcess, Stage, start_all

HOUR = 3600
VISIBLE_WITHIN = 3.0
"""Seconds from an answer to the query that shows the events."""


def shim(stage: Stage) -> Path:
    """The compiled library; SkipTest where it cannot be had."""
    compiler = shutil.which("cc")
    source = Path(__file__).with_name("clock_shim.c")
    if compiler is None:
        raise SkipTest("there is no C compiler `cc`")
    if not sys.platform.startswith("linux"):
        raise SkipTest("the clock is shifted on Linux only")
    if not source.exists():
        raise SkipTest("clock_shim.c is not beside the tests")
    library = stage.folder / "clock_shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    return library


class ShiftedClock:
    """The wall clock of one process."""

    def __init__(self, stage: Stage, library: Path, name: str) -> None:
        self._file = stage.folder / f"{name}.offset"
        self.variables = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(self._file)}
        self.offset = 0
        self.step(0)

    def step(self, offset: int) -> None:
        """Let it be `offset` seconds ahead of this machine's, from now on."""
        following = self._file.with_suffix(".new")
        following.write_text(str(offset))
        following.replace(self._file)
        self.offset = offset

    def time(self) -> float:
        """Its time."""
        return time.time() + self.offset


class ClockTests(SynchronousTestCase):
    """One server, whose clock is set while it runs; one agent, whose clock is wrong."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.library = shim(self.stage)

    def assertVisible(self, server: ServerProcess, count: int) -> None:
        """So many events are visible in time, and every vbucket is in good hands."""
        server.wait_for_count("stepped", count, VISIBLE_WITHIN)
        self.assertEqual(server.ask("/readyz").text, "ok\n")

    def wait_for_offset(self, agent: AgentProcess, offset: float) -> None:
        """Wait until an agent knows by how many seconds the server's clock is ahead of its own."""
        agent.wait_for(lambda: abs(agent.json("/status")["clock_offset"] - offset) < 5, f"{offset} s of difference")

    def test_stepped_clock(self) -> None:
        """While a server runs its clock is set an hour forward, and two hours back: events go on to be visible in time,
        nothing is counted twice, and it stops as usual.
        """
        clock = ShiftedClock(self.stage, self.library, "server")
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
        self.assertLess(time.monotonic() - since, 10.0)
        start_all(server)
        self.assertVisible(server, count)

    def test_agent_with_a_wrong_clock(self) -> None:
        """An agent whose clock is an hour behind, or ahead, learns the server's, and takes events of right clocks."""
        server = self.stage.server()
        agents = []
        for name, offset in (("behind", -HOUR), ("ahead", HOUR)):
            clock = ShiftedClock(self.stage, self.library, name)
            clock.step(offset)
            agents.append((self.stage.agent(server.port, name=name, variables=clock.variables), offset))
        start_all(server, *[agent for agent, _ in agents])
        for count, (agent, offset) in enumerate(agents, 1):
            self.wait_for_offset(agent, -offset)
            answer = agent.post(counters("client", "stepped", [1]))
            self.assertEqual((answer.status, answer.text), (200, ""))
            self.assertVisible(server, count)
