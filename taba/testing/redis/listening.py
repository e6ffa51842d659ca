"""Listening for clients: the protocol that joins a connection to a session, for servers and sentinels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from taba.testing.redis.session import Session
from taba.testing.redis.turns import Turns

OpenSession: TypeAlias = Callable[[str, Callable[[bytes], None], Callable[[], None]], Session]
"""Makes a session for an address, a way to write and a way to close."""


class ClientConnection(Protocol):
    """One client's connection. Everything that happens to it waits for the turns of the process."""

    session: Session | None = None

    def __init__(self, turns: Turns, open_session: OpenSession) -> None:
        self._turns = turns
        self._open_session = open_session

    def connectionMade(self) -> None:
        self._turns.take(self._open)

    def dataReceived(self, data: bytes) -> None:
        self._turns.take(self._receive, data)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self._turns.take(self._lose)

    def _open(self) -> None:
        transport = self.transport
        assert transport is not None
        peer = transport.getPeer()
        address = f"{getattr(peer, 'host', '?')}:{getattr(peer, 'port', 0)}"
        self.session = self._open_session(address, transport.write, transport.loseConnection)

    def _receive(self, received: bytes) -> None:
        assert self.session is not None
        self.session.receive(received)

    def _lose(self) -> None:
        assert self.session is not None
        self.session.lost()


class ClientFactory(Factory):
    """Makes a `ClientConnection` for everybody who connects."""

    noisy = False

    def __init__(self, turns: Turns, open_session: OpenSession) -> None:
        self._turns = turns
        self._open_session = open_session

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:
        return ClientConnection(self._turns, self._open_session)
