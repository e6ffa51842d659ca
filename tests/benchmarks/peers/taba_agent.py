"""Taba's own agent, through its StatsD endpoint, in front of a server: two rows, the agent's CPU, and that of both."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks import processes
from tests.benchmarks.peers.peer import START_SECONDS, Kind, Peer, Running, Transport, folder, output_of, started

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
AGENT_ROW, WHOLE_ROW = "Taba agent", "Taba agent + server"


@functools.cache
def _takes_statsd() -> bool:
    return "--statsd" in output_of(*TWISTD, "-n", "taba-agent", "--help")


class TabaAgent(Peer):
    """What was folded into States counts, so an event has to come the whole way: durable in the agent's spool, then
    durable in the server's store.
    """

    name = AGENT_ROW
    flush_seconds = 1.0
    configuration = (
        "defaults: forwards every 0.25 s to a server with the embedded store, all of it durable; counters as "
        "CounterGroup, timers as PercentileGroup, windows of a minute to a day"
    )

    def missing(self) -> str | None:
        """See `Peer`."""
        return None if _takes_statsd() else "not built yet: `twistd taba-agent --help` lists no --statsd"

    def version(self) -> str:
        """See `Peer`."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return f"taba {version('taba')}"
        except PackageNotFoundError:
            return "taba, of this checkout"

    @contextmanager
    def running(self, transport: Transport, kind: Kind, names: int) -> Iterator[Running]:
        """See `Peer`."""
        own = {"PYTHONPATH": os.pathsep.join(str(Path(each).resolve()) for each in sys.path)}
        port, web, api, nobody = (processes.free_port() for _ in range(4))
        serving = [*TWISTD, "-n", "taba-server", "--port", str(api), "--config", "server.json"]
        taking = [
            *TWISTD, "-n", "taba-agent", "--port", str(web), "--server", f"127.0.0.1:{api}",
            "--statsd", f"{transport.value.lower()}:{port}",
        ]  # fmt: skip
        with folder() as store, folder() as home:
            # Without an agent of its own, the server cannot count what it records of itself among the others' events.
            (store / "server.json").write_text(json.dumps({"EMBEDDED_AGENT": False, "AGENT_PORT": nobody}))
            with started(serving, store, api, own) as server, started(taking, home, web, own) as agent:
                _until_ready(web)
                pids = {AGENT_ROW: [agent.pid], WHOLE_ROW: [agent.pid, server.pid]}
                yield Running(port, pids, lambda: _folded(api))


def _until_ready(port: int) -> None:
    """Until an agent takes events; its StatsD port may open after the one that is asked."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the agent does not become ready: {error}")
            time.sleep(0.1)


def _folded(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ledger", timeout=30) as answer:
        return parse_ledger(answer.read().decode(), "folded")


def parse_ledger(text: str, line: str) -> int:
    """A line of a ledger as text, `line: count`; 0 for one that is not there."""
    for each in text.splitlines():
        name, _, count = each.rpartition(": ")
        if name == line:
            return int(count.replace(",", ""))
    return 0
