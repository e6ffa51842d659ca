"""`RedisSentinel`: a Sentinel on a machine of a simulated world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred

from taba.testing.node import Node, Process
from taba.testing.redis.listening import ClientFactory
from taba.testing.redis.sentinel import failover
from taba.testing.redis.sentinel.commands import perform
from taba.testing.redis.sentinel.engine import TICK, SentinelEngine, SentinelFile
from taba.testing.redis.sentinel.monitored import Step, Watch
from taba.testing.redis.server import NotRunning, RedisServer
from taba.testing.redis.turns import Timer, Turns

PORT = 26379


class SentinelProcess(Service):
    """One life of a Sentinel: it listens, and looks around."""

    def __init__(self, reactor: Any, engine: SentinelEngine) -> None:
        self.engine = engine
        self._reactor = reactor
        self._port: Any = None
        self._timer: Timer | None = None

    def startService(self) -> None:
        """Listen, and begin to look around."""
        Service.startService(self)
        factory = ClientFactory(self.engine.turns, self.engine.open_session)
        self._port = self._reactor.listenTCP(self.engine.port, factory)
        self._go_on()

    def stopService(self) -> Deferred[None] | None:
        """Listen no more, break all links."""
        Service.stopService(self)
        if self._timer is not None:
            self._timer.cancel()
        self.engine.stop()
        stopped: Deferred[None] | None = self._port.stopListening()
        return stopped

    def _go_on(self) -> None:
        # Real ones tick at random rates as well, so that they do not all ask for votes at one moment.
        self._timer = self.engine.turns.later(TICK * (0.5 + 0.5 * self.engine.random.random()), self._go_on)
        self.engine.tick()


@define(eq=False)
class RedisSentinel:
    """A Sentinel on `node`, which it has for itself, that watches `watches`. What it has learned outlives its process.

    `events` are (virtual time, kind, text) of all events of all its lives, as subscribers get them.
    """

    node: Node
    watches: Sequence[Watch]
    port: int = PORT
    password: str = field(default="", kw_only=True)
    file: SentinelFile = field(factory=SentinelFile, init=False)
    events: list[tuple[float, str, str]] = field(factory=list, init=False)
    _engine: SentinelEngine | None = field(default=None, init=False)
    _life: Process | None = field(default=None, init=False)

    def start(self) -> RedisSentinel:
        """Start the process. Returns the sentinel."""
        self._life = self.node.start(self._make)
        return self

    def kill(self) -> None:
        """kill -9."""
        self.node.crash()

    def restart(self) -> None:
        """Kill it, if it runs, and start it with what it had written down."""
        self.kill()
        self.start()

    def hang(self) -> None:
        """SIGSTOP."""
        self.node.world.note_verb("sentinel_hang", self.node.name)
        self.engine.turns.hang()

    def wake(self) -> None:
        """SIGCONT."""
        self.node.world.note_verb("sentinel_wake", self.node.name)
        self.engine.turns.wake()

    @property
    def host(self) -> str:
        """The address of its machine."""
        return self.node.world.network.address_of(self.node.name)

    @property
    def engine(self) -> SentinelEngine:
        """The process of this life; raises NotRunning."""
        if self._engine is None or self._life is None or not self._life.running:
            raise NotRunning(f"no Sentinel runs on {self.node.name}")
        return self._engine

    def master_address(self, name: str) -> tuple[str, int]:
        """Where it says that a master is."""
        return self.engine.monitored[name].address()

    def fail_over(self, name: str, to: RedisServer | None = None) -> None:
        """Begin a failover now, without an election, also of a master that is well: to the best replica, or to the one
        given, however far it lags behind. Raises ValueError when one goes on, or the replica is not known.
        """
        monitored = self.engine.monitored[name]
        if monitored.step is not Step.NONE:
            raise ValueError(f"a failover of {name} goes on")
        chosen = None if to is None else (to.host, to.port)
        if chosen is not None and chosen not in monitored.replicas:
            raise ValueError(f"{self.node.name} knows no replica {chosen} of {name}")
        self.node.world.note_verb("sentinel_fail_over", self.node.name)
        failover.start(self.engine, monitored)
        monitored.forced, monitored.chosen = True, chosen

    def _make(self, process: Process) -> SentinelProcess:
        def note(kind: str, text: str) -> None:
            self.events.append((process.reactor.seconds(), kind, text))

        self._engine = SentinelEngine(
            turns=Turns(process.reactor),
            random=process.random,
            connect=process.reactor.connectTCP,
            file=self.file,
            watches=self.watches,
            commands=perform,
            on_event=note,
            port=self.port,
            password=self.password,
        )
        return SentinelProcess(process.reactor, self._engine)
