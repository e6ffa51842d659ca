"""Tako on real processes: gets and durable sets per CPU second of the nodes and of the proxy, and healing of equal
nodes.

The cluster is that of docs/tako/local_cluster.yaml on free ports: ten nodes, five buckets, two buckets per key, so that
every key is on four nodes; levels are the default ones (quorum). CPU is user and system time of the processes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from taba.tako import tables
from taba.tako.records import version_of
from tests.benchmarks.processes import TICKS, free_port
from tests.benchmarks.report import Figure

CONNECTIONS = 64
VALUE_BYTES = 1_000
KEYS = 4_000
SECONDS = 6.0
RUNS = 3
HEALED_KEYS = int(os.environ.get("TABA_TAKO_HEALED_KEYS", "1000000"))
_RUN = "import sys; from taba.tako.command_line import run_twistd; run_twistd(sys.argv[1], sys.argv[2:])"


def configuration(buckets: int, nodes_a_bucket: int, buckets_per_key: int, **more: Any) -> dict[str, Any]:
    """A cluster on free ports of this host."""
    number = iter(range(1, 1000))
    return {
        "active_deployment": "cluster",
        "deployments": {
            "cluster": {
                "read_repair": True,
                "background_healing": True,
                "hash": {"buckets_per_key": buckets_per_key},
                "buckets": {
                    f"b{bucket}": {
                        f"n{next(number)}": ["localhost", free_port(), free_port()] for _ in range(nodes_a_bucket)
                    }
                    for bucket in range(1, buckets + 1)
                },
                **more,
            }
        },
        "master_coordinator": "c1",
        "coordinators": {"c1": ["localhost", free_port()]},
    }


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@frozen
class Cluster:
    """A `tako-cluster` that runs."""

    folder: Path
    process: subprocess.Popen[bytes]
    proxy_port: int
    configuration: dict[str, Any]

    def pids(self) -> dict[str, int]:
        """Name -> process, of all that tako-cluster started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        words = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in children}
        return {each[each.index(b"-id") + 1].decode(): pid for pid, each in words.items() if b"-id" in each}

    def node_ports(self) -> dict[str, int]:
        """Node -> HTTP port."""
        buckets = self.configuration["deployments"]["cluster"]["buckets"]
        return {node: where[1] for nodes in buckets.values() for node, where in nodes.items()}

    def node_cpu(self) -> float:
        """Of all nodes together."""
        return sum(cpu_seconds(pid) for name, pid in self.pids().items() if name.startswith("n"))

    def proxy_cpu(self) -> float:
        """Of the proxy."""
        return cpu_seconds(self.pids()["proxy"])


@contextmanager
def cluster(document: dict[str, Any], made: Path | None = None, cache: str = "32") -> Iterator[Cluster]:
    """A running cluster in a temporary folder, or in a folder that was made; all of it answers."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = made or Path(name), free_port()
        (folder / "cluster.json").write_text(json.dumps(document))
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _RUN, "tako-cluster", "cluster.json", "-p", str(port), "-u", "30",
                 "--cache", cache],
                cwd=folder, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )  # fmt: skip
        running = Cluster(folder, process, port, document)
        try:
            for each in (port, *running.node_ports().values()):
                _wait_for(each)
            time.sleep(3.0)  # first healing cycles and connections
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _wait_for(port: int, seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(f"http://localhost:{port}/healthz", timeout=5).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


# ------------------------------------------------------------------------------------------------------------ the load


async def _requests(port: int, make: Callable[[], bytes], until: float) -> int:
    """Requests on one connection, one after the other; how many were answered with 200."""
    reader, writer = await asyncio.open_connection("localhost", port)
    count = 0
    while time.monotonic() < until:
        writer.write(make())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        count += 1
    writer.close()
    return count


async def _load(port: int, make: Callable[[], bytes], seconds: float) -> int:
    until = time.monotonic() + seconds
    return sum(await asyncio.gather(*(_requests(port, make, until) for _ in range(CONNECTIONS))))


def load(port: int, make: Callable[[], bytes], seconds: float = SECONDS) -> int:
    """So many seconds of requests on all connections; how many were answered."""
    return asyncio.run(_load(port, make, seconds))


def get_of(chance: random.Random) -> bytes:
    """A get of one of the keys."""
    return b"GET /values/bench/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % chance.randrange(KEYS)


def set_of(chance: random.Random) -> bytes:
    """A set of one of the keys, to a value of VALUE_BYTES."""
    return b"POST /values/bench/%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
        chance.randrange(KEYS), VALUE_BYTES, chance.randbytes(VALUE_BYTES),
    )  # fmt: skip


def _fill(port: int) -> None:
    """Set every key once."""
    numbers = itertools.count()
    value = bytes(VALUE_BYTES)

    def make() -> bytes:
        return b"POST /values/bench/%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
            next(numbers) % KEYS, VALUE_BYTES, value,
        )  # fmt: skip

    sent = 0
    while sent < KEYS:
        sent += load(port, make, 1.0)


@frozen
class Rates:
    """Requests per CPU second of the nodes together, and of the proxy."""

    nodes: float
    proxy: float


def rates(running: Cluster, make: Callable[[], bytes]) -> Rates:
    """Those of one run."""
    nodes, proxy = running.node_cpu(), running.proxy_cpu()
    count = load(running.proxy_port, make)
    return Rates(count / (running.node_cpu() - nodes), count / (running.proxy_cpu() - proxy))


def run() -> Iterator[Figure]:
    """All figures."""
    yield from _requests_figures("10 nodes, 4 replicas", configuration(5, 2, 2))
    yield from _requests_figures("10 nodes, 4 replicas, nothing in memory", configuration(5, 2, 2), "0")
    yield from _requests_figures("2 nodes, 2 replicas", configuration(2, 1, 2))
    yield from _healing_figures()


def _requests_figures(name: str, document: dict[str, Any], cache: str = "32") -> Iterator[Figure]:
    chance = random.Random(7)
    with cluster(document, cache=cache) as running:
        _fill(running.proxy_port)
        sets = [rates(running, lambda: set_of(chance)) for _ in range(RUNS)]
        gets = [rates(running, lambda: get_of(chance)) for _ in range(RUNS)]
    unit = "per CPU second"
    yield Figure(f"Tako gets, 1 kB, nodes' CPU, {name}", [each.nodes for each in gets], unit, 2_500)
    yield Figure(f"Tako durable sets, 1 kB, nodes' CPU, {name}", [each.nodes for each in sets], unit, 1_000)
    yield Figure(f"Tako gets, proxy's CPU, {name}", [each.proxy for each in gets], unit, 2_500)
    yield Figure(f"Tako sets, proxy's CPU, {name}", [each.proxy for each in sets], unit, 2_500)


# --------------------------------------------------------------------------------------------------------- healing


def _healing_figures() -> Iterator[Figure]:
    """Two nodes of one bucket with the same keys heal: the CPU of both, for a whole cycle with every value read."""
    document = configuration(1, 2, 1, healing_rate=1e9)
    document["deployments"]["cluster"]["background_healing"] = False  # cycles begin when they are asked for
    with tempfile.TemporaryDirectory() as name:
        for node in document["deployments"]["cluster"]["buckets"]["b1"]:
            fill_database(Path(name) / "tako-var" / node, node, HEALED_KEYS)
        with cluster(document, Path(name)) as running:
            before = running.node_cpu()
            shown = [_heal(port) for port in running.node_ports().values()]
            spent, whole = running.node_cpu() - before, running.node_cpu()
            if any(each["fetched"] or each["sent"] or each["damaged"] for each in shown):
                raise RuntimeError(f"the nodes were not equal: {shown}")
    name = f"Tako healing of {HEALED_KEYS:,} equal keys between two nodes"
    yield Figure(f"{name}, one cycle of each", [spent], "CPU seconds", 30, less_is_better=True)
    yield Figure(f"{name}, with both starts", [whole], "CPU seconds", less_is_better=True)


def fill_database(folder: Path, node: str, keys: int) -> None:
    """Put so many records of 100 bytes into a node's database, the same ones for every node."""
    folder.mkdir(parents=True)
    database = sqlite3.connect(folder / "tako.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    tables.establish(database, str(folder), node, f"store of {node}")
    for number in range(keys):
        key, value = b"history/%d" % number, b"%0100d" % number
        tables.write(database, key, version_of(1_700_000_000_000_000 + number, value), number + 1, value, 2**53)
    database.execute("COMMIT")
    database.close()


def _heal(port: int) -> dict[str, Any]:
    """One cycle of a node; what it did."""
    asked = urllib.request.Request(f"http://localhost:{port}/heal", method="POST", data=b"")
    with urllib.request.urlopen(asked, timeout=600) as answer:
        shown: dict[str, Any] = json.load(answer)
        return shown


def main(arguments: Sequence[str]) -> None:
    """Print the figures."""
    for figure in run():
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
