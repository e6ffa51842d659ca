"""Disks that are full, and have room again.

REAL: server and agent processes on loopback; small file systems in memory, which only root may mount.
"""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.asking import Answer, ask, body, counters
from tests.processes.mounting import mount, unmount
from tests.processes.numbered import NumberedSender
from tests.processes.running import AgentProcess, HTTPProcess, ServerProcess, Stage, start_all
from tests.processes.surroundings import PATIENCE, until

MIB = 1 << 20
TABS = 8000
"""Of one batch of the tests that fill a spool."""


class SmallDisk:
    """A file system of a few MiB, whose room a ballast takes."""

    def __init__(self, folder: Path, size: int) -> None:
        mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        with open(self._ballast, "wb", buffering=0) as ballast:
            for size in (64 << 10, 1):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(bytes(size))

    def make_room(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)


class FullDiskTests(SynchronousTestCase):
    """Nothing acknowledged is lost, whoever asks hears why nothing is taken, and all goes on by itself."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def disk(self, name: str, size: int) -> SmallDisk:
        """A small disk, unmounted after the processes that use it have ended."""
        disk = SmallDisk(self.stage.place(name), size)
        self.stage.clean_up.append(lambda: unmount(disk.folder))
        return disk

    def assertFull(self, answer: Answer) -> None:
        """An answer says why nothing is taken, and when to come again."""
        self.assertEqual(answer.status, 503)
        self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
        self.assertRegex(answer.text, "(spool|disk)")

    def go_through_it(self, server: ServerProcess, taking: HTTPProcess, port: int, disk: SmallDisk) -> None:
        """Post numbered batches to `port` while the disk fills up, is full, and has room again; then compare."""
        sender = NumberedSender("sender", port, random.Random(1))
        sender.start()
        until(lambda: sender.batches >= 3, PATIENCE, "batches are taken")
        disk.fill()
        other = counters("other", "other", [1])
        until(lambda: ask(port, "/post", other).status == 503, PATIENCE, "the agent refuses")
        self.assertFull(ask(port, "/post", other))
        self.assertEqual(ask(port, "/readyz").status, 503)
        batches = sender.batches
        self.assertTrue(taking.alive and server.alive, taking.tail())
        self.assertEqual(server.ask("/status").status, 200)
        disk.make_room()
        until(lambda: sender.batches >= batches + 5, PATIENCE, lambda: f"it goes on by itself\n{taking.tail()}")
        sender.finish(PATIENCE)
        for tab in ("once_0", "once_1", "once_2", "once_3", "once_4"):
            if sender.events[tab]:
                server.wait_for_count(tab, sender.events[tab])
                self.assertEqual(server.counts(tab), (sender.events[tab], sender.totals[tab]))

    def test_server(self) -> None:
        """A server on a full disk refuses events and says so in its log; what it had taken is there, and it goes on."""
        disk = self.disk("disk", 24 * MIB)
        server = self.stage.server("--data-dir", str(disk.folder / "data"))
        start_all(server)
        self.go_through_it(server, server, server.agent_port, disk)
        self.assertRegex(server.output(), "(?i)spool is full|cannot be written|No space left|disk of .* is full")

    def test_agent(self) -> None:
        """An agent on a full disk refuses events and says so; what it had taken arrives, and it goes on."""
        disk = self.disk("disk", 24 * MIB)
        server = self.stage.server()
        agent: AgentProcess = self.stage.agent(server.port, "--spool", str(disk.folder / "spool"))
        start_all(server, agent)
        self.go_through_it(server, agent, agent.port, disk)
        self.assertRegex(agent.output(), "(?i)spool is full|cannot be written")

    def test_killed_while_full(self) -> None:
        """Processes that are killed on a full disk start again on it, or say that it is full; no number is changed."""
        disk = self.disk("disk", 24 * MIB)
        server = self.stage.server("--data-dir", str(disk.folder / "data"))
        start_all(server)
        for _ in range(20):
            self.assertEqual(server.post(counters("client", "used", range(100))).status, 200)
        disk.fill()
        server.kill()
        server.start()
        said = until(
            lambda: not server.alive or "Ready." in server.output(), PATIENCE, lambda: f"a word\n{server.tail()}"
        )
        self.assertTrue(said)
        if not server.alive:
            self.assertEqual(server.ended(), 1)
            self.assertRegex(server.output(), "Taba cannot start: .*(full|No space left)")
            self.assertNotIn("Traceback", server.output())
            disk.make_room()
            server.start()
        disk.make_room()
        server.ready()
        server.wait_for_count("used", 2000)

    def test_small_spool(self) -> None:
        """With no server there an agent takes what SPOOL_MAX_BYTES allows, refuses the rest, and delivers all later.
        """
        limit = 6 * MIB
        server = self.stage.server()
        agent = self.stage.agent(server.port, config={"SPOOL_MAX_BYTES": limit, "AGENT_CONFIRM_SECONDS": 1})
        start_all(agent)
        batches = 0
        while (answer := agent.post(many_tabs(batches))).status == 200 and batches < 200:
            batches += 1
        self.assertFull(answer)
        size = sum(each.stat().st_size for each in (agent.folder / "taba-spool").iterdir())
        print(f"{batches} batches of {TABS} tabs in a spool of {size / MIB:.1f} MiB")
        self.assertLessEqual(size, limit)
        self.assertGreater(batches, 1)
        start_all(server)
        events = batches * TABS
        server.wait_for(lambda: server.json("/status")["ledger"].get("folded", 0) >= events, f"{events} events")
        total = server.json("/supertabs?re=1&name=filler_")["pct"]
        self.assertEqual((total["count"], total["total"]), (events, batches * TABS * (TABS - 1) / 2))
        one = counters("client", "used", [1])
        until(lambda: agent.post(one).status == 200, PATIENCE, lambda: f"it has room again\n{agent.tail()}")
        server.wait_for_count("used", 1)


def many_tabs(batch: int) -> bytes:
    """A body of events in tabs of their own, which hardly shrinks when it is folded."""
    now = time.time()
    return body("client", {f"filler_{batch}_{n}": [("CounterGroup", now, n)] for n in range(TABS)})
