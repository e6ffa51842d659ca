"""Where a server listens."""

from __future__ import annotations

from attrs import frozen


@frozen
class Address:
    """Where a server listens: a name or an IP address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
