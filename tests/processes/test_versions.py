"""This version and the one before, together: a rolling upgrade loses and doubles nothing, in whatever order.

REAL: server and agent processes of both versions on loopback, and a build of the previous one.
"""

from __future__ import annotations

import atexit
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.processes.asking import counters
from tests.processes.numbered import NumberedSender
from tests.processes.running import HTTPProcess, Stage, start_all
from tests.processes.surroundings import PATIENCE, until
from tests.processes.versions import NotToBeHad, build, previous


class RollingUpgradeTests(SynchronousTestCase):
    """An agent and a server of the previous version, replaced under load, one after the other."""

    built: Path | None = None

    def setUp(self) -> None:
        """Build the previous version once for all tests."""
        if RollingUpgradeTests.built is None:
            folder = Path(tempfile.mkdtemp(prefix="taba-previous-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            try:
                RollingUpgradeTests.built = build(previous(), folder)
            except NotToBeHad as problem:
                raise SkipTest(f"there is no previous version: {problem}")

    def upgrade(self, order: Sequence[str]) -> None:
        """Let senders go on while the processes named in `order` are replaced."""
        stage = Stage()
        self.addCleanup(stage.close)
        old = {"PYTHONPATH": str(self.built)}
        server = stage.server(variables=old)
        agent = stage.agent(server.port, variables=old)
        start_all(server, agent)
        chance = random.Random(7)
        senders = [NumberedSender(f"sender-{number}", agent.port, chance) for number in range(2)]
        for each in senders:
            each.start()
        processes: dict[str, HTTPProcess] = {"server": server, "agent": agent}
        for name in order:
            self.progress(senders)
            process = processes[name]
            process.stop()
            process.variables = {}
            start_all(process)
        self.progress(senders)
        for each in senders:
            each.finish(PATIENCE)
        sent = sum((each.events for each in senders), Counter[str]())
        percentile = sent.pop("once_percentile")
        for tab, events in sent.items():
            server.wait_for_count(tab, events)
        self.assertEqual(server.json("/tabs?name=once_percentile")["once_percentile"]["1h"]["count"], percentile)
        self.assertEqual(server.post(counters("last", "after", [1, 2])).status, 200)
        server.wait_for_count("after", 2)

    def progress(self, senders: Sequence[NumberedSender]) -> None:
        """Wait until each sender has got some more batches answered."""
        goal = [each.batches + 5 for each in senders]
        for each, batches in zip(senders, goal, strict=True):
            until(lambda each=each, batches=batches: each.batches >= batches, PATIENCE, f"{each.client} makes progress")

    def test_agent_first(self) -> None:
        """A new agent sends to an old server, until that is replaced, too."""
        self.upgrade(["agent", "server"])

    def test_server_first(self) -> None:
        """A new server reads the store of an old one, and takes the batches of an old agent."""
        self.upgrade(["server", "agent"])
