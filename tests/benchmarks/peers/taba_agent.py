"""Taba's own agent, through its StatsD endpoint, in front of a server: two rows, the agent's CPU, and that of both."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks import processes
from tests.benchmarks.peers.peer import Kind, Peer, Running, Transport, folder, output_of, started

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
        """See `Peer`. The folder of the spool is the agent's own."""
        port, web = processes.free_port(), processes.free_port()
        with processes.server() as server, folder() as home:
            command = [
                *TWISTD, "-n", "taba-agent", "--port", str(web), "--server", f"127.0.0.1:{server.port}",
                "--statsd", f"{transport.value.lower()}:{port}",
            ]  # fmt: skip

            def counted() -> int:
                folded = server.json("ledger").get("folded", 0)
                assert isinstance(folded, int)
                return folded - first

            first = 0
            first = counted()
            with started(command, home, web) as process:
                yield Running(port, {AGENT_ROW: [process.pid], WHOLE_ROW: [process.pid, server.pid]}, counted)
