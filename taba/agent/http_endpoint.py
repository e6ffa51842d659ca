"""A server behind HTTP: protocol 2 as docs/reference/protocol-2.md has it.

Every request has a time limit of its own, by the clock that was passed in, from the first byte to the last of the
answer. Whatever is not a whole, correct answer becomes `EndpointDown`: nothing is known then of what was asked. That
holds for every status but 200, and for pages of proxies with any status: the only refusal is the 409 of a server that
names the cluster it belongs to.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import urlsplit

from hyperlink import EncodedURL
from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import RequestTransmissionFailed, ResponseDone, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from taba.agent.endpoint import EndpointDown, IEndpoint, WrongCluster
from taba.errors import FrameError
from taba.wire.v2 import (
    MAX_TOPOLOGY,
    AppendAnswer,
    AppendRequest,
    Topology,
    decode_append_answer,
    decode_refusal,
    decode_topology,
    encode_append_request,
)

TIMEOUT_SECONDS = 10.0
MAX_ANSWER = 16 * 1024 * 1024  # bytes
MAX_REFUSAL = 65536  # bytes
COMPRESS_FROM = 1000  # bytes of a request; below, gzip costs more than it saves
COMPRESSION_LEVEL = 1  # Partials are packed already; more effort finds little more
_TAG = re.compile(r"<[^>]*>?")
LOOPBACK = frozenset({"localhost", "::1"})


@implementer(IBodyProducer)
class BytesBody:
    """A request body that is written at once. The one that treq makes of bytes goes through the global reactor."""

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


def client_of(agent: IAgent) -> HTTPClient:
    """A treq client over a twisted.web agent, whose bodies are `BytesBody`."""
    return HTTPClient(agent, data_to_body_producer=BytesBody)


class _PlainURL(EncodedURL):
    """A URL that treq takes as it is: making an ASCII name of the host would refuse IPv6 addresses."""

    def to_uri(self) -> _PlainURL:
        """Called by treq."""
        return self


@implementer(IEndpoint)
class HTTPEndpoint:
    """The server at `base_url`, which may have a path; `name` is what logs call it, else that URL.

    `headers` go with every request, and the token that `token` gives at that time, if it gives one. `off_reactor` runs
    a function, elsewhere if it can, and gives a Deferred of the result: it is used to compress. Requests to this very
    machine are not compressed.
    """

    def __init__(
        self,
        base_url: str,
        http: HTTPClient,
        clock: IReactorTime,
        *,
        name: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        max_answer: int = MAX_ANSWER,
        headers: Mapping[str, str] | None = None,
        token: Callable[[], str | None] = lambda: None,
        off_reactor: Callable[..., Deferred[Any]] = maybeDeferred,
    ) -> None:
        self._base = base_url.rstrip("/")
        self.name = name or self._base
        self._http = http
        self._clock = clock
        self._timeout = timeout
        self._max_answer = max_answer
        self._headers = Headers({name: [value] for name, value in (headers or {}).items()})
        self._token = token
        self._off_reactor = off_reactor
        host = urlsplit(self._base).hostname or ""
        self._compresses = host not in LOOPBACK and not host.startswith("127.")

    def topology(self) -> Deferred[Topology]:
        """See `IEndpoint`."""
        return self._within_time(self._ask_topology())

    def append(self, request: AppendRequest) -> Deferred[AppendAnswer]:
        """See `IEndpoint`."""
        return self._within_time(self._post(request))

    def _within_time(self, work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Run a request, and end it when its time is over; every error but cancelling becomes one of `IEndpoint`."""
        done: Deferred[Any] = Deferred.fromCoroutine(work)
        late: list[bool] = []

        def give_up() -> None:
            late.append(True)
            done.cancel()

        limit = self._clock.callLater(self._timeout, give_up)

        def ended(result: Any) -> Any:
            if limit.active():
                limit.cancel()
            return self._as_down(result, bool(late)) if isinstance(result, Failure) else result

        return done.addBoth(ended)

    def _as_down(self, failure: Failure, late: bool) -> Failure:
        if failure.check(EndpointDown, WrongCluster):
            return failure
        if late:
            return Failure(EndpointDown(f"{self.name}: no answer within {self._timeout:g} s"))
        if _is_cancelled(failure):
            return Failure(CancelledError())
        if failure.check(FrameError):
            return Failure(EndpointDown(f"{self.name}: what it answers is no answer: {failure.value}"))
        return Failure(EndpointDown(f"{self.name}: {_cause(failure)}"))

    async def _ask_topology(self) -> Topology:
        response = await self._http.get(
            self._url("/v2/topology"), headers=self._headers_now(), unbuffered=True, allow_redirects=False
        )
        return decode_topology(await self._answer_in(response, MAX_TOPOLOGY), MAX_TOPOLOGY)

    async def _post(self, request: AppendRequest) -> AppendAnswer:
        body = encode_append_request(request)
        headers = self._headers_now()
        headers.setRawHeaders("Content-Type", ["application/octet-stream"])
        if self._compresses and len(body) > COMPRESS_FROM:
            body = await self._off_reactor(_gzip, body)
            headers.setRawHeaders("Content-Encoding", ["gzip"])
        response = await self._http.post(
            self._url("/v2/append"), data=body, headers=headers, unbuffered=True, allow_redirects=False
        )
        return decode_append_answer(await self._answer_in(response, self._max_answer), self._max_answer)

    def _headers_now(self) -> Headers:
        headers = self._headers.copy()
        token = self._token()
        if token is not None:
            headers.setRawHeaders("Authorization", [f"Bearer {token}"])
        return headers

    def _url(self, path: str) -> EncodedURL:
        text = self._base + path
        return _PlainURL.from_text(text) if "[" in self._base else EncodedURL.from_text(text)

    async def _answer_in(self, response: IResponse, limit: int) -> bytes:
        """The body of a 200. Raises the error that any other status stands for."""
        if response.code == 200:
            return await _body_of(response, limit)
        body = await _body_of(response, MAX_REFUSAL)
        try:
            refusal = decode_refusal(body)
        except FrameError:
            text = body.decode("utf-8", "replace")
            reason = text if text.lstrip().startswith("<") else text.partition("\n")[0]
        else:
            if response.code == 409 and refusal.cluster is not None:
                raise WrongCluster(self.name, refusal.cluster)
            reason = refusal.error
        reason = " ".join(_TAG.sub(" ", reason).split())  # a proxy's page
        raise EndpointDown(
            f"{self.name}: {response.code} {reason[:200]}", _retry_after(response), too_large=response.code == 413
        )


def _is_cancelled(failure: Failure) -> bool:
    """Whether a request failed because it was cancelled; twisted.web says so in several ways."""
    problem = failure.value
    if isinstance(problem, ResponseNeverReceived | RequestTransmissionFailed):
        return any(reason.check(CancelledError) for reason in problem.reasons)
    return isinstance(problem, CancelledError | ConnectingCancelledError)


def _cause(failure: Failure) -> str:
    """What a request failed of, for people; twisted.web wraps it, and a certificate's mistake is known by its class."""
    problem: Any = failure.value
    if isinstance(problem, ResponseNeverReceived | RequestTransmissionFailed) and problem.reasons:
        problem = problem.reasons[0].value
    if isinstance(problem, SSLError):
        reasons = [str(each[-1]) for each in problem.args[0]] if problem.args else []
        return f"TLS failed: {', '.join(reasons) or 'the connection ended in the middle'}"
    if isinstance(problem, VerificationError):
        return "TLS failed: its certificate is not for this host"
    return str(problem) or type(problem).__name__


def _gzip(body: bytes) -> bytes:
    """The body as one gzip member, the same for the same body."""
    compressor = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


def _retry_after(response: IResponse) -> float | None:
    """The seconds in the header of that name; dates, which HTTP allows as well, are not looked at."""
    values = response.headers.getRawHeaders("retry-after", [])
    return float(values[0]) if values and values[0].isascii() and values[0].isdigit() else None


def _body_of(response: IResponse, limit: int) -> Deferred[bytes]:
    """The body, if it has at most `limit` bytes, any content encoding taken off; else ValueError."""
    receiver = _BoundedReceiver(limit)
    response.deliverBody(receiver)
    return receiver.body


class _BoundedReceiver(Protocol):
    """Collects a body up to a limit. Cancelling `body` ends the connection, as going over the limit does."""

    def __init__(self, limit: int) -> None:
        self.body: Deferred[bytes] = Deferred(lambda _: self._end())
        self._limit = limit
        self._size = 0
        self._chunks: list[bytes] = []

    def _end(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Called by the response."""
        self._size += len(data)
        if self._size <= self._limit:
            self._chunks.append(data)
        elif not self.body.called:
            self.body.errback(ValueError(f"its answer has more than {self._limit} bytes"))
            self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Called by the response at its end."""
        if self.body.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.body.callback(b"".join(self._chunks))
        else:
            self.body.errback(reason)
