"""carbon-aggregator of graphite-carbon: the same events as Graphite lines, since it does not speak StatsD."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from attrs import define, field

from tests.benchmarks.peers.peer import PERCENTILES, Kind, Peer, Running, Transport, folder, output_of, started
from tests.benchmarks.peers.sink import sink, values
from tests.benchmarks.processes import free_port
from tests.benchmarks.statsd_lines import Prepared

SETTINGS = """[aggregator]
STORAGE_DIR = {home}
CONF_DIR = {home}
LOG_DIR = {home}
PID_DIR = {home}
USER =
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {port}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle}
FORWARD_ALL = False
DESTINATIONS = 127.0.0.1:{graphite}:a
DESTINATION_PROTOCOL = line
MAX_QUEUE_SIZE = 1000000
CARBON_METRIC_INTERVAL = 0
LOG_LISTENER_CONN_SUCCESS = False
"""
SCHEMAS = "[all]\npattern = .*\nretentions = 10s:1d\n"


def graphite_lines(lines: Iterable[bytes], now: int) -> list[bytes]:
    """Each StatsD line as `name value time`."""
    made = []
    for line in lines:
        name, _, rest = line.partition(b":")
        made.append(b"%s %s %d\n" % (name, rest.partition(b"|")[0], now))
    return made


@define
class Aggregates:
    """Sums and counts per name and interval; the aggregator sends an interval again when more has come for it."""

    suffix: bytes
    _latest: dict[tuple[bytes, bytes], float] = field(factory=dict)

    def add(self, text: bytes) -> None:
        """More lines of it."""
        self._latest.update(((name, at), value) for name, value, at in values(text, b"agg.bench.", self.suffix))

    @property
    def events(self) -> int:
        """All events so far."""
        return round(sum(self._latest.values()))


class Carbon(Peer):
    """Aggregates by rules: a sum for each counter; for each timer a count and the percentiles, a rule each."""

    name = "carbon-aggregator"
    transports = (Transport.TCP,)
    configuration = (
        "Graphite's line protocol with the same names and values; rules with 10 s intervals, `sum` for counters, "
        f"`count` and {', '.join(f'p{each}' for each in PERCENTILES)} for timers; FORWARD_ALL False, a queue that "
        "holds a whole flush"
    )

    def missing(self) -> str | None:
        """See `Peer`."""
        return None if shutil.which("carbon-aggregator") else "apt-get install graphite-carbon"

    def version(self) -> str:
        """See `Peer`."""
        return "carbon " + output_of("dpkg-query", "-W", "-f", "${Version}", "graphite-carbon")

    def prepare(self, transport: Transport, kind: Kind, names: int) -> Prepared:
        """See `Peer`. The lines bear the present time, so they are made anew for each run."""
        return self.pack(transport, graphite_lines(self.lines(kind, names), int(time.time())))

    @contextmanager
    def running(self, transport: Transport, kind: Kind, names: int) -> Iterator[Running]:
        """See `Peer`."""
        methods = ["sum"] if kind is Kind.COUNTERS else ["count", *(f"p{each}" for each in PERCENTILES)]
        port, aggregates = free_port(), Aggregates(f".{methods[0]}".encode())
        with folder() as home, sink() as graphite:
            text = SETTINGS.format(home=home, port=port, pickle=free_port(), graphite=graphite.port)
            (home / "carbon.conf").write_text(text)
            (home / "storage-schemas.conf").write_text(SCHEMAS)
            rules = [f"agg.bench.<name>.{each} (10) = {each} bench.<<name>>\n" for each in methods]
            (home / "aggregation-rules.conf").write_text("".join(rules))

            def counted() -> int:
                aggregates.add(graphite.take())
                return aggregates.events

            command = [
                "carbon-aggregator", "--nodaemon", f"--config={home / 'carbon.conf'}", f"--pidfile={home / 'pid'}",
                "start",
            ]  # fmt: skip
            with started(command, home, port) as process:
                yield Running(port, {self.name: [process.pid]}, counted)
