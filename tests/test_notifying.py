"""systemd hears when a service is ready, stopping, and alive."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba.notifying import Notifying, notifying, sender, watchdog_seconds


class Slow(Service):
    """A service whose start and stop the test ends."""

    def __init__(self) -> None:
        self.started: Deferred[None] = Deferred()
        self.stopped: Deferred[None] = Deferred()
        self.interrupted = False

    def startService(self) -> Deferred[None]:
        """See `IService`."""
        return self.started

    def stopService(self) -> Deferred[None]:
        """See `IService`."""
        return self.stopped

    def interrupt(self) -> None:
        """See `Running`."""
        self.interrupted = True


class NotifyingTests(SynchronousTestCase):
    """The datagrams, one after another."""

    def test_a_life(self) -> None:
        """Ready is said when the start is over, not before; signs of life go on through start and stop."""
        sent: list[bytes] = []
        clock, inner = Clock(), Slow()
        service = Notifying(inner, sent.append, clock, 10.0)
        service.startService()
        self.assertEqual(sent, [b"WATCHDOG=1", b"STATUS=Starting"])
        clock.advance(5)
        inner.started.callback(None)
        self.assertEqual(sent[2:], [b"WATCHDOG=1", b"READY=1\nSTATUS=Ready"])
        stopped = service.stopService()
        clock.advance(5)
        self.assertEqual(sent[4:], [b"STOPPING=1\nSTATUS=Stopping", b"WATCHDOG=1"])
        inner.stopped.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_nobody_listens(self) -> None:
        """A socket that is gone is no reason to fail; a start can still be interrupted."""

        def refuse(_: bytes) -> None:
            raise ConnectionRefusedError

        inner = Slow()
        service = Notifying(inner, refuse, Clock(), None)
        service.startService()
        service.interrupt()
        self.assertTrue(inner.interrupted)

    def test_real_socket(self) -> None:
        """A datagram arrives at the socket that the environment names, with a path and as an abstract name."""
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "notify")
            for name, bound in ((path, path), (f"@taba-{os.getpid()}", f"\0taba-{os.getpid()}")):
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
                    listening.bind(bound)
                    send = sender({"NOTIFY_SOCKET": name})
                    assert send is not None
                    send(b"READY=1")
                    self.assertEqual(listening.recv(100), b"READY=1")

    def test_without_systemd(self) -> None:
        """Nothing is different where nobody wants to know."""
        inner = Slow()
        self.assertIs(notifying(inner, {}, 1, Clock()), inner)
        self.assertIsInstance(notifying(inner, {"NOTIFY_SOCKET": "/run/x"}, 1, Clock()), Notifying)

    def test_watchdog_variables(self) -> None:
        """The interval is that of this process, in microseconds; nonsense is none."""
        self.assertEqual(watchdog_seconds({"WATCHDOG_USEC": "30000000"}, 7), 30.0)
        self.assertEqual(watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 7), 30.0)
        self.assertIsNone(watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 7))
        self.assertIsNone(watchdog_seconds({"WATCHDOG_USEC": "soon"}, 7))
        self.assertIsNone(watchdog_seconds({}, 7))
