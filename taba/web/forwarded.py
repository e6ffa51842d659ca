"""Who asks, where proxies stand between: the address that a request comes from, and whether that is this very host.
Pure.

`X-Forwarded-For` is a list of addresses: each proxy adds, or puts in its place, the one that it was asked by. Everybody
can write such a header, so it is believed only as far as it was written by whom the operator trusts (TRUSTED_PROXIES):
from the right, the first address that is not a trusted proxy's is who asked.

*This host* may do what nobody else may without a token. So that is taken from the peer alone, never from a header: a
request is local when its connection comes from loopback or a UNIX socket, and no header says that somebody else asked.
Through a proxy on this host it is local only when that is trusted, and every address that the header names is loopback,
too. A request that carries a proxy's header, though its peer is not trusted, is never local: the proxy may have brought
it from anywhere. `Forwarded` (RFC 7239) and the other headers of proxies are looked at for that purpose alone. A proxy
that adds no header at all cannot be told from a process of its host: it has to be made to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from attrs import frozen

FORWARDED_FOR = "x-forwarded-for"
OTHER_HEADERS = ("forwarded", "x-real-ip", "x-forwarded-host", "x-forwarded-proto", "via")
"""Further headers by which a proxy shows."""
UNIX = "unix"
"""The word for proxies that come by a UNIX socket, in TRUSTED_PROXIES."""
MOST_HOPS = 32
"""So many addresses of a header are looked at, from the right; who is behind more is not known."""
UNKNOWN = "unknown"

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@frozen
class Asker:
    """Who asks."""

    address: str
    """An IP address; `unix` for a process that came by a UNIX socket, or what a trusted proxy says in its place."""
    local: bool
    """Whether it is a process of this host, for sure."""

    def __str__(self) -> str:
        """For logs."""
        return "a process of this host" if self.address == UNIX else self.address


@frozen
class TrustedProxies:
    """The proxies whose word counts; none by default."""

    networks: tuple[Network, ...] = ()
    unix: bool = False
    """Whether that is so of those that come by a UNIX socket."""

    @classmethod
    def of(cls, entries: Sequence[str]) -> TrustedProxies:
        """Of TRUSTED_PROXIES: addresses, networks such as 10.0.0.0/8, and `unix`. ValueError says which is none."""
        networks: list[Network] = []
        for each in entries:
            if each == UNIX:
                continue
            try:
                networks.append(ip_network(each))
            except ValueError as problem:
                raise ValueError(f"{each!r} is neither an address nor a network such as 10.0.0.0/8: {problem}")
        return cls(tuple(networks), UNIX in entries)

    def asker(self, peer: str | None, header: Callable[[str], Sequence[str]]) -> Asker:
        """Who asks: `peer` is the address that the connection comes from, None for a UNIX socket; `header` gives the
        values of a header of the request, by its name in lower case, in their order.
        """
        at = address_in(peer) if peer is not None else None
        here = peer is None or (at is not None and at.is_loopback)
        shown = UNIX if peer is None else str(at or peer)
        hops = _hops(header(FORWARDED_FOR))
        others = any(header(name) for name in OTHER_HEADERS)
        if not hops:
            return Asker(shown, here and not others and not header(FORWARDED_FOR))
        if not self._trusts(peer, at):
            return Asker(shown, False)
        return self._behind(shown, hops, here and not self._says_otherwise(header))

    def _trusts(self, peer: str | None, at: Address | None) -> bool:
        return self.unix if peer is None else at is not None and self._knows(at)

    def _knows(self, address: Address) -> bool:
        return any(address.version == each.version and address in each for each in self.networks)

    @staticmethod
    def _says_otherwise(header: Callable[[str], Sequence[str]]) -> bool:
        """Whether a header names an asker in another way than the one that is believed."""
        return bool(header("forwarded"))

    def _behind(self, peer: str, hops: Sequence[str], local: bool) -> Asker:
        """Who stands behind a trusted peer."""
        asker = peer
        for hop in reversed(hops[-MOST_HOPS:]):
            at = address_in(hop)
            if at is None:
                return Asker(hop[:100] if hop.isascii() and hop.isprintable() else UNKNOWN, False)
            asker, local = str(at), local and at.is_loopback
            if not self._knows(at):
                return Asker(asker, local)
        return Asker(asker, local and len(hops) <= MOST_HOPS)


NO_PROXIES = TrustedProxies()
"""Nobody's word counts."""


def _hops(values: Sequence[str]) -> list[str]:
    """The addresses of a header, the farthest first; it may stand there several times."""
    return [each.strip() for value in values for each in value.split(",") if each.strip()]


def address_in(text: str) -> Address | None:
    """The address in `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`, an IPv4 one as such where it was
    written as IPv6; None where there is none.
    """
    inner = text.strip().strip('"')
    if inner.startswith("["):
        inner = inner[1:].partition("]")[0]
    elif inner.count(":") == 1:
        inner = inner.partition(":")[0]
    try:
        address = ip_address(inner.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
