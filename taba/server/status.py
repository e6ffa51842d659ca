"""What `/status`, `/readyz` and `/metrics` of a server say. The first lines of the text are the original's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import inlineCallbacks

from taba.interfaces import IStore
from taba.server.backend import Backend
from taba.server.observation import Observer


class ServerStatus:
    """The state of one server process that is fe, be and ctrl in one. Latencies are in seconds. `alone` says that no
    other process uses the store.
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
    ) -> None:
        self._name = name
        self._store = store
        self._backend = backend
        self._observer = observer
        self._wall = wall
        self._alone = alone

    @inlineCallbacks
    def facts(self):  # type: ignore[no-untyped-def]
        """All facts; StoreUnavailable when the store does not answer."""
        depth = yield self._store.depth()
        ledger = yield self._store.ledger()
        now = self._wall()
        tasks = float(sum(each.entries for each in depth))
        age = max((now - each.oldest for each in depth), default=0.0)
        cluster = self._store.cluster
        server = {
            "queues": len(self._backend.folding),
            "tasks": tasks,
            "age": age,
            "load": 1.0 if tasks else 0.0,
            "weight": 1.0,
        }
        return {
            "total_tasks": tasks,
            "max_age": age,
            "servers": {self._name: server},
            "enqueue_avg": 0.0,
            "processed_avg": 0.0,
            "cluster_aggregate": 0.0,
            "cluster": cluster.id,
            "vbuckets": cluster.vbuckets,
            "lineage": cluster.lineage,
            "durability": cluster.durability,
            "log_bytes": sum(each.bytes for each in depth),
            "ledger": ledger,
            "refused_samples": [
                {"reason": each.reason, "tab": each.tab, "client": each.client, "events": each.events}
                for each in self._observer.samples
            ],
        }

    def text(self, facts: Mapping[str, Any]) -> str:
        """The facts for people."""
        pad = max([len(name) for name in facts["servers"]], default=0)
        lines = [
            f"Servers: {len(facts['servers'])}",
            f"Max Age: {facts['max_age']:.2f} s",
            f"Tasks:   {facts['total_tasks']:.0f}",
            "",
            f"{' ' * pad} | R. Ld |  Wgt |  Qs | Tsks |  Age",
        ]
        for name, server in sorted(facts["servers"].items()):
            load, weight = server["load"] * 1000, server["weight"] * 1000
            lines.append(
                f"{name:<{pad}} | {load:+5.0f} | {weight:4.0f} | {server['queues']:3d} | "
                f"{server['tasks']:4.0f} | {server['age']:5.2f}"
            )
        lines += ["", f"Cluster: {facts['cluster']}, {facts['vbuckets']} vbuckets, durability {facts['durability']}"]
        lines += [f"Log:     {facts['log_bytes']} bytes", "Ledger:"]
        lines += [f"  {line}: {count}" for line, count in sorted(facts["ledger"].items())]
        return "\n".join(lines) + "\n"

    def ready(self) -> str | None:
        """None when the server takes events and answers queries; else what it waits for."""
        if not self._alone:  # others may have the vbuckets that this one does not
            return None
        missing = self._store.cluster.vbuckets - len(self._backend.folding)
        return f"{missing} vbuckets are not in the hands of a be yet" if missing else None
