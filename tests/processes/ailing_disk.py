"""A disk that is slow or full, for real processes that are started with it, by a preloaded library (disk_shim.c)."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("disk_shim.c")
_SYNC, _RATE, _FULL, _WRITTEN, _SYNCS = range(5)


def missing() -> str | None:
    """Why no disk can be made slow here, as a reason to skip; None when it can."""
    if shutil.which("cc") is None:
        return "there is no C compiler `cc`"
    if not sys.platform.startswith("linux"):
        return "disks are slowed down on Linux only"
    return None if SOURCE.exists() else f"{SOURCE.name} is not beside the tests"


class AilingDisk:
    """The disk of one process, which is started with `variables`; well at first."""

    def __init__(self, folder: Path, name: str) -> None:
        """Its files are made in a folder, which the processes of several may share."""
        library = folder / "disk_shim.so"
        if not library.exists():
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE)], check=True)
        path = folder / f"{name}.disk"
        path.write_bytes(bytes(40))
        with open(path, "r+b") as file:
            self._told = mmap.mmap(file.fileno(), 40)
        self.variables = {"LD_PRELOAD": str(library), "DISK_SHIM_FILE": str(path)}

    def _put(self, which: int, value: float) -> None:
        self._told[which * 8 : which * 8 + 8] = struct.pack("d", value)

    def _get(self, which: int) -> float:
        value: float = struct.unpack("d", self._told[which * 8 : which * 8 + 8])[0]
        return value

    def slow(self, sync_seconds: float, bytes_per_second: float) -> None:
        """A sync takes so long from now on, and as much longer as its bytes need; no bytes a second: any number."""
        self._put(_RATE, bytes_per_second)
        self._put(_SYNC, sync_seconds)

    def fill(self) -> None:
        """No file grows from now on."""
        self._put(_FULL, 1.0)

    def mend(self) -> None:
        """All is well again."""
        for which in (_SYNC, _RATE, _FULL):
            self._put(which, 0.0)

    def written(self) -> float:
        """Bytes that the process has written to files so far."""
        return self._get(_WRITTEN)

    def syncs(self) -> float:
        """How often it has synced one."""
        return self._get(_SYNCS)
