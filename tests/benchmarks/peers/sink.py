"""Where the peers flush to: a listener for Graphite lines that keeps the bytes, so that reading them costs no peer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

READ_BYTES = 1 << 18


@define(eq=False)
class Sink:
    """Takes any number of connections, each with a thread. Only `take` and `port` are for others; any thread."""

    _listener: socket.socket
    _lines: list[bytes] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def take(self) -> bytes:
        """The whole lines that came since the last call, those of one connection in their order."""
        with self._lock:
            taken = b"".join(self._lines)
            self._lines.clear()
        return taken

    def accept(self) -> None:
        """Take connections until the listener is closed. For a thread of its own."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        rest = b""
        with connection:
            while True:
                try:
                    received = connection.recv(READ_BYTES)
                except OSError:
                    return
                if not received:
                    return
                whole, newline, rest = (rest + received).rpartition(b"\n")
                if newline:
                    with self._lock:
                        self._lines.append(whole + b"\n")


@contextmanager
def sink() -> Iterator[Sink]:
    """A sink on a free port of loopback, for as long as it is needed."""
    listener = socket.create_server(("127.0.0.1", 0))
    made = Sink(listener)
    threading.Thread(target=made.accept, daemon=True).start()
    try:
        yield made
    finally:
        listener.close()


def values(text: bytes, prefix: bytes, suffix: bytes = b"") -> Iterator[tuple[bytes, float, bytes]]:
    """Of Graphite lines `NAME VALUE TIME`, those whose name begins and ends so: what is between, value and time."""
    for line in text.splitlines():
        if line.startswith(prefix):
            name, value, time = line.split()
            if name.endswith(suffix):
                yield name[len(prefix) : len(name) - len(suffix)], float(value), time
