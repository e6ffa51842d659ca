"""Recording from a shell: `record`, through an agent, which has the events on its disk before the command ends.

Nothing counts twice: the events are sent once, when the agent says that it takes some. They travel without a number:
each command would have to open an instance of its own for it, and an agent keeps those for days, so that a busy script
would take the room of all other clients' instances. Where no answer comes to what was sent, nobody knows, and the
command says so.
"""

from __future__ import annotations

import json
import math
import socket
import sys
from collections.abc import Sequence
from typing import Any

import click

from taba.cli.names import complete_tabs
from taba.cli.options import agent_option, common_options
from taba.cli.server import Question, Reply, Unreachable, base_url, url_of
from taba.cli.session import ANSWERED_ERROR, UNREACHABLE, Session, reason_of
from taba.client.names import is_valid_name

RETRY_SECONDS = 0.5
"""How long after nobody answered it is tried again."""
DAY = 86_400.0


def body_of(client: str, tab: str, type_name: str, time: float, payloads: Sequence[Any]) -> bytes:
    """A body of protocol 1 with one event for each payload, all of one time."""
    events = "".join(f"{json.dumps([type_name, round(time, 6), json.dumps(each)])}\n" for each in payloads)
    return f"1\n\n{client}\n\n{tab}\n{events}\n\n".encode()


class Recording:
    """One command's events on their way to an agent."""

    def __init__(self, session: Session, client: str) -> None:
        self._session = session
        self._client = client
        self._base = base_url(session.agent)
        self._until = session.seconds() + session.timeout

    def send(self, tab: str, type_name: str, time: float, payloads: Sequence[Any]) -> None:
        """Send events of one tab, wait for the durable answer, and say so; exits when it does not come."""
        session = self._session
        reply = self._post(body_of(self._client, tab, type_name, time, payloads), f"{tab} {self._client}")
        refused = int(reply.headers.get("taba-rejected", "0"))
        accepted = len(payloads) - refused
        if session.as_json:
            session.put_facts(
                {"tab": tab, "type": type_name, "client": self._client, "accepted": accepted, "rejected": refused}
            )
        elif accepted:
            events = f"{accepted} event{'' if accepted == 1 else 's'}"
            session.put(f"Recorded: {events} of {tab} ({type_name}), durable on the disk of {self._base}.")
        if refused:
            session.fail(ANSWERED_ERROR, f"{refused} of {len(payloads)} events were refused: {_reasons(reply)}.")

    def _post(self, body: bytes, where: str) -> Reply:
        """The answer 200. Sent once, when the agent says that it takes events; exits when it does not come."""
        session = self._session
        unknown = f"Whether the events were taken is not known: look with `taba-cli where {where}`."
        while True:
            self._wait_until_ready()
            try:
                reply = session.send(self._question("/post", "POST", body))
            except Unreachable as problem:
                if problem.may_have_arrived:
                    session.fail(UNREACHABLE, f"{self._base} did not answer ({problem}). {unknown}")
                if self._until <= session.seconds():
                    session.fail(UNREACHABLE, f"{session.nobody(self._base, problem, True)} Nothing was recorded.")
                session.sleep(RETRY_SECONDS)
                continue
            if reply.status == 200:
                return reply
            outcome = "Nothing was recorded." if 400 <= reply.status < 500 else unknown
            session.fail(ANSWERED_ERROR, f"{self._base}/post answers {reply.status}: {reason_of(reply)} {outcome}")

    def _wait_until_ready(self) -> None:
        """Return when the agent takes events; exits when it does not until the time limit, or says that it will not."""
        session = self._session
        while True:
            try:
                reply = session.send(self._question("/readyz", "GET"))
            except Unreachable as problem:
                code, said = UNREACHABLE, session.nobody(self._base, problem, True)
            else:
                if reply.status == 200:
                    return
                code, said = ANSWERED_ERROR, f"{self._base} answers {reply.status}: {reason_of(reply)}"
                if reply.status != 503:
                    session.fail(code, f"{said} Nothing was recorded.")
            if self._until - session.seconds() <= RETRY_SECONDS:
                session.fail(code, f"{said} Nothing was recorded.")
            session.sleep(RETRY_SECONDS)

    def _question(self, path: str, method: str, body: bytes | None = None) -> Question:
        session = self._session
        headers = {} if body is None else {"Content-Type": "text/plain; charset=utf-8"}
        timeout = max(0.1, self._until - session.seconds())
        url = url_of(self._base, path, {})
        return Question(url, "application/json", timeout, session.token, session.ca_file, method, body, headers)


def _reasons(reply: Reply) -> str:
    """Why events were refused, each reason once."""
    try:
        return ", ".join(dict.fromkeys(str(each["reason"]) for each in json.loads(reply.text)["errors"]))
    except (ValueError, KeyError, TypeError):
        return "the agent gives no reason"


# ------------------------------------------------------------------------------------------------------------ commands


class Numbers(click.Command):
    """A command whose arguments may be negative numbers."""

    def __init__(self, *args: Any, **more: Any) -> None:
        more["context_settings"] = {**(more.get("context_settings") or {}), "ignore_unknown_options": True}
        super().__init__(*args, **more)


def _own_client() -> str:
    """The client that events of a shell are recorded as, unless it is said otherwise."""
    return f"taba-cli.{socket.gethostname().split('.')[0] or 'localhost'}"


def _valid(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_valid_name(value):
        raise click.BadParameter(f"{value!r} must be 1 to 512 characters of A-Za-z0-9._~:/?@!$()*+;=-")
    return value


def _options(command: Any) -> Any:
    """What all kinds of events have: the client, the time, the agent."""
    for option in (
        agent_option,
        common_options,
        click.option("--at", metavar="TIME", type=float, help="When it happened, seconds since 1970.  [default: now]"),
        click.option(
            "--client", metavar="CLIENT", envvar="TABA_CLIENT", callback=_valid,
            help="The client that records.  [env: TABA_CLIENT; default: taba-cli.HOST]",
        ),
    ):  # fmt: skip
        command = option(command)
    return click.argument("name", metavar="NAME", callback=_valid, shell_complete=complete_tabs)(command)


def _record(
    session: Session, client: str | None, name: str, type_name: str, at: float | None, payloads: Sequence[Any]
) -> None:
    time = session.wall() if at is None else at
    Recording(session, client or _own_client()).send(name, type_name, time, payloads)


def _numbers(values: tuple[str, ...]) -> list[int | float]:
    """Values as numbers; `-` stands for the lines of standard input. Integers stay integers, of any size."""
    words = [word for value in values for word in (sys.stdin.read().split() if value == "-" else [value])]
    if not words:
        raise click.UsageError("There is no value to record.")
    return [_number(word) for word in words]


def _texts(values: tuple[str, ...]) -> list[str]:
    """Values as texts; `-` stands for the lines of standard input, those that are not empty."""
    lines = [line for value in values for line in (sys.stdin.read().splitlines() if value == "-" else [value])]
    if not any(lines):
        raise click.UsageError("There is no value to record.")
    return [line for line in lines if line]


def _number(word: str) -> int | float:
    try:
        return int(word)
    except ValueError:
        pass
    try:
        number = float(word)
    except ValueError:
        raise click.UsageError(f"{word!r} is not a number.") from None
    if not math.isfinite(number):
        raise click.UsageError(f"{word!r} is not finite.")
    return number


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as problem:
        raise click.UsageError(f"{text:.60} is no JSON: {problem}.") from None


def _any(text: str) -> Any:
    """A value that is JSON, or else a text as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@click.group()
@common_options
@agent_option
def record() -> None:
    """Record events through the agent of this host.

    Ends when the agent has the events on its disk, and says so. Several VALUEs are several events; a VALUE of - reads
    them from standard input. While there is no agent, or no room, it waits until --timeout. Sent once: nothing counts
    twice.
    """


def _of_numbers(kind: str, type_name: str, summary: str) -> click.Command:
    """A command that records numbers of a Type."""

    @click.command(kind, cls=Numbers, help=summary, short_help=summary.partition("\n")[0])
    @_options
    @click.argument("values", metavar="[VALUE]..." if kind == "counter" else "VALUE...", nargs=-1)
    @click.pass_obj
    def command(session: Session, name: str, values: tuple[str, ...], at: float | None, client: str | None) -> None:
        given = values if values or kind != "counter" else ("1",)
        _record(session, client, name, type_name, at, _numbers(given))

    return command


record.add_command(_of_numbers("counter", "CounterGroup", "Count: one event and VALUE on the total. [default: 1]"))
record.add_command(_of_numbers("percentile", "PercentileGroup", "A value for percentiles over four windows."))
record.add_command(_of_numbers("totals", "TotalsCounter", "Count for ever, with total and average."))
record.add_command(_of_numbers("percentiles", "PercentileCounter", "A value for percentiles of all time."))


@record.command(cls=Numbers)
@_options
@click.argument("values", metavar="VALUE...", nargs=-1, required=True)
@click.pass_obj
def unique(session: Session, name: str, values: tuple[str, ...], at: float | None, client: str | None) -> None:
    """A value of which distinct ones are counted. VALUE is a text."""
    _record(session, client, name, "UniqueGroup", at, _texts(values))


def _expiring(command: Any) -> Any:
    return click.option(
        "--expires", metavar="SECONDS", type=click.FloatRange(0, min_open=True), help="How long it is shown."
    )(command)


@record.command(cls=Numbers)
@_options
@click.argument("value", metavar="VALUE")
@_expiring
@click.pass_obj
def gauge(
    session: Session, name: str, value: str, expires: float | None, at: float | None, client: str | None
) -> None:
    """Set this client's value. VALUE is JSON, or else a text.

    With --expires it is an ExpiryGauge.
    """
    payload = _any(value)
    if expires is None:
        _record(session, client, name, "Gauge", at, [payload])
    else:
        _record(session, client, name, "ExpiryGauge", at, [[payload, _moment(session, at) + expires]])


@record.command(cls=Numbers)
@_options
@click.argument("value", metavar="VALUE")
@_expiring
@click.pass_obj
def buffer(
    session: Session, name: str, value: str, expires: float | None, at: float | None, client: str | None
) -> None:
    """Add to the list that a Buffer shows, for a day. VALUE is JSON, or else a text."""
    until = _moment(session, at) + (DAY if expires is None else expires)
    _record(session, client, name, "Buffer", at, [[_any(value), until]])


def _moment(session: Session, at: float | None) -> float:
    return session.wall() if at is None else at


@record.command(cls=Numbers)
@_options
@click.argument("type_name", metavar="TYPE", callback=_valid)
@click.argument("payload", metavar="JSON")
@click.pass_obj
def event(
    session: Session, name: str, type_name: str, payload: str, at: float | None, client: str | None
) -> None:
    """An event of any Type, your own too, with JSON as its payload."""
    _record(session, client, name, type_name, at, [_json(payload)])
