"""HTTP as the tests speak it: whole requests, and single bytes on a socket; and bodies of protocol 1.

REAL: sockets.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

TIMEOUT = 60.0
"""Seconds until an answer is given up."""

Event = tuple[str, float, object]
"""Type, time, payload."""


@frozen
class Answer:
    """An answer; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


def ask(port: int, path: str, body: bytes | None = None, host: str = "127.0.0.1", **headers: str) -> Answer:
    """GET a path of a port of this host, or POST a body to it. In names of headers `_` stands for `-`."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET" if body is None else "POST", path, body, fields)
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, text)
    finally:
        connection.close()


class Wire:
    """A connection to a port of this host, byte by byte."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes; ConnectionError when the other side has gone."""
        self._socket.sendall(data)

    def send_all_it_takes(self, data: bytes) -> int:
        """Send until the other side goes; how many bytes of `data` could be sent."""
        sent = 0
        while sent < len(data):
            try:
                sent += self._socket.send(data[sent : sent + 65_536])
            except OSError:
                break
        return sent

    def begin(self, path: str, *headers: str) -> None:
        """Send the head of a POST."""
        head = [f"POST {path} HTTP/1.1", "Host: localhost", *headers]
        self.send("\r\n".join([*head, "", ""]).encode("latin-1"))

    def answer(self) -> Answer:
        """The next answer; EOFError when the connection ended without one."""
        first = self._reader.readline()
        if not first:
            raise EOFError("the connection ended without an answer")
        status = int(first.split()[1])
        headers = {}
        while (line := self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        text = self._reader.read(int(headers.get("content-length", "0")))
        return Answer(status, headers, text.decode("utf-8", "replace"))

    def answers_within(self, seconds: float) -> bool:
        """Whether an answer, or the end of the connection, comes in so many seconds."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def ends(self) -> bool:
        """Wait until the other side has closed; False when it sends more instead."""
        try:
            return self._reader.read(1) == b""
        except ConnectionError:
            return True

    def drop(self) -> None:
        """Close at once, with a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.close()

    def close(self) -> None:
        """Close."""
        self._reader.close()
        self._socket.close()


def chunked(data: bytes, size: int = 65_536) -> bytes:
    """A body in chunks."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def line(type: str, seconds: float, payload: object) -> str:
    """An event of protocol 1, as the Python client writes it."""
    return json.dumps([type, seconds, json.dumps(payload)])


def body(client: str, tabs: Mapping[str, Iterable[Event]]) -> bytes:
    """A body of protocol 1."""
    blocks = ["\n".join([tab, *(line(*event) for event in events), ""]) + "\n" for tab, events in tabs.items()]
    return "".join(["1\n\n", client, "\n\n", *blocks, "\n"]).encode()


def counters(client: str, tab: str, values: Iterable[float], seconds: float | None = None) -> bytes:
    """A body with CounterGroup events of one tab, now unless told when."""
    at = time.time() if seconds is None else seconds
    return body(client, {tab: [("CounterGroup", at, value) for value in values]})


def refused(answer: Answer) -> dict[str, Any]:
    """What an answer says of the events that it refused."""
    facts: dict[str, Any] = json.loads(answer.text)
    return facts
