"""`python -m tests.cluster.replay SEED [FILE]`: one run again, and its trace, step by step, in a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.cluster.run import Result, run_seed


def main(arguments: list[str], run: Callable[[int, bool], Result] = run_seed) -> int:
    """Run the seed; 1 when something was wrong."""
    seed = int(arguments[0])
    file = Path(arguments[1] if len(arguments) > 1 else f"seed-{seed}.trace")
    result = run(seed, True)
    file.write_text("\n".join(result.trace) + "\n", encoding="utf-8")
    print(f"seed {seed}: {result.problem or 'all is well'}")
    print(f"{len(result.trace)} steps in {file}, fingerprint {result.fingerprint}")
    return 1 if result.problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
