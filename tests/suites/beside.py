"""Runs whole suites side by side: `python -m tests.suites.beside sim redis`. What mostly computes goes well with what
mostly waits; each takes as long as alone, nearly, and both together as long as the longer one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

SUITES = {
    "sim": ("-m", "twisted.trial", "--temp-directory=_trial_sim", "tests.cluster", "tests.mutants"),
    "redis": ("-m", "tests.redis"),
    "processes": ("-m", "tests.processes"),
    "tako": ("-m", "twisted.trial", "--temp-directory=_trial_tako", "tests.tako"),
}


def main(names: Sequence[str]) -> int:
    """The output of each when it is over; the greatest of the exit codes."""
    running = {}
    for name in names:
        output = tempfile.TemporaryFile()  # noqa: SIM115 - read when its process is over
        command = [sys.executable, *SUITES[name]]
        running[name] = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT), output
    began, worst = time.monotonic(), 0
    while running:
        time.sleep(0.2)
        for name in [name for name, (process, _) in running.items() if process.poll() is not None]:
            process, output = running.pop(name)
            output.seek(0)
            sys.stdout.write(output.read().decode("utf-8", "replace"))
            print(f"--- {name}: {time.monotonic() - began:.0f} s, status {process.returncode}", flush=True)
            worst = max(worst, abs(process.returncode))
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
