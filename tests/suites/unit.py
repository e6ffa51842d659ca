"""All tests but those of whole clusters and real processes."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.runner import TestLoader
from twisted.trial.unittest import TestSuite

ELSEWHERE = {"benchmarks", "cluster", "mutants", "processes", "suites"}


def test_suite() -> TestSuite:
    """Called by trial."""
    root = Path(__file__).resolve().parent.parent
    names = [f"tests.{path.name}" for path in sorted(root.iterdir())
             if (path / "__init__.py").exists() and path.name not in ELSEWHERE]
    names += [f"tests.{path.stem}" for path in sorted(root.glob("test_*.py"))]
    loader = TestLoader()
    suite: TestSuite = loader.loadByNames(names, recurse=True)
    return suite
