"""collectd: its StatsD plugin, flushing to Graphite."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

from tests.benchmarks.peers.peer import PERCENTILES, Kind, Peer, Running, Transport, folder, output_of, started
from tests.benchmarks.peers.sink import sink, values
from tests.benchmarks.processes import free_port

TYPES_DB = "/usr/share/collectd/types.db"
SETTINGS = """Hostname "bench"
FQDNLookup false
BaseDir "{home}"
PIDFile "{home}/pid"
TypesDB "{types}"
Interval 10
LoadPlugin logfile
<Plugin logfile>
  LogLevel warning
  File "{home}/log"
</Plugin>
LoadPlugin statsd
<Plugin statsd>
  Host "127.0.0.1"
  Port "{port}"
{percentiles}
  TimerCount true
</Plugin>
LoadPlugin write_graphite
<Plugin write_graphite>
  <Node "sink">
    Host "127.0.0.1"
    Port "{graphite}"
    Protocol "tcp"
    StoreRates false
  </Node>
</Plugin>
"""


@define
class Flushed:
    """What collectd's flushes say: counters come as totals since its start, timers as counts since the last flush."""

    _totals: dict[bytes, float] = field(factory=dict)
    _timers: float = 0.0

    def add(self, text: bytes) -> None:
        """More lines of it."""
        self._totals.update((name, value) for name, value, _ in values(text, b"bench.statsd.derive-"))
        self._timers += sum(value for _, value, _ in values(text, b"bench.statsd.gauge-", b"-count"))

    @property
    def events(self) -> int:
        """All events so far."""
        return round(sum(self._totals.values()) + self._timers)


class Collectd(Peer):
    """Its plugin reads datagrams of 4,096 bytes, and cuts longer ones without a word; it has no TCP. Of timers it takes
    whole milliseconds, and ignores those below one, so that about one in a thousand of the benchmark's is not counted.
    """

    name = "collectd"
    transports = (Transport.UDP,)
    datagram_bytes = 4_000
    configuration = (
        "Interval 10 s (default), write_graphite over TCP, TimerPercentile "
        f"{', '.join(map(str, PERCENTILES))}, TimerCount; datagrams of 4,000 bytes, since it cuts what is over 4,096"
    )

    def missing(self) -> str | None:
        """See `Peer`."""
        return None if shutil.which("collectd") else "apt-get install collectd-core"

    def version(self) -> str:
        """See `Peer`."""
        found = re.search(r"collectd [\d.]+\d", output_of("collectd", "-h"))
        return found.group() if found else "collectd"

    @contextmanager
    def running(self, transport: Transport, kind: Kind, names: int) -> Iterator[Running]:
        """See `Peer`."""
        port, flushed = free_port(), Flushed()
        with folder() as home, sink() as graphite:
            percentiles = "\n".join(f"  TimerPercentile {each}" for each in PERCENTILES)
            text = SETTINGS.format(
                home=home, types=TYPES_DB, port=port, graphite=graphite.port, percentiles=percentiles
            )
            (home / "collectd.conf").write_text(text)

            def counted() -> int:
                flushed.add(graphite.take())
                return flushed.events

            with started(["collectd", "-f", "-C", str(home / "collectd.conf")], home, 0) as process:
                time.sleep(1.5)  # it says nowhere that it listens
                yield Running(port, {self.name: [process.pid]}, counted)
