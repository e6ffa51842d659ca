"""Runs the tests of real processes: `python -m tests.processes [MODULE...]`, several modules at once."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.suites.at_once import run
from tests.suites.names import FORKING

AT_ONCE = 4
FIRST = ("test_guide", "test_gunicorn", "test_custom_type", "test_many_hosts", "test_exactly_once")
"""Those that take longest."""


def main(arguments: list[str]) -> int:
    """The greatest of the exit codes."""
    names = arguments or sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    groups = {name: [f"tests.processes.{name}"] for name in names}
    if not arguments:
        groups |= {name.rpartition(".")[2]: [name] for name in FORKING}
    return run(groups, AT_ONCE, FIRST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
