"""StatsD and DogStatsD by the client libraries themselves, over UDP, TCP and UNIX datagrams, to the last count.

REAL: subprocesses, sockets and real time.
"""

from __future__ import annotations

import os
import socket
from importlib.util import find_spec

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.processes.running import AgentProcess, Stage, start_all
from tests.processes.surroundings import free_port

EVENTS = 400
AT_A_TIME = 50


def needs(library: str) -> None:
    """Skip the test when a client library is not installed."""
    if find_spec(library) is None:
        raise SkipTest(f"{library} is not installed (pip install 'taba[test]')")


class StatsdTests(SynchronousTestCase):
    """A server, and an agent that takes StatsD."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.udp, self.tcp = free_port(), free_port()
        self.server = self.stage.server(config={"EMBEDDED_AGENT": False, "AGENT_PORT": free_port()})
        self.agent: AgentProcess = self.stage.agent(
            self.server.port, "--statsd", f"udp:{self.udp}", "--statsd", f"tcp:{self.tcp}", "--statsd", "unix:sd.sock",
            config={"STATSD_CLIENT": "apps", "STATSD_TYPES": {"h": ""}},
        )  # fmt: skip
        start_all(self.server, self.agent)

    @property
    def path(self) -> str:
        """The UNIX socket."""
        return os.path.join(self.agent.folder, "sd.sock")

    def received(self) -> int:
        """Durable events of the agent, with those refused."""
        return int(self.agent.json("/status")["ledger"].get("received", 0))

    def wait_for_received(self, count: int) -> None:
        """Wait for so many durable events."""
        self.agent.wait_for(lambda: self.received() >= count, lambda: f"{count} events: {self.received()}")

    def count(self, tab: str) -> int:
        """Events of a tab of timers."""
        states = self.server.json(f"/tabs?name={tab}")
        return int(states[tab]["1h"]["count"]) if tab in states else 0

    def wait_for_timers(self, tab: str, count: int) -> None:
        """Wait for the events of a tab of timers."""
        self.server.wait_for(lambda: self.count(tab) == count, lambda: f"all of {tab}: {self.count(tab)}")

    def send_by_pystatsd(self) -> int:
        """All that pystatsd has, by UDP and by TCP; how many events that is."""
        needs("statsd")
        import statsd

        by_udp = statsd.StatsClient("127.0.0.1", self.udp, prefix="py")
        by_tcp = statsd.TCPStatsClient("127.0.0.1", self.tcp, prefix="py")
        for sender in (by_udp, by_tcp):
            with sender.pipeline() as pipe:
                for _ in range(EVENTS):
                    pipe.incr("hits", 2)
                    pipe.timing("seconds", 12.5)
            sender.gauge("depth", 10)
            sender.gauge("depth", -3, delta=True)
            for user in ("somebody", "somebody else", "everybody: him"):
                sender.set("users", user)
        by_tcp.close()
        return 2 * (2 * EVENTS + 2 + 3)

    def send_by_datadog(self) -> int:
        """All that datadog has, by UDP and by a UNIX socket; how many events that is."""
        needs("datadog")
        from datadog.dogstatsd import DogStatsd

        for dog in (
            DogStatsd("127.0.0.1", self.udp, namespace="dog", disable_telemetry=True),
            # It drops what a socket does not take at once, unless it may wait.
            DogStatsd(socket_path=self.path, namespace="dog", disable_telemetry=True, socket_timeout=10),
        ):
            before = self.received()
            for sent in range(EVENTS):
                if sent % AT_A_TIME == 0:  # a datagram each: the system drops those that nobody has read in time
                    self.wait_for_received(before + 2 * sent)
                dog.increment("hits", tags=["zone:eu", "env:prod"])
                dog.distribution("size", 7.5)
            dog.histogram("unused", 1)
            dog.event("title", "text")
            dog.service_check("app", 0)
            dog.flush()
        return 2 * (2 * EVENTS)

    def test_libraries(self) -> None:
        """What pystatsd and datadog send comes to the very counts, totals and values, by every way they have."""
        received = self.send_by_pystatsd() + self.send_by_datadog()
        self.wait_for_received(received)
        self.server.wait_for_count("py.hits", 2 * EVENTS)
        self.server.wait_for_count("dog.hits;env=prod;zone=eu", 2 * EVENTS)
        self.assertEqual(self.server.counts("py.hits")[1], 4.0 * EVENTS)
        for tab in ("py.seconds", "dog.size"):
            self.wait_for_timers(tab, 2 * EVENTS)
        self.server.wait_for(lambda: self.count("py.users") == 6, "all members of the set")
        self.assertEqual(round(self.server.json("/tabs?name=py.users")["py.users"]["1h"]["unique"]), 3)
        facts = self.agent.json("/status")
        self.assertEqual(facts["ledger"]["received"], received)
        self.assertEqual({what: facts["ledger"][f"ignored.{what}"] for what in ("event", "check", "unused")},
                         {"event": 2, "check": 2, "unused": 2})  # fmt: skip
        self.assertIn("7", str(self.server.json("/projection?name=py.depth&client=apps")))
        self.assertEqual(facts["statsd"]["client"], "apps")
        self.assertNotIn("dropped", str(facts["ledger"]))

    def test_killed(self) -> None:
        """Kill -9 of the agent loses nothing that was committed, and another life takes the same ports again."""
        self.server.kill()
        with socket.create_connection(("127.0.0.1", self.tcp)) as sender:
            sender.sendall(b"a:1|c\n" * 50_000)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(self.path)
            sender.send(b"a:1|c\nbad")
        self.agent.wait_for(lambda: self.received() >= 50_002, lambda: f"all is durable: {self.received()}")
        self.agent.kill()
        start_all(self.server, self.agent)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"a:1|c", ("127.0.0.1", self.udp))
        self.server.wait_for_count("a", 50_002)
        self.assertEqual(self.received(), 50_003)
        self.taken_port()

    def taken_port(self) -> None:
        """A second agent on the same port says so, and does not start."""
        second = self.stage.agent(self.server.port, "--statsd", f"udp:{self.udp}", name="second")
        self.assertNotEqual(second.run(), 0)
        self.assertIn(f"Cannot listen on udp:{self.udp}", second.output())


class InsideTests(SynchronousTestCase):
    """One process is enough for StatsD, too."""

    def test_server(self) -> None:
        """The agent in a server takes StatsD as one of its own does, and takes the ports again after a stop."""
        stage = Stage()
        self.addCleanup(stage.close)
        port = free_port()
        server = stage.server("--statsd", f"tcp:{port}")
        for expected in (1_000, 2_000):
            start_all(server)
            with socket.create_connection(("127.0.0.1", port)) as sender:
                sender.sendall(b"inside:1|c\n" * 1_000)
            server.wait_for_count("inside", expected)
            server.stop()
