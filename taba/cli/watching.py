"""Watching tabs: `watch`, which refreshes a table in place on a terminal, and writes lines where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import click

from taba.cli import layout, tables
from taba.cli.names import client_option, names_argument, parameters, re_option, split
from taba.cli.options import common_options
from taba.cli.session import NOTHING_FOUND, AskFailed, Session
from taba.cli.windows import VALUE, windows_of

SHORT = {"count": "n", "total": "total", "average": "avg"}
"""Columns of a window, short; a window has count and average, or count and unique, and of percentiles p50 and p99."""
SHOWN = ("count", "average", "unique", "p50", "p99")
CLEAR_BELOW = "\x1b[J"
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


def row_of(state: str) -> dict[str, str]:
    """A State in one row: `1m n`, `1m avg`, ... `p50`; or its value."""
    cells: dict[str, str] = {}
    for name, columns in windows_of(state).rows:
        for column in SHOWN:
            if column in columns:
                short = SHORT.get(column, column)
                cells[short if name in ("", "all", "pct") else f"{name} {short}"] = columns[column]
        if VALUE in columns:
            cells[VALUE] = columns[VALUE]
    return cells


class Picture:
    """What a watch shows, which it draws over what it drew before."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lines = 0
        self._before: dict[str, dict[str, str]] = {}

    def draw(self, states: dict[str, str], title: str, problem: str) -> None:
        """Show States by tab, on a terminal in place of the former ones, else each as a line with the time."""
        rows = {layout.visible(tab): row_of(layout.visible(state)) for tab, state in states.items()}
        if not self._session.on_terminal:
            for tab, cells in rows.items():
                said = " ".join(f"{name.replace(' ', '.')}={text}" for name, text in cells.items())
                self._session.put(f"{title} {tab} {said}")
            if problem:
                self._session.note(problem)
            return
        lines = [layout.visible(title), *self._table(rows)]
        lines += [layout.visible(problem)] if problem else []
        back = f"\x1b[{self._lines}F" if self._lines else ""
        self._session.put_raw(back + CLEAR_BELOW + "\n".join(lines))
        self._lines = len(lines)
        self._before = rows

    def _table(self, rows: dict[str, dict[str, str]]) -> list[str]:
        if not rows:
            return []
        width = self._session.width
        columns = self._columns(rows, width)
        drawn = [[tab, *(cells.get(column, "") for column in columns)] for tab, cells in rows.items()]
        right = [at for at, column in enumerate(columns, 1) if column != VALUE]
        lines = tables.table(["TAB", *columns], drawn, right, width).split("\n")
        if not self._session.color:
            return lines
        changed = [self._before.get(tab, cells) != cells for tab, cells in rows.items()]
        return [f"{BOLD}{lines[0]}{PLAIN}"] + [
            f"{BOLD}{line}{PLAIN}" if new else line for line, new in zip(lines[1:], changed, strict=True)
        ]

    @staticmethod
    def _columns(rows: dict[str, dict[str, str]], width: int) -> list[str]:
        """The columns of all rows, window by window, without the last ones where there is no room for them."""
        columns = _in_order(dict.fromkeys(column for cells in rows.values() for column in cells))
        widths = {
            column: max(len(column), *(tables.width_of(cells.get(column, "")) for cells in rows.values()))
            for column in columns
        }
        widths[VALUE] = tables.LEAST
        left = width - min(30, max(tables.width_of(tab) for tab in rows))
        while columns and sum(widths[column] + tables.GAP for column in columns) > left:
            gone = next((each for each in reversed(columns) if each != VALUE), VALUE)
            columns.remove(gone)
        return columns


def _in_order(columns: Iterable[str]) -> list[str]:
    """Columns with those of a window together, as they come; those of all time behind them, values last."""
    windows: dict[str, list[str]] = {}
    for column in columns:
        window, _, what = column.rpartition(" ")
        windows.setdefault(window if what != VALUE else VALUE, []).append(column)
    last = [windows.pop(window, []) for window in ("", VALUE)]
    return [column for group in (*windows.values(), *last) for column in group]


@click.command()
@names_argument()
@re_option
@client_option
@click.option("--interval", "-n", metavar="SECONDS", type=click.FloatRange(0.1), default=2.0, show_default=True,
              help="Between two looks.")  # fmt: skip
@click.option("--count", "-c", metavar="N", type=click.IntRange(1), help="End after so many looks.")
@common_options
@click.pass_obj
def watch(
    session: Session, names: tuple[str, ...], as_re: bool, client: str | None, interval: float, count: int | None
) -> None:
    """Show tabs again and again, in place, until Ctrl-C.

    Where the output is no terminal, each look is a line for each tab, with the time. With --json each is one line of
    JSON.
    """
    asked = parameters("name", split(names, as_re), as_re, client)
    picture = Picture(session)
    try:
        found = _watch(session, picture, asked, interval, count)
    except KeyboardInterrupt:
        return
    if not found:
        session.fail(NOTHING_FOUND, "no such tab was seen.")


def _watch(
    session: Session, picture: Picture, asked: dict[str, str], interval: float, count: int | None
) -> bool:
    """Look until it is enough; whether anything was seen."""
    looks, seen, states = 0, False, dict[str, str]()
    while True:
        problem = ""
        try:
            if session.as_json:
                states = {"": session.try_ask("/tabs", asked)}
                session.put(layout.compact(states[""]))
                states = {} if layout.compact(states[""]) == "{}" else states
            else:
                states = _states(session.try_ask("/tabs", asked, accept="text/plain").rstrip("\n").split("\n"))
        except AskFailed as failed:
            if not looks:
                session.fail(failed.code, str(failed))
            problem = f"{failed} Trying again."
        looks += 1
        seen = seen or bool(states)
        if not session.as_json:
            now = datetime.fromtimestamp(session.wall()).astimezone().isoformat("T", "seconds")
            every = f"  every {interval:g} s, Ctrl-C ends" if session.on_terminal else ""
            picture.draw(states, f"{now}{every}", problem or ("" if states else "There is no such tab yet."))
        elif problem:
            session.note(problem)
        if looks == count:
            return seen
        session.sleep(interval)


def _states(lines: Sequence[str]) -> dict[str, str]:
    return dict(layout.head_and_state(line) for line in lines if line)
