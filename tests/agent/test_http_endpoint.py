"""A server behind HTTP: a real twisted.web site answers, over memory, and everything that can go wrong does."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

from attrs import evolve
from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.http import Request
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer
from zope.interface.verify import verifyObject

from taba.agent.endpoint import EndpointDown, IEndpoint, WrongCluster
from taba.agent.http_endpoint import TIMEOUT_SECONDS, HTTPEndpoint, client_of
from taba.interfaces import Append, Outcome, Verdict
from taba.wire.v2 import (
    AppendAnswer,
    AppendRequest,
    Topology,
    encode_append_answer,
    encode_append_request,
    encode_topology,
)

CLUSTER, OTHER = "c" * 32, "d" * 32
INCARNATION, LINEAGE = "1" * 32, "2" * 32
REQUEST = AppendRequest(CLUSTER, 1.7e9, (Append(3, INCARNATION, 1, 0, None, 0, 5, 1.7e9, 77, b"a body"),))
LARGE = evolve(REQUEST, batches=(evolve(REQUEST.batches[0], body=b"a body " * 1000),))
ANSWER = AppendAnswer(CLUSTER, 1.7e9, 0.25, (Outcome(3, INCARNATION, 1, Verdict.OK, 1, 77, LINEAGE),))
TOPOLOGY = Topology(CLUSTER, 128, durability="memory", time=1.7e9)


class Server(Resource):
    """Answers every request the same way, or begins to, and remembers what it got."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.body: bytes = encode_append_answer(ANSWER)
        self.headers: dict[str, str] = {}
        self.unfinished = False
        self.requests: list[Any] = []
        self.got: list[tuple[bytes, bytes, bytes]] = []
        self.lost: list[Any] = []

    def render(self, request: Request) -> Any:
        """Called by twisted.web."""
        self.requests.append(request)
        content: Any = request.content
        self.got.append((request.method, request.uri, content.read()))
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        if not self.unfinished:
            return self.body
        request.notifyFinish().addErrback(self.lost.append)
        if self.body:
            request.write(self.body)
        return NOT_DONE_YET

    def header(self, name: str) -> str | None:
        """A header of the last request."""
        value: str | None = self.requests[-1].getHeader(name)
        return value


class HTTPEndpointCase(SynchronousTestCase):
    """An endpoint and its server."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Server()
        self.agent = RequestTraversalAgent(self.server)

    def endpoint(self, url: str = "http://taba.example:8300", **kwargs: Any) -> HTTPEndpoint:
        return HTTPEndpoint(url, client_of(self.agent), self.clock, **kwargs)

    def down(self, asked: Deferred[Any]) -> EndpointDown:
        """The error of a request of which nothing is known."""
        problem: EndpointDown = self.failureResultOf(asked, EndpointDown).value
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return problem


class AskingTests(HTTPEndpointCase):
    """What is asked, and how."""

    def test_provides(self) -> None:
        """It is an IEndpoint."""
        self.assertTrue(verifyObject(IEndpoint, self.endpoint()))

    def test_append(self) -> None:
        """A request arrives as it was, and its answer comes back."""
        self.assertEqual(self.successResultOf(self.endpoint().append(REQUEST)), ANSWER)
        self.assertEqual(self.server.got, [(b"POST", b"/v2/append", encode_append_request(REQUEST))])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_topology(self) -> None:
        """The topology is asked for and understood."""
        self.server.body = encode_topology(TOPOLOGY)
        self.assertEqual(self.successResultOf(self.endpoint("http://taba.example:8300/").topology()), TOPOLOGY)
        self.assertEqual(self.server.got, [(b"GET", b"/v2/topology", b"")])

    def test_base_url_with_a_path(self) -> None:
        """A server behind a proxy may have a path of its own."""
        self.successResultOf(self.endpoint("http://proxy.example/taba/").append(REQUEST))
        self.assertEqual(self.server.got[0][1], b"/taba/v2/append")

    def test_hosts(self) -> None:
        """Servers are named, in any script, or numbered, in both versions of IP."""
        for host in ("taba.example", "täba.example", "192.0.2.7", "[2001:db8::7]"):
            self.assertEqual(self.successResultOf(self.endpoint(f"http://{host}:8300").append(REQUEST)), ANSWER)
        self.assertEqual(self.server.header("host"), "[2001:db8::7]:8300")

    def test_headers(self) -> None:
        """Headers go with every request."""
        endpoint = self.endpoint(headers={"X-Fleet": "north"})
        self.successResultOf(endpoint.append(REQUEST))
        self.assertEqual(self.server.header("x-fleet"), "north")
        self.server.body = encode_topology(TOPOLOGY)
        self.successResultOf(endpoint.topology())
        self.assertEqual((self.server.header("x-fleet"), self.server.header("authorization")), ("north", None))

    def test_token(self) -> None:
        """Every request shows the token that is the first one at that time."""
        tokens = ["old-token-of-the-fleet"]
        endpoint = self.endpoint(token=lambda: tokens[0])
        self.successResultOf(endpoint.append(REQUEST))
        self.assertEqual(self.server.header("authorization"), "Bearer old-token-of-the-fleet")
        tokens[0] = "new-token-of-the-fleet"
        self.server.body = encode_topology(TOPOLOGY)
        self.successResultOf(endpoint.topology())
        self.assertEqual(self.server.header("authorization"), "Bearer new-token-of-the-fleet")

    def test_large_requests_are_compressed(self) -> None:
        """Over a network a large request is compressed."""
        self.successResultOf(self.endpoint().append(LARGE))
        self.assertEqual(self.server.header("content-encoding"), "gzip")
        self.assertEqual(gzip.decompress(self.server.got[0][2]), encode_append_request(LARGE))

    def test_small_requests_are_not(self) -> None:
        """A small one is not worth it."""
        self.successResultOf(self.endpoint().append(REQUEST))
        self.assertIsNone(self.server.header("content-encoding"))

    def test_nothing_is_compressed_for_this_machine(self) -> None:
        """Within one machine bytes cost less than compressing them."""
        for host in ("localhost", "127.0.0.1", "127.9.9.9", "[::1]"):
            self.successResultOf(self.endpoint(f"http://{host}:8300").append(LARGE))
            self.assertIsNone(self.server.header("content-encoding"), host)

    def test_compresses_off_the_reactor(self) -> None:
        """Compressing is left to whoever can do it elsewhere."""
        asked: list[tuple[Deferred[bytes], Callable[..., bytes], Any]] = []

        def elsewhere(function: Callable[..., bytes], *args: Any) -> Deferred[bytes]:
            asked.append((Deferred(), function, args))
            return asked[-1][0]

        answered = self.endpoint(off_reactor=elsewhere).append(LARGE)
        self.assertNoResult(answered)
        ((done, function, args),) = asked
        done.callback(function(*args))
        self.assertEqual(self.successResultOf(answered), ANSWER)


class RefusalTests(HTTPEndpointCase):
    """Answers other than 200."""

    def test_nothing_is_known(self) -> None:
        """Servers that are busy, and proxies without one, leave everything open."""
        for status in (400, 404, 413, 415, 429, 500, 502, 503, 504):
            self.server.status, self.server.body = status, b"The logs are full.\nmore"
            problem = self.down(self.endpoint().append(REQUEST))
            self.assertEqual(str(problem), f"http://taba.example:8300: {status} The logs are full.")
            self.assertIsNone(problem.retry_after)

    def test_pages_of_proxies(self) -> None:
        """A proxy's page is never a refusal, whatever its status; who looks at the log sees its words."""
        for status in (200, 301, 400, 401, 403, 404, 405, 409, 413, 500, 502, 503, 504):
            self.server.status = status
            self.server.headers = {"Content-Type": "text/html"}
            title = b"<title>%d Some Words</title>" % status
            self.server.body = b"<html>\r\n<head>%b</head>\r\n<body>nginx</body></html>" % title
            problem = self.down(self.endpoint("http://proxy.example/taba").append(REQUEST))
            if status != 200:
                self.assertEqual(str(problem), f"http://proxy.example/taba: {status} {status} Some Words nginx")
            self.assertEqual(problem.too_large, status == 413)
            self.down(self.endpoint().topology())

    def test_reason_in_json(self) -> None:
        """Our own servers say why in JSON, too."""
        self.server.status, self.server.body = 503, b'{"error": "The logs are full."}'
        self.assertIn("503 The logs are full.", str(self.down(self.endpoint().append(REQUEST))))

    def test_retry_after(self) -> None:
        """What a server asks for is told, if it is in seconds."""
        self.server.status = 503
        for value, seconds in (
            ("7", 7.0),
            ("0", 0.0),
            ("Fri, 31 Dec 1999 23:59:59 GMT", None),
            ("-1", None),
            ("x", None),
        ):
            self.server.headers = {"Retry-After": value}
            self.assertEqual(self.down(self.endpoint().append(REQUEST)).retry_after, seconds)

    def test_wrong_cluster(self) -> None:
        """A server of another cluster says so, and which."""
        self.server.status = 409
        self.server.body = b'{"error": "wrong cluster", "cluster": "%s"}' % OTHER.encode()
        problem = self.failureResultOf(self.endpoint().append(REQUEST), WrongCluster).value
        self.assertEqual((problem.name, problem.cluster), ("http://taba.example:8300", OTHER))

    def test_other_conflict(self) -> None:
        """A 409 that names no cluster is no word of ours."""
        self.server.status, self.server.body = 409, b"<html>"
        self.down(self.endpoint().append(REQUEST))

    def test_redirect_is_not_followed(self) -> None:
        """Batches go to the server that was named, and nowhere else."""
        self.server.status, self.server.headers = 307, {"Location": "http://elsewhere.example/v2/append"}
        self.assertIn("307", str(self.down(self.endpoint().append(REQUEST))))
        self.assertEqual(len(self.server.got), 1)


class BadAnswerTests(HTTPEndpointCase):
    """Answers that are none."""

    def test_malformed(self) -> None:
        """An answer that cannot be understood says nothing, but that the server cannot be relied on."""
        for body in (b"", b"OK", b"{}", encode_append_answer(ANSWER)[:-1], encode_topology(TOPOLOGY)):
            self.server.body = body
            self.down(self.endpoint().append(REQUEST))
            self.down(self.endpoint().topology()) if body != encode_topology(TOPOLOGY) else None

    def test_too_long(self) -> None:
        """An answer over the limit is not read to its end."""
        self.server.body = b" " * 5000 + encode_append_answer(ANSWER)
        self.assertIn("more than 4000 bytes", str(self.down(self.endpoint(max_answer=4000).append(REQUEST))))

    def test_endless(self) -> None:
        """A server that never stops talking is cut off at the limit."""
        self.server.unfinished, self.server.body = True, b" " * 5000
        self.down(self.endpoint(max_answer=4000).append(REQUEST))
        self.agent.flush()
        self.assertEqual(len(self.server.lost), 1)

    def test_long_refusal(self) -> None:
        """So is one that says no at length."""
        self.server.status, self.server.body = 503, b"x" * 1_000_000
        self.down(self.endpoint().append(REQUEST))

    def test_compressed_answer(self) -> None:
        """A proxy may compress answers; the limit holds for what comes out."""
        self.server.headers = {"Content-Encoding": "gzip"}
        self.server.body = gzip.compress(encode_append_answer(ANSWER))
        self.assertEqual(self.successResultOf(self.endpoint().append(REQUEST)), ANSWER)
        self.server.body = gzip.compress(b" " * 1_000_000)
        self.assertIn("more than 4000", str(self.down(self.endpoint(max_answer=4000).append(REQUEST))))

    def test_broken_off(self) -> None:
        """An answer whose connection ends in the middle is none."""
        self.server.unfinished, self.server.body = True, encode_append_answer(ANSWER)[:50]
        asked = self.endpoint().append(REQUEST)
        self.assertNoResult(asked)
        self.server.requests[-1].channel.transport.abortConnection()
        self.agent.flush()
        self.down(asked)


class TimeTests(HTTPEndpointCase):
    """No request takes longer than its time."""

    def test_no_answer(self) -> None:
        """A server that is silent is given up, and its connection ended."""
        self.server.unfinished, self.server.body = True, b""
        asked = self.endpoint().append(REQUEST)
        self.clock.advance(TIMEOUT_SECONDS - 0.1)
        self.assertNoResult(asked)
        self.clock.advance(0.2)
        self.assertIn("no answer within 10 s", str(self.down(asked)))
        self.agent.flush()
        self.assertEqual(len(self.server.lost), 1)

    def test_answer_without_end(self) -> None:
        """So is one that begins to answer and does not end."""
        self.server.unfinished, self.server.body = True, encode_append_answer(ANSWER)[:50]
        asked = self.endpoint(timeout=3.0).append(REQUEST)
        self.clock.advance(3.1)
        self.down(asked)
        self.agent.flush()
        self.assertEqual(len(self.server.lost), 1)

    def test_cancelled(self) -> None:
        """Whoever asked may give up earlier; that is no fault of the server."""
        self.server.unfinished, self.server.body = True, b""
        asked = self.endpoint().append(REQUEST)
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled_in_the_answer(self) -> None:
        """Also when the answer has begun."""
        self.server.unfinished, self.server.body = True, encode_append_answer(ANSWER)[:50]
        asked = self.endpoint().append(REQUEST)
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.agent.flush()
        self.assertEqual(len(self.server.lost), 1)

    def test_tls_failures(self) -> None:
        """What is wrong with a certificate is said in words, not as twisted.web wraps it."""
        for problem, words in (
            (SSLError([("SSL routines", "", "certificate verify failed")]), "TLS failed: certificate verify failed"),
            (SSLError(), "TLS failed: "),
            (VerificationError(errors=[]), "TLS failed: its certificate is not for this host"),
            (ConnectionRefusedError(), "Connection was refused"),
        ):
            wrapped = ResponseNeverReceived([Failure(problem)])

            @implementer(IAgent)
            class Untrusted:
                def request(self, *args: Any, wrapped: Exception = wrapped, **kwargs: Any) -> Deferred[Any]:
                    return fail(wrapped)

            endpoint = HTTPEndpoint("https://taba.example:8300", client_of(Untrusted()), self.clock)
            reason = str(self.down(endpoint.append(REQUEST)))
            self.assertTrue(reason.startswith(f"https://taba.example:8300: {words}"), reason)

    def test_connection_refused(self) -> None:
        """A server that is not there is down."""

        @implementer(IAgent)
        class Nobody:
            def request(self, *args: Any, **kwargs: Any) -> Deferred[Any]:
                return fail(ConnectionRefusedError())

        endpoint = HTTPEndpoint("http://taba.example:8300", client_of(Nobody()), self.clock)
        self.assertIn("refused", str(self.down(endpoint.append(REQUEST))))
        self.assertIn("refused", str(self.down(endpoint.topology())))

    def test_compressing_counts(self) -> None:
        """Time spent on compressing is part of the request's."""
        never: Deferred[bytes] = Deferred()
        asked = self.endpoint(off_reactor=lambda *args: never).append(LARGE)
        self.clock.advance(TIMEOUT_SECONDS + 0.1)
        self.down(asked)
        self.assertEqual(self.server.got, [])
