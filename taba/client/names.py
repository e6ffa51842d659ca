"""What a client id, a tab name and a Type name may look like, and what an event URL may.

The same rule as the agent's and the server's, written again because `taba.client` imports only the standard library.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeGuard
from urllib.parse import urlsplit, urlunsplit

MAX_NAME_LENGTH = 512  # characters, and bytes too: all that are allowed are ASCII

POST = "post"
"""The last part of the path that protocol 1 is posted to."""
COLUMNS = "v2/events"
"""What stands in its place for protocol 2."""

_NAME = re.compile(rf"[A-Za-z0-9._~:/?@!$()*+;=-]{{1,{MAX_NAME_LENGTH}}}\Z")


def is_valid_name(name: object) -> TypeGuard[str]:
    """Whether `name` can name a client, a tab or a Type: 1 to 512 characters of ``A-Za-z0-9._~:/?@!$()*+;=-``."""
    return isinstance(name, str) and _NAME.match(name) is not None


class Endpoint(NamedTuple):
    """Where events are posted to."""

    secure: bool
    """True for https."""
    host: str
    port: int
    target: str
    """The path with the query, as it stands in the request line. Protocol 1 goes there."""
    columns: str | None
    """The same for protocol 2; None where it has no place beside the path of the URL."""

    def target_of(self, protocol: int) -> str:
        """Where a request of protocol 1 or 2 goes."""
        return self.target if protocol == 1 or self.columns is None else self.columns


def parse_url(url: str) -> Endpoint:
    """The parts of an http or https URL. Raises ValueError, whose text says what is wrong, for anything else."""
    if not isinstance(url, str):
        raise ValueError(f"the event URL must be a string such as http://localhost:8279/post, not {url!r}")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the event URL must look like http://localhost:8279/post, not {url!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the event URL cannot carry a user name or password")
    query = f"?{parts.query}" if parts.query else ""
    folder, _, last = (parts.path or "/").rpartition("/")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"the event URL must be percent-encoded ASCII, not {url!r}")
    secure = parts.scheme == "https"
    port = parts.port  # raises ValueError where it is no port number
    return Endpoint(
        secure,
        parts.hostname,
        port if port is not None else (443 if secure else 80),
        (parts.path or "/") + query,
        f"{folder}/{COLUMNS}{query}" if last == POST else None,
    )


def columns_url(url: str) -> str | None:
    """Where protocol 2 goes beside the event URL `url`: `/v2/events` beside `/post`, and None beside other paths."""
    parts = urlsplit(url)
    folder, _, last = parts.path.rpartition("/")
    return urlunsplit(parts._replace(path=f"{folder}/{COLUMNS}", fragment="")) if last == POST else None
