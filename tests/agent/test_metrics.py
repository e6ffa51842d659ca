"""The numbers of an agent, as Prometheus reads them: what they say of events, disk, lanes and servers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taba.agent.held import Held
from taba.agent.http import AgentResources
from taba.agent.intake import BatchNumber
from taba.agent.measures import MOST_SERVERS, OUTCOMES, AgentMeasures
from taba.agent.site import agent_site
from taba.metrics import Histogram
from taba.settings import AgentSettings
from taba.usage import Usage
from tests.agent.agent_case import AgentCase, Away, Gate
from tests.test_metrics import read

MIB = 1 << 20


class NumberTests(AgentCase):
    """One agent in front of one fe, which is there or not."""

    def setUp(self) -> None:
        super().setUp()
        self.gate = Gate(self.local)
        self.agent = self.start(self.gate)

    def value(self, name: str, **labels: str) -> float:
        """One sample of the agent's."""
        return read(self.agent.metrics())[name][tuple(sorted(labels.items()))]

    def test_events(self) -> None:
        """The ledger, line by line; and what clients could not send, by tab, under no line of its own."""
        self.give(1, 2)
        self.agent.apply(None, None, {"full": {"bids": 3, "wins": 4}})
        self.pass_time(0.3)
        self.assertEqual(self.value("taba_agent_events", line="received"), 2)
        self.assertEqual(self.value("taba_agent_events", line="unsent.full"), 7)
        self.assertEqual(self.value("taba_agent_unsent_total", reason="full", tab="bids"), 3)
        lines = {dict(labels)["line"] for labels in read(self.agent.metrics())["taba_agent_events"]}
        self.assertEqual(lines, {"received", "unsent.full", "pending"})

    def test_client_batches(self) -> None:
        """A repeated batch, and one of an instance that nobody knows, are told from those that were counted."""
        instance = self.open_instance()
        for number in (1, 1, 2):
            self.give(1, batch=BatchNumber(instance, number))
        self.give(1, batch=BatchNumber("f" * 32, 1))
        found = {outcome: self.value("taba_agent_client_batches_total", outcome=outcome)
                 for outcome in ("counted", "duplicate", "unknown")}
        self.assertEqual(found, {"counted": 3, "duplicate": 1, "unknown": 1})

    def test_disk(self) -> None:
        """How much the spool has and may have; commits and syncs are timed; a disk that refuses shows at once."""
        self.give(1)
        self.pass_time(0.3)
        self.assertEqual(self.value("taba_agent_spool_bytes"), self.agent.committer.writing.held)
        self.assertEqual(self.value("taba_agent_spool_limit_bytes"), AgentSettings().max_spool_bytes)
        self.assertEqual(self.value("taba_agent_commit_seconds_count"), 1)
        self.assertGreaterEqual(self.value("taba_agent_sync_seconds_count"), 1)
        self.assertEqual((self.value("taba_agent_taking"), self.value("taba_agent_spool_failing")), (1, 0))
        self.disk.read_only(True)
        self.give(1)
        self.pass_time(2.0)
        self.assertEqual((self.value("taba_agent_taking"), self.value("taba_agent_spool_failing")), (0, 1))
        self.disk.read_only(False)
        self.pass_time(3.0)
        self.assertEqual(self.value("taba_agent_taking"), 1)
        self.assertEqual(self.value("taba_agent_commit_seconds_count"), 2)
        self.assertGreater(self.value("taba_agent_commit_seconds_sum"), 1.0)

    def test_delivery(self) -> None:
        """Batches are held until they are confirmed; how long that took, and how long the first ok, is known."""
        self.give(1)
        self.pass_time(1.0)
        self.assertEqual(self.value("taba_agent_batches_held"), 1)
        self.assertGreater(self.value("taba_agent_bytes_held"), 0)
        self.assertEqual(self.value("taba_agent_first_ok_seconds_count"), 1)
        self.assertLess(self.value("taba_agent_first_ok_seconds_sum"), 1.0)
        self.assertEqual(self.value("taba_agent_confirmation_seconds_count"), 0)
        self.assertEqual(self.value("taba_agent_taken_bytes_total"), self.value("taba_agent_bytes_held"))
        self.assertEqual(self.value("taba_agent_lanes", state="quiet"), 1)
        self.assertAlmostEqual(self.value("taba_agent_oldest_unconfirmed_seconds"), 1.0, delta=0.15)
        self.pass_time(10.0)
        self.assertEqual(self.value("taba_agent_batches_held"), 0)
        self.assertEqual(self.value("taba_agent_events_confirmed"), 1)
        self.assertEqual(self.value("taba_agent_confirmation_seconds_count"), 1)
        self.assertGreaterEqual(self.value("taba_agent_confirmation_seconds_sum"), 5.0)
        self.assertEqual(self.value("taba_agent_oldest_unconfirmed_seconds"), 0)

    def test_behind(self) -> None:
        """Servers that take less than comes in make the agent refuse events, and say that it is for that."""
        self.assertEqual((self.value("taba_agent_behind"), self.value("taba_agent_taking")), (0, 1))
        self.agent.keeping_up.room = 0
        for seconds in range(20):
            self.agent.keeping_up.look(float(seconds), 1_000_000 * (seconds > 10), seconds)
        self.assertEqual(self.value("taba_agent_behind"), 1)

    def test_servers_away(self) -> None:
        """Requests that come to nothing are counted by server, and the oldest event ages; afterwards all is as before.
        """
        self.pass_time(0.5)
        self.gate.open = False
        self.give(1)
        self.pass_time(5.0)
        server = self.gate.name
        down = self.value("taba_agent_server_requests_total", server=server, outcome="down")
        self.assertGreater(down, 0)
        self.assertGreater(self.value("taba_agent_oldest_unconfirmed_seconds"), 4.0)
        self.assertEqual(self.value("taba_agent_first_ok_seconds_count"), 0)
        self.gate.open = True
        self.pass_time(40.0)
        answered = self.value("taba_agent_server_requests_total", server=server, outcome="answered")
        self.assertGreater(answered, 1)
        self.assertEqual(self.value("taba_agent_server_request_seconds_count", server=server), answered)
        self.assertGreater(self.value("taba_agent_first_ok_seconds_sum"), 5.0)
        self.assertEqual(self.value("taba_agent_oldest_unconfirmed_seconds"), 0)

    def test_before_the_first_topology(self) -> None:
        """What waits for its seal, since no server was ever met, ages as well."""
        self.stop()
        self.agent = self.start(Away(), spool="another")
        self.give(1)
        self.pass_time(3.0)
        self.assertEqual(self.value("taba_agent_batches_held"), 0)
        self.assertAlmostEqual(self.value("taba_agent_oldest_unconfirmed_seconds"), 3.0, delta=0.2)

    def test_process(self) -> None:
        """What the process uses stands beside it, where the machine tells."""
        self.assertNotIn("process_cpu_seconds_total", self.agent.metrics())
        self.process.usage = lambda: Usage(1.5, 80 * MIB, 300 * MIB, 12, 1024, 1.7e9)
        self.assertEqual(self.value("process_cpu_seconds_total"), 1.5)
        self.assertEqual(self.value("process_resident_memory_bytes"), 80 * MIB)
        self.assertEqual(len(read(self.agent.metrics())["taba_build_info"]), 1)

    def test_answered_requests(self) -> None:
        """What was asked of the agent's port is counted by path and status; unknown paths are one."""
        site = agent_site(AgentResources(self.agent), self.process)
        for path, status in ((b"/post", 200), (b"/post", 503), (b"/x", 404), (b"/y", 404)):
            site._answered.answered(path, status, 0.01)
        found = read(self.agent.metrics())["taba_agent_http_requests_total"]
        self.assertEqual({(dict(key)["path"], dict(key)["status"]): value for key, value in found.items()},
                         {("/post", "200"): 1, ("/post", "503"): 1, ("other", "404"): 2})
        self.assertEqual(self.value("taba_agent_http_request_seconds_count", path="/post"), 2)


class MeasureTests(SynchronousTestCase):
    """What is measured, judged alone."""

    def test_clock_set_back(self) -> None:
        """A wall clock that was set back gives no times below zero."""
        measures = AgentMeasures()
        held = Held(1, 0, 0, 1, 1000.0, 0, 10)
        measures.confirmed([held], 900.0)
        self.assertEqual(measures.confirmations.total, 0.0)
        measures.confirmed([held], 1007.5)
        self.assertEqual(measures.confirmations.total, 7.5)

    def test_outcomes(self) -> None:
        """Each server's requests are counted by outcome; only answers are timed."""
        measures = AgentMeasures()
        measures.answered("a", 0.2)
        for outcome in OUTCOMES[1:]:
            measures.unanswered("a", outcome)
        self.assertEqual([measures.requests["a", outcome] for outcome in OUTCOMES], [1] * len(OUTCOMES))
        self.assertEqual(measures.requests["b", "down"], 0)
        timed: Histogram = measures.request_seconds["a"]
        self.assertEqual(sum(timed.counts), 1)

    def test_servers_that_come_and_go(self) -> None:
        """Servers whose addresses change for ever do not fill the memory; those in use keep their numbers."""
        measures = AgentMeasures()
        for number in range(10 * MOST_SERVERS):
            measures.answered(f"10.0.0.{number}", 0.1)
            measures.keep(["10.0.0.0"])
        self.assertLess(len(measures.requests), 10 * MOST_SERVERS)
        self.assertLess(len(measures.request_seconds), 10 * MOST_SERVERS)
        self.assertEqual(measures.requests["10.0.0.0", "answered"], 1)
