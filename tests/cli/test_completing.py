"""Completion: what shells get."""

from __future__ import annotations

from click.shell_completion import ShellComplete

from taba.cli import main
from taba.cli.server import Reply
from tests.cli.cli_case import AnswersCase


class CompletionTests(AnswersCase):
    def test_scripts(self) -> None:
        """Each shell gets a script that calls this program."""
        for shell in ("bash", "zsh", "fish"):
            result = self.run_cli("completion", shell)
            self.assertEqual(result.exit_code, 0)
            self.assertIn("_TABA_CLI_COMPLETE", result.stdout)
            self.assertIn("taba-cli", result.stdout)
        self.assertEqual(self.run_cli("completion", "tcsh").exit_code, 2)

    def completions(self, words: list[str], incomplete: str) -> list[str]:
        complete = ShellComplete(main, {"obj": self.session()}, "taba-cli", "_TABA_CLI_COMPLETE")
        return [item.value for item in complete.get_completions(words, incomplete)]

    def test_commands(self) -> None:
        """Commands are completed."""
        self.assertEqual(self.completions([], "mig"), ["migrate"])

    def test_tabs(self) -> None:
        """The names of tabs come from the server."""
        self.answers["/names"] = ["bids_lost", "bids_won"]
        self.assertEqual(self.completions(["agg"], "bids"), ["bids_lost", "bids_won"])
        self.assertEqual(self.asked(), [("GET", "/names", {"name": "bids.*", "re": "1"})])
        self.assertLessEqual(self.questions[0].timeout, 1.0)

    def test_clients(self) -> None:
        """So do the names of clients."""
        self.answers["/clients"] = ["host.1"]
        self.assertEqual(self.completions(["proj", "t", "--client"], "host."), ["host.1"])
        self.assertEqual(self.asked()[0][2], {"client": r"host\..*", "re": "1"})

    def test_no_server(self) -> None:
        """Without a server, or with an error, there are none, and nothing is said."""
        self.assertEqual(self.completions(["agg"], "b"), [])
        self.answers["/names"] = Reply(401, "no")
        self.assertEqual(self.completions(["agg"], "b"), [])
        self.answers["/names"] = "no JSON"
        self.assertEqual(self.completions(["agg"], "b"), [])
