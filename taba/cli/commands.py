"""The commands of `taba-cli`, for people and for scripts.

Exit codes: 0 something was found, 1 nothing was, 2 wrong usage, 3 no server was reached, 4 the server answered with an
error, 141 who reads the output went away. What was asked for goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, TypeVar

import click

from taba import __version__
from taba.cli import layout
from taba.cli.server import DEFAULT_SERVER, Fetch, Question, Unreachable, base_url, fetch, url_of
from taba.client.token import TokenError, read_tokens

NOTHING_FOUND = 1
UNREACHABLE = 3
SERVER_ERROR = 4
BROKEN_PIPE = 141  # as a shell reports a program that SIGPIPE ended

F = TypeVar("F", bound=Callable[..., Any])


class Session:
    """What the options of one call add up to."""

    def __init__(self, fetch: Fetch = fetch) -> None:
        self._fetch = fetch
        self.server = DEFAULT_SERVER
        self.as_json = False
        self.timeout = 10.0
        self.token: str | None = None
        self.ca_file: str | None = None

    def ask(self, path: str, parameters: dict[str, str], method: str = "GET") -> str:
        """The server's answer, as text or as JSON; exits where there is none."""
        base = base_url(self.server)
        accept = "application/json" if self.as_json else "text/plain"
        try:
            reply = self._fetch(
                Question(url_of(base, path, parameters), accept, self.timeout, self.token, self.ca_file, method)
            )
        except ValueError as problem:
            raise click.UsageError(str(problem)) from None
        except Unreachable as problem:
            advice = "Start one with `twistd -n taba-server`, or say where it is with --server or TABA_SERVER."
            self.fail(UNREACHABLE, f"no Taba server answers at {base} ({problem}). {advice}")
        if reply.status != 200:
            reason = " ".join(reply.text.split()) or "it gives no reason"
            self.fail(SERVER_ERROR, f"{base}{path} answers {reply.status}: {reason:.500}")
        return reply.text

    def fail(self, code: int, text: str) -> NoReturn:
        """Say what is wrong and exit."""
        self.note(text)
        raise click.exceptions.Exit(code)

    def note(self, text: str) -> None:
        """Say something beside the output."""
        click.echo(f"taba-cli: {layout.visible(text)}", err=True)

    def put(self, text: str) -> None:
        """Write the output, and be quiet if nobody reads it."""
        try:
            click.echo(layout.visible(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
            raise click.exceptions.Exit(BROKEN_PIPE) from None

    def put_json(self, text: str) -> None:
        """Write JSON: for people on a terminal, else without white space."""
        self.put(layout.pretty(text) if sys.stdout.isatty() else layout.compact(text))


def _set_server(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        try:
            base_url(value)
        except ValueError as problem:
            raise click.BadParameter(str(problem)) from None
        context.ensure_object(Session).server = value


def _set_json(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Session).as_json = True


def _set_timeout(context: click.Context, parameter: click.Parameter, value: float | None) -> None:
    if value is not None:
        context.ensure_object(Session).timeout = value


def _set_token_file(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        try:
            context.ensure_object(Session).token = read_tokens(value)[0]
        except TokenError as problem:
            raise click.BadParameter(str(problem)) from None


def _set_ca_file(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        context.ensure_object(Session).ca_file = value


def common_options(command: F, *, with_environment: bool = False) -> F:
    """--server, --token-file, --ca-file, --json and --timeout, which may stand before the command and after it.

    Only those before it look at the environment, for after it this would win over what the user wrote before.
    """

    def variable(name: str) -> str | None:
        return name if with_environment else None

    for option in (
        click.option(
            "--timeout", type=click.FloatRange(0, min_open=True), callback=_set_timeout, expose_value=False,
            metavar="SECONDS", help="How long to wait for an answer.  [default: 10]",
        ),
        click.option(
            "--json", is_flag=True, callback=_set_json, expose_value=False,
            help="Print the server's JSON: indented on a terminal, compact in a pipe.",
        ),
        click.option(
            "--ca-file", metavar="FILE", envvar=variable("TABA_CA_FILE"), callback=_set_ca_file, expose_value=False,
            help="PEM file of the authorities to trust with an https server.  [env: TABA_CA_FILE]",
        ),
        click.option(
            "--token-file", metavar="FILE", envvar=variable("TABA_TOKEN_FILE"), callback=_set_token_file,
            expose_value=False, help="File of the token that the server asks for.  [env: TABA_TOKEN_FILE]",
        ),
        click.option(
            "--server", metavar="URL", envvar=variable("TABA_SERVER"), callback=_set_server, expose_value=False,
            help=f"The server to ask.  [env: TABA_SERVER; default: {DEFAULT_SERVER}]",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


_re_option = click.option("--re", "as_re", is_flag=True, help="NAME is a regular expression, matched at the start.")
_client_option = click.option("--client", metavar="CLIENT", help="Only what this client recorded.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="taba-cli")
@partial(common_options, with_environment=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Ask a Taba server what its clients recorded.

    Exits with 0 if something was found, 1 if nothing was, 3 if no server was reached, 4 if it answered with an error.
    """
    context.ensure_object(Session)


@main.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_re_option
@_client_option
@common_options
@click.pass_obj
def agg(session: Session, names: tuple[str, ...], as_re: bool, client: str | None) -> None:
    """Show tabs, each over all its clients."""
    _show_states(session, "/tabs", names, as_re, client)


@main.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_re_option
@_client_option
@common_options
@click.pass_obj
def proj(session: Session, names: tuple[str, ...], as_re: bool, client: str | None) -> None:
    """Show tabs, for each client apart."""
    _show_states(session, "/projection", names, as_re, client)


@main.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_re_option
@_client_option
@common_options
@click.pass_obj
def names(session: Session, names: tuple[str, ...], as_re: bool, client: str | None) -> None:
    """List the names of tabs."""
    _list(session, "/names", _parameters("name", names, as_re, client))


@main.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_re_option
@common_options
@click.pass_obj
def clients(session: Session, names: tuple[str, ...], as_re: bool) -> None:
    """List the clients. NAME is the name of a client here."""
    _list(session, "/clients", _parameters("client", names, as_re, None))


@main.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_re_option
@common_options
@click.pass_obj
def types(session: Session, names: tuple[str, ...], as_re: bool) -> None:
    """List tabs with their Types."""
    _list(session, "/types", _parameters("name", names, as_re, None))


@main.command()
@common_options
@click.pass_obj
def status(session: Session) -> None:
    """Show how the servers do."""
    text = session.ask("/status", {})
    if session.as_json:
        session.put_json(text)
    else:
        session.put(text.rstrip("\n"))


@main.command("accept-loss")
@click.argument("shard", metavar="SHARD")
@click.option("--yes", is_flag=True, help="Do not ask back.")
@common_options
@click.pass_obj
def accept_loss(session: Session, shard: str, yes: bool) -> None:
    """Use a shard again that has lost its data, without that data.

    Only for a shard that /status says has lost data which cannot be brought back: its part of all tabs begins at zero.
    What agents still hold is sent again; the rest stands in the ledger as lost.
    """
    if not yes:
        asked = f"What shard {shard} had is given up for good if you go on. Is there no copy to bring back?"
        if not click.confirm(f"{asked} Go on", err=True):
            session.fail(NOTHING_FOUND, "nothing was changed.")
    text = session.ask("/accept_loss", {"shard": shard}, "POST")
    if session.as_json:
        session.put_json(text)
    else:
        session.put(text.rstrip("\n"))


def _parameters(kind: str, names: tuple[str, ...], as_re: bool, client: str | None) -> dict[str, str]:
    """The parameters of a query for `names`, which are of the given kind (`name` or `client`)."""
    if as_re and len(names) != 1:
        raise click.UsageError("--re takes exactly one NAME, which is the regular expression.")
    parameters = {kind: ",".join(names)} if names else {}
    if client is not None:
        parameters["client"] = f"{re.escape(client)}$" if as_re else client
    if as_re:
        parameters["re"] = "1"
    return parameters


def _list(session: Session, path: str, parameters: dict[str, str]) -> None:
    text = session.ask(path, parameters)
    if session.as_json:
        session.put_json(text)
        found = layout.compact(text) not in ("", "{}", "[]")
    else:
        found = bool(text.strip())
        if found:
            session.put(text.rstrip("\n"))
    if not found:
        session.fail(NOTHING_FOUND, "nothing was found.")


def _show_states(session: Session, path: str, names: tuple[str, ...], as_re: bool, client: str | None) -> None:
    if not as_re:
        names = tuple(each for name in names for each in name.split(",") if each)
    text = session.ask(path, _parameters("name", names, as_re, client))
    if session.as_json:
        session.put_json(text)
        found = _names_in_json(text, path)
    else:
        lines = text.rstrip("\n").split("\n") if text.strip() else []
        if lines:
            session.put("\n".join(map(layout.expand, lines)))
        found = {layout.name_of(line) for line in lines}
    whose = "" if client is None else f" of client {client!r}"
    if not found:
        asked = f"matches {names[0]!r}" if as_re else f"is called {' or '.join(map(repr, names))}"
        session.fail(NOTHING_FOUND, f"no tab{whose} {asked}.")
    if not as_re:
        for name in [name for name in names if name not in found]:
            session.note(f"no tab{whose} is called {name!r}.")


def _names_in_json(text: str, path: str) -> set[str]:
    """The tabs that an answer in JSON is about; /projection has the clients first."""
    try:
        answer = json.loads(text)
        return set(answer) if path == "/tabs" else {name for tabs in answer.values() for name in tabs}
    except (ValueError, AttributeError, TypeError):
        return {""}  # the server's JSON is its own affair, and something it is
