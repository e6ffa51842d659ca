"""Unit tests and contract suites: what coverage is measured of."""

from __future__ import annotations

from twisted.trial.runner import TestLoader
from twisted.trial.unittest import TestSuite

from tests.suites.names import FORKING, is_law, modules


def test_suite() -> TestSuite:
    """Called by trial."""
    suite: TestSuite = TestLoader().loadByNames([n for n in modules() if n not in FORKING and not is_law(n)])
    return suite
