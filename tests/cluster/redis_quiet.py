"""Tests over worlds in which processes with open connections to Redis are killed."""

from __future__ import annotations

import contextlib
import gc
import io

from twisted.trial.unittest import SynchronousTestCase


def free_the_dead() -> None:
    """Free what killed processes left behind, while nobody listens: their coroutines run to an end now, and complain of
    what no process that was killed would live to see. What one collection lets fail, the next one frees.
    """
    with contextlib.redirect_stderr(io.StringIO()):
        for _ in range(3):
            gc.collect()


class QuietCase(SynchronousTestCase):
    """What killed processes left is freed before the next test, and what it says then counts for nothing: while a
    world is there, `World.check_quiet` looks for errors.
    """

    def tearDown(self) -> None:
        free_the_dead()
        self.flushLoggedErrors()
