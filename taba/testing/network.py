"""A network in memory between named hosts: ordered byte streams that are late, cut in pieces, stalled, reset and
delivered again.

`MemoryNetwork` knows the hosts (a name and an address each), who listens where, every open connection, and which
pairs of hosts cannot reach each other now. Its faults are verbs: `partition` and `heal`, `drop_connection`, `delay`,
`redeliver`. All delays and cuts come from the random generator that it is given, so that a run is a function of the
seed. The ends of a connection are in transport.py.

A host that has been added answers: connecting to a port where nobody listens is refused. Connecting to an address
that nobody has times out, and so does connecting through a partition. Not simulated: UDP, IPv6 addresses (names
resolve to IPv4), loss of single packets (TCP hides it: it is delay here), routing, and bandwidth other than through
the window.
"""

from __future__ import annotations

import errno
import os
import re
import zlib
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, DNSLookupError
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from taba.testing.clock import CallOwner, HeapClock
from taba.testing.connecting import LOOPBACK, MemoryConnector, MemoryPort
from taba.testing.pipe import Connection, Pipe, Signal
from taba.testing.recorder import RequestCutter
from taba.testing.redelivery import RecordedRequest, Redelivery, RedeliveryFactory
from taba.testing.transport import MemoryTransport

_LOOPBACK_NAMES = frozenset(("localhost", LOOPBACK, "::1"))
_ANY_INTERFACE = frozenset(("", "0.0.0.0", "::"))
_FIRST_EPHEMERAL_PORT = 32768
SMALL = 512
"""Bytes; what is sent and is no longer than this is cut more rarely."""
_DATE_LINE = re.compile(rb"\r\nDate: [^\r\n]*")


def lan_delay(random: Random) -> float:
    """Seconds that a chunk takes: some 1 ms as a rule, at times 50 ms, rarely 300 ms (a lost packet, sent again)."""
    kind = random.random()
    if kind < 0.97:
        return 0.0001 + 0.002 * random.random()
    return 0.05 * random.random() if kind < 0.997 else 0.3 * random.random()


@define(eq=False, repr=False)
class MemoryNetwork:
    """All hosts, ports and connections of a world. Single-threaded, on one clock.

    `on_note` is told a line for everything that happens (for traces); `on_verb` of each fault with the hosts it
    touched.
    """

    clock: HeapClock
    random: Random
    on_note: Callable[[str], None] | None = None
    on_verb: Callable[[str, tuple[str, ...]], None] | None = None
    latency: Callable[[Random], float] = lan_delay
    """Seconds that the next chunk takes."""
    retransmission: float = 1.0
    """Seconds within which what a partition held back arrives after `heal`."""
    window: int = 65536
    """Bytes of one direction that may be under way or unread; a sender waits when so many are."""
    max_chunk: int = 65536
    """Bytes that arrive at once at most."""
    names: dict[str, tuple[str, ...]] = field(factory=dict, init=False)
    """Names that are no hosts' own -> the hosts that they stand for, as DNS may have them; tests change it."""
    requests: deque[RecordedRequest] = field(factory=deque, init=False)
    """What the recorder has kept, oldest first."""
    _addresses: dict[str, str] = field(factory=dict, init=False)
    _names: dict[str, str] = field(factory=dict, init=False)
    _ports: dict[tuple[str, int, str], MemoryPort] = field(factory=dict, init=False)
    _connections: dict[int, Connection] = field(factory=dict, init=False)
    _connection_count: int = field(default=0, init=False)
    _last_ephemeral: dict[str, int] = field(factory=dict, init=False)
    _cuts: set[tuple[str, str]] = field(factory=set, init=False)
    _delays: dict[tuple[str, str], float] = field(factory=dict, init=False)
    _recorded_path: Callable[[bytes], bool] | None = field(default=None, init=False)
    _request_count: int = field(default=0, init=False)

    # --------------------------------------------------------------------------------------------------------- hosts

    def add_host(self, name: str) -> str:
        """Add a host; its address. Names are as in host names: letters, digits, hyphens and dots."""
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name) or name in _LOOPBACK_NAMES:
            raise ValueError(f"{name!r} is no name for a host")
        if name in self._addresses:
            raise ValueError(f"there is a host {name!r} already")
        number = len(self._addresses) + 1
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self._addresses[name] = address
        self._names[address] = name
        return address

    def address_of(self, name: str) -> str:
        """The address of a host; KeyError when there is none of that name."""
        return self._addresses[name]

    def hosts(self) -> list[str]:
        """The names of all hosts, in the order in which they were added."""
        return list(self._addresses)

    def find_address(self, source: str, host: str) -> str | None:
        """What `host` (a name or an address) resolves to on `source`, or None."""
        return next(iter(self.find_addresses(source, host)), None)

    def find_addresses(self, source: str, host: str) -> list[str]:
        """All addresses that `host` resolves to on `source`."""
        if host in _LOOPBACK_NAMES:
            return [LOOPBACK]
        if host in self._addresses or host in self.names:
            return [self._addresses[each] for each in self.names.get(host, (host,))]
        return [host] if re.fullmatch(r"\d+\.\d+\.\d+\.\d+", host) else []

    # ------------------------------------------------------------------------------------------------------- listening

    def listen(
        self, owner: CallOwner | None, host: str, port: int, factory: IProtocolFactory, interface: str = ""
    ) -> MemoryPort:
        """Listen on `port` of `host`, 0 for any free one; raises CannotListenError when it is taken or the interface
        is not the host's.
        """
        if interface in _ANY_INTERFACE:
            scope = "any"
        elif interface in _LOOPBACK_NAMES:
            scope = "loopback"
        elif interface in (host, self._addresses[host]):
            scope = "external"
        else:
            error = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
            raise CannotListenError(interface, port, error)
        memory_port = MemoryPort(self, owner, host, port or self._ephemeral_port(host), scope, factory)
        memory_port.startListening()
        return memory_port

    def open_port(self, port: MemoryPort) -> None:
        """Let connections find `port`; for MemoryPort."""
        rivals = ("any", "loopback", "external") if port.scope == "any" else ("any", port.scope)
        if any((port.host, port.port, scope) in self._ports for scope in rivals):
            error = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            raise CannotListenError(port.scope, port.port, error)
        self._ports[port.host, port.port, port.scope] = port
        self.note(f"listen {port.host}:{port.port} {port.scope}")

    def close_port(self, port: MemoryPort) -> None:
        """Let connections to `port` be refused; for MemoryPort."""
        self._ports.pop((port.host, port.port, port.scope), None)
        self.note(f"close {port.host}:{port.port} {port.scope}")

    def ports_of(self, owner: CallOwner) -> list[MemoryPort]:
        """The ports on which a process listens."""
        return [port for port in self._ports.values() if port.owner is owner]

    # ------------------------------------------------------------------------------------------------------ connecting

    def connect(
        self,
        owner: CallOwner | None,
        source: str,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float | None = 30.0,
    ) -> MemoryConnector:
        """Connect from `source` to `port` of `host`, a name or an address; the factory is told as Twisted's
        connectTCP tells it.
        """
        connector = MemoryConnector(self, owner, source, host, port, factory, timeout)
        connector.connect()
        return connector

    def open_connection(self, connector: MemoryConnector) -> MemoryTransport:
        """Send the SYN of an attempt; for MemoryConnector."""
        source, host = connector.source, connector.host
        address = self.find_address(source, host)
        loopback = address == LOOPBACK
        target = source if loopback else self._names.get(address or "", "")
        self._connection_count += 1
        connection = Connection(self, self._connection_count, source, target, connector.port, loopback)
        if self._recorded_path is not None and connector.owner is not None:
            connection.cutter = RequestCutter(self._recorded_path)
        own = IPv4Address("TCP", LOOPBACK if loopback else self._addresses[source], self._ephemeral_port(source))
        peer = IPv4Address("TCP", address or host, connector.port)
        transport = MemoryTransport(connection, connection.up, connection.down, connector.owner, own, peer, connector)
        connection.client = transport
        self._connections[connection.number] = connection
        self.note(f"connect {connection.number} {source} {host}:{connector.port}")
        if address is None:
            self.clock.callLater(0, transport.failIfNotConnected, DNSLookupError(f"there is no host {host!r}"))
        elif target:  # else nobody has the address, and nobody answers
            connection.up.put(Signal.SYN)
        return transport

    def syn_arrived(self, connection: Connection) -> None:
        """Accept or refuse a connection; for Connection."""
        port = self._port_for(connection)
        if port is None:
            connection.down.put(Signal.REFUSED)
            return
        client = connection.client
        server = MemoryTransport(connection, connection.down, connection.up, port.owner, client.peer, client.host)
        connection.server = server
        connection.down.put(Signal.ACCEPTED)
        try:
            protocol = port.factory.buildProtocol(client.host)
        except Exception:
            if port.owner is None:
                raise
            port.owner.call_failed(Failure())
            protocol = None
        server.established(protocol)

    def _port_for(self, connection: Connection) -> MemoryPort | None:
        scope = "loopback" if connection.loopback else "external"
        key = (connection.server_host, connection.port)
        return self._ports.get((*key, "any")) or self._ports.get((*key, scope))

    def _ephemeral_port(self, host: str) -> int:
        port = self._last_ephemeral.get(host, _FIRST_EPHEMERAL_PORT - 1) + 1
        self._last_ephemeral[host] = port if port < 65535 else _FIRST_EPHEMERAL_PORT - 1
        return port

    def connections(self, a: str | None = None, b: str | None = None) -> list[Connection]:
        """The open connections (also half-open ones), oldest first: all, those of one host, or those between two."""
        return [
            connection
            for connection in self._connections.values()
            if {a, b} - {None} <= {connection.client_host, connection.server_host}
            and (a is None or a != b or connection.client_host == connection.server_host)
        ]

    def connections_of(self, owner: CallOwner) -> list[MemoryTransport]:
        """The open transports of a process, oldest first."""
        ends = [end for connection in self._connections.values() for end in connection.ends()]
        return [end for end in ends if end.owner is owner and not end.disconnected]

    def forget(self, connection: Connection) -> None:
        """Nothing can happen on `connection` any more; for Connection."""
        self._connections.pop(connection.number, None)

    def kill(self, owner: CallOwner) -> list[object]:
        """A process is gone: its ports close and its connections end, without a word to it.

        What was killed is returned, to be kept as what `HeapClock.drop` returns.
        """
        ports, transports = self.ports_of(owner), self.connections_of(owner)
        for port in ports:
            self.close_port(port)
        for transport in transports:
            transport.kill()
        return [*ports, *transports]

    # --------------------------------------------------------------------------------------------------------- faults

    def partition(self, a: str, b: str) -> None:
        """Cut the network between two hosts: what either sends stays under way, and nobody is told."""
        self._check_hosts(a, b)
        self._verb("partition", a, b)
        self._cuts.update(((a, b), (b, a)))
        for pipe in self._pipes(a, b):
            pipe.stop()

    def heal(self, a: str | None = None, b: str | None = None) -> None:
        """Join two hosts again, or (without arguments) all: what was held back arrives within `retransmission`
        seconds, in order.
        """
        pairs = self.cuts() if a is None or b is None else [(a, b)]
        for one, other in pairs:
            if (one, other) not in self._cuts:
                continue
            self._verb("heal", one, other)
            self._cuts -= {(one, other), (other, one)}
            for pipe in self._pipes(one, other):
                pipe.retransmit(self.random.random() * self.retransmission)
                pipe.connection.forget_if_over()

    def drop_connection(self, a: str, b: str) -> int:
        """Reset all connections between two hosts: what is under way is lost, and both ends learn of it at their next
        turn. How many.
        """
        self._check_hosts(a, b)
        self._verb("drop_connection", a, b)
        dropped = self.connections(a, b)
        for connection in dropped:
            connection.up.clear()
            connection.down.clear()
            ends = connection.ends()
            self.random.shuffle(ends)
            for end in ends:
                end.reset()
            connection.forget_if_over()
        return len(dropped)

    def delay(self, a: str, b: str, seconds: float) -> None:
        """From now on everything between two hosts takes `seconds` longer; 0 ends it."""
        self._check_hosts(a, b)
        self._verb("delay", a, b)
        self._delays[a, b] = self._delays[b, a] = seconds

    def record(self, wanted: Callable[[bytes], bool], limit: int = 1000) -> None:
        """From now on keep the last `limit` whole requests that processes send on new connections, of paths that
        `wanted` says yes to.
        """
        self._recorded_path = wanted
        self.requests = deque(self.requests, maxlen=limit)

    def redeliver(self, request: RecordedRequest, hold: float = 30.0) -> Redelivery:
        """Send the bytes of a request again, on a new connection from the host that sent them; the answer is thrown
        away.

        The connection stays open for `hold` seconds, so that an answer that takes long is not cancelled.
        """
        self._verb("redeliver", request.target)
        redelivery = Redelivery(request)
        host = LOOPBACK if request.loopback else request.target
        self.connect(None, request.source, host, request.port, RedeliveryFactory(redelivery, self.clock, hold))
        return redelivery

    def is_cut(self, a: str, b: str) -> bool:
        """Whether a partition lies between two hosts."""
        return (a, b) in self._cuts

    def cuts(self) -> list[tuple[str, str]]:
        """The pairs of hosts between which a partition lies, each once, sorted."""
        return sorted(pair for pair in self._cuts if pair[0] < pair[1])

    def _pipes(self, a: str, b: str) -> list[Pipe]:
        return [pipe for connection in self.connections(a, b) for pipe in (connection.up, connection.down)]

    def _check_hosts(self, *names: str) -> None:
        for name in names:
            if name not in self._addresses:
                raise ValueError(f"there is no host {name!r}")

    # -------------------------------------------------------------------------------- for the ends and their pipes

    def chunk_length(self, available: int) -> int:
        """How many of `available` bytes arrive together: often all, at times any number, now and then very few. What
        is small is cut more rarely: most of what is sent is small, and what cutting it shows is soon seen.
        """
        limit = available if available < self.max_chunk else self.max_chunk
        kind = self.random.random()
        if kind < (0.6 if limit > SMALL else 0.92):
            return limit
        return self.random.randint(1, limit if kind < 0.9 else min(limit, 16))

    def delay_between(self, a: str, b: str) -> float:
        """Seconds that the next chunk from `a` to `b` takes."""
        return self.latency(self.random) + self._delays.get((a, b), 0.0)

    def sent(self, connection: Connection, data: bytes) -> None:
        """Show the recorder what a client sent."""
        assert connection.cutter is not None
        for whole in connection.cutter.receive_data(data):
            self._request_count += 1
            self.requests.append(
                RecordedRequest(
                    self._request_count,
                    self.clock.seconds(),
                    connection.client_host,
                    connection.server_host,
                    connection.port,
                    connection.loopback,
                    whole.method,
                    whole.target,
                    whole.raw,
                )
            )

    def note(self, line: str) -> None:
        """Put a line into the trace."""
        if self.on_note is not None:
            self.on_note(line)

    def note_bytes(self, line: str, data: bytes) -> None:
        """Put a line into the trace, with the length and checksum of `data`.

        The Date line of an HTTP answer does not count: twisted.web takes it from the real time, and it is the one
        thing on the wire that differs from run to run.
        """
        if self.on_note is not None:
            counted = _DATE_LINE.sub(b"", data, count=1) if data.startswith(b"HTTP/1.") else data
            self.on_note(f"{line} {len(data)} {zlib.crc32(counted):08x}")

    def _verb(self, verb: str, *hosts: str) -> None:
        self.note(f"{verb} {' '.join(hosts)}")
        if self.on_verb is not None:
            self.on_verb(verb, hosts)
