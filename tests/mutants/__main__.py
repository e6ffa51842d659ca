"""`python -m tests.mutants [RULE...]`: try mutants and print a table."""

from __future__ import annotations

import sys

from tests.mutants.trying import chosen, each_verdict, line_of


def main(rules: list[str]) -> int:
    """1 when one was not caught."""
    bad = 0
    for verdict in each_verdict(chosen(rules)):
        bad += not (verdict.caught and verdict.sound)
        print(line_of(verdict), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
