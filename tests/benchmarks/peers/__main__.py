"""`python -m tests.benchmarks.peers`: measure what is installed, name what is not; the table, and bench-peers.json."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.peers import table
from tests.benchmarks.peers.carbon import Carbon
from tests.benchmarks.peers.collectd import Collectd
from tests.benchmarks.peers.measuring import Cell, measure
from tests.benchmarks.peers.netdata import Netdata
from tests.benchmarks.peers.peer import Kind, Peer, Transport
from tests.benchmarks.peers.statsd_npm import Statsd
from tests.benchmarks.peers.taba_agent import TabaAgent

PEERS: dict[str, Peer] = {
    "taba": TabaAgent(),
    "statsd": Statsd(),
    "netdata": Netdata(),
    "collectd": Collectd(),
    "carbon": Carbon(),
}
WITHOUT_DRIVER = {
    "statsite": "no driver here, no Debian package; to be built from its sources",
    "brubeck": "no driver here, no Debian package; to be built from its sources",
    "telegraf": "no driver here, no Debian package; its maker has packages",
}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("peers", nargs="*", help=f"of {', '.join(PEERS)}; all of them without any")
    parser.add_argument("--runs", type=int, default=3, help="of each cell; the median counts [3]")
    parser.add_argument("--seconds", type=float, default=8.0, help="of sending in each run [8]")
    parser.add_argument("--names", type=int, nargs="+", default=[200, 20_000], help="numbers of names [200 20000]")
    kinds = [each.value for each in Kind]
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds)
    ways = [each.value for each in Transport]
    parser.add_argument("--transports", nargs="+", choices=ways, default=ways)
    flood = "events/s of one more run over UDP, with the first number of names; 0: none [1e6]"
    parser.add_argument("--offered", type=float, default=1e6, help=flood)
    parser.add_argument("--json", type=Path, default=Path("bench-peers.json"))
    options = parser.parse_args(arguments)
    if unknown := [each for each in options.peers if each not in PEERS]:
        parser.error(f"no such peer: {', '.join(unknown)}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, printing each row as it is there, then the table with the ratios. Without arguments, those of the
    command line.
    """
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that what was started is ended
    said = {each: str(value) for each, value in vars(options).items()}
    cells: list[Cell] = []
    missing = dict(WITHOUT_DRIVER)
    versions = {}
    print("\n".join(table.HEADER), flush=True)
    for name in options.peers or list(PEERS):
        peer = PEERS[name]
        if (reason := peer.missing()) is not None:
            missing[peer.name] = reason
            continue
        versions[peer.name] = f"{peer.version()}; {peer.configuration}"
        cells += _cells(peer, options)
        table.write_json(cells, versions, missing, said, options.json)
    print(f"\n{table.table(cells)}\n")
    for name, version in versions.items():
        print(f"* {name}: {version}")
    for name, reason in missing.items():
        print(f"* {name} is not measured: {reason}")
    table.write_json(cells, versions, missing, said, options.json)
    print(f"written to {options.json.resolve()}")


def _cells(peer: Peer, options: argparse.Namespace) -> list[Cell]:
    """All cells of a peer, each printed when it is there; one that fails is named, and the others go on."""
    cells: list[Cell] = []
    for transport in (each for each in peer.transports if each.value in options.transports):
        for kind in (each for each in peer.kinds if each.value in options.kinds):
            for names in options.names:
                offered = options.offered if names == options.names[0] else 0.0
                where = f"{peer.name}, {transport.value}, {kind.value}, {names} names"
                try:
                    made = measure(peer, transport, kind, names, options.runs, options.seconds, offered)
                except (OSError, RuntimeError) as error:
                    print(f"* {where}: failed, not measured: {error}", flush=True)
                    continue
                for cell in made:
                    print("\n".join(table.lines(cell, {})), flush=True)
                cells += made
    return cells


if __name__ == "__main__":
    main()
