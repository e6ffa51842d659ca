"""The HTTP side of `FakeAgent`: requests from a real socket, answers back to it. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

MAX_BODY_BYTES = 32 << 20  # before and after inflating
TEXT = "text/plain; charset=utf-8"


class FakeAnswer(NamedTuple):
    """An answer: status, headers, text."""

    status: int
    headers: dict[str, str]
    text: str


def text(status: int, words: str, headers: Mapping[str, str] | None = None) -> FakeAnswer:
    """An answer in plain text, unless `headers` say otherwise."""
    return FakeAnswer(status, {"Content-Type": TEXT, **(headers or {})}, words)


def too_large() -> FakeAnswer:
    """The answer to a body that is."""
    return text(413, "The body is over the limit (MAX_BODY_BYTES).\n", {"Connection": "close"})


class FakePort(ThreadingHTTPServer):
    """A socket that listens, and its connections. Each is served by a thread."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], answer: Callable[[str, Mapping[str, str], bytes], FakeAnswer | None]
    ) -> None:
        """`answer` is given path, headers and body of each POST; for None the connection is closed. OSError when
        `address`, of which the port may be 0, cannot be listened on.
        """
        self.answer = answer
        self.open: set[_Connection] = set()
        self.is_cut = False
        super().__init__(address, _Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error here."""

    def cut(self) -> None:
        """End all connections, and those that were accepted and are not served yet."""
        self.is_cut = True
        for connection in list(self.open):
            connection.cut()


class _Connection(BaseHTTPRequestHandler):
    """One connection: request after request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FakePort

    def setup(self) -> None:
        """Called by socketserver."""
        super().setup()
        self.server.open.add(self)
        if self.server.is_cut:
            self.cut()

    def finish(self) -> None:
        """Called by socketserver at the end of the connection."""
        self.server.open.discard(self)
        try:
            super().finish()
        except OSError:
            """The client is gone."""

    def cut(self) -> None:
        """End the connection."""
        try:
            self.connection.shutdown(2)
        except OSError:
            """It has ended."""

    def do_POST(self) -> None:
        """Called for a POST."""
        length = self.headers.get("Content-Length")
        if length is None or not length.isdecimal():
            self.close_connection = True
            self._write(text(411, "The fake agent wants a Content-Length.\n"))
            return
        if int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._write(too_large())
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True  # the client went away in the middle: nothing of it counts
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.answer(self.path.partition("?")[0], headers, body)
        if answer is None:
            self.close_connection = True
        else:
            self._write(answer)

    def do_GET(self) -> None:
        """Called for a GET."""
        self._write(text(405, "This path takes POST.\n", {"Allow": "POST"}))

    def _write(self, answer: FakeAnswer) -> None:
        body = answer.text.encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)  # `Connection: close` ends the connection, too
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
