"""Tako as real processes: the walkthrough of the docs with nodes killed and a migration under way, starts that fail,
signals, TLS and tokens.

REAL: subprocesses, sockets and real time. TABA_TAKO_FILES says how many files go in and out (default 300).
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import Authority
from tests.processes.asking import ask
from tests.processes.running import RealProcess, Stage
from tests.processes.surroundings import REPOSITORY, environment, free_port, until

FILES = int(os.environ.get("TABA_TAKO_FILES", "300"))
LARGEST = 100 * 1024 * 1024
"""Bytes of all files together, in CI."""
SEED = int(os.environ.get("TABA_TAKO_SEED", "1000"))
KILL_SECONDS = 3.0
KILLS = max(5, FILES // 60)
"""At most."""
_RUN = "import sys; from taba.tako.command_line import run_twistd; run_twistd(sys.argv[1], sys.argv[2:])"
_HEEDFUL = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
"""Ctrl-C counts, though the test run may have been started with it ignored, as shells do with what runs behind them."""
_CLI = "import sys; from taba.tako.cli import run; run()"


def free_ports(count: int) -> list[int]:
    """So many different ports."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return sorted(ports)


def ten_nodes() -> tuple[dict[str, Any], int]:
    """Ten nodes on free ports, five buckets of two, and seven buckets of one or two for the migration; and a port for
    the proxy.
    """
    proxy, master, *ports = free_ports(22)
    nodes = {f"n{n}": ["localhost", *ports[2 * n - 2 : 2 * n]] for n in range(1, 11)}

    def deployment(spread: list[list[int]]) -> dict[str, Any]:
        buckets = {f"b{b}": {f"n{n}": nodes[f"n{n}"] for n in each} for b, each in enumerate(spread, 1)}
        return {"read_repair": True, "background_healing": True, "background_healing_interval": "0:00:20",
                "hash": {"buckets_per_key": 2}, "buckets": buckets}  # fmt: skip

    document = {
        "active_deployment": "five",
        "target_deployment": "five",
        "deployments": {
            "five": deployment([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]),
            "seven": deployment([[1, 2], [3, 4], [5, 6], [7], [8], [9], [10]]),
        },
        "master_coordinator": "c1",
        "coordinators": {"c1": ["localhost", master]},
    }
    return document, proxy


def make_files(folder: Path, count: int, chance: random.Random) -> int:
    """Files of many sizes in a few folders, empty ones and some of several pieces among them; their bytes."""
    total = 0
    for number in range(count):
        kind = chance.random()
        size = 0 if number == 0 else chance.randrange(20_000)
        if kind > 0.9:
            size = chance.randrange(600_000)
        if kind > 0.985:
            size = chance.randrange(5_000_000)
        name = f"{chance.choice('abcnopxyz')}{number}"
        path = folder / chance.choice(["", "one", "two/three"]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(size))
        total += size
    return total


class StageCase(SynchronousTestCase):
    """A folder, and processes in it."""

    def setUp(self) -> None:
        """An empty stage."""
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def tako(self, name: str, *arguments: str, **more: Any) -> RealProcess:
        """A command of Tako, not started yet."""
        process: RealProcess = self.stage.command(name, "-c", _RUN, *arguments, **more)
        return process

    def cli(self, *arguments: str) -> tuple[int, str]:
        """Run tako-cli; its status and output."""
        done = subprocess.run(
            [sys.executable, "-c", _CLI, *arguments], env=environment(), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=300,
        )  # fmt: skip
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def settings(self, name: str, document: dict[str, Any]) -> str:
        """A configuration's file."""
        return str(self.stage.settings(name, document))


def healthy(port: int) -> bool:
    """Whether a process answers."""
    try:
        return ask(port, "/healthz", None, "localhost").status == 200
    except OSError:
        return False


class Killer(threading.Thread):
    """Kills one node after another with SIGKILL, until it is told to stop; the next when the last one is back."""

    def __init__(self, cluster: RealProcess, chance: random.Random, ports: list[int]) -> None:
        super().__init__(daemon=True)
        self._cluster, self._chance, self._ports = cluster, chance, ports
        self._told = threading.Event()
        self.killed = 0

    def run(self) -> None:
        """See `threading.Thread`."""
        while not self._told.wait(KILL_SECONDS):
            pids = node_pids(self._cluster.pid)
            if pids and self.killed < KILLS and all(map(healthy, self._ports)):
                os.kill(self._chance.choice(pids), signal.SIGKILL)
                self.killed += 1

    def stop(self) -> None:
        """No more."""
        self._told.set()
        self.join()


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, and that run."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def node_pids(cluster: int) -> list[int]:
    """The nodes that a tako-cluster has running."""
    found = []
    for pid in children_of(cluster):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"tako-node" in words:
            found.append(pid)
    return found


def blocks() -> list[str]:
    """The shell commands of the walkthrough, block by block."""
    text = (REPOSITORY / "docs" / "tako" / "walkthrough.md").read_text()
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


class WalkthroughTests(StageCase):
    """The page docs/tako/walkthrough.md."""

    timeout = 3600

    def test_files_go_in_and_come_out(self) -> None:
        """Every file comes back byte for byte, while nodes are killed and keys move from five buckets to seven."""
        chance, (document, port) = random.Random(SEED), ten_nodes()
        folder = self.stage.place("files")
        total = make_files(folder, FILES, chance)
        if FILES <= 300:
            self.assertLess(total, LARGEST)
        path = self.settings("cluster", document)
        self.proxy = port
        cluster: RealProcess = self.stage.command(
            "cluster", "-c", _HEEDFUL + _RUN, "tako-cluster", path, "-p", str(port), "-u", "4"
        )
        cluster.start()
        self.ports = [where[1] for b in document["deployments"]["five"]["buckets"].values() for where in b.values()]
        for each in (port, *self.ports):
            cluster.wait_for(partial(healthy, each), partial(self._why_not_up, cluster, [*self.ports, port]), 300)
        wget, curl, fetch = blocks()
        killer = Killer(cluster, chance, self.ports)
        killer.start()
        self._shell(wget, folder)
        self.assertEqual(self._begin(path), 0)
        self._shell(curl, folder)
        self._shell(fetch, folder)
        killer.stop()
        self.assertIn("slots proved", self.cli("migrate", "status", "-cfg", path)[1])
        until(lambda: all(map(healthy, self.ports)), 60, "all nodes are up again")
        status, text = self.cli("migrate", "promote", "-cfg", path, "--wait", "240")
        self.assertEqual(status, 0, text)
        self._compare(folder)
        print(f"{FILES} files of {total:,} bytes, {killer.killed} nodes killed", file=sys.stderr)
        self.assertGreater(killer.killed, 0)
        self._all_agree()
        self._interrupt(cluster)

    def _interrupt(self, cluster: RealProcess) -> None:
        """Ctrl-C, which reaches all processes, ends all of them."""
        pids = [cluster.pid, *children_of(cluster.pid)]
        self.assertEqual(len(pids), 13)
        for pid in pids:
            os.kill(pid, signal.SIGINT)
        self.assertIn(cluster.ended(60), (0, -signal.SIGINT))
        self.assertEqual([pid for pid in pids if Path(f"/proc/{pid}").exists()], [])

    def _why_not_up(self, cluster: RealProcess, ports: list[int]) -> str:
        """Which ports do not answer, and the end of each process's log."""
        logs = [
            f"{log.parent.name}: {log.read_text(errors='replace')[-400:]}"
            for log in sorted((cluster.folder / "tako-var").glob("*/log"))
        ]
        return "\n".join(["the cluster is up", f"no answer: {[p for p in ports if not healthy(p)]}", *logs])

    def _begin(self, path: str) -> int:
        status, text = self.cli("migrate", "begin", "-cfg", path, "seven")
        self.assertIn("five -> seven", text)
        return status

    def _shell(self, block: str, folder: Path) -> None:
        """Run a block; it says nothing when all is well."""
        scratch = self.stage.place("scratch")
        variables = {"PROXY": f"http://localhost:{self.proxy}", "FOLDER": str(folder), "SCRATCH": str(scratch)}
        done = subprocess.run(
            ["sh", "-c", block], env={**os.environ, **variables, "no_proxy": "localhost"}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=3000,
        )  # fmt: skip
        said = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if "Warning" not in line]
        # curl tells of errors that it tries again after.
        wrong = [line for line in said if "not stored" in line or "differ" in line or "EOF" in line or "cmp" in line]
        self.assertEqual((done.returncode, wrong), (0, []), "\n".join(said[-20:]))

    def _compare(self, folder: Path) -> None:
        """Every file is what the proxy gives under its name."""
        proxy = http.client.HTTPConnection("localhost", self.proxy, timeout=60)
        wrong = []
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            proxy.request("GET", f"/values/{path.relative_to(folder)}")
            answer = proxy.getresponse()
            if (answer.status, answer.read()) != (200, path.read_bytes()):
                wrong.append((path.name, answer.status))
        proxy.close()
        self.assertEqual(wrong, [])

    def _all_agree(self) -> None:
        """After healing no node has anything that is not its own, or lacks anything."""
        until(lambda: all(map(healthy, self.ports)), 60, "all nodes are up again")
        for _ in range(2):
            for port in self.ports:
                self.assertEqual(ask(port, "/heal", b"", "localhost").status, 200)
        shown = [
            json.loads(ask(port, "/status", None, "localhost", Accept="application/json").text) for port in self.ports
        ]
        self.assertEqual([each["healing"]["foreign_kept"] for each in shown], [0] * 10)
        self.assertGreater(sum(each["keys"] for each in shown), 2 * FILES)


class StartTests(StageCase):
    """Single processes."""

    ALONE = "active_deployment: s\ndeployments: {s: {buckets: {b1: {n1: [localhost, %d, %d]}}}}\n"

    def alone(self) -> tuple[str, int]:
        """The configuration of a single node, and its HTTP port."""
        http, internal = free_port(), free_port()
        path = self.stage.folder / "alone.yaml"
        path.write_text(self.ALONE % (http, internal))
        return str(path), http

    def test_one_node_alone(self) -> None:
        """It needs no coordinator, keeps what it acknowledged through kill -9, and stops cleanly."""
        path, port = self.alone()
        node = self.tako("n1", "tako-node", "-id", "n1", "-cfg", path, "-v", "var", "-f", "data.db", "-l", "node.log")
        node.start()
        until(lambda: healthy(port), 60, "the node is up")
        self.assertEqual(ask(port, "/values/a/b", b"kept", "localhost").text, "Stored on 1 of 1 nodes.\n")
        node.kill()
        node.start()
        until(lambda: healthy(port), 60, "the node is up")
        self.assertEqual(ask(port, "/values/a/b", None, "localhost").text, "kept")
        other = self.tako("other", "tako-node", "-id", "n1", "-cfg", path, "-v", "elsewhere")
        self.assertNotEqual(other.run(60), 0)
        self.assertRegex(other.output(), r"Cannot listen on 127\.0\.0\.1:\d+: .*in use")
        self.assertIn(node.stop(60), (0, -signal.SIGTERM))
        self.assertIn("Ready.", (self.stage.folder / "n1" / "node.log").read_text())

    def test_mistakes_are_told_before_anything_starts(self) -> None:
        """A wrong id, a mistake in the file, a missing option: a sentence and status 1."""
        path, _ = self.alone()
        wrong = self.stage.folder / "wrong.yaml"
        wrong.write_text("active_deployment: s\ndeployments: {s: {bukets: {}}}\n")
        for arguments, said in (
            (("tako-node", "-id", "n9", "-cfg", path), "has no node n9; there are n1"),
            (("tako-proxy", "-id", "p1", "-p", "0", "-cfg", str(wrong)), "deployments.s.bukets: is not known here"),
            (("tako-cluster", path, "-p", "8080", "-s", "n4", "n5"), "-s: the configuration has no n4, n5"),
        ):
            process = self.tako("mistaken", *arguments)
            self.assertEqual(process.run(60), 1)
            self.assertIn(said, process.output())
            self.assertLess(len(process.output().splitlines()), 3, process.output())

    def test_a_coordinator_reads_its_file_again(self) -> None:
        """SIGUSR1 hands out a change under a higher version; a mistake changes nothing."""
        document, _ = ten_nodes()
        path = Path(self.settings("coordinated", document))
        port = document["coordinators"]["c1"][1]
        coordinator = self.tako("c1", "tako-coordinator", "-id", "c1", "-cfg", str(path))
        coordinator.start()
        until(lambda: healthy(port), 60, "the coordinator is up")

        def served() -> Any:
            return json.loads(ask(port, "/configuration", None, "localhost").text)

        first = served()
        for text, target in ((json.dumps({**document, "target_deployment": "seven"}), "seven"), ("{}", "seven")):
            path.write_text(text)
            coordinator.send(signal.SIGUSR1)
            until(partial(self.serves, port, target), 20, "the change is handed out")
        coordinator.wait_for_output("stays as it was")
        self.assertGreater(served()["version"], first["version"])
        self.assertIn(coordinator.stop(60), (0, -signal.SIGTERM))

    def serves(self, port: int, target: str) -> bool:
        """Whether a coordinator hands out a configuration with that target."""
        text = ask(port, "/configuration", None, "localhost").text
        return bool(json.loads(text)["target_deployment"] == target)

    def test_tokens_and_tls_between_nodes(self) -> None:
        """With a token and certificates nodes replicate over TLS; who shows no token gets nothing."""
        certificate, authority, token = self._secrets()
        *ports, secure = free_ports(5)
        http, internal = ports[:2], ports[2:]
        nodes = {f"n{n + 1}": ["localhost", http[n], internal[n]] for n in range(2)}
        deployment = {"write_level": "all", "buckets": {"b1": nodes}}
        path = self.settings("secret", {"active_deployment": "s", "deployments": {"s": deployment}})
        for name in nodes:
            self.tako(
                name, "tako-node", "-id", name, "-cfg", path, "-v", "var", "--token-file", str(token),
                "--tls-key", str(certificate), "--tls-ca", str(authority),
                *(("--listen", f"ssl:{secure}:privateKey={certificate}:certKey={certificate}") if name == "n1" else ()),
            ).start()  # fmt: skip
        until(lambda: all(map(healthy, http)), 60, "both nodes are up")
        self.assertEqual(ask(http[0], "/values/k", b"1", "localhost").status, 401)
        shown = {"Authorization": "Bearer secret-token-of-the-test"}
        until(
            lambda: ask(http[0], "/values/k", b"1", "localhost", **shown).text == "Stored on 2 of 2 nodes.\n",
            30, "both nodes hold it",
        )  # fmt: skip
        context = ssl.create_default_context(cafile=str(authority))
        with socket.create_connection(("localhost", internal[0]), 10) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                self.assertIn(wrapped.version(), ("TLSv1.2", "TLSv1.3"))
        asked = urllib.request.Request(f"https://localhost:{secure}/values/k", headers=shown)
        with urllib.request.urlopen(asked, timeout=20, context=context) as answer:
            self.assertEqual(answer.read(), b"1")

    def _secrets(self) -> tuple[Path, Path, Path]:
        """A certificate for localhost with its key, the authority's, and a token."""
        authority = Authority("Tako's tests")
        issued, key = authority.issue(self.stage.folder, "node", "localhost")
        both = self.stage.folder / "both.pem"
        both.write_bytes(key.read_bytes() + issued.read_bytes())
        token = self.stage.folder / "token"
        token.write_text("secret-token-of-the-test\n")
        token.chmod(0o600)
        return both, authority.save(self.stage.folder), token
