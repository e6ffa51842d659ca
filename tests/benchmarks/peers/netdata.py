"""netdata: its StatsD collector, with every other collector off."""

from __future__ import annotations

import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.peers.peer import Kind, Peer, Running, Transport, folder, output_of, started
from tests.benchmarks.processes import free_port

OFF = (
    "proc", "diskspace", "cgroups", "tc", "idlejitter", "timex", "slabinfo", "apps", "ebpf", "perf", "nfacct",
    "fping", "ioping", "python.d", "charts.d", "go.d", "node.d", "enable running new plugins",
)  # fmt: skip
SETTINGS = """[global]
  run as user = root
[directories]
  config = {home}
  stock config = {home}
  cache = {home}/cache
  lib = {home}/lib
  log = {home}/log
  home = {home}
[db]
  mode = ram
[ml]
  enabled = no
[health]
  enabled = no
[web]
  bind to = 127.0.0.1:{web}
[plugins]
{off}
  statsd = yes
[statsd]
  bind to = udp:127.0.0.1:{port} tcp:127.0.0.1:{port}
"""


def parse_events(text: str, kind: str) -> int:
    """The raw count of events of a kind (`counters`, `timers`) in netdata's answer in Prometheus format."""
    for line in text.splitlines():
        if line.startswith("netdata_netdata_statsd_events_total{") and f'dimension="{kind}"' in line:
            return int(line.split("}", 1)[1].split()[0])
    return 0


class Netdata(Peer):
    """One percentile a timer, the 95th, is what it can be told to compute; median, sum and deviation come always."""

    name = "netdata"
    flush_seconds = 1.0
    configuration = (
        "flush every 1 s (its default), db mode ram, its other collectors, health and ml off; 95th percentile and "
        "median (all it offers), a chart for the first 1,000 names (its default limit)"
    )

    def missing(self) -> str | None:
        """See `Peer`."""
        return None if shutil.which("netdata") else "apt-get install netdata-core"

    def version(self) -> str:
        """See `Peer`."""
        return output_of("netdata", "-V")

    @contextmanager
    def running(self, transport: Transport, kind: Kind, names: int) -> Iterator[Running]:
        """See `Peer`. What it counted is its own count of events of the kind, which it charts about itself."""
        port, web = free_port(), free_port()
        ask = urllib.parse.urlencode({"format": "prometheus", "source": "raw", "filter": "netdata.statsd_events"})
        url = f"http://127.0.0.1:{web}/api/v1/allmetrics?{ask}"
        with folder() as home:
            for each in ("cache", "lib", "log"):
                Path(home, each).mkdir()
            off = "\n".join(f"  {each} = no" for each in OFF)
            (home / "netdata.conf").write_text(SETTINGS.format(home=home, web=web, port=port, off=off))

            latest = 0

            def counted() -> int:
                nonlocal latest
                with urllib.request.urlopen(url, timeout=30) as answer:
                    latest = max(latest, parse_events(answer.read().decode(), kind.value))
                return latest  # a chart that is late is not in the answer

            command = ["netdata", "-D", "-c", str(home / "netdata.conf"), "-P", str(home / "pid")]
            with started(command, home, web) as process:
                yield Running(port, {self.name: [process.pid]}, counted)
