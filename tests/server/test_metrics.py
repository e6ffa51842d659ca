"""The numbers of a server, as Prometheus reads them: what they say of logs, folding, store and shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.service import Agent
from taba.agent.statsd.service import StatsdPorts
from taba.handlers.registry import builtin
from taba.interfaces import RETIRED, Append, LogDepth
from taba.local_endpoint import LocalEndpoint
from taba.metrics import Exposition
from taba.process import Process
from taba.server.metrics import ANSWER_SECONDS, SHARD_NUMBERS, ServerMetrics, Told
from taba.server.operations import DELETE
from taba.server.service import Server
from taba.settings import AgentSettings, DatabaseSettings, ServerSettings, ShardSettings
from taba.store.memory import MemoryStore
from taba.store.redis.opening import open_redis_store
from taba.testing import World
from taba.testing.disk import MemoryDisk
from taba.testing.machine import machine_of
from taba.testing.stores import FaultyStore
from taba.usage import usage_of_this_process
from taba.wire.v2 import AppendRequest
from tests.agent.agent_case import KINDS, AtOnce
from tests.server.making import NOW, Lanes, Silent, new_ids, sections
from tests.server.test_shards import ShardedStore
from tests.test_metrics import read

VBUCKETS = 4


class TwoShards(ShardedStore):
    """Two shards; of one of them the master is away."""

    def shard_states(self) -> list[Mapping[str, Any]]:
        """See `Sharded`."""
        return [{**row, "missing": 0, "vouched": row["open"]} for row in super().shard_states()]

    def shard_of(self, vbucket: int) -> str:
        """See `Placing`."""
        return "shard1" if vbucket < 2 else "shard2"

    def depth(self) -> Deferred[list[LogDepth]]:
        """See `IStore`."""
        return succeed([LogDepth(0, 2, 100, NOW - 5.0), LogDepth(3, 1, 30, NOW - 1.0)])


def machine(clock: Clock, disk: MemoryDisk | None = None) -> Process:
    """A process on a clock without a disk, or with one."""
    folder: Callable[[str], Any] = (disk or MemoryDisk(Random(1), torn=False)).folder
    return Process(
        reactor=clock,
        wall=lambda: NOW + clock.seconds(),
        random=Random(1),
        open_folder=folder,
        worker=lambda name: AtOnce(),
        host="host",
        say=lambda sentence: None,
        usage=usage_of_this_process,
    )


def served(store: Any, process: Process, inside: Any = None) -> Server:
    """A server that has no port."""
    return Server(ServerSettings(), process, store, builtin(), Silent(), inside or Service(), {}, {})


class NumberTests(SynchronousTestCase):
    """A server over a store in memory, which fails when it is told to."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1.0)
        self.process = machine(self.clock)
        memory = MemoryStore(VBUCKETS, self.clock, self.process.wall, new_ids())
        self.store = FaultyStore(memory)
        self.successResultOf(self.store.startService())
        self.server = served(self.store, self.process)
        self.metrics = ServerMetrics(self.server, None, self.process)
        self.lanes = Lanes()

    def fold(self) -> None:
        """Let be work."""
        self.server.backend.startService()
        self.addCleanup(self.end)

    def end(self) -> None:
        """Let be stop."""
        self.store.unavailable(False)
        stopped = self.server.backend.stopService()
        self.clock.advance(1.0)
        self.successResultOf(stopped)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)

    def batches(self, *tabs: str, type: str = "CounterGroup") -> list[Append]:
        """Batches with an event of each tab."""
        wall = self.process.wall()
        events = [("client", tab, type, wall, "1") for tab in tabs]
        return self.lanes.appends(sections(events, VBUCKETS), wall)

    def append(self, batches: list[Append]) -> None:
        """Give batches to fe."""
        request = AppendRequest(self.server.store.cluster.id, self.process.wall(), tuple(batches))
        self.successResultOf(self.server.frontend.append(request))

    def all(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """All samples."""
        return read(self.successResultOf(self.metrics.text()))

    def value(self, name: str, **labels: str) -> float:
        """One sample."""
        return self.all()[name][tuple(sorted(labels.items()))]

    def test_appends(self) -> None:
        """Batches are told apart by what their logs said; the store is timed once for each request."""
        batches = self.batches("a", "b", "c", "d", "e", "f")
        self.append(batches)
        self.append(batches)
        self.assertEqual(self.value("taba_server_appends_total", verdict="appended"), len(batches))
        self.assertEqual(self.value("taba_server_appends_total", verdict="known"), len(batches))
        self.assertEqual(self.value("taba_server_appends_total", verdict="gap"), 0)
        self.assertEqual(self.value("taba_server_append_seconds_count"), 2)

    def test_queues(self) -> None:
        """What waits shows for the cluster at once, and for each vbucket with who folds it."""
        self.append(self.batches("a", "b", "c", "d", "e", "f"))
        self.clock.advance(7.0)
        waiting = self.value("taba_server_log_entries")
        self.assertEqual(waiting, len({vbucket.vbucket for vbucket in self.successResultOf(self.store.depth())}))
        self.assertEqual(self.value("taba_server_log_oldest_seconds"), 7.0)
        self.assertNotIn("taba_server_queue_entries", self.all())
        self.store.fail_before("checkpoint", 1000)
        self.fold()
        self.assertEqual(self.value("taba_server_vbuckets_held"), VBUCKETS)
        found = self.all()
        self.assertEqual(sum(found["taba_server_queue_entries"].values()), waiting)
        self.assertEqual(len(found["taba_server_queue_oldest_seconds"]), VBUCKETS)
        self.assertEqual(max(found["taba_server_queue_oldest_seconds"].values()), 7.0)
        self.assertEqual(sum(found["taba_server_queue_bytes"].values()), self.value("taba_server_log_bytes"))

    def test_folding(self) -> None:
        """What was folded, checkpointed, cached and refused."""
        self.fold()
        self.append(self.batches("a", "b"))
        self.append(self.batches("a", type="PercentileGroup"))
        self.pass_time(2.0)
        self.assertEqual(self.value("taba_server_events", line="folded"), 2)
        self.assertEqual(self.value("taba_server_events", line="refused.other type"), 1)
        self.assertEqual(self.value("taba_server_refused_events_total", reason="other type"), 1)
        self.assertEqual(self.value("taba_server_states_written_total"), 2)
        self.assertEqual(self.value("taba_server_tabs"), 2)
        self.assertGreater(self.value("taba_server_state_cache_bytes"), 0)
        self.assertEqual(self.value("taba_server_folding_bytes"), 0)
        self.assertGreaterEqual(self.value("taba_server_checkpoints_total", outcome="done"), 2)
        self.assertGreaterEqual(self.value("taba_server_checkpoint_seconds_count"), 1)
        self.assertEqual(self.value("taba_server_taken_batches_total"), 3)
        self.assertEqual(self.value("taba_server_log_entries"), 0)
        self.assertGreaterEqual(self.value("taba_server_latency_seconds", way="processed"), 0.0)

    def test_trouble(self) -> None:
        """Checkpoints that fail, and leases that somebody else got, are counted."""
        self.fold()
        self.store.fail_before("checkpoint", 1)
        self.append(self.batches("a"))
        self.pass_time(3.0)
        self.assertEqual(self.value("taba_server_checkpoints_total", outcome="failed"), 1)
        self.assertEqual(self.value("taba_server_vbuckets_dropped_total"), 1)
        self.assertEqual(self.value("taba_server_leases_lost_total"), 0)
        self.store.fail_before("renew", 1000)
        self.clock.advance(60.0)  # the leases end meanwhile
        thief = self.successResultOf(self.store.acquire(range(VBUCKETS), "thief", 5.0))
        self.assertEqual(len(thief), VBUCKETS)
        self.store._before.clear()
        self.pass_time(2.0)
        self.assertEqual(self.value("taba_server_leases_lost_total"), VBUCKETS)
        self.assertEqual(self.value("taba_server_vbuckets_held"), 0)

    def test_ready(self) -> None:
        """Ready is what /readyz says."""
        self.assertEqual(self.value("taba_server_ready"), 0)
        self.fold()
        self.assertEqual(self.value("taba_server_ready"), 1)

    def test_maintenance(self) -> None:
        """Passes of the GC are counted, and graves by what is done with them."""
        self.fold()
        self.server.maintenance.startService()
        self.append(self.batches("a"))
        self.pass_time(1.0)
        payload = json.dumps({"id": "1", "by": "me", "time": self.process.wall()})
        wall = self.process.wall()
        self.append(self.lanes.appends(sections([("s", "a", DELETE, wall, payload)], VBUCKETS, {DELETE: 0}), wall))
        self.server.maintenance.collect()
        self.pass_time(2.0)
        self.assertEqual(self.value("taba_server_gc_passes_total"), 1)
        self.assertEqual(self.value("taba_server_notes", kind="deleted"), 1)
        self.assertEqual(self.value("taba_server_tabs"), 0)
        stopped = self.server.maintenance.stopService()
        self.clock.advance(1.0)
        self.successResultOf(stopped)

    def test_store_fails(self) -> None:
        """A store that fails costs the numbers that only it has."""
        self.fold()
        self.store.unavailable()
        found = self.all()
        self.assertEqual(found["taba_server_store_answering"], {(): 0})
        self.assertNotIn("taba_server_events", found)
        self.assertNotIn("taba_server_log_bytes", found)
        self.assertEqual(found["taba_server_vbuckets_held"], {(): VBUCKETS})

    def test_store_hangs(self) -> None:
        """A store that hangs is waited for a moment, and asked no second time before it has answered."""
        self.store.hold("depth")
        first = self.metrics.text()
        self.assertNoResult(first)
        second = read(self.successResultOf(self.metrics.text()))
        self.assertEqual(second["taba_server_store_answering"], {(): 0})
        self.assertEqual(len(self.store._held["depth"]), 1)
        self.clock.advance(ANSWER_SECONDS)
        self.assertEqual(read(self.successResultOf(first))["taba_server_store_answering"], {(): 0})
        self.store.let_go("depth")
        self.assertEqual(self.value("taba_server_store_answering"), 1)

    def test_members(self) -> None:
        """Servers by role, as they publish themselves."""
        for name, roles in (("x", ["be"]), ("y", ["ctrl"]), ("z", ["be", "fe"])):
            self.successResultOf(self.store.publish(name, {"roles": roles}, 30.0))
        found = [self.value("taba_server_members", role=role) for role in ("fe", "be", "ctrl")]
        self.assertEqual(found, [2, 3, 1])  # this server is fe and be

    def test_throttled(self) -> None:
        """Batches that were refused for full logs."""
        throttle = self.server.frontend.throttle
        throttle.soft, throttle.hard = 1, 2
        self.append(self.batches("a"))
        self.clock.advance(1.0)
        batch, *_ = self.batches("a")
        request = AppendRequest(self.server.store.cluster.id, self.process.wall(), (batch,))
        self.failureResultOf(self.server.frontend.append(request))
        self.assertEqual(self.value("taba_server_throttled_batches_total", shard="store"), 1)
        self.assertGreater(self.value("taba_server_shard_log_bytes", shard="store"), 2)

    def test_retired_clients(self) -> None:
        """No client's name is in any label, whatever clients there are."""
        self.fold()
        self.append(self.batches("secret_tab"))
        self.pass_time(2.0)
        text = self.successResultOf(self.metrics.text())
        self.assertNotIn("client\"", text.replace("taba_agent_client_batches", ""))
        self.assertNotIn("secret_tab", text)
        self.assertNotIn(f'"{RETIRED}"', text)


class ShardTests(SynchronousTestCase):
    """A store of two shards."""

    def test_shards(self) -> None:
        """Each shard says whether it is connected, what failovers were seen, and what waits in its logs."""
        found = read(everything().text())
        by_shard = {name: {dict(key)["shard"]: value for key, value in found[f"taba_server_{name}"].items()}
                    for name in ("shard_connected", "shard_failovers_total", "shard_log_bytes", "shard_vbuckets")}
        self.assertEqual(by_shard["shard_connected"], {"shard1": 1, "shard2": 0})
        self.assertEqual(by_shard["shard_failovers_total"], {"shard1": 1, "shard2": 0})
        self.assertEqual(by_shard["shard_log_bytes"], {"shard1": 100, "shard2": 30})
        self.assertEqual(by_shard["shard_vbuckets"], {"shard1": 2, "shard2": 2})
        self.assertEqual(found["taba_server_vbuckets_moving"], {(): 3})
        freed = {dict(key)["how"]: value for key, value in found["taba_server_moves_freed_total"].items()}
        self.assertEqual(freed, {"arrived": 2, "returned": 1})

    def test_redis(self) -> None:
        """What the store on Redis says of its shards has every number that is shown, also before it is connected."""
        shards = (ShardSettings("a", (0, 63)), ShardSettings("b", (64, 127)))
        settings = DatabaseSettings(sentinels=(("sentinel", 26379),), shards=shards)
        with World(seed=1) as world:
            store = open_redis_store(settings, machine_of(world.node("server").start()), 14.0)
            rows = store.shard_states()
            self.assertEqual((store.moving, store.freed), (0, {"arrived": 0, "returned": 0}))
        numbers = {name: [float(value(row)) for row in rows] for name, _, _, value in SHARD_NUMBERS}
        self.assertEqual(numbers["shard_connected"], [0.0, 0.0])
        self.assertEqual(numbers["shard_vouched"], [0.0, 0.0])
        self.assertEqual(numbers["shard_failovers_total"], [0.0, 0.0])
        self.assertEqual(numbers["shard_vbuckets"], [64.0, 64.0])


def everything() -> Exposition:
    """The exposition of a server with shards and an agent in it: every number that there is is in it."""
    clock = Clock()
    process = machine(clock)
    memory = MemoryStore(VBUCKETS, clock, process.wall, new_ids())
    memory.startService()
    store = TwoShards(memory)
    store.lost = {}
    agent = Agent(AgentSettings(), process, KINDS, [LocalEndpoint()])
    agent.statsd = StatsdPorts(agent.settings, process, agent)
    server = served(store, process, agent)
    told: list[Any] = []
    for asked in (store.depth(), memory.ledger(), memory.members()):
        asked.addCallback(told.append)
    return ServerMetrics(server, agent, process).exposition(Told(*told))
