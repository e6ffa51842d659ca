"""StatsD lines in streams: TCP, TLS. Thin."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from taba.agent.statsd.gathering import Gatherer

READ_BYTES = 512 << 10
"""Bytes read from a connection at a time: a step of the reactor costs as much as parsing hundreds of lines."""


class StatsdProtocol(Protocol):
    """One connection of a sender."""

    def __init__(self, gatherer: Gatherer, connected: dict[StatsdProtocol, None]) -> None:
        self._gatherer = gatherer
        self._connected = connected
        self._stream = gatherer.stream()

    def connectionMade(self) -> None:
        """A sender has come."""
        self._connected[self] = None
        self._gatherer.counts["connections"] += 1
        transport: Any = self.transport
        if isinstance(transport, FileDescriptor):
            transport.bufferSize = READ_BYTES
        self._gatherer.connected(transport)

    def dataReceived(self, data: bytes) -> None:
        """The next bytes."""
        try:
            self._gatherer.feed(self._stream, data)
        except MemoryError:
            transport: Any = self.transport
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The sender has gone; a line without a LF counts if it went in order."""
        self._connected.pop(self, None)
        self._gatherer.end(self._stream, self.transport, whole=reason.check(ConnectionDone) is not None)


class StatsdFactory(Factory):
    """Makes the protocols of one gatherer."""

    noisy = False

    def __init__(self, gatherer: Gatherer) -> None:
        self._gatherer = gatherer
        self._connected: dict[StatsdProtocol, None] = {}

    def buildProtocol(self, addr: Any) -> StatsdProtocol:
        """See `Factory`."""
        return StatsdProtocol(self._gatherer, self._connected)

    def close(self) -> None:
        """End all connections. A line that is not whole is forgotten."""
        for each in list(self._connected):
            transport: Any = each.transport
            transport.loseConnection()
