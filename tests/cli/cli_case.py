"""Commands run against answers that the test sets, on a clock of the test: no sockets, no time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from taba.cli import main
from taba.cli.server import Question, Reply, Unreachable
from taba.cli.session import Session

WALL = 1_700_000_000.0
SERVER, AGENT = "http://localhost:8300", "http://localhost:8279"

Given = Reply | Unreachable | dict[str, Any] | list[Any] | str
"""What a test says that an answer is: JSON, a text, or all of it."""


class TerminalSession(Session):
    """A session whose output people read."""

    on_terminal = True
    width = 80


class AnswersCase(SynchronousTestCase):
    """Answers by path, of the server and of agents: one for all times, or a list, of which the last one stays."""

    def setUp(self) -> None:
        self.answers: dict[str, Given | tuple[Given, ...] | Callable[[Question], Given]] = {}
        self.questions: list[Question] = []
        self.now = 0.0
        self.slept: list[float] = []
        self.asleep: Callable[[], None] = lambda: None

    def fetch(self, question: Question) -> Reply:
        self.questions.append(question)
        parts = urlsplit(question.url)
        base = f"{parts.scheme}://{parts.netloc}"
        given = self.answers.get(f"{base}{parts.path}", self.answers.get(parts.path, Unreachable("Connection refused")))
        if callable(given) and not isinstance(given, type):
            given = given(question)
        if isinstance(given, tuple) and not isinstance(given, Reply):
            if len(given) > 1:
                self.answers[f"{base}{parts.path}"] = given[1:]
            given = given[0]
        if isinstance(given, Unreachable):
            raise given
        if isinstance(given, Reply):
            return given
        return Reply(200, given if isinstance(given, str) else json.dumps(given))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.asleep()

    def session(self, terminal: bool = False) -> Session:
        kind = TerminalSession if terminal else Session
        return kind(self.fetch, lambda: self.now, lambda: WALL + self.now, self.sleep)

    def run_cli(
        self, *arguments: str, env: dict[str, str] | None = None, typed: str | None = None, terminal: bool = False
    ) -> Result:
        names = ("TABA_SERVER", "TABA_AGENT", "TABA_TOKEN_FILE", "TABA_CA_FILE", "TABA_CLIENT", "NO_COLOR")
        runner = CliRunner(env={**dict.fromkeys(names), **(env or {})})
        result = runner.invoke(main, arguments, obj=self.session(terminal), input=typed)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def asked(self) -> list[tuple[str, str, dict[str, str]]]:
        """Method, path and parameters of the questions so far."""
        split = [(each.method, urlsplit(each.url)) for each in self.questions]
        return [(method, parts.path, dict(parse_qsl(parts.query))) for method, parts in split]
