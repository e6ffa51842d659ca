"""statsd, the original one, from npm."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.peers.peer import PERCENTILES, Kind, Peer, Running, Transport, folder, output_of, started
from tests.benchmarks.peers.sink import sink, values
from tests.benchmarks.processes import free_port

HOME_VARIABLE = "TABA_BENCH_STATSD"
"""Names the folder of the package, where it is not among the global ones."""


class Statsd(Peer):
    """It flushes to Graphite, as its documentation begins with; Graphite is the benchmark's sink."""

    name = "statsd (npm)"
    configuration = (
        "flushInterval 10,000 ms (default), backend graphite, legacyNamespace false, "
        f"percentThreshold {list(PERCENTILES)}"
    )

    def missing(self) -> str | None:
        """See `Peer`."""
        if shutil.which("node") is None:
            return "node is not installed (apt-get install nodejs)"
        if self._home() is None:
            return f"npm install -g statsd, or npm install statsd anywhere and {HOME_VARIABLE}=.../node_modules/statsd"
        return None

    def version(self) -> str:
        """See `Peer`."""
        home = self._home()
        assert home is not None
        said = json.loads((home / "package.json").read_text())["version"]
        return f"statsd {said}, node {output_of('node', '--version').lstrip('v')}"

    def _home(self) -> Path | None:
        named = os.environ.get(HOME_VARIABLE)
        if named is None:
            said = [line for line in output_of("npm", "root", "-g").splitlines() if line.startswith("/")]
            named = f"{said[-1]}/statsd" if said else "/nowhere"
        home = Path(named).resolve()
        return home if (home / "stats.js").exists() else None

    @contextmanager
    def running(self, transport: Transport, kind: Kind, names: int) -> Iterator[Running]:
        """See `Peer`. What it counted is the sum of its flushed counts, name by name."""
        home = self._home()
        assert home is not None
        port, admin = free_port(), free_port()
        prefix, total = (b"stats.counters.bench." if kind is Kind.COUNTERS else b"stats.timers.bench."), 0.0
        with folder() as where, sink() as graphite:
            server = "./servers/tcp" if transport is Transport.TCP else "./servers/udp"
            settings = {
                "servers": [{"server": server, "address": "127.0.0.1", "port": port}],
                "mgmt_address": "127.0.0.1", "mgmt_port": admin,
                "backends": ["./backends/graphite"], "graphiteHost": "127.0.0.1", "graphitePort": graphite.port,
                "graphite": {"legacyNamespace": False}, "percentThreshold": list(PERCENTILES),
            }  # fmt: skip
            (where / "config.js").write_text(json.dumps(settings))

            def counted() -> int:
                nonlocal total
                total += sum(value for _, value, _ in values(graphite.take(), prefix, b".count"))
                return round(total)

            with started(["node", str(home / "stats.js"), "config.js"], where, admin) as process:
                yield Running(port, {self.name: [process.pid]}, counted)
