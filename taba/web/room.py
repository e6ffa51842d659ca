"""Memory that requests share while they come in and are answered. Pure."""

from __future__ import annotations

from attrs import define


@define
class Room:
    """So many bytes at `most`, of all who take from it together. A single one may take more, where nobody else does."""

    most: int
    held: int = 0

    def take(self, size: int, mine: int = 0) -> bool:
        """Take `size` bytes more for somebody who has `mine`; False, and nothing is taken, when there is no room."""
        if self.held + size > self.most and self.held > mine:
            return False
        self.held += size
        return True

    def give(self, size: int) -> None:
        """Give bytes back that were taken."""
        self.held -= size
