"""`taba-cli` beside a server and an agent, all of them real processes.

REAL: subprocesses, sockets and time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.processes.running import TABA_CLI, AgentProcess, ServerProcess, Shared, Stage, start_all
from tests.processes.surroundings import PATIENCE, environment, free_port, heed_interrupts

CONFIRM_SECONDS = 1


@frozen
class Pair:
    """A server with an embedded store, and an agent in front of it that confirms quickly."""

    stage: Stage
    server: ServerProcess
    agent: AgentProcess


def pair(stage: Stage) -> Pair:
    """Both, started."""
    server = stage.server()
    settings = {"SERVER_ENDPOINTS": [], "AGENT_FLUSH_SECONDS": 0.25, "AGENT_CONFIRM_SECONDS": CONFIRM_SECONDS}
    settings["SERVER_ENDPOINTS"] = [{"host": "127.0.0.1", "port": server.port}]
    agent = stage.agent(server.port, config=settings)
    start_all(server, agent)
    return Pair(stage, server, agent)


class CliCase(SynchronousTestCase):
    """Commands, each a process."""

    shared = Shared(pair)

    def setUp(self) -> None:
        made = self.shared.get()
        self.stage, self.server, self.agent = made.stage, made.server, made.agent
        self.data = self.server.folder / "taba-data"

    def variables(self) -> dict[str, str]:
        return {
            **environment(),
            "TABA_SERVER": f"http://127.0.0.1:{self.server.port}",
            "TABA_AGENT": f"http://127.0.0.1:{self.agent.port}",
        }

    def cli(self, *arguments: str, code: int = 0, typed: str = "") -> str:
        """What a command prints; its status must be as expected."""
        ended = subprocess.run(
            [sys.executable, *TABA_CLI, *arguments], env=self.variables(), input=typed, capture_output=True, text=True,
            timeout=PATIENCE, check=False, cwd=self.server.folder,
        )  # fmt: skip
        self.assertEqual(ended.returncode, code, f"{arguments}: {ended.stdout}\n{ended.stderr}")
        self.assertNotIn("Traceback", ended.stderr)
        return ended.stdout

    def record(self, name: str, *values: str) -> None:
        """Record, and wait until queries show it."""
        before = self.server.counts(name)[0]
        self.cli("record", "counter", name, *values)
        self.server.wait_for_count(name, before + len(values))


class RecordTests(CliCase):
    def test_record_and_look(self) -> None:
        """What a shell records is found by agg, watch and check, once."""
        self.assertIn("durable", self.cli("record", "counter", "cli_bids", "3", "4", "--client", "shell"))
        self.server.wait_for_count("cli_bids", 2)
        self.assertIn('"1d": {"count": 2, "total": 7.00, "average": 3.50}', self.cli("agg", "cli_bids"))
        self.assertIn("\t2\t7.00\t3.50", self.cli("agg", "--table", "cli_bids"))
        lines = self.cli("watch", "cli_bids", "--count", "2", "--interval", "0.2").splitlines()
        self.assertEqual(len(lines), 2)
        self.assertTrue(all("cli_bids" in line and "1d.n=2" in line for line in lines), lines)
        self.assertIn("TABA OK - cli_bids 1d.count is 2", self.cli("check", "cli_bids", "1d.count", "--min", "2"))
        self.assertIn("WARNING", self.cli("check", "cli_bids", "1d.total", "--warn-max", "6", code=1))
        self.assertIn("CRITICAL", self.cli("check", "cli_bids", "1d.total", "--min", "8", code=2))
        self.assertIn("UNKNOWN", self.cli("check", "cli_nothing", "1d.total", code=3))

    def test_every_type(self) -> None:
        """Every kind of event arrives."""
        for arguments in (
            ("percentile", "cli_percentile", "-1.5"), ("totals", "cli_totals", "2"), ("percentiles", "cli_all", "2"),
            ("gauge", "cli_gauge", "2.4.1"), ("gauge", "cli_expiry", '{"a": 1}', "--expires", "600"),
            ("unique", "cli_unique", "ann", "bob", "ann"), ("buffer", "cli_buffer", "a line"),
            ("event", "cli_event", "Gauge", '"x"'),
        ):  # fmt: skip
            self.cli("record", *arguments)
        names = [
            "cli_all", "cli_buffer", "cli_event", "cli_expiry", "cli_gauge", "cli_percentile", "cli_totals",
            "cli_unique",
        ]  # fmt: skip
        self.server.wait_for(
            lambda: set(names) <= set(self.server.json("/tabs")), "all tabs"
        )
        self.assertEqual(json.loads(self.cli("--json", "agg", "cli_gauge")), {"cli_gauge": {"2.4.1": 1}})
        visitors = json.loads(self.cli("--json", "agg", "cli_unique"))["cli_unique"]
        self.assertEqual(visitors["1d"], {"count": 3, "unique": 2})
        kinds = json.loads(self.cli("--json", "types", *names))
        self.assertEqual(sorted(kinds.values()), [
            "Buffer", "ExpiryGauge", "Gauge", "Gauge", "PercentileCounter", "PercentileGroup", "TotalsCounter",
            "UniqueGroup",
        ])  # fmt: skip

    def test_refused(self) -> None:
        """An event that its Type cannot take is refused, with the reason; nobody there is exit code 3."""
        self.cli("record", "event", "cli_bad", "CounterGroup", '"three"', code=4)
        self.cli("record", "counter", "x", "--agent", f"localhost:{free_port()}", "--timeout", "1", code=3)

    def test_demo(self) -> None:
        """The demo records, and the agent has all of it."""
        said = json.loads(self.cli("demo", "--seconds", "2", "--rate", "50", "--json"))
        self.assertEqual(said["not_acknowledged"], 0)
        self.assertGreater(said["recorded"], 0)
        self.server.wait_for(lambda: "demo_requests" in self.server.ask("/names").text, "the demo's tabs")

    def test_demo_until_interrupt(self) -> None:
        """Ctrl-C ends the demo in good order."""
        before = self.server.counts("demo_requests")[0]
        demo = subprocess.Popen(
            [sys.executable, *TABA_CLI, "demo"], env=self.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=heed_interrupts,
        )  # fmt: skip
        assert demo.stdout is not None
        demo.stdout.readline()
        self.server.wait_for(lambda: self.server.counts("demo_requests")[0] > before + 300, "the demo records")
        demo.send_signal(signal.SIGINT)
        output, errors = demo.communicate(timeout=PATIENCE)
        self.assertEqual((demo.returncode, errors), (0, b""))
        self.assertIn(b"the agent has all of them", output)


class AccountTests(CliCase):
    def test_where_drain_ledger(self) -> None:
        """An event is found at the agent until it is confirmed; then the agent is drained, and the account adds up."""
        self.cli("record", "counter", "cli_where", "--client", "shell")
        self.server.wait_for_count("cli_where", 1)
        state = json.loads(self.cli("where", "cli_where", "shell", "--json"))
        self.assertIsNotNone(state["state"])
        self.assertIn("cli_where", state["name"])
        self.assertIn("confirmed", self.cli("drain", "--wait", "100"))
        self.assertIn("holds nothing", self.cli("drain", "--empty", "--wait", "100"))
        after = json.loads(self.cli("where", "cli_where", "shell", "--json"))
        self.assertIsNone(after["agent"])
        both = f"http://127.0.0.1:{self.agent.port},http://127.0.0.1:{self.server.agent_port}"
        facts = json.loads(self.cli("ledger", "--json", "--agent", both))
        self.assertIs(facts["adds_up"], True, facts)
        self.assertIn("It adds up", self.cli("ledger", "--agent", both))

    def test_drain_in_vain(self) -> None:
        """An agent without a server is not drained, and says so in time."""
        lonely = self.stage.agent(free_port(), name="lonely")
        start_all(lonely)
        agent = f"127.0.0.1:{lonely.port}"
        self.cli("record", "counter", "cli_lonely", "--agent", agent, "--client", "shell")
        self.cli("drain", "--agent", agent, "--wait", "1", code=1)
        where = json.loads(self.cli("where", "cli_lonely", "shell", "--json", "--agent", agent))
        self.assertEqual((where["state"], where["complete"]), (None, True))
        self.assertLess(where["ages"]["agent"], PATIENCE)


class AdminTests(CliCase):
    def test_delete_and_undelete(self) -> None:
        """A deleted tab is gone, and comes back with its count, and with what came meanwhile."""
        self.record("cli_deleted", "1", "2", "3")
        self.assertIn("can be undone until", self.cli("delete", "cli_deleted", typed="y\n"))
        self.server.wait_for(lambda: not self.server.tab("cli_deleted"), "the tab is gone")
        self.cli("agg", "cli_deleted", code=1)
        self.assertIn("cli_deleted", self.cli("deleted"))
        self.record("cli_deleted", "4")
        self.cli("undelete", "cli_deleted")
        self.server.wait_for(lambda: self.server.counts("cli_deleted") == (4, 10.0), "the tab is back")

    def test_chores(self) -> None:
        """What the server does at a word, and what it tells of itself, has its command."""
        self.record("cli_chores", "1")
        for command in ("gc", "recompute", "upgrade"):
            self.assertEqual(self.cli(command), "Started\n")
        self.assertIn("all in order", self.cli("verify"))
        self.assertIn("taba_server.", self.cli("servers"))
        self.assertIn("cluster_aggregate", self.cli("latency"))
        self.assertIn("cli_chores", self.cli("ids"))
        self.cli("aside", code=1)
        self.cli("refold", code=1)
        self.assertIn("events were dropped", self.cli("flush-all", "--yes"))
        self.assertIn("count", self.cli("supertabs", "cli_chores"))


class BackupTests(SynchronousTestCase):
    """Backup of a server that runs, and restoring it."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.server = self.stage.server()
        start_all(self.server)
        self.file = self.stage.folder / "copy.db"

    def cli(self, *arguments: str, code: int = 0) -> str:
        ended = subprocess.run(
            [sys.executable, *TABA_CLI, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False,
            env={**environment(), "TABA_AGENT": f"http://127.0.0.1:{self.server.agent_port}"}, cwd=self.server.folder,
        )  # fmt: skip
        self.assertEqual(ended.returncode, code, f"{arguments}: {ended.stdout}\n{ended.stderr}")
        return ended.stdout + ended.stderr

    def test_restore(self) -> None:
        """Restored, the server has the counts of the backup, and what its agent still held comes again, once."""
        self.cli("record", "counter", "bids", "1", "2", "3")
        self.server.wait_for_count("bids", 3)
        self.assertIn("it is whole", self.cli("backup", str(self.file)))
        self.cli("record", "counter", "bids", "4", "5")
        self.server.wait_for_count("bids", 5)
        self.assertIn("in use", self.cli("restore", str(self.file), "--yes", code=5))
        self.server.stop()
        self.assertIn("Start the server", self.cli("restore", str(self.file), "--yes"))
        start_all(self.server)
        # The agent in the server held the two events: they were not confirmed yet.
        self.server.wait_for_count("bids", 5)
        self.assertEqual(self.server.counts("bids"), (5, 15.0))

    def test_without_the_spool(self) -> None:
        """On another machine, without the spool, it has the counts of the backup."""
        self.cli("record", "counter", "bids", "1", "2", "3")
        self.server.wait_for_count("bids", 3)
        self.cli("backup", str(self.file))
        self.cli("record", "counter", "bids", "4")
        self.server.wait_for_count("bids", 4)
        self.server.kill()
        other = self.stage.server(name="other")
        data = Path(other.folder) / "taba-data"
        self.cli("restore", str(self.file), "--data-dir", str(data), "--yes")
        self.assertEqual(os.listdir(data), ["lock", "store.db"] if (data / "lock").exists() else ["store.db"])
        start_all(other)
        other.wait_for_count("bids", 3)
