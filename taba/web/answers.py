"""Resources that answer with plain text or JSON, later or at once, and errors that say their reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import NOT_FOUND
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Refusal(Exception):
    """An answer other than 200: its status, its reason in words, and further headers."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def accepted(request: Request) -> list[str]:
    """The media types that a request accepts, in lower case, the best first; without those of quality 0."""
    parts = [each.split(";") for each in (request.getHeader("accept") or "").lower().split(",")]
    ranked = sorted(((_quality(more), media.strip()) for media, *more in parts), key=lambda each: -each[0])
    return [media for quality, media in ranked if quality > 0]


def _quality(parts: Sequence[str]) -> float:
    """What parameters of a media type say of its quality; 0.0 for what is no number of at most 1."""
    for part in parts:
        name, _, value = part.strip().partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return 0.0
            return quality if 0 <= quality <= 1 else 0.0
    return 1.0


def accepts_json(request: Request) -> bool:
    """Whether the request asks for JSON and not also for text."""
    media = accepted(request)
    return any(each.startswith(JSON) or each == "application/*" for each in media) and "text/plain" not in media


def write_text(request: Request, text: str, status: int = 200, content_type: str = TEXT) -> None:
    """Answer with a text, and end the answer. Nothing happens when the client has gone away: what was done for it may
    come to its end all the same.
    """
    if getattr(request, "_disconnected", False):
        return
    body = text.encode("utf-8", "replace")
    request.setResponseCode(status)
    request.setHeader("Content-Type", content_type)
    request.setHeader("Content-Length", str(len(body)))
    request.write(body)
    request.finish()


def write_json(request: Request, value: Any, status: int = 200) -> None:
    """Answer with a value as JSON, and end the answer."""
    write_text(request, json.dumps(value, ensure_ascii=False), status, JSON)


def write_refusal(request: Request, refusal: Refusal) -> None:
    """Answer with the reason, in the form that the request asks for."""
    for name, value in refusal.headers.items():
        request.setHeader(name, value)
    if accepts_json(request):
        write_json(request, {"error": refusal.reason}, refusal.status)
    else:
        write_text(request, refusal.reason + "\n", refusal.status)


class Leaf(Resource):
    """One path: a function per method, which writes the answer, or raises `Refusal`, now or by a Deferred."""

    isLeaf = True
    _log = Logger()

    def __init__(self, **methods: Callable[[Request], Deferred[Any] | None]) -> None:
        super().__init__()
        self._methods = {name.upper().encode(): method for name, method in methods.items()}
        if b"GET" in self._methods:
            self._methods.setdefault(b"HEAD", self._methods[b"GET"])

    def render(self, request: Request) -> int:
        """Called by twisted.web."""
        request.setHeader("X-Content-Type-Options", "nosniff")
        if request.postpath:
            path = request.path.decode("latin-1")
            write_refusal(request, Refusal(NOT_FOUND, f"There is no {path} here: nothing is below this path."))
            return NOT_DONE_YET
        method = self._methods.get(request.method)
        if method is None:
            allowed = ", ".join(sorted(name.decode() for name in self._methods))
            write_refusal(request, Refusal(405, f"This path takes {allowed}.", Allow=allowed))
            return NOT_DONE_YET
        gone = request.notifyFinish()
        answering: Deferred[Any] = maybeDeferred(method, request)
        gone.addErrback(lambda _: answering.cancel())
        answering.addErrback(self._failed, request)
        return NOT_DONE_YET

    def _failed(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError) and request._disconnected:
            return  # the client went away: nobody waits for an answer
        refusal = failure.value
        if not isinstance(refusal, Refusal):
            self._log.failure("Could not answer {uri}", failure, uri=request.uri)
            refusal = Refusal(500, "An error inside Taba; its log has the details.")
        if request._disconnected or request.finished:
            return
        if request.startedWriting:
            transport: Any = request.transport
            transport.abortConnection()  # half an answer must not look whole
            return
        write_refusal(request, refusal)


class Root(Resource):
    """The tree of an HTTP port: a leaf per path, a 404 that lists them for all others."""

    def __init__(self, leaves: dict[str, Resource]) -> None:
        super().__init__()
        self._paths = sorted(leaves)
        for path, leaf in leaves.items():
            parent: Resource = self
            *folders, name = path.strip("/").split("/")
            for folder in folders:
                below = parent.children.get(folder.encode())
                if below is None:
                    below = Root({})
                    below._paths = self._paths
                    parent.putChild(folder.encode(), below)
                parent = below
            parent.putChild(name.encode(), leaf)

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Called by twisted.web for a path that is none of ours."""
        request.postpath = []
        return Missing(self._paths)

    def render(self, request: Request) -> int:
        """The folders themselves have nothing to show."""
        return Missing(self._paths).render(request)


class Missing(Resource):
    """404 to whatever is asked of a path that is not there, with the paths that are."""

    isLeaf = True

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__()
        self._paths = paths

    def render(self, request: Request) -> int:
        """Called by twisted.web."""
        path, known = request.path.decode("latin-1"), " ".join(self._paths)
        request.setHeader("X-Content-Type-Options", "nosniff")
        write_refusal(request, Refusal(NOT_FOUND, f"There is no {path} here. There are: {known}"))
        return NOT_DONE_YET
