"""One run of the simulated cluster on Redis: traffic and faults by a seed, healing, rest, and the recount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, cast

from attrs import define, field

from taba.store.redis.store import RedisStore
from taba.testing.redis_cluster import RedisCluster
from tests.cluster.events import StoreView
from tests.cluster.fleet_faults import CALM_VERBS, FLEET_VERBS, WEIGHT_VERBS, WEIGHTS, FleetFaults
from tests.cluster.liveness import Liveness
from tests.cluster.oracle import Oracle
from tests.cluster.redis_quiet import free_the_dead
from tests.cluster.redis_view import read_lanes, view_server, view_shards
from tests.cluster.run import REST_SECONDS, Result, Run, kept_shortly

SERVERS = 3
"""How many there are at first."""
ROLES = (("fe", "be", "be"), ("fe,be", "fe", "be"), ("fe,be", "be", "fe,be"), ("fe", "fe,be", "be"))
"""Of the servers, in runs in which not all are all."""
CALM = 0.2
"""The part of the runs in which nothing fails but servers, agents and applications."""
WEIGHTED = 0.35
"""The part of the runs in which servers have weights."""


@define(eq=False)
class RedisRun(Run):
    """One run. The seed draws how many copies shards have, DURABILITY, `min-replicas-to-write`, the roles of servers,
    whether the run is calm, and, beside everything else, whether servers have weights.
    """

    known_verbs: Mapping[str, float] = field(default=FLEET_VERBS, init=False)
    cluster: RedisCluster = field(init=False)
    oracle: Oracle = field(init=False)
    faults: FleetFaults = field(init=False)
    liveness: Liveness = field(init=False)
    weighing: Random | None = field(default=None, init=False)
    """What draws weights, in runs with weights."""
    _lanes: dict[tuple[int, str], int] = field(factory=dict, init=False)
    """Vbucket and incarnation -> the last number that a master was seen to have."""
    _taken_back: int = field(default=0, init=False)
    """How many batches a later master was seen to lack."""

    def __attrs_post_init__(self) -> None:
        drawn = self.verbs is None
        super().__attrs_post_init__()
        if drawn and self.weighing is not None:
            self.known_verbs = {**self.known_verbs, **WEIGHT_VERBS}
            self.verbs = [*(self.verbs or ()), *WEIGHT_VERBS]

    def _draw_weights(self) -> Sequence[float]:
        """The weights of the first servers, in runs with weights."""
        weighing = Random(f"{self.seed}/weights")
        if weighing.random() >= WEIGHTED:
            return ()
        self.weighing = weighing
        return weighing.choices(WEIGHTS, k=SERVERS)

    def _build(self) -> None:
        draw = self.random.random
        embedded, copies = draw() < 0.3, 3 if draw() < 0.3 else 2
        durability, min_replicas = "memory" if draw() < 0.25 else "auto", int(draw() < 0.3)
        roles = self.random.choice(ROLES) if draw() < 0.4 else ()
        calm = draw() < CALM and self.verbs is None
        self.cluster = RedisCluster(
            self.seed,
            roles=roles,
            weights=self._draw_weights(),
            keep_trace=self.keep_trace,
            embedded_agent=embedded,
            copies=copies,
            durability=durability,
            min_replicas=0 if durability == "memory" else min_replicas,
            server_settings=kept_shortly(merging=draw() < 0.3),
        )
        self.oracle = Oracle(self.cluster, views=self._views)
        self.faults = self._make_faults()
        self.liveness = Liveness(self.cluster, strict=calm)
        if calm:
            self.verbs = [verb for verb in CALM_VERBS if draw() < 0.5]

    def _make_faults(self) -> FleetFaults:
        return FleetFaults(self.cluster, self.oracle, self.random, weighing=self.weighing)

    def _views(self) -> Sequence[StoreView]:
        """The store as its masters have it, if they run, and what every server that runs has, whatever it is now."""
        running = [each for each in self.cluster.redis if each.up]
        views = [view_server(self.cluster, each) for each in running]
        if all(self.cluster.master(shard) in running for shard in self.cluster.shards()):
            views.insert(0, view_shards(self.cluster))
        return views

    def _start(self) -> None:
        self.cluster.start_store()
        super()._start()
        self.liveness.watch()

    def _traffic(self) -> None:
        super()._traffic()
        for vbucket in range(self.cluster.vbuckets):
            master = self.cluster.master(self.cluster.shard_of(vbucket))
            if master.redis.is_master and not master.hung:
                lanes = read_lanes(master.redis, vbucket)
                known = {agent: last for (v, agent), last in self._lanes.items() if v == vbucket}
                self._taken_back += sum(max(0, last - lanes.get(agent, 0)) for agent, last in known.items())
                self._lanes.update({(vbucket, agent): lanes.get(agent, 0) for agent in known | lanes})

    def _heal(self) -> None:
        super()._heal()
        self.cluster.finish_moves()
        self.cluster.until_whole(REST_SECONDS)
        self.liveness.check_assigned()
        self.liveness.check_shares()

    def _check_quiet(self) -> None:
        super()._check_quiet()
        failovers: Any = sum(
            cast(int, shard["failovers"])
            for member in self.cluster.servers
            if member.server is not None
            for shard in cast(RedisStore, member.server.server.store).shard_states()
        )
        self.oracle.notes = {
            **self.oracle.notes,
            "failovers seen": failovers,
            "vbuckets moved": sum(each.moved for each in self.cluster.mover.figures),
            "moves undone": sum(each.undone for each in self.cluster.mover.figures),
            "batches taken back": self._taken_back,
            "faults refused": self.faults.refused,
            "runs with weights": int(self.weighing is not None),
            "weights changed": self.faults.reweighed,
            "calm runs": int(self.liveness.strict),
            "longest pause, ms": round(1000 * self.liveness.longest) if self.liveness.strict else 0,
            "longest until assigned, ms": round(1000 * self.liveness.settled_after),
        }


def run_redis_seed(seed: int, keep_trace: bool = False) -> Result:
    """Run one seed."""
    result = RedisRun(seed, keep_trace=keep_trace).go()
    free_the_dead()
    return result
