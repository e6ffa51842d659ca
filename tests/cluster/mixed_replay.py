"""`python -m tests.cluster.mixed_replay SEED [FILE]`: one run with two releases again; its trace in a file."""

from __future__ import annotations

import sys

from tests.cluster.mixed_run import run_mixed_seed
from tests.cluster.replay import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], run_mixed_seed))
