"""All tests but those of whole clusters and real processes, and those that fork while threads run.

The latter are run without coverage, in the environment of the processes: coverage.py holds a lock of its own over a
fork.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.runner import TestLoader
from twisted.trial.unittest import TestSuite

ELSEWHERE = {"benchmarks", "cluster", "mutants", "processes", "suites"}
FORKING = {"tests.client.test_thread_engine"}


def test_suite() -> TestSuite:
    """Called by trial."""
    root = Path(__file__).resolve().parent.parent
    paths = [path for path in sorted(root.rglob("test_*.py")) if path.relative_to(root).parts[0] not in ELSEWHERE]
    names = [".".join(("tests", *path.relative_to(root).with_suffix("").parts)) for path in paths]
    suite: TestSuite = TestLoader().loadByNames([name for name in names if name not in FORKING])
    return suite
