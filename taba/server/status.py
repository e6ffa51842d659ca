"""What `/status` and `/readyz` of a server say. The first lines of the text are the original's.

A store of shards is described shard by shard; while one of them cannot be reached, what all of them would have to be
asked for (what waits, the ledger) is not known, and said to be so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from twisted.internet.defer import Deferred, inlineCallbacks

from taba.errors import StoreError
from taba.interfaces import IStore
from taba.server.backend import Backend
from taba.server.observation import Observer


@runtime_checkable
class Sharded(Protocol):
    """What a store whose vbuckets are on several servers can be asked beside `IStore`."""

    @property
    def asked_durability(self) -> str:
        """DURABILITY of the settings."""

    @property
    def missing(self) -> Mapping[str, Sequence[int]]:
        """Shard -> the vbuckets whose data it has lost, until that is accepted."""

    def problem(self) -> str:
        """What keeps the store, or a part of it, from being used; "" when nothing does."""

    def shard_states(self) -> Sequence[Mapping[str, Any]]:
        """One row of plain values for each shard."""

    def accept_loss(self, name: str) -> Deferred[int]:
        """Use a shard that has lost its data again, without it; answers with how many vbuckets begin anew."""


class ServerStatus:
    """The state of one server process that is fe, be and ctrl in one. Latencies are in seconds. `alone` says that no
    other process uses the store, `kind` what it is: `memory`, `embedded` or `redis`.
    """

    def __init__(
        self,
        name: str,
        store: IStore,
        backend: Backend,
        observer: Observer,
        wall: Callable[[], float],
        *,
        alone: bool = True,
        kind: str = "embedded",
    ) -> None:
        self._name = name
        self._store = store
        self._backend = backend
        self._observer = observer
        self._wall = wall
        self._alone = alone
        self._kind = kind
        self.sharded: Sharded | None = store if isinstance(store, Sharded) else None

    @inlineCallbacks
    def facts(self):  # type: ignore[no-untyped-def]
        """All facts. StoreUnavailable when a store without shards does not answer; with shards, None stands for what
        is not known.
        """
        problem = ""
        try:
            depth = yield self._store.depth()
            ledger = yield self._store.ledger()
        except StoreError as trouble:
            if self.sharded is None:
                raise
            depth, ledger, problem = None, None, str(trouble)
        cluster = self._store.cluster
        waiting = self._waiting(depth)
        return {
            "total_tasks": waiting["tasks"],
            "max_age": waiting["age"],
            "servers": {self._name: waiting},
            "enqueue_avg": 0.0,
            "processed_avg": 0.0,
            "cluster_aggregate": 0.0,
            "cluster": cluster.id,
            "vbuckets": cluster.vbuckets,
            "lineage": cluster.lineage,
            "store": self._kind,
            "durability": cluster.durability,
            **self._of_shards(problem),
            "log_bytes": None if depth is None else sum(each.bytes for each in depth),
            "ledger": ledger,
            "refused_samples": [
                {"reason": each.reason, "tab": each.tab, "client": each.client, "events": each.events}
                for each in self._observer.samples
            ],
        }

    def _waiting(self, depth: Sequence[Any] | None) -> dict[str, Any]:
        """The row of this server."""
        tasks = None if depth is None else float(sum(each.entries for each in depth))
        age = None if depth is None else max((self._wall() - each.oldest for each in depth), default=0.0)
        return {
            "queues": len(self._backend.folding),
            "tasks": tasks,
            "age": age,
            "load": 1.0 if tasks else 0.0,
            "weight": 1.0,
        }

    def _of_shards(self, problem: str) -> dict[str, Any]:
        if self.sharded is None:
            return {}
        return {
            "durability_asked": self.sharded.asked_durability,
            "problem": self.sharded.problem() or problem,
            "shards": list(self.sharded.shard_states()),
            "missing": {name: list(vbuckets) for name, vbuckets in self.sharded.missing.items()},
        }

    def text(self, facts: Mapping[str, Any]) -> str:
        """The facts for people."""
        pad = max([len(name) for name in facts["servers"]], default=0)
        lines = [
            f"Servers: {len(facts['servers'])}",
            f"Max Age: {_number(facts['max_age'], '.2f')} s",
            f"Tasks:   {_number(facts['total_tasks'], '.0f')}",
            "",
            f"{' ' * pad} | R. Ld |  Wgt |  Qs | Tsks |  Age",
        ]
        for name, server in sorted(facts["servers"].items()):
            load, weight = server["load"] * 1000, server["weight"] * 1000
            lines.append(
                f"{name:<{pad}} | {load:+5.0f} | {weight:4.0f} | {server['queues']:3d} | "
                f"{_number(server['tasks'], '4.0f')} | {_number(server['age'], '5.2f')}"
            )
        lines += ["", f"Cluster: {facts['cluster']}, {facts['vbuckets']} vbuckets, durability {facts['durability']}"]
        lines += [f"Store:   {facts['store']}", *_shard_lines(facts)]
        lines += [f"Log:     {_number(facts['log_bytes'], 'd')} bytes", "Ledger:"]
        ledger = facts["ledger"]
        lines += ["  not known"] if ledger is None else [f"  {line}: {ledger[line]}" for line in sorted(ledger)]
        return "\n".join(lines) + "\n"

    def ready(self) -> str | None:
        """None when the server takes events and answers queries; else what it waits for, or what is wrong."""
        if self.sharded is not None:
            problem = self.sharded.problem()
            if problem:
                return problem
        if not self._alone:  # others may have the vbuckets that this one does not
            return None
        missing = self._store.cluster.vbuckets - len(self._backend.folding)
        return f"{missing} vbuckets are not in the hands of a be yet" if missing else None


def _number(value: float | None, how: str) -> str:
    return "?" if value is None else format(value, how)


def _shard_lines(facts: Mapping[str, Any]) -> list[str]:
    """What is to be said of shards, if there are any."""
    if "shards" not in facts:
        return []
    lines = [f"Asked:   durability {facts['durability_asked']}", "Shards:"]
    for shard in facts["shards"]:
        where = f"master {shard['master']}" if shard["master"] else "no master known"
        state = "connected" if shard["open"] else "NOT CONNECTED"
        replicas = ", ".join(shard["replicas"]) or "none"
        lines.append(
            f"  {shard['shard']}: {where}, {state} for {shard['seconds']:.0f} s, {shard['vbuckets']} vbuckets,"
            f" {shard['failovers']} failovers, replicas: {replicas}"
        )
    lines += [f"Problem: {facts['problem']}"] if facts["problem"] else []
    return lines
