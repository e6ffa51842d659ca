"""Requests that were recorded, and sending them again: the late copy of a request that a network may deliver at any
time.
"""

from __future__ import annotations

import re

from attrs import define, field, frozen
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConnector
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from taba.testing.clock import HeapClock, VirtualCall


@frozen
class RecordedRequest:
    """A whole HTTP request that a client sent, with what is needed to send it again."""

    number: int
    time: float
    """Virtual seconds at which the last byte of it was sent."""
    source: str
    target: str
    port: int
    loopback: bool
    method: bytes
    path: bytes
    """The path with its query."""
    raw: bytes = field(repr=False)


@define(eq=False)
class Redelivery:
    """What became of a `redeliver`; the answer itself is thrown away.

    `outcome` is "connecting", then "sent", then "answered" with the first byte of an answer, or "failed" when no
    connection came about; `status` is the code of the answer once its first line is there, else None.
    """

    request: RecordedRequest
    outcome: str = "connecting"
    status: int | None = None
    closed: bool = False


class _RedeliveryProtocol(Protocol):
    """Sends one recorded request and listens to nothing but the status."""

    def __init__(self, redelivery: Redelivery, clock: HeapClock, hold: float) -> None:
        self._redelivery = redelivery
        self._clock = clock
        self._hold = hold
        self._closing: VirtualCall | None = None
        self._beginning = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self._redelivery.outcome = "sent"
        self.transport.write(self._redelivery.request.raw)
        self._closing = self._clock.callLater(self._hold, self.transport.loseConnection)

    def dataReceived(self, data: bytes) -> None:
        self._redelivery.outcome = "answered"
        if self._redelivery.status is None:
            self._beginning = (self._beginning + data)[:64]
            match = re.match(rb"HTTP/1\.[01] (\d\d\d)", self._beginning)
            if match is not None:
                self._redelivery.status = int(match.group(1))

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008  (as Twisted declares it)
        self._redelivery.closed = True
        if self._closing is not None and self._closing.active():
            self._closing.cancel()


class RedeliveryFactory(ClientFactory):
    """Makes the connection of one redelivery, which closes `hold` seconds after it was made."""

    noisy = False

    def __init__(self, redelivery: Redelivery, clock: HeapClock, hold: float) -> None:
        self._redelivery = redelivery
        self._clock = clock
        self._hold = hold

    def buildProtocol(self, addr: object) -> Protocol:
        return _RedeliveryProtocol(self._redelivery, self._clock, self._hold)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._redelivery.outcome = "failed"
        self._redelivery.closed = True
