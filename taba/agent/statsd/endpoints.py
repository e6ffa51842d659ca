"""Where an agent takes StatsD: endpoint strings in Twisted's style, taken apart and checked. Pure.

    udp:8125                         datagrams, loopback unless told: udp:8125:interface=10.0.0.1:buffer=8388608
    tcp:8126                         lines in a stream; also ssl:8126:privateKey=KEY.pem:certKey=CERTIFICATE.pem
    unix:/run/taba/statsd.sock       datagrams on this host; mode=660 for the socket's file
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import evolve, frozen
from twisted.internet.endpoints import quoteStringArgument

from taba.binding import MOST_PORT, EndpointString, Reach, check_endpoints
from taba.errors import SettingsError
from taba.native import STATSD_METRICS
from taba.settings import AgentSettings, ServerSettings

NAME = re.compile(r"[A-Za-z0-9._~:/?@!$()*+;=-]{1,512}")
KINDS = ("udp", "tcp", "ssl", "unix")
LOOPBACK = "127.0.0.1"
BUFFER_BYTES = 4 << 20
"""Asked of the kernel for a socket of datagrams."""
LEAST_BUFFER, MOST_BUFFER = 4096, 1 << 30
MODE = 0o666
EXAMPLES = "udp:8125, udp:8125:interface=10.0.0.1, tcp:8126 and unix:/run/taba/statsd.sock"


@frozen
class StatsdEndpoint:
    """One endpoint string, taken apart."""

    kind: str
    """One of KINDS."""
    text: str
    """As Twisted takes it, with an address, for `tcp` and `ssl`."""
    port: int = 0
    interface: str = LOOPBACK
    path: str = ""
    buffer: int = BUFFER_BYTES
    mode: int = MODE

    @property
    def datagrams(self) -> bool:
        """Whether it takes datagrams, and no streams."""
        return self.kind in ("udp", "unix")


def parse(text: str) -> StatsdEndpoint:
    """An endpoint string; SettingsError says what is wrong with it."""
    parts = EndpointString.parse(text)
    if parts.kind not in KINDS:
        raise SettingsError(f"{text!r} is no endpoint for StatsD; there are {EXAMPLES}.")
    if parts.kind == "unix":
        return _unix(text, parts)
    port = parts.named.get("port", parts.positional[0] if parts.positional else "")
    if not port.isdecimal() or int(port) > MOST_PORT:
        raise SettingsError(f"{text!r} is no endpoint: {port!r} is no port, which is 0 to {MOST_PORT}.")
    if parts.kind == "udp":
        _only(text, parts, 1, ("port", "interface", "buffer"))
        interface = parts.named.get("interface", LOOPBACK)
        buffer = _number(text, parts, "buffer", BUFFER_BYTES, 10, LEAST_BUFFER, MOST_BUFFER)
        return StatsdEndpoint("udp", text, int(port), interface, buffer=buffer)
    if "interface" not in parts.named:
        parts = evolve(parts, named={**parts.named, "interface": LOOPBACK})
    return StatsdEndpoint(parts.kind, str(parts), int(port), parts.named["interface"])


def _unix(text: str, parts: EndpointString) -> StatsdEndpoint:
    _only(text, parts, 1, ("address", "mode", "buffer"))
    path = parts.named.get("address", parts.positional[0] if parts.positional else "")
    if not path:
        raise SettingsError(f"{text!r} is no endpoint: it names no file for the socket.")
    mode = _number(text, parts, "mode", MODE, 8, 0, 0o777)
    buffer = _number(text, parts, "buffer", BUFFER_BYTES, 10, LEAST_BUFFER, MOST_BUFFER)
    return StatsdEndpoint("unix", text, path=path, buffer=buffer, mode=mode)


def _only(text: str, parts: EndpointString, positional: int, named: Sequence[str]) -> None:
    """SettingsError for an argument that means nothing."""
    unknown = [*parts.positional[positional:], *(name for name in parts.named if name not in named)]
    if unknown:
        raise SettingsError(f"{text!r} is no endpoint: {unknown[0]!r} means nothing there.")


def _number(text: str, parts: EndpointString, name: str, default: int, base: int, least: int, most: int) -> int:
    given = parts.named.get(name)
    if given is None:
        return default
    try:
        value = int(given, base)
    except ValueError:
        value = -1
    if not least <= value <= most:
        raise SettingsError(f"{text!r} is no endpoint: {name} cannot be {given!r}.")
    return value


def check_statsd(settings: AgentSettings | ServerSettings) -> None:
    """SettingsError for settings of StatsD that cannot be used, and for an endpoint that lets strangers in unless
    `insecure`: StatsD knows no tokens, so whoever reaches the port can write.
    """
    for metric in settings.statsd_types:
        if metric not in STATSD_METRICS:
            raise SettingsError(f"STATSD_TYPES: {metric!r} is no metric; there are {', '.join(STATSD_METRICS)}.")
    if settings.statsd_client is not None and not NAME.fullmatch(settings.statsd_client):
        raise SettingsError(f"STATSD_CLIENT: {settings.statsd_client!r} cannot be the name of a client.")
    for text in settings.statsd_listen:
        found = parse(text)
        if found.kind in ("tcp", "ssl"):
            check_endpoints([found.text], token=True, insecure=True)
        local = found.kind == "unix" or _as_tcp(found).reach is Reach.LOCAL
        if not local and not settings.insecure:
            raise SettingsError(
                f"STATSD_LISTEN: {text} lets every host that reaches it write, since StatsD knows no tokens. Listen on "
                "127.0.0.1, or say --insecure (INSECURE in a settings file) if that is meant."
            )


def _as_tcp(endpoint: StatsdEndpoint) -> EndpointString:
    return EndpointString.parse(f"tcp:{endpoint.port}:interface={quoteStringArgument(endpoint.interface)}")


def with_absolute_path(text: str) -> str:
    """The same endpoint, files named from the root: a daemon may change its folder. What is no endpoint stays."""
    parts = EndpointString.parse(text)
    if parts.kind not in ("unix", "ssl"):
        return text
    if parts.kind == "unix" and not parts.positional and "address" not in parts.named:
        return text
    return str(parts.with_absolute_paths())
