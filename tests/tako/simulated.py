"""A whole Tako on simulated machines: coordinator, nodes and proxies made by the production functions, one virtual
time.

    with MemoryTako(seed=7) as tako:
        tako.start()
        tako.put(b"users/x", b"1")
        tako.nodes["n3"].crash()
        ...

All that is random follows from the seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from types import TracebackType
from typing import Any

from attrs import define, field
from twisted.application.service import IService
from twisted.internet.defer import Deferred

from taba.process import Process as Machine
from taba.running import Running
from taba.tako.configuration import Configuration
from taba.tako.coordinator import TakoCoordinator, make_coordinator
from taba.tako.levels import Level
from taba.tako.node import TakoNode, make_node
from taba.tako.placement import Placement
from taba.tako.proxy import TakoProxy, make_proxy
from taba.tako.router import Receipt, Value
from taba.tako.settings import CoordinatorSettings, NodeSettings, ProxySettings, Security
from taba.testing.machine import running
from taba.testing.node import Node, Process
from taba.testing.world import World

HTTP, INTERNAL, COORDINATOR, PROXY = 5711, 4711, 4710, 8080
INSECURE = Security(insecure=True)


def deployment(buckets: int, nodes: dict[str, list[str]] | None = None, **more: Any) -> dict[str, Any]:
    """A deployment of buckets with two nodes each, b1: n1 n2, b2: n3 n4 and so on, or with the given ones."""
    spread = nodes or {f"b{b}": [f"n{2 * b - 1}", f"n{2 * b}"] for b in range(1, buckets + 1)}
    return {
        "read_repair": True,
        "background_healing": True,
        "background_healing_interval": "0:01:00",
        "hash": {"buckets_per_key": min(2, len(spread))},
        "buckets": {bucket: {node: [node, HTTP, INTERNAL] for node in each} for bucket, each in spread.items()},
        **more,
    }


def document(**deployments: dict[str, Any]) -> dict[str, Any]:
    """A configuration with one coordinator, the first deployment active."""
    first = next(iter(deployments))
    return {
        "active_deployment": first,
        "target_deployment": first,
        "deployments": deployments,
        "master_coordinator": "c1",
        "coordinators": {"c1": ["c1", COORDINATOR]},
    }


@define(eq=False)
class Member:
    """A machine and what is to run on it."""

    node: Node
    make: Callable[[Process], IService]

    @property
    def up(self) -> bool:
        """Whether a process lives."""
        return self.node.process is not None

    @property
    def service(self) -> Any:
        """The service that runs, None when none does."""
        process = self.node.process
        outer = process.service if process is not None else None
        return outer.service if isinstance(outer, Running) else outer

    def start(self) -> None:
        """Start it, unless it runs."""
        if not self.up:
            self.node.start(self.make)

    def crash(self) -> None:
        """Kill it."""
        self.node.crash()


@define(eq=False)
class MemoryTako:
    """A cluster; `configuration` is what the coordinator's file says, and may be changed before `reload`."""

    seed: int
    configuration: dict[str, Any] = field(factory=lambda: document(main=deployment(5)))
    proxies: int = 2
    max_ahead: float = 60.0
    update_seconds: float = 10.0
    make_node: Callable[[NodeSettings, Machine], TakoNode] = make_node
    """Makes the service of a node; a mutant's, in tests of the tests."""
    keep_trace: bool = False
    world: World = field(init=False)
    nodes: dict[str, Member] = field(factory=dict, init=False)
    proxy_members: dict[str, Member] = field(factory=dict, init=False)
    coordinator: Member = field(init=False)
    _placements: dict[int, Placement] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.world = World(self.seed, keep_trace=self.keep_trace)
        settings = CoordinatorSettings(
            "c1", lambda: json.dumps(self.configuration), "var", update_seconds=10.0, security=INSECURE
        )
        self.coordinator = Member(
            self.world.node("c1"), running(lambda process: make_coordinator(settings, process))
        )
        for node in self.node_names():
            self.add_node(node)
        for number in range(1, self.proxies + 1):
            self._add_proxy(f"p{number}")

    def node_names(self) -> list[str]:
        """The nodes of all deployments."""
        return sorted(
            {
                node
                for each in self.configuration["deployments"].values()
                for nodes in each["buckets"].values()
                for node in nodes
            },
            key=lambda name: int(name[1:]),
        )

    def add_node(self, name: str) -> None:
        """One more machine for a node."""
        settings = NodeSettings(
            name, "var", (("c1", COORDINATOR),), update_seconds=self.update_seconds, max_ahead=self.max_ahead,
            security=INSECURE,
        )  # fmt: skip
        make: Callable[[Machine], Any] = lambda process: self._placed(self.make_node(settings, process))  # noqa: E731
        self.nodes[name] = Member(self.world.node(name), running(make))

    def _placed(self, service: Any) -> Any:
        """Let all machines share the placements, which are the same on all of them, and take a while to make."""
        service.source.place = self._place
        return service

    def _place(self, configuration: Configuration) -> Placement:
        if configuration.version not in self._placements:
            self._placements[configuration.version] = Placement(configuration)
        placement = self._placements[configuration.version]
        return placement if placement.configuration == configuration else Placement(configuration)

    def _add_proxy(self, name: str) -> None:
        settings = ProxySettings(
            name, "var", (("c1", COORDINATOR),), update_seconds=self.update_seconds, max_ahead=self.max_ahead,
            security=INSECURE, ports=(PROXY,), interface="0.0.0.0",
        )  # fmt: skip
        make: Callable[[Machine], Any] = lambda process: self._placed(make_proxy(settings, process))  # noqa: E731
        self.proxy_members[name] = Member(self.world.node(name), running(make))

    def __enter__(self) -> MemoryTako:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.world.close()

    # ------------------------------------------------------------------------------------------------- life and death

    def start(self) -> None:
        """Start everything, and wait until all of it answers."""
        self.coordinator.start()
        for member in (*self.nodes.values(), *self.proxy_members.values()):
            member.start()
        self.world.run_until(self.ready, 60.0, "the cluster to start")

    def ready(self) -> bool:
        """Whether every node and proxy answers."""
        return all(
            member.up and member.service is not None and member.service.listening is not None
            for member in (*self.nodes.values(), *self.proxy_members.values())
        )

    def node(self, name: str) -> TakoNode:
        """The service of a node that runs."""
        service: TakoNode = self.nodes[name].service
        return service

    def proxy(self, name: str = "p1") -> TakoProxy:
        """The service of a proxy that runs."""
        service: TakoProxy = self.proxy_members[name].service
        return service

    def reload(self) -> None:
        """Let the coordinator read its configuration again."""
        service: TakoCoordinator = self.coordinator.service
        self.world.result_of(service.reload())

    def up(self) -> list[str]:
        """The nodes that answer."""
        return [name for name, member in self.nodes.items() if member.up and member.service is not None
                and member.service.listening is not None]  # fmt: skip

    # ---------------------------------------------------------------------------------------------------------- deeds

    def put(self, key: bytes, value: bytes, proxy: str = "p1", level: Level | None = None) -> Receipt:
        """Store a value through a proxy."""
        return self.world.result_of(self.proxy(proxy).router.put(key, value, None, level))

    def get(self, key: bytes, proxy: str = "p1", level: Level | None = None) -> Value | None:
        """Read a value through a proxy."""
        return self.world.result_of(self.proxy(proxy).router.get(key, level))

    def delete(self, key: bytes, proxy: str = "p1", level: Level | None = None) -> Receipt:
        """Delete a key through a proxy."""
        return self.world.result_of(self.proxy(proxy).router.delete(key, None, level))

    def heal(self, limit: float = 600.0) -> None:
        """One round of healing on every node that runs, all at a time."""
        rounds: list[Deferred[None]] = [self.node(name).healing.run() for name in self.up()]
        for each in rounds:
            self.world.result_of(each, limit)

    def differences(self) -> list[str]:
        """The slots that the nodes that hold them do not agree on, in words; and records that are where they do not
        belong.
        """
        wrong = []
        names = self.up()
        placement = self.node(names[0]).source.placement()
        for group in placement.groups:
            roots = {
                node: self.node(node).records.leaves.root(group) for node in group.replicas.nodes if node in names
            }
            if len(set(roots.values())) > 1:
                wrong.append(f"group {group.number}: {roots}")
        for node in names:
            leaves = self.node(node).records.leaves
            foreign = sum(leaves.counts) - sum(
                sum(leaves.counts[slot] for slot in group.slots) for group in placement.groups_of(node)
            ) if any(leaves.counts) else 0
            if foreign:
                wrong.append(f"{node} holds {foreign} records of others")
        return wrong
