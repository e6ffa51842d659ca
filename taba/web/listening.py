"""Opening the ports of a site, with a sentence for what is in the way."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from taba.binding import EndpointString, make_endpoint
from taba.errors import StartError
from taba.settings import Endpoint
from taba.stopping import stop_in_turn
from taba.web.site import BoundedSite


class Listening:
    """The open ports of one site."""

    def __init__(self) -> None:
        self._ports: list[tuple[str, IListeningPort]] = []

    def add(self, kind: str, port: IListeningPort) -> None:
        """One more port is open; `kind` is the first word of its endpoint string."""
        self._ports.append((kind, port))

    def urls(self) -> list[str]:
        """Where the site is, one URL a port; a UNIX socket as unix:PATH."""
        return [_url(kind, port.getHost()) for kind, port in self._ports]

    def plain(self) -> Endpoint | None:
        """Where a process of this host finds the site without TLS; None when it is not to be had by TCP."""
        for kind, port in self._ports:
            if kind in ("tcp", "tcp6"):
                at: Any = port.getHost()
                address = ip_address(at.host)
                if address.is_unspecified:  # it listens on all addresses, of which that is none to connect to
                    address = ip_address("127.0.0.1" if address.version == 4 else "::1")
                return Endpoint(str(address), at.port)
        return None

    @property
    def port(self) -> int:
        """The number of the first TCP port; ValueError when there is none."""
        for _, port in self._ports:
            number = getattr(port.getHost(), "port", None)
            if number is not None:
                return int(number)
        raise ValueError("no TCP port is open")

    def close(self) -> Any:
        """Fires when all ports are closed."""
        ports, self._ports = self._ports, []
        return stop_in_turn(*(port.stopListening for _, port in ports))


def _url(kind: str, address: Any) -> str:
    port = getattr(address, "port", None)
    if port is None:
        name = getattr(address, "name", b"")
        return f"{kind}:{name.decode('utf-8', 'replace') if isinstance(name, bytes) else name}"
    return Endpoint(address.host, port, tls=kind == "ssl").url()


@inlineCallbacks
def listen(reactor: Any, endpoints: Sequence[str], site: BoundedSite):  # type: ignore[no-untyped-def]
    """Fires with the Listening of all endpoint strings; StartError when one cannot be had, and then none is open. Port
    0 takes a free one.
    """
    listening = Listening()
    try:
        for text in endpoints:
            port = yield _open(reactor, text, site)
            listening.add(EndpointString.parse(text).kind, port)
    except StartError:
        yield listening.close()
        raise
    return listening


@inlineCallbacks
def _open(reactor: Any, text: str, site: BoundedSite):  # type: ignore[no-untyped-def]
    try:
        return (yield make_endpoint(reactor, text).listen(site))
    except CannotListenError as problem:
        where = f"{problem.interface or '*'}:{problem.port}" if isinstance(problem.port, int) else str(problem.port)
        raise StartError(
            f"Cannot listen on {where}: {problem.socketError}. Stop what listens there, or choose another port."
        )
    except OSError as problem:  # of a UNIX socket: its folder is not there, or may not be written
        raise StartError(f"Cannot listen on {text}: {problem.strerror or problem}.")
