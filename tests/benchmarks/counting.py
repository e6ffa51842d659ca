"""The count at the end of every run: what the processes say they counted has to be what was sent, to the last event."""

from __future__ import annotations


class Miscounted(RuntimeError):
    """A run whose counts are not what was sent: its figures are worth nothing, and it ends the benchmark."""

    def __init__(self, what: str, counted: int, sent: int, of: str = "events") -> None:
        super().__init__(f"{what}: {counted:,} {of} are counted, {sent:,} were sent")
        self.counted = counted
        self.sent = sent


def check(what: str, counted: int, sent: int, of: str = "events") -> None:
    """Raises Miscounted unless both are equal."""
    if counted != sent:
        raise Miscounted(what, counted, sent, of)
