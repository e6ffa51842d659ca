"""A fleet under load whose servers come, die and are renewed, and Redis under it: what each of that costs, and that no
event is lost or counted twice. The figures are printed.

REAL: two shards of a master and two replicas, three Sentinels, three servers, two agents, two clients that go on
posting, kill -9.
"""

from __future__ import annotations

import random
import re
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from taba import native
from tests.processes.asking import body
from tests.processes.numbered import COUNTER, NumberedSender
from tests.processes.running import AgentProcess, ServerProcess, Stage, start_all
from tests.processes.surroundings import until
from tests.redis.real import RedisProcess, Servers, missing

VBUCKETS = 16
SHARDS = {"shard1": range(8), "shard2": range(8, VBUCKETS)}
"""Each with its vbuckets. The first also keeps what servers publish of themselves."""
MOST_PAUSE = 3.0
PAUSE_BETWEEN_LOOKS = 0.25
LONG = 180.0
FOLDED = re.compile(r'^taba_server_folded_timestamp_seconds\{vbucket="(\d+)"\} (\S+)$', re.MULTILINE)


def tab_of_each() -> list[str]:
    """A tab in every vbucket."""
    found: dict[int, str] = {}
    for number in range(1000):
        found.setdefault(native.crc32(f"t{number}".encode()) % VBUCKETS, f"t{number}")
    return [found[vbucket] for vbucket in range(VBUCKETS)]


class EverywhereSender(NumberedSender):
    """One event for a tab of every vbucket in each batch, some batches a second."""

    def _send_batch(self, number: str) -> None:
        tabs = tab_of_each()
        content = body(self.client, {tab: [(COUNTER, time.time(), 1)] for tab in tabs})
        if self._until_answered("/post", content, number):
            self.batches += 1
            self.events.update(tabs)
        self._stopping.wait(0.2)


class Watch(threading.Thread):
    """Asks the servers when each of their vbuckets was folded last, some times a second."""

    def __init__(self, servers: Mapping[str, ServerProcess]) -> None:
        super().__init__(name="watch", daemon=True)
        self._servers = servers
        self._stopping = threading.Event()
        self.folded: dict[int, set[float]] = defaultdict(set)
        """Copied before it is gone through: this thread adds to it."""
        self.lag = 0.0
        """By how much this thread was called too late, at most: what the machine itself adds to every pause."""

    def run(self) -> None:
        """Look until told to end."""
        while True:
            called = time.monotonic() + PAUSE_BETWEEN_LOOKS
            if self._stopping.wait(PAUSE_BETWEEN_LOOKS):
                return
            self.lag = max(self.lag, time.monotonic() - called)
            for server in list(self._servers.values()):
                try:
                    text = server.ask("/metrics").text
                except OSError:
                    continue  # it is away just now
                for vbucket, folded in FOLDED.findall(text):
                    self.folded[int(vbucket)].add(float(folded))

    def finish(self) -> None:
        """End."""
        self._stopping.set()
        self.join()

    def longest_pause(self, since: float, until: float, vbuckets: Iterable[int] = range(VBUCKETS)) -> float:
        """The longest time in which one of some vbuckets was not folded, of all between two wall times."""
        longest = 0.0
        for vbucket in vbuckets:
            times = sorted(each for each in list(self.folded[vbucket]) if since <= each <= until)
            longest = max(longest, *(after - before for before, after in pairwise([since, *times, until])))
        return longest

    def all_folded(self, since: float) -> bool:
        """Whether every vbucket was folded after a wall time."""
        return all(max(list(self.folded[vbucket]), default=0.0) > since for vbucket in range(VBUCKETS))

    def last_back(self, since: float) -> float:
        """How long after a wall time the last vbucket was folded again."""
        folded = (list(self.folded[vbucket]) for vbucket in range(VBUCKETS))
        return max(min(each for each in times if each > since) - since for times in folded)


class MembershipTests(SynchronousTestCase):
    """The fleet."""

    skip = missing()

    def setUp(self) -> None:
        redis = Servers()
        self.addCleanup(redis.close)
        self.cluster = redis.cluster(*SHARDS, replicas=2, sentinels=3)
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.living: dict[str, ServerProcess] = {}
        self.servers = {name: self.make_server(name) for name in ("a", "b", "c")}
        first, *others = (each.port for each in self.servers.values())
        more = [word for port in others for word in ("--server", f"127.0.0.1:{port}")]
        self.agents: list[AgentProcess] = [self.stage.agent(first, *more, name=f"agent-{n}") for n in (1, 2)]

    def wait_until_it_follows(self, replica: RedisProcess) -> None:
        """A Redis server is a replica that its master is connected with."""
        replica.wait_for(
            lambda: replica.fields("INFO", "replication").get("master_link_status") == "up", "follows", LONG
        )

    def make_server(self, name: str) -> ServerProcess:
        """A server of the fleet."""
        database = {
            "NUM_VBUCKETS": VBUCKETS,
            "SENTINELS": [list(each) for each in self.cluster.sentinel_addresses()],
            "SHARDS": [{"shard_name": n, "vbuckets": [vs[0], vs[-1]]} for n, vs in SHARDS.items()],
        }
        settings = {"EMBEDDED_AGENT": True, "DB_SETTINGS": database}
        return self.stage.server(name=name, config=settings)

    def start(self, *names: str) -> None:
        """Start servers; fires when each has its share."""
        start_all(*(self.servers[name] for name in names))
        self.living.update({name: self.servers[name] for name in names})
        until(self.settled, LONG, lambda: f"everybody has its share: {self.held()}")

    def number(self, name: str, metric: str) -> float:
        """A number of a server."""
        found = re.search(rf"^taba_server_{metric} (\S+)$", self.living[name].ask("/metrics").text, re.MULTILINE)
        assert found is not None, f"{metric} is not there"
        return float(found[1])

    def held(self) -> dict[str, float]:
        """How many vbuckets each has."""
        return {name: self.number(name, "vbuckets_held") for name in sorted(self.living)}

    def settled(self) -> bool:
        """Whether every vbucket is where it belongs."""
        time.sleep(0.3)  # the processes need the machine more than the answer is needed
        ready = all(each.ask("/readyz?role=be").status == 200 for each in self.living.values())
        return ready and sum(self.held().values()) == VBUCKETS

    def moves(self) -> float:
        """How many vbuckets have been taken by those that live."""
        return sum(self.number(name, "vbuckets_taken_over_total") for name in self.living)

    def begin_load(self) -> None:
        """Two clients begin to post, and somebody to look."""
        self.senders = [EverywhereSender(f"client-{n}", each.port, random.Random(n))
                        for n, each in enumerate(self.agents)]  # fmt: skip
        self.watch = Watch(self.servers)
        for each in (*self.senders, self.watch):
            each.start()

    def paused(self, what: str, since: float) -> float:
        """Let a moment pass, and say what something has cost."""
        time.sleep(1.25)
        longest = self.watch.longest_pause(since, time.time() - 1.0)
        print(f"\n{what}: no vbucket was not folded for more than {longest:.2f} s", end="")
        return longest

    def assert_short(self, pause: float) -> None:
        """A pause is as short as is promised on a machine that has time for its processes."""
        self.assertLessEqual(pause, MOST_PAUSE + 3 * self.watch.lag)

    def test_a_fleet_is_renewed(self) -> None:
        """A server joins and moves its share only; one is killed, and what it had is folded again within three seconds;
        then everything is restarted, one after another. No pause is longer than three seconds, but for that of a shard
        whose master is killed: as long as Sentinels need, and three seconds. Every event that was acknowledged is
        counted once.
        """
        self.start("a", "b")
        start_all(*self.agents)
        self.begin_load()
        time.sleep(1.0)
        self.join()
        self.kill()
        self.roll()
        self.fail_over()
        for each in self.senders:
            each.finish(LONG)
        self.watch.finish()
        self.check_counts()

    def join(self) -> None:
        """`c` joins."""
        before, since = self.moves(), time.time()
        self.start("c")
        share = self.held()["c"]
        moved = self.moves() - before
        pause = self.paused(f"join: {moved:.0f} of {VBUCKETS} vbuckets moved", since)
        self.assertEqual(moved, share)
        self.assert_short(pause)

    def kill(self) -> None:
        """`b` dies."""
        lost = self.held()["b"]
        self.living.pop("b").kill()
        since, before = time.time(), self.moves()
        until(self.settled, LONG, "everything is taken over")
        moved = self.moves() - before
        self.paused(f"kill -9 of a server with {lost:.0f} vbuckets", since)
        back = self.watch.last_back(since)
        print(f", and all were folded again {back:.2f} s after it", end="")
        self.assertEqual(moved, lost)
        self.assert_short(back)
        self.start("b")

    def roll(self) -> None:
        """Servers, agents and a replica are restarted, one after another."""
        pauses = []
        for name in ("a", "b", "c"):
            since, server = time.time(), self.living.pop(name)
            self.assertEqual(server.stop(), 0)
            self.start(name)
            pauses.append(self.paused(f"restart of server {name}", since))
        since = time.time()
        for agent in self.agents:
            self.assertEqual(agent.stop(), 0)
            start_all(agent)
        pauses.append(self.paused("restart of both agents, one after the other", since))
        since = time.time()
        replica = self.cluster.shards["shard1"][1]
        replica.restart()
        self.wait_until_it_follows(replica)
        pauses.append(self.paused("restart of a replica", since))
        self.assert_short(max(pauses))

    def fail_over(self) -> None:
        """The master of a shard is killed, and started again as soon as another one is named: its vbuckets are folded
        again within three seconds of that, and those of the other shard do not feel it.
        """
        since, master = time.time(), self.cluster.master("shard1")
        master.kill()
        until(lambda: self.cluster.master("shard1") is not master, LONG, "another master")
        named = time.time()
        master.start()
        until(lambda: self.watch.all_folded(named), LONG, "everything is folded again")
        until(self.settled, LONG, lambda: f"everybody has its share: {self.held()}")
        self.paused(f"kill -9 of a master, another one named after {named - since:.2f} s", since)
        now = time.time() - 1.0
        mine, others = (self.watch.longest_pause(since, now, vbuckets) for vbuckets in SHARDS.values())
        print(f"; {mine - (named - since):.2f} s longer than that, and {others:.2f} s in the other shard", end="")
        self.assert_short(mine - (named - since))
        self.assert_short(others)

    def check_counts(self) -> None:
        """Every acknowledged event is counted, once."""
        sent = sum(sum(each.events.values()) for each in self.senders)
        server = self.servers["a"]

        def all_there() -> bool:
            counts = [server.counts(tab)[0] for tab in tab_of_each()]
            wanted = [sum(each.events[tab] for each in self.senders) for tab in tab_of_each()]
            self.assertTrue(all(count <= want for count, want in zip(counts, wanted, strict=True)), (counts, wanted))
            return counts == wanted

        until(all_there, LONG, lambda: f"{sent} events are counted: {server.ask('/status').text}")
        batches, late = sum(each.batches for each in self.senders), self.watch.lag
        print(f"\nexact: {sent} events in {batches} batches; the machine was late by up to {late:.2f} s", end=" ")


class StopTests(SynchronousTestCase):
    """SIGTERM while the store hangs, and SIGHUP."""

    skip = missing()

    def setUp(self) -> None:
        redis = Servers()
        self.addCleanup(redis.close)
        self.redis = redis.server().ready()
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.settings = {
            "EMBEDDED_AGENT": True,
            "STOP_SECONDS": 3,
            "DB_SETTINGS": {"NUM_VBUCKETS": VBUCKETS, "REDIS_URL": f"redis://127.0.0.1:{self.redis.port}"},
        }
        self.server = self.stage.server(config=self.settings)
        start_all(self.server)

    def post(self, count: int) -> None:
        """Events of a tab that is black later on, and of one that is not."""
        tabs = {tab: [(COUNTER, time.time(), 1)] * count for tab in ("noise", "signal")}
        self.assertEqual(self.server.post(body("c", tabs)).status, 200)

    def reload(self, expected: str) -> None:
        """Let the file be read again."""
        self.server.send(signal.SIGHUP)
        self.server.wait_for_output(expected)

    def test_reload_and_a_store_that_hangs(self) -> None:
        """A blacklist is taken over while the server runs, a broken file changes nothing; and the server ends with
        status 0 though its store hangs, without losing what it acknowledged.
        """
        self.post(3)
        self.server.wait_for_count("noise", 3)
        more = {"NAME_BLACKLIST": ["noise"], "MAX_CLOCK_SKEW": 9, "TABS": [{"name": "x", "per_client": "merge"}]}
        config = self.stage.settings("server", {**self.settings, **more})
        self.reload("taken over: NAME_BLACKLIST, TABS; after a restart: MAX_CLOCK_SKEW.")
        config.write_text('{"NAME_BLACKLIST": 7}')
        self.reload("The settings stay as they are: ")
        self.stage.settings("server", self.settings)
        self.post(4)
        self.server.wait_for_count("signal", 7)
        self.assertEqual(self.server.counts("noise")[0], 3)
        self.redis.stop()
        self.post(5)
        began = time.monotonic()
        self.assertEqual(self.server.stop(), 0)
        print(f"\nSIGTERM with a store that hangs: ended after {time.monotonic() - began:.1f} s", end=" ")
        self.redis.go_on()
        start_all(self.server)
        self.server.wait_for_count("signal", 12)
        self.server.wait_for_count("noise", 8)
