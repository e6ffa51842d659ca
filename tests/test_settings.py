"""Settings from files and from the environment: what they may say, and what is said of a mistake."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import taba
from taba import agent_tap, server_options
from taba.errors import SettingsError
from taba.settings import (
    AgentSettings,
    DatabaseSettings,
    DoubleAgentSettings,
    Endpoint,
    ServerSettings,
    ShardSettings,
    TabSettings,
    gather,
    load,
    structure,
)
from taba.settings.environment import is_other, variables_of

CHECKOUT = Path(__file__).resolve().parent.parent


class EndpointTests(SynchronousTestCase):
    """Servers, as an agent's settings name them."""

    def test_urls(self) -> None:
        """An endpoint of a URL has the URL; a port may be missing, a slash may stand at the end."""
        for url, shown in (
            ("https://taba.example:8300", "https://taba.example:8300"),
            ("http://taba.example:8300/", "http://taba.example:8300"),
            ("https://taba.example", "https://taba.example:443"),
            ("http://[2001:db8::7]", "http://[2001:db8::7]:80"),
            ("https://proxy.example/taba", "https://proxy.example:443/taba"),
            ("http://proxy.example:8080/a/b%20c/", "http://proxy.example:8080/a/b%20c"),
        ):
            self.assertEqual(Endpoint.from_url(url).url(), shown)

    def test_no_urls(self) -> None:
        """Whatever has more than scheme, host, port and path, or less, is none."""
        for url in (
            "taba.example:8300", "ftp://taba.example", "https://", "https://host:0", "https://host:70000", "https://h:x",
            "https://host//path", "https://host/p?x=y", "https://host?x=y", "https://host#x", "https://me@host",
            "https://two words",
        ):  # fmt: skip
            self.assertRaises(ValueError, Endpoint.from_url, url)

    def test_in_a_file(self) -> None:
        """SERVER_ENDPOINTS takes objects, with and without TLS, and URLs, mixed."""
        given = [{"host": "a", "port": 1}, {"host": "b", "port": 2, "tls": True}, "https://c:3", "http://d/taba",
                 {"host": "e", "port": 5, "path": "/taba"}]  # fmt: skip
        settings = structure(AgentSettings, {"SERVER_ENDPOINTS": given})
        self.assertEqual(
            [each.url() for each in settings.servers],
            ["http://a:1", "https://b:2", "https://c:3", "http://d:80/taba", "http://e:5/taba"],
        )

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


class ValueTests(SynchronousTestCase):
    """Values of all kinds, and what is said of those that cannot be."""

    def assertRefused(self, kind: Any, given: Mapping[str, Any], sentence: str) -> None:
        """The object of a file is refused with this sentence."""
        self.assertEqual(str(self.assertRaises(SettingsError, structure, kind, given)), sentence)

    def test_objects_in_lists(self) -> None:
        """Lists of objects become what they stand for."""
        database = {"SENTINELS": [["a", 1]], "SHARDS": [{"shard_name": "s", "vbuckets": [0, 127]}]}
        tabs = [{"name": "x_", "per_client": "merge"}]
        settings = structure(ServerSettings, {"DB_SETTINGS": database, "TABS": tabs, "CLIENT_TTL": 60})
        self.assertEqual(settings.database.sentinels, (("a", 1),))
        self.assertEqual(settings.database.shards, (ShardSettings("s", (0, 127)),))
        self.assertEqual(settings.tabs, (TabSettings("x_", "merge"),))
        self.assertEqual(settings.client_ttl, 60.0)

    def test_double_agent(self) -> None:
        """DOUBLE_AGENT is there as soon as it says something; null and {} stand for none."""
        self.assertIsNone(structure(AgentSettings, {"DOUBLE_AGENT": {}}).double_agent)
        self.assertIsNone(structure(AgentSettings, {"DOUBLE_AGENT": None}).double_agent)
        given = {"AGENT_PORT": 8280, "SERVER_ENDPOINTS": [{"host": "b", "port": 1}], "AGENT_FLUSH_SECONDS": 2}
        double = structure(AgentSettings, {"DOUBLE_AGENT": given}).double_agent
        self.assertEqual(double, DoubleAgentSettings(8280, (Endpoint("b", 1),), 2.0))

    def test_path_of_a_mistake(self) -> None:
        """A value that cannot be used is named with the way to it, and with the value."""
        for given, sentence in (
            ({"DB_SETTINGS": []}, "DB_SETTINGS must be an object."),
            ({"DB_SETTINGS": None}, "DB_SETTINGS must be an object."),
            (
                {"DB_SETTINGS": {"SENTINELS": [["a", 1], ["b", "2"]]}},
                'DB_SETTINGS.SENTINELS[1][1] has a value that cannot be used: "2" is not a whole number.',
            ),
            (
                {"DB_SETTINGS": {"SENTINELS": [["a", 1, 2]]}},
                "DB_SETTINGS.SENTINELS[0] must be a list of 2, not of 3.",
            ),
            ({"DB_SETTINGS": {"SHARDS": [{"shard_name": "s"}]}}, "DB_SETTINGS.SHARDS[0] lacks vbuckets."),
            ({"DB_SETTINGS": {"SHARDS": ["s"]}}, "DB_SETTINGS.SHARDS[0] must be an object of shard_name, vbuckets."),
            (
                {"DB_SETTINGS": {"SHARDS": [{"shard_nam": "s", "vbuckets": [0, 1]}]}},
                "DB_SETTINGS.SHARDS[0].shard_nam is nothing that belongs there. Did you mean shard_name?",
            ),
            (
                {"TABS": [{"name": "a", "per_client": "kept"}]},
                "TABS[0].per_client: the value must be in ('keep', 'merge') (got 'kept')",
            ),
            ({"NAME_BLACKLIST": "x"}, "NAME_BLACKLIST must be a list."),
            (
                {"ADDITIONAL_HANDLERS": {"T": 1}},
                "ADDITIONAL_HANDLERS.T has a value that cannot be used: 1 is not a string.",
            ),
            ({"ADDITIONAL_HANDLERS": ["T"]}, "ADDITIONAL_HANDLERS must be an object."),
            ({"DEBUG": 1}, "DEBUG has a value that cannot be used: 1 is not true or false."),
            ({"BASE_PORT": True}, "BASE_PORT has a value that cannot be used: true is not a whole number."),
            ({"BASE_PORT": None}, "BASE_PORT has a value that cannot be used: null is not a whole number."),
            ({"CLIENT_TTL": 59}, "CLIENT_TTL: the value must be >= 60: 59.0"),
            ({"LOG_FORMAT": "xml"}, "LOG_FORMAT: the value must be in ('text', 'json') (got 'xml')"),
        ):
            self.assertRefused(ServerSettings, given, sentence)
        self.assertRefused(AgentSettings, {"DOUBLE_AGENT": 1}, "DOUBLE_AGENT must be an object.")
        self.assertRefused(
            AgentSettings,
            {"DOUBLE_AGENT": {"AGENT_FLUSH": 1}},
            "DOUBLE_AGENT.AGENT_FLUSH is no setting here. Did you mean AGENT_FLUSH_SECONDS?",
        )

    def test_passwords_are_not_shown(self) -> None:
        """What is wrong with a password is said without it."""
        self.assertRefused(
            ServerSettings,
            {"DB_SETTINGS": {"REDIS_PASSWORD": 4711}},
            "DB_SETTINGS.REDIS_PASSWORD has a value that cannot be used: the value is not a string.",
        )

    @hypothesis_given(st.sampled_from((ServerSettings, AgentSettings)), st.data(), st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    ))  # fmt: skip
    def test_anything(self, kind: Any, data: st.DataObject, value: Any) -> None:
        """Whatever stands under a key is a setting or a SettingsError that names the key; never another exception."""
        key = data.draw(st.sampled_from([each.metadata["key"] for each in attrs.fields(kind)]))
        try:
            structure(kind, {key: value})
        except SettingsError as problem:
            self.assertIn(key, str(problem))


class FileTests(SynchronousTestCase):
    """Settings files."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp()).resolve()
        self.addCleanup(shutil.rmtree, self.folder)

    def file(self, name: str, content: str | bytes) -> str:
        """A file with this content."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def test_toml(self) -> None:
        """A file whose name ends in .toml says the same in TOML."""
        lines = ["BASE_PORT = 1", "DEBUG = true", "[DB_SETTINGS]", 'SENTINELS = [["a", 2]]', "[ADDITIONAL_HANDLERS]",
                 'T = "a:B"', "[[TABS]]", 'name = "x"', 'per_client = "keep"']  # fmt: skip
        settings = load(ServerSettings, self.file("a.TOML", "\n".join(lines)))
        self.assertEqual((settings.port, settings.debug, settings.database.sentinels), (1, True, (("a", 2),)))
        self.assertEqual((settings.additional_handlers, settings.tabs), ({"T": "a:B"}, (TabSettings("x", "keep"),)))

    def test_not_what_it_should_be(self) -> None:
        """A file that is no settings file is named, with what is wrong with it."""
        for name, content, words in (
            ("a.json", "{", "a.json is not JSON: Expecting property name"),
            ("a.json", "[]", "a.json must hold a JSON object."),
            ("a.json", '{"DEBUG": true, "DEBUG": false}', "a.json: DEBUG is given twice."),
            ("a.json", b'{"INTERFACE": "\xff"}', "a.json is not text in UTF-8: byte 15 is not."),
            ("a.json", "[" * 100_000, "a.json is not JSON"),
            ("a.toml", "DEBUG: true", "a.toml is not TOML: "),
            ("a.toml", "DEBUG = 2026-01-01", 'DEBUG has a value that cannot be used: "2026-01-01" is not true'),
        ):
            problem = self.assertRaises(SettingsError, load, ServerSettings, self.file(name, content))
            self.assertIn(words, str(problem))
            self.assertIn(str(self.folder / name), str(problem))

    def test_mark_at_the_beginning(self) -> None:
        """A byte order mark, which some editors write, does not matter."""
        self.assertTrue(load(ServerSettings, self.file("a.json", b'\xef\xbb\xbf{"DEBUG": true}')).debug)

    def test_original(self) -> None:
        """Files with every key of the original are taken as they are, and what means nothing here is said."""
        server = {
            "SERVER_ROLES": "fe,be,ctrl", "SERVER_WORKERS": 4, "BASE_PORT": 8300, "AGENT_PORT": 8279, "DEBUG": False,
            "NAME_BLACKLIST": ["^tmp"], "CLIENT_BLACKLIST": [], "ADDITIONAL_HANDLERS": {"Mine": "mine.handler.Mine"},
            "DB_SETTINGS": {
                "USE_MEMORY_DB": False, "NUM_VBUCKETS": 1000, "SENTINELS": [["localhost", 18000]],
                "SHARDS": [
                    {"shard_name": "shard1", "vbuckets": [0, 499]}, {"shard_name": "shard2", "vbuckets": [500, 999]}
                ],
            },
        }  # fmt: skip
        found = load(ServerSettings, self.file("server.json", json.dumps(server)))
        server_options.check(attrs.evolve(found, additional_handlers={}))
        self.assertEqual(found.remarks(), [])
        memory = attrs.evolve(found, additional_handlers={}, database=DatabaseSettings(memory=True))
        problem = self.assertRaises(SettingsError, server_options.check, memory)
        self.assertIn("SERVER_WORKERS is 4, but the store in a file or in memory is of one process", str(problem))
        for changes, words in (({"listen": ("tcp:1",)}, "LISTEN: several"), ({"port": 65534}, "BASE_PORT: 4")):
            several = attrs.evolve(found, additional_handlers={}, **changes)
            self.assertIn(words, str(self.assertRaises(SettingsError, server_options.check, several)))
        third = server_options.of_worker(attrs.evolve(found, embedded_agent=True), 2)
        self.assertEqual((third.port, third.workers, third.embedded_agent), (8302, 1, False))
        self.assertTrue(third.data_dir.endswith("/worker-2"))
        servers = [{"host": "localhost", "port": 8300}]
        double = {"AGENT_PORT": 1, "SERVER_ENDPOINTS": servers, "AGENT_FLUSH_SECONDS": 1, "AGENT_QUEUES_PER_SERVER": 1}
        agent = {**double, "DOUBLE_AGENT": double}
        taken = load(AgentSettings, self.file("agent.json", json.dumps(agent)))
        agent_tap.check(taken)
        self.assertIn("DOUBLE_AGENT.AGENT_PORT means nothing here", taken.remarks()[0])


class EnvironmentTests(SynchronousTestCase):
    """Settings from TABA_ variables."""

    def server(self, **variables: str) -> ServerSettings:
        """The settings of a server by these variables alone, without TABA_."""
        return gather(ServerSettings, None, {f"TABA_{name}": value for name, value in variables.items()}).settings

    def test_plain_values(self) -> None:
        """Numbers, texts and truth values stand as they are."""
        found = self.server(BASE_PORT="1", CLIENT_TTL="90", INTERFACE="::1", DEBUG="yes", ADMIN_GET="0", TOKEN_FILE="")
        self.assertEqual((found.port, found.client_ttl, found.interface), (1, 90.0, "::1"))
        self.assertEqual((found.debug, found.admin_get, found.token_file), (True, False, None))

    def test_lists_and_objects(self) -> None:
        """Lists and objects are JSON."""
        found = self.server(NAME_BLACKLIST='["a", "b"]', ADDITIONAL_HANDLERS='{"T": "a:B"}')
        self.assertEqual((found.name_blacklist, found.additional_handlers), (("a", "b"), {"T": "a:B"}))

    def test_sections(self) -> None:
        """Keys of sections come after two underscores; a whole section is JSON, and its keys change it."""
        found = self.server(DB_SETTINGS__NUM_VBUCKETS="7", DB_SETTINGS='{"KEY_PREFIX": "x", "NUM_VBUCKETS": 9}')
        self.assertEqual(found.database, DatabaseSettings(key_prefix="x", vbuckets=7))
        servers = {"TABA_DOUBLE_AGENT__SERVER_ENDPOINTS": '["http://b:1"]'}
        double = gather(AgentSettings, None, servers).settings.double_agent
        self.assertEqual(double, DoubleAgentSettings(servers=(Endpoint("b", 1),)))

    def test_mistakes(self) -> None:
        """A mistake is said with the name of the variable; passwords are not shown."""
        for name, value, words in (
            ("BASE_PROT", "1", "TABA_BASE_PROT in the environment is no setting here. Did you mean TABA_BASE_PORT?"),
            ("REDIS_URL", "redis://me:word@h", "Did you mean TABA_DB_SETTINGS__REDIS_URL?"),
            ("DB_SETTINGS__VBUCKETS", "1", "Did you mean TABA_DB_SETTINGS__NUM_VBUCKETS?"),
            ("SOMETHING_ELSE_ALTOGETHER", "1", "What begins with TABA_ has to be one."),
            ("BASE_PORT", "x", "TABA_BASE_PORT in the environment: 'x' is not a number."),
            ("BASE_PORT", "1.5", "TABA_BASE_PORT has a value that cannot be used: 1.5 is not a whole number."),
            ("BASE_PORT", "70000", "TABA_BASE_PORT: the value must be <= 65535: 70000"),
            ("DEBUG", "perhaps", "TABA_DEBUG in the environment: 'perhaps' is neither true nor false."),
            ("TABS", '[{"name": "a"}]', "TABA_TABS[0] lacks per_client."),
            ("DB_SETTINGS", '{"REDIS_PASSWORD": "word"', "TABA_DB_SETTINGS in the environment is not JSON"),
            ("DB_SETTINGS", '{"REDIS_PASSWORT": "word"}', "TABA_DB_SETTINGS.REDIS_PASSWORT is no setting here."),
        ):
            problem = self.assertRaises(SettingsError, self.server, **{name: value})
            self.assertIn(words, str(problem))
            self.assertNotIn("word\"", str(problem))
            self.assertNotIn("me:word", str(problem))

    def test_of_others(self) -> None:
        """Variables of the other program, of clients, of taba-cli and of tests are passed over."""
        others = {"SPOOL_DIR": "/s", "SERVER": "h:1", "AGENT": "h:2", "TOKEN": "t", "TOKEN_FILES": "f", "CA_FILE": "c",
                  "SIM_SECONDS": "1", "PROFILE": "nightly", "REDIS_SIM_SECONDS": "9", "REDIS_KILLS": "3",
                  "DOUBLE_AGENT__SERVER_ENDPOINTS": "[]"}  # fmt: skip
        self.assertEqual(self.server(**others), ServerSettings())
        self.assertEqual(gather(AgentSettings, None, {"TABA_BASE_PORT": "1", "PATH": "/"}).settings, AgentSettings())

    def test_all_others(self) -> None:
        """No test, and no program of Taba, reads a variable that would keep a server or an agent from starting."""
        pattern = re.compile(r"""(?:environ(?:\.get\(|\[)|envvar=)"(TABA_\w+)\"""")
        found = {
            name
            for folder in (Path(__file__).parent, Path(taba.__file__).parent)
            for path in folder.rglob("*.py")
            for name in pattern.findall(path.read_text(encoding="utf-8"))
        }
        self.assertIn("TABA_SIM_SECONDS", found)
        known = {*variables_of(ServerSettings), *variables_of(AgentSettings)}
        wrong = [name for name in found - known if not is_other(name.removeprefix("TABA_"))]
        self.assertEqual(wrong, [])

    def test_every_setting(self) -> None:
        """Every setting of every section has a variable of its own."""
        names = {*variables_of(ServerSettings), *variables_of(AgentSettings)}
        for kind, prefix in ((ServerSettings, ""), (DatabaseSettings, "DB_SETTINGS__"), (AgentSettings, ""),
                             (DoubleAgentSettings, "DOUBLE_AGENT__")):  # fmt: skip
            for each in attrs.fields(kind):
                self.assertIn(f"TABA_{prefix}{each.metadata['key']}", names)

    @hypothesis_given(st.sampled_from((ServerSettings, AgentSettings)), st.data())
    def test_anything(self, kind: Any, data: st.DataObject) -> None:
        """Whatever a variable holds, it is a setting or a SettingsError that names the variable."""
        name = data.draw(st.sampled_from(sorted(variables_of(kind))))
        try:
            gather(kind, None, {name: data.draw(st.text(max_size=20))})
        except SettingsError as problem:
            self.assertIn(name, str(problem))


class ExampleTests(SynchronousTestCase):
    """The examples of docs/reference/settings.md."""

    if not (CHECKOUT / "docs").exists():
        skip = "docs/ is not beside the tests"

    def setUp(self) -> None:
        spec = importlib.util.spec_from_file_location("make_settings", CHECKOUT / "docs" / "make_settings.py")
        assert spec is not None
        assert spec.loader is not None
        self.page = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.page)
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def in_three_forms(self, kind: Any, settings: dict[str, Any]) -> None:
        """An example as JSON, as TOML and in the environment comes to the same."""
        (self.folder / "a.json").write_text(self.page.as_json(settings))
        (self.folder / "a.toml").write_text(self.page.as_toml(settings))
        shell = self.page.exported(self.page.as_environment(settings, sections=kind is not None))
        variables = dict(word.split("=", 1) for line in shell for word in shlex.split(line)[1:])
        found = structure(kind, settings)
        self.assertEqual(load(kind, str(self.folder / "a.json")), found)
        self.assertEqual(load(kind, str(self.folder / "a.toml")), found)
        self.assertEqual(gather(kind, None, variables).settings, found)

    def test_whole(self) -> None:
        """The whole examples."""
        for kind, (_, settings) in zip((ServerSettings, AgentSettings), self.page.EXAMPLES, strict=True):
            self.in_three_forms(kind, settings)

    def test_of_each_key(self) -> None:
        """Those of lists and objects are settings."""
        kinds: tuple[Any, ...] = (ServerSettings, AgentSettings)
        for kind in kinds:
            for each in attrs.fields(kind):
                if each.metadata.get("example") is not None:
                    settings = {each.metadata["key"]: each.metadata["example"]}
                    self.assertNotEqual(structure(kind, settings), kind())


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
