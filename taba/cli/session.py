"""What all commands share: asking servers and agents, output, and how a command ends.

The exit codes of all commands but `check`, which has those of monitoring plugins:

    0    done, or something was found
    1    nothing was found, or what was asked does not hold: nothing was changed, findings, a time limit that passed
    2    wrong usage
    3    nobody answered
    4    the server or the agent answered with an error
    5    a file, a folder or a store here could not be used
    130  ended by Ctrl-C
    141  who reads the output went away

What was asked for goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import click

from taba.cli import layout, tables
from taba.cli.server import DEFAULT_AGENT, DEFAULT_SERVER, Fetch, Question, Reply, Unreachable, base_url, fetch, url_of

NOTHING_FOUND = 1
WRONG_USAGE = 2
UNREACHABLE = 3
ANSWERED_ERROR = 4
NOT_USABLE = 5
INTERRUPTED = 130
BROKEN_PIPE = 141  # as a shell reports a program that SIGPIPE ended


class AskFailed(Exception):
    """There was no answer, or none that helps; `code` is the exit code that says which."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def reason_of(reply: Reply) -> str:
    """What an answer says against what was asked, in one line: it is a text, or JSON with an `error`."""
    text = reply.text
    with suppress(ValueError, TypeError, KeyError):
        text = str(json.loads(text)["error"])
    return f"{' '.join(text.split()) or 'it gives no reason':.500}"


class Session:
    """What the options of one call add up to, and the machine it runs on, which tests replace.

    `seconds` is a monotonic clock, `wall` gives seconds since 1970, `sleep` waits so many seconds.
    """

    def __init__(
        self,
        fetch: Fetch = fetch,
        seconds: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._fetch = fetch
        self.seconds = seconds
        self.wall = wall
        self.sleep = sleep
        self.server = DEFAULT_SERVER
        self.agents: list[str] = [DEFAULT_AGENT]
        self.as_json = False
        self.no_color = False
        self.timeout = 10.0
        self.timeout_given = False
        self.token: str | None = None
        self.ca_file: str | None = None

    def be_patient(self, seconds: float) -> None:
        """Wait so long for answers, unless the user has said how long."""
        if not self.timeout_given:
            self.timeout = seconds

    # ------------------------------------------------------------------------------------------------------- asking

    @property
    def agent(self) -> str:
        """The agent to talk to: the one that was named last."""
        return self.agents[-1]

    def send(self, question: Question) -> Reply:
        """The Reply to a question, whatever its status. Raises Unreachable; wrong usage for a `ca_file` that cannot be
        used.
        """
        try:
            return self._fetch(question)
        except ValueError as problem:
            raise click.UsageError(str(problem)) from None

    def question(
        self, base: str, path: str, parameters: dict[str, str], method: str = "GET", accept: str | None = None
    ) -> Question:
        """A question with the token, the authorities and the time limit of this call."""
        accept = accept or ("application/json" if self.as_json else "text/plain")
        return Question(url_of(base, path, parameters), accept, self.timeout, self.token, self.ca_file, method)

    def try_ask(
        self,
        path: str,
        parameters: dict[str, str],
        method: str = "GET",
        *,
        accept: str | None = None,
        agent: str | None = None,
    ) -> str:
        """The text of an answer, of the server or of an `agent`. Raises AskFailed, whose text says what to do."""
        base = base_url(self.server if agent is None else agent)
        try:
            reply = self.send(self.question(base, path, parameters, method, accept))
        except Unreachable as problem:
            raise AskFailed(UNREACHABLE, self.nobody(base, problem, agent is not None)) from None
        if reply.status != 200:
            raise AskFailed(ANSWERED_ERROR, f"{base}{path} answers {reply.status}: {reason_of(reply)}")
        return reply.text

    @staticmethod
    def nobody(base: str, problem: Unreachable, agent: bool) -> str:
        """What to say when nobody answers at `base`."""
        if agent:
            return (
                f"no Taba agent answers at {base} ({problem}). Start one with `twistd -n taba-agent`, or"
                " `twistd -n taba-server`, which has one; or say where it is with --agent or TABA_AGENT."
            )
        return (
            f"no Taba server answers at {base} ({problem}). Start one with `twistd -n taba-server`, or say where it is"
            " with --server or TABA_SERVER."
        )

    def ask(self, path: str, parameters: dict[str, str], method: str = "GET", **more: Any) -> str:
        """The same, for commands that have nothing to do without an answer: exits where there is none."""
        try:
            return self.try_ask(path, parameters, method, **more)
        except AskFailed as failed:
            self.fail(failed.code, str(failed))

    def facts(
        self, path: str, parameters: dict[str, str], method: str = "GET", *, has: Sequence[str] = (), **more: Any
    ) -> dict[str, Any]:
        """An answer in JSON, an object that has some members. Raises AskFailed, also where it is none."""
        found = self._read(path, parameters, method, more)
        if not isinstance(found, dict) or not all(name in found for name in has):
            raise AskFailed(ANSWERED_ERROR, f"{path} answers with something else: is it a Taba of this version?")
        return found

    def listing(self, path: str, parameters: dict[str, str], **more: Any) -> list[Any]:
        """An answer in JSON, an array. Raises AskFailed, also where it is none."""
        found = self._read(path, parameters, "GET", more)
        if not isinstance(found, list):
            raise AskFailed(ANSWERED_ERROR, f"{path} answers with something else: is it a Taba of this version?")
        return found

    def _read(self, path: str, parameters: dict[str, str], method: str, more: dict[str, Any]) -> Any:
        text = self.try_ask(path, parameters, method, accept="application/json", **more)
        try:
            return json.loads(text)
        except ValueError:
            raise AskFailed(
                ANSWERED_ERROR, f"{path} answers with what is no JSON: is it a Taba of this version? {text[:80]!r}"
            ) from None

    # ------------------------------------------------------------------------------------------------------- output

    def fail(self, code: int, text: str) -> NoReturn:
        """Say what is wrong and exit."""
        self.note(text)
        raise click.exceptions.Exit(code)

    def note(self, text: str) -> None:
        """Say something beside the output."""
        click.echo(f"taba-cli: {layout.visible(text)}", err=True)

    @property
    def on_terminal(self) -> bool:
        """Whether people read the output."""
        return sys.stdout.isatty()

    @property
    def color(self) -> bool:
        """Whether output may have colors: on a terminal, unless --no-color or NO_COLOR says no."""
        return self.on_terminal and not self.no_color and not os.environ.get("NO_COLOR")

    @property
    def width(self) -> int:
        """The columns of the terminal; those of an ordinary one where there is none."""
        return shutil.get_terminal_size().columns

    def put(self, text: str) -> None:
        """Write the output, and be quiet if nobody reads it."""
        self.put_raw(layout.visible(text) if self.on_terminal else text)

    def put_raw(self, text: str, end: bool = True) -> None:
        """Write what may command the terminal: nothing that others have written."""
        try:
            click.echo(text, nl=end, color=True)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
            raise click.exceptions.Exit(BROKEN_PIPE) from None

    def put_json(self, text: str) -> None:
        """Write JSON: for people on a terminal, else without white space."""
        self.put(layout.pretty(text) if self.on_terminal else layout.compact(text))

    def put_facts(self, facts: Any) -> None:
        """Write what a command found out, as JSON."""
        self.put_json(json.dumps(facts, ensure_ascii=False))

    def put_table(
        self,
        head: Sequence[str],
        rows: Sequence[Sequence[str]],
        right: Sequence[int] = (),
        *,
        whole: Sequence[int] = (),
    ) -> None:
        """Write rows in columns; `right` are the numbers of those that are aligned to the right, `whole` of those that
        are never cut. Without the head, and with tabulators in place of blanks, where no people read it.
        """
        visible = [[layout.visible(cell) for cell in row] for row in rows]
        if self.on_terminal:
            self.put_raw(tables.table(head, visible, right, self.width, bold=self.color, whole=whole))
        else:
            self.put_raw("\n".join("\t".join(row) for row in rows))

    def put_answer(self, text: str) -> None:
        """Write an answer as it came: text, or JSON."""
        if self.as_json:
            self.put_json(text)
        elif text.strip():
            self.put(text.rstrip("\n"))

    def progress(self, text: str) -> None:
        """Say on stderr how far something is: in one line that is replaced, on a terminal; else nothing."""
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{layout.visible(text)}", nl=False, err=True, color=True)

    def end_progress(self) -> None:
        """Take the line of `progress` away."""
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True, color=True)

    def agreed(self, question: str, yes: bool) -> None:
        """Ask back, unless `yes` was said before; exits when it is not agreed to."""
        if yes:
            return
        try:
            agreed = click.confirm(question, err=True)
        except click.Abort:
            click.echo("", err=True)
            agreed = False
        if not agreed:
            self.fail(NOTHING_FOUND, "nothing was changed. (--yes does not ask.)")
