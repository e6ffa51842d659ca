"""Runs the tests on real servers: `python -m tests.redis [MODULE...]`, several modules at once."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.suites.at_once import run

AT_ONCE = 5
FIRST = ("test_chaos", "test_failover", "test_links")
"""Those that take longest."""


def main(arguments: list[str]) -> int:
    """The greatest of the exit codes."""
    names = arguments or sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    return run({name: [f"tests.redis.{name}"] for name in names}, AT_ONCE, FIRST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
