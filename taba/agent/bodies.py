"""The bodies of requests that bring events, on their way into a scratch: parsed as they arrive, inflated within limits.

Invariants: nothing of a body counts before all of it has been taken; what a body holds in memory is told to the agent
as it grows, and again when the body goes; whatever is wrong with it ends in a `Refusal` that says what.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from zope.interface import implementer

from taba.agent.service import Agent
from taba.errors import BodySyntaxError, ColumnsError, LimitReached
from taba.native import Scratch
from taba.web.answers import Refusal
from taba.web.site import BoundedRequest, IBody

MAX_RATIO = 200
RATIO_FROM = 1 << 20
"""A zlib stream may inflate to this size at any ratio, and beyond it MAX_RATIO times."""
DIRECT_FROM = 64 << 10
"""Larger bodies do not come whole with their head, and are read directly."""
INFLATE_STEP = 256 << 10
"""Bytes inflated at a time, so that a bomb is noticed before it takes memory."""


class Inflator:
    """Inflates a zlib stream within the limits; `feed` gets what comes out."""

    def __init__(self, max_bytes: int, feed: Callable[[bytes], None]) -> None:
        self._max_bytes = max_bytes
        self._feed = feed
        self._inflator = zlib.decompressobj()
        self._taken = 0
        self._given = 0

    def write(self, data: bytes) -> None:
        """The next bytes of the stream. zlib.error for what is none, LimitReached for a bomb."""
        self._taken += len(data)
        while data:
            piece = self._inflator.decompress(data, INFLATE_STEP)
            data = self._inflator.unconsumed_tail
            self._given += len(piece)
            if self._given > self._max_bytes:
                raise LimitReached("MAX_BODY_BYTES, after inflating")
            if self._given > RATIO_FROM and self._given > MAX_RATIO * self._taken:
                raise LimitReached(f"a body may inflate {MAX_RATIO} times")
            if piece:
                self._feed(piece)
        if self._inflator.unused_data:
            raise zlib.error("bytes after the end of the stream")

    def finish(self) -> None:
        """The stream must be whole."""
        if not self._inflator.eof:
            raise zlib.error("the stream is cut short")


@implementer(IBody)
class IntakeBody:
    """A body on its way into a scratch: of protocol 1, or of what else `form` reads."""

    form: type[Scratch] = Scratch

    def __init__(self, agent: Agent, zipped: bool) -> None:
        """`zipped` says whether the body is one zlib stream."""
        self._agent = agent
        self._zipped = zipped
        self._problem: Refusal | None = None
        self._scratch: Scratch | None = None
        self._inflator: Inflator | None = None
        self._request: BoundedRequest | None = None
        self.received = 0
        self._held = 0

    def begin(self, request: BoundedRequest, length: int | None) -> None:
        """See `IBody`."""
        self._request = request
        limit = self._agent.settings.max_body_bytes
        if length is not None and length > limit:
            request.refuse(413, f"The body has {length} bytes; the limit here is {limit} (MAX_BODY_BYTES).")
            return
        problem = self._agent.refusing()
        if problem is not None:
            request.refuse(503, problem, retry_after=1)
            return
        if length is not None and length > DIRECT_FROM:
            request.read_directly()
        self._scratch = self._agent.begin(self.form)
        if self._zipped:
            self._inflator = Inflator(limit, self._scratch.feed)

    def write(self, data: bytes) -> None:
        """See `IBody`."""
        self.received += len(data)
        if self.received > self._agent.settings.max_body_bytes and self._request is not None:
            self._request.refuse(413, "The body is over the limit (MAX_BODY_BYTES).")
            return
        if self._problem is not None or self._scratch is None:
            return
        try:
            if self._inflator is not None:
                self._inflator.write(data)
            else:
                self._scratch.feed(data)
            self._hold(self._scratch.memory())
        except Exception as problem:
            self._fail(problem)
            return
        no_room = self._agent.refusing()
        if no_room is not None and self._request is not None:
            self._request.refuse(503, no_room, retry_after=1)
            self._drop()

    def _hold(self, memory: int) -> None:
        """Tell the agent how many bytes are held: those of the scratch, which may be far more than came in."""
        self._agent.receiving(memory - self._held)
        self._held = memory

    def _drop(self) -> None:
        """Forget what was parsed."""
        self._hold(0)
        scratch, self._scratch, self._inflator = self._scratch, None, None
        if scratch is not None and self._agent.intake is not None:
            self._agent.intake.over(scratch)

    def _fail(self, problem: Exception) -> None:
        self._drop()
        if isinstance(problem, BodySyntaxError):
            self._problem = Refusal(400, f"Protocol 1: {problem}. Nothing of this body was counted.")
        elif isinstance(problem, ColumnsError):
            self._problem = Refusal(400, f"The frame is malformed at {problem}. Nothing of it was counted.")
        elif isinstance(problem, zlib.error):
            self._problem = Refusal(400, f"The body is not a whole zlib stream: {problem}. Nothing of it was counted.")
        elif isinstance(problem, LimitReached):
            self._problem = Refusal(413, f"The body is {problem}. Nothing of it was counted.")
        elif isinstance(problem, MemoryError):
            self._problem = Refusal(503, "The agent is out of memory.", Retry_After="1")
        else:
            raise problem

    def scratch(self) -> Scratch | None:
        """The finished scratch; None for a body of no bytes. Refusal when the body was not whole."""
        if self._problem is None and self._scratch is not None and self.received:
            try:
                if self._inflator is not None:
                    self._inflator.finish()
                self._scratch.finish()
            except Exception as problem:
                self._fail(problem)
        if self._problem is not None:
            raise self._problem
        return self._scratch if self.received else None

    def over(self) -> None:
        """Nobody will look at the scratch any more: the next request may have it, while it is in the caches."""
        self._drop()

    def tell(self) -> int:
        """See `IBody`."""
        return self.received

    def seek(self, offset: int, whence: int = 0) -> int:
        """See `IBody`."""
        return 0

    def close(self) -> None:
        """See `IBody`."""
        self._drop()
        self._request = None
