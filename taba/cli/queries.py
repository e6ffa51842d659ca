"""Commands that list what there is, and tell how the servers do: `names`, `clients`, `types`, `ids`, `status`,
`servers`, `latency`.
"""

from __future__ import annotations

import click

from taba.cli import layout
from taba.cli.names import client_option, complete_clients, names_argument, parameters, re_option
from taba.cli.options import common_options
from taba.cli.session import NOTHING_FOUND, AskFailed, Session


@click.command()
@names_argument(required=False)
@re_option
@client_option
@common_options
@click.pass_obj
def names(session: Session, names: tuple[str, ...], as_re: bool, client: str | None) -> None:
    """List the names of tabs."""
    _list(session, "/names", parameters("name", names, as_re, client))


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_clients)
@re_option
@common_options
@click.pass_obj
def clients(session: Session, names: tuple[str, ...], as_re: bool) -> None:
    """List the clients. NAME is the name of a client here."""
    _list(session, "/clients", parameters("client", names, as_re))


@click.command()
@names_argument(required=False)
@re_option
@common_options
@click.pass_obj
def types(session: Session, names: tuple[str, ...], as_re: bool) -> None:
    """List tabs with their Types."""
    _list(session, "/types", parameters("name", names, as_re), ("TAB", "TYPE"))


def _list(session: Session, path: str, asked: dict[str, str], head: tuple[str, ...] = ()) -> None:
    """Show a listing; on a terminal lines `A: B` stand in columns where a `head` names these."""
    text = session.ask(path, asked)
    found = bool(text.strip())
    if session.as_json:
        session.put_json(text)
        found = layout.compact(text) not in ("", "{}", "[]")
    elif found and head and session.on_terminal:
        session.put_table(head, [line.rsplit(": ", 1) for line in text.strip("\n").split("\n")])
    elif found:
        session.put(text.rstrip("\n"))
    if not found:
        session.fail(NOTHING_FOUND, "nothing was found.")


@click.command()
@common_options
@click.pass_obj
def ids(session: Session) -> None:
    """List the numbers that stand for tabs and clients."""
    if session.as_json or not session.on_terminal:
        session.put_answer(session.ask("/ids", {}))
        return
    try:
        facts = session.facts("/ids", {}, has=("names", "clients"))
    except AskFailed as failed:
        session.fail(failed.code, str(failed))
    rows = [
        [kind, name, str(number)]
        for kind, numbers in (("tab", facts["names"]), ("client", facts["clients"]))
        for name, number in sorted(numbers.items())
    ]
    session.put_table(("WHAT", "NAME", "ID"), rows, right=(2,))


@click.command()
@common_options
@click.pass_obj
def status(session: Session) -> None:
    """Show how the servers do.

    What waits, the ledger, the durability in force, the shards.
    """
    session.put_answer(session.ask("/status", {}))


@click.command()
@common_options
@click.pass_obj
def servers(session: Session) -> None:
    """List the servers with their roles."""
    if session.as_json or not session.on_terminal:
        session.put_answer(session.ask("/servers", {}))
        return
    try:
        facts = session.facts("/servers", {})
    except AskFailed as failed:
        session.fail(failed.code, str(failed))
    session.put_table(("SERVER", "ROLES"), [[name, ", ".join(roles)] for name, roles in sorted(facts.items())])


@click.command()
@common_options
@click.pass_obj
def latency(session: Session) -> None:
    """Show how long events take until they are seen, in seconds."""
    session.put_answer(session.ask("/latency", {}))
