"""The options that commands have in common; each sets what it says in the Session of the call.

They may stand before the command and after it, and after it wins.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click

from taba.cli.server import DEFAULT_AGENT, DEFAULT_SERVER, base_url
from taba.cli.session import Session
from taba.client.token import TokenError, read_tokens

F = TypeVar("F", bound=Callable[..., Any])


def _base_or_usage(value: str) -> str:
    try:
        base_url(value)
    except ValueError as problem:
        raise click.BadParameter(str(problem)) from None
    return value


def _set_server(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Session).server = _base_or_usage(value)


def _set_agents(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
    if value:
        context.ensure_object(Session).agents = [
            _base_or_usage(each) for some in value for each in some.split(",") if each
        ]


def _set_json(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Session).as_json = True


def _set_no_color(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Session).no_color = True


def _set_timeout(context: click.Context, parameter: click.Parameter, value: float | None) -> None:
    if value is not None:
        session = context.ensure_object(Session)
        session.timeout, session.timeout_given = value, True


def _set_token_file(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        try:
            context.ensure_object(Session).token = read_tokens(value)[0]
        except TokenError as problem:
            raise click.BadParameter(str(problem)) from None


def _set_ca_file(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        context.ensure_object(Session).ca_file = value


def _variable(name: str, with_environment: bool) -> str | None:
    return name if with_environment else None


def agent_option(command: F, *, with_environment: bool = False) -> F:
    """--agent, for commands that talk to agents."""
    return click.option(
        "--agent", metavar="URL", multiple=True, envvar=_variable("TABA_AGENT", with_environment), callback=_set_agents,
        expose_value=False, help=f"The agent to talk to.  [env: TABA_AGENT; default: {DEFAULT_AGENT}]",
    )(command)  # fmt: skip


def common_options(command: F, *, with_environment: bool = False) -> F:
    """--server, --token-file, --ca-file, --json, --no-color and --timeout, which may stand before the command and after
    it.

    Only those before it look at the environment, for after it this would win over what the user wrote before.
    """
    variable = partial(_variable, with_environment=with_environment)
    for option in (
        click.option(
            "--no-color", is_flag=True, callback=_set_no_color, expose_value=False,
            help="No colors on a terminal.  [env: NO_COLOR]",
        ),
        click.option(
            "--timeout", type=click.FloatRange(0, min_open=True), callback=_set_timeout, expose_value=False,
            metavar="SECONDS", help="How long to wait for an answer.  [default: 10]",
        ),
        click.option(
            "--json", is_flag=True, callback=_set_json, expose_value=False,
            help="Print JSON: indented on a terminal, compact in a pipe.",
        ),
        click.option(
            "--ca-file", metavar="FILE", type=click.Path(), envvar=variable("TABA_CA_FILE"), callback=_set_ca_file,
            expose_value=False, help="PEM file of the authorities to trust with https.  [env: TABA_CA_FILE]",
        ),
        click.option(
            "--token-file", metavar="FILE", type=click.Path(), envvar=variable("TABA_TOKEN_FILE"),
            callback=_set_token_file, expose_value=False,
            help="File of the token that is asked for.  [env: TABA_TOKEN_FILE]",
        ),
        click.option(
            "--server", metavar="URL", envvar=variable("TABA_SERVER"), callback=_set_server, expose_value=False,
            help=f"The server to ask.  [env: TABA_SERVER; default: {DEFAULT_SERVER}]",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def local_options(command: F) -> F:
    """--json and --no-color, for commands that ask nobody."""
    for option in (
        click.option("--no-color", is_flag=True, callback=_set_no_color, expose_value=False,
                     help="No colors on a terminal.  [env: NO_COLOR]"),
        click.option("--json", is_flag=True, callback=_set_json, expose_value=False,
                     help="Print JSON: indented on a terminal, compact in a pipe."),
    ):  # fmt: skip
        command = option(command)
    return command


yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask back.")
