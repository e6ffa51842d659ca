"""Bodies are bounded before they are buffered, streamed where a resource wants that, and refused in time."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request
from zope.interface import implementer
from zope.interface.verify import verifyObject

from taba.web.answers import Leaf, Refusal, Root, write_text
from taba.web.site import LINGER_SECONDS, BoundedRequest, BoundedSite, BufferedBody, IBody


@implementer(IBody)
class Collected:
    """A body that keeps the chunks it was given."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.closed = False

    def begin(self, request: BoundedRequest, length: int | None) -> None:
        """See `IBody`."""
        self.length = length

    def write(self, data: bytes) -> None:
        """See `IBody`."""
        self.chunks.append(bytes(data))

    def tell(self) -> int:
        """See `IBody`."""
        return sum(map(len, self.chunks))

    def seek(self, offset: int, whence: int = 0) -> int:
        """See `IBody`."""
        return 0

    def close(self) -> None:
        """See `IBody`."""
        self.closed = True


class Transport(StringTransport):
    """A transport that can be aborted."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to do in memory."""


class SiteTests(SynchronousTestCase):
    """A connection to a BoundedSite, byte by byte."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.bodies: list[Collected] = []
        self.seen: list[bytes] = []
        self.working: Deferred[None] = Deferred(lambda working: working.callback(None))
        site = BoundedSite(
            Root({"stream": Leaf(post=self.stream), "plain": Leaf(post=self.plain, get=self.plain),
                  "slow": Leaf(post=self.slow)}),
            self.clock,  # type: ignore[arg-type]
            {b"/stream": self.collected},
            default_limit=10,
        )
        self.transport = Transport()
        self.channel = site.buildProtocol(None)
        self.channel.makeConnection(self.transport)

    def collected(self) -> Collected:
        """The body of a request to /stream."""
        self.bodies.append(Collected())
        return self.bodies[-1]

    def stream(self, request: Request) -> None:
        """What /stream answers."""
        write_text(request, str(request.content.tell()))

    def slow(self, request: Request) -> Deferred[None]:
        """What /slow answers when its work is done, which goes on when nobody waits for it."""
        return self.working.addCallback(lambda _: write_text(request, "done"))

    def plain(self, request: Request) -> None:
        """What /plain answers."""
        self.seen.append(request.content.read())
        write_text(request, "ok")

    def send(self, head: str, body: bytes = b"") -> bytes:
        """Send bytes; what has been answered since the last call."""
        self.channel.dataReceived(head.replace("\n", "\r\n").encode() + body)
        self.clock.advance(0)
        answered: bytes = self.transport.value()
        self.transport.clear()
        return answered

    def test_body_arrives_in_pieces(self) -> None:
        """A streamed body gets its bytes before the request is complete."""
        self.send("POST /stream HTTP/1.1\nHost: x\nContent-Length: 6\n\n", b"abc")
        self.assertEqual(self.bodies[0].chunks, [b"abc"])
        answer = self.send("", b"def")
        self.assertTrue(answer.endswith(b"6"), answer)

    def test_client_goes_away(self) -> None:
        """What was done for a client that has gone away comes to its end, and nobody is answered; nothing is logged."""
        self.assertEqual(self.send("POST /slow HTTP/1.1\nHost: x\nContent-Length: 0\n\n"), b"")
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.working.called)
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_chunked_body_has_no_length(self) -> None:
        """A chunked body begins without a length."""
        answer = self.send("POST /stream HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n", b"3\r\nabc\r\n0\r\n\r\n")
        self.assertEqual((self.bodies[0].length, self.bodies[0].chunks), (None, [b"abc"]))
        self.assertTrue(answer.endswith(b"3"))

    def test_body_is_closed(self) -> None:
        """A body learns that its request is over."""
        self.send("POST /stream HTTP/1.1\nHost: x\nContent-Length: 1\n\n", b"a")
        self.assertTrue(self.bodies[0].closed)

    def test_body_is_closed_when_the_client_goes(self) -> None:
        """A body learns that its client is gone in the middle."""
        from twisted.internet.error import ConnectionLost
        from twisted.python.failure import Failure

        self.send("POST /stream HTTP/1.1\nHost: x\nContent-Length: 9\n\n", b"a")
        self.channel.connectionLost(Failure(ConnectionLost()))
        self.assertTrue(self.bodies[0].closed)

    def test_declared_length_over_the_limit(self) -> None:
        """A body whose declared length is over the limit is answered 413 before any of it was sent."""
        answer = self.send("POST /plain HTTP/1.1\nHost: x\nContent-Length: 11\n\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer)
        self.assertIn(b"Connection: close", answer)

    def test_refused_connection_ends(self) -> None:
        """After a refusal what still arrives is dropped, and the connection aborted after a while."""
        self.send("POST /plain HTTP/1.1\nHost: x\nContent-Length: 1000000\n\n")
        self.assertEqual(self.send("", b"x" * 100_000), b"")
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(LINGER_SECONDS)
        self.assertTrue(self.transport.disconnected)

    def test_chunked_body_over_the_limit(self) -> None:
        """A chunked body is refused as soon as it passes the limit."""
        answer = self.send("POST /plain HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n", b"b\r\n01234567890\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer)

    def test_form_is_a_body(self) -> None:
        """A body that calls itself a form, as curl's and wget's do, is the body all the same."""
        self.send(
            "POST /plain HTTP/1.1\nHost: x\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 3\n\n",
            b"a=b",
        )
        self.assertEqual(self.seen, [b"a=b"])

    def test_keep_alive(self) -> None:
        """Several requests follow one another on a connection."""
        for _ in range(3):
            self.assertIn(b"200 OK", self.send("GET /plain HTTP/1.1\nHost: x\n\n"))

    def test_large_body_right_behind_its_head(self) -> None:
        """However what was sent is cut, each request has its own body, and the next one is found behind it."""
        body = bytes(range(256)) * 40  # line ends among them
        head = b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        sent = head + body + b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n" + head + body
        for cut in (0, 1, len(head) - 2, len(head), len(head) + 1, 5000, len(head + body), len(head + body) + 3):
            self.setUp()
            answers = self.send("", sent[:cut]) + self.send("", sent[cut:]) if cut else self.send("", sent)
            self.assertEqual([b"".join(each.chunks) for each in self.bodies], [body, body], cut)
            self.assertEqual(answers.count(b"200 OK"), 3, cut)

    def test_nothing_is_read_behind_a_broken_head(self) -> None:
        """What follows a head that is none is not taken for another request."""
        answer = self.send("nonsense\n\n", b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        self.assertIn(b"400", answer)
        self.assertEqual(self.seen, [])

    def test_stranger_bodies(self) -> None:
        """A POST to a path without a body of its own is bounded, too."""
        self.assertIn(b"404 Not Found", self.send("POST /nowhere HTTP/1.1\nHost: x\nContent-Length: 1\n\n", b"a"))

    def test_buffered_body_provides(self) -> None:
        """BufferedBody is an IBody."""
        self.assertTrue(verifyObject(IBody, BufferedBody(1)))


class LeafTests(SynchronousTestCase):
    """Refusals of resources, in the form that was asked for."""

    def ask(self, raising: Any, accept: str = "*/*") -> bytes:
        """The answer of a resource that raises."""

        def get(request: Request) -> None:
            raise raising

        site = BoundedSite(Root({"a/b": Leaf(get=get)}), Clock(), {})  # type: ignore[arg-type]
        transport = Transport()
        channel = site.buildProtocol(None)
        channel.makeConnection(transport)
        channel.dataReceived(f"GET /a/b HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())
        answer: bytes = transport.value()
        return answer

    def test_text(self) -> None:
        """A refusal is a sentence, with the headers that belong to it."""
        answer = self.ask(Refusal(503, "Full.", Retry_After="1"))
        self.assertIn(b"HTTP/1.1 503", answer)
        self.assertIn(b"Retry-After: 1", answer)
        self.assertTrue(answer.endswith(b"Full.\n"))

    def test_json(self) -> None:
        """For who wants JSON it is an object."""
        self.assertTrue(self.ask(Refusal(400, "No."), "application/json").endswith(b'{"error": "No."}'))

    def test_defect(self) -> None:
        """Another exception is 500, without its text, and logged."""
        answer = self.ask(ZeroDivisionError("secret"))
        self.assertIn(b"HTTP/1.1 500", answer)
        self.assertNotIn(b"secret", answer)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
