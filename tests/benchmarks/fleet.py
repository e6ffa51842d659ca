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

from tests.benchmarks.asked import AS_USUAL, Asked
from tests.benchmarks.counting import check
from tests.benchmarks.report import Figure, Run, figure_of
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

    def peaks(self) -> dict[str, int]:
        """The most bytes so far of one process, by kind: resident ones; of Redis those that it used at most."""
        return {
            "servers": max(each.memory("VmHWM") for each in self.servers),
            "agent": self.agent.memory("VmHWM"),
            "Redis": max(int(each.fields("INFO", "memory")["used_memory_peak"]) for each in self.shards),
        }

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
    count_of(fleet.seen(), expected)
    return taken, visible, {kind: value - before[kind] for kind, value in fleet.cpu().items()}


def count_of(seen: tuple[int, float], expected: int) -> None:
    """Compare count and total of all tabs with the events sent, of value 1 each. Raises Miscounted."""
    check("fleet", seen[0], expected)
    check("fleet, total", int(seen[1]), expected)


def run(asked: Asked = AS_USUAL) -> Iterator[Figure]:
    """Both rounds."""
    if shutil.which("redis-sentinel") is None:
        print("redis-sentinel is not installed: the fleet is not measured")
        return
    said = (*asked.words, *("300", "20000", "2")[len(asked.words) :])
    for each in asked.combinations(clients=int(said[0]), tabs=int(said[1])):
        yield from _figures(asked, each["clients"], each["tabs"], int(said[2]))


def _figures(asked: Asked, clients: int, tabs: int, servers: int) -> Iterator[Figure]:
    states = clients * tabs
    fleet_name = f"{clients} clients x {tabs} tabs, {servers} servers"
    with started_fleet(servers) as fleet:
        for number, name in enumerate(("every State made", "every State changed"), 1):
            what = f"{fleet_name}, {name}"
            asked.tell(what)
            own = time.process_time()
            taken, visible, cpu = _round(fleet, clients, tabs, number * states)
            own = time.process_time() - own
            peaks = fleet.peaks()
            for kind, seconds in cpu.items():
                run = Run(states, seconds, visible, peaks[kind], own)
                yield figure_of(f"{what}: {kind}", [run], of="States", scale="thousand")
            yield Figure(f"{what}: all taken by the agent after", [taken], "s", less_is_better=True)
            yield Figure(f"{what}: all visible after", [visible], "s", less_is_better=True)
        yield Figure(f"{fleet_name}: Redis for each State", [fleet.memory() / states], "bytes", less_is_better=True)
        yield Figure(f"{fleet_name}: Redis", [fleet.memory() / MIB], "MiB", less_is_better=True)
        for process in (fleet.agent, *fleet.servers):
            budget = 256.0 if process is fleet.agent else 512.0
            peak = process.memory("VmHWM") / MIB
            yield Figure(f"{fleet_name}: {process.name} at most", [peak], "MiB", budget, True)
