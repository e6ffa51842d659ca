"""The HTTP port of an agent: intake of protocol 1, and what the agent says of itself. Thin.

A body is parsed as it arrives, into the scratch of its request; `post` and `post_zip` differ by an inflator only.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.web.resource import Resource
from twisted.web.server import Request
from zope.interface import implementer

from taba.agent.intake import Applied, BatchNumber
from taba.agent.service import Agent
from taba.errors import BodySyntaxError, LimitReached, SpoolError
from taba.native import Scratch, ScratchSummary
from taba.web.answers import Leaf, Refusal, accepts_json, write_json, write_text
from taba.web.site import BoundedRequest, IBody

MAX_RATIO = 200
RATIO_FROM = 1 << 20
"""A zlib stream may inflate to this size at any ratio, and beyond it MAX_RATIO times."""
INFLATE_STEP = 256 << 10
"""Bytes inflated at a time, so that a bomb is noticed before it takes memory."""

REASONS = {
    "json": "not a JSON array of Type, time and payload",
    "type": "a Type that is not known here",
    "mixed": "another Type than the first event of its tab's block",
    "time": "the time is not a number of seconds since 1970 (milliseconds, perhaps?)",
    "future": "the time is too far in the future (MAX_CLOCK_SKEW)",
    "value": "a payload that the Type cannot take",
    "name": "the name of the tab or client is too long, empty, or has characters that are not allowed",
    "size": "the payload is too large or nested too deep",
}


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
    """A protocol 1 body on its way into a scratch."""

    def __init__(self, agent: Agent, zipped: bool) -> None:
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
        self._scratch = self._agent.begin()
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
            self._hold(self._scratch.summary().memory)
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
        self._scratch = self._inflator = None

    def _fail(self, problem: Exception) -> None:
        self._drop()
        if isinstance(problem, BodySyntaxError):
            self._problem = Refusal(400, f"Protocol 1: {problem}. Nothing of this body was counted.")
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


_BATCH = re.compile(r"(?:([0-9a-f]{32})/([1-9][0-9]{0,17})|0)")
_UNSENT = re.compile(r"([a-z]{1,16})=([0-9]{1,15})")
UNSENT_REASONS = ("full", "unknown")
"""What senders drop for; whatever else they say is `other`."""
MAX_UNSENT = 1 << 31
"""More than so many events at once nobody dropped."""


def batch_number(header: str | None) -> BatchNumber | None:
    """What `Taba-Batch` says; None when it is not there."""
    if header is None:
        return None
    match = _BATCH.fullmatch(header.strip())
    if match is None:
        raise Refusal(400, "Taba-Batch must be 0, or an instance (32 hexadecimal digits), a slash and a number from 1.")
    return BatchNumber(match[1], int(match[2])) if match[1] else BatchNumber(None, 0)


def unsent(header: str | None) -> Mapping[str, int]:
    """What `Taba-Unsent` says, by reason."""
    counts: dict[str, int] = {}
    for each in (header or "").split(","):
        match = _UNSENT.fullmatch(each.strip())
        if match is not None:
            reason = match[1] if match[1] in UNSENT_REASONS else "other"
            counts[reason] = min(MAX_UNSENT, counts.get(reason, 0) + int(match[2]))
        elif each.strip():
            raise Refusal(400, "Taba-Unsent must be reason=count, ...")
    return counts


class AgentResources:
    """The endpoints of an agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def intake(self) -> dict[str, Resource]:
        """Path -> resource of what takes events; a server has these, too."""
        return {"post": Leaf(post=self.post), "post_zip": Leaf(post=self.post)}

    def bodies(self) -> dict[bytes, Callable[[], IntakeBody]]:
        """Path -> the maker of its body, for the site."""
        return {
            b"/post": lambda: IntakeBody(self._agent, zipped=False),
            b"/post_zip": lambda: IntakeBody(self._agent, zipped=True),
        }

    def leaves(self) -> dict[str, Resource]:
        """Path -> resource of all endpoints."""
        return {
            **self.intake(),
            "status": Leaf(get=self.status),
            "metrics": Leaf(get=self.metrics),
            "healthz": Leaf(get=self.healthz),
            "readyz": Leaf(get=self.readyz),
        }

    @inlineCallbacks
    def post(self, request: Request):  # type: ignore[no-untyped-def]
        """Events in; the answer is durable."""
        batch = batch_number(request.getHeader("taba-batch"))
        dropped = unsent(request.getHeader("taba-unsent"))
        content: Any = request.content
        body: IntakeBody = content
        scratch = body.scratch()
        if scratch is None and batch is None:
            raise Refusal(400, "Protocol 1: line 1: the body is empty; its first line must be 1.")
        if scratch is not None and batch is not None and batch.instance is None:
            if scratch.summary().accepted:
                raise Refusal(400, "Batch 0 opens an instance and must not carry events.")
            scratch = None
        try:
            receipt = self._agent.apply(scratch, batch, dropped)
            if receipt.applied is Applied.UNKNOWN:
                raise Refusal(409, "This agent does not know the instance; open a new one with Taba-Batch: 0.")
            yield self._agent.durable(receipt.commit)
        except SpoolError as problem:
            raise Refusal(503, str(problem), Retry_After="1")
        if receipt.instance is not None:
            request.setHeader("Taba-Instance", receipt.instance)
        if receipt.applied is Applied.DUPLICATE:
            request.setHeader("Taba-Duplicate", "1")
        _write_result(request, scratch.summary() if scratch is not None else None)

    def status(self, request: Request) -> None:
        """The state of the agent, for people or as JSON."""
        if accepts_json(request):
            write_json(request, self._agent.facts())
        else:
            write_text(request, self._agent.text())

    def metrics(self, request: Request) -> None:
        """The ledger and the depths, in Prometheus text format 0.0.4."""
        write_text(request, self._agent.metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")

    def healthz(self, request: Request) -> None:
        """The process answers."""
        write_text(request, "ok\n")

    def readyz(self, request: Request) -> None:
        """Whether events are taken."""
        problem = self._agent.refusing()
        write_text(request, f"{problem}\n" if problem else "ok\n", 503 if problem else 200)


def _write_result(request: Request, summary: ScratchSummary | None) -> None:
    """200: nothing when all events were taken, else which were not."""
    refused = sum(summary.refused.values()) if summary is not None else 0
    if summary is None or not refused:
        write_text(request, "")
        return
    request.setHeader("Taba-Rejected", str(refused))
    errors = [{"line": line, "reason": f"{reason}: {REASONS[reason]}"} for line, reason in summary.samples]
    write_json(request, {"accepted": summary.accepted, "rejected": refused, "errors": errors})
