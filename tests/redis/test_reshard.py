"""Vbuckets move onto a new shard, under load, and every acknowledged event is counted once, whoever dies meanwhile.

REAL: three shards of a master and two replicas, three Sentinels, two servers, two agents, clients that go on posting,
and `taba-cli reshard`. The mover, servers and agents are killed with kill -9, and masters of shards that take part;
TABA_SEED replays the choices. It prints for how long vbuckets took nothing.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.numbered import NumberedSender
from tests.processes.running import TABA_CLI, AgentProcess, HTTPProcess, ServerProcess, Stage
from tests.processes.surroundings import environment, until
from tests.processes.test_exactly_once import account, differences, projections
from tests.redis.real import Cluster, Servers, missing
from tests.redis.test_operations import acl_line

SHARDS = ("shard1", "shard2", "shard3")
VBUCKETS = 16
BEFORE = {"shard1": (0, 7), "shard2": (8, 15)}
AFTER = {"shard1": (0, 4), "shard2": (8, 12), "shard3": (5, 7)}
REST = {"shard3": (13, 15)}
"""The second range of the new shard."""
MOVED = [5, 6, 7, 13, 14, 15]
CONFIRM_SECONDS = 30.0
SHORT = 5.0
"""What the mover of the quiet test is told: nothing fails over there."""
LONG = 180.0


class ReshardCase(SynchronousTestCase):
    """A cluster of shards, settings, and the command."""

    skip = missing()
    replicas = 0

    def setUp(self) -> None:
        self.redis = Servers()
        self.addCleanup(self.redis.close)
        self.cluster: Cluster = self.redis.cluster(*SHARDS, replicas=self.replicas, sentinels=3)
        for servers in self.cluster.shards.values():
            for each in servers:
                each.ask("CONFIG", "SET", "repl-timeout", "4")
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def database(self, *ranges: dict[str, tuple[int, int]], **more: Any) -> dict[str, Any]:
        """DB_SETTINGS with these ranges."""
        return {
            "NUM_VBUCKETS": VBUCKETS,
            "SENTINELS": [list(each) for each in self.cluster.sentinel_addresses()],
            "SHARDS": [{"shard_name": name, "vbuckets": list(both)} for some in ranges for name, both in some.items()],
            **more,
        }

    def settings(self, name: str, *ranges: dict[str, tuple[int, int]], **more: Any) -> str:
        """A settings file with these ranges."""
        return str(self.stage.settings(name, {"DB_SETTINGS": self.database(*ranges, **more)}))

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """`taba-cli reshard`, started."""
        words = [sys.executable, *TABA_CLI, "reshard", *arguments]
        return subprocess.Popen(
            words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ended(self, command: subprocess.Popen[str], code: int = 0) -> str:
        """What a command said."""
        try:
            said, noted = command.communicate(timeout=LONG)
        except subprocess.TimeoutExpired:
            command.kill()
            self.fail(f"it does not end: {command.communicate()}")
        self.assertEqual(command.returncode, code, said + noted)
        self.assertNotIn("Traceback", noted)
        return said

    def markers(self, shard: str, prefix: str = "") -> dict[int, str]:
        """What the master of a shard says of the vbuckets."""
        master = self.cluster.master(shard)
        found = master.ask("MGET", *(f"{prefix}O:{vbucket}" for vbucket in range(VBUCKETS)))
        return {vbucket: value.decode() for vbucket, value in enumerate(found) if value}


class QuietTests(ReshardCase):
    """Nothing fails."""

    replicas = 1

    def test_move_under_load(self) -> None:
        """While clients go on, vbuckets move as the user of the guide's ACL line; the figures are printed. A dry run
        writes nothing; moves that are undone leave all as it was.
        """
        words = acl_line("all that Taba needs on a shard")
        for each in (each for servers in self.cluster.shards.values() for each in servers):
            self.assertEqual(each.ask("ACL", "SETUSER", "taba", *words), b"OK")
        user = {"REDIS_USER": "taba", "REDIS_PASSWORD": "secret", "KEY_PREFIX": "taba:"}
        server = self.stage.server(config={"DB_SETTINGS": self.database(BEFORE, **user), "EMBEDDED_AGENT": True})
        server.start()
        server.ready()
        server.stop()
        database = self.database(AFTER, REST, **user)
        server = self.stage.server(name="after", config={"DB_SETTINGS": database, "EMBEDDED_AGENT": True})
        server.start()
        server.ready()
        senders = [NumberedSender(f"sender-{n}", server.agent_port, random.Random(n)) for n in range(3)]
        for sender in senders:
            sender.start()
        settings = self.settings("reshard", AFTER, REST, **user)
        confirm = ("--confirm-seconds", str(SHORT))
        plan = json.loads(self.ended(self.command("--to", settings, "--dry-run", "--json")))
        self.assertEqual([move["vbucket"] for move in plan["moves"]], MOVED)
        self.assertEqual(self.markers("shard3", "taba:"), {})
        moving = self.command("--to", settings, "--yes", *confirm)
        announced = [self.cluster.master(shard) for shard in ("shard1", "shard2")]
        until(lambda: all(shard.ask("HLEN", "taba:moves") == 3 for shard in announced), LONG, lambda: "announcements")
        moving.kill()
        moving.communicate()
        self.assertIn("Undone: 6", self.ended(self.command("--to", settings, "--abort", "--yes", *confirm)))
        active = {v for v, marker in self.markers("shard1", "taba:").items() if marker[0] == "A"}
        self.assertEqual(active, set(range(8)))
        figures = json.loads(self.ended(self.command("--to", settings, "--yes", "--json", *confirm)))
        self.assertEqual((figures["moved"], figures["left"]), (6, []))
        there = {v: marker[0] for v, marker in self.markers("shard3", "taba:").items()}
        self.assertEqual(there, dict.fromkeys(MOVED, "A"))
        for sender in senders:
            sender.finish(LONG)
        sent = {sender.client: account(sender) for sender in senders}
        server.wait_for(lambda: projections(server) == sent, lambda: differences(sent, projections(server)), LONG)
        sealed = figures["sealed_seconds"]
        print(f"\nsealed for {1000 * sealed['median']:.1f} ms (median), {1000 * sealed['longest']:.1f} ms (longest);"
              f" not folded for {figures['longest_pause_seconds']:.2f} s at most", end="; ")  # fmt: skip
        self.assertEqual([log for redis in self.redis.processes[:6] for log in redis.ask("ACL", "LOG")], [])


class ChaosTests(ReshardCase):
    """Everybody dies."""

    replicas = 2

    def setUp(self) -> None:
        super().setUp()
        self.seed = int(os.environ.get("TABA_SEED") or random.SystemRandom().randrange(1_000_000))
        self.chance = random.Random(f"{self.seed} reshard")
        self.servers: list[ServerProcess] = [self._server(number) for number in (1, 2)]
        self.agents: list[AgentProcess] = [self._agent(number) for number in (1, 2)]

    def _server(self, number: int) -> ServerProcess:
        return self.stage.server(name=f"server-{number}", config={"DB_SETTINGS": self.database(BEFORE)})

    def _agent(self, number: int) -> AgentProcess:
        endpoints = [{"host": "127.0.0.1", "port": each.port} for each in self.servers]
        config = {"SERVER_ENDPOINTS": endpoints, "AGENT_CONFIRM_SECONDS": CONFIRM_SECONDS}
        return self.stage.agent(self.servers[0].port, name=f"agent-{number}", config=config)

    def _kill(self, process: HTTPProcess) -> None:
        process.kill()
        time.sleep(self.chance.random() * 0.3)
        process.start()

    def _change_settings(self) -> None:
        """Start the servers, one after the other, with the settings that name the new shard."""
        for server in self.servers:
            server.kill()
            self.stage.settings(server.name, {"DB_SETTINGS": self.database(AFTER, REST)})
            server.start()
            server.ready()

    def test_whoever_dies(self) -> None:
        """The mover is killed again and again, servers and agents now and then, and the masters of two shards; another
        mover goes on. In the end every count and total is the clients' own.
        """
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
        self._change_settings()
        settings = self.settings("reshard", AFTER, REST)
        arguments = ("--to", settings, "--yes", "--json")
        moving = self.command(*arguments)
        source = self.cluster.master("shard1")
        until(lambda: "S" in {m[0] for m in self.markers("shard1").values()}, LONG, lambda: "a sealed vbucket")
        moving.kill()
        moving.communicate()
        self._kill(self.servers[0])
        moving = self.command(*arguments)
        time.sleep(self.chance.random())
        self._kill_master("shard1", source)
        self._kill(self.agents[0])
        time.sleep(self.chance.random() * 3)
        self._kill(self.servers[1])
        time.sleep(CONFIRM_SECONDS * self.chance.random())
        self._kill_master("shard3", self.cluster.master("shard3"))
        figures = json.loads(self.ended(moving))
        again = json.loads(self.ended(self.command(*arguments)))
        self.assertEqual([*again.get("moves", ()), *figures["left"]], [])
        self._compare(senders)
        print(f"sealed: {figures['sealed_seconds']}")

    def _kill_master(self, shard: str, master: Any) -> None:
        master.kill()
        until(lambda: self.cluster.master(shard).port != master.port, LONG, lambda: f"another master of {shard}")
        master.start()

    def _compare(self, senders: list[NumberedSender]) -> None:
        for each in (*self.servers, *self.agents):
            each.ready()
        for sender in senders:
            sender.finish(LONG)
        sent = {sender.client: account(sender) for sender in senders}
        first = self.servers[0]
        first.wait_for(
            lambda: projections(first) == sent,
            lambda: f"{differences(sent, projections(first))}\n" + "\n".join(map(HTTPProcess.tail, self.agents)),
            LONG,
        )
        time.sleep(1.0)
        self.assertEqual(projections(self.servers[1]), sent)
        self.assertEqual([v for v, m in self.markers("shard3").items() if m[0] == "A"], MOVED)
        events = sum(count for tabs in sent.values() for count, _ in tabs.values())
        ledgers = [agent.json("/status")["ledger"] for agent in self.agents]
        self.assertEqual(sum(ledger.pop("received") for ledger in ledgers), events)
        wrong = [{line: n for line, n in ledger.items() if n and line != "pending"} for ledger in ledgers]
        self.assertEqual(wrong, [{}, {}])
        print(f"{events} events, each counted once", end="; ")
