"""What a server costs when it is asked, when it idles, and how soon it shows an event.

The events that are asked for are counted first: a query for all of them has to show each once, and every answer that is
measured has to show every tab with its count.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.sharedctypes import Synchronized

from tests.benchmarks import bodies, processes
from tests.benchmarks.asked import AS_USUAL, Asked
from tests.benchmarks.counting import Tally, check
from tests.benchmarks.report import Figure, Run, figure_of

TABS, CLIENTS = 2_000, 10
LONG_TABS, LONG_CLIENTS = 100, 1_000
IDLE_SECONDS = 20.0
VISIBLE_SECONDS = 30.0
RUNS = 3
QUERIES = 5
"""In a run."""
SETTLED_SECONDS = 60.0


def run(asked: Asked = AS_USUAL) -> Iterator[Figure]:
    """All of it, on three servers; with chosen tabs and clients the queries for them alone."""
    if not asked.axes:
        asked.tell("an idle server")
        with processes.server() as server:
            yield from _idle(server)
    for each in asked.combinations(tabs=TABS, clients=CLIENTS):
        with processes.server() as server:
            yield from _tabs(server, asked, each["tabs"], each["clients"])
    if asked.axes:
        return
    with processes.server() as server:
        yield from _long(server, asked)
    asked.tell("event to visible at half load")
    with processes.server() as server:
        yield from _visible(server)


def _idle(server: processes.Serving) -> Iterator[Figure]:
    time.sleep(5.0)
    before = server.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    used = (server.cpu_seconds() - before) / IDLE_SECONDS * 100
    yield Figure("idle server", [used], "percent of a core", 1.0, less_is_better=True)
    yield Figure("idle server, memory", [server.memory() / (1 << 20)], "MiB", 80.0, less_is_better=True)


def _tabs(server: processes.Serving, asked: Asked, tabs: int, clients: int) -> Iterator[Figure]:
    prepared = [bodies.body(f"client_{i}", tabs, 1, seed=i) for i in range(clients)]
    bodies.send(server.agent_port, prepared, clients, connections=1)
    settled(server, tabs * clients)
    what = f"/tabs over {tabs} tabs x {clients} clients"
    runs: list[Run] = []
    seconds: list[float] = []
    for _ in asked.rounds(what, RUNS):
        runs.append(_asked(server, tabs, clients, seconds))
    yield figure_of(what, runs, of="tabs", scale="thousand")
    goal = 100.0 if (tabs, clients) == (TABS, CLIENTS) else None
    yield Figure(f"{what}: until the answer is read", seconds, "ms", goal, less_is_better=True)


def _asked(server: processes.Serving, tabs: int, clients: int, seconds: list[float]) -> Run:
    """A run of some queries for all tabs; adds how long each took, in ms."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    texts, used, own, began = [], server.cpu_seconds(), time.process_time(), time.monotonic()
    for _ in range(QUERIES):
        started = time.monotonic()
        connection.request("GET", "/tabs")
        texts.append(connection.getresponse().read().decode())
        seconds.append((time.monotonic() - started) * 1e3)
    wall, own, used = time.monotonic() - began, time.process_time() - own, server.cpu_seconds() - used
    connection.close()
    for text in texts:
        check_tabs(text, tabs, clients)
    return Run(QUERIES * tabs, used, wall, server.peak_memory(), own)


def check_tabs(text: str, tabs: int, clients: int) -> None:
    """An answer to `/tabs` has to show every tab, with an event of each client. Raises Miscounted."""
    shown = [line for line in text.splitlines() if line.startswith("bench_tab_")]
    check("/tabs", sum(f'"count": {clients},' in line for line in shown), tabs, "tabs")


def _long(server: processes.Serving, asked: Asked) -> Iterator[Figure]:
    """What a server holds of long answers: its resident memory while they are read, above what it was before."""
    states = LONG_TABS * LONG_CLIENTS
    blocks = [bodies.body(f"client_{i}", LONG_TABS, 1, seed=i).removeprefix(b"1\n\n") for i in range(LONG_CLIENTS)]
    prepared = [b"1\n\n" + b"".join(blocks[start : start + 50]) for start in range(0, LONG_CLIENTS, 50)]
    bodies.send(server.agent_port, prepared, len(prepared))
    settled(server, bodies.CONNECTIONS * states)
    server.get("tabs")
    for what, path, accept, shown in (
        ("/projection, text", "/projection", "text/plain", states),
        ("/projection, JSON", "/projection", "application/json", states),
        ("/tabs of chosen clients", "/tabs?client=client_.*&re=1", "text/plain", LONG_TABS),
    ):
        read = asked.repeat(what, RUNS, partial(_read, server, path, accept, states, shown))
        runs, above, lengths = zip(*read, strict=True)
        what = f"{what}, {max(lengths) / (1 << 20):.1f} MiB of {states} States"
        yield figure_of(what, runs, of="States", scale="thousand")
        yield Figure(f"{what}: memory above before", above, "MiB", 32.0, less_is_better=True)


def _read(server: processes.Serving, path: str, accept: str, states: int, shown: int) -> tuple[Run, float, int]:
    """Read a long answer, made of so many States and showing so many results: its run, the MiB of memory above those
    before, its bytes.
    """
    tally = Tally(b"bench_tab_")
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    before, most, length, own = server.memory(), 0, 0, time.process_time()
    used, started = server.cpu_seconds(), time.monotonic()
    connection.request("GET", path, headers={"Accept": accept})
    answer = connection.getresponse()
    while piece := answer.read(1 << 18):
        length += len(piece)
        tally.add(piece)
        most = max(most, server.memory())
    wall, used = time.monotonic() - started, server.cpu_seconds() - used
    connection.close()
    check(path, tally.count, shown, "results")
    run = Run(states, used, wall, server.peak_memory(), time.process_time() - own)
    return run, (most - before) / (1 << 20), length


def settled(server: processes.Serving, events: int, patience: float = SETTLED_SECONDS) -> None:
    """Wait until `events` of the benchmark are visible, and look that there are no more. Raises Miscounted."""
    deadline = time.monotonic() + patience
    while (count := _count(server)) < events and time.monotonic() < deadline:
        time.sleep(0.1)
    check("visible", count, events)


def _count(server: processes.Serving) -> int:
    text = server.get("supertabs?name=bench_tab_.*&re=1").strip()
    return int(json.loads(text)["pct"]["count"]) if text else 0


def _load(port: int, body: bytes, every: float, until: float, taken: Synchronized[int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    due = time.monotonic()
    while due < until:
        time.sleep(max(0.0, due - time.monotonic()))
        connection.request("POST", "/post", body)
        answer = connection.getresponse()
        taken.value += answer.status == 200 and not answer.read()
        due += every


def _visible(server: processes.Serving) -> Iterator[Figure]:
    """From the call of our client to the query that shows it, with the server at half its capacity."""
    body, events, times = bodies.body("load", 200, 300), 200 * 300, 20
    bodies.send(server.agent_port, [body], 2)
    capacity = bodies.CONNECTIONS * times * events / bodies.send(server.agent_port, [body], times)
    yield Figure("capacity, whole way in one process, 200 tabs x 300", [capacity / 1e6], "million events per second")
    until = time.monotonic() + VISIBLE_SECONDS
    context = multiprocessing.get_context("fork")
    taken: Synchronized[int] = context.Value("q", 0)
    load = context.Process(
        target=_load, args=(server.agent_port, body, events / (capacity / 2), until, taken), daemon=True
    )
    load.start()
    delays = sorted(_delays(server, until))
    load.join()
    settled(server, (bodies.CONNECTIONS * (2 + times) + taken.value) * events)
    yield Figure("event to visible at half load, median", [statistics.median(delays)], "s", 1.2, less_is_better=True)
    yield Figure("event to visible at half load, p99", [delays[int(len(delays) * 0.99)]], "s", 2.0, less_is_better=True)


def _delays(server: processes.Serving, until: float) -> list[float]:
    """How long each event of a client took until it was visible; in the end all of them have to be."""
    from taba.client import Client

    client = Client()
    client.initialize("probe", f"http://127.0.0.1:{server.agent_port}/post")
    delays: list[float] = []
    recorded: dict[int, float] = {}
    stop = threading.Event()

    def record() -> None:
        while not stop.wait(0.173):
            recorded[len(recorded) + 1] = time.monotonic()
            client.counter("probe_tab")

    recorder = threading.Thread(target=record)
    recorder.start()
    seen = 0
    deadline = until + SETTLED_SECONDS
    while time.monotonic() < until or (seen < len(recorded) and time.monotonic() < deadline):
        if time.monotonic() >= until:
            stop.set()
            recorder.join()
        text = server.get("tabs?name=probe_tab").strip()
        count = int(json.loads(text.split(": ", 1)[1])["pct"]["count"]) if text else 0
        now = time.monotonic()
        delays += [now - recorded[number] for number in range(seen + 1, count + 1)]
        seen = count
        time.sleep(0.02)
    client.stop()
    check("the probe's", seen, len(recorded))
    return delays
