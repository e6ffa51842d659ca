"""`/values/KEY` and `/stat/KEY`, for proxies and nodes alike, and the site that they stand on.

The body of a POST is the value, whatever its content type: curl and wget call any body a form. One larger than a piece
goes on to the nodes piece by piece while it arrives, and one that is cut short leaves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from taba.tako.clock import parse_stamp
from taba.tako.errors import BadKey, BadTimestamp, DiskFull, NotEnough, Refused, TakoError
from taba.tako.levels import Level
from taba.tako.records import MAX_VALUE, PIECE, check_key
from taba.tako.router import Receipt, Router, Value
from taba.tako.uploads import Upload
from taba.web.answers import Refusal, write_refusal, write_text
from taba.web.site import BoundedRequest, BoundedSite, IBody
from taba.web.token import TokenGuard

VALUES = b"/values/"
STAT = b"/stat/"
PIECES_AHEAD = 4
"""Pieces of a value on their way to nodes, beyond which its sender has to wait."""


def key_of(path: bytes, prefix: bytes) -> bytes:
    """The key that a path names; Refusal for one that is none."""
    try:
        return check_key(unquote_to_bytes(path[len(prefix) :]))
    except BadKey as problem:
        raise Refusal(414 if problem.length else 404, str(problem))


def level_of(request: Any) -> Level | None:
    """The level that a request asks for."""
    given = request.args.get(b"level")
    if not given:
        return None
    try:
        return Level(given[-1].decode("latin-1"))
    except ValueError:
        raise Refusal(400, f"level is one, quorum or all, not {given[-1][:40].decode('latin-1')!r}.")


def stamp_of(request: Any) -> int | None:
    """The timestamp that a request carries."""
    given = request.requestHeaders.getRawHeaders("x-timestamp")
    if given is None:
        return None
    try:
        return parse_stamp(given[-1].strip())
    except BadTimestamp as problem:
        raise Refusal(400, str(problem))


def refusal_of(problem: Exception) -> Refusal | None:
    """What to answer when a read or write failed; None for a defect."""
    if isinstance(problem, Refusal):
        return problem
    if isinstance(problem, BadTimestamp) or (isinstance(problem, Refused) and problem.code == "ahead"):
        return Refusal(400, str(problem))
    if isinstance(problem, DiskFull):
        return Refusal(507, f"Not stored: {problem}")
    if isinstance(problem, NotEnough):
        return Refusal(503, f"{problem}.", Retry_After="1", X_Tako_Nodes=f"{problem.held}/{problem.nodes}")
    if isinstance(problem, TakoError):
        return Refusal(503, f"{problem}.", Retry_After="1")
    return None


@implementer(IBody)
class ValueBody:
    """The body of a POST to /values: kept up to a piece, sent on from there."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._request: BoundedRequest | None = None
        self._first = bytearray()
        self._upload: Upload | None = None
        self._size = 0
        self._under_way = 0
        self._paused = False
        self._sent: Deferred[None] | None = None

    def begin(self, request: BoundedRequest, length: int | None) -> None:
        """See `IBody`."""
        self._request = request
        if length is not None and length > MAX_VALUE:
            request.refuse(413, f"The value has {length} bytes; the limit is {MAX_VALUE}.")

    def write(self, data: bytes) -> None:
        """See `IBody`."""
        self._size += len(data)
        if self._size > MAX_VALUE:
            if self._request is not None:
                self._request.refuse(413, f"The value is over the limit of {MAX_VALUE} bytes.")
            return
        self._first += data
        while len(self._first) > PIECE:
            self._send(bytes(self._first[:PIECE]))
            del self._first[:PIECE]

    def _send(self, piece: bytes) -> None:
        """Send a piece on; the sender waits while too many are under way."""
        request = self._request
        if self._upload is None:
            if request is None:
                return
            try:
                key = key_of(request.path, VALUES)
            except Refusal as refusal:
                request.refuse(refusal.status, refusal.reason)
                return
            self._upload = Upload.begin(self._values.router, key, self._values.new_id)
        self._under_way += 1
        self._upload.add(piece).addCallback(self._arrived)
        if self._under_way >= PIECES_AHEAD and request is not None and not self._paused:
            self._paused = True
            transport: Any = request.channel.transport
            transport.pauseProducing()

    def _arrived(self, _: None) -> None:
        self._under_way -= 1
        if self._paused and self._request is not None and not self._request.finished:
            self._paused = False
            transport: Any = self._request.channel.transport
            transport.resumeProducing()
        if self._sent is not None and not self._under_way:
            sent, self._sent = self._sent, None
            sent.callback(None)

    def tell(self) -> int:
        """See `IBody`."""
        return self._size

    def seek(self, offset: int, whence: int = 0) -> int:
        """See `IBody`."""
        return offset

    def close(self) -> None:
        """See `IBody`. What was not stored by now is forgotten."""
        self._request = None
        if self._upload is not None:
            self._upload.abort()

    def store(self, key: bytes, stamp: int | None, level: Level | None) -> Deferred[Receipt]:
        """Store what came, under a key."""
        if self._upload is None:
            return self._values.router.put(key, bytes(self._first), stamp, level)
        upload, self._upload = self._upload, None
        sent: Deferred[None] = upload.add(bytes(self._first))
        if self._under_way:
            self._sent = Deferred()
            earlier = self._sent
            sent.addCallback(lambda _: earlier)
        return sent.addCallback(lambda _: upload.finish(stamp, level))


@implementer(IPushProducer)
class ValueProducer:
    """Writes a value to its reader piece by piece, as fast as that takes it. `done` fires at the end.

    Not a pull producer: twisted.web would drive that by the global reactor.
    """

    def __init__(self, router: Router, key: bytes, value: Value, request: Any) -> None:
        self.done: Deferred[None] = Deferred()
        self._router, self._key, self._value, self._request = router, key, value, request
        self._next = 1
        self._asking = self._paused = self._stopped = False
        request.registerProducer(self, True)
        request.write(value.body)
        self._go_on()

    def pauseProducing(self) -> None:
        """The reader has enough for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The reader takes more."""
        self._paused = False
        self._go_on()

    def _go_on(self) -> None:
        if self._asking or self._stopped or self._paused:
            return
        if self._next >= self._value.version.pieces:
            self._stopped = True
            self._request.unregisterProducer()
            self.done.callback(None)
            return
        self._asking = True
        self._router.piece(self._key, self._value, self._next).addCallbacks(self._got, self._failed)

    def _got(self, piece: bytes) -> None:
        self._asking = False
        self._next += 1
        if not self._stopped:
            self._request.write(piece)
            self._go_on()

    def _failed(self, failure: Failure) -> None:
        if not self._stopped:
            self._stopped = True
            self._request.unregisterProducer()
            self.done.errback(failure)

    def stopProducing(self) -> None:
        """The reader has gone."""
        if not self._stopped:
            self._stopped = True
            self.done.errback(CancelledError())


class Values(Resource):
    """`/values/KEY` (GET, POST, PUT, DELETE) and `/stat/KEY` (GET)."""

    isLeaf = True
    _log = Logger()

    def __init__(self, router: Router, new_id: Callable[[], str], stat_only: bool = False) -> None:
        super().__init__()
        self.router, self.new_id = router, new_id
        self._prefix = STAT if stat_only else VALUES
        self._methods: Mapping[bytes, Callable[[Any], Deferred[Any]]] = (
            {b"GET": self._stat, b"HEAD": self._stat}
            if stat_only
            else {
                b"GET": self._get, b"HEAD": self._get, b"POST": self._post, b"PUT": self._post,
                b"DELETE": self._delete,
            }
        )  # fmt: skip

    def render(self, request: Any) -> int:
        """Called by twisted.web."""
        method = self._methods.get(request.method)
        if method is None:
            allowed = ", ".join(sorted(name.decode() for name in self._methods))
            write_refusal(request, Refusal(405, f"This path takes {allowed}.", Allow=allowed))
            return NOT_DONE_YET
        self.router.count(request.method.decode("latin-1"))
        try:
            answering = method(request)
        except Exception:
            self._failed(Failure(), request)
            return NOT_DONE_YET
        answering.addErrback(self._failed, request)
        return NOT_DONE_YET

    def _failed(self, failure: Failure, request: Any) -> None:
        if request._disconnected or failure.check(CancelledError):
            return
        problem = failure.value
        refusal = refusal_of(problem) if isinstance(problem, Exception) else None
        if refusal is None:
            self._log.failure("Could not answer {uri}", failure, uri=request.uri)
            refusal = Refusal(500, "An error inside Tako; its log has the details.")
        self.router.count(f"answers {refusal.status}")
        if request.startedWriting:
            request.transport.abortConnection()  # half a value must not look whole
        elif not request.finished:
            write_refusal(request, refusal)

    def _get(self, request: Any) -> Deferred[Any]:
        key = key_of(request.path, self._prefix)
        return self.router.get(key, level_of(request)).addCallback(self._give, key, request)

    def _give(self, value: Value | None, key: bytes, request: Any) -> Any:
        if request._disconnected:
            return None
        self._describe(value, request)
        assert value is not None
        request.setHeader(b"Content-Type", b"application/octet-stream")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        request.setHeader(b"Content-Length", b"%d" % value.version.size)
        if request.method == b"HEAD":
            request.finish()
            return None
        if value.version.pieces == 1:
            request.write(value.body)
            request.finish()
            return None
        return ValueProducer(self.router, key, value, request).done.addCallback(lambda _: request.finish())

    def _describe(self, value: Value | None, request: Any) -> None:
        """Headers; Refusal when there is no value."""
        if value is None:
            raise Refusal(404, "No such key.")
        stamp, nodes = str(value.version.stamp), f"{value.answered}/{value.nodes}"
        if value.version.tombstone:
            raise Refusal(404, "No such key: it was deleted.", X_Timestamp=stamp, X_Tako_Nodes=nodes)
        request.setHeader(b"X-Timestamp", stamp.encode())
        request.setHeader(b"X-Tako-Nodes", nodes.encode())

    def _stat(self, request: Any) -> Deferred[Any]:
        key = key_of(request.path, self._prefix)

        def give(value: Value | None) -> None:
            if not request._disconnected:
                self._describe(value, request)
                assert value is not None
                request.setHeader(b"X-Tako-Size", b"%d" % value.version.size)
                write_text(request, str(value.version.stamp))

        return self.router.stat(key, level_of(request)).addCallback(give)

    def _post(self, request: Any) -> Deferred[Any]:
        key, stamp, level = key_of(request.path, self._prefix), stamp_of(request), level_of(request)
        body: ValueBody = request.content
        return body.store(key, stamp, level).addCallback(self._stored, request, "Stored")

    def _delete(self, request: Any) -> Deferred[Any]:
        key, stamp, level = key_of(request.path, self._prefix), stamp_of(request), level_of(request)
        return self.router.delete(key, stamp, level).addCallback(self._stored, request, "Deleted")

    def _stored(self, receipt: Receipt, request: Any, what: str) -> None:
        if request._disconnected:
            return
        request.setHeader(b"X-Timestamp", b"%d" % receipt.version.stamp)
        request.setHeader(b"X-Tako-Nodes", b"%d/%d" % (receipt.held, receipt.nodes))
        write_text(request, f"{what} on {receipt.held} of {receipt.nodes} nodes.\n")


class TakoSite(BoundedSite):
    """A site on which POSTs below /values have a `ValueBody`."""

    def __init__(self, resource: IResource, clock: Any, values: Values, guard: TokenGuard | None) -> None:
        super().__init__(resource, clock, {}, guard=guard)
        self._values = values

    def body_for(self, method: bytes, path: bytes) -> Any:
        """See `BoundedSite`."""
        if method in (b"POST", b"PUT") and path.startswith(VALUES):
            return ValueBody(self._values)
        return super().body_for(method, path)
