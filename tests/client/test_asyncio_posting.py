"""Single requests of the asyncio engine, over real sockets of this machine, with TLS and without.

REAL: this module uses loopback sockets.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taba.client.engines.asyncio_posting import StreamPoster
from taba.client.engines.posting import MAX_ANSWER_BYTES, PostFailed
from taba.client.names import parse_url
from taba.client.sender import Answer
from tests.certificates import Authority
from tests.client.loopback import PATIENCE
from tests.client.test_asyncio_engine import EngineCase


class PosterTests(EngineCase):
    """Single requests over a kept connection."""

    opening = {"Taba-Batch": "0"}

    def post(self, poster: StreamPoster, *bodies: bytes) -> list[Answer]:
        async def main() -> list[Answer]:
            try:
                return [await poster.post(self.opening, body, PATIENCE) for body in bodies]
            finally:
                poster.close()

        return asyncio.run(main())

    def ask(self, answer: bytes, body: bytes = b"") -> Answer:
        """What is made of somebody's answer."""
        with self.raw_server(answer) as port:
            return self.post(StreamPoster(parse_url(f"http://127.0.0.1:{port}/post"), None), body)[0]

    @contextmanager
    def raw_server(self, answer: bytes) -> Iterator[int]:
        """Somebody who reads a little, says `answer` and hangs up."""
        listener = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                try:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(1 << 16):
                        """What was still on its way."""
                except OSError:
                    """Who has heard enough hangs up."""

        thread = threading.Thread(target=serve)
        thread.start()
        with listener:
            yield listener.getsockname()[1]
            thread.join(PATIENCE)

    def test_connection_closed_while_idle(self) -> None:
        """An agent that closed a connection nobody used is asked again at once, over another."""
        poster = StreamPoster(parse_url(self.agent.url), None)

        async def main() -> int:
            await poster.post(self.opening, b"", PATIENCE)
            for connection in list(self.agent._open):
                connection.close_now()
            answer = await poster.post(self.opening, b"", PATIENCE)
            poster.close()
            return answer.status

        self.assertEqual((asyncio.run(main()), self.agent.connections), (200, 2))

    def test_early_answer(self) -> None:
        """The answer of an agent that refuses a body before it has all of it is heard."""
        refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!"
        answer = self.ask(refusal, bytes(8 << 20))
        self.assertEqual((answer.status, answer.text), (413, "no!"))

    def test_forms_of_answers(self) -> None:
        """Bodies with a length, in chunks, and up to the end of the connection are understood, as are 1xx before."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTaba-Instance: x\r\n\r\nhello",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTABA-INSTANCE:x\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTaba-Instance: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nTrailer: t\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nTaba-Instance: x\r\n\r\nhello",
        ):
            got = self.ask(answer)
            self.assertEqual((got.status, got.headers["taba-instance"], got.text), (200, "x", "hello"), answer)

    def test_long_answers(self) -> None:
        """Of an answer without end the beginning is kept, and the connection given up."""
        got = self.ask(b"HTTP/1.1 400 Bad\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
        self.assertEqual((got.status, len(got.text)), (400, MAX_ANSWER_BYTES))
        got = self.ask(b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nFFFFFFFF\r\n")
        self.assertEqual((got.status, got.text), (400, "ab"))

    def test_bad_answers(self) -> None:
        """What does not speak HTTP, or not to the end, is a failed attempt like others."""
        for answer, problem in (
            (b"220 mail.example ESMTP\r\n\r\n", "not HTTP"),
            (b"HTTP/1.1 OK\r\n\r\n", "not HTTP"),
            (b"", "closed"),
            (b"HTTP/1.1 200 OK\r\nContent-", "cut off"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "Content-Length"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "IncompleteReadError"),
            (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "too many headers"),
            (b"HTTP/1.1 200 " + b"x" * 200_000, "ValueError"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "ValueError"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcd", "no end"),
        ):
            with self.assertRaises(PostFailed) as caught:
                self.ask(answer)
            self.assertIn(problem, str(caught.exception), answer[:40])

    def test_connection_kept_or_not(self) -> None:
        """A connection is used again unless the answer says otherwise."""
        self.post(StreamPoster(parse_url(self.agent.url), None), b"", b"", b"")
        self.assertEqual(self.agent.connections, 1)

    def test_tls(self) -> None:
        """With https the agent's certificate is verified by the given authorities, and refused without them."""
        folder = Path(tempfile.mkdtemp())
        authority = Authority("authority")
        ca_file = authority.save(folder)
        certificate, key = authority.issue(folder, "agent", "127.0.0.1", "localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = self.agent._server
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = parse_url(f"https://localhost:{self.agent.port}/post")
        answers = self.post(StreamPoster(url, str(ca_file)), b"", b"")
        self.assertEqual([answer.status for answer in answers], [200, 200])
        with self.assertRaises(PostFailed) as caught:
            self.post(StreamPoster(url, None), b"")
        self.assertIn("CERTIFICATE_VERIFY_FAILED", str(caught.exception))
