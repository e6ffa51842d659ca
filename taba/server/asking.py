"""What requests to a server ask for: the style of the answer, parameters, and who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.web.server import Request

from taba.errors import SpoolError, StoreError
from taba.interfaces import Style
from taba.server.parameters import ParameterError, values_of
from taba.web.answers import Refusal, accepted
from taba.web.forwarded import Asker, TrustedProxies


def style_of(request: Request) -> Style:
    """What the request accepts: the first media type of its list that is known here; text when there is none."""
    for media in accepted(request):
        if media in ("*/*", "text/*", Style.TEXT.value):
            return Style.TEXT
        if media in ("application/*", Style.JSON.value):
            return Style.JSON
        if media == Style.DETAILED.value:
            return Style.DETAILED
    return Style.TEXT


def refusing(answer: Callable[[Request], Awaitable[None]]) -> Callable[[Request], Deferred[None]]:
    """Turn what an answer raises into the answers that say why."""

    async def refused(request: Request) -> None:
        try:
            await answer(request)
        except ParameterError as problem:
            raise Refusal(400, str(problem))
        except StoreError as problem:
            raise Refusal(503, f"The store does not answer: {problem}", Retry_After="1")
        except SpoolError as problem:
            raise Refusal(503, f"The agent in this server takes nothing: {problem}", Retry_After="1")

    return lambda request: Deferred.fromCoroutine(refused(request))


def arguments(uri: bytes) -> dict[bytes, list[bytes]]:
    """The parameters in a URL. Twisted's own drop one without `=`, such as `re` in `/tabs?name=a.*&re`."""
    found: dict[bytes, list[bytes]] = {}
    for each in uri.partition(b"?")[2].split(b"&"):
        name, _, value = each.replace(b"+", b" ").partition(b"=")
        if name:
            found.setdefault(unquote_to_bytes(name), []).append(unquote_to_bytes(value))
    return found


def values_in(request: Request, allowed: Collection[str]) -> dict[str, str]:
    """The parameters of a request, from its URL and from a JSON object in its body. ParameterError for others than
    those `allowed`.
    """
    body: Any = request.content
    return values_of(arguments(request.uri), body.read(), allowed)


def asker_of(request: Request, trusted: TrustedProxies) -> Asker:
    """Who asks, where proxies of which some are trusted may stand between."""
    address: Any = request.getClientAddress()
    host = getattr(address, "host", None)

    def header(name: str) -> Sequence[str]:
        return request.requestHeaders.getRawHeaders(name) or ()

    return trusted.asker(host if isinstance(host, str) else None, header)
