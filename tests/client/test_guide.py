"""The programs of docs/guide/instrumenting.md, each run as it stands, and what an agent has of each.

REAL: these tests use loopback sockets and subprocesses.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from importlib.util import find_spec

from twisted.trial.unittest import SynchronousTestCase

from taba.testing import FakeAgent
from tests.docs.pages import examples
from tests.processes.surroundings import PATIENCE, REPOSITORY, environment

PAGE = REPOSITORY / "docs" / "guide" / "instrumenting.md"


class InstrumentingTests(SynchronousTestCase):
    """The page, section by section."""

    if not PAGE.exists():
        skip = "docs/ is not beside the package"

    def programs(self) -> dict[str, str]:
        """Section -> its program; where one goes on in a second block, both."""
        found: dict[str, str] = {}
        page = PAGE.read_text(encoding="utf-8")
        lines = page.splitlines()
        for example in examples(page):
            if example.language == "python":
                heading = next(line for line in reversed(lines[: example.line]) if line.startswith("#"))
                section = heading.lstrip("# ")
                found[section] = found.get(section, "") + example.text
        return found

    def run_section(self, section: str) -> Counter[str]:
        """Run it with an agent of its own; tab -> how many events that has, for `NAME_ms` too."""
        with FakeAgent() as agent:
            program = self.programs()[section].replace("http://localhost:8279/post", agent.url)
            self.assertIn(agent.url, program)
            ended = subprocess.run(
                [sys.executable, "-W", "error::ResourceWarning", "-c", program],
                env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
            self.assertEqual(ended.returncode, 0, ended.stderr)
            self.assertEqual((agent.refused, agent.unsent), ([], {}))
            return Counter(event.tab for event in agent.events)

    def test_calls(self) -> None:
        """One event of each call."""
        self.assertEqual(self.run_section("Instrumenting an application"), {
            "checkouts": 1, "revenue_cents": 1, "basket_items": 1, "shop.version": 1, "visitors": 1,
            "shop.notices": 1,
        })  # fmt: skip

    def test_web_application(self) -> None:
        """Answers are counted by status, and measured; so is what the application itself counts."""
        self.assertEqual(self.run_section("A web application"), {
            "shop.web.status.2xx": 2, "shop.web.status.4xx": 1, "shop.web.ms": 3, "shop.checkouts": 2,
        })  # fmt: skip

    def test_timers(self) -> None:
        """A block, a function and a coroutine are measured."""
        tabs = ("shop.price_ms", "shop.payment_ms", "shop.startup_ms")
        self.assertEqual(self.run_section("Timers"), dict.fromkeys(tabs, 1))

    def test_asyncio(self) -> None:
        """A server counts and measures its request."""
        self.assertEqual(self.run_section("asyncio"), {"shop.request_ms": 1, "shop.requests": 1})

    def test_twisted(self) -> None:
        """What a Deferred waits for is measured."""
        self.assertEqual(self.run_section("Twisted"), {"shop.payment_ms": 1, "shop.checkouts": 1})

    def test_gevent(self) -> None:
        """Ten greenlets record an event each."""
        self.assertEqual(self.run_section("gevent"), {"shop.requests": 10})

    if find_spec("gevent") is None:
        test_gevent.skip = "gevent is not installed"  # type: ignore[attr-defined]

    def test_forks(self) -> None:
        """Three children record an event each."""
        self.assertEqual(self.run_section("Forks: gunicorn, multiprocessing"), {"shop.jobs": 3})

    def test_status(self) -> None:
        """The status is as the page says."""
        self.assertEqual(self.run_section("How the client does"), {"shop.checkouts": 1})

    def test_nothing_is_left_out(self) -> None:
        """Every program of the page is run by one of these tests."""
        self.assertEqual(len(self.programs()), 8)
