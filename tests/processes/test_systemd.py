"""A server and an agent under systemd, as far as they can tell: it passes on a socket, and hears how they do.

REAL: subprocesses, sockets and real time. systemd itself does not run here: the test speaks its two protocols.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.running import AgentProcess, Stage
from tests.processes.surroundings import PATIENCE, free_port

PASS_ON = (
    "-c",
    "import os, sys; os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='port');"
    "import socket; opened = socket.socket(); opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1);"
    "opened.bind(('127.0.0.1', int(sys.argv[1]))); opened.listen(64); os.dup2(opened.fileno(), 3);"
    "sys.argv = ['twistd', *sys.argv[2:]];"
    "from twisted.scripts.twistd import run; run()",
)
"""What systemd does for a socket unit: the program begins with the port open as descriptor 3."""


class SystemdTests(SynchronousTestCase):
    """One agent with a socket that it was given."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        path = str(self.stage.folder / "notify")
        self.heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.heard.close)
        self.heard.bind(path)
        self.heard.settimeout(0.2)
        self.port = free_port()
        self.variables = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}

    def start(self) -> AgentProcess:
        """An agent as its units start it."""
        agent: AgentProcess = self.stage.command(
            "agent", *PASS_ON, str(self.port), "-n", "--pidfile=", "taba-agent",
            "--listen", "systemd:domain=INET:index=0", "--server", f"127.0.0.1:{free_port()}",
            kind=AgentProcess, variables=self.variables, port=self.port,
        )  # fmt: skip
        agent.start()
        return agent

    def hear(self, wanted: bytes) -> list[bytes]:
        """What was said until `wanted` was."""
        heard: list[bytes] = []
        until = time.monotonic() + PATIENCE
        while not heard or wanted not in heard[-1]:
            self.assertLess(time.monotonic(), until, f"{wanted!r} was not said, only {heard}")
            with contextlib.suppress(TimeoutError):
                heard.append(self.heard.recv(1000))
        return heard

    def test_a_life(self) -> None:
        """It says that it is ready when it answers on the socket it was given, lives, and says when it stops."""
        agent = self.start()
        self.hear(b"READY=1")
        self.assertEqual(agent.ask("/readyz").status, 200)
        for _ in range(3):
            self.hear(b"WATCHDOG=1")
        self.assertIn(agent.stop(), (0, -signal.SIGTERM))  # both are a good end to systemd
        self.hear(b"STOPPING=1")

    def test_no_socket(self) -> None:
        """Started by hand it says what is missing."""
        agent: AgentProcess = self.stage.agent(free_port(), "--listen", "systemd:domain=INET:index=0", name="by-hand")
        self.assertNotEqual(agent.run(), 0)
        self.assertIn("systemd passed on no such socket", agent.output())
