"""The HTTP port of an agent: intake of protocols 1 and 2, and what the agent says of itself. Thin.

A body is parsed as it arrives, into the scratch of its request; `post` and `post_zip` differ by an inflator only,
`v2/events` by its parser, and by where the batch's number stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.web.resource import Resource
from twisted.web.server import Request

from taba.agent import columns
from taba.agent.bodies import IntakeBody
from taba.agent.intake import Applied, BatchNumber
from taba.agent.service import Agent
from taba.agent.unsent import Unsent
from taba.agent.where import WhereResources
from taba.errors import SpoolError
from taba.metrics import CONTENT_TYPE
from taba.native import Scratch, ScratchSummary
from taba.web.answers import Leaf, Refusal, accepts_json, write_json, write_text

Errors = Callable[[ScratchSummary], list[dict[str, Any]]]

REASONS = {
    "json": "not a JSON array of Type, time and payload",
    "type": "a Type that neither this agent nor its servers know: give the servers its Handler, by a package with an"
    " entry point taba.handlers or by ADDITIONAL_HANDLERS, and restart them; this agent learns it within seconds",
    "mixed": "another Type than the first event of its tab's block",
    "time": "the time is not a number of seconds since 1970 (milliseconds, perhaps?)",
    "future": "the time is too far in the future (MAX_CLOCK_SKEW)",
    "value": "a payload that the Type cannot take",
    "name": "the name of the tab or client is too long, empty, or has characters that are not allowed",
    "size": "the payload is too large or nested too deep",
}


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
        self.answered = agent.measures.http

    def intake(self) -> dict[str, Resource]:
        """Path -> resource of what takes events; a server has these, too."""
        return {
            "post": Leaf(post=self.post),
            "post_zip": Leaf(post=self.post),
            "v2/events": Leaf(post=self.events),
        }

    def bodies(self) -> dict[bytes, Callable[[], IntakeBody]]:
        """Path -> the maker of its body, for the site."""
        return {
            b"/post": lambda: IntakeBody(self._agent, zipped=False),
            b"/post_zip": lambda: IntakeBody(self._agent, zipped=True),
            b"/v2/events": lambda: columns.ColumnsBody(self._agent),
        }

    def leaves(self) -> dict[str, Resource]:
        """Path -> resource of all endpoints."""
        return {
            **self.intake(),
            **WhereResources(self._agent).leaves(),
            "status": Leaf(get=self.status),
            "metrics": Leaf(get=self.metrics),
            "healthz": Leaf(get=self.healthz),
            "readyz": Leaf(get=self.readyz),
        }

    def post(self, request: Request) -> Deferred[None]:
        """Events of protocol 1 in; the answer is durable."""
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
        return self._take(request, scratch, batch, dropped, _errors)

    def events(self, request: Request) -> Deferred[None]:
        """Events of protocol 2 in, in columns; the answer is durable."""
        if request.getHeader("taba-batch") is not None or request.getHeader("taba-unsent") is not None:
            raise Refusal(400, columns.IN_THE_FRAME)
        content: Any = request.content
        body: columns.ColumnsBody = content
        scratch = body.columns()
        facts = scratch.facts()
        batch, dropped = columns.number_of(facts), columns.unsent_of(facts)
        opening = columns.is_opening(batch, scratch.summary(), dropped)
        return self._take(
            request, None if opening else scratch, batch, dropped, lambda found: columns.errors_of(found, REASONS)
        )

    @inlineCallbacks
    def _take(  # type: ignore[no-untyped-def]
        self, request: Request, scratch: Scratch | None, batch: BatchNumber | None, dropped: Unsent, errors: Errors
    ):
        """Apply a request, and answer once it is durable. The scratch is another request's once it is applied."""
        summary = scratch.summary() if scratch is not None else None
        content: Any = request.content
        body: IntakeBody = content
        try:
            receipt = self._agent.apply(scratch, batch, dropped)
            body.over()
            if receipt.applied is Applied.UNKNOWN:
                raise Refusal(409, "This agent does not know the instance; open a new one with batch 0.")
            yield self._agent.durable(receipt.commit)
        except SpoolError as problem:
            raise Refusal(503, str(problem), Retry_After="1")
        if receipt.instance is not None:
            request.setHeader("Taba-Instance", receipt.instance)
        if receipt.applied is Applied.DUPLICATE:
            request.setHeader("Taba-Duplicate", "1")
        _write_result(request, summary, errors)

    def status(self, request: Request) -> None:
        """The state of the agent, for people or as JSON."""
        if accepts_json(request):
            write_json(request, self._agent.facts())
        else:
            write_text(request, self._agent.text())

    def metrics(self, request: Request) -> None:
        """All numbers, in Prometheus text format 0.0.4."""
        write_text(request, self._agent.metrics(), content_type=CONTENT_TYPE)

    def healthz(self, request: Request) -> None:
        """The process answers."""
        write_text(request, "ok\n")

    def readyz(self, request: Request) -> None:
        """Whether events are taken."""
        problem = self._agent.refusing()
        write_text(request, f"{problem}\n" if problem else "ok\n", 503 if problem else 200)


def _errors(summary: ScratchSummary) -> list[dict[str, Any]]:
    """The first refused events of a protocol 1 body, as the answer names them."""
    return [{"line": line, "reason": f"{reason}: {REASONS[reason]}"} for line, reason in summary.samples]


def _write_result(request: Request, summary: ScratchSummary | None, errors: Errors) -> None:
    """200: nothing when all events were taken, else which were not."""
    refused = sum(summary.refused.values()) if summary is not None else 0
    if summary is None or not refused:
        write_text(request, "")
        return
    request.setHeader("Taba-Rejected", str(refused))
    write_json(request, {"accepted": summary.accepted, "rejected": refused, "errors": errors(summary)})
