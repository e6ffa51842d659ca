"""Stops several things one after another, all of them, whatever becomes of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.logger import Logger

_log = Logger()


@inlineCallbacks
def stop_in_turn(*steps: Callable[[], Any]):  # type: ignore[no-untyped-def]
    """Call each step, and wait for its Deferred if it gives one. A step that fails is logged: the next ones, which end
    threads and close files, are needed all the same."""
    for step in steps:
        try:
            yield step()
        except Exception:
            _log.failure("A part of the process did not stop in good order")
