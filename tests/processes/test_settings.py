"""Settings files, command lines and console scripts, as an operator uses them.

REAL: server, agent and other processes on loopback.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.python.usage import Options
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from taba import agent_tap, server_tap
from tests.processes.asking import Event, body, counters
from tests.processes.running import (
    TABA_AGENT,
    TABA_CLI,
    TABA_SERVER,
    TWISTD,
    AgentProcess,
    RealProcess,
    ServerProcess,
    Shared,
    Stage,
    start_all,
)
from tests.processes.surroundings import PATIENCE, REPOSITORY, environment, free_port

USAGE_ERROR = 1
"""The status of twistd for what its plugins refuse on the command line."""


SENTINELS = {"SENTINELS": [["localhost", 26379]], "SHARDS": [{"shard_name": "a", "vbuckets": [0, 127]}]}


class OptionsTests(SynchronousTestCase):
    """What the options of the plugins say, without a process: there are many ways to be wrong."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def assertRefused(self, options: Options, settings: Mapping[str, Any], arguments: list[str], *words: str) -> None:
        """A settings file and arguments are refused with all of these words."""
        config = ["--config", str(self.stage.settings("settings", settings))] if settings else []
        error = self.assertRaises(SystemExit, options.parseOptions, [*config, *arguments])
        for each in words:
            self.assertIn(each, str(error))

    def test_server(self) -> None:
        """What is wrong with a server's settings is said in a sentence with the key, and the nearest one to a typo."""
        for settings, words in (
            ({"BASE_PROT": 8300}, ["BASE_PROT is no setting", "mean BASE_PORT?"]),
            ({"DB_SETTINGS": {"NUM_VBUCKET": 9}}, ["DB_SETTINGS.NUM_VBUCKET", "mean NUM_VBUCKETS?"]),
            ({"DB_SETTINGS": {**SENTINELS, "SHARDS": []}}, ["SENTINELS needs SHARDS"]),
            ({"BASE_PORT": "8300"}, ["BASE_PORT", '"8300" is not a whole number']),
            ({"CHECKPOINT_SECONDS": 0}, ["CHECKPOINT_SECONDS", "0.01"]),
            ({"SERVER_ROLES": "fe,bee"}, ["SERVER_ROLES: bee is no role"]),
            ({"SERVER_ROLES": "ctrl"}, ["SERVER_ROLES", "fe and be"]),
            ({"AGENT_PORT": 0}, ["AGENT_PORT", "EMBEDDED_AGENT"]),
            ({"NAME_BLACKLIST": ["x("]}, ["NAME_BLACKLIST[0]", "'x('", "RE2"]),
        ):
            self.assertRefused(server_tap.Options(), settings, [], *words)
        self.assertRefused(server_tap.Options(), {}, ["--interface", "0.0.0.0"], "0.0.0.0", "--insecure")
        self.assertRefused(server_tap.Options(), {}, ["--interface", "localhost"], "'localhost' is no IP address")
        self.assertRefused(server_tap.Options(), {}, ["--port", "70000"], "BASE_PORT", "65535")
        self.assertRefused(server_tap.Options(), {}, ["--agent-port", "-1"], "AGENT_PORT", "-1")
        self.assertRefused(server_tap.Options(), {}, ["--data-dir", ""], "DATA_DIR")

    def test_agent(self) -> None:
        """What is wrong with an agent's settings is said in a sentence, too."""
        for settings, words in (
            ({"AGENT_FLUSH": 1}, ["AGENT_FLUSH is no setting", "Did you mean"]),
            ({"SERVER_ENDPOINTS": [{"host": "localhost"}]}, ["SERVER_ENDPOINTS", "port"]),
            ({"SERVER_ENDPOINTS": []}, ["SERVER_ENDPOINTS: an agent needs one server at least"]),
            ({"SERVER_ENDPOINTS": [{"host": "", "port": 1}]}, ["SERVER_ENDPOINTS"]),
            ({"SERVER_ENDPOINTS": [{"host": "h", "port": 70000}]}, ["SERVER_ENDPOINTS", "70000"]),
            ({"SPOOL_MAX_BYTES": 1000}, ["SPOOL_MAX_BYTES", "6291456"]),
            ({"AGENT_COMMIT_MS": float("nan")}, ["AGENT_COMMIT_MS"]),
        ):
            self.assertRefused(agent_tap.Options(), settings, [], *words)
        self.assertRefused(agent_tap.Options(), {}, ["--server", "localhost"], "--server takes HOST:PORT")
        self.assertRefused(agent_tap.Options(), {}, ["--server", "localhost:0"], "--server takes HOST:PORT")
        self.assertRefused(agent_tap.Options(), {}, ["--interface", "::"], "Listening on ::", "--insecure")

    def test_command_line_wins(self) -> None:
        """Options of the command line win over the settings file, and folders are where the command was given."""
        options = server_tap.Options()
        config = self.stage.settings("settings", {"BASE_PORT": 1, "DATA_DIR": "/from/file", "AGENT_PORT": 2})
        options.parseOptions(["--config", str(config), "--port", "3", "--data-dir", "from/line"])
        settings = options["settings"]
        self.assertEqual((settings.port, settings.agent_port), (3, 2))
        self.assertEqual(settings.data_dir, str(Path.cwd() / "from" / "line"))


class CheckTests(SynchronousTestCase):
    """What is said of settings before anything is started."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def run_all(self, *runs: RealProcess) -> None:
        """Run commands, all at once; they end, and leave no file behind."""
        for each in runs:
            each.start()
        for each in runs:
            each.ended()
            self.assertNotIn("Traceback", each.output())
            self.assertEqual(list(each.folder.iterdir()), [], each.name)

    def command(self, name: str, plugin: str, settings: Mapping[str, Any], *options: str) -> RealProcess:
        """twistd with a settings file."""
        config = str(self.stage.settings(name, settings))
        run: RealProcess = self.stage.command(name, *TWISTD, "-n", plugin, "--config", config, *options)
        return run

    def test_good_settings(self) -> None:
        """--check-config says that good settings are in order, and starts nothing."""
        original = {"SERVER_ROLES": "fe,be", "SERVER_WORKERS": 1, "DEBUG": False, "NAME_BLACKLIST": []}
        runs = (
            self.command("server", "taba-server", original, "--check-config", "--memory"),
            self.command("agent", "taba-agent", {"AGENT_FLUSH_SECONDS": 1, "DOUBLE_AGENT": {}}, "--check-config"),
        )
        self.run_all(*runs)
        for run in runs:
            self.assertEqual(run.ended(), 0, run.tail())
            self.assertIn("The settings are in order.", run.output())

    def test_bad_settings(self) -> None:
        """Bad settings end the command, with --check-config and without, before anything is started, with a sentence.
        """
        missing = self.stage.folder / "nowhere.json"
        runs = {
            "BASE_PROT is no setting here. Did you mean BASE_PORT?": self.command(
                "typo", "taba-server", {"BASE_PROT": 1}, "--check-config"
            ),
            "no shard has the vbuckets from 128 to 199": self.command(
                "redis", "taba-server", {"DB_SETTINGS": {**SENTINELS, "NUM_VBUCKETS": 200}}
            ),
            "Say --insecure": self.command("public", "taba-agent", {"AGENT_INTERFACE": "0.0.0.0"}),
            f"{missing} cannot be read: No such file": self.stage.command("missing", *TABA_SERVER, str(missing)),
        }
        self.run_all(*runs.values())
        for words, run in runs.items():
            self.assertEqual(run.ended(), USAGE_ERROR, run.tail())
            self.assertIn(words, run.output())


@frozen
class Fleet:
    """A server and an agent of their own, started with the settings files of docs/, but on the embedded store."""

    server: ServerProcess
    agent: AgentProcess


def from_docs(name: str, **changes: Any) -> dict[str, Any]:
    """A settings file of docs/, on other ports."""
    settings: dict[str, Any] = json.loads((REPOSITORY / "docs" / name).read_text())
    return {**settings, **changes}


def fleet(stage: Stage) -> Fleet:
    """Start both, by `taba-server SETTINGS` and `taba-agent SETTINGS`; the server's own events go by the agent."""
    port, agent_port = free_port(), free_port()
    server_settings = from_docs("taba_server_settings.json", BASE_PORT=port, AGENT_PORT=agent_port, DB_SETTINGS={})
    agent_settings = from_docs(
        "taba_agent_settings.json", AGENT_PORT=agent_port, SERVER_ENDPOINTS=[{"host": "localhost", "port": port}]
    )
    server = stage.command(
        "server", *TABA_SERVER, str(stage.settings("server", server_settings)),
        kind=ServerProcess, port=port, agent_port=agent_port,
    )  # fmt: skip
    agent = stage.command(
        "agent", *TABA_AGENT, str(stage.settings("agent", agent_settings)), kind=AgentProcess, port=agent_port
    )
    start_all(server, agent)
    now = time.time()
    tabs: dict[str, list[Event]] = {
        "fleet_counter": [("CounterGroup", now, value) for value in range(1, 101)],
        "fleet_percentile": [("PercentileGroup", now, value) for value in range(1, 101)],
        "fleet_gauge": [("Gauge", now, 'a "quoted": {value}, really')],
    }
    assert agent.post(body("fleet_client", tabs)).status == 200
    server.wait_for_count("fleet_counter", 100)
    server.wait_for(lambda: "fleet_gauge: " in server.ask("/tabs").text, "the gauge is visible")
    return Fleet(server, agent)


class OriginalSettingsTests(SynchronousTestCase):
    """The settings files of the original, end to end: applications, an agent, a server, and the questions."""

    shared = Shared(fleet)
    if not (REPOSITORY / "docs").exists():
        skip = "docs/ is not beside the tests"

    def setUp(self) -> None:
        fleet = self.shared.get()
        self.server, self.agent = fleet.server, fleet.agent

    def ask(self, *arguments: str, server: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `taba-cli`."""
        where = ["--server", server or f"http://127.0.0.1:{self.server.port}"]
        return subprocess.run(
            [sys.executable, *TABA_CLI, *where, *arguments],
            env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    def test_one_agent_port(self) -> None:
        """With a settings file the server opens no agent's port: the agent has it, and takes the server's own events.
        """
        self.assertNotIn("Taba agent:", self.server.output())
        self.assertIn(f"applications on http://127.0.0.1:{self.agent.port}/post", self.agent.output())
        self.server.stop()  # sends what it has recorded of itself
        start_all(self.server)
        self.server.wait_for(lambda: "taba_server." in self.server.ask("/clients").text, "own events")

    def test_agent_gives_account(self) -> None:
        """The agent's status and metrics say what became of the events."""
        ledger = self.agent.json("/status")["ledger"]
        self.assertGreaterEqual(ledger["received"], 201)
        metrics = self.agent.ask("/metrics")
        self.assertIn('taba_agent_events{line="received"} ', metrics.text)
        self.assertTrue(metrics.headers["content-type"].startswith("text/plain; version=0.0.4"))

    def test_states(self) -> None:
        """`taba-cli agg` and `proj` show what `/tabs` and `/projection` say, with other white space only."""
        names = ["fleet_counter", "fleet_gauge", "fleet_percentile"]
        for command, path in (("agg", "/tabs"), ("proj", "/projection")):
            shown = self.ask(command, *names)
            self.assertEqual((shown.returncode, shown.stderr), (0, ""))
            said = self.server.ask(f"{path}?name={','.join(names)}").text
            self.assertEqual("".join(shown.stdout.split()), "".join(said.split()))
            self.assertEqual(said.count("\n"), 3)
            as_json = self.ask("--json", command, *names)
            self.assertEqual(json.loads(as_json.stdout), self.server.json(f"{path}?name={','.join(names)}"))

    def test_lists(self) -> None:
        """`taba-cli names`, `clients`, `types` and `status` show what the server has."""
        names = self.ask("names", "--re", "fleet_.*")
        self.assertEqual(names.stdout.split(), ["fleet_counter", "fleet_gauge", "fleet_percentile"])
        self.assertIn("fleet_client", self.ask("clients").stdout.split())
        types = self.ask("types", "fleet_gauge")
        self.assertEqual(types.stdout, "fleet_gauge: Gauge\n")
        status = self.ask("status")
        self.assertEqual(status.returncode, 0)
        self.assertIn("durability fsynced", status.stdout)

    def test_nothing_found(self) -> None:
        """A tab that is not there is said to be not there, with another status than success."""
        shown = self.ask("agg", "fleet_counted")
        self.assertEqual((shown.returncode, shown.stdout), (1, ""))
        self.assertIn("no tab is called 'fleet_counted'", shown.stderr)

    def test_no_server(self) -> None:
        """Where no server answers, `taba-cli` says where it asked and how to start one."""
        shown = self.ask("agg", "fleet_counter", server=f"localhost:{free_port()}")
        self.assertEqual((shown.returncode, shown.stdout), (3, ""))
        self.assertIn("no Taba server answers at http://localhost:", shown.stderr)
        self.assertIn("twistd -n taba-server", shown.stderr)


class EnvironmentTests(SynchronousTestCase):
    """Processes that are told by TABA_ variables."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def test_everything_by_variables(self) -> None:
        """A server and an agent in front of it, without a file or an option."""
        port, agent_port = free_port(), free_port()
        shared = {
            "TABA_BASE_PORT": str(port), "TABA_AGENT_PORT": str(agent_port), "TABA_EMBEDDED_AGENT": "no",
            "TABA_SERVER_ENDPOINTS": f'["http://127.0.0.1:{port}"]', "TABA_NAME_BLACKLIST": '["secret_"]',
            "TABA_SERVER": "elsewhere:1", "TABA_SIM_SECONDS": "7",
        }  # fmt: skip
        server = self.stage.command(
            "server", *TWISTD, "-n", "--pidfile=", "taba-server", kind=ServerProcess, variables=shared, port=port
        )
        agent = self.stage.command(
            "agent", *TWISTD, "-n", "--pidfile=", "taba-agent", kind=AgentProcess, variables=shared, port=agent_port
        )
        start_all(server, agent)
        self.assertEqual(agent.post(counters("client", "secret_tab", [1, 2])).status, 200)
        self.assertEqual(agent.post(counters("client", "used", [1, 2, 3])).status, 200)
        server.wait_for_count("used", 3)
        server.wait_for(lambda: "refused.blacklisted: 2" in server.ask("/status").text, "what was refused is counted")
        self.assertEqual(server.ask("/tabs?name=secret_tab").text, "")

    def test_mistake(self) -> None:
        """A variable that is no setting ends the command with a sentence."""
        run = self.stage.command("wrong", *TWISTD, "-n", "taba-server", variables={"TABA_BASE_PROT": "1"})
        self.assertEqual(run.run(), USAGE_ERROR)
        self.assertIn("TABA_BASE_PROT in the environment is no setting here. Did you mean", run.output())


class FlagTests(SynchronousTestCase):
    """Options of the command line that change what a process does."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def test_memory(self) -> None:
        """--memory leaves no database, says so, and forgets with the end of the process."""
        server = self.stage.server("--memory")
        start_all(server)
        self.assertIn("Taba keeps its data in memory only. Ready.", server.output())
        self.assertEqual(server.post(counters("client", "used", [1])).status, 200)
        server.wait_for_count("used", 1)
        self.assertFalse(list(server.folder.rglob("store.db*")))

    def test_insecure(self) -> None:
        """With --insecure a server listens for everybody, as told."""
        server = self.stage.server("--insecure", "--interface", "0.0.0.0")
        start_all(server)
        self.assertIn(f"http://0.0.0.0:{server.port}/", server.output())
        self.assertEqual(server.post(counters("client", "used", [1])).status, 200)
        server.wait_for_count("used", 1)

    def test_other_interface(self) -> None:
        """A server listens where it is told, says so as a URL that works, and its own events find the way, too."""
        if not socket.has_ipv6:
            raise SkipTest("this machine has no IPv6")
        server = self.stage.server("--interface", "::1")
        server.host = "::1"
        start_all(server)
        self.assertIn(f"http://[::1]:{server.port}/", server.output())
        self.assertIn(f"http://[::1]:{server.agent_port}/post", server.output())
        self.assertEqual(server.post(counters("client", "used", [1])).status, 200)
        server.wait_for_count("used", 1)
        server.stop()
        self.assertNotIn("cannot send", server.output())

    def test_spool_of_an_agent(self) -> None:
        """An agent keeps events where --spool says while no server is there, and delivers them when one comes; a second
        one on that folder says that it is in use.
        """
        server = self.stage.server()
        spool = self.stage.folder / "elsewhere"
        agent = self.stage.agent(server.port, "--spool", str(spool))
        start_all(agent)
        self.assertEqual(agent.post(counters("client", "used", [1, 2, 3])).status, 200)
        second = self.stage.agent(server.port, "--spool", str(spool), name="second")
        self.assertEqual(second.run(), 1)
        self.assertIn(f"{spool} is in use by another Taba process", second.output())
        agent.kill()
        start_all(agent, server)
        server.wait_for_count("used", 3)
