"""What nodes and proxies have in common: a configuration, a clock, connections to nodes, and an HTTP port for clients.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates

from taba.binding import check_endpoints, tcp_endpoint
from taba.errors import SettingsError, StartError
from taba.guarding import shared_token
from taba.process import Process
from taba.stopping import stop_in_turn
from taba.tako.clock import HybridClock
from taba.tako.configuration import Address
from taba.tako.http import TakoSite, Values
from taba.tako.peers import Peers, Surroundings
from taba.tako.placement import Placement
from taba.tako.router import Router
from taba.tako.settings import MemberSettings, Security
from taba.tako.source import ConfigurationSource
from taba.web.listening import Listening, listen

_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")


def interface_for(host: str) -> str:
    """The address to listen on for a host of the configuration: loopback for a loopback name, else all."""
    return ("::1" if host == "::1" else "127.0.0.1") if _LOOPBACK.fullmatch(host) else "0.0.0.0"


def internal_endpoint(host: str, port: int, security: Security) -> str:
    """The endpoint string of a node's internal port."""
    text = tcp_endpoint(interface_for(host), port)
    if security.tls_key is None:
        return text
    key = security.tls_key.replace("\\", "\\\\").replace(":", "\\:")
    return f"ssl:{port}:interface={interface_for(host)}:privateKey={key}:certKey={key}"


class TLSMaker:
    """Wraps connections to nodes in TLS, where that is set: the certificate has to be for the node's host."""

    def __init__(self, security: Security) -> None:
        """SettingsError for files that cannot be used."""
        self._wanted = security.tls_key is not None
        if not self._wanted:
            return
        try:
            assert security.tls_key is not None
            with open(security.tls_key, encoding="ascii") as file:
                self._own = PrivateCertificate.loadPEM(file.read())
            with open(security.tls_ca or security.tls_key, encoding="ascii") as file:
                self._trust = trustRootFromCertificates([Certificate.loadPEM(file.read().encode())])
        except Exception as problem:  # pyOpenSSL has several for a file that is no PEM
            raise SettingsError(f"The TLS files cannot be used: {problem}.")

    def endpoint(self, reactor: Any, address: Address) -> Any:
        """How to connect to a node."""
        plain = HostnameEndpoint(reactor, address.host, address.internal_port)
        if not self._wanted:
            return plain
        options = optionsForClientTLS(address.host, trustRoot=self._trust, clientCertificate=self._own)
        return wrapClientTLS(options, plain)


class Member(Service):
    """A node or a proxy. `startService` fires when it answers; StartError says why it cannot."""

    def __init__(self, settings: MemberSettings, process: Process) -> None:
        self.settings, self.process = settings, process
        reactor = process.reactor
        self.started_at = reactor.seconds()
        self.clock = HybridClock(process.wall, settings.max_ahead)
        self.token = shared_token(settings.security.token_file, reactor.seconds, process.say)
        self._cache = process.worker("tako-cache")
        self.source = ConfigurationSource(
            reactor,
            process.open_folder(settings.var),
            self._cache,
            settings.read_file,
            settings.coordinators,
            settings.update_seconds,
            self.token_to_show,
            lambda node: self.peers.get(node).ask("configuration", {}),
            say=process.say,
        )
        tls = TLSMaker(settings.security)
        around = Surroundings(
            settings.name,
            reactor,
            process.random,
            lambda address: tls.endpoint(reactor, address),
            lambda: self.source.version,
            self.source.heard,
            process.wall,
            self.token_to_show,
        )
        self.peers = Peers(around)
        self.clock.behind, self.clock.others = self.peers.behind, self.peers.other_clock
        self.router = Router(self.peers, self.clock, self.source.placement, self.source.renewed)
        self.values = Values(self.router, process.new_id)
        self.listening: Listening | None = None

    def token_to_show(self) -> str | None:
        """The token for other processes, where one is shared."""
        return self.token.to_send()

    def accepts(self, shown: str) -> bool:
        """Whether a token, which may be empty, lets other processes in; compared in constant time."""
        guard = self.token.guard()
        return guard is None or guard.problem(b"/", [b"Bearer " + shown.encode()]) is None

    # ----------------------------------------------------------------------------------------------- start and stop

    def startService(self) -> Deferred[None]:
        """See the class."""
        super().startService()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        placement = await self.source.start()
        self._use(placement)
        self.source.listen(self._use)
        await self.open(placement)

    async def open(self, placement: Placement) -> None:
        """Open what this kind of member has."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """End a start that waits for coordinators: the process is to end."""
        self.source.stop()

    def _use(self, placement: Placement) -> None:
        self.peers.use(placement.configuration.nodes())
        self.renewed(placement)

    def renewed(self, placement: Placement) -> None:
        """A placement is in force."""

    async def serve(self, endpoints: Sequence[str], resource: Any) -> None:
        """Open the HTTP port; StartError when it cannot be had."""
        check_endpoints(
            endpoints, token=self.settings.security.token_file is not None, insecure=self.settings.security.insecure
        )
        site = TakoSite(resource, self.process.reactor, self.values, self.token.guard())
        self.listening = await listen(self.process.reactor, endpoints, site)

    def stopService(self) -> Deferred[Any]:
        """Fires when nothing is open any more."""
        super().stopService()
        self.source.stop()
        closing = [self.listening.close] if self.listening is not None else []
        steps = [*closing, *self.closing(), self.peers.close, self._cache.stop]
        stopped: Deferred[Any] = stop_in_turn(*steps)
        return stopped

    def closing(self) -> list[Any]:
        """What this kind of member closes, in turn."""
        return []


def own_address(placement: Placement, node: str) -> Address:
    """Where a node is; StartError, with those there are, when the configuration does not know it."""
    nodes = placement.configuration.nodes()
    if node not in nodes:
        raise StartError(f"The configuration has no node {node}; there are {', '.join(sorted(nodes))}.")
    return nodes[node]
