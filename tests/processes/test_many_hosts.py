"""Many hosts safely: who may come, with a token and with TLS, from a client by an agent to a server and a question.

REAL: server, agent and other processes, on loopback and on all addresses of this host.
"""

from __future__ import annotations

import http.client
import logging
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from taba.client import Client
from tests.certificates import Authority
from tests.processes.asking import Answer, ask, counters
from tests.processes.running import TABA_CLI, TWISTD, AgentProcess, HTTPProcess, Shared, Stage
from tests.processes.surroundings import PATIENCE, environment, free_port, until

USAGE_ERROR = 1
"""The status of twistd for what its plugins refuse on the command line."""
TOKEN = "the-token-of-this-fleet-0123456789"
OTHER = "the-token-of-another-fleet-0123456789"
SHOWN = f"Bearer {TOKEN}"


def token_file(folder: Path, *tokens: str, name: str = "token") -> Path:
    """A token file as it should be."""
    path = folder / name
    path.write_text("# of the fleet\n" + "".join(f"{token}\n" for token in tokens))
    path.chmod(0o600)
    return path


def plugin(stage: Stage, name: str, port: int, *options: str, kind: type[HTTPProcess] = HTTPProcess) -> HTTPProcess:
    """`twistd -n taba-NAME` with options; `port` is the one that it has by them."""
    process: HTTPProcess = stage.command(
        name, *TWISTD, "-n", "--pidfile=", f"taba-{name}", *options, kind=kind, port=port
    )
    return process


def cli(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `taba-cli`."""
    return subprocess.run(
        [sys.executable, *TABA_CLI, *arguments],
        env={**environment(), **variables}, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


def ask_tls(port: int, path: str, ca_file: Path, **headers: str) -> Answer:
    """GET a path by TLS."""
    context = ssl.create_default_context(cafile=str(ca_file))
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read().decode())
    finally:
        connection.close()


class BindTests(SynchronousTestCase):
    """Where processes agree to listen."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def test_public_without_protection(self) -> None:
        """A server and an agent that are to listen on all addresses, with neither token nor TLS, do not start; they
        say what to do, and leave nothing behind.
        """
        runs = [
            plugin(self.stage, "server", 0, "--interface", "0.0.0.0", "--port", "0"),
            plugin(self.stage, "agent", 0, "--listen", "tcp:0"),
        ]
        for run in runs:
            run.start()
        for run in runs:
            self.assertEqual(run.ended(), USAGE_ERROR, run.tail())
            for words in ("lets every host that reaches it", "--token-file", "ssl:", "--insecure"):
                self.assertIn(words, " ".join(run.output().split()))
            self.assertEqual(list(run.folder.iterdir()), [])

    def test_open_token_file(self) -> None:
        """A token file that others can read is refused, with the command that helps, and its content is not shown."""
        path = token_file(self.stage.folder, TOKEN)
        path.chmod(0o644)
        run = plugin(self.stage, "server", 0, "--port", "0", "--token-file", str(path), "--check-config")
        self.assertEqual(run.run(), USAGE_ERROR)
        self.assertIn(f"chmod 600 {path}", " ".join(run.output().split()))
        self.assertNotIn(TOKEN, run.output())

    def test_unix_socket(self) -> None:
        """A server may listen on a UNIX socket beside a port; its own events find the agent in it all the same."""
        port = free_port()
        path = self.stage.folder / "taba.sock"
        server = plugin(
            self.stage, "server", port, "--listen", f"unix:{path}", "--listen", f"tcp:{port}:interface=127.0.0.1",
            "--agent-listen", f"unix:{self.stage.folder / 'agent.sock'}",
        )  # fmt: skip
        server.start()
        server.ready()
        self.assertIn(f"agents and queries on unix:{path}/, http://127.0.0.1:{port}/", server.output())
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            self.assertIn(b" 200 OK\r\n", connection.recv(4096))
        self.assertEqual(server.ask("/post", counters("c", "seen", [1])).status, 200)
        server.wait_for(lambda: "seen" in server.ask("/names").text, "the event is folded")
        server.stop()  # sends what it has recorded of itself
        server.start()
        server.ready()
        server.wait_for(lambda: "taba_server." in server.ask("/clients").text, "own events")


@frozen
class Fleet:
    """A server and an agent before it, on all addresses, which share a token; and a client's token file."""

    folder: Path
    server: HTTPProcess
    agent: HTTPProcess
    token: Path


def fleet(stage: Stage) -> Fleet:
    """Start both."""
    port, agent_port = free_port(), free_port()
    path = token_file(stage.folder, TOKEN)
    server = plugin(
        stage, "server", port, "--interface", "0.0.0.0", "--port", str(port), "--agent-port", str(free_port()),
        "--token-file", str(path),
    )  # fmt: skip
    agent = plugin(
        stage, "agent", agent_port, "--listen", f"tcp:{agent_port}", "--server", f"127.0.0.1:{port}",
        "--token-file", str(path), kind=AgentProcess,
    )  # fmt: skip
    for each in (server, agent):
        each.start()
    for each in (server, agent):
        each.ready()
    return Fleet(stage.folder, server, agent, path)


class QuietClientCase(SynchronousTestCase):
    """Clients that cannot send do not say so on the terminal."""

    def setUp(self) -> None:
        log = logging.getLogger("taba.client")
        self.addCleanup(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL)


class TokenTests(QuietClientCase):
    """A fleet with a token, in the clear."""

    shared = Shared(fleet)

    def setUp(self) -> None:
        super().setUp()
        self.fleet = self.shared.get()

    def test_all_the_way(self) -> None:
        """With the token an event goes from a client by the agent to the server, and is found by `taba-cli`; without
        it the question is answered 401, and so is the agent's port.
        """
        client = Client()
        url = f"http://127.0.0.1:{self.fleet.agent.port}/post"
        client.initialize("app", url, 0.05, token_file=str(self.fleet.token))
        client.counter("by_token", 5)
        self.assertTrue(client.stop(PATIENCE))
        self.assertEqual(client.get_status()["acknowledged"], 1)
        where = ["--server", f"http://127.0.0.1:{self.fleet.server.port}"]
        variables = {"TABA_TOKEN_FILE": str(self.fleet.token)}
        until(lambda: cli(*where, "agg", "by_token", **variables).returncode == 0, PATIENCE, "the event is found")
        shown = cli(*where, "--token-file", str(self.fleet.token), "agg", "by_token")
        self.assertIn('"count": 1, "total": 5.00', shown.stdout)
        refused = cli(*where, "agg", "by_token")
        self.assertEqual((refused.returncode, refused.stdout), (4, ""))
        self.assertIn("/tabs answers 401: This port wants the shared token", refused.stderr)

    def test_questions(self) -> None:
        """As curl asks: nothing, a wrong token, the right one; health checks need none."""
        for process in (self.fleet.server, self.fleet.agent):
            bare = process.ask("/status")
            self.assertEqual((bare.status, bare.headers["www-authenticate"]), (401, "Bearer"))
            self.assertEqual(process.ask("/status", Authorization=f"Bearer {OTHER}").status, 401)
            self.assertEqual(process.ask("/status", Authorization=SHOWN).status, 200)
            self.assertEqual((process.ask("/healthz").status, process.ask("/readyz").status), (200, 200))
            self.assertEqual(process.ask("/post", counters("c", "stolen", [1])).status, 401)
            self.assertEqual(process.ask("/post", b"x" * 3_000_000, Authorization=f"Bearer {OTHER}").status, 401)
        self.assertEqual(self.fleet.server.ask("/names?name=stolen", Authorization=SHOWN).text, "\n")

    def test_wrong_client(self) -> None:
        """A client with another fleet's token loses nothing while it tries, and says why it cannot send."""
        client = Client()
        client.initialize("stranger", f"http://127.0.0.1:{self.fleet.agent.port}/post", 0.05, token=OTHER)
        client.counter("by_stranger")
        until(lambda: client.get_status()["failed_attempts"] > 1, PATIENCE, "two attempts")
        status = client.get_status()
        client.stop(0.0)
        self.assertEqual((status["buffered_events"], status["acknowledged"], status["refused"]), (1, 0, 0))
        self.assertIn("401", str(status["last_error"]))
        self.assertNotIn(OTHER, str(status))

    def test_never_logged(self) -> None:
        """Neither log has a token, whatever was asked."""
        self.fleet.server.ask("/nowhere", Authorization=SHOWN)
        self.fleet.server.ask("/nowhere", Authorization=f"Bearer {OTHER}")
        for process in (self.fleet.server, self.fleet.agent):
            log = process.log.read_text()
            self.assertGreater(len(log), 100)
            self.assertNotIn(TOKEN, log)
            self.assertNotIn(OTHER, log)


class WrongAgentTests(SynchronousTestCase):
    """An agent whose token is not the server's."""

    def test_nothing_is_lost(self) -> None:
        """It keeps its events, and delivers them when it has the right token."""
        stage = Stage()
        self.addCleanup(stage.close)
        port, agent_port = free_port(), free_port()
        ours = token_file(stage.folder, TOKEN, name="ours")
        theirs = token_file(stage.folder, OTHER, name="theirs")
        server = plugin(
            stage, "server", port, "--port", str(port), "--agent-port", str(free_port()), "--token-file", str(ours)
        )
        agent = plugin(
            stage, "agent", agent_port, "--port", str(agent_port), "--server", f"127.0.0.1:{port}",
            "--token-file", str(theirs), kind=AgentProcess,
        )  # fmt: skip
        for each in (server, agent):  # one by one: an agent says only for the first time why a server is no use
            each.start()
            each.ready()
        sent = agent.ask("/post", counters("c", "kept", [1, 2]), Authorization=f"Bearer {OTHER}")
        self.assertEqual(sent.status, 200)
        agent.wait_for(lambda: "401" in agent.output(), "the agent says that it is turned away")
        agent.stop()
        self.assertEqual(server.ask("/names?name=kept", Authorization=SHOWN).text, "\n")
        token_file(stage.folder, TOKEN, name="theirs")
        agent.start()
        agent.ready()
        server.wait_for(
            lambda: '"count": 2' in server.ask("/tabs?name=kept", Authorization=SHOWN).text, "both events are there"
        )


@frozen
class Encrypted:
    """A server and an agent on all addresses, with TLS, a token, and an authority of their own."""

    server: HTTPProcess
    agent: HTTPProcess
    ca_file: Path
    token: Path


def encrypted(stage: Stage) -> Encrypted:
    """Start both; they are asked here by TLS only."""
    port, agent_port = free_port(), free_port()
    authority = Authority("the fleet's authority")
    ca_file = authority.save(stage.folder)
    path = token_file(stage.folder, TOKEN)
    endpoints = {}
    for name, number in (("server", port), ("agent", agent_port)):
        certificate, key = authority.issue(stage.folder, name, "127.0.0.1", "localhost")
        endpoints[name] = f"ssl:{number}:privateKey={key}:certKey={certificate}"
    server = plugin(
        stage, "server", port, "--listen", endpoints["server"], "--agent-port", str(free_port()),
        "--token-file", str(path),
    )  # fmt: skip
    agent = plugin(
        stage, "agent", agent_port, "--listen", endpoints["agent"], "--server", f"https://127.0.0.1:{port}",
        "--tls-ca-file", str(ca_file), "--token-file", str(path), kind=AgentProcess,
    )  # fmt: skip
    for each in (server, agent):
        each.start()
    for each in (server, agent):
        each.wait_for_output("Ready.")
    return Encrypted(server, agent, ca_file, path)


BY_TWISTED = """
import sys
from functools import partial
from twisted.internet import reactor
from taba.client import Client
from taba.client.engines.twisted import TwistedEngine

url, token_file, ca_file = sys.argv[1:]
client = Client()

def ended(done):
    print(done, client.get_status()["acknowledged"], client.get_status()["last_error"])
    reactor.stop()

def begin():
    client.initialize(
        "by_twisted", url, 0.05, partial(TwistedEngine, reactor=reactor), token_file=token_file, ca_file=ca_file)
    client.counter("by_twisted")
    client.stop(100).addBoth(ended)

reactor.callWhenRunning(begin)
reactor.run()
"""
"""An application with a reactor."""


class TLSTests(QuietClientCase):
    """A fleet with TLS and a token."""

    shared = Shared(encrypted)

    def setUp(self) -> None:
        super().setUp()
        self.fleet = self.shared.get()

    def test_twisted_engine(self) -> None:
        """An application with a reactor posts by TLS, too, and trusts whom it is told to trust."""
        url = f"https://localhost:{self.fleet.agent.port}/post"
        shown = subprocess.run(
            [sys.executable, "-c", BY_TWISTED, url, str(self.fleet.token), str(self.fleet.ca_file)],
            env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        self.assertEqual((shown.stdout, shown.returncode), ("True 1 None\n", 0), shown.stderr)

    def test_all_the_way(self) -> None:
        """By TLS all the way: client to agent, agent to server, `taba-cli` to server."""
        client = Client()
        client.initialize(
            "app", f"https://localhost:{self.fleet.agent.port}/post", 0.05,
            token_file=str(self.fleet.token), ca_file=str(self.fleet.ca_file),
        )  # fmt: skip
        client.counter("by_tls", 7)
        self.assertTrue(client.stop(PATIENCE))
        self.assertEqual(client.get_status()["acknowledged"], 1, client.get_status())
        where = ["--server", f"https://127.0.0.1:{self.fleet.server.port}"]
        variables = {"TABA_TOKEN_FILE": str(self.fleet.token), "TABA_CA_FILE": str(self.fleet.ca_file)}
        until(lambda: cli(*where, "agg", "by_tls", **variables).returncode == 0, PATIENCE, "the event is found")
        self.assertIn('"count": 1, "total": 7.00', cli(*where, "agg", "by_tls", **variables).stdout)
        self.assertIn(f"agents and queries on https://0.0.0.0:{self.fleet.server.port}/", self.fleet.server.output())
        untrusting = cli(*where, "agg", "by_tls", TABA_TOKEN_FILE=str(self.fleet.token))
        self.assertEqual(untrusting.returncode, 3)
        self.assertIn("certificate verify failed", untrusting.stderr)

    def test_questions(self) -> None:
        """The token is asked for by TLS, too, and in the clear nothing is said."""
        port = self.fleet.server.port
        self.assertEqual(ask_tls(port, "/status", self.fleet.ca_file).status, 401)
        self.assertEqual(ask_tls(port, "/status", self.fleet.ca_file, Authorization=SHOWN).status, 200)
        self.assertEqual(ask_tls(port, "/healthz", self.fleet.ca_file).status, 200)
        with self.assertRaises((OSError, http.client.HTTPException)):
            ask(port, "/healthz")

    def test_client_that_does_not_trust(self) -> None:
        """A client that has another authority's certificate shows nothing to the agent, and keeps its events."""
        other = self.fleet.ca_file.parent / "other"
        other.mkdir(exist_ok=True)
        client = Client()
        client.initialize(
            "careful", f"https://127.0.0.1:{self.fleet.agent.port}/post", 0.05, token_file=str(self.fleet.token),
            ca_file=str(Authority("another authority").save(other)),
        )  # fmt: skip
        client.counter("never")
        until(lambda: client.get_status()["failed_attempts"] > 0, PATIENCE, "an attempt")
        status = client.get_status()
        client.stop(0.0)
        self.assertIn("certificate verify failed", str(status["last_error"]))
        self.assertEqual((status["acknowledged"], status["buffered_events"]), (0, 1))


class UntrustedServerTests(SynchronousTestCase):
    """A server whose certificate is not for the host that was asked for, or of nobody whom the agent knows."""

    def test_agent_does_not_send(self) -> None:
        """The agent keeps its events, and says what is wrong with the certificate."""
        stage = Stage()
        self.addCleanup(stage.close)
        port = free_port()
        authority = Authority("the fleet's authority")
        certificate, key = authority.issue(stage.folder, "server", "127.0.0.1")
        server = plugin(
            stage, "server", port, "--listen", f"ssl:{port}:privateKey={key}:certKey={certificate}",
            "--agent-port", str(free_port()),
        )  # fmt: skip
        ports = free_port(), free_port()
        agents = [
            stage.command(
                name, *TWISTD, "-n", "--pidfile=", "taba-agent", "--port", str(agent_port),
                "--server", f"https://{host}:{port}", *trust, kind=AgentProcess, port=agent_port,
            )
            for name, agent_port, host, trust in (
                ("wrong-host", ports[0], "localhost", ["--tls-ca-file", str(authority.save(stage.folder))]),
                ("wrong-authority", ports[1], "127.0.0.1", []),
            )
        ]  # fmt: skip
        server.start()
        server.wait_for_output("Ready.")
        for agent in agents:
            agent.start()
        for agent, words in zip(agents, ("is not for this host", "certificate verify failed"), strict=True):
            agent.ready()
            self.assertEqual(agent.ask("/post", counters("c", "kept", [1])).status, 200)
            agent.wait_for(lambda: words in agent.output(), f"{agent.name} says {words}")  # noqa: B023 - used at once
            self.assertGreaterEqual(agent.json("/status")["ledger"]["pending"], 1)


class RotationTests(SynchronousTestCase):
    """The token is exchanged without a restart."""

    def test_new_token_without_restart(self) -> None:
        """A server takes a new token within some minute after its file changed, and no more the one that was taken
        out; nothing is started again.
        """
        if os.environ.get("TABA_PROFILE") != "nightly":
            raise SkipTest("takes two minutes, in the nightly run; tests.test_guarding does it on a virtual clock")
        stage = Stage()
        self.addCleanup(stage.close)
        port = free_port()
        path = token_file(stage.folder, TOKEN)
        server = plugin(
            stage, "server", port, "--port", str(port), "--agent-port", str(free_port()), "--token-file", str(path)
        )
        server.start()
        server.ready()
        pid = server.pid
        token_file(stage.folder, OTHER, TOKEN)
        until(
            lambda: server.ask("/status", Authorization=f"Bearer {OTHER}").status == 200, 90, "the new token is taken"
        )
        self.assertEqual(server.ask("/status", Authorization=SHOWN).status, 200)
        token_file(stage.folder, OTHER)
        began = time.monotonic()
        until(lambda: server.ask("/status", Authorization=SHOWN).status == 401, 90, "the old token is taken no more")
        self.assertLess(time.monotonic() - began, 75)
        self.assertEqual(server.pid, pid)
        self.assertIn("has changed and was read again; it holds 1 now.", server.output())
