"""A world with Redis in it, and clients that talk to it with the real protocol code of txredisapi."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import txredisapi
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taba.testing import Process, World
from taba.testing.redis import FunctionLibrary, RedisServer
from taba.testing.redis.resp import Argument


class Factory(ClientFactory):
    """What `txredisapi.RedisProtocol` asks of its factory."""

    noisy = False
    isLazy = True
    handler = None
    protocol_made: Any = None

    def __init__(self, process: Process, subscribes: bool) -> None:
        self.process = process
        self.kind = txredisapi.SubscriberProtocol if subscribes else txredisapi.RedisProtocol

    def buildProtocol(self, addr: IAddress | None) -> Any:
        protocol = self.kind(charset=None, convertNumbers=False)
        protocol.factory = self
        protocol.callLater = self.process.reactor.callLater
        self.protocol_made = protocol
        protocol.messageReceived = lambda *message: protocol.messages.append(message)
        protocol.messages = []
        return protocol

    def addConnection(self, connection: Any) -> None:
        """The connection stands."""

    def delConnection(self, connection: Any) -> None:
        """The connection has ended."""


@define(eq=False)
class Client:
    """One connection of a client process to `host`."""

    world: World
    process: Process
    host: str
    port: int = 6379
    subscribes: bool = False
    _factory: Factory = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._factory = Factory(self.process, self.subscribes)
        self.process.reactor.connectTCP(self.host, self.port, self._factory, timeout=5)
        made = self._factory
        self.world.run_until(lambda: made.protocol_made is not None and self.connected, 10, "a connection")

    @property
    def protocol(self) -> Any:
        """The protocol of txredisapi."""
        return self._factory.protocol_made

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return bool(self.protocol.connected)

    def start(self, *argv: Argument) -> Deferred[Any]:
        """Send a command."""
        deferred: Deferred[Any] = self.protocol.execute_command(*argv)
        return deferred

    def do(self, *argv: Argument, limit: float = 60.0) -> Any:
        """The reply to a command; raises txredisapi.ResponseError."""
        return self.world.result_of(self.start(*argv), limit)

    def error(self, *argv: Argument) -> str:
        """The error line that a command is answered with."""
        try:
            reply = self.do(*argv)
        except txredisapi.ResponseError as error:
            return str(error)
        raise AssertionError(f"{argv} was answered with {reply!r}")


class RedisTestCase(SynchronousTestCase):
    """A world, and `client` to make connections in it."""

    seed = 5

    def setUp(self) -> None:
        self.world = World(seed=self.seed)
        self.addCleanup(self.world.close)
        self.process = self.world.node("client").start()

    def server(self, name: str, **options: Any) -> RedisServer:
        """A server that runs."""
        return RedisServer(self.world.node(name), **options).start()

    def pair(self, configuration: Mapping[str, str] | None = None, **options: Any) -> tuple[RedisServer, RedisServer]:
        """A master and a replica that has copied it."""
        options["configuration"] = configuration or {}
        master = self.server("redis-1", **options)
        replica = self.server("redis-2", master=master, **options)
        self.world.advance(2)
        return master, replica

    def client(self, server: RedisServer, subscribes: bool = False) -> Client:
        """A connection."""
        return Client(self.world, self.process, server.node.name, server.port, subscribes)

    def assert_between(self, low: float, number: float, high: float) -> None:
        """Fail unless a number lies between two others."""
        self.assertTrue(low <= number <= high, f"{number} is not between {low} and {high}")

    def elapsed(self, deferred: Deferred[Any]) -> tuple[Any, float]:
        """What a Deferred fires with, and after how many seconds."""
        start = self.world.clock.seconds()
        return self.world.result_of(deferred), self.world.clock.seconds() - start


def failed(deferred: Deferred[Any]) -> list[Failure]:
    """The failures of a Deferred, so far and to come."""
    failures: list[Failure] = []
    deferred.addErrback(failures.append)
    return failures


def library(**functions: Any) -> dict[str, FunctionLibrary]:
    """The libraries to give to a server: one named `lib`."""
    return {"lib": FunctionLibrary("lib", functions)}


LIB = "#!lua name=lib\nredis.register_function(...)"
"""The text with which it is loaded; only its first line counts here."""
