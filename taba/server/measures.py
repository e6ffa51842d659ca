"""What a server measures while it works: counts and times that nothing else of it has. Pure: times are passed in.

One object in the `Observer` of each server, which is told what happens; `taba.server.metrics` shows it. It is used in
the reactor thread only, begins anew with each life of the process, and nothing rests on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import define, field

from taba.interfaces import Checkpoint, LogEntry, Outcome, Verdict, Written
from taba.metrics import Histogram
from taba.web.measured import AnsweredRequests

APPENDED = "appended"
"""A batch is in its log from this request on."""
KNOWN = "known"
"""A batch was in its log before, or a look found all that it asked for."""
VERDICTS = (APPENDED, KNOWN, *(each.value for each in Verdict if each is not Verdict.OK))
"""What logs say."""
FAILED = "failed"
"""Of a checkpoint: the store failed, or nothing is known."""
WRITTEN = (*(each.value for each in Written), FAILED)
"""What becomes of checkpoints."""


@define
class ServerMeasures:
    """The measures of one server."""

    appends: Histogram = field(factory=Histogram)
    """Seconds of the store's answers to append requests."""
    verdicts: Counter[str] = field(factory=Counter)
    """Batches and looks by what their logs said: VERDICTS."""
    rounds: Histogram = field(factory=Histogram)
    """Seconds in which all vbuckets with something to write were checkpointed."""
    checkpoints: Counter[str] = field(factory=Counter)
    """Checkpoints of single vbuckets by what became of them: WRITTEN."""
    states: int = 0
    """States written or deleted by checkpoints."""
    leases_lost: int = 0
    """Leases that were held and are no more, though nobody gave them back."""
    taken_over: int = 0
    """Vbuckets that were loaded and had been somebody else's, or nobody's."""
    handed_over: int = 0
    """Vbuckets that were written and given to others."""
    takeovers: Histogram = field(factory=Histogram)
    """Seconds that the oldest batch of a vbucket that was taken over had waited when it was folded."""
    folded: dict[int, float] = field(factory=dict)
    """Of the vbuckets that are held: the wall time of the newest checkpoint that folded something."""
    taken_batches: int = 0
    taken_bytes: int = 0
    """What was read of logs, by entries and bytes."""
    http: AnsweredRequests = field(factory=AnsweredRequests)
    """Of this server's ports."""

    def appended(self, outcomes: Iterable[Outcome], seconds: float) -> None:
        """The store answered an append request, after so long."""
        self.appends.observe(seconds)
        for each in outcomes:
            if each.verdict is Verdict.OK:
                self.verdicts[APPENDED if each.appended else KNOWN] += 1
            else:
                self.verdicts[each.verdict.value] += 1

    def taken(self, entry: LogEntry) -> None:
        """An entry of a log was read."""
        self.taken_batches += 1
        self.taken_bytes += len(entry.body)

    def written(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is in the store."""
        self.checkpoints[Written.DONE.value] += 1
        self.states += checkpoint.changes

    def not_written(self, outcome: str) -> None:
        """A checkpoint is not in the store, or nothing is known of it: one of WRITTEN."""
        self.checkpoints[outcome] += 1
