"""A Type of somebody else's, from its package to `/tabs`: docs/examples/distinct, installed with pip.

REAL: pip without a network, and server, agent and application as processes on loopback, with kill -9. The agent's
Python does not have the package: it learns the Type from the server.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.interfaces import Style
from tests.processes.asking import Event, body, refused
from tests.processes.running import AgentProcess, ServerProcess, Stage, start_all
from tests.processes.surroundings import PATIENCE, REPOSITORY, environment, until

PACKAGE = REPOSITORY / "docs" / "examples" / "distinct"
VERSION_1 = Path(__file__).with_name("distinct_1.py")
MODULE = "taba_distinct.py"

APPLICATION = """
import sys
from taba import client

url, name, *values = sys.argv[1:]
client.initialize(name, url, 0.1)
for value in values:
    client.record_event("visitors", "Distinct", value)
    client.counter("visits")
assert client.stop(100)
"""


def pip_install(source: Path, target: Path) -> None:
    """Install a package into a folder, without a network."""
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-build-isolation", "--no-deps"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    ended = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert ended.returncode == 0, ended.stdout


class CustomTypeCase(SynchronousTestCase):
    """A server whose Python has the package, and an agent whose Python has not."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.packages = self.stage.place("packages")
        self.path = {"PYTHONPATH": ":".join([str(self.packages), *filter(None, [environment().get("PYTHONPATH")])])}

    def install(self, version: int) -> None:
        """Install version 1 or 2 of the package in the place of what is there."""
        source = self.stage.folder / f"distinct-{version}"
        shutil.copytree(PACKAGE, source, dirs_exist_ok=True)
        if version == 1:
            shutil.copy(VERSION_1, source / MODULE)
            project = source / "pyproject.toml"
            project.write_text(project.read_text().replace('version = "2.0"', 'version = "1.0"'))
        shutil.rmtree(self.packages)
        pip_install(source, self.packages)

    def start(self) -> tuple[ServerProcess, AgentProcess]:
        """Server and agent; the agent has met the server."""
        server = self.stage.server(variables=self.path)
        agent = self.stage.agent(server.port)
        start_all(server, agent)
        agent.wait_for(lambda: agent.json("/status")["cluster"], "the agent meets the server")
        return server, agent

    def record(self, agent: AgentProcess, name: str, *values: str) -> None:
        """An application records visitors, and ends when the agent has them."""
        url = f"http://127.0.0.1:{agent.port}/post"
        application = self.stage.command(name, "-c", APPLICATION, url, name, *values)
        self.assertEqual(application.run(), 0, application.tail())

    def distinct(self, server: ServerProcess, tab: str = "visitors") -> int | None:
        """What `/tabs` shows of a tab."""
        shown: Any = server.json(f"/tabs?name={tab}").get(tab)
        return None if shown is None else int(shown["distinct"])

    def wait_for(self, server: ServerProcess, tab: str, count: int) -> None:
        """Wait until a tab shows so many different values; AssertionError when it shows more."""

        def looked() -> bool:
            now = self.distinct(server, tab)
            assert now is None or now <= count, f"{tab} shows {now}"
            return now == count

        server.wait_for(looked, lambda: f"{count} different values of {tab}\n{server.ask('/status').text}")


class CustomTypeTests(CustomTypeCase):
    """The Type `Distinct`."""

    def test_from_the_application_to_the_answer(self) -> None:
        """Applications record values of a custom Type; each counts once, over kill -9 of server and agent, and the
        agent, which has no Handler of it, takes it after a restart without a server, too.
        """
        self.install(2)
        server, agent = self.start()
        self.record(agent, "app-1", "ann", "bob", "ann")
        self.record(agent, "app-2", "bob", "cec")
        self.wait_for(server, "visitors", 3)
        server.kill()
        self.record(agent, "app-1", "dan", "ann")
        agent.kill()
        start_all(agent)
        self.record(agent, "app-3", *(f"guest {number}" for number in range(96)))
        start_all(server)
        self.wait_for(server, "visitors", 100)
        server.wait_for_count("visits", 3 + 2 + 2 + 96)
        self.assertEqual(server.ask("/types?name=visitors").text, "visitors: Distinct\n")
        projection = server.ask("/projection?name=visitors&client=app-1").text
        self.assertEqual(projection, '(visitors, app-1): {"distinct": 3}\n')
        detailed = server.ask("/tabs?name=visitors", Accept=Style.DETAILED.value).text
        self.assertEqual(json.loads(detailed), {"visitors": {"distinct": 100, "error": 0.0}})
        self.assertEqual(server.json("/status")["ledger"].get("refused.unknown type", 0), 0)

    def test_unknown_type_is_refused_at_once(self) -> None:
        """Without the package, the events of the Type are refused one by one with what to do; once a server has it, the
        agent takes them, without being touched.
        """
        server, agent = self.start()
        events: dict[str, list[Event]] = {
            "visitors": [("Distinct", time.time(), "ann")],
            "visits": [("CounterGroup", time.time(), 1)],
        }
        told = refused(agent.post(body("app", events)))
        self.assertEqual((told["accepted"], told["rejected"], told["errors"][0]["line"]), (1, 1, 6))
        self.assertIn("ADDITIONAL_HANDLERS", told["errors"][0]["reason"])
        server.stop()
        self.install(2)
        start_all(server)

        def taken() -> bool:
            return agent.post(body("app", {"visitors": [("Distinct", time.time(), "ann")]})).text == ""

        agent.wait_for(taken, "the agent takes the new Type")
        self.wait_for(server, "visitors", 1)

    def test_unusable_package_ends_the_start(self) -> None:
        """A package whose Handler cannot be used is named, and so is what is wrong; nothing else is said."""
        self.install(1)
        module = self.packages / MODULE
        module.write_text(module.read_text().replace("def join(", "def join_no_more("))
        server = self.stage.server(variables=self.path)
        self.assertEqual(server.run(), 1)
        self.assertIn("The Type 'Distinct' cannot be used.", server.output())
        self.assertIn("join", server.output())
        self.assertNotIn("Traceback", server.output())

    def test_its_own_tests(self) -> None:
        """The package's tests pass, as its README says to run them."""
        copy = self.stage.folder / "copy"
        shutil.copytree(PACKAGE, copy)
        tests = self.stage.command("tests", "-m", "unittest", folder=copy)
        self.assertEqual(tests.run(), 0, tests.tail())
        self.assertIn("\nOK\n", tests.output())

    def test_type_by_a_setting(self) -> None:
        """ADDITIONAL_HANDLERS names a class that no package has an entry point for."""
        shutil.copy(PACKAGE / MODULE, self.packages / MODULE)
        config = {"ADDITIONAL_HANDLERS": {"Distinct": "taba_distinct.Distinct"}, "EMBEDDED_AGENT": True}
        server = self.stage.server(config=config, variables=self.path)
        start_all(server)
        values: list[Event] = [("Distinct", time.time(), value) for value in (1, "1", None, 1)]
        self.assertEqual(server.post(body("app", {"values": values})).text, "")
        self.wait_for(server, "values", 3)


class NewVersionTests(CustomTypeCase):
    """Version 1 of the package has a mistake; version 2 mends it, and writes States of another version."""

    def test_what_failed_is_folded_by_the_next_version(self) -> None:
        """A value that the Handler raises for is set aside and nothing else is lost; the next version shows the States
        of the old one, and folds what was set aside when it is asked to.
        """
        self.install(1)
        server, agent = self.start()
        self.record(agent, "app-1", "ann", "bob")
        self.wait_for(server, "visitors", 2)
        events: list[Event] = [("Distinct", time.time(), 7)]
        self.assertEqual(agent.post(body("app-2", {"visitors": events})).text, "")
        self.record(agent, "app-3", "cec")
        self.wait_for(server, "visitors", 3)
        self.wait_for_ledger(server, "refused.handler failed", 1)
        server.kill()
        start_all(server)
        self.wait_for(server, "visitors", 3)
        self.assertEqual(server.stop(), 0)

        self.install(2)
        start_all(server)
        self.wait_for(server, "visitors", 3)
        self.record(agent, "app-1", "ann", "dan")
        self.wait_for(server, "visitors", 4)
        self.wait_for_ledger(server, "refused.handler failed", 1)
        self.refold(server, "handler failed")
        self.wait_for(server, "visitors", 5)
        self.wait_for_ledger(server, "refused.handler failed", 0)
        self.assertEqual(server.json("/aside"), [])
        server.kill()
        start_all(server)
        self.wait_for(server, "visitors", 5)

    def test_server_that_does_not_have_the_type(self) -> None:
        """What reaches a server that does not have the package, as in a fleet that is half upgraded, is set aside with
        all that is known of it, and counts once the server has it.
        """
        self.install(2)
        server, agent = self.start()
        self.record(agent, "app-1", "ann", "bob")
        self.wait_for(server, "visitors", 2)
        self.assertEqual(server.stop(), 0)
        shutil.rmtree(self.packages)
        start_all(server)
        self.record(agent, "app-1", "cec", "ann")
        self.record(agent, "app-2", "dan")
        server.wait_for_count("visits", 5)
        self.wait_for_ledger(server, "refused.unknown type", 3)
        self.assertIn("no Handler for Type Distinct", server.tab("visitors"))
        self.assertEqual(server.stop(), 0)

        self.packages.mkdir()
        self.install(2)
        start_all(server)
        self.wait_for(server, "visitors", 2)
        self.refold(server, "unknown type")
        self.wait_for(server, "visitors", 4)
        self.wait_for_ledger(server, "refused.unknown type", 0)
        server.wait_for_count("visits", 5)

    def refold(self, server: ServerProcess, reason: str) -> None:
        """Have what was set aside for a reason folded again."""
        parameters = f"reason={reason.replace(' ', '%20')}&type=Distinct"
        answer = server.ask(f"/refold?{parameters}", b"", Accept="application/json")
        self.assertEqual(answer.status, 200, answer)
        self.assertGreater(json.loads(answer.text)["asked"], 0)

    def wait_for_ledger(self, server: ServerProcess, line: str, count: int) -> None:
        """Wait until a line of the server's account says so many."""
        said = f"{line}: {count}"
        until(lambda: self.line(server, line) == count, PATIENCE, lambda: f"{said}\n{server.ask('/status').text}")

    def line(self, server: ServerProcess, line: str) -> int:
        """One line of the server's account."""
        return int(server.json("/status")["ledger"].get(line, 0))
