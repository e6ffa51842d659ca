"""A twisted.web site whose request bodies are bounded, and handed on as they arrive.

twisted.web has no limit of body size, and buffers a body, in a temporary file from 100 kB on, before a resource sees
it. Here the site chooses an `IBody` for each request when its headers are in; the body takes the chunks as they come,
and may refuse the request at once: the answer goes out before the body was read, what still arrives is dropped, and
the connection ends.

The request learns its method and target before the body from two private attributes of `HTTPChannel` (`_command`,
`_path`), the channel from `_handlingRequest` whether another answer is under way; tests/web/test_site.py and
tests/processes fail where a version of Twisted has them no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES, HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import Interface, implementer

from taba.web.direct import DirectReading
from taba.web.measured import AnsweredRequests
from taba.web.room import Room
from taba.web.token import CHALLENGE, TokenGuard

PARTED_FROM = 4096
"""From so many bytes on a head is parted from what comes with it,"""
HEAD_BYTES = 16384
"""if it is that short."""
LINGER_SECONDS = 2.0
"""How long what a refused client still sends is dropped before its connection is aborted, so that it can read the
answer.
"""


class IBody(Interface):
    """Takes a request's body. `Request.content` is this object when the resource is asked to render."""

    def begin(request: BoundedRequest, length: int | None) -> None:
        """The headers are in; `length` is None when the body comes in chunks. May call `request.refuse`."""

    def write(data: bytes) -> None:
        """The next bytes. May call `request.refuse`. After `request.read_directly` they are a memoryview, which is
        another's once this call is over.
        """

    def tell() -> int:
        """The number of bytes so far."""

    def seek(offset: int, whence: int = 0) -> int:
        """Called by twisted.web with 0 before rendering."""

    def close() -> None:
        """The request is over, or its connection was lost."""


@implementer(IBody)
class BufferedBody:
    """Keeps the whole body in memory, up to `limit` bytes; larger ones are refused with 413, and with 503 those for
    which `room`, if there is one, has none left. What it takes of that it has until its request is over.
    """

    def __init__(self, limit: int, room: Room | None = None) -> None:
        self.limit = limit
        self._room = room
        self._taken = 0
        self._bytes = BytesIO()
        self._request: BoundedRequest | None = None

    def begin(self, request: BoundedRequest, length: int | None) -> None:
        """See `IBody`."""
        self._request = request
        if length is not None and length > self.limit:
            request.refuse(413, f"The body has {length} bytes; the limit here is {self.limit}.")
        else:
            self._take(length or 0)

    def _take(self, size: int) -> bool:
        """Take memory for so many bytes in all; whether it was there. If not, the request is refused."""
        more = size - self._taken
        if self._room is None or more <= 0:
            return True
        if not self._room.take(more, self._taken):
            if self._request is not None:
                self._request.refuse(503, "So many requests are under way that there is no memory left.", retry_after=1)
            return False
        self._taken = size
        return True

    def write(self, data: bytes) -> None:
        """See `IBody`."""
        if self._bytes.tell() + len(data) > self.limit:
            if self._request is not None:
                self._request.refuse(413, f"The body is over the limit of {self.limit} bytes.")
            return
        if self._take(self._bytes.tell() + len(data)):
            self._bytes.write(data)

    def read(self) -> bytes:
        """The whole body."""
        return self._bytes.getvalue()

    def tell(self) -> int:
        """See `IBody`."""
        return self._bytes.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        """See `IBody`."""
        return self._bytes.seek(offset, whence)

    def close(self) -> None:
        """See `IBody`."""
        self._request = None
        if self._room is not None:
            self._room.give(self._taken)
            self._taken = 0


class BoundedRequest(Request):
    """A request that gives its body to an `IBody` chosen by its site."""

    content: Any = None
    refused = False
    begun = 0.0
    """When its headers had come, by the site's clock."""

    def gotLength(self, length: int | None) -> None:
        """The headers are in. Called by the channel, which has the length None for a chunked body."""
        self.method, self.uri = self.channel._command, self.channel._path
        self.path = self.uri.split(b"?", 1)[0]
        self.begun = self._site().clock.seconds()
        if self._is_stranger():
            self.content = BufferedBody(0)
        else:
            body = self._site().body_for(self.method, self.path)
            self.content = body
            body.begin(self, length)
        if self.refused:
            self.requestHeaders.removeHeader(b"expect")  # else the channel would still ask for the body

    def handleContentChunk(self, data: bytes) -> None:
        """A part of the body. Called by the channel."""
        if not self.refused:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is whole. Called by the channel."""
        if self.content is None:  # a channel that did not come to gotLength
            self.gotLength(0)
        if self.refused:
            self.channel.loseConnection()
            return
        super().requestReceived(command, path, version)

    def _site(self) -> BoundedSite:
        channel: Any = self.channel
        site: BoundedSite = channel.site
        return site

    def _is_stranger(self) -> bool:
        """Whether the request lacks the token that the site asks for. It is refused then."""
        guard = self._site().guard
        if guard is None:
            return False
        problem = guard.problem(self.path, self.requestHeaders.getRawHeaders(b"authorization") or ())
        if problem is not None:
            self.refuse(401, problem, challenge=CHALLENGE)
        return problem is not None

    def read_directly(self) -> None:
        """Let a large body come with less work, where that is possible. For `IBody.begin`: see `IBody.write`."""
        self._site().direct.begin(self.channel)

    def refuse(
        self, status: int, reason: str, retry_after: int | None = None, challenge: str | None = None
    ) -> None:
        """Answer now, before the body was read, and end the connection. Later calls do nothing.

        `retry_after` is in seconds; `challenge` is what a 401 says of what it wants.
        """
        if self.refused:
            return
        self.refused = True
        self._site().count(self, status)
        text = reason.encode() + b"\n"
        later = b"" if retry_after is None else b"Retry-After: %d\r\n" % retry_after
        if challenge is not None:
            later += b"WWW-Authenticate: %b\r\n" % challenge.encode("ascii")
        phrase = RESPONSES.get(status, b"Refused")
        transport: Any = self.channel.transport
        transport.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\n%bContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%b" % (status, phrase, later, len(text), text)
        )
        self.channel.setTimeout(None)
        linger = self._site().clock.callLater(LINGER_SECONDS, self.channel.forceAbortClient)

        def gone(_: Failure) -> None:
            if linger.active():
                linger.cancel()

        self.notifyFinish().addErrback(gone)


class BoundedChannel(HTTPChannel):
    """A connection that says so when a line of a request's head is too long; Twisted's own hangs up without a word. And
    it parts a head from the body that comes with it first.
    """

    def dataReceived(self, data: bytes) -> None:
        """Called with what was read. Twisted takes line after line off the front, and copies all that is left each
        time: with half a megabyte of a body behind them the lines of a head take longer than much of the body.
        """
        if self.line_mode and not self._busyReceiving and not self._buffer and len(data) >= PARTED_FROM:
            end = data.find(b"\r\n\r\n", 0, HEAD_BYTES) + 4
            if end >= 4:
                super().dataReceived(data[:end])
                transport: Any = self.transport
                if transport is None or transport.disconnecting:
                    return  # as Twisted does after each line
                data = data[end:]
        if data:
            super().dataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Called when the request line, or a header, is longer than MAX_LENGTH."""
        transport: Any = self.transport
        if not self._handlingRequest:  # else the words would stand in the middle of another answer
            text = (
                b"The first line and each header of a request may have %d bytes. Parameters of a question may also be "
                b"POSTed, as a JSON object.\n" % self.MAX_LENGTH
            )
            transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n"
                b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(text), text)
            )
        transport.loseConnection()


class BoundedSite(Site):
    """A site with bounded bodies: `bodies` maps a path to the maker of its `IBody`; all others may have
    `default_limit` bytes. With a `guard`, who shows no token is refused before anything of a body is looked at.
    `answered` counts what was answered; answers whose reader went away before their end are not among it.
    """

    protocol: Any = BoundedChannel

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        bodies: Mapping[bytes, Callable[[], Any]],
        default_limit: int = 65_536,
        timeout: float = 60.0,
        guard: TokenGuard | None = None,
        answered: AnsweredRequests | None = None,
    ) -> None:
        super().__init__(
            resource, requestFactory=BoundedRequest, reactor=clock, timeout=timeout, parsePOSTFormSubmission=False
        )
        self.clock = clock
        self.guard = guard
        self.displayTracebacks = False
        self._bodies = bodies
        self._default_limit = default_limit
        self._answered = answered or AnsweredRequests()
        self.direct = DirectReading()

    def acceptableProtocols(self) -> list[bytes]:
        """What TLS may agree on: HTTP/1.1 alone, also where the packages for HTTP/2 are installed."""
        return [b"http/1.1"]

    def body_for(self, method: bytes, path: bytes) -> Any:
        """The `IBody` for a request's body. The path is as it was sent, while resources see it unquoted."""
        maker = self._bodies.get(unquote_to_bytes(path))
        if method == b"POST" and maker is not None:
            return maker()
        return BufferedBody(self._default_limit)

    def count(self, request: BoundedRequest, status: int) -> None:
        """A request is answered with a status."""
        self._answered.answered(request.path, status, max(0.0, self.clock.seconds() - request.begun))

    def log(self, request: Any) -> None:
        """Called by twisted.web when an answer is whole. No access log: a busy agent answers thousands of requests a
        second; numbers are in /status and /metrics.
        """
        self.count(request, request.code)
