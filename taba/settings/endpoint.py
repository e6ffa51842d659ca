"""Where a server listens, as agents name it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import attrs
from attrs import field, frozen

from taba.binding import MOST_PORT

_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")


@frozen
class Endpoint:
    """Where a server listens, from an agent's point of view."""

    host: str = field(validator=attrs.validators.min_len(1))
    port: int = field(validator=[attrs.validators.ge(1), attrs.validators.le(MOST_PORT)])
    tls: bool = False
    path: str = field(default="", validator=attrs.validators.matches_re(_PATH))
    """What stands before the paths of the server, where a proxy has it below one of its own, such as `/taba`: percent-
    encoded, and without a slash at the end.
    """

    def url(self) -> str:
        """The base URL of its HTTP port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}{self.path}"

    @classmethod
    def from_url(cls, url: str) -> Endpoint:
        """The endpoint of a base URL, http or https. ValueError when it has anything but scheme, host, port and path.
        """
        parts = urlsplit(url)
        path = parts.path.rstrip("/")
        if parts.scheme not in ("http", "https") or not parts.hostname or not _PATH.fullmatch(path):
            raise ValueError(f"{url!r} is no URL such as https://HOST:PORT or https://HOST/PATH")
        if parts.query or parts.fragment or parts.username is not None or " " in url or not url.isprintable():
            raise ValueError(f"{url!r} is no URL such as https://HOST:PORT or https://HOST/PATH")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port if parts.port is not None else (443 if tls else 80), tls, path)
