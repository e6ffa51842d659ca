"""Whole HTTP/1 requests, cut out of a stream of bytes.

A sans-IO class for the recorder of the simulated network: it is fed what a client sends on a connection, and gives
back every request that is whole, with its bytes as they were sent, so that they can be sent again much later. It
frames only (Content-Length and chunked bodies); it judges nothing, and a stream that is not HTTP/1 switches it off.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

from attrs import define, field, frozen

MAX_HEAD = 65536  # bytes
"""A request line with headers longer than this switches the recorder off for the connection."""

_REQUEST_LINE = re.compile(rb"([A-Za-z]+) (\S+) HTTP/1\.[01]")


@frozen
class WholeRequest:
    """One request as it went over the wire."""

    method: bytes
    target: bytes
    """The path with its query."""
    raw: bytes = field(repr=False)
    """All bytes, from the request line to the end of the body."""


class _Phase(Enum):
    HEAD = "head"
    BODY = "body"
    CHUNK_SIZE = "chunk size"
    CHUNK = "chunk"
    TRAILER = "trailer"
    OFF = "off"


@define
class RequestCutter:
    """Cuts the requests of one connection whose path (without the query) `wanted` says yes to; the others are
    skipped, not kept.
    """

    wanted: Callable[[bytes], bool]
    _pending: bytearray = field(factory=bytearray, init=False)
    _phase: _Phase = field(default=_Phase.HEAD, init=False)
    _searched: int = field(default=0, init=False)
    """How far the search for the end of a line or head went, so that it is not done again."""
    _left: int = field(default=0, init=False)
    """Bytes of the body or chunk that are still to come."""
    _keep: bool = field(default=False, init=False)
    _method: bytes = field(default=b"", init=False)
    _target: bytes = field(default=b"", init=False)
    _raw: bytearray = field(factory=bytearray, init=False)
    _whole: list[WholeRequest] = field(factory=list, init=False)

    def receive_data(self, data: bytes) -> list[WholeRequest]:
        """Take the next bytes of the stream; the requests that became whole by them. O(bytes)."""
        if self._phase is not _Phase.OFF:
            self._pending += data
            while self._step():
                pass
        whole, self._whole = self._whole, []
        return whole

    def _step(self) -> bool:
        """Do one thing with what is pending; False when more bytes are needed."""
        if self._phase is _Phase.HEAD:
            return self._head()
        if self._phase is _Phase.BODY or self._phase is _Phase.CHUNK:
            return self._body()
        if self._phase is _Phase.CHUNK_SIZE:
            return self._chunk_size()
        if self._phase is _Phase.TRAILER:
            return self._trailer()
        self._pending.clear()
        return False

    def _take_to(self, mark: bytes) -> bytes | None:
        """Take what is pending up to and with `mark`, or None when it is not there yet."""
        at = self._pending.find(mark, max(0, self._searched - len(mark)))
        if at < 0:
            self._searched = len(self._pending)
            if self._searched > MAX_HEAD:
                self._phase = _Phase.OFF
            return None
        return self._take(at + len(mark))

    def _take(self, length: int) -> bytes:
        taken = bytes(self._pending[:length])
        del self._pending[:length]
        self._searched = 0
        if self._keep or self._phase is _Phase.HEAD:
            self._raw += taken
        return taken

    def _head(self) -> bool:
        head = self._take_to(b"\r\n\r\n")
        if head is None:
            return False
        line, _, rest = head.lstrip(b"\r\n").partition(b"\r\n")
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            self._phase = _Phase.OFF
            return True
        self._method, self._target = match.groups()
        self._keep = self.wanted(self._target.partition(b"?")[0])
        self._choose_body(rest)
        return True

    def _choose_body(self, header_lines: bytes) -> None:
        headers = {}
        for line in header_lines.split(b"\r\n"):
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            self._phase = _Phase.CHUNK_SIZE
            return
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            self._phase = _Phase.OFF
            return
        self._left = int(length)
        self._phase = _Phase.BODY

    def _body(self) -> bool:
        self._left -= len(self._take(min(self._left, len(self._pending))))
        if self._left:
            return False
        if self._phase is _Phase.BODY:
            self._finish()
        else:
            self._phase = _Phase.CHUNK_SIZE
        return bool(self._pending)

    def _chunk_size(self) -> bool:
        line = self._take_to(b"\r\n")
        if line is None:
            return False
        try:
            size = int(line.partition(b";")[0].strip(), 16)
        except ValueError:
            self._phase = _Phase.OFF
            return True
        self._left = size + len(b"\r\n")
        self._phase = _Phase.CHUNK if size else _Phase.TRAILER
        return True

    def _trailer(self) -> bool:
        line = self._take_to(b"\r\n")
        if line is None:
            return False
        if line == b"\r\n":
            self._finish()
        return True

    def _finish(self) -> None:
        if self._keep:
            self._whole.append(WholeRequest(self._method, self._target, bytes(self._raw)))
        self._raw.clear()
        self._keep = False
        self._phase = _Phase.HEAD
