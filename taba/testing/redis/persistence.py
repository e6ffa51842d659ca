"""What a server keeps over its end: the log of its writes, the last snapshot, and its rewritten configuration.

`RedisDisk` belongs to the machine. The log takes every write group whole, before it is answered; how much of it is
synced follows `appendfsync`: each write at once, everything once a second, or after 30 s. The end of a process loses
nothing of what was written; that of the machine loses what was not synced. Without `appendonly` only the last snapshot
is left, which SAVE and BGSAVE make.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import define, field

Group: TypeAlias = tuple[int, list[list[bytes]]]
"""A database and the commands that are one step."""

LONGEST_UNSYNCED = 30.0  # seconds, after which a kernel writes by itself


@define(eq=False)
class RedisDisk:
    """The files of one Redis. `base` is a snapshot, `log` what was written after it, of which the first `synced` groups
    survive a loss of power. `rewritten` is the configuration as CONFIG REWRITE left it.
    """

    base: bytes | None = field(default=None, init=False)
    log: list[Group] = field(factory=list, init=False)
    synced: int = field(default=0, init=False)
    snapshot: bytes | None = field(default=None, init=False)
    """What SAVE wrote: read at the start when there is no log."""
    rewritten: dict[str, str] = field(factory=dict, init=False)
    master: tuple[str, int] | None = field(default=None, init=False)
    """Whom to replicate, as CONFIG REWRITE left it."""
    was_rewritten: bool = field(default=False, init=False)
    fails: bool = field(default=False, init=False)
    """Whether writing fails, so that the server refuses writes with MISCONF."""

    def append(self, group: Group) -> None:
        """Write a group."""
        self.log.append(group)

    def sync(self) -> None:
        """Make all that was written durable."""
        self.synced = len(self.log)

    def rewrite(self, snapshot: bytes) -> None:
        """Begin a new log with a snapshot: a rewrite, or another master's data. It is synced before it counts."""
        self.base, self.log, self.synced = snapshot, [], 0

    def lose_unsynced(self) -> None:
        """The power has failed."""
        del self.log[self.synced :]

    def lose_content(self) -> None:
        """The data are gone; the configuration is not."""
        self.base, self.snapshot, self.log, self.synced = None, None, [], 0
