"""Answers that are written while they are made, at the pace of whoever reads them.

A whole answer of up to `PIECE_CHARACTERS` is sent in one, with its length; until then any error is an honest status. A
longer one goes out in pieces, and at most one piece and what the transport takes are held. What fails after the first
piece cuts the connection (see `Leaf`), so that nobody takes a part for the whole.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.server import Request
from zope.interface import implementer

from taba.web.answers import write_text

PIECE_CHARACTERS = 65_536
"""From so many characters on a piece is written."""
STALL_SECONDS = 300.0
"""A reader who takes nothing for so long is cut off: it would keep its query for ever."""


@implementer(IPushProducer)
class PacedAnswer:
    """The body of one answer."""

    def __init__(self, request: Request, content_type: str, clock: IReactorTime) -> None:
        self._request = request
        self._content_type = content_type
        self._clock = clock
        self._pieces: list[str] = []
        self._size = 0
        self._begun = False
        self._paused: Deferred[None] | None = None
        self._stall: IDelayedCall | None = None

    def write(self, text: str) -> Deferred[None] | None:
        """The next part. The Deferred, if any, fires when there is room for more; it may be cancelled."""
        self._pieces.append(text)
        self._size += len(text)
        if self._size < PIECE_CHARACTERS:
            return None
        if not self._begun:
            self._begun = True
            self._request.setHeader("Content-Type", self._content_type)
            self._request.registerProducer(self, True)
        self._request.write(self._taken())
        return self._paused

    def _taken(self) -> bytes:
        text = "".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return text.encode("utf-8", "replace")

    def end(self, text: str = "") -> None:
        """The last part."""
        self._pieces.append(text)
        if not self._begun:
            write_text(self._request, "".join(self._pieces), content_type=self._content_type)
            return
        self._request.write(self._taken())
        self._calm()
        self._request.unregisterProducer()
        self._request.finish()

    # ------------------------------------------------------------------------------ called by the transport

    def pauseProducing(self) -> None:
        """The reader is slow."""
        if self._paused is None:
            self._paused = Deferred(lambda _: self._calm())
            self._stall = self._clock.callLater(STALL_SECONDS, self._stalled)

    def resumeProducing(self) -> None:
        """The reader caught up."""
        paused, self._paused = self._paused, None
        self._calm()
        if paused is not None and not paused.called:
            paused.callback(None)

    def stopProducing(self) -> None:
        """The reader is gone. The request hears of that too, and cancels whoever waits here."""
        self._calm()

    def _calm(self) -> None:
        stall, self._stall = self._stall, None
        if stall is not None:
            stall.cancel()

    def _stalled(self) -> None:
        self._stall = None
        transport: Any = self._request.transport
        transport.abortConnection()


class Items:
    """The items of an answer, with what stands before, between and after them, also when there is none."""

    def __init__(self, answer: PacedAnswer, before: str = "", between: str = "", after: str = "") -> None:
        self._answer = answer
        self._before = before
        self._between = between
        self._after = after
        self._any = False

    def add(self, item: str) -> Deferred[None] | None:
        """The next item; see `PacedAnswer.write`."""
        before = self._between if self._any else self._before
        self._any = True
        return self._answer.write(before + item)

    def end(self) -> None:
        """No item follows."""
        self._answer.end(self._after if self._any else self._before + self._after)


class ByClient:
    """The object of clients, each an object of its tabs, that JSON has for Projections."""

    def __init__(self, answer: PacedAnswer) -> None:
        self._answer = answer
        self._client: str | None = None

    def add(self, tab: str, client: str, state: str) -> Deferred[None] | None:
        """The next State, ascending by client; see `PacedAnswer.write`."""
        if client == self._client:
            opening = ","
        else:
            opening = f"{'{' if self._client is None else '},'}{json.dumps(client)}: {{"
            self._client = client
        return self._answer.write(f"{opening}{json.dumps(tab)}: {state}")

    def end(self) -> None:
        """No State follows."""
        self._answer.end("{}" if self._client is None else "}}")
