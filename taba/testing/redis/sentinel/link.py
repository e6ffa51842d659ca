"""A sentinel's connection with another process: commands out, replies and messages in, made again when it breaks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
from attrs import define, field
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from taba.testing.redis.engine import Connect
from taba.testing.redis.resp import Argument, pack, words
from taba.testing.redis.turns import Turns

ReplyTaken = Callable[[Any], object]
"""Takes a reply as hiredis reads it: bytes, int, None, list, or hiredis.ReplyError."""


class _Connection(Protocol):
    """Brings bytes to the link through the turns of the process."""

    def __init__(self, attempt: _Attempt) -> None:
        self.attempt = attempt

    def connectionMade(self) -> None:
        self.attempt.link.turns.take(self.attempt.link.made, self)

    def dataReceived(self, data: bytes) -> None:
        self.attempt.link.turns.take(self.attempt.link.received, self, data)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self.attempt.link.turns.take(self.attempt.link.broke, self.attempt)


class _Attempt(ClientFactory):
    noisy = False

    def __init__(self, link: Link) -> None:
        self.link = link

    def buildProtocol(self, addr: IAddress | None) -> _Connection:
        return _Connection(self)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.link.turns.take(self.link.broke, self)


@define(eq=False)
class Link:
    """A connection to `host` and `port`. `on_up` is called when it stands, after AUTH was sent; `on_message` takes what
    nobody asked for. Replies that a lost connection owes never come.
    """

    turns: Turns
    connect: Connect
    host: str
    port: int
    credentials: tuple[str, ...]
    """The arguments of AUTH, or nothing."""
    on_up: Callable[[], object]
    on_message: ReplyTaken | None = None
    since: float = field(default=0.0, init=False)
    """When it was made, or last tried."""
    last_received: float = field(default=0.0, init=False)
    _attempt: _Attempt | None = field(default=None, init=False)
    _connector: Any = field(default=None, init=False)
    _connection: _Connection | None = field(default=None, init=False)
    _reader: hiredis.Reader = field(factory=hiredis.Reader, init=False)
    _awaited: deque[ReplyTaken | None] = field(factory=deque, init=False)

    def is_up(self) -> bool:
        """Whether it stands."""
        return self._connection is not None

    def pending(self) -> int:
        """How many replies are owed."""
        return len(self._awaited)

    def open(self, timeout: float) -> None:
        """Connect, unless it stands or is being made."""
        if self._attempt is None:
            self.since = self.turns.seconds()
            self._attempt = _Attempt(self)
            self._connector = self.connect(self.host, self.port, self._attempt, timeout)

    def close(self) -> None:
        """Break it; nothing more comes of it."""
        connector, self._attempt, self._connection = self._connector, None, None
        self._connector = None
        self._awaited.clear()
        if connector is not None and connector.state != "disconnected":
            connector.disconnect()

    def send(self, *argv: Argument, then: ReplyTaken | None = None) -> bool:
        """Send a command whose reply `then` is to take; False, and nothing happens, when the link is down."""
        if self._connection is None or self._connection.transport is None:
            return False
        self._connection.transport.write(pack(words(argv)))
        self._awaited.append(then)
        return True

    def subscribe(self, channel: str) -> None:
        """Hear a channel from now on; the link is for nothing else."""
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.write(pack(words(["SUBSCRIBE", channel])))

    def own_host(self) -> str:
        """The address of this end."""
        transport: Any = self._connection.transport if self._connection is not None else None
        return str(transport.getHost().host) if transport is not None else ""

    def made(self, connection: _Connection) -> None:
        """The connection stands."""
        if connection.attempt is not self._attempt:
            return
        self._connection = connection
        self._reader = hiredis.Reader()
        self._awaited.clear()
        self.since = self.last_received = self.turns.seconds()
        if self.credentials:
            self.send("AUTH", *self.credentials)
        self.on_up()

    def broke(self, attempt: _Attempt) -> None:
        """The connection has ended, or never came about."""
        if attempt is self._attempt:
            self._attempt = self._connector = self._connection = None
            self._awaited.clear()

    def received(self, connection: _Connection, raw: bytes) -> None:
        """Take bytes."""
        if connection is not self._connection:
            return
        self.last_received = self.turns.seconds()
        self._reader.feed(raw)
        while self._connection is connection and (read := self._reader.gets()) is not False:
            taker = self._awaited.popleft() if self._awaited else self.on_message
            if taker is not None:
                taker(read)
