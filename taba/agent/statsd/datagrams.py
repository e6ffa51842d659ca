"""Datagrams from a UDP or UNIX socket, received natively and many at a time. IO."""

from __future__ import annotations

import os
import socket
import stat
import struct
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from taba.agent.statsd.endpoints import StatsdEndpoint
from taba.agent.statsd.gathering import Gatherer
from taba.errors import StartError

SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
DROPS = 8
"""Where the drops stand among the 32-bit numbers of SO_MEMINFO."""
MEMINFO_BYTES = 36


def open_udp(endpoint: StatsdEndpoint) -> socket.socket:
    """A bound UDP socket; OSError when it cannot be had."""
    family = socket.AF_INET6 if ":" in endpoint.interface else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.bind((endpoint.interface, endpoint.port))
    except OSError:
        opened.close()
        raise
    return opened


def open_unix(endpoint: StatsdEndpoint) -> socket.socket:
    """A bound UNIX socket of datagrams, in place of one that nobody serves any more; OSError when it cannot be had."""
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(endpoint.path).st_mode) and _is_dead(endpoint.path):
                os.unlink(endpoint.path)
        opened.bind(endpoint.path)
        os.chmod(endpoint.path, endpoint.mode)
    except OSError:
        opened.close()
        raise
    return opened


def _is_dead(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        return False


def set_buffer(opened: socket.socket, size: int) -> None:
    """Ask for a receive buffer: beyond the system's limit where this process may."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except OSError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def dropped(opened: socket.socket) -> int:
    """Datagrams that the kernel dropped since the socket was opened; 0 where it does not tell."""
    try:
        told = opened.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO_BYTES)
        return int(struct.unpack_from("=I", told, DROPS * 4)[0])
    except (OSError, struct.error):
        return 0


@implementer(IReadDescriptor)
class DatagramPort:
    """An open socket of datagrams, read by a reactor."""

    _log = Logger()

    def __init__(self, reactor: Any, endpoint: StatsdEndpoint, gatherer: Gatherer) -> None:
        """Opens the socket; StartError when it cannot be had."""
        self._reactor = reactor
        self._gatherer = gatherer
        self.endpoint = endpoint
        try:
            self._socket = open_unix(endpoint) if endpoint.kind == "unix" else open_udp(endpoint)
        except OSError as problem:
            raise StartError(
                f"Cannot listen on {endpoint.text}: {problem.strerror or problem}. Stop what listens there, or choose "
                "another place (STATSD_LISTEN)."
            )
        self._socket.setblocking(False)
        set_buffer(self._socket, endpoint.buffer)
        self._file = self._socket.fileno()
        self._dropped = 0
        self._failed = 0
        reactor.addReader(self)

    def name(self) -> str:
        """Where it is."""
        if self.endpoint.kind == "unix":
            return f"unix:{self.endpoint.path}"
        host, port = self._socket.getsockname()[:2]
        return f"udp://[{host}]:{port}" if ":" in host else f"udp://{host}:{port}"

    @property
    def port(self) -> int:
        """The number of a UDP port."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        """See IReadDescriptor."""
        return self._file

    def logPrefix(self) -> str:
        """See IReadDescriptor."""
        return "StatsD"

    def doRead(self) -> None:
        """Datagrams wait."""
        if self.endpoint.kind == "unix" and self._gatherer.dropping():
            self._gatherer.keep_waiting(self)  # so that they wait in the socket, and then their senders
            return
        received = self._gatherer.receive(self._file)
        if received.error and received.error != self._failed:
            self._log.error("StatsD: {name}: {why}", name=self.name(), why=os.strerror(received.error))
        self._failed = received.error

    def pauseProducing(self) -> None:
        """Read nothing until `resumeProducing`."""
        self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        """Read again, unless it is closed."""
        if self._socket.fileno() >= 0:
            self._reactor.addReader(self)

    def look(self) -> None:
        """See how many datagrams the kernel dropped, as long as the socket is open."""
        if self._socket.fileno() < 0:
            return
        drops = dropped(self._socket)
        if drops != self._dropped:
            self._gatherer.dropped_by_kernel((drops - self._dropped) & 0xFFFFFFFF)
            self._dropped = drops

    def connectionLost(self, reason: Any) -> None:
        """See IReadDescriptor: the reactor gives it up."""
        self.close()

    def close(self) -> None:
        """Take what still waits, and close the socket."""
        if self._socket.fileno() < 0:
            return
        self._reactor.removeReader(self)
        self._gatherer.receive(self._file)
        self.look()
        self._socket.close()
        if self.endpoint.kind == "unix":
            with suppress(OSError):
                os.unlink(self.endpoint.path)
