"""The HTTP resources of a server: the original's query endpoints, and protocol 2 for agents. Thin: parse, call one
function, write.

Text and JSON look as the original's did; content types are honest, and errors are 400 with the reason.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request

from taba.errors import FrameError, LimitReached, StoreError
from taba.interfaces import Style
from taba.server.answering import ByClient, Items, PacedAnswer
from taba.server.asking import arguments, refusing, style_of
from taba.server.frontend import Frontend, WrongClusterError
from taba.server.inflating import inflated
from taba.server.parameters import Parameters, parse
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
        return {path: Leaf(get=refusing(answer), post=refusing(answer)) for path, answer in answers.items()}

    def _parameters(self, request: Request, allowed: Collection[str]) -> Parameters:
        body: Any = request.content
        return parse(arguments(request.uri), body.read(), allowed)

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
