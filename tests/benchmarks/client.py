"""What recording costs an application: a call, and an event's share of sending, both in CPU time of its process.

The call is compared with `Counter.inc` of prometheus_client in the same run, in turns, so that a busy machine is busy
for both. Sending is measured in a process of its own, over a real socket to one that takes and counts: user and system
time of that process while its engine's thread takes, encodes and posts what was recorded before. What the calls cost is
not in it. Where other stages tell how busy their sender was, this one tells it of the process that takes.
"""

from __future__ import annotations

import json
import os
import random
import resource
import struct
import subprocess
import sys
import threading
import time
import timeit
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import asdict, astuple, evolve, frozen

from taba.client.engines.posting import Poster
from taba.client.names import parse_url
from taba.client.recorder import Recorder
from taba.client.sender import Post, Sender
from tests.benchmarks import processes
from tests.benchmarks.asked import AS_USUAL, TYPES, Asked
from tests.benchmarks.counting import check
from tests.benchmarks.report import Figure, Run, figure_of
from tests.benchmarks.workloads import VALUES

RUNS = 7
LOOPS = 10
CALLS = 20_000
SENDS = ((1, 50_000), (50, 1_000), (200, 20), (10_000, 5), (1, 1_000))
"""Tabs, and events of each, in a flush."""
FLUSHES = 20
KINDS = {"CounterGroup": "counter", "PercentileGroup": "percentile", "Gauge": "gauge"}
"""The call of each Type."""
GOAL = 5.0
"""Million events per CPU second, of a flush in which the events weigh more than tabs and requests: 200 ns each."""


def run(asked: Asked = AS_USUAL) -> Iterator[Figure]:
    """The call, its ratio to the peer's, and sending for several shapes of a flush."""
    if not asked.axes:
        if find_spec("prometheus_client") is None:
            print("prometheus_client is not installed: the call is compared with nothing (pip install 'taba[bench]')")
        yield from _calls(asked)
    for shape in _shapes(asked):
        what = f"client flush: {shape}"
        runs = asked.repeat(what, 3, lambda shape=shape: sending(shape, Taking()))  # type: ignore[misc]
        yield figure_of(what, runs, GOAL if shape.is_aimed_at else None)


@frozen
class Shape:
    """What a flush holds."""

    tabs: int
    events: int
    """Of each tab."""
    type: str = "PercentileGroup"
    values: str = "mixed"
    """`mixed`: half of them whole numbers, half with all their digits; else as in `workloads`."""

    @property
    def per_flush(self) -> int:
        """Events of a flush."""
        return self.tabs * self.events

    @property
    def is_aimed_at(self) -> bool:
        """Whether events weigh more in it than tabs and requests."""
        return self.per_flush >= 10_000 and self.events > 5 and self.type != "Gauge"

    def __str__(self) -> str:
        return f"{self.type}, {self.tabs} tabs x {self.events}, {self.values}"


def _shapes(asked: Asked) -> list[Shape]:
    if not asked.axes:
        return [Shape(*each) for each in SENDS]
    return [
        Shape(each["tabs"], each["per_tab"], TYPES[each["kind"]], each["values"])
        for each in asked.combinations(tabs=50, per_tab=1_000, kind="percentiles", values="mixed")
    ]


# -- the call ----------------------------------------------------------------------------------------------------------


def _timed(statement: str, names: dict[str, object]) -> tuple[float, float]:
    """CPU seconds of CALLS calls, and seconds by the clock on the wall: the best of several loops."""
    timer, spent = timeit.Timer(statement, timer=time.process_time, globals=names), []
    for _ in range(LOOPS):
        began = time.perf_counter()
        cpu = timer.timeit(CALLS)
        spent.append((cpu, time.perf_counter() - began))
    return min(spent)


def call(what: str, statement: str, names: dict[str, object], counted: Callable[[], int]) -> Run:
    """A run of the call, without the loop around it; all calls of all loops have to be counted."""
    cpu, wall = _timed(statement, names)
    loop, loop_wall = _timed("pass", names)
    check(what, counted(), LOOPS * CALLS, "calls")
    return Run(CALLS, cpu - loop, wall - loop_wall, _peak())


def _calls(asked: Asked) -> Iterator[Figure]:
    own: list[Run] = []
    theirs: list[Run] = []
    for _ in asked.rounds("client call", RUNS):
        recorder = Recorder(time.time, 1 << 30)
        recorder.open(lambda: None)
        own.append(call("client.counter", 'call("bids_won")', {"call": recorder.counter}, recorder.buffered))
        peer = _peer()
        if peer is not None:
            theirs.append(call("Counter.inc", "call()", {"call": peer[0]}, peer[1]))
    yield figure_of("client call: client.counter(name)", own, of="calls")
    if theirs:
        yield figure_of("client call: prometheus_client's Counter.inc()", theirs, of="calls")
        ratios = [mine.cpu / other.cpu for mine, other in zip(own, theirs, strict=True)]
        what = "client call: client.counter to Counter.inc, the same run"
        yield Figure(what, ratios, "of its CPU time", 0.55, less_is_better=True)


def _peer() -> tuple[Callable[[], object], Callable[[], int]] | None:
    """The peer's call, and what it counted."""
    if find_spec("prometheus_client") is None:
        return None
    from prometheus_client import CollectorRegistry, Counter

    registry = CollectorRegistry()
    increment: Callable[[], object] = Counter("bids_won", "Bids won.", registry=registry).inc
    return increment, lambda: int(registry.get_sample_value("bids_won_total") or 0)


def _peak() -> int:
    """The most resident bytes of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# -- sending -----------------------------------------------------------------------------------------------------------


def events_of(body: bytes) -> int:
    """How many events a frame says it has."""
    (length,) = struct.unpack_from("<I", body)
    header = json.loads(body[4 : 4 + length])
    numbers = sum(count for _, _, count in header.get("tabs", ()))
    return int(numbers + sum(len(row) for _, _, row in header.get("structured", ())))


class _Taker(BaseHTTPRequestHandler):
    """An agent that takes everything; how many events that is, it looks up in the headers of the frames."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Called for a POST."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "deflate":
            body = zlib.decompress(body)
        assert isinstance(self.server, Taking)
        self.server.events += events_of(body) if self.path == "/v2/events" else 0
        self.send_response(200)
        self.send_header("Taba-Instance", "0" * 32)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


class Taking(ThreadingHTTPServer):
    """Listens on a port of loopback, in threads of this process; `events` is what it took."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.events = 0

    @contextmanager
    def running(self) -> Iterator[str]:
        """Its URL, while it takes."""
        threading.Thread(target=self.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{self.server_address[1]}/post"
        finally:
            self.shutdown()
            self.server_close()


def sending(shape: Shape, taking: Taking) -> Run:
    """What sending costs a process that sends to one that takes. Raises Miscounted."""
    used = time.process_time()
    with taking.running() as url:
        code = f"from tests.benchmarks.client import send_shape; send_shape({url!r}, {astuple(shape)!r})"
        homes = [processes.ROOT, Path(__file__).parents[2]]
        output = subprocess.check_output(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, homes))}
        )
    told = Run(**json.loads(output))
    check(f"client flush: {shape}", taking.events, told.events + shape.per_flush)
    return evolve(told, sender=time.process_time() - used)


def send_shape(url: str, shape: tuple[Any, ...]) -> None:
    """For a process of its own: print what `send` tells, as JSON."""
    print(json.dumps(asdict(send(url, Shape(*shape)))))


def send(url: str, shape: Shape) -> Run:
    """Record and send, flush after flush. The first flush opens the connection and the instance, and is not measured.

    Sender and Poster are driven as the default engine's thread drives them, but that it would wait in between.
    """
    recorder = Recorder(time.time, 1 << 30)
    sender = Sender(recorder, "bench", jitter=lambda: 0.0)
    sender.open(lambda: None)
    poster = Poster(parse_url(url))
    record, values = getattr(recorder, KINDS[shape.type]), _values(shape.values)
    spent = wall = 0.0
    for flush in range(FLUSHES + 1):
        for tab in range(shape.tabs):
            name = f"tab.{tab}"
            for number in range(shape.events):
                record(name, values[number % len(values)])
        before, began = time.process_time(), time.perf_counter()
        sender.flush_soon()
        while isinstance(post := sender.next_action(time.monotonic()), Post):
            answer = poster.post(post.headers, post.body, 60.0, post.protocol)
            sender.answered(post, answer, time.monotonic())
        if flush:
            spent += time.process_time() - before
            wall += time.perf_counter() - began
    poster.close()
    check("acknowledged", sender.status()["acknowledged"], (FLUSHES + 1) * shape.per_flush)
    return Run(FLUSHES * shape.per_flush, spent, wall, _peak())


def _values(kind: str) -> list[float]:
    chance = random.Random(1)
    if kind == "mixed":
        return [chance.expovariate(1.0) if number & 1 else number for number in range(1000)]
    return [VALUES[kind](chance) for _ in range(1000)]
