"""Tries mutants: copies the package, changes it, and runs the named test there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

import taba
from tests.mutants.fleet_rules import FLEET_MUTANTS
from tests.mutants.move_rules import MOVE_MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.redis_rules import REDIS_MUTANTS
from tests.mutants.rules import MUTANTS

ROOT = Path(__file__).resolve().parents[2]
EVERY = (*MUTANTS, *REDIS_MUTANTS, *MOVE_MUTANTS, *FLEET_MUTANTS)
LIMIT = 300.0
"""Seconds that a test may take; a mutant that makes its test hang is caught, too."""


class StaleMutant(Exception):
    """The text that a mutant changes is not in the code exactly once."""


@frozen
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    caught: bool
    """Whether the test failed with it."""
    sound: bool
    """Whether the test passes without it."""
    first_line: str
    """How the test failed."""


def copy_project(to: Path) -> None:
    """Copy the package that is in use (an installed one has the built native module with it), and the tests."""
    for folder in (Path(taba.__file__).parent, ROOT / "tests"):
        shutil.copytree(folder, to / folder.name, ignore=shutil.ignore_patterns("__pycache__"))


def apply(mutant: Mutant, root: Path) -> None:
    """Change the package below `root`; StaleMutant when a text is not there exactly once."""
    for file, old, new in mutant.edits:
        path = root / "taba" / file
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise StaleMutant(f"{mutant.rule}: {text.count(old)} times in {file}: {old.strip()}")
        path.write_text(text.replace(old, new), encoding="utf-8")


def run_test(root: Path, test: str) -> tuple[bool, str]:
    """Whether a test passes below `root`, and how it fails."""
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "twisted.trial", f"--temp-directory={root / '_trial'}", test]
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return False, "took too long"
    passed = done.returncode == 0 and "PASSED" in done.stdout
    return passed, "" if passed else reason_of(done.stdout)


def reason_of(output: str) -> str:
    """The line of trial's output that names the error; ImportError and SyntaxError are no way to be caught."""
    for line in output.splitlines():
        if line.startswith(("twisted.trial.unittest.FailTest", "tests.", "taba.", "builtins.")) and ":" in line:
            return line[:150]
    return output.strip()[-150:]


def is_broken(reason: str) -> bool:
    """Whether a test failed because the mutant is no Python, or its test does not exist."""
    return any(word in reason for word in ("SyntaxError", "IndentationError", "ImportError", "AttributeError: type"))


def each_verdict(mutants: Iterable[Mutant]) -> Iterable[Verdict]:
    """Try mutants one after the other; each test is run without a mutant once."""
    sound: dict[str, bool] = {}
    with tempfile.TemporaryDirectory(prefix="taba-mutants-") as folder:
        plain = Path(folder) / "plain"
        copy_project(plain)
        for mutant in mutants:
            changed = Path(folder) / mutant.rule
            copy_project(changed)
            apply(mutant, changed)
            if mutant.test not in sound:
                sound[mutant.test] = run_test(plain, mutant.test)[0]
            passed, reason = run_test(changed, mutant.test)
            yield Verdict(mutant, not passed and not is_broken(reason), sound[mutant.test], reason)
            shutil.rmtree(changed)


def chosen(rules: Sequence[str]) -> list[Mutant]:
    """The mutants of these rules; all when none is named. KeyError for a name that is no rule's."""
    by_rule = {mutant.rule: mutant for mutant in EVERY}
    return [by_rule[rule] for rule in rules] if rules else list(EVERY)


def line_of(verdict: Verdict) -> str:
    """One line of the table."""
    word = "caught" if verdict.caught else "NOT CAUGHT"
    if not verdict.sound:
        word = "UNSOUND: its test fails without it"
    return f"{verdict.mutant.rule:<26} {word:<10} {verdict.mutant.test.removeprefix('tests.'):<72} {verdict.first_line}"
