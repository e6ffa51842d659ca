"""The count at the end of every run: what the processes say they counted has to be what was sent, to the last event."""

from __future__ import annotations

from attrs import define


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


@define
class Tally:
    """How often something stands in a long answer that is read in pieces."""

    word: bytes
    count: int = 0
    _end: bytes = b""
    """Of what was read: it may be the beginning of the word."""

    def add(self, piece: bytes) -> None:
        """Read on."""
        text = self._end + piece
        self.count += text.count(self.word)
        # Less than a whole word is kept: none is counted twice.
        self._end = text[max(0, len(text) - len(self.word) + 1) :]
