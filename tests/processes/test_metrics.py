"""Real processes, scraped while they work, as Prometheus would: what counts rises, and never falls.

REAL: a server, an agent, and their ports.
"""

from __future__ import annotations

from functools import partial

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.processes.asking import ask, counters
from tests.processes.running import Stage, start_all
from tests.processes.surroundings import PATIENCE, until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

ROUNDS = 4
BODIES = 5
VALUES = 200
VBUCKETS = 1000
SCRAPES = 40
MOST_CPU = 0.02
"""Seconds of CPU that a scrape of an idle server with so many vbuckets may take."""


def scrape(port: int) -> tuple[Samples, Samples]:
    """What only rises, and all, of one scrape."""
    answer = ask(port, "/metrics")
    assert answer.status == 200, answer
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4"), answer.headers
    rising: Samples = {}
    everything: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in everything, key
            everything[key] = sample.value
            if family.type in ("counter", "histogram"):
                rising[key] = sample.value
    return rising, everything


class ScrapeTests(SynchronousTestCase):
    """Processes of their own for each test."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def test_under_load(self) -> None:
        """While an agent and a server take, send and fold events, each scrape shows what counts at or above the last
        one; at the end the numbers of all of them are those of the events that were sent.
        """
        server = self.stage.server()
        agent = self.stage.agent(server.port)
        start_all(server, agent)
        ports = {"server": server.port, "inside": server.agent_port, "agent": agent.port}
        first = {name: scrape(port) for name, port in ports.items()}
        last = first
        for number in range(ROUNDS):
            for body in range(BODIES):
                status = agent.post(counters("client", f"used_{body}", range(VALUES))).status
                self.assertEqual(status, 200)
                self.assertEqual(server.post(counters("other", f"used_{number}", [1])).status, 200)
            now = {name: scrape(port) for name, port in ports.items()}
            for name, (rising, _) in now.items():
                for key, before in last[name][0].items():
                    self.assertGreaterEqual(rising.get(key, -1.0), before, (name, key))
            last = now
        events = ROUNDS * BODIES * (VALUES + 1)

        def of(name: str, sample: str, **labels: str) -> float:
            return scrape(ports[name])[1].get((sample, tuple(sorted(labels.items()))), 0.0)

        def rises(name: str, sample: str, before: float) -> bool:
            return of(name, sample) > before

        until(lambda: of("server", "taba_server_events", line="folded") >= events, PATIENCE, "all events are folded")
        self.assertEqual(of("agent", "taba_agent_events", line="received"), ROUNDS * BODIES * VALUES)
        self.assertEqual(of("agent", "taba_agent_http_requests_total", path="/post", status="200"), ROUNDS * BODIES)
        for name, sample in (
            ("agent", "taba_agent_commit_seconds_count"),
            ("agent", "taba_agent_sync_seconds_count"),
            ("agent", "taba_agent_first_ok_seconds_count"),
            ("agent", "process_cpu_seconds_total"),
            ("inside", "taba_agent_commit_seconds_count"),
            ("server", "taba_agent_commit_seconds_count"),
            ("server", "taba_server_append_seconds_count"),
            ("server", "taba_server_checkpoint_seconds_count"),
            ("server", "taba_server_states_written_total"),
            ("server", "process_cpu_seconds_total"),
        ):
            before = first[name][0].get((sample, ()), 0.0)
            until(partial(rises, name, sample, before), PATIENCE, f"{sample} of {name} rises above {before}")
        self.assertGreater(of("server", "process_resident_memory_bytes"), 1 << 20)

    def test_cost(self) -> None:
        """A scrape of an idle server with a thousand vbuckets takes little CPU."""
        server = self.stage.server(config={"DB_SETTINGS": {"NUM_VBUCKETS": VBUCKETS}, "EMBEDDED_AGENT": True})
        start_all(server)
        held = ("taba_server_vbuckets_held", ())
        server.wait_for(lambda: scrape(server.port)[1][held] == VBUCKETS, "all vbuckets are held")
        before = server.cpu_seconds()
        for _ in range(SCRAPES):
            answer = server.ask("/metrics")
        each = (server.cpu_seconds() - before) / SCRAPES
        self.assertEqual(answer.text.count("taba_server_queue_entries{"), VBUCKETS)
        print(f"a scrape with {VBUCKETS} vbuckets: {each * 1e3:.1f} ms of CPU, {len(answer.text) / 1000:.0f} KB")
        self.assertLess(each, MOST_CPU)
