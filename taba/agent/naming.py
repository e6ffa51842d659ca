"""The servers of an agent, address by address: names are looked up again and again, and followed.

Every address of a name is a server of its own, with its own connections: the agent spreads its requests over them by
what it measures, and loses none of them when one is silent. All addresses count, of both versions of IP. What is asked
there is asked in the name's words: its Host header, and its certificate.

A name is looked up when the service starts, and every LOOK_UP_SECONDS at most from then on, with jitter, because the
resolver of a machine does not say how long its answer is good for. An address that is new is used at once; one that is
not in an answer any more is left at once: what is under way there may end, idle connections are closed. A look-up that
fails, or finds nothing, changes nothing. Until a name was found the first time it is tried as it is, so that the log
says what is wrong with it.

Addresses, and `localhost`, are never looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, Protocol

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.interfaces import IAddress, IDelayedCall, IHostResolution, IReactorTime, IResolutionReceiver
from twisted.logger import Logger
from zope.interface import implementer

from taba.agent.endpoint import IEndpoint
from taba.settings import Endpoint

LOOK_UP_SECONDS = 30.0
"""Between two look-ups of a name, at most; half of that at least."""
LIMIT_SECONDS = 10.0
"""A look-up that takes longer is given up."""
MAX_ADDRESSES = 64
"""Of a name; the first ones in the order of their text."""

LookUp = Callable[[str], "Deferred[Sequence[str]]"]
"""Gives the addresses of a name; none, or any error, when it is not found."""


class Connected(Protocol):
    """A server at one address, or by its name as it is."""

    @property
    def endpoint(self) -> Any:
        """What is asked: an IEndpoint."""

    def leave(self) -> None:
        """Close the connections, when what is under way has ended."""


Connect = Callable[[Endpoint, "str | None"], Connected]
"""Makes a server of what the settings say and one of its addresses; of None by its name."""


def is_name(host: str) -> bool:
    """Whether a host is to be looked up."""
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


@define(eq=False)
class _Named:
    """A server as the settings name it."""

    server: Endpoint
    found: dict[str | None, Connected] = field(factory=dict)
    """By address; under None by its name, while it was not found yet."""


class NamedServers(Service):
    """Keeps the servers that settings name. To be used in the reactor's thread."""

    _log = Logger()

    def __init__(
        self,
        servers: Sequence[Endpoint],
        connect: Connect,
        look_up: LookUp,
        clock: IReactorTime,
        chance: Callable[[], float],
    ) -> None:
        """`chance` gives numbers in [0, 1)."""
        self._named = [_Named(each, {None: connect(each, None)}) for each in servers]
        self._connect = connect
        self._look_up = look_up
        self._clock = clock
        self._chance = chance
        self._timer: IDelayedCall | None = None
        self._asking: Deferred[None] | None = None
        self.changed: Callable[[Sequence[IEndpoint]], None] = lambda endpoints: None
        """Called with all servers when they are others than before; to be set before the start."""

    def endpoints(self) -> list[IEndpoint]:
        """All servers that are known now, in the order of the settings."""
        return [each.endpoint for named in self._named for each in named.found.values()]

    def startService(self) -> None:
        """Look up all names; does not wait for answers."""
        super().startService()
        if any(is_name(each.server.host) for each in self._named):
            self._again()

    def stopService(self) -> Any:
        """Look up nothing more, and close all connections that are idle."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asking is not None:
            self._asking.cancel()
        for named in self._named:
            for each in named.found.values():
                each.leave()

    def _again(self) -> None:
        self._timer = None
        asking: Deferred[None] = self._look_all_up()
        self._asking = asking
        asking.addErrback(lambda failure: None if failure.check(CancelledError) else self._failed(failure))
        asking.addCallback(lambda _: self._wait())

    def _failed(self, failure: Any) -> None:
        self._log.failure("Names of servers could not be followed", failure)

    def _wait(self) -> None:
        self._asking = None
        if self.running:
            pause = LOOK_UP_SECONDS * (0.5 + 0.5 * self._chance())
            self._timer = self._clock.callLater(pause, self._again)

    @inlineCallbacks
    def _look_all_up(self):  # type: ignore[no-untyped-def]
        hosts = dict.fromkeys(each.server.host for each in self._named if is_name(each.server.host))
        asked = [(host, self._look_up(host)) for host in hosts]
        for host, looking in asked:
            try:
                addresses = yield looking.addTimeout(LIMIT_SECONDS, self._clock)
            except CancelledError:
                raise
            except Exception as problem:
                self._log.debug("{host} was not found: {problem}", host=host, problem=problem)
                continue
            if self.running and addresses:
                self._follow(host, sorted(set(addresses))[:MAX_ADDRESSES])

    def _follow(self, host: str, addresses: Sequence[str]) -> None:
        """Use these addresses of a name, and no others."""
        moved = [each for each in self._named if each.server.host == host and list(each.found) != list(addresses)]
        if not moved:
            return
        left: list[Connected] = []
        for named in moved:
            left += [each for address, each in named.found.items() if address not in addresses]
            named.found = {
                address: named.found.get(address) or self._connect(named.server, address) for address in addresses
            }
        self._log.info("{host} is at {addresses}", host=host, addresses=", ".join(addresses))
        self.changed(self.endpoints())
        for each in left:
            each.leave()


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects the addresses of one look-up."""

    def __init__(self) -> None:
        self.done: Deferred[Sequence[str]] = Deferred()
        self._addresses: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Called by the resolver."""

    def addressResolved(self, address: IAddress) -> None:
        """Called by the resolver."""
        host = getattr(address, "host", None)
        if isinstance(host, str):
            self._addresses.append(host)

    def resolutionComplete(self) -> None:
        """Called by the resolver."""
        if not self.done.called:
            self.done.callback(self._addresses)


def look_up_by(reactor: Any) -> LookUp:
    """Look names up as the reactor does."""

    def look_up(host: str) -> Deferred[Sequence[str]]:
        receiver = _Receiver()
        reactor.nameResolver.resolveHostName(receiver, host)
        return receiver.done

    return look_up
