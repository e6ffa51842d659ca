"""A server as an agent sees it over HTTP: topology and append, with time limits, bounded answers, and errors that say
what is known.

No answer, 429, 502, 503, 504 and anything malformed mean that nothing is known of the request; 409 names another
cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from gzip import compress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from treq import collect
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from taba.agent.endpoint import EndpointDown, IEndpoint, WrongCluster
from taba.errors import FrameError
from taba.wire import v2
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology

TIMEOUT = 10.0
"""Seconds until a request is given up; nothing is known of it then."""
GZIP_FROM = 1024
"""Bytes from which on a request to another host is compressed."""
MAX_ANSWER = 16 << 20


@implementer(IBodyProducer)
class BytesBody:
    """A request body that is written at once: treq's own goes through the global reactor."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Called by the HTTP client."""
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Everything is written already."""

    def resumeProducing(self) -> None:
        """Everything is written already."""

    def stopProducing(self) -> None:
        """Everything is written already."""


def on_loopback(url: str) -> bool:
    """Whether a URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@implementer(IEndpoint)
class HTTPEndpoint:
    """The server at a base URL. `client_of` makes its treq client."""

    def __init__(self, url: str, http: HTTPClient, reactor: Any, timeout: float = TIMEOUT) -> None:
        self.name = url
        self._http = http
        self._reactor = reactor
        self._timeout = timeout
        self._compressing = not on_loopback(url)

    @inlineCallbacks
    def topology(self):  # type: ignore[no-untyped-def]
        """See `IEndpoint`."""
        answer = yield self._ask("GET", "/v2/topology", None, v2.decode_topology)
        topology: Topology = answer
        return topology

    @inlineCallbacks
    def append(self, request: AppendRequest):  # type: ignore[no-untyped-def]
        """See `IEndpoint`."""
        answer = yield self._ask("POST", "/v2/append", v2.encode_append_request(request), v2.decode_append_answer)
        appended: AppendAnswer = answer
        return appended

    @inlineCallbacks
    def _ask(self, method: str, path: str, body: bytes | None, decode: Callable[[bytes], Any]):  # type: ignore[no-untyped-def]
        headers = Headers()
        if body is not None and self._compressing and len(body) >= GZIP_FROM:
            body = compress(body, 1)
            headers.setRawHeaders("Content-Encoding", ["gzip"])
        try:
            response = yield self._http.request(
                method,
                self.name + path,
                headers=headers,
                data=body,
                reactor=self._reactor,
                timeout=self._timeout,
            )
            content = yield _bounded(response, self._reactor, self._timeout)
        except Exception as problem:  # whatever goes wrong between here and there, nothing is known
            raise EndpointDown(f"{self.name}: {problem or type(problem).__name__}")
        if response.code == 409:
            raise _wrong_cluster(content, self.name)
        if response.code != 200:
            raise EndpointDown(f"{self.name}: {response.code} {_reason(content)}", _retry_after(response))
        try:
            return decode(content)
        except FrameError as problem:
            raise EndpointDown(f"{self.name} answers what is no answer: {problem}")


def client_of(agent: Any) -> HTTPClient:
    """A treq client over a twisted.web agent, whose bodies are `BytesBody`."""
    return HTTPClient(agent, data_to_body_producer=BytesBody)


def _bounded(response: Any, reactor: Any, timeout: float) -> Deferred[bytes]:
    """The body of an answer; an error when it is too long, or does not end in time."""
    chunks: list[bytes] = []
    size = 0

    def collector(chunk: bytes) -> None:
        nonlocal size
        size += len(chunk)
        if size > MAX_ANSWER:
            raise ValueError("the answer is too long")
        chunks.append(chunk)

    collected: Deferred[Any] = collect(response, collector)
    collected.addTimeout(timeout, reactor)
    done: Deferred[bytes] = collected.addCallback(lambda _: b"".join(chunks))
    return done


def _wrong_cluster(content: bytes, name: str) -> Exception:
    try:
        refusal = v2.decode_refusal(content)
    except FrameError:
        return EndpointDown(f"{name}: 409 without a reason")
    return WrongCluster(name, refusal.cluster or "unknown")


def _reason(content: bytes) -> str:
    return content[:200].decode("utf-8", "replace").strip()


def _retry_after(response: Any) -> float | None:
    values = response.headers.getRawHeaders("retry-after", [])
    try:
        return max(0.0, float(values[0])) if values else None
    except ValueError:
        return None
