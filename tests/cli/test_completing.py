"""Completion: what shells get."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

from click.shell_completion import ShellComplete, get_completion_class

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

    def test_lists(self) -> None:
        """The last name of a list with commas is completed, but not in a regular expression, nor where one is taken."""
        self.answers["/names"] = ["svc:api", "svc:web"]
        self.assertEqual(self.completions(["agg"], "orders,sv"), ["orders,svc:api", "orders,svc:web"])
        self.assertEqual(self.completions(["agg", "a"], "b,c,"), ["b,c,svc:api", "b,c,svc:web"])
        self.assertEqual(self.asked()[0][2], {"name": "sv.*", "re": "1"})
        self.assertEqual(self.completions(["agg", "--re"], "a,sv"), [])
        self.assertEqual(self.completions(["check"], "a,sv"), [])


class BashTests(AnswersCase):
    """Bash cuts words at colons, and replaces what stands behind the last one."""

    def setUp(self) -> None:
        super().setUp()
        self.answers["/names"] = ["svc:api", "svc:web", "svc@(1):x"]
        self.answers["/clients"] = ["host:1"]

    def completed(self, line: str, breaks: str = " \t\n\"'@><=;|&(:") -> list[str]:
        made = get_completion_class("bash")
        assert made is not None
        self.patch(os, "environ", {"COMP_LINE": line, "COMP_WORDBREAKS": breaks})
        complete = made(main, {"obj": self.session()}, "taba-cli", "_TABA_CLI_COMPLETE")
        return [text.removeprefix("plain,") for text in complete.complete().split("\n") if text]

    def test_colons(self) -> None:
        """A name with colons is completed behind the last one, and whole where bash does not cut there."""
        self.assertEqual(self.completed("taba-cli agg svc:w"), ["web"])
        self.assertEqual(self.completed("taba-cli agg svc:"), ["api", "web"])
        self.assertEqual(self.completed("taba-cli agg sv"), ["svc:api", "svc:web", r"svc@\(1\):x"])
        self.assertEqual(self.completed("taba-cli agg svc:w", " =@"), ["svc:web"])
        self.assertEqual(self.completed("taba-cli agg 'svc:w"), ["svc:web"])
        self.assertEqual(self.completed(r"taba-cli agg svc@\(1"), [r"\(1\):x"])

    def test_lists(self) -> None:
        """So is the last name of a list."""
        self.assertEqual(self.completed("taba-cli agg orders,sv")[1], "orders,svc:web")
        self.assertEqual(self.completed("taba-cli agg a:b,svc:w"), ["web"])

    def test_options(self) -> None:
        """An address in front of it is one word; values behind = are completed, too."""
        self.assertEqual(self.completed("taba-cli --server http://there:1 agg svc:w"), ["web"])
        self.assertIn("http://there:1/names", self.questions[0].url)
        self.assertEqual(self.completed("taba-cli agg x --client=ho"), ["host:1"])
        self.assertEqual(self.completed("taba-cli agg x --client=host:"), ["1"])

    def test_commands(self) -> None:
        """Behind a blank there is the next word."""
        self.assertIn("migrate", self.completed("taba-cli "))
        self.assertEqual(self.completed("taba-cli mig"), ["migrate"])

    def test_script(self) -> None:
        """The script asks the program with the line up to the cursor, and takes its answers as they are."""
        if shutil.which("bash") is None:
            self.skipTest("there is no bash")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        program = folder / "taba-cli"
        program.write_text('#!/bin/sh\nprintf "plain,a,b:*\\nplain,<%s>\\n" "$COMP_LINE"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        script = self.run_cli("completion", "bash").stdout + (
            f'COMP_LINE="taba-cli agg a:x more"; COMP_POINT=16\n_taba_cli_completion {program}\n'
            'printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        ran = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, timeout=120)
        self.assertEqual(ran.stdout, "a,b:*\n<taba-cli agg a:x>\n")


class ZshTests(AnswersCase):
    """Zsh gets values without their option, and words with a help apart."""

    def completed(self, line: str) -> list[str]:
        self.answers["/names"] = ["svc:api", "svc@(1):x"]
        self.answers["/clients"] = ["host:1"]
        made = get_completion_class("zsh")
        assert made is not None
        self.patch(os, "environ", {"COMP_LINE": line})
        return made(main, {"obj": self.session()}, "taba-cli", "_TABA_CLI_COMPLETE").complete().split("\n")

    def test_names(self) -> None:
        """Names come as they are; zsh escapes them."""
        self.assertEqual(self.completed("taba-cli agg sv"), ["plain,svc:api", "plain,svc@(1):x"])
        self.assertEqual(self.completed("taba-cli agg x --client=ho"), ["plain,host:1"])

    def test_commands(self) -> None:
        """Commands and options come with their help, on one line."""
        (migrate,) = self.completed("taba-cli mig")
        self.assertTrue(migrate.startswith("told,migrate:Move the embedded"), migrate)
        self.assertEqual(self.completed("taba-cli agg --cl"), ["told,--client:Only what this client recorded."])

    def test_files(self) -> None:
        """Files are left to the shell."""
        self.assertEqual(self.completed("taba-cli backup /et"), ["file,/et"])
        self.assertEqual(self.completed("taba-cli agg --token-file /et"), ["file,/et"])


class FishTests(AnswersCase):
    """Fish gets lines of a completion, a tab and its help."""

    def test_lines(self) -> None:
        """Names come as they are, with their commas; commands with their help."""
        self.answers["/names"] = ["a", "svc@(1):x"]
        made = get_completion_class("fish")
        assert made is not None
        for line, wanted in (("taba-cli agg a,sv", "plain,a,svc@(1):x"), ("taba-cli mig", "plain,migrate\tMove the")):
            self.patch(os, "environ", {"COMP_LINE": line})
            complete = made(main, {"obj": self.session()}, "taba-cli", "_TABA_CLI_COMPLETE")
            self.assertTrue(complete.complete().startswith(wanted), complete.complete())
