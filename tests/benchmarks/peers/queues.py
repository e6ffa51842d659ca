"""What the kernel tells of a receiver's UDP queue: how full it is, and what was dropped.

The netlink socket of `ss` answers for one socket in about a microsecond, so the generator may look before every
datagram; /proc/net/udp takes a hundred times that, but tells of drops, and serves where netlink is not allowed.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from attrs import define, field, frozen

TABLES = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = struct.Struct("=IHHIIBBBBI2s2s4s12x4s12xI8s")
_WAITING_OFFSET = 72
_UDP = 17


@frozen
class Queue:
    """The UDP sockets on one port: bytes waiting, datagrams dropped since they were opened."""

    waiting: int
    dropped: int


def parse_udp_table(text: str, port: int) -> Queue:
    """All sockets on a port in the text of /proc/net/udp: the fullest queue, and all drops."""
    waiting = dropped = 0
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 12 and int(fields[1].rsplit(":", 1)[1], 16) == port:
            waiting = max(waiting, int(fields[4].split(":")[1], 16))
            dropped += int(fields[-1])
    return Queue(waiting, dropped)


def queue(port: int) -> Queue:
    """What the kernel tells of a port now."""
    found = [parse_udp_table(table.read_text(), port) for table in TABLES if table.exists()]
    return Queue(max(each.waiting for each in found), sum(each.dropped for each in found))


def diagnosis_request(sender: tuple[str, int], receiver: tuple[str, int]) -> bytes:
    """Asks netlink for the one IPv4 UDP socket that takes what this sender sends to that receiver."""
    here, there = socket.inet_aton(sender[0]), socket.inet_aton(receiver[0])
    ports = sender[1].to_bytes(2, "big"), receiver[1].to_bytes(2, "big")
    return _REQUEST.pack(
        _REQUEST.size, _SOCK_DIAG_BY_FAMILY, 1, 1, 0, socket.AF_INET, _UDP, 0, 0, 0xFFFFFFFF, *ports, here, there, 0,
        b"\xff" * 8,
    )  # fmt: skip


def parse_diagnosis(answer: bytes) -> int | None:
    """Bytes waiting, as netlink answers; None if it does not know the socket."""
    if len(answer) < _WAITING_OFFSET + 4 or struct.unpack_from("=H", answer, 4)[0] != _SOCK_DIAG_BY_FAMILY:
        return None
    waiting: int = struct.unpack_from("=I", answer, _WAITING_OFFSET)[0]
    return waiting


@define
class Gauge:
    """Tells a connected sender how many bytes wait in its receiver's queue; by netlink, else by /proc/net/udp."""

    _port: int
    _request: bytes
    _netlink: socket.socket | None = field(default=None)

    @classmethod
    def of(cls, sender: socket.socket) -> Gauge:
        """For a UDP socket of IPv4 that is connected."""
        receiver = sender.getpeername()
        request = diagnosis_request(sender.getsockname(), receiver)
        try:
            netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
        except OSError:
            return cls(receiver[1], request)
        return cls(receiver[1], request, netlink)

    def waiting(self) -> int:
        """Bytes, as the kernel accounts for them: about twice those of an 8 kB datagram."""
        if self._netlink is not None:
            self._netlink.send(self._request)
            if (found := parse_diagnosis(self._netlink.recv(4096))) is not None:
                return found
            self._netlink.close()
            self._netlink = None
        return queue(self._port).waiting
