"""No run uses the global reactor.

Twisted 26.10 imports `twisted.internet.reactor` in one place that a run of treq and twisted.web cannot avoid: the
constructor of `task.LoopingCall` takes it as the default of its `clock`, and `HostnameEndpoint.connect`, which every
Agent uses, makes such a LoopingCall and then gives it the right clock. Nothing else of treq, twisted.web or the
endpoints imports it when `reactor=` is given everywhere. So a run here has a global reactor that can do nothing:
whoever asks it for anything fails.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[2]

RUN = """
import sys
from twisted.internet.main import installReactor

from taba.testing import World
from tests.testing.talk import EchoServer, WebClient

assert "twisted.internet.reactor" not in sys.modules, "imported with the modules"

class Forbidden:
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise AssertionError(f"the global reactor was asked for {name}")
    def getDelayedCalls(self):
        return []

installReactor(Forbidden())
with World(seed=4) as world:
    server = world.node("server")
    server.start(EchoServer())
    client = WebClient(world.node("client").start())
    for size in (10, 1_000_000):
        body = b"x" * size
        assert world.result_of(client.post("http://server:8080/", body, timeout=5)) == body
    server.crash()
    client.post("http://server:8080/", b"x").addErrback(lambda failure: None)
    world.advance(300)
    server.restart()
    assert world.result_of(client.post("http://server:8080/", b"x")) == b"x"
    server.stop()
    world.advance(300)
    world.check_quiet()
print("done")
"""


class GlobalReactorTests(SynchronousTestCase):
    """A world runs in a program whose reactor never runs."""

    def test_never_used(self) -> None:
        """Servers, clients, pools and timeouts run without asking the global reactor for anything; importing them
        does not install one.
        """
        ran = subprocess.run([sys.executable, "-c", RUN], cwd=ROOT, capture_output=True, text=True, check=False)
        self.assertEqual((ran.stdout, ran.stderr), ("done\n", ""))

    def test_same_run_in_another_program(self) -> None:
        """The same seed gives the same run in programs whose hashes are salted differently."""
        script = "from tests.testing.test_web import RepetitionTests; print(RepetitionTests().run_of(5)[0])"
        prints = {
            subprocess.run(
                [sys.executable, "-c", script],
                cwd=ROOT,
                env={"PYTHONHASHSEED": salt},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for salt in ("1", "2")
        }
        self.assertEqual(len(prints), 1)
