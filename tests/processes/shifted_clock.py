"""A wall clock of one's own for a real process, moved while it runs, by a preloaded library (clock_shim.c)."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shim.c")


def missing() -> str | None:
    """Why no clock can be shifted here, as a reason to skip; None when it can."""
    if shutil.which("cc") is None:
        return "there is no C compiler `cc`"
    if not sys.platform.startswith("linux"):
        return "the clock is shifted on Linux only"
    return None if SOURCE.exists() else f"{SOURCE.name} is not beside the tests"


def shifting_library(folder: Path) -> Path:
    """The compiled library, made in a folder if it is not there."""
    library = folder / "clock_shim.so"
    if not library.exists():
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE)], check=True)
    return library


class ShiftedClock:
    """The wall clock of the processes that are started with `variables`; `file` is where their library reads it."""

    def __init__(self, file: Path, library: Path, offset: float = 0.0) -> None:
        self._file = file
        self.variables = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(file)}
        self.offset = offset
        self.step(offset)

    def step(self, offset: float) -> None:
        """Let it be `offset` seconds ahead of this machine's, from now on."""
        with open(self._file, "r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("d", offset))  # eight bytes: the mapping sees all of them or none
        self.offset = offset

    def time(self) -> float:
        """Its time."""
        return time.time() + self.offset
