"""One run of the simulated Tako under load and faults, as a function of a seed, judged by the oracle.

Fourteen nodes: ten of them are the deployment `main` (five buckets), all of them `wide` (seven buckets). Writers and
readers go through two proxies and through nodes. Meanwhile nodes crash and come back, are cut off, lose their disk
(never two at a time before healing), have their disk full, their clocks step; one at a time has a clock that is an hour
ahead or ten minutes behind. A migration from `main` to `wide` runs through it, is promoted when its proof is complete,
or rolled back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from taba.tako import migration
from taba.tako.errors import TakoError
from taba.tako.migration import Proof, Tree
from taba.tako.router import Router
from taba.tako.status import tree_document
from tests.tako.oracle import Oracle
from tests.tako.simulated import MemoryTako, deployment, document

KEYS = 36
CLIENTS = 4
LOAD_SECONDS = 45.0
QUIET: dict[str, Any] = {"longest_partition": "0:02:00", "background_healing_interval": "0:00:45"}


@define(eq=False)
class Scenario:
    """One run."""

    seed: int
    tako: MemoryTako = field(init=False)
    oracle: Oracle = field(factory=Oracle, init=False)
    random: Random = field(init=False)
    deeds: Counter[str] = field(factory=Counter, init=False)
    loading: bool = field(default=True, init=False)
    _clients: list[Deferred[None]] = field(factory=list, init=False)
    _number: int = field(default=0, init=False)
    _lost_disk: str | None = field(default=None, init=False)
    _cut_off: str | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        configuration = document(main=deployment(5, **QUIET), wide=deployment(7, **QUIET))
        self.tako = MemoryTako(self.seed, configuration, update_seconds=15.0)
        self.random = Random(f"{self.seed}/scenario")

    # -------------------------------------------------------------------------------------------------------- clients

    def _router(self) -> tuple[str, Router] | None:
        """Somebody to ask: a proxy as a rule, else a node that is up."""
        name = self.random.choice(["p1", "p2", "p1", "p2", *self.tako.nodes])
        member = self.tako.proxy_members.get(name) or self.tako.nodes[name]
        if not member.up or member.service is None or member.service.listening is None:
            return None
        return name, member.service.router

    async def _client(self, number: int) -> None:
        clock = self.tako.world.clock
        while self.loading:
            pause: Deferred[None] = Deferred()
            clock.callLater(0.02 + 0.3 * self.random.random(), pause.callback, None)
            await pause
            asked = self._router()
            if asked is not None:
                # A client whose server dies hears nothing; here it gives up after a while.
                deed: Deferred[None] = Deferred.fromCoroutine(self._deed(*asked))
                gave_up: Deferred[None] = Deferred()
                timer = clock.callLater(8.0, gave_up.callback, None)
                deed.addBoth(self._told, gave_up)
                await gave_up
                if timer.active():
                    timer.cancel()

    def _told(self, result: Any, gave_up: Deferred[None]) -> None:
        if not gave_up.called:
            gave_up.callback(result)

    async def _deed(self, who: str, router: Router) -> None:
        key = b"key/%d" % self.random.randrange(KEYS)
        began = self.tako.world.clock.seconds()
        chance = self.random.random()
        try:
            if chance < 0.45:
                self._number += 1
                value = b"%d" % self._number
                self.oracle.trying(key, value)
                receipt = await router.put(key, value)
            elif chance < 0.55:
                self.oracle.trying(key, None)
                receipt = await router.delete(key)
            else:
                found = await router.get(key)
                version, body = (None, None) if found is None else (found.version, found.body)
                self.oracle.read(key, version, body, began, who)
                return
            self.oracle.acknowledge(key, receipt.version, began, self.tako.world.clock.seconds())
        except TakoError:
            self.oracle.failed += 1

    # --------------------------------------------------------------------------------------------------------- faults

    def _crash(self) -> None:
        up = self.tako.up()
        if len(up) > len(self.tako.nodes) - 2:
            self.tako.nodes[self.random.choice(up)].crash()

    def _start_one(self) -> None:
        down = [name for name, member in self.tako.nodes.items() if not member.up]
        if down:
            self.tako.nodes[self.random.choice(down)].start()

    def _cut(self) -> None:
        """Cut one node off from everybody, or two parts of the cluster from each other."""
        network, hosts = self.tako.world.network, [*self.tako.nodes, *self.tako.proxy_members]
        if self.random.random() < 0.5:
            name = self.random.choice(list(self.tako.nodes))
            for other in hosts:
                if other != name:
                    network.partition(name, other)
        else:
            part = self.random.sample(hosts, self.random.randint(1, 5))
            for a in part:
                for b in hosts:
                    if b not in part:
                        network.partition(a, b)

    def _heal_network(self) -> None:
        self.tako.world.network.heal()

    def _drop(self) -> None:
        a, b = self.random.sample(list(self.tako.nodes), 2)
        self.tako.world.network.drop_connection(a, b)

    def _step_clock(self) -> None:
        node = self.tako.world.nodes[self.random.choice([*self.tako.nodes, *self.tako.proxy_members])]
        if abs(node.wall_offset) < 100:
            node.step_wall(self.random.uniform(-20, 20) - node.wall_offset)

    def _wrong_clock(self) -> None:
        """One clock at a time is an hour ahead or ten minutes behind: that of a proxy or of any node."""
        for node in self.tako.world.nodes.values():
            if abs(node.wall_offset) > 100:
                node.step_wall(-node.wall_offset)
        node = self.tako.world.nodes[self.random.choice(["p2", *self.tako.nodes])]
        node.step_wall(self.random.choice([3600.0, -600.0]) - node.wall_offset)

    def _fill_disk(self) -> None:
        disk = self.tako.world.nodes[self.random.choice(list(self.tako.nodes))].disk
        disk.fill(True)
        self.tako.world.clock.callLater(3.0, disk.fill, False)

    def _lose_disk(self) -> None:
        """A node loses its disk and comes back empty; healed before another one may."""
        self._repair()
        name = self.random.choice(self.tako.up())
        member = self.tako.nodes[name]
        member.crash()
        member.node.disk.lose()
        member.start()
        self.tako.world.run_until(self.tako.ready, 120.0, "the node to come back")
        self._heal_twice()

    def _repair(self) -> None:
        """Everything up and connected."""
        self._heal_network()
        for name, member in self.tako.nodes.items():
            self.tako.world.nodes[name].disk.fill(False)
            member.start()
        self.tako.world.run_until(self.tako.ready, 120.0, "all nodes to be up")

    def _heal_twice(self) -> None:
        self.tako.world.advance(4.0)
        for _ in range(2):
            self.tako.heal()

    def _faults(self) -> list[Callable[[], None]]:
        return [
            self._crash, self._crash, self._start_one, self._start_one, self._start_one, self._cut,
            self._heal_network, self._heal_network, self._drop, self._step_clock, self._wrong_clock, self._fill_disk,
        ]  # fmt: skip

    def _disturb(self, seconds: float) -> None:
        until = self.tako.world.clock.seconds() + seconds
        while self.tako.world.clock.seconds() < until:
            deed = self.random.choice(self._faults())
            self.deeds[deed.__name__] += 1
            deed()
            self.tako.world.advance(self.random.uniform(0.3, 3.0))

    # ------------------------------------------------------------------------------------------------------ migration

    def _configure(self, active: str, target: str) -> None:
        self.tako.configuration["active_deployment"] = active
        self.tako.configuration["target_deployment"] = target
        self.tako.reload()

    def _tree(self, name: str) -> Tree:
        return migration.read_tree(tree_document(self.tako.node(name)))

    def _prove(self) -> bool:
        """Look at all nodes until the proof is complete, under load; whether it came to that."""
        proof = Proof(self.tako.coordinator.service.configuration)
        for _ in range(40):
            up = self.tako.up()
            finding = proof.look(
                {name: self._tree(name) for name in up}, {name: "down" for name in proof.nodes() if name not in up}
            )
            if finding.complete:
                return True
            self.tako.world.advance(2.0)
            if self.random.random() < 0.4:
                self.tako.heal()
        return False

    # ------------------------------------------------------------------------------------------------------------ run

    def load(self, clients: int) -> None:
        """Let clients begin."""
        for number in range(clients):
            self._clients.append(Deferred.fromCoroutine(self._client(number)))

    def run(self) -> list[str]:
        """Run it; what was wrong, in words."""
        self.tako.start()
        self.load(CLIENTS)
        self._disturb(LOAD_SECONDS / 3)
        self._configure("main", "wide")
        self._disturb(LOAD_SECONDS / 3)
        if self.random.random() < 0.5:
            self.deeds["_lose_disk"] += 1
            self._lose_disk()
        self._repair()
        ending = self._end_of_migration()
        self._disturb(LOAD_SECONDS / 3)
        self._calm()
        self._judge(ending, forgotten=False)
        self.tako.world.advance(260.0)
        for _ in range(2):
            self.tako.heal()
        self._judge(ending, forgotten=True)
        return [*self.oracle.wrong, *self.tako.differences(), *map(str, self.tako.world.problems)]

    def _end_of_migration(self) -> str:
        if self.random.random() < 0.25:
            self.deeds["rolled back"] += 1
            self._configure("main", "main")
            return "main"
        if not self._prove():
            self.oracle.wrong.append("the migration could not be proved")
            return "main"
        self.deeds["promoted"] += 1
        self._configure("wide", "wide")
        return "wide"

    def _calm(self) -> None:
        """No more load and no more faults: all clocks right, everybody up, two rounds of healing."""
        self.loading = False
        for each in self._clients:
            self.tako.world.result_of(each, 120.0)
        for node in self.tako.world.nodes.values():
            node.step_wall(-node.wall_offset)
        self._repair()
        self.tako.world.advance(30.0)
        self._heal_twice()

    def _judge(self, active: str, forgotten: bool) -> None:
        world = self.tako.world
        placement = self.tako.node("n1").source.placement()
        if placement.configuration.active_deployment != active:
            self.oracle.wrong.append(f"the active deployment is {placement.configuration.active_deployment}")
        self.oracle.wrong += self.tako.differences()
        for key in sorted(self.oracle.accounts):
            for name in self.tako.proxy().router.replicas(key).nodes:
                found = world.result_of(self.tako.node(name).records.read(key, True))
                version, body = (None, None) if found is None else (found.version, found.body)
                self.oracle.final(key, version, body, name, forgotten)


def run_seed(seed: int) -> tuple[list[str], Any]:
    """Run a seed; what was wrong, and the scenario for its figures."""
    scenario = Scenario(seed)
    try:
        return scenario.run(), scenario
    except Exception as problem:
        return [*scenario.oracle.wrong, f"{type(problem).__name__}: {problem}"], scenario
    finally:
        scenario.tako.world.close()
