"""Opening a TCP port, with a sentence for what is in the way."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from taba.errors import StartError
from taba.web.site import BoundedSite


@inlineCallbacks
def listen(reactor: Any, interface: str, port: int, site: BoundedSite):  # type: ignore[no-untyped-def]
    """Fires with the open IListeningPort; StartError when the port cannot be had. Port 0 takes a free one."""
    make = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    try:
        opened: IListeningPort = yield make(reactor, port, interface=interface).listen(site)
    except CannotListenError as problem:
        raise StartError(
            f"Cannot listen on {interface}:{port}: {problem.socketError}. "
            "Stop what listens there, or choose another port."
        )
    return opened
