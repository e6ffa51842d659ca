"""What recording costs an application: a call, and an event's share of sending, both in CPU time of its process.

The call is compared with `Counter.inc` of prometheus_client in the same run, in turns, so that a busy machine is busy
for both. Sending is measured in a process of its own, over a real socket to an agent that only answers: user and system
time of that process while its engine's thread takes, encodes and posts what was recorded before. What the calls cost is
not in it.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import timeit
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import taba
from taba.client.engines.posting import Poster
from taba.client.names import parse_url
from taba.client.recorder import Recorder
from taba.client.sender import Post, Sender
from tests.benchmarks.report import Figure

RUNS = 7
LOOPS = 10
CALLS = 20_000
SENDS = ((1, 50_000), (50, 1_000), (200, 20), (10_000, 5), (1, 1_000))
"""Tabs, and events of each, in a flush."""
FLUSHES = 20


def run() -> Iterator[Figure]:
    """The call, its ratio to the peer's, and sending for several shapes of a flush."""
    if find_spec("prometheus_client") is None:
        print("prometheus_client is not installed: the call is compared with nothing (pip install 'taba[bench]')")
    yield from _calls()
    for tabs, events in SENDS:
        costs = [_sending(tabs, events) for _ in range(3)]
        goal = 200.0 if tabs * events >= 10_000 and events > 5 else None
        yield Figure(
            f"client flush, encode and post, {tabs} tabs x {events}", costs, "ns of CPU per event", goal, True
        )


# -- the call ----------------------------------------------------------------------------------------------------------


def _nanoseconds(statement: str, names: dict[str, object]) -> float:
    """CPU time of a statement, without that of the loop around it: the best of several loops."""
    costs = []
    for each in (statement, "pass"):
        timer = timeit.Timer(each, timer=time.process_time, globals=names)
        costs.append(min(timer.repeat(LOOPS, CALLS)) / CALLS * 1e9)
    return costs[0] - costs[1]


def _calls() -> Iterator[Figure]:
    own: list[float] = []
    theirs: list[float] = []
    peer = _peer()
    for _ in range(RUNS):
        recorder = Recorder(time.time, 1 << 30)
        recorder.open(lambda: None)
        own.append(_nanoseconds('counter("bids_won")', {"counter": recorder.counter}))
        if peer is not None:
            theirs.append(_nanoseconds("increment()", {"increment": peer}))
    yield Figure("client.counter(name)", own, "ns of CPU per call")
    if theirs:
        yield Figure("prometheus_client Counter.inc()", theirs, "ns of CPU per call")
        ratios = [mine / other for mine, other in zip(own, theirs, strict=True)]
        yield Figure("client.counter to prometheus_client's inc, the same run", ratios, "of its cost", 0.55, True)


def _peer() -> Callable[[], object] | None:
    if find_spec("prometheus_client") is None:
        return None
    from prometheus_client import CollectorRegistry, Counter

    increment: Callable[[], object] = Counter("bids_won", "Bids won.", registry=CollectorRegistry()).inc
    return increment


# -- sending -----------------------------------------------------------------------------------------------------------


class _Taker(BaseHTTPRequestHandler):
    """An agent that takes everything and looks at nothing but where a request ends."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Called for a POST."""
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self.send_response(200)
        self.send_header("Taba-Instance", "0" * 32)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def _sending(tabs: int, events: int) -> float:
    """Nanoseconds of CPU per event, of a process that sends to one that takes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/post"
        code = f"from tests.benchmarks.client import send; send({url!r}, {tabs}, {events})"
        homes = [Path(taba.__file__).parent.parent, Path(__file__).parents[2]]
        output = subprocess.check_output(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, homes))}
        )
    finally:
        server.shutdown()
        server.server_close()
    return float(json.loads(output))


def send(url: str, tabs: int, events: int) -> None:
    """Record and send, flush after flush; print the nanoseconds of CPU of sending per event. For a process of its own.

    Sender and Poster are driven as the default engine's thread drives them, but that it would wait in between.
    """
    chance = random.Random(1)
    values = [chance.expovariate(1.0) if number & 1 else number for number in range(1000)]
    recorder = Recorder(time.time, 1 << 30)
    sender = Sender(recorder, "bench", jitter=lambda: 0.0)
    sender.open(lambda: None)
    poster = Poster(parse_url(url))
    spent = 0.0
    for flush in range(FLUSHES + 1):
        for tab in range(tabs):
            name = f"tab.{tab}"
            for number in range(events):
                recorder.percentile(name, values[number % 1000])
        before = time.process_time()
        sender.flush_soon()
        while isinstance(post := sender.next_action(time.monotonic()), Post):
            answer = poster.post(post.headers, post.body, 60.0, post.protocol)
            sender.answered(post, answer, time.monotonic())
        if flush:  # the first one opens the connection and the instance
            spent += time.process_time() - before
    if sender.status()["acknowledged"] != (FLUSHES + 1) * tabs * events:
        raise RuntimeError(sender.status())
    poster.close()
    print(json.dumps(spent / (FLUSHES * tabs * events) * 1e9))
