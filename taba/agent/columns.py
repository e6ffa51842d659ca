"""POST /v2/events: a frame of columns (docs/reference/protocol-2.md) on its way into a scratch, and what its header
says.

The number of the batch and the counts of what the sender dropped stand in the header of the frame, not in those of the
request; they mean what `Taba-Batch` and `Taba-Unsent` mean in protocol 1. Pure but for the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taba.agent.bodies import IntakeBody
from taba.agent.intake import BatchNumber
from taba.agent.service import Agent
from taba.agent.unsent import Unsent, read_unsent
from taba.errors import FrameError
from taba.native import Columns, ColumnsFacts, ScratchSummary
from taba.web.answers import Refusal
from taba.web.site import BoundedRequest
from taba.wire.frame import decode_object

MAX_UNSENT_BYTES = 1 << 20
"""Of the member `unsent`."""
UNSENT_DEPTH = 2
EMPTY = "The body is empty; a frame begins with the length of its header."
OPENING = "Batch 0 opens an instance: it must not carry events or unsent."
IN_THE_FRAME = "Number and unsent of a frame stand in its header, not in Taba-Batch and Taba-Unsent."


class ColumnsBody(IntakeBody):
    """A frame on its way into a scratch; `Content-Encoding` says whether it is zlib-deflated."""

    form = Columns

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent, zipped=False)

    def begin(self, request: BoundedRequest, length: int | None) -> None:
        """See `IBody`."""
        encoding = (request.getHeader("content-encoding") or "identity").strip().lower()
        if encoding not in ("identity", "deflate"):
            request.refuse(415, "The Content-Encoding of a frame must be identity or deflate (one zlib stream).")
            return
        self._zipped = encoding == "deflate"
        super().begin(request, length)

    def columns(self) -> Columns:
        """The finished scratch. Refusal when the body is no frame."""
        scratch = self.scratch()
        if not isinstance(scratch, Columns):
            raise Refusal(400, EMPTY)
        return scratch


def number_of(facts: ColumnsFacts) -> BatchNumber | None:
    """The batch's number; None without one. That the parts fit is the parser's to see."""
    return None if facts.batch is None else BatchNumber(facts.instance, facts.batch)


def unsent_of(facts: ColumnsFacts) -> Unsent:
    """What the sender says it dropped, by reason and tab. Refusal when it is not said as it should be."""
    if not facts.unsent:
        return {}
    if len(facts.unsent) > MAX_UNSENT_BYTES:
        raise Refusal(413, f"unsent has {len(facts.unsent)} bytes; the limit here is {MAX_UNSENT_BYTES}.")
    try:
        return read_unsent(decode_object(facts.unsent, MAX_UNSENT_BYTES, UNSENT_DEPTH))
    except (ValueError, FrameError) as problem:
        raise Refusal(400, f"The frame is malformed: unsent: {problem}. Nothing of it was counted.")


def is_opening(batch: BatchNumber | None, summary: ScratchSummary, dropped: Unsent) -> bool:
    """Whether this is batch 0. Refusal when it carries what nobody could count once."""
    if batch is None or batch.instance is not None:
        return False
    if summary.accepted or summary.refused or dropped:
        raise Refusal(400, OPENING)
    return True


REASONS = {
    "json": "not a JSON array of a time and a value",
    "type": "a Type that is not known here, or one that takes no columns of numbers (they belong into structured)",
}
"""Those that differ from protocol 1's."""


def errors_of(summary: ScratchSummary, reasons: Mapping[str, str]) -> list[dict[str, Any]]:
    """The first refused events, as the answer names them."""
    told = {**reasons, **REASONS}
    return [
        {"tab": tab, "event": event, "reason": f"{reason}: {told[reason]}"}
        for (event, reason), tab in zip(summary.samples, summary.tabs, strict=True)
    ]
