"""Asking over a real socket of this machine, and a pipe whose reader goes away.

REAL: these tests use loopback sockets and subprocesses.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import taba
from taba.cli.server import Question, Unreachable, fetch


class FetchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.status, self.body = 200, "käse: {}\n".encode()
        self.accepted: list[str | None] = []
        self.shown: list[str | None] = []
        self.location: str | None = None
        self.hold = threading.Event()
        self.hold.set()
        case = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                case.accepted.append(self.headers["Accept"])
                case.shown.append(self.headers["Authorization"])
                case.hold.wait(10)
                self.send_response(case.status)
                if case.location is not None and self.path == "/":
                    self.send_header("Location", case.location)
                self.send_header("Content-Length", str(len(case.body)))
                self.end_headers()
                self.wfile.write(case.body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        class Server(HTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Who asked has gone away."""

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.addCleanup(self.hold.set)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def test_answer(self) -> None:
        """The answer is text, and what is accepted is said."""
        self.assertEqual(fetch(Question(f"{self.url}/tabs?name=a", "application/json", 10.0))[:2], (200, "käse: {}\n"))
        self.assertEqual(self.accepted, ["application/json"])

    def test_error(self) -> None:
        """An error is an answer as well, with its reason."""
        self.status, self.body = 400, b"no"
        self.assertEqual(fetch(Question(self.url, "text/plain", 10.0))[:2], (400, "no"))

    def test_token(self) -> None:
        """A token is shown to the server that was named, and to nobody to whom it redirects."""
        token = "the-token-of-the-fleet"
        fetch(Question(self.url, "text/plain", 10.0, token))
        fetch(Question(self.url, "text/plain", 10.0))
        self.status, self.location = 302, f"{self.url}/elsewhere"
        fetch(Question(f"{self.url}/", "text/plain", 10.0, token))
        self.assertEqual(self.shown[:4], [f"Bearer {token}", None, f"Bearer {token}", None])

    def test_unusable_authorities(self) -> None:
        """Authorities that cannot be read are the user's mistake."""
        question = Question(self.url.replace("http", "https"), "text/plain", 10.0, None, "/nowhere.pem")
        self.assertIn("/nowhere.pem", str(self.assertRaises(ValueError, fetch, question)))

    def test_nobody(self) -> None:
        """Where nobody listens, that is said in the system's words."""
        self.server.shutdown()
        self.server.server_close()
        with self.assertRaises(Unreachable) as caught:
            fetch(Question(self.url, "text/plain", 10.0))
        self.assertEqual((str(caught.exception), caught.exception.may_have_arrived), ("Connection refused", False))

    def test_timeout(self) -> None:
        """Who does not answer in time is not there."""
        self.hold.clear()
        with self.assertRaises(Unreachable) as caught:
            fetch(Question(self.url, "text/plain", 0.05))
        self.assertEqual((str(caught.exception), caught.exception.may_have_arrived), ("no answer in time", True))

    def start_cli(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(Path(taba.__file__).parent.parent), "TABA_SERVER": self.url}
        command = [sys.executable, "-c", "from taba.cli import main; main()", *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_broken_pipe(self) -> None:
        """When the reader of the output goes away, there is no traceback."""
        self.body = b"name\n" * 200_000
        self.hold.clear()
        process = self.start_cli("names")
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        self.hold.set()
        self.assertEqual((process.stderr.read(), process.wait(120)), (b"", 141))
        process.stderr.close()

    def test_a_whole_run(self) -> None:
        """The program as it is installed prints what the server says."""
        self.body = b"a\nb\n"
        process = self.start_cli("names")
        self.assertEqual(process.communicate(timeout=120), (b"a\nb\n", b""))
        self.assertEqual(process.returncode, 0)
