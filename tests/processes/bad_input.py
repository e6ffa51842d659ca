"""What the tests of bad input share: a server, an agent in front of it, and the good events that have to be counted.

REAL: processes on loopback. Every request goes to a standalone agent, and to `/post` of a server, which is an agent
inside that process. All tests use the same two processes; each has tabs of its own.
"""

from __future__ import annotations

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.processes.asking import Answer, ask, counters
from tests.processes.running import AgentProcess, ServerProcess, Shared, Stage, start_all

MIB = 1 << 20
MAX_BODY = 32 * MIB
"""MAX_BODY_BYTES by default."""
LEEWAY = 24 * MIB
"""By how much the memory of a process may grow while it refuses something: buffers of sockets, and what other tests
left behind.
"""


@frozen
class Pair:
    """A server, and an agent in front of it."""

    server: ServerProcess
    agent: AgentProcess


def pair(stage: Stage) -> Pair:
    """Start them, in a hurry, so that the tests need not wait for commits."""
    hurry = {"AGENT_FLUSH_SECONDS": 0.02}
    server = stage.server(config={**hurry, "EMBEDDED_AGENT": True, "CHECKPOINT_SECONDS": 0.02})
    agent = stage.agent(server.port, config={**hurry, "AGENT_COMMIT_MS": 2})
    start_all(server, agent)
    return Pair(server, agent)


class BadInputTestCase(SynchronousTestCase):
    """Requests to both of them, and what became of the good ones."""

    shared = Shared(pair)

    def setUp(self) -> None:
        self.server, self.agent = self.shared.get().server, self.shared.get().agent
        self.ports = {"agent": self.agent.port, "server": self.server.port}
        self.sent: dict[str, int] = {}

    def tearDown(self) -> None:
        """Good events, and only these, are counted; nothing was logged as a defect."""
        for tab, count in self.sent.items():
            self.server.wait_for_count(tab, count)
        for each in (self.server, self.agent):
            self.assertNotIn("Traceback", each.output())

    def assertAnswered(self, answer: Answer, status: int, *words: str) -> None:
        """An answer has this status, and its text these words."""
        self.assertEqual(answer.status, status, answer)
        for each in words:
            self.assertIn(each, answer.text)

    def tab(self, where: str) -> str:
        """The tab of this test for a port."""
        return f"{self.id().rpartition('.')[2]}:{where}"

    def good(self, where: str, count: int = 3) -> None:
        """A good request with so many events, which will have to be counted."""
        tab = self.tab(where)
        self.assertAnswered(ask(self.ports[where], "/post", counters("good", tab, range(count))), 200)
        self.sent[tab] = self.sent.get(tab, 0) + count
