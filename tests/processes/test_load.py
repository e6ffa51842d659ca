"""More than a process was made for: it stays answerable, its memory bounded, and nothing acknowledged is lost.

REAL: server and agent processes on loopback.
"""

from __future__ import annotations

import socket
import time
import zlib

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.asking import Answer, Wire, body, counters
from tests.processes.running import Stage, start_all
from tests.processes.surroundings import PATIENCE, until

MIB = 1 << 20
TABS = 30_000
"""In one body; the server takes several seconds for so many new ones."""
LONGEST_SILENCE = 3.0
"""Seconds of a processor that a server may take until it has answered a simple question while it folds them."""


def many_tabs(client: str, count: int) -> bytes:
    """A body with an event in each of so many tabs."""
    now = time.time()
    return body(client, {f"load_{n}": [("CounterGroup", now, n)] for n in range(count)})


class LoadTests(SynchronousTestCase):
    """Processes of their own for each test."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def test_many_new_tabs(self) -> None:
        """A body with tens of thousands of new tabs is folded while the server answers; its leases do not run out."""
        server = self.stage.server()
        start_all(server)
        self.assertEqual(server.post(many_tabs("client", TABS)).status, 200)
        since = time.monotonic()
        slowest = 0.0

        def folded() -> bool:
            nonlocal slowest
            asked = server.cpu_seconds()
            count: int = server.json("/status")["ledger"].get("folded", 0)
            slowest = max(slowest, server.cpu_seconds() - asked)
            return count >= TABS

        server.wait_for(folded, f"{TABS} events are folded")
        print(f"{TABS} tabs in {time.monotonic() - since:.1f} s, slowest answer {slowest:.2f} s of CPU")
        self.assertLess(slowest, LONGEST_SILENCE)
        self.assertNotIn("checkpoint fenced", server.output())
        total = server.json("/supertabs?re=1&name=load_")["pct"]
        self.assertEqual((total["count"], total["total"]), (TABS, TABS * (TABS - 1) / 2))

    def test_memory_of_bodies(self) -> None:
        """Bodies that grow far beyond what came in are refused where they would take more than AGENT_MEMORY_BYTES."""
        limit = 96 * MIB
        server = self.stage.server()
        agent = self.stage.agent(server.port, config={"AGENT_MEMORY_BYTES": limit})
        start_all(server, agent)
        before = agent.memory()
        content = zlib.compress(many_tabs("client", TABS // 3), 9)
        wires: list[Wire] = []
        refused: list[Answer] = []
        for _ in range(40):
            wire = Wire(agent.port)
            self.addCleanup(wire.close)
            wire.begin("/post_zip", f"Content-Length: {len(content)}")
            wire.send_all_it_takes(content[:-1])
            wires.append(wire)
        held = agent.wait_for(lambda: agent.json("/status")["memory_bytes"] > 4 * MIB, "bodies are held")
        self.assertTrue(held)

        def look() -> int:
            for wire in [wire for wire in wires if wire.answers_within(0.0)]:
                refused.append(wire.answer())
                wires.remove(wire)
                wire.close()
            return len(refused) > 10

        until(look, PATIENCE, lambda: f"only {len(refused)} bodies are refused\n{agent.tail()}")
        for answer in refused:
            self.assertEqual(answer.status, 503)
            self.assertIn("memory", answer.text)
            self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
        print(f"{len(refused)} of 40 bodies refused, the agent grew by {(agent.memory() - before) / MIB:.0f} MiB")
        self.assertLess(agent.memory("VmHWM"), limit)
        for wire in wires:
            wire.close()
        until(lambda: agent.post(counters("good", "good", [1])).status == 200, PATIENCE, "there is room again")
        server.wait_for_count("good", 1)

    def test_server_that_hangs(self) -> None:
        """Behind a server that takes connections and never answers, an agent goes on taking events, and delivers them
        to the server that comes later.
        """
        server = self.stage.server()
        agent = self.stage.agent(server.port)
        with socket.socket() as hanging:
            hanging.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            hanging.bind(("127.0.0.1", server.port))
            hanging.listen(100)
            start_all(agent)
            for value in range(5):
                self.assertEqual(agent.post(counters("client", "used", [value])).status, 200)
            agent.kill()
        start_all(server, agent)
        server.wait_for_count("used", 5)

    def test_another_cluster(self) -> None:
        """A server whose data was thrown away is another cluster: the agent says so, sends nothing there, and keeps
        what it holds for the one that it knows.
        """
        first = self.stage.server(name="first")
        agent = self.stage.agent(first.port)
        start_all(first, agent)
        self.assertEqual(agent.post(counters("client", "used", [1])).status, 200)
        first.wait_for_count("used", 1)
        first.stop()
        second = self.stage.server(name="second")
        second.arguments = [str(first.port) if each == str(second.port) else each for each in second.arguments]
        second.port = first.port
        start_all(second)
        self.assertEqual(agent.post(counters("client", "used", [2])).status, 200)
        agent.wait_for_output("belongs to cluster")
        time.sleep(1.0)
        self.assertEqual(second.ask("/names").text.strip(), "")
        second.kill()
        agent.kill()  # it would look at the server again, but only after half a minute
        start_all(first, agent)
        first.wait_for_count("used", 2)
