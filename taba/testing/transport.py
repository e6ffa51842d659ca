"""The ends of a simulated TCP connection, as protocols see them.

`MemoryTransport` behaves towards its protocol like the TCP transports of Twisted: writes are buffered and leave at
the next turn, a streaming producer is paused above 64 KiB, `loseConnection` flushes first, `abortConnection` does
not, a paused transport reads nothing, an exception of `dataReceived` is logged and closes the connection. What lies
between the ends is in pipe.py; the network (network.py) decides which ends meet.

What happens to the bytes when an end goes away:

* loseConnection: all that was written arrives, then the other end is told ConnectionDone.
* abortConnection: some of what is under way arrives, then the other end is told ConnectionLost. Should the network
  be cut, it may never be told, and finds out when it next sends.
* kill: nothing runs in the killed process; what it had not handed to the network is lost, some of what was under
  way arrives, and the other end is told ConnectionDone or ConnectionLost, as by a kernel that closes the socket; behind
  a partition it may never be told.

Not simulated: TLS, half-closed connections, urgent data, congestion, keep-alive probes and the time-outs of TCP itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IConsumer, IProducer, IProtocol, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from taba.testing.clock import CallOwner, VirtualCall
from taba.testing.pipe import Connection, Pipe, Signal

if TYPE_CHECKING:
    from taba.testing.connecting import MemoryConnector

HIGH_WATER = 65536  # bytes
"""Above this a transport pauses its streaming producer, as Twisted's transports do."""


@implementer(ITCPTransport, IPushProducer, IConsumer)
@define(eq=False)
class MemoryTransport:
    """One end of a connection. `owner` is the process that it belongs to, None for what the world itself sends.

    `disconnected` is True from the moment when the protocol was told connectionLost (or its process was killed, and
    it will never be told).
    """

    connection: Connection
    outgoing: Pipe
    incoming: Pipe
    owner: CallOwner | None
    host: IPv4Address
    peer: IPv4Address
    connector: MemoryConnector | None = None
    """Of the connecting end."""
    protocol: IProtocol | None = field(default=None, init=False)
    connected: bool = field(default=False, init=False)
    disconnecting: bool = field(default=False, init=False)
    disconnected: bool = field(default=False, init=False)
    producer: IProducer | None = field(default=None, init=False)
    streaming: bool = field(default=False, init=False)
    producer_paused: bool = field(default=False, init=False)
    reading: bool = field(default=True, init=False)
    unread_bytes: int = field(default=0, init=False)
    """Bytes that arrived while the protocol had paused the transport."""
    _unread: deque[bytes] = field(factory=deque, init=False)
    _end_waits: bool = field(default=False, init=False)
    """The other end has closed, which shows when all before it is read."""
    _aborting: bool = field(default=False, init=False)
    _unsent: bytearray = field(factory=bytearray, init=False)
    _turn: VirtualCall | None = field(default=None, init=False)
    _read_turn: VirtualCall | None = field(default=None, init=False)
    _no_delay: bool = field(default=False, init=False)
    _keep_alive: bool = field(default=False, init=False)

    # ------------------------------------------------------------------------------------ ITransport, ITCPTransport

    def write(self, data: bytes) -> None:
        """Send `data` after all that was written before; nothing happens on a closed transport."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"Data must be bytes, not {type(data).__name__}")
        if not self.connected or not data:
            return
        self.outgoing.network.note_bytes(f"write {self._name()}", data)
        self._unsent += data
        if self.producer is not None and self.streaming and len(self._unsent) > HIGH_WATER:
            self.producer_paused = True
            self.producer.pauseProducing()  # type: ignore[attr-defined]
        self._start_writing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Write the pieces as one."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close when all is sent and the producer, when there is one, is unregistered."""
        if self.connected and not self.disconnecting:
            self.reading = False
            self.disconnecting = True
            self._start_writing()

    def abortConnection(self) -> None:
        """Close at the next turn, without sending what waits."""
        if self.disconnected or self._aborting:
            return
        self._aborting = True
        self.reading = False
        self._unsent.clear()
        self._later(self._aborted)

    def loseWriteConnection(self) -> None:
        """Raises: half-closed connections are not simulated."""
        raise NotImplementedError("half-closed connections are not simulated")

    def getHost(self) -> IPv4Address:
        """The address of this end."""
        return self.host

    def getPeer(self) -> IPv4Address:
        """The address of the other end."""
        return self.peer

    def getTcpNoDelay(self) -> bool:
        """What setTcpNoDelay set; without effect."""
        return self._no_delay

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Remembered only."""
        self._no_delay = bool(enabled)

    def getTcpKeepAlive(self) -> bool:
        """What setTcpKeepAlive set; without effect."""
        return self._keep_alive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Remembered only: TCP never notices by itself that the network is cut."""
        self._keep_alive = bool(enabled)

    # ---------------------------------------------------------------------------------------- IConsumer, IPushProducer

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let `producer` fill this transport; a pull producer is asked at once, and whenever the buffer is empty."""
        if self.producer is not None:
            raise RuntimeError(f"Cannot register producer {producer}: producer {self.producer} was never unregistered.")
        if self.disconnected:
            producer.stopProducing()
            return
        self.producer = producer
        self.streaming = streaming
        self.producer_paused = False
        if not streaming:
            producer.resumeProducing()  # type: ignore[attr-defined]

    def unregisterProducer(self) -> None:
        """The producer has ended; a transport that is to close may do so now."""
        self.producer = None
        if self.connected and self.disconnecting:
            self._start_writing()

    def pauseProducing(self) -> None:
        """Read no more until resumeProducing; the sender feels it once the pipe is full."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read on."""
        if self.connected and not self.disconnecting and not self._aborting:
            self.reading = True
            self._start_reading()

    def stopProducing(self) -> None:
        """The same as loseConnection."""
        self.loseConnection()

    # --------------------------------------------------------------------------------------------------- connecting

    def established(self, protocol: IProtocol | None) -> None:
        """The connection stands: introduce the protocol, or close when there is none."""
        self.connected = True
        self.protocol = protocol
        if protocol is None or not self._guarded(protocol.makeConnection, self):
            self.loseConnection()

    def failIfNotConnected(self, error: Exception) -> None:
        """Give up connecting, with `error`; nothing happens on a transport that is, or was, connected."""
        if self.connected or self.disconnected:
            return
        self.disconnected = True
        if self.outgoing.network.is_cut(self.outgoing.source, self.outgoing.target):
            self.outgoing.clear()  # a closed socket repeats its SYN no more
        if self.connector is not None:
            self._guarded(self.connector.connectionFailed, Failure(error))
        self.connection.forget_if_over()

    # ------------------------------------------------------------------------------------------- what the pipe brings

    def arrived(self, what: bytes | Signal) -> None:
        """Take what the other end sent."""
        if self.disconnected:
            self._arrived_too_late(what)
        elif not self.connected:
            self._answered(what)
        elif what is Signal.RESET:
            self.lost(ConnectionLost(), None)
        elif what is Signal.FIN:
            self._end_waits = True
            if self.reading and not self._unread:
                self.lost(ConnectionDone(), Signal.FIN)
        elif isinstance(what, bytes):
            if self.reading and not self._unread:
                self._deliver(what)
            else:
                self._unread.append(what)
                self.unread_bytes += len(what)

    def _answered(self, what: bytes | Signal) -> None:
        if what is Signal.ACCEPTED and self.connector is not None:
            self.connector.connectionMade(self)
        else:  # refused; or accepted by a process that died before its acceptance arrived
            self.failIfNotConnected(ConnectionRefusedError())

    def _arrived_too_late(self, what: bytes | Signal) -> None:
        """Nobody is here any more: tell the sender, unless the news is on its way or it is closing anyway."""
        if (isinstance(what, bytes) or what is Signal.ACCEPTED) and not self.outgoing.tells_the_end():
            self.outgoing.closed = True
            self.outgoing.put(Signal.RESET)

    def _deliver(self, data: bytes) -> None:
        assert self.protocol is not None
        try:
            self.protocol.dataReceived(data)
        except Exception as error:
            if self.owner is None:
                raise
            self.owner.call_failed(Failure())
            self.lost(error, Signal.FIN)
        self._make_room()

    def _make_room(self) -> None:
        """Let the sender fill the room that reading made."""
        for end in self.connection.ends():
            if end.outgoing is self.incoming:
                end.room_made()

    def room_made(self) -> None:
        """The pipe can take more."""
        if self._unsent:
            self._start_writing()

    # ------------------------------------------------------------------------------------------------------- turns

    def _start_writing(self) -> None:
        if self._turn is None:
            self._turn = self._later(self._write_turn)

    def _start_reading(self) -> None:
        if self._read_turn is None and (self._unread or self._end_waits):
            self._read_turn = self._later(self._read_on)

    def _later(self, function: Callable[[], None]) -> VirtualCall:
        return self.outgoing.network.clock.callLater(0, function)

    def _write_turn(self) -> None:
        self._turn = None
        if not self.connected or self._aborting:
            return
        self._fill_pipe()
        if self._unsent:
            return
        if self.producer is not None and (not self.streaming or self.producer_paused):
            self.producer_paused = False
            self._guarded(self.producer.resumeProducing)  # type: ignore[attr-defined]
        elif self.disconnecting:
            self.lost(ConnectionDone(), Signal.RESET if self._unread else Signal.FIN)

    def _fill_pipe(self) -> None:
        receiver = self.connection.server if self.outgoing is self.connection.up else self.connection.client
        waiting = self.outgoing.bytes_in_flight + (receiver.unread_bytes if receiver is not None else 0)
        window = self.outgoing.network.window
        room = window - waiting
        # Waiting until a fair part of the window is free keeps one small chunk from making all that follow as small.
        if not self._unsent or room < min(len(self._unsent), window // 2):
            return
        with memoryview(self._unsent) as view:
            data = bytes(view[:room])
        del self._unsent[:room]
        if self.connection.cutter is not None and self.outgoing is self.connection.up:
            self.outgoing.network.sent(self.connection, data)
        self.outgoing.send(data)

    def _read_on(self) -> None:
        """Deliver one of the chunks that waited; the next one has a turn of its own, so that other things come
        between.
        """
        self._read_turn = None
        if not self.reading or self.disconnected:
            return
        if self._unread:
            data = self._unread.popleft()
            self.unread_bytes -= len(data)
            self._deliver(data)
        elif self._end_waits:
            self.lost(ConnectionDone(), Signal.FIN)
        if self.reading and not self.disconnected:
            self._start_reading()

    # ---------------------------------------------------------------------------------------------------------- ends

    def _aborted(self) -> None:
        if not self.disconnected:
            self.outgoing.lose_some()
            self.lost(ConnectionAborted(), Signal.RESET)

    def lost(self, reason: Exception, tell: Signal | None) -> None:
        """Close this end now: tell the other end `tell`, and the protocol `reason`."""
        if not self._shut(tell):
            return
        self.outgoing.network.note(f"lost {self._name()} {type(reason).__name__}")
        producer, self.producer = self.producer, None
        if producer is not None:
            self._guarded(producer.stopProducing)
        protocol, self.protocol = self.protocol, None
        failure = Failure(reason)
        if protocol is not None:
            self._guarded(protocol.connectionLost, failure)
        if self.connector is not None:
            self._guarded(self.connector.connectionLost, failure)
        self.connection.forget_if_over()

    def kill(self) -> None:
        """The process of this end is gone: close without telling the protocol anything."""
        was_connected = self.connected
        if self.disconnected:
            return
        self.outgoing.lose_some()
        signal = self.outgoing.network.random.choice((Signal.FIN, Signal.RESET))
        self._shut(signal if was_connected else None)
        self.connection.forget_if_over()

    def reset(self) -> None:
        """The network broke the connection: tell this end at its next turn."""
        if self.connected:
            self._later(lambda: self.lost(ConnectionLost(), None))
        else:
            self._later(lambda: self.failIfNotConnected(ConnectionRefusedError()))

    def _shut(self, tell: Signal | None) -> bool:
        """Close the socket; False when it was closed before."""
        if self.disconnected:
            return False
        self.connected = False
        self.disconnected = True
        self._unsent.clear()
        self._unread.clear()
        self.unread_bytes = 0
        if tell is not None:
            self.outgoing.close(tell)
        return True

    def _guarded(self, function: Callable[..., Any], *args: object) -> bool:
        """Call into the process as a reactor does: what it raises is logged there, not here."""
        try:
            function(*args)
        except Exception:
            if self.owner is None:
                raise
            self.owner.call_failed(Failure())
            return False
        return True

    def _name(self) -> str:
        return f"{self.connection.number}{'>' if self.outgoing is self.connection.up else '<'}"
