"""Names as arguments: what they become in a question, and how a shell completes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from taba.cli.server import Question, Unreachable, base_url, url_of
from taba.cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])

COMPLETION_SECONDS = 1.0
"""A shell does not wait longer for names."""
COMPLETION_NAMES = 200


def parameters(kind: str, names: tuple[str, ...], as_re: bool, client: str | None = None) -> dict[str, str]:
    """The parameters of a question about `names`, which are of the given kind (`name` or `client`)."""
    if as_re and len(names) != 1:
        raise click.UsageError("--re takes exactly one NAME, which is the regular expression.")
    asked = {kind: ",".join(names)} if names else {}
    if client is not None:
        asked["client"] = f"{re.escape(client)}$" if as_re else client
    if as_re:
        asked["re"] = "1"
    return asked


def split(names: tuple[str, ...], as_re: bool) -> tuple[str, ...]:
    """Names, of which some may stand in one word with commas between, as in a URL."""
    return names if as_re else tuple(each for name in names for each in name.split(",") if each)


def complete_tabs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The tabs that begin so, as the server has them; none when it does not answer at once. Where several are taken,
    the last of a list with commas is completed.
    """
    return _complete(context, parameter, "/names", "name", incomplete)


def complete_clients(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The clients that begin so, likewise."""
    return _complete(context, parameter, "/clients", "client", incomplete)


def _complete(
    context: click.Context, parameter: click.Parameter, path: str, kind: str, incomplete: str
) -> list[CompletionItem]:
    session = context.find_object(Session) or Session()
    takes_lists = parameter.nargs == -1 and not context.params.get("as_re")
    before, comma, incomplete = incomplete.rpartition(",") if takes_lists else ("", "", incomplete)
    asked = {kind: f"{re.escape(incomplete)}.*", "re": "1"}
    url = url_of(base_url(session.server), path, asked)
    try:
        reply = session.send(Question(url, "application/json", COMPLETION_SECONDS, session.token, session.ca_file))
        names = json.loads(reply.text) if reply.status == 200 else []
    except (Unreachable, ValueError, click.UsageError):
        return []
    found = [str(name) for name in names[:COMPLETION_NAMES] if str(name).startswith(incomplete)]
    return [CompletionItem(f"{before}{comma}{name}") for name in found]


def names_argument(required: bool = True) -> Callable[[F], F]:
    """NAME..., tabs that the shell completes."""
    metavar = "NAME..." if required else "[NAME]..."
    return click.argument("names", metavar=metavar, nargs=-1, required=required, shell_complete=complete_tabs)


re_option = click.option("--re", "as_re", is_flag=True, help="NAME is a regular expression, matched at the start.")
client_option = click.option(
    "--client", metavar="CLIENT", help="Only what this client recorded.", shell_complete=complete_clients
)
