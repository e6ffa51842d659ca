"""The demo's traffic, and how it runs."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.cli import demo
from taba.cli.demo import CLIENTS, TABS, Traffic, run
from taba.cli.server import Unreachable
from tests.cli.cli_case import WALL, AnswersCase


class FakeRecorder:
    """A client that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, object]] = []

    def record_event(self, name: str, type: str, value: object) -> None:
        self.events.append((name, type, value))

    def stop(self, timeout: float = 5.0) -> bool:
        return True

    def get_status(self) -> dict[str, Any]:
        return {"buffered_events": 0}


class TrafficTests(SynchronousTestCase):
    def test_all_types(self) -> None:
        """Within a minute every tab of every Type has events, of the rate that was asked for."""
        traffic = Traffic(100.0, Random(1))
        events = [event for step in range(600) for event in traffic.step(WALL + step / 10, 0.1)]
        self.assertEqual({(event.tab, event.type) for event in events}, set(TABS))
        self.assertEqual({event.client for event in events}, set(CLIENTS))
        requests = Counter(event.tab for event in events)["demo_requests"]
        self.assertTrue(4000 < requests < 8000, requests)
        json.dumps([event.value for event in events])

    def test_first_step(self) -> None:
        """Every Type is there from the first step on, also of a demo that ends at once."""
        for seed in range(5):
            events = Traffic(1.0, Random(seed)).step(WALL + seed * 7, 0.1)
            self.assertEqual({(event.tab, event.type) for event in events}, set(TABS))
            self.assertTrue(next(e.value for e in events if e.type == "Buffer")[0]["ms"] > demo.SLOW_MS)

    def test_lively(self) -> None:
        """The number of requests goes up and down."""
        traffic = Traffic(100.0, Random(1))
        steps = [sum(e.tab == "demo_requests" for e in traffic.step(WALL + step, 1.0)) for step in range(60)]
        self.assertGreater(max(steps), 2 * min(steps))


class RunTests(AnswersCase):
    def test_seconds(self) -> None:
        """It ends after the given time."""
        recorders: Any = {client: FakeRecorder() for client in CLIENTS}
        count = run(self.session(), Traffic(50.0, Random(2)), recorders, 3.0, lambda so_far: None)
        self.assertAlmostEqual(self.now, 3.0, places=6)
        self.assertEqual(count, sum(len(each.events) for each in recorders.values()))
        self.assertGreater(count, 100)

    def test_interrupt(self) -> None:
        """Ctrl-C ends it in good order."""

        def interrupt() -> None:
            if self.now > 1.0:
                raise KeyboardInterrupt

        self.asleep = interrupt
        recorders: Any = {client: FakeRecorder() for client in CLIENTS}
        self.assertGreater(run(self.session(), Traffic(50.0, Random(2)), recorders, None, lambda so_far: None), 0)

    def test_command(self) -> None:
        """The command says what it records, what to look at, and that all of it was taken."""
        self.answers["/readyz"] = "ok\n"
        made: dict[str, FakeRecorder] = {}

        def make(session: object, client: str) -> FakeRecorder:
            return made.setdefault(client, FakeRecorder())

        self.patch(demo, "make_recorder", make)
        result = self.run_cli("demo", "--seconds", "2", "--rate", "20")
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("taba-cli watch demo_requests", result.stdout)
        self.assertIn("the agent has all of them", result.stdout)
        self.assertEqual(set(made), set(CLIENTS))
        self.assertEqual(json.loads(self.run_cli("demo", "--seconds", "1", "--json").stdout)["not_acknowledged"], 0)

    def test_no_agent(self) -> None:
        """Without an agent it says so at once."""
        self.answers["/readyz"] = Unreachable("Connection refused")
        result = self.run_cli("demo", "--seconds", "1")
        self.assertEqual(result.exit_code, 3)
        self.assertIn("no Taba agent answers", result.stderr)
