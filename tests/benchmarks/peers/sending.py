"""The generator: sends prepared blocks from a process of its own, so that it costs the receiver nothing.

It only copies prepared bytes into sockets, which a Python process does for tens of millions of lines a second: many
times what any of the receivers takes. A stream is held back by the receiver itself. Datagrams are sent in one of two
ways: *paced*, as fast as the receiver empties its queue, which the kernel shows, so that none is lost before the
receiver had its chance; or *offered*, at a rate by the clock, whatever the receiver does with it.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import socket
import time
from collections.abc import Callable, Iterator

from attrs import frozen

from tests.benchmarks.peers.queues import Gauge
from tests.benchmarks.statsd_lines import Prepared

LOOPBACK = "127.0.0.1"
PAUSE_SECONDS = 0.0001


@frozen
class Sent:
    """What a run of the generator sent, and how long it took. `cpu` is its own user and system time."""

    events: int
    blocks: int
    seconds: float
    cpu: float


def _cycle(prepared: Prepared, deadline: float | None) -> Iterator[tuple[bytes, int]]:
    """The blocks with their counts, over and over until a monotonic time; once, where there is none."""
    pairs = list(zip(prepared.blocks, prepared.counts, strict=True))
    while True:
        for pair in pairs:
            if deadline is not None and time.monotonic() >= deadline:
                return
            yield pair
        if deadline is None:
            return


def stream(port: int, prepared: Prepared, seconds: float | None) -> tuple[int, int]:
    """Send on one TCP connection for so long, or every block once; events and blocks."""
    events = blocks = 0
    with socket.create_connection((LOOPBACK, port), 30) as connection:
        connection.settimeout(60)
        for block, count in _cycle(prepared, None if seconds is None else time.monotonic() + seconds):
            connection.sendall(block)
            events, blocks = events + count, blocks + 1
    return events, blocks


def paced(port: int, prepared: Prepared, seconds: float | None, window: int) -> tuple[int, int]:
    """Send datagrams for so long, or every block once, while less than `window` bytes wait in the receiver's queue."""
    events = blocks = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((LOOPBACK, port))
        gauge = Gauge.of(sender)
        for block, count in _cycle(prepared, None if seconds is None else time.monotonic() + seconds):
            while gauge.waiting() >= window:
                time.sleep(PAUSE_SECONDS)
            sender.send(block)
            events, blocks = events + count, blocks + 1
    return events, blocks


def offered(port: int, prepared: Prepared, seconds: float, rate: float) -> tuple[int, int]:
    """Send datagrams for so long at a rate of events per second, in small bursts, whoever is able to follow."""
    events = blocks = 0
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((LOOPBACK, port))
        for block, count in _cycle(prepared, began + seconds):
            while (ahead := events / rate - (time.monotonic() - began)) > 0:
                time.sleep(min(ahead, 0.001))
            sender.send(block)
            events, blocks = events + count, blocks + 1
    return events, blocks


def _child(
    answer: multiprocessing.connection.Connection, send: Callable[..., tuple[int, int]], *arguments: object
) -> None:
    began = time.monotonic()
    events, blocks = send(*arguments)
    answer.send(Sent(events, blocks, time.monotonic() - began, time.process_time()))


def in_own_process(send: Callable[..., tuple[int, int]], *arguments: object) -> Sent:
    """Run one of the senders in a process of its own; RuntimeError if it fails, as when the receiver closes."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(there, send, *arguments), daemon=True)
    process.start()
    there.close()
    try:
        sent: Sent = here.recv()
    except EOFError:
        raise RuntimeError("the generator failed")
    finally:
        process.join()
    return sent
