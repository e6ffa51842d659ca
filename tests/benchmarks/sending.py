"""The sender of prepared requests: a process of its own that writes bytes it has ready on many connections.

It must not be what is measured: it makes nothing, and reads of an answer only that it is 200 and says nothing more. Its
own processor time is told, so that everybody can see how far it was from its limit. What is refused for want of room it
sends again.
"""

from __future__ import annotations

import math
import multiprocessing
import resource
import selectors
import socket
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

from attrs import define, field, frozen

PATIENCE = 300.0
"""Seconds without any progress."""
RETRY_SECONDS = 0.05
"""What was refused for want of room (503), and so not counted, is sent again after that."""


@frozen
class Prepared:
    """Requests that differ only in the first bytes of their bodies: `heads`, one after another, before `rest`."""

    path: str
    heads: Sequence[bytes]
    rest: bytes = field(repr=False)

    def head(self, number: int) -> bytes:
        """The head of request `number` with the first bytes of its body."""
        start = self.heads[number % len(self.heads)]
        length = len(start) + len(self.rest)
        return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (self.path.encode(), length, start)


@frozen
class Sent:
    """What a sending took."""

    requests: int
    wall: float
    cpu: float
    """Of the sender."""


class Overloaded(Exception):
    """The request was not taken; it may be sent again."""


@define
class _Line:
    """One connection."""

    socket: socket.socket
    number: int
    """Of the request that is under way."""
    left: list[memoryview] = field(factory=list)
    got: bytes = b""

    def write(self) -> bool:
        """Write on; whether all is written."""
        while self.left:
            try:
                sent = self.socket.sendmsg(self.left)
            except BlockingIOError:
                return False
            while self.left and sent >= len(self.left[0]):
                sent -= len(self.left.pop(0))
            if sent:
                self.left[0] = self.left[0][sent:]
        return True

    def read(self) -> bool:
        """Whether the answer is whole. RuntimeError when it is another than it should be."""
        piece = self.socket.recv(65536)
        self.got += piece
        if b"\r\n\r\n" not in self.got and piece:
            return False
        if self.got.startswith(b"HTTP/1.1 503"):
            raise Overloaded
        if not self.got.startswith(b"HTTP/1.1 200") or not self.got.endswith(b"\r\n\r\n"):
            raise RuntimeError(f"the answer was {self.got[:300]!r}")
        self.got = b""
        return True


@define
class _Sender:
    """All connections of a sending."""

    port: int
    prepared: Prepared
    times: int
    """Requests to be answered; fewer when the time is over."""
    seconds: float
    rest: memoryview = field(init=False)
    chosen: selectors.BaseSelector = field(factory=selectors.DefaultSelector, init=False)
    started: float = field(factory=time.monotonic, init=False)
    begun: int = 0
    done: int = 0

    def __attrs_post_init__(self) -> None:
        self.rest = memoryview(self.prepared.rest)

    def connect(self, number: int) -> None:
        """Begin request `number` on a new connection."""
        line = _Line(socket.create_connection(("127.0.0.1", self.port)), number)
        line.socket.setblocking(False)
        self.chosen.register(line.socket, selectors.EVENT_WRITE, line)
        line.left = [memoryview(self.prepared.head(number)), self.rest]

    def next(self) -> int:
        """The number of the next request."""
        self.begun += 1
        return self.begun - 1

    def run(self, connections: int) -> None:
        """Keep every connection busy until all is answered."""
        for _ in range(min(connections, self.times)):
            self.connect(self.next())
        while self.done < self.times:
            ready = self.chosen.select(PATIENCE)
            if not ready:
                raise RuntimeError("no answer")
            for key, events in ready:
                if events & selectors.EVENT_READ:
                    self.read(key.data)
                elif key.data.write():
                    self.chosen.modify(key.data.socket, selectors.EVENT_READ, key.data)

    def read(self, line: _Line) -> None:
        """Take an answer, and go on with the next request; with the same one, after a moment, if it was refused."""
        try:
            if not line.read():
                return
        except Overloaded:
            self.drop(line)
            time.sleep(RETRY_SECONDS)
            self.connect(line.number)
            return
        self.done += 1
        if self.begun < self.times and time.monotonic() - self.started >= self.seconds:
            self.times = self.begun
        if self.begun == self.times:
            self.drop(line)
            return
        line.number = self.next()
        line.left = [memoryview(self.prepared.head(line.number)), self.rest]
        if not line.write():
            self.chosen.modify(line.socket, selectors.EVENT_WRITE, line)

    def drop(self, line: _Line) -> None:
        """End a connection."""
        self.chosen.unregister(line.socket)
        line.socket.close()


def _run(port: int, prepared: Prepared, times: int, connections: int, seconds: float, told: Connection) -> None:
    """The process that sends."""
    sender = _Sender(port, prepared, times, seconds)
    sender.run(connections)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    told.send(Sent(sender.done, time.monotonic() - sender.started, usage.ru_utime + usage.ru_stime))


def send(port: int, prepared: Prepared, times: int, connections: int, seconds: float = math.inf) -> Sent:
    """Post `times` requests, or as many as begin within so many seconds, over so many connections, by a process of its
    own. RuntimeError when one was not taken.
    """
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    sender = context.Process(target=_run, args=(port, prepared, times, connections, seconds, sending), daemon=True)
    sender.start()
    sending.close()
    try:
        sent: Sent = receiving.recv()
    except EOFError:
        raise RuntimeError("the sender failed")
    finally:
        sender.join()
    return sent
