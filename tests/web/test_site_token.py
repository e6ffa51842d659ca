"""A site that asks for a token, byte by byte: who shows none is answered before anything is done for the request."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request

from taba.web.answers import Leaf, Root, write_text
from taba.web.site import LINGER_SECONDS, BoundedSite
from taba.web.token import TokenGuard
from tests.web.test_site import Collected, Transport

TOKEN = "the-token-of-the-fleet"
SHOWN = f"Authorization: Bearer {TOKEN}\n"


class GuardedSiteTests(SynchronousTestCase):
    """A connection to a site with a guard."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.bodies: list[Collected] = []
        leaf = Leaf(get=self.answer, post=self.answer)
        self.site = BoundedSite(
            Root({"stream": leaf, "plain": leaf, "healthz": leaf, "readyz": leaf}),
            self.clock,
            {b"/stream": self.collected},
            guard=TokenGuard(lambda: (TOKEN,)),
        )
        self.connect()

    def connect(self) -> None:
        """Begin another connection."""
        self.transport = Transport()
        self.channel = self.site.buildProtocol(None)
        self.channel.makeConnection(self.transport)

    def collected(self) -> Collected:
        """The body of a request to /stream."""
        self.bodies.append(Collected())
        return self.bodies[-1]

    def answer(self, request: Request) -> None:
        """What all paths answer."""
        write_text(request, "welcome")

    def send(self, head: str, body: bytes = b"") -> bytes:
        """Send bytes; what has been answered since the last call."""
        self.channel.dataReceived(head.replace("\n", "\r\n").encode() + body)
        self.clock.advance(0)
        answered: bytes = self.transport.value()
        self.transport.clear()
        return answered

    def test_without(self) -> None:
        """No token: 401, with the challenge and a sentence, and the connection ends."""
        answer = self.send("GET /plain HTTP/1.1\nHost: x\n\n")
        head, _, text = answer.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 401 Unauthorized\r\n"), head)
        self.assertIn(b"WWW-Authenticate: Bearer\r\n", head + b"\r\n")
        self.assertIn(b"Authorization: Bearer TOKEN", text)
        self.assertNotIn(TOKEN.encode(), answer)
        self.assertTrue(self.transport.disconnecting)

    def test_with(self) -> None:
        """With the token the request is answered, and the connection kept."""
        for _ in range(2):
            answer = self.send(f"GET /plain HTTP/1.1\nHost: x\n{SHOWN}\n")
            self.assertIn(b"200 OK", answer)
            self.assertTrue(answer.endswith(b"welcome"))
        self.assertFalse(self.transport.disconnecting)

    def test_each_request_shows_it(self) -> None:
        """A connection on which the token was shown is not trusted for the next request."""
        self.send(f"GET /plain HTTP/1.1\nHost: x\n{SHOWN}\n")
        self.assertIn(b"401 Unauthorized", self.send("GET /plain HTTP/1.1\nHost: x\n\n"))

    def test_health(self) -> None:
        """/healthz and /readyz are for everybody, also with a query."""
        for path in ("/healthz", "/readyz", "/healthz?verbose=1"):
            self.assertIn(b"200 OK", self.send(f"GET {path} HTTP/1.1\nHost: x\n\n"), path)

    def test_body_is_not_looked_at(self) -> None:
        """Of a stranger's body nothing is parsed: the answer comes with the headers, what follows is dropped."""
        answer = self.send("POST /stream HTTP/1.1\nHost: x\nContent-Length: 100000\n\n")
        self.assertIn(b"401 Unauthorized", answer)
        self.assertEqual((self.send("", b"x" * 50_000), self.bodies), (b"", []))
        self.clock.advance(LINGER_SECONDS)
        self.assertEqual((self.transport.disconnected, self.clock.getDelayedCalls()), (True, []))

    def test_chunked_body(self) -> None:
        """So with a body in chunks."""
        head = "POST /stream HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n"
        self.assertIn(b"401 Unauthorized", self.send(head, b"3\r\nabc\r\n0\r\n\r\n"))
        self.assertEqual(self.bodies, [])

    def test_expectation(self) -> None:
        """Who waits for a go-ahead before the body is answered 401 instead."""
        answer = self.send("POST /stream HTTP/1.1\nHost: x\nExpect: 100-continue\nContent-Length: 9\n\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 401 "), answer)
        self.assertNotIn(b"100 Continue", answer)

    def test_without_any_header(self) -> None:
        """A request of HTTP/1.0, which needs no header at all, is no way around."""
        self.assertIn(b"401 Unauthorized", self.send("GET /plain HTTP/1.0\n\n"))
        self.connect()
        self.assertIn(b"200 OK", self.send("GET /healthz HTTP/1.0\n\n"))

    def test_other_targets(self) -> None:
        """Nor are paths that do not exist, targets with a host, or other methods."""
        for line in (
            "GET /nowhere", "GET http://x/healthz", "OPTIONS *", "HEAD /plain", "PUT /plain", "GET /healthz/",
            "GET /?/healthz",
        ):  # fmt: skip
            self.connect()
            self.assertIn(b"401 Unauthorized", self.send(f"{line} HTTP/1.1\nHost: x\n\n"), line)

    def test_pipelined(self) -> None:
        """Of two requests sent at once each needs the token."""
        two = f"GET /plain HTTP/1.1\nHost: x\n{SHOWN}\nGET /plain HTTP/1.1\nHost: x\n\n"
        answer = self.send(two)
        self.assertLess(answer.index(b"200 OK"), answer.index(b"401 Unauthorized"))
        self.assertEqual(answer.count(b"welcome"), 1)

    def test_http_1_over_tls(self) -> None:
        """TLS never agrees on HTTP/2, which this site does not speak, whatever is installed."""
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])
