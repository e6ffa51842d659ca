"""One life of a Redis process as a Twisted service: it listens, loads its disk, follows its master, and keeps time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort

from taba.testing.redis.access import Users
from taba.testing.redis.configuration import Configuration
from taba.testing.redis.engine import Engine
from taba.testing.redis.functions import FunctionLibrary
from taba.testing.redis.listening import ClientFactory
from taba.testing.redis.persistence import RedisDisk
from taba.testing.redis.turns import Timer, Turns

TICK = 1.0  # seconds between the things that a server does by itself


class RedisProcess(Service):
    """`engine`, listening on its port through `reactor` (IReactorTCP). `master` is whom it follows from the start;
    `loading` are the seconds for which it answers LOADING.
    """

    def __init__(
        self, reactor: Any, engine: Engine, master: tuple[str, int] | None = None, loading: float = 0.0
    ) -> None:
        self.engine = engine
        self.factory = ClientFactory(engine.turns, engine.open_session)
        self._reactor = reactor
        self._master = master
        self._loading = loading
        self._port: IListeningPort | None = None
        self._tick: Timer | None = None
        self._loaded: Timer | None = None

    def startService(self) -> None:
        """Load the disk and listen."""
        Service.startService(self)
        self.engine.load_disk()
        self._port = self._reactor.listenTCP(self.engine.port, self.factory)
        if self._loading:
            self.engine.loading = True
            self._loaded = self.engine.turns.later(self._loading, self._end_loading)
        else:
            self._end_loading()
        self._go_on()

    def stopService(self) -> Deferred[None] | None:
        """Listen no more, close all connections."""
        Service.stopService(self)
        for timer in (self._tick, self._loaded):
            if timer is not None:
                timer.cancel()
        self.engine.stop()
        port, self._port = self._port, None
        stopped: Deferred[None] | None = port.stopListening() if port is not None else None
        return stopped

    def _end_loading(self) -> None:
        self.engine.loading = False
        if self._master is not None:
            self.engine.follow(*self._master)

    def _go_on(self) -> None:
        self._tick = self.engine.turns.later(TICK, self._go_on)
        self.engine.every_second()


def redis_process(
    reactor: Any,
    wall: Callable[[], float],
    random: Random,
    libraries: Mapping[str, FunctionLibrary],
    configuration: Mapping[str, str],
) -> RedisProcess:
    """A Redis without a world: on a `MemoryReactorClock`, say, its `factory` joined to a client by `iosim.connect`."""

    def connect(host: str, port: int, factory: Any, timeout: float) -> Any:
        return reactor.connectTCP(host, port, factory, timeout)

    parameters = Configuration()
    parameters.set(configuration)
    engine = Engine(
        turns=Turns(reactor),
        wall=wall,
        random=random,
        connect=connect,
        disk=RedisDisk(),
        configuration=parameters,
        users=Users(),
        libraries=libraries,
        on_shutdown=lambda: None,
    )
    return RedisProcess(reactor, engine)
