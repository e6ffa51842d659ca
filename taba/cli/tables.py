"""Rows in aligned columns, as wide as the terminal allows. Pure functions of text.

Widths are those of a terminal: combining characters take no column, and those of East Asian scripts two. Where a table
is too wide, its widest column that is aligned to the left is cut, with an ellipsis, and never below a few characters;
beyond that lines are cut at the edge.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

GAP = 2
"""Blanks between columns."""
LEAST = 8
"""A column is not cut to less than so many characters."""
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


def width_of(text: str) -> int:
    """The columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def cut(text: str, width: int) -> str:
    """A text in at most so many columns, the last of which is an ellipsis where it was longer."""
    if width_of(text) <= width:
        return text
    kept, used = [], 0
    for each in text:
        used += width_of(each)
        if used > width - 1:
            break
        kept.append(each)
    return "".join(kept) + "…" if width > 0 else ""


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[int] = (),
    width: int = 80,
    bold: bool = False,
    *,
    whole: Sequence[int] = (),
) -> str:
    """A head and rows in columns, without trailing blanks; `right` numbers those that are aligned to the right, `whole`
    those that are not cut whatever the width is.
    """
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(width_of(line[at]) for line in lines) for at in range(len(head))]
    _narrow(widths, {*right, *whole}, width)
    if whole:  # no line is cut in front of their end
        ends = max(whole) + 1
        width = max(width, sum(widths[:ends]) + GAP * ends)
    drawn = [_line(line, widths, right, width) for line in lines]
    if bold:
        drawn[0] = f"{BOLD}{drawn[0]}{PLAIN}"
    return "\n".join(drawn)


def _narrow(widths: list[int], fixed: Collection[int], width: int) -> None:
    """Take from the widest columns that are not `fixed` what is too much."""
    excess = sum(widths) + GAP * (len(widths) - 1) - width
    while excess > 0:
        left = [at for at in range(len(widths)) if at not in fixed and widths[at] > LEAST]
        if not left:
            return
        widest = max(left, key=lambda at: widths[at])
        widths[widest] -= 1
        excess -= 1


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[int], width: int) -> str:
    drawn = []
    for at, cell in enumerate(cells):
        short = cut(cell, widths[at])
        blanks = " " * (widths[at] - width_of(short))
        drawn.append(f"{blanks}{short}" if at in right else f"{short}{blanks}")
    return cut((" " * GAP).join(drawn).rstrip(), width)


def age(seconds: float) -> str:
    """A span of time for people: `850 ms`, `12.3 s`, `5 min 3 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 0:
        return f"-{age(-seconds)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, smaller, smaller_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{seconds:.1f} s"


def bytes_of(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
