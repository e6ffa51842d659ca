"""The HTTP resources of a server: the original's query endpoints, and protocol 2 for agents. Thin: parse, call one
function, write.

Text and JSON look as the original's did; content types are honest, and errors are 400 with the reason.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.web.resource import Resource
from twisted.web.server import Request

from taba.errors import FrameError, StoreError
from taba.interfaces import Style
from taba.server.frontend import Frontend, WrongClusterError
from taba.server.parameters import ParameterError, Parameters, parse
from taba.server.query import Query
from taba.server.status import ServerStatus
from taba.web.answers import JSON, TEXT, Leaf, Refusal, write_json, write_text
from taba.wire import v2

PARAMETERS_LIMIT = 1 << 20
"""Bytes of a POSTed JSON object of parameters."""


def style_of(request: Request) -> Style:
    """What the request accepts: the first media type of its list that is known here; text when there is none."""
    accept = (request.getHeader("accept") or "").lower()
    ranked = sorted((each.split(";") for each in accept.split(",")), key=_quality, reverse=True)
    for media, *_ in ranked:
        name = media.strip()
        if name in ("*/*", "text/*", Style.TEXT.value):
            return Style.TEXT
        if name == Style.JSON.value:
            return Style.JSON
        if name == Style.DETAILED.value:
            return Style.DETAILED
    return Style.TEXT


def _quality(parts: Sequence[str]) -> float:
    for part in parts[1:]:
        name, _, value = part.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


class _Answer:
    """An answer that is written piece by piece, at the pace of its reader."""

    def __init__(self, request: Request, style: Style) -> None:
        self._request = request
        self.json = style is not Style.TEXT
        self.pieces = 0
        self._paused: Deferred[None] | None = None
        request.setHeader("Content-Type", JSON if self.json else TEXT)
        request.registerProducer(self, True)

    def write(self, text: str) -> Deferred[None] | None:
        """Write a piece; the Deferred, if any, fires when there is room for the next."""
        if text:
            self._request.write(text.encode("utf-8", "replace"))
        return self._paused

    def end(self, text: str = "") -> None:
        """Write the last piece."""
        self.write(text)
        self._request.unregisterProducer()
        self._request.finish()

    def pauseProducing(self) -> None:
        """The reader is slow. Called by the transport."""
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """The reader caught up. Called by the transport."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """The reader is gone. Called by the transport."""
        self.resumeProducing()


def _refusing(answer: Callable[..., Any]) -> Callable[[Request], Deferred[Any]]:
    """Turn what a query raises into the answers that say why."""

    @inlineCallbacks
    def refusing(request: Request):  # type: ignore[no-untyped-def]
        try:
            yield answer(request)
        except ParameterError as problem:
            raise Refusal(400, str(problem))
        except StoreError as problem:
            raise Refusal(503, f"The store does not answer: {problem}", Retry_After="1")

    return refusing


def _arguments(uri: bytes) -> dict[bytes, list[bytes]]:
    """The parameters in a URL. Twisted's own drop one without `=`, such as `re` in `/tabs?name=a.*&re`."""
    arguments: dict[bytes, list[bytes]] = {}
    for each in uri.partition(b"?")[2].split(b"&"):
        name, _, value = each.replace(b"+", b" ").partition(b"=")
        if name:
            arguments.setdefault(unquote_to_bytes(name), []).append(unquote_to_bytes(value))
    return arguments


class QueryResources:
    """The query endpoints over one `Query`."""

    def __init__(self, query: Query, status: ServerStatus) -> None:
        self._query = query
        self._status = status

    def leaves(self) -> dict[str, Resource]:
        """Path -> resource."""
        answers = {
            "tabs": self.tabs,
            "projection": self.projection,
            "supertabs": self.supertabs,
            "names": self.names,
            "clients": self.clients,
            "types": self.types,
            "status": self.status,
        }
        return {path: Leaf(get=_refusing(answer), post=_refusing(answer)) for path, answer in answers.items()}

    def _parameters(self, request: Request, allowed: Collection[str]) -> Parameters:
        body: Any = request.content
        return parse(_arguments(request.uri), body.read(), allowed)

    @inlineCallbacks
    def tabs(self, request: Request):  # type: ignore[no-untyped-def]
        """`NAME: STATE` per line, or an object."""
        asked = self._parameters(request, ("name", "client", "re", "raw"))
        style = style_of(request)
        answer = _Lazy(request, style)

        def emit(pairs: Sequence[tuple[str, str]]) -> Any:
            if style is Style.TEXT:
                return answer.add("".join(f"{name}: {state}\n" for name, state in pairs))
            return answer.add_items([f"{json.dumps(name)}: {state}" for name, state in pairs])

        yield self._query.aggregates(asked, style, emit)
        answer.end()

    @inlineCallbacks
    def projection(self, request: Request):  # type: ignore[no-untyped-def]
        """`(NAME, CLIENT): STATE` per line, or objects of clients."""
        asked = self._parameters(request, ("name", "client", "re", "raw"))
        style = style_of(request)
        answer = _Lazy(request, style)
        by_client: dict[str, list[str]] = {}

        def emit(rows: Sequence[tuple[str, str, str]]) -> Any:
            if style is Style.TEXT:
                return answer.add("".join(f"({tab}, {client}): {state}\n" for tab, client, state in rows))
            for tab, client, state in rows:
                by_client.setdefault(client, []).append(f"{json.dumps(tab)}: {state}")
            return None

        yield self._query.projections(asked, style, emit)
        answer.add_items(
            [f"{json.dumps(client)}: {{{','.join(items)}}}" for client, items in sorted(by_client.items())]
        )
        answer.end()

    @inlineCallbacks
    def supertabs(self, request: Request):  # type: ignore[no-untyped-def]
        """One STATE; nothing when there is none."""
        asked = self._parameters(request, ("name", "client", "re", "raw"))
        style = style_of(request)
        state = yield self._query.super_aggregate(asked, style)
        if style is Style.TEXT:
            write_text(request, f"{state or ''}\n")
        else:
            write_text(request, state or "", content_type=JSON)

    @inlineCallbacks
    def names(self, request: Request):  # type: ignore[no-untyped-def]
        """One tab per line, or an array."""
        asked = self._parameters(request, ("name", "client", "re"))
        self._write_list(request, (yield self._query.names(asked)))

    @inlineCallbacks
    def clients(self, request: Request):  # type: ignore[no-untyped-def]
        """One client per line, or an array."""
        asked = self._parameters(request, ("client", "re"))
        self._write_list(request, (yield self._query.clients(asked)))

    def _write_list(self, request: Request, listed: Sequence[str]) -> None:
        if style_of(request) is Style.TEXT:
            write_text(request, "\n".join(listed) + "\n")
        else:
            write_json(request, listed)

    @inlineCallbacks
    def types(self, request: Request):  # type: ignore[no-untyped-def]
        """`NAME: TYPE` per line, or an object."""
        asked = self._parameters(request, ("name", "re"))
        types: Mapping[str, str] = yield self._query.types(asked)
        if style_of(request) is Style.TEXT:
            write_text(request, "".join(f"{name}: {type}\n" for name, type in types.items()))
        else:
            write_json(request, types)

    @inlineCallbacks
    def status(self, request: Request):  # type: ignore[no-untyped-def]
        """What waits, and who works on it."""
        self._parameters(request, ())
        facts = yield self._status.facts()
        if style_of(request) is Style.TEXT:
            write_text(request, self._status.text(facts))
        else:
            write_json(request, facts)


class _Lazy:
    """Begins an `_Answer` with its first piece, so that an error before it is still a clean refusal."""

    def __init__(self, request: Request, style: Style) -> None:
        self._request = request
        self._style = style
        self._answer: _Answer | None = None
        self._items = 0

    def _begun(self) -> _Answer:
        if self._answer is None:
            self._answer = _Answer(self._request, self._style)
            if self._answer.json:
                self._answer.write("{")
        return self._answer

    def add(self, text: str) -> Deferred[None] | None:
        """A piece of a text answer."""
        return self._begun().write(text) if text else None

    def add_items(self, items: Sequence[str]) -> Deferred[None] | None:
        """Members of the object of a JSON answer."""
        if self._style is Style.TEXT or not items:
            return None
        comma = "," if self._items else ""
        self._items += len(items)
        return self._begun().write(comma + ",".join(items))

    def end(self) -> None:
        """No piece follows."""
        answer = self._begun()
        answer.end("}" if answer.json else "")


class AppendResources:
    """Protocol 2 for agents over one `Frontend`."""

    def __init__(self, frontend: Frontend, max_body: int) -> None:
        self._frontend = frontend
        self._max_body = max_body

    def leaves(self) -> dict[str, Resource]:
        """Path -> resource."""
        return {"v2/append": Leaf(post=self.append), "v2/topology": Leaf(get=self.topology)}

    def topology(self, request: Request) -> None:
        """What an agent has to know."""
        write_text(request, v2.encode_topology(self._frontend.topology()).decode(), content_type=JSON)

    @inlineCallbacks
    def append(self, request: Request):  # type: ignore[no-untyped-def]
        """Batches into logs."""
        try:
            wanted = v2.decode_append_request(self._body(request))
            answer = yield self._frontend.append(wanted)
        except FrameError as problem:
            raise Refusal(400, str(problem))
        except WrongClusterError as problem:
            write_json(request, {"error": str(problem), "cluster": problem.here}, 409)
            return
        except StoreError as problem:
            raise Refusal(503, f"Nothing is known of this request: {problem}", Retry_After="1")
        write_text(request, v2.encode_append_answer(answer).decode(), content_type=JSON)

    def _body(self, request: Request) -> bytes:
        """The frame, inflated up to the limit."""
        content: Any = request.content
        body: bytes = content.read()
        encoding = (request.getHeader("content-encoding") or "identity").lower()
        if encoding == "identity":
            return body
        if encoding != "gzip":
            raise Refusal(415, f"Content-Encoding {encoding} is not known here; gzip and identity are.")
        inflator = zlib.decompressobj(wbits=31)
        try:
            inflated = inflator.decompress(body, self._max_body + 1)
        except zlib.error as problem:
            raise Refusal(400, f"The body is not gzip: {problem}")
        if len(inflated) > self._max_body:
            raise Refusal(413, f"The body inflates to more than {self._max_body} bytes.")
        if not inflator.eof:
            raise Refusal(400, "The gzip stream is cut short.")
        return inflated


