"""The sender of prepared requests: a process of its own that writes bytes it has ready on many connections.

It must not be what is measured: it makes nothing, and reads of an answer only that it is 200 and says nothing more. Its
own processor time is told, so that everybody can see how far it was from its limit.
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


@define
class _Line:
    """One connection."""

    socket: socket.socket
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
        if not self.got.startswith(b"HTTP/1.1 200") or not self.got.endswith(b"\r\n\r\n"):
            raise RuntimeError(f"the answer was {self.got[:300]!r}")
        self.got = b""
        return True


def _run(port: int, prepared: Prepared, times: int, connections: int, seconds: float, told: Connection) -> None:
    """Keep every connection busy until `times` requests are answered, or those begun within so many seconds."""
    rest = memoryview(prepared.rest)
    chosen = selectors.DefaultSelector()
    begun = done = 0
    started = time.monotonic()
    for _ in range(min(connections, times)):
        line = _Line(socket.create_connection(("127.0.0.1", port)))
        line.socket.setblocking(False)
        line.left = [memoryview(prepared.head(begun)), rest]
        begun += 1
        chosen.register(line.socket, selectors.EVENT_WRITE, line)
    while done < times:
        ready = chosen.select(PATIENCE)
        if not ready:
            raise RuntimeError("no answer")
        for key, events in ready:
            line = key.data
            if events & selectors.EVENT_WRITE and line.write():
                chosen.modify(line.socket, selectors.EVENT_READ, line)
            elif events & selectors.EVENT_READ and line.read():
                done += 1
                if begun < times and time.monotonic() - started >= seconds:
                    times = begun
                if begun == times:
                    chosen.unregister(line.socket)
                    line.socket.close()
                    continue
                line.left = [memoryview(prepared.head(begun)), rest]
                begun += 1
                if not line.write():
                    chosen.modify(line.socket, selectors.EVENT_WRITE, line)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    told.send(Sent(done, time.monotonic() - started, usage.ru_utime + usage.ru_stime))


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
