"""Every acknowledged event is counted once, whatever is killed: agents, servers, and the masters under them.

REAL: two shards of a master and two replicas, three Sentinels, two servers, two agents, clients that go on posting.
TABA_REDIS_KILLS is how many agents and servers are killed with kill -9 (default 12), TABA_REDIS_FAILOVERS how many
masters (default 2); beside these one master is stopped for ten seconds, and found to be no master when it goes on.
TABA_SEED replays the choices; when a signal arrives is the machine's affair.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.numbered import NumberedSender
from tests.processes.running import AgentProcess, HTTPProcess, ServerProcess, Stage
from tests.processes.surroundings import until
from tests.processes.test_exactly_once import account, differences, projections
from tests.redis.real import Cluster, Servers, missing

KILLS = int(os.environ.get("TABA_REDIS_KILLS", "12"))
FAILOVERS = int(os.environ.get("TABA_REDIS_FAILOVERS", "2"))
HUNG_SECONDS = 10.0
SHARDS = ("shard1", "shard2")
VBUCKETS = 16
CONFIRM_SECONDS = 30.0
"""More than 10 x down-after-milliseconds and repl-timeout (set to 4 s) together: what a failover takes back."""
LONG = 120.0
"""Seconds in which everything must come to rest."""


class ChaosTests(SynchronousTestCase):
    """Clients, agents, servers and masters of which nobody is spared."""

    skip = missing()

    def setUp(self) -> None:
        self.seed = int(os.environ.get("TABA_SEED") or random.SystemRandom().randrange(1_000_000))
        self.chance = random.Random(f"{self.seed} chaos")
        self.deeds: Counter[str] = Counter()
        self.away: list[float] = []
        """For each master that went, how long until the Sentinels named another."""
        self.servers_of_redis = Servers()
        self.addCleanup(self.servers_of_redis.close)
        self.cluster: Cluster = self.servers_of_redis.cluster(*SHARDS, replicas=2, sentinels=3)
        for shard in self.cluster.shards.values():
            for each in shard:
                each.ask("CONFIG", "SET", "repl-timeout", "4")
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.servers: list[ServerProcess] = [self._server(number) for number in (1, 2)]
        self.agents: list[AgentProcess] = [self._agent(number) for number in (1, 2)]

    def _server(self, number: int) -> ServerProcess:
        half = VBUCKETS // 2
        return self.stage.server(
            name=f"server-{number}",
            config={
                "DB_SETTINGS": {
                    "NUM_VBUCKETS": VBUCKETS,
                    "SENTINELS": [list(each) for each in self.cluster.sentinel_addresses()],
                    "SHARDS": [
                        {"shard_name": SHARDS[0], "vbuckets": [0, half - 1]},
                        {"shard_name": SHARDS[1], "vbuckets": [half, VBUCKETS - 1]},
                    ],
                }
            },
        )

    def _agent(self, number: int) -> AgentProcess:
        endpoints = [{"host": "127.0.0.1", "port": each.port} for each in self.servers]
        config = {"SERVER_ENDPOINTS": endpoints, "AGENT_CONFIRM_SECONDS": CONFIRM_SECONDS}
        return self.stage.agent(self.servers[0].port, name=f"agent-{number}", config=config)

    # ------------------------------------------------------------------------------------------------------ the deeds

    def _kill(self, process: HTTPProcess) -> None:
        process.kill()
        self.deeds[f"killed {process.name[:-2]}"] += 1
        time.sleep(self.chance.random() * 0.3)
        process.start()

    def _kill_master(self) -> None:
        """Kill a master and let it come back as a replica, with what it had."""
        shard = self.chance.choice(SHARDS)
        master = self.cluster.master(shard)
        began = time.monotonic()
        master.kill()
        self._wait_for_another(shard, master.port)
        self.away.append(time.monotonic() - began)
        self.deeds["killed master"] += 1
        master.start()
        self.cluster.settle(LONG)

    def _hang_master(self) -> None:
        """Stop a master for so long that another takes its place, and let it go on."""
        shard = self.chance.choice(SHARDS)
        master = self.cluster.master(shard)
        master.stop()
        time.sleep(HUNG_SECONDS)
        master.go_on()
        self._wait_for_another(shard, master.port)
        self.deeds["hung master"] += 1
        self.cluster.settle(LONG)

    def _wait_for_another(self, shard: str, port: int) -> None:
        until(lambda: self.cluster.master(shard).port != port, LONG, lambda: f"another master of {shard}")

    def _plan(self) -> list[Callable[[], None]]:
        """All deeds, in a random order."""
        victims: list[HTTPProcess] = [*self.servers, *self.agents]
        kills = [partial(self._kill, self.chance.choice(victims)) for _ in range(KILLS)]
        plan: list[Any] = [*kills, *[self._kill_master] * FAILOVERS, *[self._hang_master] * bool(FAILOVERS)]
        self.chance.shuffle(plan)
        return plan

    # ------------------------------------------------------------------------------------------------------- the test

    def test_whoever_is_killed(self) -> None:
        """In the end every count and total of every client and tab is the client's own."""
        print(f"\nTABA_SEED={self.seed}")
        for each in (*self.servers, *self.agents):
            each.start()
        for each in (*self.servers, *self.agents):
            each.ready()
        senders = [
            NumberedSender(f"sender-{n}", self.agents[n % 2].port, random.Random(f"{self.seed} {n}")) for n in range(4)
        ]
        for sender in senders:
            sender.start()
        for deed in self._plan():
            deed()
            time.sleep(self.chance.random())
        for each in (*self.servers, *self.agents):
            each.ready()
        for sender in senders:
            sender.finish(LONG)
        self._compare({sender.client: account(sender) for sender in senders})
        batches, repeats = sum(each.batches for each in senders), sum(each.repeats for each in senders)
        away = ", ".join(f"{each:.1f}" for each in self.away)
        print(f"{dict(self.deeds)}; masters named anew after {away} s; {batches} batches, {repeats} requests repeated")

    def _compare(self, sent: dict[str, dict[str, tuple[int, float]]]) -> None:
        """What the servers show becomes what was sent, and stays so. Nothing was lost, refused or given up."""
        shown: dict[str, dict[str, tuple[int, float]]] = {}
        events = sum(count for tabs in sent.values() for count, _ in tabs.values())

        def same() -> bool:
            shown.clear()
            shown.update(projections(self.servers[0]))
            return shown == sent

        self.servers[0].wait_for(
            same,
            lambda: f"{events} events:\n{differences(sent, shown)}\n" + "\n".join(map(HTTPProcess.tail, self.agents)),
            LONG,
        )
        time.sleep(1.0)
        self.assertEqual(projections(self.servers[1]), sent)
        ledgers = [agent.json("/status")["ledger"] for agent in self.agents]
        self.assertEqual(sum(ledger.pop("received") for ledger in ledgers), events)
        wrong = [{line: n for line, n in ledger.items() if n and line != "pending"} for ledger in ledgers]
        self.assertEqual(wrong, [{}, {}])
        ledger = self.servers[0].json("/status")["ledger"]
        self.assertEqual({line: n for line, n in ledger.items() if n and line != "folded"}, {})
        print(f"{events} events, each counted once", end="; ")
