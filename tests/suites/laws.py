"""Properties, the comparison of the core with its twin, model tests and crash images."""

from __future__ import annotations

from twisted.trial.runner import TestLoader
from twisted.trial.unittest import TestSuite

from tests.suites.names import is_law, modules


def test_suite() -> TestSuite:
    """Called by trial."""
    suite: TestSuite = TestLoader().loadByNames([name for name in modules() if is_law(name)])
    return suite
