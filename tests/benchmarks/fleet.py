"""A fleet of 300 clients x 20,000 tabs: 6 million States over two Redis shards, each changed at once.

`python -m tests.benchmarks fleet [CLIENTS [TABS [SERVERS]]]`, on real processes: clients post an event in each of their
tabs to an agent, as fast as it takes them; the agent sends to the servers. In the first round every State is made, in
the second every one is changed, of which be can keep only a part in memory. Each round lasts until a query shows all
events of all tabs. It wants 20 GiB of memory and some ten minutes.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence

from attrs import define

from tests.benchmarks.report import Figure
from tests.processes.offered import STAMP, Connection, stamped
from tests.processes.running import AgentProcess, ServerProcess, Stage, start_all
from tests.processes.surroundings import until
from tests.redis.real import RedisProcess, Servers

MIB = 1 << 20
SHARDS = ("shard1", "shard2")
VBUCKETS = 128
SENDERS = 4
PATIENCE = 1_800.0


@define
class Fleet:
    """The processes."""

    servers: Sequence[ServerProcess]
    agent: AgentProcess
    shards: Sequence[RedisProcess]

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by kind of process."""
        return {
            "servers": sum(each.cpu_seconds() for each in self.servers),
            "agent": self.agent.cpu_seconds(),
            "Redis": sum(_used_cpu(each) for each in self.shards),
        }

    def folded(self) -> int:
        """Events that the servers' ledger says are folded; 0 while the store does not answer in time."""
        answer = self.servers[0].ask("/status", Accept="application/json")
        facts = json.loads(answer.text) if answer.status == 200 else {}
        return int((facts.get("ledger") or {}).get("folded", 0))

    def seen(self) -> tuple[int, float]:
        """Count and total of all tabs."""
        answer = self.servers[0].ask("/supertabs?re=1&name=fleet_", Accept="application/json")
        if answer.status != 200 or not answer.text.strip():
            return 0, 0.0
        facts = json.loads(answer.text)["pct"]
        return int(facts["count"]), float(facts["total"])

    def memory(self) -> int:
        """Bytes that Redis uses."""
        return sum(int(each.fields("INFO", "memory")["used_memory"]) for each in self.shards)


def _used_cpu(redis: RedisProcess) -> float:
    facts = redis.fields("INFO", "cpu")
    return float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"])


@contextlib.contextmanager
def started_fleet(servers: int) -> Iterator[Fleet]:
    """Two shards of Redis, so many servers, and an agent before them."""
    with contextlib.ExitStack() as left:
        redis = left.enter_context(Servers())
        cluster = redis.cluster(*SHARDS, replicas=0, sentinels=1)
        for shard in SHARDS:
            cluster.master(shard).ask("CONFIG", "SET", "appendonly", "no")
        half = VBUCKETS // len(SHARDS)
        shards = [{"shard_name": name, "vbuckets": [n * half, (n + 1) * half - 1]} for n, name in enumerate(SHARDS)]
        settings = {
            "DB_SETTINGS": {
                "NUM_VBUCKETS": VBUCKETS,
                "SENTINELS": [list(each) for each in cluster.sentinel_addresses()],
                "SHARDS": shards,
                "DURABILITY": "memory",
            }
        }
        stage = Stage()
        left.callback(stage.close)
        started = [stage.server(name=f"server-{n}", config=settings) for n in range(servers)]
        start_all(*started)
        urls = [f"http://127.0.0.1:{each.port}" for each in started]
        agent = stage.agent(started[0].port, config={"SERVER_ENDPOINTS": urls})
        agent.arguments = [each for each in agent.arguments if each not in ("--server", f"127.0.0.1:{started[0].port}")]
        start_all(agent)
        yield Fleet(started, agent, [cluster.master(shard) for shard in SHARDS])


def _post(fleet: Fleet, clients: range, template: bytes, name: bytes, problems: list[str]) -> None:
    """One body of each client, until it is taken."""
    connection = Connection(fleet.agent.port, threading.Event())
    try:
        for client in clients:
            instance = connection.post("0", b"", lambda: float("inf"))
            body = stamped(template.replace(name, b"client_%05d" % client, 1))
            connection.post(f"{instance}/1", body, lambda: float("inf"))
    except Exception as problem:
        problems.append(f"{type(problem).__name__}: {problem}")
    finally:
        connection.close()


def _round(fleet: Fleet, clients: int, tabs: int, expected: int) -> tuple[float, float, dict[str, float]]:
    """Post all, and wait: (seconds until all was taken, seconds until all is visible, CPU seconds)."""
    name = b"NAME"
    line = b'["CounterGroup",%b,"1"]' % STAMP
    template = b"1\n\n%b\n\n%b\n" % (name, b"".join(b"fleet_tab_%05d\n%b\n\n" % (tab, line) for tab in range(tabs)))
    before, began, problems = fleet.cpu(), time.monotonic(), list[str]()
    threads = [
        threading.Thread(target=_post, args=(fleet, range(n, clients, SENDERS), template, name, problems), daemon=True)
        for n in range(SENDERS)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if problems:
        raise RuntimeError(problems[0])
    taken = time.monotonic() - began
    deadline = time.monotonic() + PATIENCE
    while fleet.folded() < expected and time.monotonic() < deadline:
        time.sleep(2.0)  # queries for all tabs would take the servers' time
    until(lambda: fleet.seen()[0] >= expected, PATIENCE, lambda: f"all is visible: {fleet.seen()}")
    visible = time.monotonic() - began
    if fleet.seen() != (expected, float(expected)):
        raise RuntimeError(f"{fleet.seen()} where {expected} events were acknowledged")
    return taken, visible, {kind: value - before[kind] for kind, value in fleet.cpu().items()}


def run(arguments: Sequence[str] = ()) -> Iterator[Figure]:
    """Both rounds."""
    if shutil.which("redis-sentinel") is None:
        print("redis-sentinel is not installed: the fleet is not measured")
        return
    clients, tabs, servers = (int(each) for each in (*arguments, *("300", "20000", "2")[len(arguments) :]))
    states = clients * tabs
    what = f"{clients} clients x {tabs} tabs, {servers} servers"
    with started_fleet(servers) as fleet:
        for number, name in enumerate(("every State made", "every State changed"), 1):
            taken, visible, cpu = _round(fleet, clients, tabs, number * states)
            yield Figure(f"{what}, {name}: all taken by the agent after", [taken], "s", less_is_better=True)
            yield Figure(f"{what}, {name}: all visible after", [visible], "s", less_is_better=True)
            for kind, seconds in cpu.items():
                yield Figure(f"CPU of {kind} for each State", [seconds / states * 1e6], "us", less_is_better=True)
        yield Figure("bytes of Redis for each State", [fleet.memory() / states], "bytes", less_is_better=True)
        yield Figure("memory of Redis", [fleet.memory() / MIB], "MiB", less_is_better=True)
        for each in (fleet.agent, *fleet.servers):
            budget = 256.0 if each is fleet.agent else 512.0
            yield Figure(f"memory of {each.name} at most", [each.memory("VmHWM") / MIB], "MiB", budget, True)
