"""Runs the unit tests, with coverage, and the laws beside them: `python -m tests.suites [pyproject.toml]`."""

from __future__ import annotations

import subprocess
import sys
import tempfile


def main(arguments: list[str]) -> int:
    """Both at the same time; the output of each when it is over. The greater of the two exit codes."""
    coverage = ["-m", "coverage", "run", f"--rcfile={arguments[0]}"] if arguments else []
    commands = (
        [sys.executable, *coverage, "-m", "twisted.trial", "--temp-directory=_trial_unit", "tests.suites.unit"],
        [sys.executable, "-m", "twisted.trial", "--temp-directory=_trial_laws", "tests.suites.laws"],
    )
    running = []
    for command in commands:
        output = tempfile.TemporaryFile()  # noqa: SIM115 - read when its process is over
        running.append((subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT), output))
    codes = []
    for process, output in running:
        codes.append(process.wait())
        output.seek(0)
        sys.stdout.write(output.read().decode("utf-8", "replace"))
        sys.stdout.flush()
    return max(abs(code) for code in codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
