"""Debian's nginx with docs/deploy/nginx.conf, in front of a server.

REAL: nginx, a server process and sockets. Skipped where nginx is not installed (Debian: apt-get install nginx-light).
"""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from taba.client.api import Client
from tests.processes.asking import ask, counters
from tests.processes.running import TWISTD, AgentProcess, ServerProcess, Stage, start_all
from tests.processes.surroundings import PATIENCE, REPOSITORY, free_port, until

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
MAIN = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/taba.conf;
}}
"""


class NginxCase(SynchronousTestCase):
    """One nginx, and behind it one server that runs, and one that does not."""

    variables: Mapping[str, str] = {}
    """Of the server's environment."""

    def setUp(self) -> None:
        if not os.access(NGINX, os.X_OK):
            raise SkipTest("nginx is not installed")
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.start_servers()
        self.port, folder = free_port(), self.stage.place("nginx")
        conf = self.adapted((REPOSITORY / "docs" / "deploy" / "nginx.conf").read_text(encoding="utf-8"))
        conf = conf.replace("listen 8080", f"listen {self.port}")
        (folder / "taba.conf").write_text(conf.replace("listen ", "listen 127.0.0.1:"), encoding="utf-8")
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder), encoding="utf-8")
        self.nginx = subprocess.Popen([NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder)],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)  # fmt: skip
        self.addCleanup(self.nginx.wait)
        self.addCleanup(self.nginx.terminate)
        until(self.answers, PATIENCE, lambda: f"nginx answers\n{self.errors(folder)}")

    def start_servers(self) -> None:
        """Start what is behind it."""
        self.server: ServerProcess = self.stage.server(variables=self.variables)
        start_all(self.server)

    def adapted(self, conf: str) -> str:
        """The configuration, with the addresses of the servers."""
        return conf.replace("8300 max", f"{self.server.port} max").replace("8301 max", f"{free_port()} max")

    def answers(self) -> bool:
        """Whether nginx is there."""
        try:
            return ask(self.port, "/healthz").status == 200
        except OSError:
            return False

    def errors(self, folder: Path) -> str:
        """What nginx complains of."""
        path = folder / "error.log"
        return path.read_text(encoding="utf-8") if path.exists() else "(nothing)"


class NginxTests(NginxCase):
    """With a server as it is by default."""

    def test_events_and_questions(self) -> None:
        """Events come in and answers out, at the root and under a prefix, though one of the servers is down."""
        for path in ("/post", "/taba/post"):
            answer = ask(self.port, path, counters("client", "proxied", [1, 2, 3]))
            self.assertEqual(answer.status, 200, answer)
        self.server.wait_for_count("proxied", 6)
        for path in ("/tabs?name=proxied", "/taba/tabs?name=proxied"):
            for _ in range(4):  # whichever server it is sent to
                self.assertIn("proxied: {", ask(self.port, path).text)
        topology = json.loads(ask(self.port, "/taba/v2/topology").text)
        self.assertIn("CounterGroup", topology["types"])

    def test_numbered_batches(self) -> None:
        """A client's numbers stay with the server that knows them, and a repetition is a duplicate."""
        opened = ask(self.port, "/post", b"", Taba_Batch="0")
        instance = opened.headers["taba-instance"]
        for repetition in range(3):
            answer = ask(self.port, "/post", counters("client", "once", [5]), Taba_Batch=f"{instance}/1")
            self.assertEqual(answer.status, 200, answer)
            self.assertEqual("taba-duplicate" in answer.headers, repetition > 0)
        self.server.wait_for_count("once", 1)

    def agent(self) -> AgentProcess:
        """An agent that reaches the servers through nginx only, under its prefix."""
        port = free_port()
        agent: AgentProcess = self.stage.command(
            "agent", *TWISTD, "-n", "--pidfile=", "taba-agent", "--port", str(port),
            "--server", f"http://127.0.0.1:{self.port}/taba", kind=AgentProcess, port=port,
        )  # fmt: skip
        start_all(agent)
        return agent

    def test_agent_and_client_under_a_prefix(self) -> None:
        """An agent and an application send through nginx, under /taba/, while the server is killed and comes back, and
        nginx answers 502 in between: everything is counted, once.
        """
        agent = self.agent()
        client = Client()
        client.initialize("behind", f"http://127.0.0.1:{self.port}/taba/post", 0.1)
        self.addCleanup(client.stop, 1.0)
        given = 0

        def give(times: int) -> None:
            nonlocal given
            for _ in range(times):
                self.assertEqual(agent.post(counters("client", "by_agent", [given])).status, 200)
                client.counter("by_client", given)
                given += 1
                time.sleep(0.02)

        give(30)
        for _ in range(2):
            self.server.kill()
            until(lambda: ask(self.port, "/taba/tabs").status in (502, 504), PATIENCE, "nginx answers for the server")
            give(40)
            until(lambda: client.get_status()["failed_attempts"] > 0, PATIENCE, "the client hears of it")
            until(lambda: "502 Bad Gateway" in agent.output(), PATIENCE, "the agent says so")
            self.server.start()
            give(30)
            self.server.ready()
        self.server.wait_for_count("by_agent", given)
        self.server.wait_for_count("by_client", given)
        total = float(sum(range(given)))
        self.assertEqual([self.server.counts(tab)[1] for tab in ("by_agent", "by_client")], [total, total])
        status = client.get_status()
        self.assertEqual([status[name] for name in ("refused", "unknown", "rejected", "full")], [0, 0, 0, 0])
        self.assertGreater(status["failed_attempts"], 0)
        self.assertIn("502 Bad Gateway", agent.output())
        self.assertNotIn("<html>", agent.output())

    def test_loopback_only_is_not_for_the_world(self) -> None:
        """What may be asked from the server's own host only is refused when nginx brings it, though nginx is there."""
        self.assertEqual(self.server.ask("/gc", b"").status, 200)
        for path in ("/gc", "/taba/gc", "/delete?name=x", "/flush_all"):
            self.assertEqual(ask(self.port, path, b"").status, 403, path)
            self.assertEqual(ask(self.port, path, b"", X_Forwarded_For="127.0.0.1").status, 403, path)

    def test_bounds(self) -> None:
        """A body that is too large is refused, and a server that is gone is 502: try again."""
        self.assertEqual(ask(self.port, "/post", bytes(33 << 20)).status, 413)
        self.server.kill()
        self.assertIn(ask(self.port, "/tabs").status, (502, 504))


class Named(http.server.BaseHTTPRequestHandler):
    """Stands for the servers of one role: it answers with that."""

    role = ""

    def do_GET(self) -> None:
        """Answer; a body is left alone, for none is sent."""
        text = f"{self.role} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


class RoutingTests(NginxCase):
    """With somebody else behind each of its upstreams."""

    def start_servers(self) -> None:
        """Nobody but who tells where it is."""

    def adapted(self, conf: str) -> str:
        """The addresses of each upstream are those of one who says its name."""
        for role in ("taba_fe", "taba_append", "taba_ctrl"):
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type(role, (Named,), {"role": role}))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)
            head, _, rest = conf.partition(f"upstream {role} {{")
            block, _, tail = rest.partition("}")
            block = re.sub(r"127\.0\.0\.1:830[01]", f"127.0.0.1:{server.server_port}", block)
            conf = f"{head}upstream {role} {{{block}}}{tail}"
        return conf

    def test_who_is_asked(self) -> None:
        """Events go to servers that are fe, agents' batches too, and every question to those that are ctrl; under the
        prefix as at the root, where the servers see no prefix.
        """
        wanted = {
            "taba_fe": ("/post", "/post_zip", "/v2/events"),
            "taba_append": ("/v2/append", "/v2/topology"),
            "taba_ctrl": ("/tabs?name=x", "/projection", "/status", "/servers", "/readyz?role=ctrl", "/postmortem"),
        }
        for role, paths in wanted.items():
            for path in paths:
                for prefix in ("", "/taba"):
                    self.assertEqual(ask(self.port, f"{prefix}{path}").text, f"{role} {path}")
                    self.assertEqual(ask(self.port, f"{prefix}{path}", b"").text, f"{role} {path}")


class TrustedNginxTests(NginxCase):
    """With a server that trusts it."""

    variables = {"TABA_TRUSTED_PROXIES": '["127.0.0.1"]'}

    def test_who_asks(self) -> None:
        """What is asked on this host by way of nginx is from this host again, whatever header was sent along."""
        for path in ("/gc", "/taba/gc"):
            self.assertEqual(ask(self.port, path, b"", X_Forwarded_For="192.0.2.7").status, 200, path)
        self.assertEqual(ask(self.server.port, "/gc", b"", X_Forwarded_For="192.0.2.7").status, 403)
        self.assertEqual(ask(self.port, "/gc", b"", Forwarded="for=127.0.0.1").status, 403)
        self.server.wait_for_output("127.0.0.1 asks for /gc")
