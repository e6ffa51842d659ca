"""Completion in the shells themselves: what stands on the line after the tab key. Skipped where a shell is missing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 120
"""Until a shell that hangs is given up."""
PROGRAM = """\
#!{python}
import json, re, sys
sys.path.insert(0, {root!r})
from urllib.parse import parse_qs, urlsplit
from taba.cli import main
from taba.cli.server import Reply
from taba.cli.session import Session
def fetch(question):
    parts = urlsplit(question.url)
    kind, names = {{"/names": ("name", {names!r}), "/clients": ("client", {clients!r})}}[parts.path]
    return Reply(200, json.dumps([name for name in names if re.match(parse_qs(parts.query)[kind][0], name)]))
main(prog_name="taba-cli", obj=Session(fetch))
"""
ZSHRC = """\
fpath=({folder}/functions $fpath)
autoload -Uz compinit; compinit -u -d {folder}/dump
{loaded}
# What is on the line goes to a file, and is forgotten.
take-line() {{ print -r -- "$BUFFER" >> {folder}/lines; BUFFER= }}
zle -N take-line; bindkey '^T' take-line
PS1='at your service'
"""
TYPED = """\
zmodload zsh/zpty
zpty shell zsh -i
zpty -r shell said '*at your service*'
{lines}
zpty -w shell exit
while zpty -r shell said; do :; done
"""


class RealShellCase(SynchronousTestCase):
    """A shell that finds a `taba-cli` whose server has some names."""

    shell: str

    def setUp(self) -> None:
        if shutil.which(self.shell) is None:
            self.skipTest(f"there is no {self.shell}: its completion is not tried here")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        program = self.folder / "taba-cli"
        names, clients = ["svc:api", "svc:web", "x@(1)"], ["host:1"]
        program.write_text(PROGRAM.format(python=sys.executable, root=str(ROOT), names=names, clients=clients))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        (self.folder / "some-file").write_text("")

    def run_shell(self, *arguments: str) -> str:
        """What the shell prints."""
        environment = {
            "PATH": f"{self.folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}", "TERM": "xterm",
            "HOME": str(self.folder), "ZDOTDIR": str(self.folder),
        }  # fmt: skip
        ran = subprocess.run(
            [self.shell, *arguments], env=environment, cwd=self.folder, capture_output=True, text=True, timeout=SECONDS
        )
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        return ran.stdout


class ZshTests(RealShellCase):
    """Zsh, as somebody types on a terminal."""

    shell = "zsh"

    def completed(self, lines: Sequence[str], loaded: str = "source <(taba-cli completion zsh)") -> list[str]:
        """The lines after a tab at the end of each."""
        (self.folder / ".zshrc").write_text(ZSHRC.format(folder=self.folder, loaded=loaded))
        typed = "\n".join(f"zpty -w -n shell $'{line}\\t\\x14'" for line in lines)
        self.run_shell("-f", "-c", TYPED.format(lines=typed))
        return (self.folder / "lines").read_text().splitlines()

    def test_words(self) -> None:
        """Commands, names (escaped as zsh needs them), the last of a list, values behind =, and files are completed."""
        wanted = {
            "taba-cli mig": "taba-cli migrate ",
            "taba-cli agg svc:w": "taba-cli agg svc:web ",
            "taba-cli agg a,x": "taba-cli agg a,x@\\(1\\) ",
            "taba-cli agg x --client=ho": "taba-cli agg x --client=host:1 ",
            "taba-cli agg --cl": "taba-cli agg --client ",
            "taba-cli backup some": "taba-cli backup some-file ",
            "taba-cli agg sv": "taba-cli agg svc:",
            "taba-cli agg --token-file=some": "taba-cli agg --token-file=some-file ",
        }
        self.assertEqual(self.completed(list(wanted)), list(wanted.values()))

    def test_file(self) -> None:
        """The script may as well be a file where zsh looks for functions: the first time and the next."""
        (self.folder / "functions").mkdir()
        (self.folder / "functions" / "_taba-cli").write_text(self.run_shell("-f", "-c", "taba-cli completion zsh"))
        lines = ["taba-cli mig", "taba-cli agg svc:w"]
        self.assertEqual(self.completed(lines, loaded=""), ["taba-cli migrate ", "taba-cli agg svc:web "])


class FishTests(RealShellCase):
    """Fish, which says itself what it would offer."""

    shell = "fish"

    def completed(self, line: str) -> list[str]:
        offered = self.run_shell("--no-config", "-c", f"taba-cli completion fish | source; complete -C '{line}'")
        return [each.partition("\t")[0] for each in offered.splitlines()]

    def test_words(self) -> None:
        """Likewise in fish."""
        wanted = {
            "taba-cli mig": ["migrate"],
            "taba-cli agg svc:w": ["svc:web"],
            "taba-cli agg a,x": ["a,x@(1)"],
            "taba-cli agg x --client=ho": ["--client=host:1"],
            "taba-cli agg --cl": ["--client"],
            "taba-cli backup some": ["some-file"],
            "taba-cli agg --token-file=some": ["--token-file=some-file"],
        }
        self.assertEqual({line: self.completed(line) for line in wanted}, wanted)
