"""What fe and be cost with Redis below: Partials per CPU-second of each, and Redis's commands per second.

Two redis-servers without Sentinels would be two clusters, so one server by REDIS_URL is measured; fe, be and the
senders share the machine with it. Batches are prepared with the agent's own encoder: 20,000 tabs of one client, an
event each.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from typing import Any

from hiredis import Reader, pack_command

from taba import native
from taba.handlers.registry import builtin
from taba.interfaces import Append, Verdict
from taba.wire.v2 import AppendRequest, decode_append_answer, encode_append_request
from tests.benchmarks import processes
from tests.benchmarks.asked import AS_USUAL, Asked
from tests.benchmarks.bodies import body
from tests.benchmarks.counting import Tally, check
from tests.benchmarks.queries import settled
from tests.benchmarks.report import Figure, Run, figure_of

TABS, VBUCKETS = 20_000, 128
TIMES = 10
"""Partials per State and checkpoint."""
ROUNDS = 5
WIDE_TABS, WIDE_CLIENTS = 30_000, 100
CACHE_BYTES = 64 << 20
DB_SETTINGS = {"NUM_VBUCKETS": VBUCKETS, "DURABILITY": "memory"}


class Redis:
    """A redis-server of its own, and a plain connection to it."""

    def __init__(self, folder: str) -> None:
        self.port = processes.free_port()
        options = ["--port", str(self.port), "--save", "", "--dir", folder]
        self._process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)

    def ask(self, *command: str) -> Any:
        """The reply to a command."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(pack_command(command))  # type: ignore[arg-type]
            reader = Reader()
            while (reply := reader.gets()) is False:
                reader.feed(connection.recv(1 << 16))
            return reply

    def commands(self) -> int:
        """How many commands it has done."""
        text: bytes = self.ask("INFO", "stats")
        return int(text.split(b"total_commands_processed:")[1].split()[0])

    def calls(self) -> int:
        """How many functions, transactions and commands of clients' own it has done: what is sent to it, but for those
        within transactions.
        """
        text: bytes = self.ask("INFO", "commandstats")
        rows = dict(line.split(b":", 1) for line in text.split() if line.startswith(b"cmdstat_"))
        kinds = (b"fcall", b"exec", b"watch", b"unwatch", b"wait", b"xread", b"info", b"hmget", b"hgetall")
        found = [rows[b"cmdstat_" + kind] for kind in kinds if b"cmdstat_" + kind in rows]
        return sum(int(row.split(b"calls=")[1].split(b",")[0]) for row in found)

    def memory(self) -> int:
        """Bytes in use."""
        text: bytes = self.ask("INFO", "memory")
        return int(text.split(b"used_memory:")[1].split()[0])

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def running_redis() -> Iterator[Redis]:
    """A redis-server that answers."""
    with tempfile.TemporaryDirectory(prefix="taba-bench-") as folder:
        redis = Redis(folder)
        try:
            deadline = time.monotonic() + 10
            while True:
                with contextlib.suppress(OSError):
                    redis.ask("PING")
                    break
                if time.monotonic() > deadline:
                    raise RuntimeError("redis-server does not answer")
                time.sleep(0.05)
            yield redis
        finally:
            redis.stop()


def run(asked: Asked = AS_USUAL) -> Iterator[Figure]:
    """All of it."""
    if shutil.which("redis-server") is None:
        print("redis-server is not installed: what fe and be cost with Redis is not measured")
        return
    with running_redis() as redis:
        yield from _stages(redis, asked)
    asked.tell("commands to Redis")
    with running_redis() as redis:
        yield from _commands(redis)
    asked.tell(f"{WIDE_TABS} tabs x {WIDE_CLIENTS} clients")
    with running_redis() as redis:
        yield from _wide(redis)


def _stages(redis: Redis, asked: Asked) -> Iterator[Figure]:
    taking, folding, rates = [], [], []
    sections, partials = _sections("client_0", TABS), TABS * TIMES
    for number in asked.rounds("fe to Redis, be from Redis", ROUNDS):
        with _server(redis, "fe") as fe:
            requests = _requests(fe, sections, TIMES)
            cpu, commands, own, began = fe.cpu_seconds(), redis.commands(), time.process_time(), time.monotonic()
            _post(fe, requests)
            wall, own = time.monotonic() - began, time.process_time() - own
            rates.append((redis.commands() - commands) / wall)
            taking.append(Run(partials, fe.cpu_seconds() - cpu, wall, fe.peak_memory(), own))
        with _server(redis, "be") as be:
            cpu, began = be.cpu_seconds(), time.monotonic()
            _until_folded(redis)
            folding.append(Run(partials, be.cpu_seconds() - cpu, time.monotonic() - began, be.peak_memory()))
        count_of(redis, number * partials)
    yield figure_of("fe to Redis", taking, 150.0, of="Partials", scale="thousand")
    what = f"be from Redis, {TABS} tabs, {TIMES} per State and checkpoint"
    yield figure_of(what, folding, 100.0, of="Partials", scale="thousand")
    yield Figure("commands that Redis does, those inside functions too, while fe appends", rates, "per second")


def _commands(redis: Redis) -> Iterator[Figure]:
    """What Redis is asked in a second, the whole way in one process, at one event rate and at a hundred times that."""
    with _server(redis, "fe,be", EMBEDDED_AGENT=True, CHECKPOINT_SECONDS=0.5) as server:
        sent = 0
        for events in (3, 300):
            prepared = [body("client_0", 200, events)]
            connection = http.client.HTTPConnection("127.0.0.1", server.agent_port, timeout=60)
            rates = []
            for _ in range(3):
                before, began = redis.calls(), time.monotonic()
                while time.monotonic() < began + 4.0:
                    connection.request("POST", "/post", prepared[0])
                    answer = connection.getresponse()
                    sent += 200 * events if answer.status == 200 and not answer.read() else 0
                    time.sleep(0.2)
                rates.append((redis.calls() - before) / (time.monotonic() - began))
            connection.close()
            what = f"commands to Redis at {5 * 200 * events} events per second, {VBUCKETS} vbuckets"
            yield Figure(what, rates, "per second")
        settled(server, sent)


def _wide(redis: Redis) -> Iterator[Figure]:
    """Three million States: what be holds of them, and how long it takes to ask for all tabs, and for one."""
    with _server(redis, "fe") as fe:
        for client in range(WIDE_CLIENTS):
            _post(fe, _requests(fe, _sections(f"client_{client}", WIDE_TABS), times=1))
    what = f"{WIDE_TABS} tabs x {WIDE_CLIENTS} clients"
    with _server(redis, "be", STATE_CACHE_BYTES=CACHE_BYTES) as be:
        began = time.monotonic()
        _until_folded(redis, 600)
        yield Figure(f"{what}: folded after", [time.monotonic() - began], "s")
        yield Figure(f"be, {what}, STATE_CACHE_BYTES {CACHE_BYTES >> 20} MiB", [be.peak_memory() / (1 << 20)], "MiB")
    yield Figure(f"Redis, {what}", [redis.memory() / (1 << 20)], "MiB")
    with _server(redis, "ctrl") as ctrl:
        before, runs, all_tabs = ctrl.memory(), [], []
        for _ in range(5):
            used, own = ctrl.cpu_seconds(), time.process_time()
            all_tabs.append(_seconds(ctrl, "tabs", WIDE_TABS))
            used, own = ctrl.cpu_seconds() - used, time.process_time() - own
            runs.append(Run(WIDE_TABS, used, all_tabs[-1], ctrl.peak_memory(), own))
        yield figure_of(f"/tabs over {what}", runs, of="tabs", scale="thousand")
        times = [each.cpu for each in runs]
        yield Figure(f"/tabs over {what}: processor time of the server", times, "s", 1.0, less_is_better=True)
        one = [_seconds(ctrl, f"tabs?name=bench_tab_{n:06d}", 1) * 1e3 for n in range(20)]
        yield Figure(f"/tabs over {what}: until it is read", all_tabs, "s", 1.5, less_is_better=True)
        yield Figure(f"/tabs of one tab, {what}", one, "ms", 10.0, less_is_better=True)
        above = (ctrl.peak_memory() - before) / (1 << 20)
        yield Figure(f"/tabs over {what}: the server's memory above before", [above], "MiB")
        for path in ("projection", "projection?raw=1"):
            used, first, size = ctrl.cpu_seconds(), *read_long(ctrl, path, WIDE_TABS * WIDE_CLIENTS)
            name = f"/{path} over {what}, {size / (1 << 20):.0f} MiB"
            yield Figure(f"{name}: first byte", [first], "s")
            yield Figure(f"{name}: processor time of the server", [ctrl.cpu_seconds() - used], "s")
        above = (ctrl.peak_memory() - before) / (1 << 20)
        yield Figure(f"/projection over {what}: the server's memory above before", [above], "MiB")


def read_long(server: processes.Serving, path: str, states: int) -> tuple[float, int]:
    """Read a long answer, which has to show so many States: seconds until its first byte, and its bytes."""
    connection, tally = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600), Tally(b"bench_tab_")
    began = time.monotonic()
    connection.request("GET", f"/{path}")
    answer = connection.getresponse()
    tally.add(answer.read(1))
    first, size = time.monotonic() - began, 1
    while piece := answer.read(1 << 18):
        size += len(piece)
        tally.add(piece)
    connection.close()
    check(f"/{path}", tally.count, states, "States")
    return first, size


def _seconds(server: processes.Serving, path: str, tabs: int) -> float:
    """How long a query takes; its lines, and the counts in them, are checked."""
    began = time.monotonic()
    lines = [line for line in server.get(path).splitlines() if line.startswith("bench_tab_")]
    seconds = time.monotonic() - began
    check(f"/{path}", sum(f'"count": {WIDE_CLIENTS},' in line for line in lines), tabs, "tabs")
    return seconds


def _server(redis: Redis, roles: str, **more: object) -> contextlib.AbstractContextManager[processes.Serving]:
    """A server of some roles. It checkpoints late, so that a State gets all its Partials in one."""
    settings = {
        "DB_SETTINGS": {**DB_SETTINGS, "REDIS_URL": f"redis://127.0.0.1:{redis.port}"},
        "SERVER_ROLES": roles,
        "CHECKPOINT_SECONDS": 2.0,
        **more,
    }
    return processes.server(settings)


def _sections(client: str, tabs: int) -> list[native.Section]:
    """One Partial of each tab of a client, by vbucket."""
    scratch = native.Scratch(native.Limits(), builtin().kinds())
    scratch.feed(body(client, tabs, 1))
    scratch.finish()
    accumulator = native.Accumulator()
    accumulator.merge(scratch, 1)
    return list(accumulator.encode(VBUCKETS))


def _requests(fe: processes.Serving, sections: list[native.Section], times: int) -> list[bytes]:
    """The bytes of requests with every vbucket's batch `times` over, as those of an agent of their own."""
    cluster, incarnation, made = str(fe.json("v2/topology")["cluster"]), uuid.uuid4().hex, []
    for seq in range(1, times + 1):
        batches = [
            Append(
                each.vbucket, incarnation, seq, seq - 1, None, each.events * (seq - 1), each.events, time.time(),
                native.crc32c(each.data), each.data,
            )
            for each in sections
        ]  # fmt: skip
        for start in range(0, len(batches), 32):
            request = AppendRequest(cluster=cluster, time=time.time(), batches=tuple(batches[start : start + 32]))
            made.append(encode_append_request(request))
    return made


def _post(fe: processes.Serving, requests: list[bytes]) -> None:
    """Post them one after the other; each batch has to be taken."""
    connection = http.client.HTTPConnection("127.0.0.1", fe.port, timeout=60)
    for request in requests:
        connection.request("POST", "/v2/append", request)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {text[:300]!r}")
        if not all(each.verdict is Verdict.OK for each in decode_append_answer(text).outcomes):
            raise RuntimeError(f"not everything was taken: {text[:300]!r}")
    connection.close()


def _until_folded(redis: Redis, seconds: float = 120) -> None:
    """Wait for empty logs. Redis is asked, so that be has nothing else to do."""
    deadline = time.monotonic() + seconds
    while any(redis.ask("LLEN", f"M:{vbucket}") for vbucket in range(VBUCKETS)):
        if time.monotonic() > deadline:
            raise RuntimeError("be does not come to its end")
        time.sleep(0.5)


def count_of(redis: Redis, events: int) -> None:
    """Compare what be folded with what was sent. Raises Miscounted."""
    check("be from Redis", folded(redis), events)


def folded(redis: Redis) -> int:
    """Events that be folded, by the ledgers of all vbuckets."""
    rows = (redis.ask("HGET", f"C:{vbucket}", "row") for vbucket in range(VBUCKETS))
    return sum(int(json.loads(row or b"{}").get("folded", 0)) for row in rows)
