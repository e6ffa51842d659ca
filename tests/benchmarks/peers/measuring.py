"""One cell of the table: a peer, a transport, a kind, a number of names; several runs on one process of the peer.

Before the runs each name has come for some rounds, so that its birth is not measured. Each run sends for some seconds
and ends when the peer has told of all events, or of no more for long enough; so each has at least one flush, and its
CPU.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from attrs import frozen

from tests.benchmarks.peers import sending
from tests.benchmarks.peers.peer import Kind, Peer, Running, Transport, cpu_seconds, peak_memory
from tests.benchmarks.peers.queues import queue
from tests.benchmarks.statsd_lines import Prepared

WINDOW_BYTES = 100_000
"""Of a receive queue of Linux's default 212,992 bytes. A datagram of 8 kB is charged as 17 kB, and what was read is
given back only once it comes to a quarter of the queue, so that more than half of it is never safe to fill.
"""
POLL_SECONDS = 0.25
AFTER_SECONDS = 0.3
"""From the last count to the reading of CPU: a flush has more lines than the counts."""

PATIENCE_SECONDS = 40.0
"""Without another event counted, until the rest is taken for lost: a flush of many names may take long."""
LOSS_SECONDS = 8.0
"""The same beyond a flush, when the kernel says that datagrams were dropped, so that something is lost."""


@frozen
class Run:
    """What was sent and counted, the seconds of sending, CPU seconds by row, the datagrams the kernel dropped, and the
    CPU seconds of the generator, which show that it is not the limit.
    """

    sent: int
    counted: int
    seconds: float
    cpu: Mapping[str, float]
    dropped: int
    generator_cpu: float

    @property
    def lost(self) -> int:
        """Events that were sent and not counted (negative: counted more than sent)."""
        return self.sent - self.counted

    def rate(self, row: str) -> float:
        """Events counted per CPU second of a row."""
        return self.counted / max(self.cpu[row], 1e-9)


@frozen
class Cell:
    """The runs of one peer in one situation. `offered` is the rate of the generator, None where the peer sets it."""

    rows: Sequence[str]
    transport: Transport
    kind: Kind
    names: int
    offered: float | None
    runs: Sequence[Run]
    memory: Mapping[str, int]


def measure(
    peer: Peer, transport: Transport, kind: Kind, names: int, runs: int, seconds: float, offered: float
) -> list[Cell]:
    """Start the peer, and measure. Over UDP a second cell tells of one run at an offered rate, if that is not 0."""
    with peer.running(transport, kind, names) as running:
        rows = list(running.pids)
        prepared = peer.prepare(transport, kind, names)
        _run(peer, running, transport, prepared, None, None)
        done = []
        for _ in range(runs):
            prepared = peer.prepare(transport, kind, names)
            done.append(_run(peer, running, transport, prepared, seconds, None))
        memory = {row: peak_memory(pids) for row, pids in running.pids.items()}
        cells = [Cell(rows, transport, kind, names, None, done, memory)]
        if transport is Transport.UDP and offered:
            flood = _run(peer, running, transport, prepared, seconds, offered)
            memory = {row: peak_memory(pids) for row, pids in running.pids.items()}
            cells.append(Cell(rows, transport, kind, names, offered, [flood], memory))
    return cells


def _run(
    peer: Peer,
    running: Running,
    transport: Transport,
    prepared: Prepared,
    seconds: float | None,
    offered: float | None,
) -> Run:
    before = running.counted()
    dropped = queue(running.port).dropped
    cpu = {row: cpu_seconds(pids) for row, pids in running.pids.items()}
    if transport is Transport.TCP:
        sent = sending.in_own_process(sending.stream, running.port, prepared, seconds)
    elif offered is not None:
        sent = sending.in_own_process(sending.offered, running.port, prepared, seconds, offered)
    else:
        sent = sending.in_own_process(sending.paced, running.port, prepared, seconds, WINDOW_BYTES)
    counted, spent = _settle(peer, running, before, dropped, sent.events)
    used = {row: spent[row] - cpu[row] for row in cpu}
    dropped = queue(running.port).dropped - dropped
    return Run(sent.events, counted, sent.seconds, used, dropped, sent.cpu)


def _settle(peer: Peer, running: Running, before: int, dropped: int, sent: int) -> tuple[int, dict[str, float]]:
    """Wait for the counts; the events counted, and the CPU seconds at the time of the last of them."""
    counted, changed = -1, time.monotonic()
    cpu: dict[str, float] = {}
    while True:
        now = running.counted() - before
        if now != counted:
            counted, changed = now, time.monotonic()
            time.sleep(AFTER_SECONDS)
            cpu = {row: cpu_seconds(pids) for row, pids in running.pids.items()}
        lossy = queue(running.port).dropped > dropped
        patience = 1.2 * peer.flush_seconds + LOSS_SECONDS if lossy else PATIENCE_SECONDS
        if counted >= sent or time.monotonic() - changed > patience:
            return counted, cpu
        time.sleep(POLL_SECONDS)
