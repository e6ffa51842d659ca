"""Commands that show States: `agg`, `proj`, `supertabs`.

Numbers stay as the server wrote them, digit by digit, also in tables.
"""

from __future__ import annotations

import json

import click

from taba.cli import layout, tables
from taba.cli.names import client_option, names_argument, parameters, re_option, split
from taba.cli.options import common_options
from taba.cli.session import NOTHING_FOUND, Session
from taba.cli.windows import VALUE, Windows, windows_of

table_option = click.option("--table", "-t", "as_table", is_flag=True, help="A row for each window, in columns.")


@click.command()
@names_argument()
@re_option
@client_option
@table_option
@common_options
@click.pass_obj
def agg(session: Session, names: tuple[str, ...], as_re: bool, client: str | None, as_table: bool) -> None:
    """Show tabs, each over all its clients."""
    _show_states(session, "/tabs", names, as_re, client, as_table)


@click.command()
@names_argument()
@re_option
@client_option
@table_option
@common_options
@click.pass_obj
def proj(session: Session, names: tuple[str, ...], as_re: bool, client: str | None, as_table: bool) -> None:
    """Show tabs, for each client apart."""
    _show_states(session, "/projection", names, as_re, client, as_table)


@click.command()
@names_argument()
@re_option
@client_option
@table_option
@common_options
@click.pass_obj
def supertabs(session: Session, names: tuple[str, ...], as_re: bool, client: str | None, as_table: bool) -> None:
    """Show tabs of one Type, reduced to one."""
    asked = split(names, as_re)
    text = session.ask("/supertabs", parameters("name", asked, as_re, client))
    if session.as_json and text.strip():
        session.put_json(text)
    elif text.strip():
        _put_lines(session, [text.rstrip("\n")], as_table, nameless=True)
    else:
        session.fail(NOTHING_FOUND, _nothing(asked, as_re, client))


def _show_states(
    session: Session, path: str, names: tuple[str, ...], as_re: bool, client: str | None, as_table: bool
) -> None:
    names = split(names, as_re)
    text = session.ask(path, parameters("name", names, as_re, client))
    if session.as_json:
        session.put_json(text)
        found = _names_in_json(text, path)
    else:
        lines = text.rstrip("\n").split("\n") if text.strip() else []
        _put_lines(session, lines, as_table)
        found = {layout.name_of(line) for line in lines}
    if not found:
        session.fail(NOTHING_FOUND, _nothing(names, as_re, client))
    if not as_re:
        whose = _whose(client)
        for name in [name for name in names if name not in found]:
            session.note(f"no tab{whose} is called {name!r}.")


def _whose(client: str | None) -> str:
    return "" if client is None else f" of client {client!r}"


def _nothing(names: tuple[str, ...], as_re: bool, client: str | None) -> str:
    asked = f"matches {names[0]!r}" if as_re else f"is called {' or '.join(map(repr, names))}"
    return f"no tab{_whose(client)} {asked}."


def _put_lines(session: Session, lines: list[str], as_table: bool, nameless: bool = False) -> None:
    """Lines `HEAD: STATE`, or States alone, laid out."""
    if not lines:
        return
    if not as_table:
        session.put("\n".join(layout.expand_state(line) if nameless else layout.expand(line) for line in lines))
        return
    rows = [(("", line) if nameless else layout.head_and_state(line)) for line in lines]
    heads = [head for head, _ in rows]
    found = [windows_of(state) for _, state in rows]
    columns = Windows.columns(found)
    drawn = [[head, *cells] for head, windows in zip(heads, found, strict=True) for cells in windows.cells(columns)]
    head = ["TAB", "WINDOW", *columns]
    if session.on_terminal:
        head, drawn = _without_the_last(session, head, drawn)
    session.put_table(head, drawn, [at for at in range(2, len(head)) if head[at] != VALUE], whole=(0, 1))


def _without_the_last(session: Session, head: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without the last columns of numbers, as far as the terminal has no room for them, which is said."""
    shown = [[layout.visible(cell) for cell in row] for row in [head, *rows]]
    widths = [max(tables.width_of(row[at]) for row in shown) for at in range(len(head))]
    kept = list(range(len(head)))
    if head[-1] == VALUE:
        widths[-1] = tables.LEAST
    while sum(widths[at] + tables.GAP for at in kept) - tables.GAP > session.width:
        gone = next((at for at in reversed(kept) if at > 1 and head[at] != VALUE), None)
        if gone is None:
            break
        kept.remove(gone)
    if left_out := [name for at, name in enumerate(head) if at not in kept]:
        session.note(f"there is no room for {', '.join(left_out)}: take a wider terminal, or a pipe.")
    return [head[at] for at in kept], [[row[at] for at in kept] for row in rows]


def _names_in_json(text: str, path: str) -> set[str]:
    """The tabs that an answer in JSON is about; /projection has the clients first."""
    try:
        answer = json.loads(text)
        return set(answer) if path == "/tabs" else {name for tabs in answer.values() for name in tabs}
    except (ValueError, AttributeError, TypeError):
        return {""}  # the server's JSON is its own affair, and something it is
