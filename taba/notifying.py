"""Tells systemd how the process does: ready, stopping, still alive. sd_notify(3) has the protocol.

Everything is datagrams to the socket that NOTIFY_SOCKET names, from this process alone. Without that variable nothing
is sent, and nothing is different.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

Send = Callable[[bytes], None]
"""Takes one datagram. Never blocks; may raise OSError."""


def sender(environment: Mapping[str, str]) -> Send | None:
    """What sends to NOTIFY_SOCKET, a path or an abstract name that begins with `@`; None where there is none."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return None
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    name = "\0" + address[1:] if address.startswith("@") else address

    def send(datagram: bytes) -> None:
        channel.sendto(datagram, name)

    return send


def watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    """The most seconds that may pass between two signs of life; None where nobody waits for them."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 else None


class Notifying(Service):
    """Runs a service, and tells about it. Signs of life are sent in the reactor thread, from a timer: a reactor that
    hangs sends none, and is started again.
    """

    _log = Logger()

    def __init__(self, inner: IService, send: Send, reactor: Any, watchdog: float | None) -> None:
        """`watchdog` is the longest pause between two signs of life, in seconds; they are sent twice as often."""
        self.inner = inner
        self._send = send
        self._watchdog = watchdog
        self._alive = LoopingCall(self._tell, b"WATCHDOG=1")
        self._alive.clock = reactor

    @inlineCallbacks
    def startService(self):  # type: ignore[no-untyped-def]
        """Start the service, and say so when that is done. A start may take as long as it likes: it shows that it
        lives.
        """
        super().startService()
        if self._watchdog is not None:
            self._alive.start(self._watchdog / 2)
        self._tell(b"STATUS=Starting")
        yield self.inner.startService()
        self._tell(b"READY=1\nSTATUS=Ready")

    @inlineCallbacks
    def stopService(self):  # type: ignore[no-untyped-def]
        """Stop the service, having said so."""
        super().stopService()
        self._tell(b"STOPPING=1\nSTATUS=Stopping")
        try:
            yield self.inner.stopService()
        finally:
            if self._alive.running:
                self._alive.stop()

    def interrupt(self) -> None:
        """End a start that waits."""
        interrupt = getattr(self.inner, "interrupt", None)
        if interrupt is not None:
            interrupt()

    def _tell(self, datagram: bytes) -> None:
        try:
            self._send(datagram)
        except OSError as problem:
            self._log.debug("systemd does not listen: {problem}", problem=problem)


def notifying(inner: IService, environment: Mapping[str, str], pid: int, reactor: Any) -> IService:
    """The service as it is, or, under systemd with Type=notify, one that tells systemd about it."""
    send = sender(environment)
    if send is None:
        return inner
    return Notifying(inner, send, reactor, watchdog_seconds(environment, pid))
