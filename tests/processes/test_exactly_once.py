"""Every acknowledged event is counted once, whatever is killed and whenever.

REAL: an agent and a server process, killed with kill -9 again and again, and clients that go on posting.

`TABA_KILLS` is how often (default 20), `TABA_SEED` replays the choices of the test; when exactly a signal arrives is
the machine's affair.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from taba.client.api import Client
from tests.processes.numbered import NumberedSender
from tests.processes.running import AgentProcess, RealProcess, ServerProcess, Stage
from tests.processes.surroundings import PATIENCE

KILLS = int(os.environ.get("TABA_KILLS", "20"))
SENDERS = 3
LONGEST_LIFE = 0.6
"""Seconds that a process may work before it is killed, at most."""
UNREADY = 0.25
"""The part of lives that may end before the process is ready."""
TERMINATED = 0.15
"""The part of ends by SIGTERM, in which they may finish their work."""

Account = dict[str, dict[str, tuple[int, float]]]
"""By client and tab: events and their total."""


class Killer(threading.Thread):
    """Ends a process and starts it again, at random times. The thread lives until `release`, since a process dies with
    the thread that started it.
    """

    def __init__(self, process: RealProcess, kills: int, chance: random.Random) -> None:
        super().__init__(name=f"killer of {process.name}", daemon=True)
        self._process = process
        self._kills = kills
        self._chance = chance
        self.ends: Counter[str] = Counter()
        self.problem: BaseException | None = None
        self.done = threading.Event()
        self._released = threading.Event()

    def release(self) -> None:
        """Let the thread end."""
        self._released.set()

    def run(self) -> None:
        """Until it was killed often enough; afterwards it runs."""
        try:
            while self.ends["killed"] < self._kills:
                if self._chance.random() > UNREADY:
                    self._process.wait_for_output("Ready.")
                time.sleep(self._chance.random() * LONGEST_LIFE)
                if self._chance.random() < TERMINATED:
                    self._process.send(signal.SIGTERM)
                    self._process.ended()
                    self.ends["terminated"] += 1
                else:
                    assert self._process.alive, f"{self._process.name} ended by itself\n{self._process.tail()}"
                    self._process.kill()
                    self.ends["killed"] += 1
                self._process.start()
        except BaseException as problem:
            self.problem = problem
        self.done.set()
        self._released.wait()


class ExactlyOnceTests(SynchronousTestCase):
    """Clients, an agent and a server of which nobody is spared."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.seed = int(os.environ.get("TABA_SEED") or random.SystemRandom().randrange(1_000_000))
        self.server: ServerProcess = self.stage.server()
        self.agent: AgentProcess = self.stage.agent(self.server.port)

    def chance(self, what: str) -> random.Random:
        """Choices that depend on the seed and on what they are for."""
        return random.Random(f"{self.seed} {what}")

    def test_killed_again_and_again(self) -> None:
        """Agent and server are killed while clients post: in the end every count and total is the clients' own."""
        print(f"TABA_SEED={self.seed}")
        senders = [NumberedSender(f"sender-{n}", self.agent.port, self.chance(f"sender {n}")) for n in range(SENDERS)]
        application = Client(jitter=self.chance("application").random)
        application.initialize("application", f"http://127.0.0.1:{self.agent.port}/post", 0.1)
        self.addCleanup(application.stop, 0.1)
        recorded = self._go_through_it(senders, application)
        for process in (self.server, self.agent):
            process.ready()
        for sender in senders:
            sender.finish(PATIENCE)
        self.assertTrue(application.stop(PATIENCE), application.get_status())
        status = application.get_status()
        self.assertEqual((status["acknowledged"], status["unknown"], status["full"]), (recorded, 0, 0))
        self._compare({**{sender.client: account(sender) for sender in senders}, "application": {
            "once_application": (recorded, float(recorded * (recorded - 1) // 2))}})  # fmt: skip

    def _go_through_it(self, senders: list[NumberedSender], application: Client) -> int:
        """Let them post and be killed until there were kills enough; how many events the application recorded."""
        self.server.start()
        self.agent.start()
        killers = [Killer(each, (KILLS + 1) // 2, self.chance(each.name)) for each in (self.server, self.agent)]
        for killer in killers:
            self.addCleanup(killer.release)
        for thread in (*senders, *killers):
            thread.start()
        recorded = 0
        while not all(killer.done.is_set() for killer in killers):
            application.counter("once_application", recorded)
            recorded += 1
            time.sleep(0.002)
        for killer in killers:
            self.assertIsNone(killer.problem, str(killer.problem))
        ends = sum((killer.ends for killer in killers), Counter())
        batches, repeats = sum(each.batches for each in senders), sum(each.repeats for each in senders)
        print(f"{dict(ends)}, {batches} batches, {repeats} requests repeated, {recorded} events of the application")
        return recorded

    def _compare(self, sent: Account) -> None:
        """What the server shows becomes what was sent, and then stays so. Nothing was refused or given up."""
        shown: Account = {}

        def same() -> bool:
            shown.clear()
            shown.update(projections(self.server))
            return shown == sent

        events = sum(count for tabs in sent.values() for count, _ in tabs.values())
        self.server.wait_for(same, lambda: f"{events} events:\n{differences(sent, shown)}\n{self.agent.tail()}")
        time.sleep(1.0)
        self.assertEqual(projections(self.server), sent)
        ledger, server_ledger = self.agent.json("/status")["ledger"], self.server.json("/status")["ledger"]
        self.assertEqual(ledger.pop("received"), events)
        self.assertEqual({line: count for line, count in ledger.items() if count and line != "pending"}, {})
        wrong = {line: count for line, count in server_ledger.items() if count and line != "folded"}
        self.assertEqual(wrong, {})


def account(sender: NumberedSender) -> dict[str, tuple[int, float]]:
    """What a sender sent, by tab."""
    return {tab: (count, float(sender.totals[tab])) for tab, count in sender.events.items()}


def projections(server: ServerProcess) -> Account:
    """What the server has, by client and tab."""
    clients = server.json("/projection?re=1&name=once")
    return {
        client: {tab: (state.get("pct", state["1d"])["count"], state.get("pct", state["1d"])["total"])
                 for tab, state in tabs.items()}
        for client, tabs in clients.items()
    }  # fmt: skip


def differences(sent: Account, shown: Account) -> str:
    """Where two accounts differ, for people."""
    return "\n".join(
        f"{client} {tab}: sent {sent.get(client, {}).get(tab)}, shown {shown.get(client, {}).get(tab)}"
        for client in sorted(sent | shown)
        for tab in sorted(sent.get(client, {}) | shown.get(client, {}))
        if sent.get(client, {}).get(tab) != shown.get(client, {}).get(tab)
    )
