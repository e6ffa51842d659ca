"""Command lines of server and agent over settings files and the environment: which wins, what is refused before
anything is opened, and what --check-config says.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.python.usage import Options
from twisted.trial.unittest import SynchronousTestCase

from taba import agent_tap, console, server_tap
from taba.settings import DatabaseSettings, ServerSettings, gather
from tests.certificates import Authority

TOKEN = "the-token-of-the-fleet"


class OptionsTests(SynchronousTestCase):
    """Command lines, which are checked before anything is opened."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp()).resolve()
        self.addCleanup(shutil.rmtree, self.folder)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.token = self.folder / "token"
        self.token.write_text(TOKEN)
        self.token.chmod(0o600)

    def parsed(self, options: Options, *arguments: str, **settings: Any) -> Any:
        """The settings of a command line, and of a file if there are any."""
        config: list[str] = []
        if settings:
            (self.folder / "settings.json").write_text(json.dumps(settings))
            config = ["--config", str(self.folder / "settings.json")]
        options.parseOptions([*config, *arguments])
        return options["settings"]

    def assertRefused(self, words: str, options: Options, *arguments: str, **settings: Any) -> None:
        """The command line is refused with these words."""
        problem = self.assertRaises(SystemExit, self.parsed, options, *arguments, **settings)
        self.assertIn(words, str(problem))

    def test_token_opens(self) -> None:
        """With a token a server and an agent may listen for everybody, by options and by settings files."""
        for options in (server_tap.Options, agent_tap.Options):
            self.assertRefused("--token-file FILE", options(), "--interface", "0.0.0.0")
            settings = self.parsed(options(), "--interface", "0.0.0.0", "--token-file", "token")
            self.assertEqual((settings.token_file, settings.insecure), (str(self.token), False))
        self.parsed(server_tap.Options(), INTERFACE="::", TOKEN_FILE="token")
        self.parsed(agent_tap.Options(), AGENT_INTERFACE="::", TOKEN_FILE="token")

    def test_tls_opens(self) -> None:
        """So does TLS; keys and certificates are named from the root then, for a daemon may change its folder."""
        Authority("some authority").issue(self.folder, "here", "127.0.0.1")
        here = f"ssl:1:privateKey={self.folder}/here-key.pem:certKey={self.folder}/here-cert.pem"
        for options in (server_tap.Options, agent_tap.Options):
            settings = self.parsed(options(), "--listen", "ssl:1:privateKey=here-key.pem:certKey=here-cert.pem")
            self.assertEqual(settings.listen, (here,))
            self.assertRefused("cannot be read", options(), "--listen", "ssl:1:privateKey=nowhere.pem")

    def test_agent_port_of_a_server(self) -> None:
        """The agent's port of a server is checked as well, and needs that agent."""
        self.assertRefused("Listening on all addresses", server_tap.Options(), "--agent-listen", "tcp:1")
        settings = self.parsed(server_tap.Options(), "--agent-listen", "unix:a.sock", "--agent-listen", "unix:b.sock")
        self.assertEqual(settings.agent_listen, (f"unix:{self.folder}/a.sock", f"unix:{self.folder}/b.sock"))
        self.assertRefused("EMBEDDED_AGENT", server_tap.Options(), AGENT_LISTEN=["unix:/a.sock"])

    def test_statsd_of_a_server(self) -> None:
        """So are its endpoints of StatsD, by the same rules as an agent's."""
        settings = self.parsed(server_tap.Options(), "--statsd", "udp:8125", "--statsd", "unix:statsd.sock")
        self.assertEqual(settings.statsd_listen, ("udp:8125", f"unix:{self.folder}/statsd.sock"))
        self.assertRefused("EMBEDDED_AGENT", server_tap.Options(), STATSD_LISTEN="udp:8125")
        self.assertRefused("--insecure", server_tap.Options(), "--statsd", "udp:8125:interface=0.0.0.0")

    def test_unusable_files(self) -> None:
        """Files that cannot be used are named before anything starts; the token is not shown."""
        self.token.chmod(0o640)
        for options in (server_tap.Options, agent_tap.Options):
            problem = self.assertRaises(SystemExit, self.parsed, options(), "--token-file", "token")
            self.assertIn(f"chmod 600 {self.token}", str(problem))
            self.assertNotIn(TOKEN, str(problem))
        self.assertRefused("nowhere.pem cannot be read", agent_tap.Options(), "--tls-ca-file", "nowhere.pem")
        self.assertRefused("nowhere.pem cannot be read", agent_tap.Options(), TLS_CLIENT_FILE="nowhere.pem")

    def test_order(self) -> None:
        """The environment wins over the file, the command line over both, key by key."""
        variables = {"TABA_BASE_PORT": "2", "TABA_AGENT_PORT": "2", "TABA_DB_SETTINGS__KEY_PREFIX": "e"}
        options = server_tap.Options(variables)
        database = {"NUM_VBUCKETS": 1, "KEY_PREFIX": "f"}
        found = self.parsed(
            options, "--port", "3", "--memory", BASE_PORT=1, AGENT_PORT=1, INTERFACE="::1", DB_SETTINGS=database
        )
        self.assertEqual((found.port, found.agent_port, found.interface), (3, 2, "::1"))
        self.assertEqual(found.database, DatabaseSettings(memory=True, vbuckets=1, key_prefix="e"))

    def test_without_a_file(self) -> None:
        """Without a file a server is an agent, too, unless the environment says otherwise."""
        self.assertTrue(self.parsed(server_tap.Options({"TABA_BASE_PORT": "2"})).embedded_agent)
        self.assertFalse(self.parsed(server_tap.Options({"TABA_EMBEDDED_AGENT": "no"})).embedded_agent)
        self.assertFalse(self.parsed(server_tap.Options({}), BASE_PORT=1).embedded_agent)

    def said(self, options: Options, *arguments: str, **settings: Any) -> list[str]:
        """The lines of --check-config."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            ended = self.assertRaises(SystemExit, self.parsed, options, "--check-config", *arguments, **settings)
        self.assertEqual(ended.code, 0)
        return output.getvalue().splitlines()

    def test_check_config_of_a_server(self) -> None:
        """--check-config says what is in force, and where each value came from that is not the default."""
        options = server_tap.Options({"TABA_AGENT_PORT": "2", "TABA_DB_SETTINGS__REDIS_PASSWORD": "word"})
        lines = self.said(options, "--data-dir", "here", NAME_BLACKLIST=["x"])
        file = self.folder / "settings.json"
        for line in (
            f'NAME_BLACKLIST = ["x"]  (from {file})',
            "AGENT_PORT = 2  (from TABA_AGENT_PORT)",
            "DB_SETTINGS.REDIS_PASSWORD = (not shown)  (from TABA_DB_SETTINGS__REDIS_PASSWORD)",
            f'DATA_DIR = "{self.folder}/here"  (from --data-dir)',
            "DB_SETTINGS.NUM_VBUCKETS = 128",
            "BASE_PORT = 8300",
            "The settings are in order.",
        ):
            self.assertIn(line, lines)
        self.assertNotIn("word", "\n".join(lines).replace("PASSWORD", ""))

    def test_check_config_of_an_agent(self) -> None:
        """An agent's as well; its second spool is named."""
        double = {"SERVER_ENDPOINTS": ["http://b:1"]}
        lines = self.said(agent_tap.Options({}), "--server", "a:1", DOUBLE_AGENT=double)
        file = self.folder / "settings.json"
        servers = '[{"host": "b", "port": 1, "tls": false, "path": ""}]'
        self.assertIn(f"DOUBLE_AGENT.SERVER_ENDPOINTS = {servers}  (from {file})", lines)
        self.assertIn('SERVER_ENDPOINTS = [{"host": "a", "port": 1, "tls": false, "path": ""}]  (from --server)', lines)
        self.assertIn(f'DOUBLE_AGENT.SPOOL_DIR = "{self.folder}/taba-spool-double"', lines)
        self.assertNotIn("DOUBLE_AGENT", "".join(self.said(agent_tap.Options({}))).replace("DOUBLE_AGENT = null", ""))

    def test_secret_in_a_url(self) -> None:
        """A password in REDIS_URL is not shown."""
        found = gather(ServerSettings, None, {"TABA_DB_SETTINGS__REDIS_URL": "redis://me:word@host:1/"})
        line = next(each for each in found.lines() if "REDIS_URL" in each)
        self.assertIn('"redis://(not shown)@host:1/"', line)
        self.assertNotIn("word", line)

    def test_patterns(self) -> None:
        """A pattern that RE2 does not take is named, with the setting and the file or the variable, before anything
        starts.
        """
        for variables, given, origin in (
            ({}, {"NAME_BLACKLIST": ["("]}, self.folder / "settings.json"),
            ({"TABA_NAME_BLACKLIST": '["("]'}, {}, "TABA_NAME_BLACKLIST"),
        ):
            self.assertRefused(f"taba-server: {origin}: NAME_BLACKLIST[0]: ", server_tap.Options(variables), **given)
        for key, value, words in (
            ("NAME_BLACKLIST", ["ok", "a(?=b)"], "NAME_BLACKLIST[1]: 'a(?=b)' is not a regular expression"),
            ("CLIENT_BLACKLIST", ["("], "CLIENT_BLACKLIST[0]: '(' is not a regular expression that RE2 takes"),
            ("TABS", [{"name": "*", "per_client": "keep"}], "TABS[0].name: '*' is not a regular expression"),
        ):
            self.assertRefused(words, server_tap.Options({}), **{key: value})

    def test_role_names_its_place(self) -> None:
        """So is a wrong role, and what is wrong with an agent's settings."""
        place = self.folder / "settings.json"
        self.assertRefused(f"taba-server: {place}: SERVER_ROLES: x", server_tap.Options({}), SERVER_ROLES="fe,x")
        self.assertRefused("TABA_SERVER_ROLES: SERVER_ROLES", server_tap.Options({"TABA_SERVER_ROLES": "fe,x"}))
        self.assertRefused(
            f"taba-agent: {place}: SERVER_ENDPOINTS: an agent needs", agent_tap.Options({}), SERVER_ENDPOINTS=[]
        )

    def test_only_a_sentence(self) -> None:
        """twistd says what is wrong and nothing else; a text is what Python ends with on stderr, with status 1."""
        (self.folder / "wrong.json").write_text('{"BASE_PROT": 1}')
        said = io.StringIO()
        self.patch(sys, "argv", ["taba-server"])
        with contextlib.redirect_stdout(said):
            problem = self.assertRaises(SystemExit, console.run_twistd, "taba-server", ["wrong.json"])
        self.assertEqual(said.getvalue(), "")
        self.assertTrue(str(problem.code).startswith("taba-server: wrong.json: BASE_PROT"), problem.code)
        self.assertEqual(len(str(problem.code).splitlines()), 1)

    def test_no_file(self) -> None:
        """The console scripts without a file say where they looked, and what needs none."""
        self.patch(console, "DEFAULTS", {"taba-server": str(self.folder / "none.json")})
        problem = self.assertRaises(SystemExit, console.run_twistd, "taba-server", ["--memory"])
        self.assertIn(f"there is no {self.folder}/none.json", str(problem))
        self.assertIn("`twistd -n taba-server --memory`, which needs none", str(problem))

    def test_memory_keeps_a_spool(self) -> None:
        """The help says that with --memory something is kept on the disk still."""
        words = " ".join(str(server_tap.Options({})).split())
        self.assertIn("still keeps its spool, what the store has not taken yet, in --data-dir", words)

    def test_double_agent(self) -> None:
        """A second set of servers has to be one, and its spool another one."""
        self.assertRefused("DOUBLE_AGENT.SERVER_ENDPOINTS", agent_tap.Options({}), DOUBLE_AGENT={"AGENT_PORT": 1})
        double = {"SERVER_ENDPOINTS": ["http://b:1"], "SPOOL_DIR": "spool/../spool"}
        self.assertRefused("is the first spool", agent_tap.Options({}), SPOOL_DIR="spool", DOUBLE_AGENT=double)

    def test_servers(self) -> None:
        """--server takes HOST:PORT and URLs."""
        settings = self.parsed(agent_tap.Options(), "--server", "a:1", "--server", "https://b:2", "--server", "[::1]:3")
        self.assertEqual([each.url() for each in settings.servers], ["http://a:1", "https://b:2", "http://[::1]:3"])
        self.assertRefused("takes HOST:PORT or https://HOST:PORT", agent_tap.Options(), "--server", "https://b/p?x")
