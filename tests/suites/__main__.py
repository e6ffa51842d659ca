"""Runs the unit tests, contract suites and laws: `python -m tests.suites [GROUP...]`, two groups at a time."""

from __future__ import annotations

import sys

from tests.suites.at_once import run
from tests.suites.names import groups

AT_ONCE = 2
FIRST = ("store", "twin", "test_crash_images", "client", "native", "agent", "testing", "server")
"""Those that take longest."""


def main(arguments: list[str]) -> int:
    """The greatest of the exit codes."""
    found = groups()
    return run({name: found[name] for name in arguments or found}, AT_ONCE, FIRST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
