"""An agent that copies to a second cluster, killed again and again between anything and anything.

REAL: two servers, an agent with two spools, and senders of numbered batches, on loopback.
"""

from __future__ import annotations

import os
import random
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.asking import counters
from tests.processes.numbered import NumberedSender
from tests.processes.running import AgentProcess, ServerProcess, Stage, start_all
from tests.processes.surroundings import PATIENCE

KILLS = int(os.environ.get("TABA_KILLS", "8"))
"""How often the agent is killed."""
SENDERS = 3
HURRY = {"CHECKPOINT_SECONDS": 0.05, "EMBEDDED_AGENT": True}


class DoubleTests(SynchronousTestCase):
    """Two clusters that have to come to the same."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def start(self) -> tuple[ServerProcess, ServerProcess, AgentProcess]:
        """Two servers, and an agent in front of both."""
        first, second = (self.stage.server(name=name, config=HURRY) for name in ("first", "second"))
        servers = [{"host": "127.0.0.1", "port": second.port}]
        double = {"AGENT_PORT": 8280, "SERVER_ENDPOINTS": servers, "AGENT_FLUSH_SECONDS": 0.05}
        agent = self.stage.agent(
            first.port, config={"AGENT_FLUSH_SECONDS": 0.05, "AGENT_COMMIT_MS": 20, "DOUBLE_AGENT": double}
        )
        start_all(first, second, agent)
        return first, second, agent

    def test_killed(self) -> None:
        """Both clusters have every answered event once, though the agent is killed with kill -9 all the time."""
        first, second, agent = self.start()
        chance = random.Random(11)
        senders = [NumberedSender(f"sender-{each}", agent.port, random.Random(each)) for each in range(SENDERS)]
        for each in senders:
            each.start()
        for _ in range(KILLS):
            time.sleep(chance.random() * 0.8)
            agent.kill()
            start_all(agent)
        for each in senders:
            each.finish(PATIENCE)
        for tab in sorted({tab for each in senders for tab in each.events}):
            if tab == "once_percentile":
                continue  # of another Type than the questions below are for
            count, total = sum(each.events[tab] for each in senders), sum(each.totals[tab] for each in senders)
            for server in (first, second):
                server.wait_for_count(tab, count)
                self.assertEqual(server.counts(tab), (count, float(total)), (server.name, tab))
        ledger = agent.json("/status")["ledger"]
        self.assertEqual([line for line in ledger if line.startswith("double.")], [])

    def test_second_cluster_away(self) -> None:
        """While the second cluster is away the first one gets its events at once; the second one gets them later."""
        first, second, agent = self.start()
        self.assertIn("DOUBLE_AGENT.AGENT_PORT means nothing here", agent.output())
        second.kill()
        self.assertEqual(agent.post(counters("client", "used", range(10))).status, 200)
        first.wait_for_count("used", 10)
        agent.kill()
        start_all(second, agent)
        second.wait_for_count("used", 10)
        first.wait_for_count("used", 10)
