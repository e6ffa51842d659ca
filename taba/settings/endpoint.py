"""Where a server listens, as agents name it."""

from __future__ import annotations

from urllib.parse import urlsplit

import attrs
from attrs import field, frozen

from taba.binding import MOST_PORT


@frozen
class Endpoint:
    """Where a server listens, from an agent's point of view."""

    host: str = field(validator=attrs.validators.min_len(1))
    port: int = field(validator=[attrs.validators.ge(1), attrs.validators.le(MOST_PORT)])
    tls: bool = False

    def url(self) -> str:
        """The base URL of its HTTP port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"

    @classmethod
    def from_url(cls, url: str) -> Endpoint:
        """The endpoint of a base URL, http or https. ValueError when it has anything but scheme, host and port."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{url!r} is no URL such as https://HOST:PORT")
        if parts.query or parts.fragment or parts.username is not None or " " in url or not url.isprintable():
            raise ValueError(f"{url!r} is no URL such as https://HOST:PORT")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port if parts.port is not None else (443 if tls else 80), tls)
