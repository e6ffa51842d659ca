"""The connections of an agent to one address of a server: a pool of its own, that can be closed when the address is a
server's no longer.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI, HTTPConnectionPool
from twisted.web.client import Agent as HTTPAgent
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from taba.agent.http_endpoint import TIMEOUT_SECONDS, HTTPEndpoint, client_of
from taba.settings import Endpoint


@implementer(IAgentEndpointFactory)
class AtAddress:
    """Connects to one address, whatever host a URL names; TLS still asks for a certificate of that host."""

    def __init__(self, reactor: Any, address: str, trust: IPolicyForHTTPS) -> None:
        self._reactor = reactor
        self._address = address
        self._trust = trust

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Called by twisted.web."""
        version = ip_address(self._address.partition("%")[0]).version
        kind: Any = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
        endpoint: IStreamClientEndpoint = kind(self._reactor, self._address, uri.port, timeout=TIMEOUT_SECONDS)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._trust.creatorForNetloc(uri.host, uri.port), endpoint)
        return endpoint


class Connection:
    """A server at an address, or by its name, and the pool of connections to it. See `naming.Connected`."""

    def __init__(
        self,
        reactor: Any,
        server: Endpoint,
        address: str | None,
        trust: IPolicyForHTTPS,
        token: Callable[[], str | None],
        most: int,
    ) -> None:
        """`most` is how many idle connections are kept."""
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = most
        url = server.url()
        if address is None:
            agent, name = HTTPAgent(reactor, trust, pool=self._pool), url
        else:
            factory = AtAddress(reactor, address, trust)
            agent, name = HTTPAgent.usingEndpointFactory(reactor, factory, self._pool), f"{url} ({address})"
        self.endpoint = HTTPEndpoint(url, client_of(agent), reactor, name=name, token=token)

    def leave(self) -> None:
        """Close the idle connections; what is under way ends first, and then its connection."""
        self._pool.cachedConnectionTimeout = 0
        self._pool.closeCachedConnections().addErrback(lambda _: None)
