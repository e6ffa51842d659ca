"""The Python client, whose every engine sends columns, with an agent and a server as they are installed.

REAL: subprocesses, sockets and real time.
"""

from __future__ import annotations

from importlib.util import find_spec

from twisted.trial.unittest import SynchronousTestCase

from taba.client import Client
from tests.client.engine_program import PATIENCE
from tests.client.engines_contract import Program
from tests.processes.running import Stage, start_all

ENGINES = ["thread", "asyncio", "twisted", *(["gevent"] if find_spec("gevent") else [])]


class ColumnsTests(SynchronousTestCase):
    """A server, a standalone agent before it, and what the clients and they agree about."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.server = self.stage.server()
        self.agent = self.stage.agent(self.server.port)
        start_all(self.server, self.agent)
        self.url = f"http://127.0.0.1:{self.agent.port}/post"

    def counts(self) -> tuple[int, float]:
        """Count and total over the tabs of the load."""
        found = [self.server.counts(f"tab{number}") for number in range(7)]
        return sum(count for count, _ in found), sum(total for _, total in found)

    def test_load(self) -> None:
        """Forty thousand events of each engine come to the right counts and totals, in protocol 2."""
        for engine in ENGINES:
            program = Program(engine, "load", self.url)
            self.addCleanup(program.end)
            stopped, status = program.result()
            self.assertEqual((stopped, status["acknowledged"], status["protocol"]), (True, 40_000, 2), status)
        events, total = 40_000 * len(ENGINES), len(ENGINES) * sum(range(40_000))
        self.server.wait_for(lambda: self.counts()[0] >= events, lambda: f"{events} events: {self.counts()}")
        self.assertEqual(self.counts(), (events, float(total)))

    def test_drops(self) -> None:
        """What a client had no room for stands in the agent's ledger, and beside it by tab, also after a kill."""
        client = Client(max_buffer_bytes=20_000)
        client.initialize("small", self.url, 3600)
        self.addCleanup(client.stop, 0.0)
        self.agent.kill()
        for number in range(5000):
            client.counter(f"tab{number % 2}", number)
        self.agent.start()
        self.agent.ready()
        self.assertTrue(client.stop(PATIENCE), client.get_status())
        status = client.get_status()
        self.assertEqual((status["acknowledged"] + status["full"], status["agent_reachable"]), (5000, True))
        by_tab = {tab: reasons["full"] for tab, reasons in status["dropped_by_tab"].items()}
        self.assertEqual(sum(by_tab.values()), status["full"])
        for _ in range(2):
            facts = self.agent.json("/status")
            self.assertEqual((facts["unsent"], facts["ledger"]["unsent.full"]), ({"full": by_tab}, status["full"]))
            for tab, dropped in by_tab.items():
                self.assertIn(f"  {tab}: {dropped}\n", self.agent.ask("/status").text)
            self.agent.kill()
            self.agent.start()
            self.agent.ready()
        self.server.wait_for(
            lambda: sum(self.server.counts(f"tab{n}")[0] for n in (0, 1)) == status["acknowledged"], "all is counted"
        )
