"""A Type of somebody else's in the simulated cluster: exactly once like all others, whatever is killed."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.testing.cluster import MemoryCluster

SEEN = {"additional_handlers": {"Seen": "tests.handlers.types_of_others:Seen"}}
SEEDS = range(12)
STEPS = 40


class CustomTypeTests(SynchronousTestCase):
    """The agents have no Handler of the Type; they learn it from the server."""

    def test_every_event_once(self) -> None:
        """Server and agents die and are cut off while applications record: every event counts once, in the State of its
        client and in the Aggregate of the tab, and none is refused.
        """
        for seed in SEEDS:
            with MemoryCluster(seed=seed, server_settings=SEEN) as cluster:
                recorded = self.run_through(cluster, Random(seed))
                [(_, shown)] = self.shown(cluster, "tabs")
                self.assertEqual(shown, dict.fromkeys(recorded, 1), f"seed {seed}")
                clients = self.shown(cluster, "projection")
                by_client = {event: (client, n) for client, events in clients for event, n in events.items()}
                wanted = {event: (f"(seen, {event.partition('.')[0]})", 1) for event in recorded}
                self.assertEqual(by_client, wanted, f"seed {seed}")
                self.assertEqual(self.refused(cluster), {}, f"seed {seed}")

    def run_through(self, cluster: MemoryCluster, chance: Random) -> list[str]:
        """Some time of recording with faults, then peace; what was recorded."""
        cluster.start()
        cluster.world.advance(2.0)
        recorded: list[str] = []
        for step in range(STEPS):
            for application in cluster.applications:
                for n in range(chance.randint(0, 3)):
                    recorded.append(f"{application.client_id}.{step}.{n}")
                    application.client.record_event("seen", "Seen", recorded[-1])
            self.fault(cluster, chance)
            cluster.world.advance(chance.uniform(0.1, 2.0))
        cluster.heal()
        cluster.settle()
        return recorded

    def fault(self, cluster: MemoryCluster, chance: Random) -> None:
        """Kill something now and then, or cut an agent off, or mend what was cut."""
        member: Any = chance.choice([cluster.server, *cluster.agents])
        match chance.randrange(6):
            case 0:
                member.restart()
            case 1:
                cluster.world.network.partition(chance.choice(cluster.agents).name, cluster.server.name)
            case 2:
                cluster.world.network.heal()
            case _:
                pass

    def shown(self, cluster: MemoryCluster, path: str) -> list[tuple[str, dict[str, int]]]:
        """What a query for the tab lists: (name, what is shown)."""
        lines = cluster.get(f"/{path}?name=seen").decode().splitlines()
        return [(name, json.loads(shown)) for name, _, shown in (line.partition(": ") for line in lines)]

    def refused(self, cluster: MemoryCluster) -> dict[str, int]:
        """The lines of the store's account that are of refused events."""
        server = cluster.server.server
        assert server is not None
        ledger: dict[str, int] = cluster.world.result_of(server.server.store.ledger(), 10.0)
        return {line: count for line, count in ledger.items() if line.startswith("refused") and count}
