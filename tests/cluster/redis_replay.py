"""`python -m tests.cluster.redis_replay SEED [FILE]`: one run on Redis again; its trace, step by step, in a file."""

from __future__ import annotations

import sys

from tests.cluster.redis_run import run_redis_seed
from tests.cluster.replay import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], run_redis_seed))
