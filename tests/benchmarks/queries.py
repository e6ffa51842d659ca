"""What a server costs when it is asked, when it idles, and how soon it shows an event."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator

from tests.benchmarks import bodies, processes
from tests.benchmarks.report import Figure

TABS, CLIENTS = 2_000, 10
LONG_TABS, LONG_CLIENTS = 100, 1_000
IDLE_SECONDS = 20.0
VISIBLE_SECONDS = 30.0


def run() -> Iterator[Figure]:
    """All of it, on two servers."""
    with processes.server() as server:
        yield from _idle(server)
        yield from _tabs(server)
    with processes.server() as server:
        yield from _long(server)
    with processes.server() as server:
        yield from _visible(server)


def _idle(server: processes.Serving) -> Iterator[Figure]:
    time.sleep(5.0)
    before = server.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    used = (server.cpu_seconds() - before) / IDLE_SECONDS * 100
    yield Figure("idle server", [used], "percent of a core", 1.0, less_is_better=True)
    yield Figure("idle server, memory", [server.memory() / (1 << 20)], "MiB", 80.0, less_is_better=True)


def _tabs(server: processes.Serving) -> Iterator[Figure]:
    prepared = [bodies.body(f"client_{i}", TABS, 1, seed=i) for i in range(CLIENTS)]
    bodies.send(server.agent_port, prepared, CLIENTS // bodies.CONNECTIONS)
    _settled(server, TABS * CLIENTS)
    seconds = []
    used = server.cpu_seconds()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for _ in range(15):
        started = time.monotonic()
        connection.request("GET", "/tabs")
        text = connection.getresponse().read().decode()
        seconds.append((time.monotonic() - started) * 1e3)
        shown = [line for line in text.splitlines() if line.startswith("bench_tab_")]
        if len(shown) != TABS or not all(f'"count": {CLIENTS},' in line for line in shown):
            raise RuntimeError(f"/tabs shows {len(shown)} tabs, or wrong counts")
    yield Figure(f"/tabs over {TABS} tabs x {CLIENTS} clients", seconds, "ms", 100.0, less_is_better=True)
    yield Figure("/tabs, processor time of the server", [(server.cpu_seconds() - used) / 15 * 1e3], "ms")


def _long(server: processes.Serving) -> Iterator[Figure]:
    """What a server holds of long answers: its resident memory while they are read, above what it was before."""
    blocks = [bodies.body(f"client_{i}", LONG_TABS, 1, seed=i).removeprefix(b"1\n\n") for i in range(LONG_CLIENTS)]
    prepared = [b"1\n\n" + b"".join(blocks[start : start + 50]) for start in range(0, LONG_CLIENTS, 50)]
    bodies.send(server.agent_port, prepared, len(prepared))
    _settled(server, bodies.CONNECTIONS * LONG_TABS * LONG_CLIENTS)
    server.get("tabs")
    for what, path, accept in (
        ("/projection, text", "/projection", "text/plain"),
        ("/projection, JSON", "/projection", "application/json"),
        ("/tabs of chosen clients", "/tabs?client=client_.*&re=1", "text/plain"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        before, most, length, started = server.memory(), 0, 0, time.monotonic()
        connection.request("GET", path, headers={"Accept": accept})
        answer = connection.getresponse()
        while piece := answer.read(1 << 18):
            length += len(piece)
            most = max(most, server.memory())
        seconds, size = time.monotonic() - started, f"{length / (1 << 20):.1f} MiB of {LONG_TABS * LONG_CLIENTS} States"
        connection.close()
        yield Figure(f"{what}: {size}", [seconds], "s")
        yield Figure(f"{what}: memory above before", [(most - before) / (1 << 20)], "MiB", 32.0, less_is_better=True)


def _settled(server: processes.Serving, events: int) -> None:
    """Wait until `events` of the benchmark are folded."""
    deadline = time.monotonic() + 60
    while _count(server) < events:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{_count(server)} of {events} events are visible")
        time.sleep(0.1)


def _count(server: processes.Serving) -> int:
    text = server.get("supertabs?name=bench_tab_.*&re=1").strip()
    return int(json.loads(text)["pct"]["count"]) if text else 0


def _load(port: int, body: bytes, every: float, until: float) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    due = time.monotonic()
    while due < until:
        time.sleep(max(0.0, due - time.monotonic()))
        connection.request("POST", "/post", body)
        connection.getresponse().read()
        due += every


def _visible(server: processes.Serving) -> Iterator[Figure]:
    """From the call of our client to the query that shows it, with the server at half its capacity."""
    from taba.client import Client

    body = bodies.body("load", 200, 300)
    events = 200 * 300
    bodies.send(server.agent_port, [body], 2)
    capacity = bodies.CONNECTIONS * 20 * events / bodies.send(server.agent_port, [body], 20)
    yield Figure("capacity, whole way in one process, 200 tabs x 300", [capacity / 1e6], "million events per second")
    until = time.monotonic() + VISIBLE_SECONDS
    load = multiprocessing.get_context("fork").Process(
        target=_load, args=(server.agent_port, body, events / (capacity / 2), until), daemon=True
    )
    load.start()
    client = Client()
    client.initialize("probe", f"http://127.0.0.1:{server.agent_port}/post")
    delays: list[float] = []
    recorded: dict[int, float] = {}
    stop = threading.Event()

    def record() -> None:
        number = 0
        while not stop.wait(0.173):
            number += 1
            recorded[number] = time.monotonic()
            client.counter("probe_tab")

    recorder = threading.Thread(target=record)
    recorder.start()
    seen = 0
    while time.monotonic() < until:
        text = server.get("tabs?name=probe_tab").strip()
        count = int(json.loads(text.split(": ", 1)[1])["pct"]["count"]) if text else 0
        now = time.monotonic()
        delays += [now - recorded[number] for number in range(seen + 1, count + 1)]
        seen = count
        time.sleep(0.02)
    stop.set()
    recorder.join()
    load.join()
    client.stop()
    delays.sort()
    yield Figure("event to visible at half load, median", [statistics.median(delays)], "s", 1.2, less_is_better=True)
    yield Figure("event to visible at half load, p99", [delays[int(len(delays) * 0.99)]], "s", 2.0, less_is_better=True)
