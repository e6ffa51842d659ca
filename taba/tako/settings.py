"""What the commands of Tako are told on the command line, as frozen values."""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from taba.tako.clock import MAX_AHEAD

DEFAULT_VAR = "tako-var"
STOP_SECONDS = 12.0
"""Within which a process ends when it is asked to, whatever it waits for."""
UPDATE_SECONDS = 60.0


@frozen
class Security:
    """Who may come, and how connections between nodes are protected."""

    token_file: str | None = None
    tls_key: str | None = None
    """Private key and certificate of this process, as PEM; then nodes talk TLS to each other."""
    tls_ca: str | None = None
    """The authorities that other nodes' certificates have to be from."""
    insecure: bool = False


@frozen
class MemberSettings:
    """Of a node or a proxy."""

    name: str
    """Its id."""
    var: str
    """The folder for all that it keeps."""
    coordinators: tuple[tuple[str, int], ...] = ()
    read_file: Callable[[], str] | None = field(default=None, repr=False)
    """Reads the configuration's file, if one was named."""
    update_seconds: float = UPDATE_SECONDS
    max_ahead: float = MAX_AHEAD
    security: Security = Security()
    listen: tuple[str, ...] = ()
    """Endpoint strings of more ports for clients, TLS ones for example."""
    stop_seconds: float = STOP_SECONDS


@frozen
class NodeSettings(MemberSettings):
    """Of a node."""

    database: str = "tako.db"
    """The name of the database's file in its folder."""
    database_folder: str | None = None
    """Where that is; None for `var`."""
    cache_bytes: int = 32 * 1024 * 1024
    """Memory for the records that were read or written last."""


@frozen
class ProxySettings(MemberSettings):
    """Of a proxy."""

    ports: tuple[int, ...] = ()
    interface: str = "127.0.0.1"


@frozen
class CoordinatorSettings:
    """Of a coordinator."""

    name: str
    read_file: Callable[[], str] = field(repr=False)
    var: str = DEFAULT_VAR
    update_seconds: float = UPDATE_SECONDS
    """How often one that is not the master asks the master."""
    security: Security = Security()
    stop_seconds: float = STOP_SECONDS
