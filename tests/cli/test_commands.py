"""What all commands have in common, and those that ask for States and lists."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from taba import __version__
from taba.cli import main
from taba.cli.server import Question, Reply, Unreachable, base_url
from taba.cli.session import Session

TABS = 'bids: {"1m": {"count": 2, "total": 1100.00}, "1d": {"count": 2, "total": 1100.00}}\nversion: {"2.4": 3}\n'


class CommandCase(SynchronousTestCase):
    """A server that gives the set answer, and remembers what it was asked."""

    def setUp(self) -> None:
        self.answer: Reply | Unreachable = Reply(200, TABS)
        self.asked: list[tuple[str, str, dict[str, list[str]], str]] = []
        self.timeouts: list[float] = []
        self.shown: list[tuple[str | None, str | None]] = []
        self.methods: list[str] = []

    def fetch(self, question: Question) -> Reply:
        parts = urlsplit(question.url)
        self.asked.append((f"{parts.scheme}://{parts.netloc}", parts.path, parse_qs(parts.query), question.accept))
        self.timeouts.append(question.timeout)
        self.shown.append((question.token, question.ca_file))
        self.methods.append(question.method)
        if isinstance(self.answer, Unreachable):
            raise self.answer
        return self.answer

    def run_cli(self, *arguments: str, env: dict[str, str] | None = None, typed: str | None = None) -> Result:
        runner = CliRunner(env={"TABA_SERVER": None, "TABA_TOKEN_FILE": None, "TABA_CA_FILE": None, **(env or {})})
        return runner.invoke(main, arguments, obj=Session(self.fetch), input=typed)


class AggTests(CommandCase):
    def test_layout(self) -> None:
        """A window stands on each line; a gauge stays on one."""
        result = self.run_cli("agg", "bids", "version")
        self.assertEqual(result.exit_code, 0)
        self.assertEqual(result.stdout, """\
bids: {
  "1m": {"count": 2, "total": 1100.00},
  "1d": {"count": 2, "total": 1100.00}}
version: {"2.4": 3}
""")  # fmt: skip
        self.assertEqual(result.stderr, "")
        self.assertEqual("".join(result.stdout.split()), "".join(TABS.split()))

    def test_question(self) -> None:
        """The tabs are asked for by name, as text, from the server on this machine."""
        self.run_cli("agg", "bids", "version")
        self.assertEqual(self.asked, [("http://localhost:8300", "/tabs", {"name": ["bids,version"]}, "text/plain")])

    def test_names_with_commas(self) -> None:
        """Names can stand in one word, with commas between, as in the URL."""
        self.assertEqual(self.run_cli("agg", "bids,version").stderr, "")
        self.assertEqual(self.asked[0][2], {"name": ["bids,version"]})

    def test_special_characters(self) -> None:
        """Every character that a name can have arrives."""
        name = "A.z_~:/?@!$()*+;=-9"
        self.run_cli("agg", name)
        self.assertEqual(self.asked[0][2], {"name": [name]})

    def test_json_in_a_pipe(self) -> None:
        """In a pipe the JSON is compact, with the server's digits."""
        self.answer = Reply(200, '{"bids": {"1m": {"total": 1100.00}},"version": {"2.4": 3}}')
        result = self.run_cli("agg", "bids", "version", "--json")
        self.assertEqual(result.stdout, '{"bids":{"1m":{"total":1100.00}},"version":{"2.4":3}}\n')
        self.assertEqual(self.asked[0][3], "application/json")

    def test_regular_expression(self) -> None:
        """With --re the name is a regular expression, comma and all."""
        self.run_cli("agg", "--re", "b{1,2}.*")
        self.assertEqual(self.asked[0][2], {"name": ["b{1,2}.*"], "re": ["1"]})

    def test_regular_expression_and_client(self) -> None:
        """A client given beside a regular expression is still that client, and no other that begins so."""
        self.run_cli("agg", "--re", ".*", "--client", "a.b")
        self.assertEqual(self.asked[0][2], {"name": [".*"], "re": ["1"], "client": [r"a\.b$"]})

    def test_one_regular_expression(self) -> None:
        """Two of them are wrong usage."""
        self.assertEqual(self.run_cli("agg", "--re", "a", "b").exit_code, 2)

    def test_some_not_found(self) -> None:
        """What was not found beside what was is said, and is no failure."""
        result = self.run_cli("agg", "bids", "bidz")
        self.assertEqual((result.exit_code, result.stderr), (0, "taba-cli: no tab is called 'bidz'.\n"))

    def test_some_not_found_in_json(self) -> None:
        """The same with JSON."""
        self.answer = Reply(200, '{"bids": {}}')
        self.assertEqual(self.run_cli("agg", "bids", "bidz", "--json").stderr, "taba-cli: no tab is called 'bidz'.\n")

    def test_nothing_found(self) -> None:
        """Exit code 1, with nothing on stdout."""
        self.answer = Reply(200, "")
        result = self.run_cli("agg", "bidz")
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertEqual(result.stderr, "taba-cli: no tab is called 'bidz'.\n")
        self.assertIn("no tab matches 'x.*'", self.run_cli("agg", "--re", "x.*").stderr)

    def test_nothing_found_in_json(self) -> None:
        """With --json the empty answer is printed all the same: a script can read it."""
        self.answer = Reply(200, "{}")
        result = self.run_cli("agg", "bidz", "--json")
        self.assertEqual((result.exit_code, result.stdout), (1, "{}\n"))

    def test_without_a_name(self) -> None:
        """Without a name it is wrong usage, and nobody is asked."""
        self.assertEqual((self.run_cli("agg").exit_code, self.asked), (2, []))


class ProjTests(CommandCase):
    def test_layout(self) -> None:
        """Each client's State is shown apart."""
        first, second = '(bids, a): {"1m": {"count": 1}, "1d": {"count": 1}}', '(bids, b): {"1m": {}, "1d": {}}'
        self.answer = Reply(200, f"{first}\n{second}\n")
        result = self.run_cli("proj", "bids")
        self.assertEqual(result.stdout, """\
(bids, a): {
  "1m": {"count": 1},
  "1d": {"count": 1}}
(bids, b): {
  "1m": {},
  "1d": {}}
""")  # fmt: skip
        self.assertEqual(self.asked[0][1:3], ("/projection", {"name": ["bids"]}))
        self.assertEqual(result.stderr, "")

    def test_client(self) -> None:
        """One client can be asked for, and is named when it has nothing."""
        self.answer = Reply(200, "")
        result = self.run_cli("proj", "bids", "--client", "host7")
        self.assertEqual(self.asked[0][2], {"name": ["bids"], "client": ["host7"]})
        self.assertEqual(result.exit_code, 1)
        self.assertEqual(result.stderr, "taba-cli: no tab of client 'host7' is called 'bids'.\n")

    def test_json(self) -> None:
        """The JSON of a projection has the clients first; the names in it are found."""
        self.answer = Reply(200, '{"host7": {"bids": {}}, "host8": {"asks": {}}}')
        result = self.run_cli("proj", "bids", "asks", "--json")
        self.assertEqual((result.exit_code, result.stderr), (0, ""))


class ListTests(CommandCase):
    def test_paths(self) -> None:
        """Each list comes from its endpoint, whole or in part."""
        for arguments, path, parameters in (
            (["names"], "/names", {}),
            (["names", "a", "b"], "/names", {"name": ["a,b"]}),
            (["names", "--client", "c"], "/names", {"client": ["c"]}),
            (["names", "--re", "a.*"], "/names", {"name": ["a.*"], "re": ["1"]}),
            (["clients"], "/clients", {}),
            (["clients", "a"], "/clients", {"client": ["a"]}),
            (["clients", "--re", "a.*"], "/clients", {"client": ["a.*"], "re": ["1"]}),
            (["types"], "/types", {}),
            (["types", "a", "--re"], "/types", {"name": ["a"], "re": ["1"]}),
        ):
            self.assertEqual(self.run_cli(*arguments).exit_code, 0)
            self.assertEqual(self.asked[-1][1:3], (path, parameters))

    def test_output(self) -> None:
        """The list is printed as it comes."""
        self.answer = Reply(200, "a\nb\n")
        self.assertEqual(self.run_cli("names").stdout, "a\nb\n")

    def test_nothing_found(self) -> None:
        """An empty list is exit code 1."""
        self.answer = Reply(200, "\n")
        result = self.run_cli("clients")
        self.assertEqual((result.exit_code, result.stdout, result.stderr), (1, "", "taba-cli: nothing was found.\n"))
        for text in ("[]", "{}", "[ ]\n"):
            self.answer = Reply(200, text)
            self.assertEqual(self.run_cli("names", "--json").exit_code, 1)

    def test_status(self) -> None:
        """The status is printed as text, or as JSON."""
        self.answer = Reply(200, "Servers: 1\n")
        self.assertEqual(self.run_cli("status").stdout, "Servers: 1\n")
        self.answer = Reply(200, '{"total_tasks": 0.0}')
        self.assertEqual(json.loads(self.run_cli("status", "--json").stdout), {"total_tasks": 0.0})
        self.assertEqual([(path, accept) for _, path, _, accept in self.asked], [
            ("/status", "text/plain"), ("/status", "application/json")])  # fmt: skip


class ServerTests(CommandCase):
    def asked_server(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        result = self.run_cli(*arguments, env=env)
        self.assertEqual(result.exit_code, 0, result.output)
        return self.asked[-1][0]

    def test_option_and_environment(self) -> None:
        """The server is named by option, before or after the command, or by the environment, and the option wins."""
        environment = {"TABA_SERVER": "http://env:1"}
        self.assertEqual(self.asked_server("names"), "http://localhost:8300")
        self.assertEqual(self.asked_server("names", env=environment), "http://env:1")
        self.assertEqual(self.asked_server("--server", "http://one:1", "names", env=environment), "http://one:1")
        self.assertEqual(self.asked_server("names", "--server", "http://two:2", env=environment), "http://two:2")
        self.assertEqual(self.asked_server("--server", "one:1", "names", "--server", "two:2"), "http://two:2")

    def test_token_and_authorities(self) -> None:
        """The token in a file, and authorities, are named by option or by the environment, and the option wins."""
        with tempfile.TemporaryDirectory() as folder:
            one, two = Path(folder, "one"), Path(folder, "two")
            for path in (one, two):
                path.write_text(f"the-token-of-{path.name}-and-all\nanother-one-that-is-valid\n")
                path.chmod(0o600)
            environment = {"TABA_TOKEN_FILE": str(one), "TABA_CA_FILE": "/env.pem"}
            for arguments, env, token, ca_file in (
                (["names"], {}, None, None),
                (["names"], environment, "the-token-of-one-and-all", "/env.pem"),
                (["names", "--token-file", str(two)], environment, "the-token-of-two-and-all", "/env.pem"),
                (["--token-file", str(one), "--ca-file", "/a.pem", "names"], {}, "the-token-of-one-and-all", "/a.pem"),
            ):
                self.asked_server(*arguments, env=env)
                self.assertEqual(self.shown[-1], (token, ca_file))

    def test_unusable_token_file(self) -> None:
        """A token file that cannot be used is wrong usage, with the reason, and nothing is asked."""
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("the-token-of-the-fleet\n")
            file.flush()
            os.chmod(file.name, 0o644)
            result = self.run_cli("names", "--token-file", file.name)
            self.assertEqual((result.exit_code, self.asked), (2, []))
            self.assertIn("chmod", result.stderr)
            self.assertNotIn("the-token", result.output)

    def test_wrong_token(self) -> None:
        """401 is exit code 4 with the server's sentence, which says how to give a token."""
        self.answer = Reply(401, "This port wants the shared token: taba-cli --token-file.\n")
        result = self.run_cli("names")
        self.assertEqual(result.exit_code, 4)
        self.assertIn("/names answers 401: This port wants the shared token: taba-cli --token-file.", result.stderr)

    def test_options_before_the_command(self) -> None:
        """--json and --timeout can stand before the command, too."""
        self.answer = Reply(200, '["a"]')
        self.assertEqual(self.run_cli("--json", "--timeout", "3", "names").stdout, '["a"]\n')
        self.run_cli("names", "--timeout", "4.5")
        self.run_cli("names")
        self.assertEqual(self.timeouts, [3.0, 4.5, 10.0])

    def test_servers(self) -> None:
        """A host will do; a path is kept; nonsense is wrong usage."""
        self.assertEqual(
            [base_url(s) for s in ("host", "host:81", "https://host/taba/", "http://[::1]:8300")],
            ["http://host", "http://host:81", "https://host/taba", "http://[::1]:8300"],
        )
        for server in ("ftp://host", "http://", "host:port", "http://host?x=y"):
            result = self.run_cli("--server", server, "names")
            self.assertEqual((result.exit_code, self.asked), (2, []))

    def test_unreachable(self) -> None:
        """A server that is not there is exit code 3, with its URL and what to start."""
        self.answer = Unreachable("Connection refused")
        result = self.run_cli("agg", "bids", "--server", "http://fleet:8300")
        self.assertEqual((result.exit_code, result.stdout), (3, ""))
        for part in ("http://fleet:8300", "Connection refused", "twistd -n taba-server", "TABA_SERVER"):
            self.assertIn(part, result.stderr)

    def test_server_error(self) -> None:
        """An answer that is an error is exit code 4, with the server's reason."""
        self.answer = Reply(400, "'name' is not a regular expression:\n  missing )\n")
        result = self.run_cli("agg", "--re", "(")
        self.assertEqual((result.exit_code, result.stdout), (4, ""))
        self.assertIn("/tabs answers 400: 'name' is not a regular expression: missing )", result.stderr)
        self.answer = Reply(503, "")
        self.assertIn("answers 503: it gives no reason", self.run_cli("names").stderr)

    def test_hostile_reason(self) -> None:
        """A reason cannot command the terminal."""
        self.answer = Reply(500, "\x1b]0;title\x07")
        self.assertNotIn("\x1b", self.run_cli("names").stderr)


class UsageTests(CommandCase):
    def test_version(self) -> None:
        """--version prints the version."""
        self.assertEqual(self.run_cli("--version").stdout, f"taba-cli, version {__version__}\n")

    def test_help(self) -> None:
        """Every command explains itself."""
        for command in ([], ["agg"], ["proj"], ["names"], ["clients"], ["types"], ["status"]):
            result = self.run_cli(*command, "--help")
            self.assertEqual(result.exit_code, 0)
            self.assertIn("--server", result.stdout)

    def test_wrong_usage(self) -> None:
        """Unknown commands and options, and a timeout of nothing, are exit code 2."""
        for arguments in (["frobnicate"], ["names", "--frobnicate"], ["names", "--timeout", "0"]):
            self.assertEqual(self.run_cli(*arguments).exit_code, 2)
