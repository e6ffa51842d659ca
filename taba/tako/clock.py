"""A hybrid logical clock whose readings are plain decimal microseconds since 1970.

A reading is the wall clock's microsecond, or one more than the greatest stamp seen, whichever is later: the logical
part sits in the lowest digits, and a stamp can be read as a time. So a process that has seen a stamp gives only later
ones, also when its wall clock steps back.

Stamps further ahead of the wall clock than `max_ahead` are refused and counted, so that one wrong clock cannot push
every other one into the future. A process whose own clock is behind those of most others goes by theirs, else it would
take everything that is stored for something from the future. Not thread-safe: one thread uses it.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from taba.tako.errors import BadTimestamp, ClockAhead

MAX_AHEAD = 60.0  # seconds
MAX_STAMP = 2**53 - 1  # microseconds: the year 2255, and the largest number that every JSON reader takes exactly


@define(eq=False)
class HybridClock:
    """Gives stamps. `wall` is in seconds since 1970, and may step in either direction."""

    wall: Callable[[], float]
    max_ahead: float = MAX_AHEAD
    """Seconds that a stamp may be ahead of the wall clock."""
    behind: Callable[[], float] = lambda: 0.0
    """Seconds that the wall clock here is behind those of most others, as far as that is known; never negative."""
    others: Callable[[], float | None] = lambda: None
    """Seconds that the most advanced clock of the others is ahead of the one here; None when none is known."""
    refused: int = field(default=0, init=False)
    """How many stamps were refused as too far ahead."""
    _last: int = field(default=0, init=False)
    """The greatest stamp that was given or observed."""

    def now(self) -> int:
        """A stamp later than every one given or observed before, unless these are too far ahead by now: then the clock
        here was wrong, and was put right.
        """
        wall = self.wall_stamp()
        last = self._last if self._last <= wall + int(self.max_ahead * 1e6) else 0
        self._last = max(wall, last + 1)
        return self._last

    def wall_stamp(self) -> int:
        """The wall clock in microseconds, put right where it is behind."""
        return int((self.wall() + self.behind()) * 1e6)

    def limit(self) -> int:
        """The latest stamp that is accepted now."""
        return self.wall_stamp() + int(self.max_ahead * 1e6)

    def limit_by(self, wall: float | None) -> int:
        """The latest stamp that a clock which shows `wall`, in microseconds, would accept; of no clock MAX_STAMP."""
        return MAX_STAMP if wall is None else int(wall + self.max_ahead * 1e6)

    def limit_of_others(self) -> int:
        """The latest stamp that some other process's clock accepts, as far as any is known."""
        ahead = self.others()
        return self.limit_by(None if ahead is None else (self.wall() + ahead) * 1e6)

    def observe(self, stamp: int) -> None:
        """Let all later readings be above `stamp`. Raises ClockAhead, and counts, when it is too far ahead."""
        if stamp > self.limit():
            self.refused += 1
            raise ClockAhead(stamp, self.wall_stamp(), self.max_ahead)
        self._last = max(self._last, stamp)


def parse_stamp(text: str) -> int:
    """The stamp of a decimal text from 1 to MAX_STAMP; BadTimestamp for anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > 16 or not 1 <= int(text) <= MAX_STAMP:
        raise BadTimestamp(
            f"{text[:40]!r} is no timestamp: microseconds since 1970, a whole number from 1 to {MAX_STAMP}."
        )
    return int(text)
