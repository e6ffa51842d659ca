"""A Sender with a clock of its own, for the tests of it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.client.recorder import Recorder
from taba.client.sender import (
    Answer,
    Post,
    Sender,
    Wait,
)
from tests.client.model_agent import read

INSTANCE = "0123456789abcdef" * 2

OK = Answer(200, {}, "")


class SenderCase(SynchronousTestCase):
    """A Sender with a clock of its own and no jitter."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.make()

    def make(self, max_bytes: int = 1 << 20, **limits: Any) -> None:
        self.recorder = Recorder(lambda: 1.7e9, max_bytes)
        self.sender = Sender(self.recorder, "client", jitter=lambda: 0.0, **limits)
        self.sender.open(lambda: None)

    def next(self) -> Post | Wait:
        return self.sender.next_action(self.now)

    def post(self) -> Post:
        """The next action, which must be a Post."""
        action = self.next()
        assert isinstance(action, Post), action
        return action

    def wait(self) -> float:
        """The seconds of the next action, which must be a Wait."""
        action = self.next()
        assert isinstance(action, Wait), action
        return action.seconds

    def answer(self, post: Post, status: int = 200, text: str = "", **headers: str) -> None:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.sender.answered(post, Answer(status, fields, text), self.now)

    def open(self) -> None:
        """Record one event and have the instance opened; the next action posts the event."""
        self.recorder.counter("a")
        self.answer(self.post(), taba_instance=INSTANCE)

    def later(self, seconds: float = 1.0) -> None:
        self.now += seconds

    def record(self, *values: int) -> None:
        """Record, and let a flush period pass."""
        for value in values:
            self.recorder.counter("a", value)
        self.later()

    def account(self, *names: str) -> tuple[object, ...]:
        status = self.sender.status()
        return tuple(status[name] for name in names)

    def give(self, *values: int) -> None:
        """Record values and have them acknowledged."""
        self.record(*values)
        self.answer(self.post())


def payloads(post: Post) -> list[object]:
    return read(post).payloads


def said(post: Post) -> tuple[str, list[object]]:
    """Which batch it is, and what is in it, in whatever protocol."""
    return read(post).batch, read(post).payloads
