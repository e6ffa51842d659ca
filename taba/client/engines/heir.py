"""What becomes, in a forked child, of an engine whose loop is its parent's: a ThreadEngine takes its place.

The child must not touch that loop, whose selector it shares, and need not run one of its own; a thread serves it either
way. It starts afresh, with nothing recorded, and with its first event. What was unsent stays the parent's.
"""

from __future__ import annotations

import sys

from taba.client.engines.thread import EXIT_TIMEOUT, ThreadEngine
from taba.client.sender import Sender


class Heirs:
    """The heir of one engine, once it is in a forked child. For one thread at a time."""

    def __init__(self, sender: Sender, url: str, request_timeout: float, ca_file: str | None) -> None:
        """As a ThreadEngine's."""
        self._sender = sender
        self._url = url
        self._request_timeout = request_timeout
        self._ca_file = ca_file
        self._heir: ThreadEngine | None = None
        self.forked = False
        """Whether this is a child: the engine itself has nothing more to do."""

    def fork(self, running: bool) -> None:
        """In the child, before anything else runs there. `running`: whether events are to be recorded. A child of a
        child is its heir's to look to.
        """
        self.forked = True
        if self._heir is None:
            self._sender.restart(on_revival=self._revive if running else None)
            multiprocessing = sys.modules.get("multiprocessing.util")
            if multiprocessing is not None:
                multiprocessing.register_after_fork(self, _flush_at_exit_of_child)

    def _revive(self) -> None:
        """In the child, with its first event."""
        heir = ThreadEngine(self._sender, self._url, request_timeout=self._request_timeout, ca_file=self._ca_file)
        heir.start()
        self._heir = heir

    def stop(self, timeout: float) -> bool:
        """Stop in the child; this waits. Whether all is accounted for."""
        if self._heir is not None:
            return self._heir.stop(timeout)
        self._sender.drain()  # nothing was recorded here, and nothing will be
        return True


def _flush_at_exit_of_child(heirs: Heirs) -> None:
    """A child of `multiprocessing` runs no atexit functions, but these."""
    from multiprocessing.util import Finalize

    Finalize(None, heirs.stop, args=(EXIT_TIMEOUT,), exitpriority=0)
