"""The HTTP resources of a server: the original's query endpoints, and protocol 2 for agents. Thin: parse, call one
function, write.

Text and JSON look as the original's did; content types are honest, and errors are 400 with the reason.
"""

from __future__ import annotations

import ipaddress
import json
import zlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request

from taba.errors import FrameError, LimitReached, LocalProtocolError, StoreError
from taba.interfaces import Style
from taba.server.answering import ByClient, Items, PacedAnswer
from taba.server.frontend import Frontend, WrongClusterError
from taba.server.inflating import inflated
from taba.server.parameters import ParameterError, Parameters, parse, values_of
from taba.server.query import EmitName, Query
from taba.server.status import ServerStatus
from taba.server.turns import Turns
from taba.web.answers import JSON, TEXT, Leaf, Refusal, write_json, write_text
from taba.wire import v2

PARAMETERS_LIMIT = 1 << 20
"""Bytes of a POSTed JSON object of parameters."""
HEADER_LIMIT = 1 << 20
"""Bytes of the header of an append request, twice what the 4,096 batches of our agent can need. A header is taken apart
in one turn of the reactor, and one of 16 MiB would take it seconds.
"""


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


def _refusing(answer: Callable[[Request], Awaitable[None]]) -> Callable[[Request], Deferred[None]]:
    """Turn what a query raises into the answers that say why."""

    async def refusing(request: Request) -> None:
        try:
            await answer(request)
        except ParameterError as problem:
            raise Refusal(400, str(problem))
        except StoreError as problem:
            raise Refusal(503, f"The store does not answer: {problem}", Retry_After="1")

    return lambda request: Deferred.fromCoroutine(refusing(request))


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

    def __init__(self, query: Query, status: ServerStatus, clock: IReactorTime) -> None:
        self._query = query
        self._status = status
        self._clock = clock

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

    def _answer(self, request: Request, style: Style) -> PacedAnswer:
        return PacedAnswer(request, TEXT if style is Style.TEXT else JSON, self._clock)

    async def tabs(self, request: Request) -> None:
        """`NAME: STATE` per line, or an object."""
        asked = self._parameters(request, ("name", "client", "re", "raw"))
        style = style_of(request)
        answer = self._answer(request, style)
        if style is Style.TEXT:
            items = Items(answer)
            await self._query.aggregates(asked, style, lambda name, state: items.add(f"{name}: {state}\n"))
        else:
            items = Items(answer, "{", ",", "}")
            await self._query.aggregates(asked, style, lambda name, state: items.add(f"{json.dumps(name)}: {state}"))
        items.end()

    async def projection(self, request: Request) -> None:
        """`(NAME, CLIENT): STATE` per line, or objects of clients."""
        asked = self._parameters(request, ("name", "client", "re", "raw"))
        style = style_of(request)
        answer = self._answer(request, style)
        if style is Style.TEXT:
            await self._query.projections(
                asked, style, lambda tab, client, state: answer.write(f"({tab}, {client}): {state}\n")
            )
            answer.end()
        else:
            clients = ByClient(answer)
            await self._query.projections_by_client(asked, style, clients.add)
            clients.end()

    async def supertabs(self, request: Request) -> None:
        """One STATE; nothing when there is none."""
        asked = self._parameters(request, ("name", "client", "re", "raw"))
        style = style_of(request)
        state = await self._query.super_aggregate(asked, style)
        if style is Style.TEXT:
            write_text(request, f"{state or ''}\n")
        else:
            write_text(request, state or "", content_type=JSON)

    async def names(self, request: Request) -> None:
        """One tab per line, or an array."""
        asked = self._parameters(request, ("name", "client", "re"))
        await self._listed(request, asked, self._query.names)

    async def clients(self, request: Request) -> None:
        """One client per line, or an array."""
        asked = self._parameters(request, ("client", "re"))
        await self._listed(request, asked, self._query.clients)

    async def _listed(
        self, request: Request, asked: Parameters, names: Callable[[Parameters, EmitName], Awaitable[None]]
    ) -> None:
        style = style_of(request)
        answer = self._answer(request, style)
        if style is Style.TEXT:
            items = Items(answer, "", "\n", "\n")
            await names(asked, items.add)
        else:
            items = Items(answer, "[", ", ", "]")
            await names(asked, lambda name: items.add(_quoted(name)))
        items.end()

    async def types(self, request: Request) -> None:
        """`NAME: TYPE` per line, or an object."""
        asked = self._parameters(request, ("name", "re"))
        style = style_of(request)
        answer = self._answer(request, style)
        if style is Style.TEXT:
            items = Items(answer)
            await self._query.types(asked, lambda tab, type: items.add(f"{tab}: {type}\n"))
        else:
            items = Items(answer, "{", ", ", "}")
            await self._query.types(asked, lambda tab, type: items.add(f"{_quoted(tab)}: {_quoted(type)}"))
        items.end()

    async def status(self, request: Request) -> None:
        """What waits, and who works on it."""
        self._parameters(request, ())
        facts = await self._status.facts()
        if style_of(request) is Style.TEXT:
            write_text(request, self._status.text(facts))
        else:
            write_json(request, facts)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


class AdminResources:
    """What changes the store at an operator's word: POST only, and, where nobody is asked for a token (`open`), only
    from this host. Who asked is logged.
    """

    _log = Logger()

    def __init__(self, status: ServerStatus, *, open: bool = True) -> None:
        self._status = status
        self._open = open

    def leaves(self) -> dict[str, Resource]:
        """Path -> resource."""
        return {"accept_loss": Leaf(post=_refusing(self.accept_loss))}

    async def accept_loss(self, request: Request) -> None:
        """Use a shard that has lost its data again, without it."""
        body: Any = request.content
        asked = values_of(_arguments(request.uri), body.read(), ("shard",))
        who = _address_of(request)
        if self._open and not _is_this_host(who):
            raise Refusal(403, "Without a token (TOKEN_FILE) this may be asked from the server's own host only.")
        if not asked.get("shard"):
            raise Refusal(400, "Which shard? Ask for /accept_loss?shard=NAME.")
        if self._status.sharded is None:
            raise Refusal(400, "The store of this server has no shards that could have lost their data.")
        self._log.warn("{who} accepts the loss of the data of shard {shard}", who=who, shard=asked["shard"])
        try:
            anew = await self._status.sharded.accept_loss(asked["shard"])
        except LocalProtocolError as problem:
            raise Refusal(400, f"{str(problem)[:1].upper()}{str(problem)[1:]}.")
        if style_of(request) is Style.TEXT:
            said = f"{anew} vbuckets begin anew" if anew else "has all its data: nothing was changed"
            write_text(request, f"Shard {asked['shard']}: {said}.\n")
        else:
            write_json(request, {"shard": asked["shard"], "begin_anew": anew})


def _address_of(request: Request) -> str:
    """Who asks: an IP address, or the path of a socket of this host."""
    address: Any = request.getClientAddress()
    host = getattr(address, "host", None)
    return host if isinstance(host, str) else "a process of this host"


def _is_this_host(who: str) -> bool:
    try:
        return ipaddress.ip_address(who.removeprefix("::ffff:")).is_loopback
    except ValueError:
        return True


class AppendResources:
    """Protocol 2 for agents over one `Frontend`."""

    def __init__(self, frontend: Frontend, max_body: int, clock: IReactorTime) -> None:
        self._frontend = frontend
        self._max_body = max_body
        self._clock = clock

    def leaves(self) -> dict[str, Resource]:
        """Path -> resource."""
        append = self.append
        return {
            "v2/append": Leaf(post=lambda request: Deferred.fromCoroutine(append(request))),
            "v2/topology": Leaf(get=self.topology),
        }

    def topology(self, request: Request) -> None:
        """What an agent has to know."""
        write_text(request, v2.encode_topology(self._frontend.topology()).decode(), content_type=JSON)

    async def append(self, request: Request) -> None:
        """Batches into logs."""
        try:
            wanted = v2.decode_append_request(await self._body(request), HEADER_LIMIT)
            answer = await self._frontend.append(wanted)
        except FrameError as problem:
            raise Refusal(400, str(problem))
        except WrongClusterError as problem:
            write_json(request, {"error": str(problem), "cluster": problem.here}, 409)
            return
        except StoreError as problem:
            raise Refusal(503, f"Nothing is known of this request: {problem}", Retry_After="1")
        write_text(request, v2.encode_append_answer(answer).decode(), content_type=JSON)

    async def _body(self, request: Request) -> bytes:
        """The frame, inflated up to the limit."""
        content: Any = request.content
        body: bytes = content.read()
        encoding = (request.getHeader("content-encoding") or "identity").lower()
        if encoding == "identity":
            return body
        if encoding != "gzip":
            raise Refusal(415, f"Content-Encoding {encoding} is not known here; gzip and identity are.")
        try:
            return await inflated(body, self._max_body, Turns(self._clock))
        except zlib.error as problem:
            raise Refusal(400, f"The body is not a whole gzip stream: {problem}.")
        except LimitReached as problem:
            raise Refusal(413, f"The body is {problem}.")
