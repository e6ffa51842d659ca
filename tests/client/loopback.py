"""An agent on a real socket of this machine, for the few tests that need one; `model_agent` says what it leaves out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.client.model_agent import ModelAgent, read_request

PATIENCE = 60.0  # seconds until a test gives up waiting; it never waits for time to pass


class LoopbackAgent:
    """A ModelAgent behind an HTTP server on 127.0.0.1. Faults are set on it from the test's thread."""

    def __init__(self, port: int = 0, agent: ModelAgent | None = None) -> None:
        self.agent = agent or ModelAgent()
        self.changed = threading.Condition()
        self.requests: list[dict[str, str]] = []
        """The headers of Taba of each request; `Taba-Batch` also of those that have it in a frame."""
        self.connections = 0
        self.hold = threading.Event()
        """Cleared, answers wait until it is set."""
        self.hold.set()
        self.spoil: Callable[[dict[str, str]], int | str | None] = lambda headers: None
        """Given a request's headers: a status to answer without taking it, "lost" to take it and hang up, or None."""
        self._open: set[Any] = set()
        self._server = _Server(("127.0.0.1", port), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.port: int = self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/post"

    def stop(self) -> None:
        """Stop listening, and close every connection."""
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._open):
            connection.close_now()

    def wait_for(self, condition: Callable[[], Any]) -> None:
        """Wait until `condition` holds, looked at after every request; AssertionError if it takes too long."""
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), "it did not come to that in time"

    def wait_for_events(self, count: int) -> None:
        """Wait until so many events are counted."""
        self.wait_for(lambda: len(self.agent.events) >= count)

    def values(self) -> list[object]:
        """The payloads of all counted events, sorted."""
        with self.changed:
            return sorted((event.payload for event in self.agent.events), key=repr)


class LoopbackCase(SynchronousTestCase):
    """One agent for each test, and a client whose complaints are not shown."""

    def setUp(self) -> None:
        self.agent = LoopbackAgent()
        self.addCleanup(lambda: self.agent.stop())
        log = logging.getLogger("taba.client")
        self.addCleanup(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has given up waiting is no error here."""


def _handler_of(owner: LoopbackAgent) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with owner.changed:
                owner.connections += 1
                owner._open.add(self)

        def finish(self) -> None:
            owner._open.discard(self)
            try:
                super().finish()
            except OSError:
                """The other side is gone."""

        def close_now(self) -> None:
            try:
                self.connection.shutdown(2)
            except OSError:
                """It is closed already."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            protocol = 2 if self.path == "/v2/events" else 1
            headers = {name: value for name, value in self.headers.items() if name.startswith("Taba-")}
            seen = {**headers, "Taba-Batch": read_request(protocol, headers, body).batch}
            with owner.changed:
                owner.requests.append(seen)
                spoiled = owner.spoil(seen)
                answer = None if isinstance(spoiled, int) else owner.agent.answer(protocol, headers, body)
                owner.changed.notify_all()
            owner.hold.wait(PATIENCE)
            if spoiled == "lost":
                self.close_connection = True
                return
            self.send_response(spoiled if isinstance(spoiled, int) else answer.status if answer else 500)
            for name, value in (answer.headers if answer else {}).items():
                self.send_header(name, value)
            text = (answer.text if answer else "spoiled").encode()
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
