"""What goes between a client and its agent: requests, answers, and the batch that a request carries.

A batch is a frame of protocol 2. An agent that is too old for that gets the very same batch in protocol 1: the same
instance and number, and the same events. So it does not matter which of the two it has taken before; the other one is
a duplicate to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from taba.client.drops import TOLD, Counts
from taba.client.encoding import Block, encode_body, encode_frame, tabs_of

TEXT = 1
"""Protocol 1."""
COLUMNS = 2
"""Protocol 2."""

_TAG = re.compile(r"<[^>]*>?")

FRAME = {"Content-Type": "application/octet-stream"}


class Post(NamedTuple):
    """A request to carry out."""

    attempt: int
    headers: dict[str, str]
    body: bytes
    protocol: int = TEXT
    """1: to the event URL itself; 2: to the place for columns beside it (see `names.Endpoint`)."""


class Wait(NamedTuple):
    """Nothing to do for so long, unless `flush_soon` or `drain` is called."""

    seconds: float


class Answer(NamedTuple):
    """What came back for a Post."""

    status: int
    headers: Mapping[str, str]
    """With names in lower case."""
    text: str
    """The body, or the beginning of it."""


class Batch:
    """Events on their way, and counts of those that were dropped. It has a number, and with it its bytes, from its
    first attempt on.
    """

    __slots__ = ("_tabs", "blocks", "body", "events", "instance", "number", "protocol", "uncertain", "unsent")

    def __init__(self, blocks: Sequence[Block], unsent: Counts) -> None:
        self.blocks = blocks
        """What is not encoded yet."""
        self.body = b""
        self.protocol = COLUMNS
        """That of the body."""
        self.events = sum([block.events for block in blocks])
        self.unsent = unsent
        """What the batch tells of dropped events: reason -> tab -> events."""
        self.instance: str | None = None
        self.number: int | None = None
        self.uncertain = False
        """Whether an attempt ended without an answer, so that the agent may have the batch."""
        self._tabs: list[tuple[str, int]] = []

    def tabs(self) -> list[tuple[str, int]]:
        """Tabs and how many events of them there are. It has a number by then."""
        return self._tabs if self.protocol == TEXT else tabs_of(self.body)

    def encode(self, client_id: str, instance: str, number: int, protocol: int) -> None:
        """Make it batch `number` of an instance, for good."""
        self.instance, self.number = instance, number
        self.body, self.protocol = encode_frame(client_id, instance, number, self.blocks, self.unsent), COLUMNS
        self.blocks = ()
        if protocol == TEXT:
            self.fall_back()

    def fall_back(self) -> None:
        """Make the body one of protocol 1, if it is encoded and is not one."""
        if self.number is not None and self.protocol == COLUMNS:
            self._tabs = tabs_of(self.body)
            self.body = encode_body(self.body)
            self.protocol = TEXT

    def headers(self) -> dict[str, str]:
        """Those that go with the body."""
        if self.protocol == COLUMNS:
            return dict(FRAME)
        headers = {"Taba-Batch": f"{self.instance}/{self.number}"}
        if self.unsent:
            totals = [f"{reason}={sum(self.unsent.get(reason, {}).values())}" for reason in TOLD]
            headers["Taba-Unsent"] = ", ".join(totals)
        return headers


def opening(client_id: str, protocol: int) -> tuple[dict[str, str], bytes]:
    """Headers and body of batch 0, which asks for an instance."""
    if protocol == COLUMNS:
        return dict(FRAME), encode_frame(client_id, None, 0)
    return {"Taba-Batch": "0"}, b""


def is_page(answer: Answer) -> bool:
    """Whether it is a page in HTML. No agent answers with one: it is from a proxy, or from a wrong place, and says
    nothing of what was sent, whatever its status.
    """
    return answer.text.lstrip("\ufeff \t\r\n").startswith("<")


def describe(answer: Answer) -> str:
    """An answer in one line, for people; of a page the words alone."""
    words = _TAG.sub(" ", answer.text) if is_page(answer) else answer.text
    text = " ".join(words.split())
    return f"{answer.status}: {text:.300}" if text else f"{answer.status}"


def whole_number(answer: Answer, header: str) -> int:
    """The number that `header` holds; 0 for none. (Retry-After may hold a date: the back-off is about as good.)"""
    text = answer.headers.get(header, "").strip()
    return int(text) if text.isdecimal() and len(text) < 10 else 0
