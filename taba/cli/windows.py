"""States as rows of a table: a row for each window, in the columns that the windows have. Pure functions of text.

Knows the renderings by their shape, not by their Type, so that Types of other packages are shown as well: an object of
objects has windows, an object of numbers is one window, and whatever else there is is one value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from taba.cli import layout

PERCENTILES = ("p25", "p50", "p75", "p90", "p95", "p99", "p999")
"""What the seven numbers of a member `pct` are."""
VALUE = "VALUE"


@frozen
class Windows:
    """The windows of one State, in its order: name -> column -> text as the server wrote it."""

    rows: tuple[tuple[str, dict[str, str]], ...]

    @staticmethod
    def columns(several: Sequence[Windows]) -> list[str]:
        """The columns that several States need together, in the order in which they come."""
        return list(dict.fromkeys(column for each in several for _, cells in each.rows for column in cells))

    def cells(self, columns: Sequence[str]) -> list[list[str]]:
        """The rows: the window's name, then its text in each of `columns`."""
        return [[name, *(cells.get(column, "") for column in columns)] for name, cells in self.rows]


def windows_of(state: str) -> Windows:
    """The windows of a rendered State."""
    members = layout.members(state)
    if members and all(layout.members(member.value) for member in members):
        return Windows(tuple((_bare(member.key), _row(layout.members(member.value))) for member in members))
    if members and {"count", "total"} <= {_bare(member.key) for member in members}:
        return Windows((("all", _row(members)),))
    return Windows((("", {VALUE: state}),))


def _row(members: Sequence[layout.Member]) -> dict[str, str]:
    row: dict[str, str] = {}
    for member in members:
        values = layout.elements(member.value)
        if _bare(member.key) == "pct" and len(values) == len(PERCENTILES):
            row.update(zip(PERCENTILES, values, strict=True))
        else:
            row[_bare(member.key)] = member.value
    return row


def _bare(key: str) -> str:
    return key[1:-1]


def number_at(state: Any, path: str) -> float | None:
    """The number in a State, as JSON has it, that a path such as `1m.count`, `pct.p99` or `2.4` names; None when there
    is none. A member whose name holds dots is found as well; `p50` stands for that place of the list `pct`.
    """
    if isinstance(state, bool):
        return None
    if not path:
        return float(state) if isinstance(state, int | float) else None
    if isinstance(state, list):
        head, _, rest = path.partition(".")
        return number_at(state[int(head)], rest) if head.isdecimal() and int(head) < len(state) else None
    if not isinstance(state, dict):
        return None
    for key, value in state.items():
        if path == key or path.startswith(f"{key}."):
            found = number_at(value, path[len(key) + 1 :])
            if found is not None:
                return found
    if path in PERCENTILES:
        listed = state.get("pct")
        if isinstance(listed, list) and len(listed) == len(PERCENTILES):
            return number_at(listed, str(PERCENTILES.index(path)))
    return None


def numbers_in(state: Any, prefix: str = "") -> list[str]:
    """The paths of all numbers in a State, for people who ask for one that there is not."""
    if isinstance(state, dict):
        paths: list[str] = []
        for key, value in state.items():
            if key == "pct" and isinstance(value, list) and len(value) == len(PERCENTILES):
                paths += [f"{prefix}{each}" for each in PERCENTILES]
            else:
                paths += numbers_in(value, f"{prefix}{key}.")
        return paths
    if isinstance(state, int | float) and not isinstance(state, bool):
        return [prefix[:-1]]
    return []
