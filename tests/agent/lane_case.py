"""What the tests of lanes begin from: batches, outcomes, one lane, all lanes of an agent."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.agent.lanes import (
    CONFIRM_SECONDS,
    Held,
    Lane,
    Lanes,
    Outgoing,
)
from taba.interfaces import Outcome, Verdict

INCARNATION = "0" * 31 + "a"
OTHER = "0" * 31 + "b"
LINEAGE = "1" * 32
NEXT_LINEAGE = "2" * 32
EVENTS = 10  # in each batch, where a test does not say otherwise
LATER = CONFIRM_SECONDS + 1


def held(seq: int, *, events: int = EVENTS, after: int | None = None, before: int | None = None) -> Held:
    """Batch `seq` of a lane whose batches have EVENTS events each; its checksum is 100 + seq."""
    return Held(
        seq,
        seq - 1 if after is None else after,
        (seq - 1) * EVENTS if before is None else before,
        events,
        1.7e9 + seq,
        100 + seq,
        1000,
        f"record {seq}",
    )


def outcome(
    sent: Outgoing,
    verdict: Verdict = Verdict.OK,
    last: int | None = None,
    *,
    checksum: int | None = None,
    lineage: str = LINEAGE,
    reason: str = "",
) -> Outcome:
    """A log's answer; without more, that it has what was sent and nothing after it."""
    append = sent.append
    last = append.seq if last is None else last
    checksum = checksum if checksum is not None else 100 + last if last else None
    return Outcome(append.vbucket, append.incarnation, append.seq, verdict, last, checksum, lineage, reason)


class LaneCase(SynchronousTestCase):
    """One lane, a clock, and short words for what happens to them."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.lane = Lane(INCARNATION, 7)

    def add(self, *numbers: int) -> None:
        for seq in numbers:
            self.lane.add(held(seq))

    def send(self) -> Outgoing:
        sent = self.lane.next(self.now)
        assert sent is not None, f"nothing to send in state {self.lane.state}"
        return sent

    def answer(self, sent: Outgoing, *args: Any, **kwargs: Any) -> list[Any]:
        return self.lane.answered(outcome(sent, *args, **kwargs), self.now, self.now)

    def serve(self, **kwargs: Any) -> list[Any]:
        """Send whatever is next, and have it answered with ok."""
        return self.answer(self.send(), **kwargs)

    def serve_all(self, *numbers: int, **kwargs: Any) -> None:
        """Add batches and have each answered with its first ok."""
        for seq in numbers:
            self.add(seq)
            self.assertEqual(self.serve(**kwargs), [])

    def later(self, seconds: float = LATER) -> None:
        self.now += seconds

    def numbers_held(self) -> list[int]:
        return [batch.seq for batch in self.lane.held]


class LanesCase(SynchronousTestCase):
    """All lanes of an agent, a clock, and a log that says ok."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.lanes = Lanes()

    def add(self, *vbuckets: int, seq: int = 1) -> None:
        for vbucket in vbuckets:
            self.lanes.add(INCARNATION, vbucket, held(seq))

    def gather(self, max_bytes: int = 10**6, max_batches: int = 1000) -> list[Outgoing]:
        return self.lanes.gather(self.now, max_bytes, max_batches)

    def answer(self, sent: list[Outgoing], **kwargs: Any) -> list[Any]:
        return self.lanes.answered(sent, [outcome(each, **kwargs) for each in sent], self.now, self.now)

    def vbuckets(self, sent: list[Outgoing]) -> list[int]:
        return [each.append.vbucket for each in sent]
