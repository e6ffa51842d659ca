"""A double agent over two disks in memory, in front of two stores: what its tests share."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from taba.agent.double import DoubleAgent
from taba.agent.intake import Receipt
from taba.interfaces import IFolder
from taba.local_endpoint import LocalEndpoint
from taba.process import Process
from taba.server.frontend import Frontend
from taba.server.observation import Observer
from taba.settings import AgentSettings, DoubleAgentSettings, Endpoint
from taba.store.memory import MemoryStore
from taba.testing.disk import MemoryDisk
from tests.agent.agent_case import KINDS, AgentCase
from tests.server.making import Silent, new_ids, registry

FIRST, SECOND = "first", "second"


class Held:
    """A Worker whose thread can be kept waiting, as by a slow disk."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] | None = None

    def __call__(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Deferred[Any]:
        """Run it now, or when `go_on` is called."""
        if self.waiting is None:
            return maybeDeferred(function, *arguments, **named)
        done: Deferred[Any] = Deferred()
        self.waiting.append(lambda: maybeDeferred(function, *arguments, **named).chainDeferred(done))
        return done

    def hold(self) -> None:
        """Begin nothing more."""
        self.waiting = []

    def go_on(self) -> None:
        """Do what waits."""
        waiting, self.waiting = self.waiting or [], None
        for each in waiting:
            each()

    def stop(self) -> Deferred[None]:
        """Nothing is under way."""
        return maybeDeferred(lambda: None)


class DoubleCase(AgentCase):
    """A double agent with a disk for each spool; the first store is that of AgentCase, the second one is like it."""

    agent: DoubleAgent

    def setUp(self) -> None:
        super().setUp()
        self.second_disk = MemoryDisk(Random(4), torn=False)
        self.second_store = MemoryStore(4, self.clock, self.wall, new_ids())
        self.successResultOf(self.second_store.startService())
        self.second_local = LocalEndpoint()
        self.second_local.serve(
            Frontend(self.second_store, registry(), self.clock, self.wall, Observer(Silent(), self.wall))
        )
        self.agent = self.begin()

    def open_folder(self, path: str) -> IFolder:
        """The spools, each on its own disk."""
        return (self.second_disk if path == SECOND else self.disk).folder(path)

    def begin(self, second: Any = None, **settings: Any) -> DoubleAgent:
        """A life of the double agent."""
        self.workers: list[Held] = []
        agent = self.made(second, **settings)
        self.successResultOf(agent.startService())
        self.agent = agent
        return agent

    def made(self, second: Any = None, **settings: Any) -> DoubleAgent:
        """A double agent that is not started yet. `workers` are those of the first and of the second spool."""

        def worker(name: str) -> Held:
            self.workers.append(Held())
            return self.workers[-1]

        copied = DoubleAgentSettings(servers=(Endpoint("other", 8300),), spool=SECOND)
        process = Process(self.clock, self.wall, self.random, self.open_folder, worker, "host", lambda sentence: None)
        return DoubleAgent(
            AgentSettings(confirm_seconds=5.0, spool=FIRST, double_agent=copied, **settings),
            process, KINDS, [self.local], [second or self.second_local],
        )  # fmt: skip

    def crash(self) -> None:
        """The process is gone, and what was not synced."""
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        super().crash()
        self.second_disk.crash()

    def durable(self, receipt: Receipt) -> None:
        """Wait for an answer."""
        waiting = self.agent.durable(receipt.commit)
        self.pass_time(0.3)
        self.successResultOf(waiting)

    def totals(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Count and total of all events in the logs of the first and of the second store."""
        self.pass_time(2)
        first, stores = self.total(), (self.store, self.second_store)
        self.store = self.second_store
        second = self.total()
        self.store = stores[0]
        return first, second

    def line(self, name: str) -> int:
        """A line of the first spool's durable ledger."""
        return self.agent.ledger().get(name, 0)
