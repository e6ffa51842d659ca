"""An agent as a service over a disk in memory, in front of one fe or of nobody: what its tests share."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from taba import native
from taba.agent.endpoint import EndpointDown, IEndpoint
from taba.agent.intake import BatchNumber, Receipt
from taba.agent.service import Agent
from taba.interfaces import IFolder
from taba.local_endpoint import LocalEndpoint
from taba.process import Process
from taba.server.frontend import Frontend
from taba.server.observation import Observer
from taba.settings import AgentSettings
from taba.store.memory import MemoryStore
from taba.testing.disk import MemoryDisk
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology
from tests.server.making import Silent, new_ids, registry

KINDS = {"CounterGroup": native.COUNTER_GROUP, "Gauge": native.GAUGE}
WALL = 1_700_000_000.0


class AtOnce:
    """A Worker without a thread."""

    def __call__(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Deferred[Any]:
        """Run it now."""
        return maybeDeferred(function, *arguments, **named)

    def stop(self) -> Deferred[None]:
        """Nothing is under way."""
        return maybeDeferred(lambda: None)


@implementer(IEndpoint)
class Away:
    """A server that is not there."""

    name = "away"

    def topology(self) -> Deferred[Topology]:
        """Never."""
        return fail(EndpointDown("away"))

    def append(self, request: AppendRequest) -> Deferred[AppendAnswer]:
        """Never."""
        return fail(EndpointDown("away"))


@implementer(IEndpoint)
class Gate:
    """A server that is there while the gate is open. Nobody hears what it says when `dead`."""

    def __init__(self, server: LocalEndpoint) -> None:
        self.server = server
        self.name = server.name
        self.open = True
        self.dead = False

    def topology(self) -> Deferred[Topology]:
        """The server's."""
        return self.server.topology() if self.open else fail(EndpointDown("away"))

    def append(self, request: AppendRequest) -> Deferred[AppendAnswer]:
        """The server's."""
        if not self.open:
            return fail(EndpointDown("away"))
        heard: Deferred[AppendAnswer] = Deferred()
        answer: Deferred[AppendAnswer] = self.server.append(request)
        answer.addBoth(lambda result: None if self.dead else heard.callback(result))
        return heard


class AgentCase(SynchronousTestCase):
    """One agent in front of one fe, or of nobody. `agent` is the one that lives; tests start it."""

    agent: Agent

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1.0)
        self.disk = MemoryDisk(Random(3), torn=False)
        self.ids = new_ids()
        self.random = Random(5)
        self.store = MemoryStore(4, self.clock, self.wall, self.ids)
        self.successResultOf(self.store.startService())
        self.local = LocalEndpoint()
        self.local.serve(
            Frontend(self.store, registry(), self.clock, self.wall, Observer(Silent(), self.wall))
        )

    def wall(self) -> float:
        """Wall time goes with the virtual clock."""
        return WALL + self.clock.seconds()

    def open_folder(self, path: str) -> IFolder:
        """The folder of the spool."""
        return self.disk.folder(path)

    def worker(self, name: str) -> Any:
        """What does the work of a spool."""
        return AtOnce()

    def make(self, endpoint: Any, **settings: Any) -> Agent:
        """An agent that is not started yet."""
        self.process = Process(
            reactor=self.clock,
            wall=self.wall,
            random=self.random,
            open_folder=self.open_folder,
            worker=self.worker,
            host="host",
            say=lambda sentence: None,
        )
        return Agent(AgentSettings(confirm_seconds=5.0, **settings), self.process, KINDS, [endpoint])

    def start(self, endpoint: Any, **settings: Any) -> Agent:
        """A new life of the agent on the same disk."""
        agent = self.make(endpoint, **settings)
        self.successResultOf(agent.startService())
        return agent

    def crash(self) -> None:
        """The agent and what it had not synced are gone."""
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        self.disk.crash()

    def stop(self) -> None:
        """The agent stops in good order."""
        stopped = self.agent.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)

    def give(self, *values: int, batch: BatchNumber | None = None, tab: str = "t") -> Receipt:
        """Apply a request with CounterGroup events."""
        scratch = None
        if values:
            scratch = self.agent.begin()
            lines = "".join(f'["CounterGroup", {self.wall():.3f}, "{value}"]\n' for value in values)
            scratch.feed(f"1\n\nclient\n\n{tab}\n{lines}".encode())
            scratch.finish()
        return self.agent.apply(scratch, batch, {})

    def give_much(self, mebibytes: int) -> int:
        """Give until the spool holds so much, over some commits; how many events that is."""
        given = 0
        while self.agent.spool.bytes_held() < mebibytes << 20:
            for number in range(100):
                self.give(1, tab=f"{'x' * 400}{given}.{number}")
                given += 1
            self.pass_time(0.15)
        return given

    def open_instance(self) -> str:
        """A new instance, durably."""
        receipt = self.give(batch=BatchNumber(None, 0))
        self.pass_time(0.3)
        self.successResultOf(self.agent.durable(receipt.commit))
        assert receipt.instance is not None
        return receipt.instance

    def total(self) -> tuple[int, int]:
        """Count and total of all events in the logs."""
        count = total = 0
        for entry in self.successResultOf(self.store.read(dict.fromkeys(range(4), 0), 1 << 30, 0.0)):
            for each in native.batch_entries(entry.body):
                state = native.fold(native.COUNTER_GROUP, b"", [each.partial])
                _, summary, _ = native.counter_group_summary(state, self.wall(), ())
                count += summary.count
                total += round(summary.sum)
        return count, total
