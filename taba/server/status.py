"""What `/status` and `/readyz` of a server say. The first lines of the text are the original's.

A store of shards is described shard by shard; while one of them cannot be reached, what all of them would have to be
asked for (what waits, the ledger) is not known, and said to be so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from twisted.internet.defer import Deferred, inlineCallbacks

from taba.errors import StoreError
from taba.interfaces import IStore, LogDepth
from taba.server.backend import Backend
from taba.server.latency import Latencies
from taba.server.observation import Observer
from taba.server.publishing import INSTEAD_OF, Publishing, waiting, without_be


@runtime_checkable
class Sharded(Protocol):
    """What a store whose vbuckets are on several servers can be asked beside `IStore`."""

    @property
    def asked_durability(self) -> str:
        """DURABILITY of the settings."""

    @property
    def missing(self) -> Mapping[str, Sequence[int]]:
        """Shard -> the vbuckets whose data it has lost, until that is accepted."""

    @property
    def moving(self) -> int:
        """How many vbuckets are on their way between shards."""

    @property
    def freed(self) -> Mapping[str, int]:
        """How many vbuckets this process let go on that a mover had left sealed, by what became of them: `arrived`
        where they were to go, `returned` to where they had been.
        """

    def problem(self) -> str:
        """What keeps the store, or a part of it, from being used; "" when nothing does."""

    def shard_states(self) -> Sequence[Mapping[str, Any]]:
        """One row of plain values for each shard."""

    def accept_loss(self, name: str) -> Deferred[int]:
        """Use a shard that has lost its data again, without it; answers with how many vbuckets begin anew."""


class ServerStatus:
    """The state of one server process, and of the others as they publish it. Latencies are in seconds. `alone` says
    that no other process uses the store, `kind` what it is: `memory`, `embedded` or `redis`.
    """

    def __init__(
        self,
        publishing: Publishing,
        store: IStore,
        backend: Backend,
        observer: Observer,
        wall: Callable[[], float],
        *,
        alone: bool = True,
        kind: str = "embedded",
    ) -> None:
        self._publishing = publishing
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
        try:
            members = yield self._publishing.members()
            problem = problem or without_be(members)
        except StoreError:  # nothing is known of the others
            members = {self._publishing.member: self._publishing.facts()}
        latencies = Latencies.of(members.values())
        waits = {"tasks": None, "age": None} if depth is None else waiting(depth, self._wall())
        return {
            "total_tasks": waits["tasks"],
            "max_age": waits["age"],
            "servers": self._servers(members, depth, waits["tasks"]),
            "enqueue_avg": latencies.enqueue,
            "processed_avg": latencies.processed,
            "cluster_aggregate": latencies.cluster,
            "cluster": cluster.id,
            "vbuckets": cluster.vbuckets,
            "lineage": cluster.lineage,
            "store": self._kind,
            "durability": cluster.durability,
            "problem": (self.sharded and self.sharded.problem()) or problem,
            **self._of_shards(),
            "log_bytes": None if depth is None else sum(each.bytes for each in depth),
            "ledger": ledger,
            "refused_samples": [
                {"reason": each.reason, "tab": each.tab, "client": each.client, "events": each.events}
                for each in self._observer.samples
            ],
        }

    def _servers(
        self, members: Mapping[str, Mapping[str, Any]], depth: Sequence[LogDepth] | None, total: float | None
    ) -> dict[str, dict[str, Any]]:
        """A row for each server: this one as it is, the others as they were when they published themselves."""
        rows = {}
        for name, facts in members.items():
            waits: Mapping[str, Any] = facts
            if name == self._publishing.member:
                own = None if depth is None else [each for each in depth if self._has(each.vbucket)]
                waits = {} if own is None else waiting(own, self._wall())
            tasks = waits.get("tasks")
            rows[name] = {
                "queues": facts.get("queues", 0),
                "tasks": tasks,
                "age": waits.get("age"),
                "load": tasks / total if tasks and total else 0.0,
                "weight": 1.0,
            }
            if INSTEAD_OF in facts:
                rows[name][INSTEAD_OF] = str(facts[INSTEAD_OF])
        return rows

    def _has(self, vbucket: int) -> bool:
        """Whether what waits of a vbucket waits for this server."""
        return self._alone or vbucket in self._backend.folding

    def _of_shards(self) -> dict[str, Any]:
        if self.sharded is None:
            return {}
        return {
            "durability_asked": self.sharded.asked_durability,
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
        lines += [
            f"{name} is {server[INSTEAD_OF]}, as another one is: give one another BASE_PORT, or its host another name."
            for name, server in sorted(facts["servers"].items())
            if INSTEAD_OF in server
        ]
        lines += ["", f"Cluster: {facts['cluster']}, {facts['vbuckets']} vbuckets, durability {facts['durability']}"]
        lines += [f"Store:   {facts['store']}", *_shard_lines(facts)]
        lines += [f"Problem: {facts['problem']}"] if facts["problem"] else []
        lines += [f"Log:     {_number(facts['log_bytes'], 'd')} bytes", "Ledger:"]
        ledger = facts["ledger"]
        lines += ["  not known"] if ledger is None else [f"  {line}: {ledger[line]}" for line in sorted(ledger)]
        return "\n".join(lines) + "\n"

    def ready(self, role: str = "") -> str | None:
        """None when the server takes events and answers queries, and as a be has its share of the vbuckets; else what
        it waits for, or what is wrong.
        """
        if self.sharded is not None:
            problem = self.sharded.problem()
            if problem:
                return problem
        if self._alone:
            missing = self._store.cluster.vbuckets - len(self._backend.folding)
            return f"{missing} vbuckets are not in the hands of a be yet" if missing else None
        if role != "be":  # others may have the vbuckets that this one does not
            return None
        missing = self._backend.leasing.missing()
        return f"{missing} vbuckets that this be should have are not in its hands yet" if missing else None


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
    return lines
