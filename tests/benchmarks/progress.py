"""What is going on, on stderr: a line that is written over on a terminal, a line each elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from attrs import define


@define
class Progress:
    """Tells what is measured and how long it has been since the start, in seconds of `now`."""

    out: TextIO
    now: Callable[[], float]
    started: float

    def tell(self, what: str) -> None:
        """Say what begins."""
        seconds = int(self.now() - self.started)
        text = f"[{seconds // 60}:{seconds % 60:02}] {what}"
        if self.out.isatty():
            self.out.write(f"\r\033[K{text[:120]}")
        else:
            self.out.write(f"{text}\n")
        self.out.flush()

    def clear(self) -> None:
        """Make room for a row of the table."""
        if self.out.isatty():
            self.out.write("\r\033[K")
            self.out.flush()
