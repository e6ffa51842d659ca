"""What every engine keeps, whatever it runs on: each case in a real process, against an agent on a real socket.

A TestCase of an engine takes `EngineContract` in and names the engine. The scenarios are in `engine_program`.

REAL: loopback sockets and subprocesses. Events are waited for, never time, but where a deadline is what is tested.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taba.testing import FakeAgent
from tests.client.engine_program import PATIENCE
from tests.processes.surroundings import environment

ROOT = Path(__file__).resolve().parents[2]
LONG = 3 * PATIENCE


class Program:
    """A process that runs a scenario."""

    def __init__(self, engine: str, scenario: str, url: str) -> None:
        variables = environment()
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (variables.get("PYTHONPATH"), str(ROOT))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.client.engine_program", engine, scenario, url],
            env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.errors = ""

    def result(self) -> Any:
        """Close its standard input; what the scenario returned, once the process has ended well. What it said otherwise
        is in `errors`.
        """
        output, self.errors = self._process.communicate(timeout=LONG)
        assert self._process.returncode == 0, (self._process.returncode, output, self.errors)
        return json.loads(output.splitlines()[-1])

    def end(self) -> None:
        """Kill what is left of it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


class EngineCase:
    """An engine and an agent. `self` is a TestCase, too."""

    engine = ""
    protocol = 2
    """Of the agent: with 1 it is one of before protocol 2."""

    def setUp(self: Any) -> None:
        """An agent for each test."""
        if self.engine == "gevent" and find_spec("gevent") is None:
            self.skipTest("gevent is not installed")
        self.agent = FakeAgent(columns=self.protocol == 2).start()
        self.addCleanup(self.agent.stop)

    def run_scenario(self: Any, scenario: str) -> Program:
        """A process that runs it."""
        program = Program(self.engine, scenario, self.agent.url)
        self.addCleanup(program.end)
        return program

    def wait_for_requests(self: Any, more: int) -> None:
        """Wait until so many more have come."""
        before = self.agent.requests
        self.agent.wait_for(lambda: self.agent.requests >= before + more, PATIENCE)

    def numbers(self: Any) -> list[Any]:
        """The values of all counted events, sorted."""
        return sorted(event.value for event in self.agent.events)

    def check_account(self: Any, status: dict[str, Any], events: int) -> None:
        """All were acknowledged, and nothing was dropped."""
        known = (status["acknowledged"], status["sent"], status["buffered_events"], status["dropped"])
        self.assertEqual(known, (events, events, 0, {}))
        self.assertEqual((self.agent.refused, self.agent.unsent), ([], {}))

    def check_load(self: Any) -> None:
        """Load, in the protocol of the agent."""
        stopped, status = self.run_scenario("load").result()
        self.assertEqual((stopped, self.numbers()), (True, list(range(40_000))))
        self.check_account(status, 40_000)
        self.assertEqual(status["protocol"], self.protocol)

    def check_crash(self: Any) -> None:
        """An agent that dies, comes again, loses an answer, is full."""
        program = self.run_scenario("steadily")
        self.agent.wait_for_events(500, PATIENCE)
        self.agent.stop()
        self.agent.hang_up(times=1)
        self.agent.start()
        self.wait_for_requests(2)
        self.agent.be_full(times=2, retry_after=0)
        self.wait_for_requests(3)
        self.agent.hang_up(times=1, takes=False)
        stopped, status, count = program.result()
        self.assertEqual((stopped, self.numbers()), (True, list(range(count))))
        self.check_account(status, count)


class EngineContract(EngineCase):
    """The cases."""

    # -- load and faults -----------------------------------------------------------------------------------------------

    def test_load(self: Any) -> None:
        """Forty thousand events of the program and of threads beside it, with a small buffer, count once each."""
        self.check_load()

    def test_crash_of_the_agent(self: Any) -> None:
        """The agent is killed under load, comes again, loses an answer, is full: every event counts once."""
        self.check_crash()

    def test_pressure(self: Any) -> None:
        """A buffer that fills is sent before the flush period is over."""
        self.assertLess(self.run_scenario("press").result(), PATIENCE)

    def test_no_answer_in_time(self: Any) -> None:
        """Requests that are not answered in time are repeated, and count once."""
        self.agent.be_slow(times=2)
        stopped, status = self.run_scenario("impatiently").result()
        self.assertEqual((stopped, self.numbers()), (True, [0, 1, 2]))
        self.check_account(status, 3)

    def test_agent_that_hangs(self: Any) -> None:
        """An agent that never answers holds up neither the application nor Stop, which says that something is left."""
        program = self.run_scenario("hold_on")
        self.agent.wait_for(lambda: self.agent.requests, PATIENCE)
        self.agent.be_slow()
        stopped, seconds, status = program.result()
        self.assertLess(seconds, PATIENCE / 2)
        total = status["acknowledged"] + status["buffered_events"]
        self.assertEqual((stopped, total), (status["buffered_events"] == 0, 1000))

    # -- the end -------------------------------------------------------------------------------------------------------

    def test_exit(self: Any) -> None:
        """A program that just ends has sent what it recorded."""
        program = self.run_scenario("leave")
        program.result()
        self.assertEqual((self.numbers(), "Taba client" in program.errors), (list(range(3000)), False))

    def test_exit_without_agent(self: Any) -> None:
        """Where nobody listens it ends at the deadline, as if it had no client, and says what it left."""
        self.agent.stop()
        program = self.run_scenario("give_up")
        program.result()
        self.assertIn("events were left unsent at exit", program.errors)

    def test_stop_without_agent(self: Any) -> None:
        """Stop gives up at its deadline, and says that something is left."""
        self.agent.stop()
        stopped, seconds, status = self.run_scenario("stop_in_vain").result()
        self.assertEqual((stopped, status["buffered_events"], status["agent_reachable"]), (False, 1, False))
        self.assertLess(seconds, PATIENCE / 2)

    def test_restart_of_the_program(self: Any) -> None:
        """A program that is started again under its client id has an instance of its own; all counts."""
        for _ in range(2):
            self.run_scenario("leave").result()
        self.assertEqual(self.numbers(), sorted([*range(3000), *range(3000)]))

    def test_restart_of_the_client(self: Any) -> None:
        """A client that is stopped can be started again, with an account of its own."""
        self.assertEqual(self.run_scenario("again").result(), [[True, 1]] * 3)
        self.assertEqual(self.numbers(), [0, 1, 2])

    # -- forks ---------------------------------------------------------------------------------------------------------

    def test_fork(self: Any) -> None:
        """What the parent had not sent is sent by the parent alone; each child has an instance of its own."""
        codes, stopped, acknowledged = self.run_scenario("fork").result()
        self.assertEqual((codes, stopped, acknowledged), ([0, 0], True, 3))
        self.assertEqual(self.numbers(), [0, 1, 2, 3, 4])

    def test_multiprocessing_fork(self: Any) -> None:
        """What a forked child of multiprocessing records is sent when it ends, without a call of Stop."""
        self.assertEqual(self.run_scenario("multiprocessing_fork").result(), [0, True, 1])
        self.assertEqual(self.numbers(), [1, 2])

    def test_multiprocessing_spawn(self: Any) -> None:
        """So is what a child that was started anew records."""
        self.assertEqual(self.run_scenario("multiprocessing_spawn").result(), [0, True, 1])
        self.assertEqual(self.numbers(), [1, 2])

    # -- the account ---------------------------------------------------------------------------------------------------

    def test_status(self: Any) -> None:
        """The status can be asked for at any time."""
        before, running, stopped = self.run_scenario("status").result()
        members = ("state", "running", "acknowledged", "agent_reachable")
        self.assertEqual([[each[name] for name in members] for each in (before, running, stopped)], [
            ["uninitialized", False, 0, None], ["running", True, 1, True], ["stopped", False, 1, True],
        ])  # fmt: skip
        self.assertEqual((stopped["dropped"], stopped["dropped_by_tab"]), ({"name": 1}, {"bad name": {"name": 1}}))


class OldAgentContract(EngineCase):
    """The same with an agent of before protocol 2, as far as it makes a difference."""

    protocol = 1

    def test_load(self: Any) -> None:
        """Everything arrives, once, in protocol 1."""
        self.check_load()

    def test_crash_of_the_agent(self: Any) -> None:
        """So it does when the agent is killed, loses an answer, is full."""
        self.check_crash()
