"""The replication history of a server: its id, its offset, and the last bytes of its stream of commands.

Two servers with one id that stand at one offset have the same data. A promoted replica takes a new id and keeps the old
one as `replid2`, valid up to the offset of the promotion, so that its fellows go on from where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import define, field

NO_ID = "0" * 40


def new_id(random: Random) -> str:
    """A replication id, or run id: 40 hexadecimal digits."""
    return f"{random.getrandbits(160):040x}"


@define(eq=False)
class History:
    """Where a server stands. The backlog, of at most `backlog_size()` bytes, exists from the first replica on; before
    that nothing counts, as in Redis.
    """

    replid: str
    backlog_size: Callable[[], int]
    replid2: str = NO_ID
    second_offset: int = -1
    """The first offset that `replid2` does not cover."""
    offset: int = 0
    backlog: bytearray | None = field(default=None, init=False)

    def first_offset(self) -> int:
        """The offset of the first byte of the backlog; 0 when there is none."""
        return 0 if self.backlog is None else self.offset - len(self.backlog) + 1

    def feed(self, raw: bytes) -> None:
        """Go on by these bytes."""
        if self.backlog is not None:
            self.offset += len(raw)
            self.backlog += raw
            excess = len(self.backlog) - self.backlog_size()
            if excess > 0:
                del self.backlog[:excess]

    def open_backlog(self) -> None:
        """Keep the stream from here on."""
        if self.backlog is None:
            self.backlog = bytearray()

    def begin(self, replid: str, offset: int = 0) -> None:
        """Another history: of a new server with its first replica, or of the master that a replica copied whole."""
        self.replid, self.offset = replid, offset
        self.replid2, self.second_offset = NO_ID, -1
        self.backlog = bytearray()

    def shift(self, replid: str) -> None:
        """Go on under another id from this offset: a promotion, or that of the master."""
        self.replid2, self.second_offset = self.replid, self.offset + 1
        self.replid = replid

    def continues(self, replid: str, offset: int) -> bool:
        """Whether one who wants to go on at `offset`, the first byte it lacks, under `replid` can be served."""
        known = replid == self.replid or (replid == self.replid2 and offset <= self.second_offset)
        return known and self.backlog is not None and self.first_offset() <= offset <= self.offset + 1

    def since(self, offset: int) -> bytes:
        """The bytes from `offset` on."""
        assert self.backlog is not None
        return bytes(self.backlog[offset - self.first_offset() :])
