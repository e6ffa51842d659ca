"""Large bodies, read from a connection's socket into one place that all connections share, and taken from there.

Twisted makes a new object of bytes for each read, as large as what it asks for, and hands it through its layers. Of a
large body that costs as much as parsing it: the bytes come to memory that no cache holds, and are few for each turn of
the reactor, or much memory is taken for each connection. Here a turn reads several pieces, each into the same memory,
and each is parsed before the next one comes. Twisted sees the head, the first bytes, and the end of a body as ever.

Invariants: bytes reach a body in their order, once, and none beyond its length; a piece is used while `write` of its
body runs, and never afterwards. Where a connection is not a plain socket of Twisted's own (TLS, tests in memory), or
Twisted is not as it is known here, nothing is changed.

Private attributes of Twisted's that are used: `_transferDecoder`, `_handlingRequest` and `_buffer` of a channel.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet import main
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.tcp import Connection

ROOM_BYTES = 256 << 10
"""Bytes read at a time: within the second cache of a processor, with what they are parsed into."""
PIECES = 4
"""So many are read in a turn of the reactor at most; then it is another connection's."""


@define(eq=False)
class DirectReading:
    """How one site reads large bodies. Of the reactor's thread."""

    _room: bytearray = field(factory=bytearray, init=False)

    def begin(self, channel: Any) -> bool:
        """Read what comes of the channel's present body this way; whether that is possible. To be called while the
        body begins. The body's `write` gets memoryviews.
        """
        transport = channel.transport
        if not isinstance(transport, Connection) or transport.TLS or _left(channel) is None:
            return False
        if not self._room:
            self._room = bytearray(ROOM_BYTES)
        reading = _Reading(channel, transport, memoryview(self._room))
        transport.doRead = reading.read  # type: ignore[method-assign]
        return True


@define(eq=False)
class _Reading:
    """The reading of one body."""

    channel: Any
    transport: Connection
    room: memoryview

    def read(self) -> ConnectionLost | ConnectionDone | None:
        """Instead of `doRead` of the connection: called by the reactor when there is something to read."""
        transport: Any = self.transport
        for _ in range(PIECES):
            left = _left(self.channel)
            if not left or transport.disconnecting or self.channel._buffer:
                return self._over()
            most = min(left, len(self.room))
            try:
                count = transport.socket.recv_into(self.room, most)
            except BlockingIOError:
                return None
            except OSError:
                return main.CONNECTION_LOST
            if not count:
                return main.CONNECTION_DONE
            if count == left:
                del transport.doRead
            self.channel.resetTimeout()
            self.channel.rawDataReceived(self.room[:count])
            if count < most or count == left:
                return None
        return None

    def _over(self) -> ConnectionLost | ConnectionDone | None:
        """There is no such body any more: what comes is read as ever."""
        transport: Any = self.transport
        del transport.doRead
        result: ConnectionLost | ConnectionDone | None = transport.doRead()
        return result


def _left(channel: Any) -> int | None:
    """How many bytes of the channel's present body are still to come, and are next; None where that cannot be told."""
    if getattr(channel, "_handlingRequest", True) or not hasattr(channel, "_buffer"):
        return None
    left = getattr(getattr(channel, "_transferDecoder", None), "contentLength", None)
    return left if isinstance(left, int) else None
