"""File systems for a test, where they are permitted.

REAL: only root may mount, and not in every container.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest


def mount(*arguments: str) -> None:
    """Mount; SkipTest, with the reason, where that is not permitted."""
    if os.geteuid() != 0:
        raise SkipTest("only root may mount a file system")
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise SkipTest("there is no command `mount`")
    except subprocess.CalledProcessError as problem:
        raise SkipTest(f"mounting is not permitted here: {problem.stderr.strip()}")


def unmount(folder: Path) -> None:
    """Unmount, though somebody may still use it."""
    subprocess.run(["umount", "--lazy", str(folder)], check=False)
