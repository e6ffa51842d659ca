"""The previous version of Taba, built from the repository, for tests in which two versions work together.

Which one that is: the commit, tag or branch in TABA_PREVIOUS, else the newest tag before this commit, else the commit
before. REAL: git, pip and a C compiler.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.processes.surroundings import REPOSITORY


class NotToBeHad(Exception):
    """There is no previous version here; the text says why."""


def _git(*arguments: str) -> str:
    asked = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise NotToBeHad(asked.stderr.strip() or f"git {arguments[0]} failed")
    return asked.stdout.strip()


def previous() -> str:
    """The commit of the previous version."""
    if "TABA_PREVIOUS" in os.environ:
        return _git("rev-parse", os.environ["TABA_PREVIOUS"])
    try:
        return _git("rev-list", "-n", "1", _git("describe", "--tags", "--abbrev=0", "HEAD^"))
    except NotToBeHad:
        return _git("rev-parse", "HEAD^")


def build(commit: str, folder: Path) -> Path:
    """Install a commit's package into a folder, without what it requires; answers with what PYTHONPATH has to name."""
    source, target = folder / "source", folder / "installed"
    source.mkdir(parents=True)
    archive = subprocess.Popen(["git", "-C", str(REPOSITORY), "archive", commit], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", str(source)], stdin=archive.stdout, check=True)
    if archive.wait():
        raise NotToBeHad(f"git archive {commit} failed")
    built = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if built.returncode:
        raise NotToBeHad(f"{commit} cannot be built: {built.stderr[-2000:]}")
    return target
