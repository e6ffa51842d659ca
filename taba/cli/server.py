"""Asking servers and agents over HTTP. `urllib` is imported when it is used, so that `--help` does not wait for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

DEFAULT_SERVER = "http://localhost:8300"
DEFAULT_AGENT = "http://localhost:8279"


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    text: str
    headers: Mapping[str, str] = {}
    """Names in lower case."""


class Unreachable(Exception):
    """Nobody answered; the text says why, in a few words. `may_have_arrived` tells whether somebody may have got the
    question all the same.
    """

    def __init__(self, text: str, may_have_arrived: bool = False) -> None:
        super().__init__(text)
        self.may_have_arrived = may_have_arrived


class Question(NamedTuple):
    """What is asked, and how."""

    url: str
    accept: str
    """The media type that the answer should have."""
    timeout: float
    """Seconds."""
    token: str | None = None
    """What to show to a server that asks for a token."""
    ca_file: str | None = None
    """The authorities to trust with https, as PEM; None for the platform's."""
    method: str = "GET"
    """POST for what changes something."""
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    """Beside Accept and the token."""


Fetch = Callable[[Question], Reply]
"""Given a Question: the Reply, whatever its status. Raises Unreachable, and ValueError for a `ca_file` that cannot be
used.
"""


def base_url(server: str) -> str:
    """A server as the user named it, as the beginning of URLs. Raises ValueError unless it is a host or an http URL."""
    url = server if "://" in server else f"http://{server}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{server!r} is not a server, such as {DEFAULT_SERVER}")
    parts.port  # noqa: B018  raises ValueError where it is no port number
    return url.rstrip("/")


def url_of(base: str, path: str, parameters: dict[str, str]) -> str:
    """A URL below `base`; commas, which stand between names, are left as they are."""
    query = "&".join(f"{name}={quote(value, safe=',:/')}" for name, value in parameters.items())
    return f"{base}{path}{'?' if query else ''}{query}"


def fetch(question: Question) -> Reply:
    """A Fetch by urllib. Proxies of the environment are used, but not to this machine itself. A token is not shown to
    whom the server redirects.
    """
    import socket
    import ssl
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import BaseHandler, HTTPSHandler, ProxyHandler, Request, build_opener

    from taba.client.engines.posting import verifying_context

    parts = urlsplit(question.url)
    handlers: list[BaseHandler] = []
    if parts.hostname in ("localhost", "127.0.0.1", "::1"):
        handlers.append(ProxyHandler({}))
    if parts.scheme == "https":
        handlers.append(HTTPSHandler(context=verifying_context(question.ca_file)))
    headers = {"Accept": question.accept, **question.headers}
    request = Request(question.url, question.body, headers, method=question.method)
    if question.token is not None:
        request.add_unredirected_header("Authorization", f"Bearer {question.token}")
    try:
        with build_opener(*handlers).open(request, timeout=question.timeout) as answer:
            return Reply(answer.status, answer.read().decode("utf-8", "replace"), _headers(answer))
    except HTTPError as error:
        with error:
            return Reply(error.code, error.read().decode("utf-8", "replace"), _headers(error))
    except URLError as error:
        # Whoever refuses a connection, or has no address, got nothing; of a time limit that passed one cannot tell.
        never = isinstance(error.reason, ConnectionRefusedError | socket.gaierror | ssl.SSLError)
        raise Unreachable(_say(error.reason), not never) from None
    except (OSError, HTTPException) as error:
        raise Unreachable(_say(error), True) from None


def _headers(answer: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


def _say(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__
