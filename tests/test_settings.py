"""Settings of where to listen, whom to ask for a token and whom to trust, from files and from command lines."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.python.usage import Options, UsageError
from twisted.trial.unittest import SynchronousTestCase

from taba import agent_tap, server_tap
from taba.errors import SettingsError
from taba.settings import AgentSettings, Endpoint, ServerSettings, structure
from tests.certificates import Authority

TOKEN = "the-token-of-the-fleet"


class EndpointTests(SynchronousTestCase):
    """Servers, as an agent's settings name them."""

    def test_urls(self) -> None:
        """An endpoint of a URL has the URL; a port may be missing, a slash may stand at the end."""
        for url, shown in (
            ("https://taba.example:8300", "https://taba.example:8300"),
            ("http://taba.example:8300/", "http://taba.example:8300"),
            ("https://taba.example", "https://taba.example:443"),
            ("http://[2001:db8::7]", "http://[2001:db8::7]:80"),
        ):
            self.assertEqual(Endpoint.from_url(url).url(), shown)

    def test_no_urls(self) -> None:
        """Whatever has more than scheme, host and port, or less, is none."""
        for url in (
            "taba.example:8300", "ftp://taba.example", "https://", "https://host:0", "https://host:70000", "https://h:x",
            "https://host/path", "https://host?x=y", "https://host#x", "https://me@host", "https://two words",
        ):  # fmt: skip
            self.assertRaises(ValueError, Endpoint.from_url, url)

    def test_in_a_file(self) -> None:
        """SERVER_ENDPOINTS takes objects, with and without TLS, and URLs, mixed."""
        given = [{"host": "a", "port": 1}, {"host": "b", "port": 2, "tls": True}, "https://c:3"]
        settings = structure(AgentSettings, {"SERVER_ENDPOINTS": given})
        self.assertEqual([each.url() for each in settings.servers], ["http://a:1", "https://b:2", "https://c:3"])

    def test_mistakes_in_a_file(self) -> None:
        """What is no endpoint is said with the key."""
        for given, words in (
            (["c:3"], "'c:3' is no URL such as https://HOST:PORT"),
            ([3], "3 is neither an object nor a URL"),
            ([{"host": "a", "port": 1, "ssl": True}], "ssl"),
            ("https://c:3", "must be a list"),
        ):
            problem = self.assertRaises(SettingsError, structure, AgentSettings, {"SERVER_ENDPOINTS": given})
            self.assertIn(words, str(problem))
            self.assertIn("SERVER_ENDPOINTS", str(problem))


class ListenTests(SynchronousTestCase):
    """Endpoint strings from settings."""

    def test_default(self) -> None:
        """Without any, host and port of the original are taken."""
        self.assertEqual(AgentSettings().endpoints(), ("tcp:8279:interface=127.0.0.1",))
        self.assertEqual(ServerSettings(interface="::1", port=1).endpoints(), (r"tcp:1:interface=\:\:1",))
        self.assertEqual(ServerSettings().agent_endpoints(), ())
        self.assertEqual(ServerSettings(embedded_agent=True).agent_endpoints(), ("tcp:8279:interface=127.0.0.1",))

    def test_in_their_place(self) -> None:
        """Endpoint strings take the place of host and port."""
        listen = ["tcp:1:interface=127.0.0.1", "unix:/run/taba.sock"]
        self.assertEqual(structure(ServerSettings, {"LISTEN": listen, "BASE_PORT": 9}).endpoints(), tuple(listen))
        self.assertEqual(structure(AgentSettings, {"AGENT_LISTEN": listen}).endpoints(), tuple(listen))
        both = structure(ServerSettings, {"AGENT_LISTEN": listen, "EMBEDDED_AGENT": True})
        self.assertEqual(both.agent_endpoints(), tuple(listen))

    def test_one_string_is_no_list(self) -> None:
        """A string where a list of them belongs is not taken for a list of letters."""
        problem = self.assertRaises(SettingsError, structure, ServerSettings, {"LISTEN": "tcp:1"})
        self.assertEqual(str(problem), "LISTEN must be a list.")


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
        problem = self.assertRaises(UsageError, self.parsed, options, *arguments, **settings)
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

    def test_unusable_files(self) -> None:
        """Files that cannot be used are named before anything starts; the token is not shown."""
        self.token.chmod(0o640)
        for options in (server_tap.Options, agent_tap.Options):
            problem = self.assertRaises(UsageError, self.parsed, options(), "--token-file", "token")
            self.assertIn(f"chmod 600 {self.token}", str(problem))
            self.assertNotIn(TOKEN, str(problem))
        self.assertRefused("nowhere.pem cannot be read", agent_tap.Options(), "--tls-ca-file", "nowhere.pem")
        self.assertRefused("nowhere.pem cannot be read", agent_tap.Options(), TLS_CLIENT_FILE="nowhere.pem")

    def test_servers(self) -> None:
        """--server takes HOST:PORT and URLs."""
        settings = self.parsed(agent_tap.Options(), "--server", "a:1", "--server", "https://b:2", "--server", "[::1]:3")
        self.assertEqual([each.url() for each in settings.servers], ["http://a:1", "https://b:2", "http://[::1]:3"])
        self.assertRefused("takes HOST:PORT or https://HOST:PORT", agent_tap.Options(), "--server", "https://b/path")
