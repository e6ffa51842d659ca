"""`check`: one value against limits, as a plugin of Nagios, Icinga and their like.

One line on stdout, `TABA STATUS - text | performance data`, and an exit code: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
Whatever goes wrong, wrong usage too, is UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from attrs import frozen

from taba.cli import layout
from taba.cli.names import client_option, complete_tabs
from taba.cli.options import common_options
from taba.cli.session import AskFailed, Session
from taba.cli.windows import number_at, numbers_in

F = TypeVar("F", bound=Callable[..., Any])

OK, WARNING, CRITICAL, UNKNOWN = range(4)
STATUS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


@frozen
class Limits:
    """The least and the most that a value may be, both included; None for no limit."""

    least: float | None
    most: float | None

    def hold(self, value: float) -> bool:
        """Whether a value is within."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def as_range(self) -> str:
        """As performance data has it: `min:max`, with ~ for no least; empty without limits."""
        if self.least is None and self.most is None:
            return ""
        least = "~" if self.least is None else short(self.least)
        return f"{least}:" + ("" if self.most is None else short(self.most))

    def sentence(self) -> str:
        """For people."""
        both = (("at least", self.least), ("at most", self.most))
        return " and ".join(f"{word} {short(limit)}" for word, limit in both if limit is not None)


def short(number: float) -> str:
    """A number with the digits that it needs; whole numbers without a point."""
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)


def judge(value: float, warning: Limits, critical: Limits) -> int:
    """The status of a value."""
    if not critical.hold(value):
        return CRITICAL
    return OK if warning.hold(value) else WARNING


def line_of(label: str, value: float, warning: Limits, critical: Limits) -> str:
    """The line of output for a value."""
    status = judge(value, warning, critical)
    wrong = {WARNING: warning, CRITICAL: critical}.get(status)
    text = f"{label} is {short(value)}" + (f", should be {wrong.sentence()}" if wrong is not None else "")
    quoted = label.replace("'", "").replace("=", "_")
    data = f"'{quoted}'={short(value)};{warning.as_range()};{critical.as_range()}"
    return f"TABA {STATUS[status]} - {text} | {data.rstrip(';')}"


class Plugin(click.Command):
    """A command whose every failure is UNKNOWN, wrong usage too."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> click.Context:
        """See click."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as wrong:
            raise _unknown(wrong.format_message()) from None

    def invoke(self, ctx: click.Context) -> Any:
        """See click."""
        try:
            return super().invoke(ctx)
        except click.UsageError as wrong:
            raise _unknown(wrong.format_message()) from None


def _unknown(text: str) -> click.exceptions.Exit:
    """Say why nothing is known, on the line that monitoring reads."""
    click.echo(f"TABA UNKNOWN - {layout.visible(' '.join(text.split())).replace('|', '/')}")
    return click.exceptions.Exit(UNKNOWN)


def _limit(*names: str, what: str) -> Callable[[F], F]:
    return click.option(*names, type=float, metavar="NUMBER", help=what)


@click.command(cls=Plugin)
@click.argument("name", metavar="NAME", shell_complete=complete_tabs)
@click.argument("field", metavar="FIELD")
@_limit("--min", "least", what="CRITICAL below.")
@_limit("--max", "most", what="CRITICAL above.")
@_limit("--warn-min", "warn_least", what="WARNING below.")
@_limit("--warn-max", "warn_most", what="WARNING above.")
@client_option
@common_options
@click.pass_obj
def check(
    session: Session,
    name: str,
    field: str,
    least: float | None,
    most: float | None,
    warn_least: float | None,
    warn_most: float | None,
    client: str | None,
) -> None:
    """Compare a value with limits, as a monitoring plugin.

    For Nagios, Icinga and their like. (`verify` checks what is stored.)

    FIELD is the way to a number in the tab's State: 1m.count, 1d.average, 10m.p99, pct.p50, count, or the value of a
    Gauge for the number of clients that have it.

    \b
    Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (no such tab, nobody answers, wrong usage)
      taba-cli check bids_won 1m.count --min 100 --warn-min 500
      taba-cli check response_ms 10m.p99 --max 250
    """
    label = f"{name} {field}" if client is None else f"{name} of {client} {field}"
    warning, critical = Limits(warn_least, warn_most), Limits(least, most)
    try:
        value = _value(session, name, field, client)
    except AskFailed as failed:
        raise _unknown(str(failed)) from None
    status = judge(value, warning, critical)
    if session.as_json:
        session.put_facts({"status": STATUS[status], "name": name, "field": field, "client": client, "value": value})
    else:
        session.put(line_of(label, value, warning, critical))
    raise click.exceptions.Exit(status)


def _value(session: Session, name: str, field: str, client: str | None) -> float:
    """The number that FIELD names. Raises AskFailed when there is none."""
    asked = {"name": name} if client is None else {"name": name, "client": client}
    states = session.facts("/tabs", asked)
    if name not in states:
        raise AskFailed(UNKNOWN, f"there is no tab {name}" + (f" of client {client}" if client else ""))
    value = number_at(states[name], field)
    if value is None:
        known = ", ".join(numbers_in(states[name])) or "none"
        raise AskFailed(UNKNOWN, f"the tab {name} has no number {field}; it has {known}")
    return value
