"""This version and the one before, together: a rolling upgrade loses and doubles nothing, in whatever order.

REAL: server and agent processes of both versions on loopback, a build of the previous one, a redis-server.
With TABA_PROFILE=nightly a fleet on Redis is upgraded, too.
"""

from __future__ import annotations

import atexit
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.processes.asking import counters
from tests.processes.numbered import NumberedSender
from tests.processes.running import AgentProcess, HTTPProcess, ServerProcess, Stage, start_all
from tests.processes.surroundings import PATIENCE, until
from tests.processes.versions import NotToBeHad, build, previous
from tests.redis.real import Servers, missing
from tests.strategies import PROFILE

VBUCKETS = 32
HELD = re.compile(r"^taba_server_vbuckets_held (\S+)$", re.MULTILINE)


class UpgradeCase(SynchronousTestCase):
    """Processes of the previous version, replaced under load."""

    built: Path | None = None

    def setUp(self) -> None:
        """Build the previous version once for all tests."""
        if UpgradeCase.built is None:
            folder = Path(tempfile.mkdtemp(prefix="taba-previous-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            try:
                UpgradeCase.built = build(previous(), folder)
            except NotToBeHad as problem:
                raise SkipTest(f"there is no previous version: {problem}")
        self.old = {"PYTHONPATH": str(UpgradeCase.built)}
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def begin_load(self, agent: AgentProcess) -> None:
        """Two senders begin to post, and go on until `check`."""
        chance = random.Random(7)
        self.senders = [NumberedSender(f"sender-{number}", agent.port, chance) for number in range(2)]
        for each in self.senders:
            each.start()

    def progress(self) -> None:
        """Wait until each sender has got some more batches answered."""
        goal = [each.batches + 5 for each in self.senders]
        for each, batches in zip(self.senders, goal, strict=True):
            until(lambda each=each, batches=batches: each.batches >= batches, PATIENCE, f"{each.client} makes progress")

    def replace(self, process: HTTPProcess) -> None:
        """A process of the previous version stops in order, and one of this version starts in its place."""
        self.progress()
        self.assertEqual(process.stop(), 0)
        process.variables = {}
        start_all(process)

    def check(self, *servers: ServerProcess) -> int:
        """Every event that was acknowledged is counted once, whoever is asked; how many these are."""
        self.progress()
        for each in self.senders:
            each.finish(PATIENCE)
        sent = sum((each.events for each in self.senders), Counter[str]())
        events = sent.total()
        percentile = sent.pop("once_percentile")
        for server in servers:
            for tab, count in sent.items():
                server.wait_for_count(tab, count)
            shown = server.json("/tabs?name=once_percentile")["once_percentile"]["1h"]["count"]
            self.assertEqual(shown, percentile)
        return events


class RollingUpgradeTests(UpgradeCase):
    """An agent and a server with the embedded store."""

    def upgrade(self, order: Sequence[str]) -> None:
        """Let senders go on while the processes named in `order` are replaced."""
        server = self.stage.server(variables=self.old)
        agent = self.stage.agent(server.port, variables=self.old)
        start_all(server, agent)
        self.begin_load(agent)
        processes: dict[str, HTTPProcess] = {"server": server, "agent": agent}
        for name in order:
            self.replace(processes[name])
        self.check(server)
        self.assertEqual(server.post(counters("last", "after", [1, 2])).status, 200)
        server.wait_for_count("after", 2)

    def test_agent_first(self) -> None:
        """A new agent sends to an old server, until that is replaced, too."""
        self.upgrade(["agent", "server"])

    def test_server_first(self) -> None:
        """A new server reads the store of an old one, and takes the batches of an old agent."""
        self.upgrade(["server", "agent"])


class FleetUpgradeTests(UpgradeCase):
    """An agent and two servers on one Redis, each fe and be, which share the vbuckets while their versions differ."""

    skip = missing() if PROFILE == "nightly" else "TABA_PROFILE=nightly runs it"

    def setUp(self) -> None:
        """And a Redis."""
        super().setUp()
        redis = Servers()
        self.addCleanup(redis.close)
        url = f"redis://127.0.0.1:{redis.server().ready().port}"
        settings = {"DB_SETTINGS": {"NUM_VBUCKETS": VBUCKETS, "REDIS_URL": url}}
        self.servers = [self.stage.server(name=name, config=settings, variables=self.old) for name in ("a", "b")]
        one, other = self.servers
        self.agent = self.stage.agent(one.port, "--server", f"127.0.0.1:{other.port}", variables=self.old)

    def upgrade(self, order: Sequence[HTTPProcess]) -> None:
        """Let senders go on while processes are replaced, in order; wait until both servers have their share each
        time.
        """
        start_all(*self.servers, self.agent)
        self.begin_load(self.agent)
        until(self.shared, PATIENCE, lambda: f"both have a share: {self.held()}")
        for process in order:
            self.replace(process)
            until(self.shared, PATIENCE, lambda: f"both have a share: {self.held()}")
        print(f"\nexact: {self.check(*self.servers)} events", end=" ")

    def held(self) -> list[int]:
        """How many vbuckets each server has."""
        found = [HELD.search(each.ask("/metrics").text) for each in self.servers]
        return [int(float(each[1])) if each else 0 for each in found]

    def shared(self) -> bool:
        """Whether every vbucket is where it belongs, some here and some there."""
        ready = all(each.ask("/readyz?role=be").status == 200 for each in self.servers)
        held = self.held()
        return ready and sum(held) == VBUCKETS and min(held) > 0

    def test_agent_between(self) -> None:
        """One server, the agent, the other server: old and new servers share the vbuckets, and take the batches of an
        old agent and of a new one.
        """
        one, other = self.servers
        self.upgrade([one, self.agent, other])

    def test_servers_first(self) -> None:
        """Both servers, one after the other, then the agent."""
        self.upgrade([*self.servers, self.agent])

    def test_agent_first(self) -> None:
        """The agent, which then has old servers only, and after it both of these."""
        self.upgrade([self.agent, *self.servers])
