"""What an agent measures while it works: counts and times that nothing else of it has. Pure: times are passed in.

One object for each agent, given to those who do the work; they tell it what happened, and `taba.agent.metrics` shows
it. It is used in the reactor thread only, begins anew with each life of the process, and nothing rests on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from attrs import define, field

from taba.agent.held import Held
from taba.agent.lane import Outgoing
from taba.interfaces import Outcome, Verdict
from taba.metrics import DELIVERY_SECONDS, Histogram
from taba.web.measured import AnsweredRequests

ANSWERED = "answered"
DOWN = "down"
"""There was no answer, or not a correct one: nothing is known of the request."""
BUSY = "busy"
"""The server asked to be left alone for a while (503)."""
STRANGER = "other cluster"
FAILED = "failed"
"""A defect of this agent."""
OUTCOMES = (ANSWERED, DOWN, BUSY, STRANGER, FAILED)
"""What becomes of a request to a server."""

MOST_SERVERS = 200
"""So many servers that are not used any more are remembered."""


def delivery() -> Histogram:
    """A histogram of times that may be long."""
    return Histogram(DELIVERY_SECONDS)


@define
class AgentMeasures:
    """The measures of one agent."""

    commits: Histogram = field(factory=Histogram)
    """Seconds from the records of a commit to their being durable, however often the disk was tried."""
    syncs: Histogram = field(factory=Histogram)
    """Seconds of one write and sync of the spool, that was successful in the end."""
    first_oks: Histogram = field(factory=delivery)
    """Seconds from the commit of a batch's oldest events to the ok of a server that it was sent to."""
    confirmations: Histogram = field(factory=delivery)
    """Seconds from the commit of a batch's oldest events to its being confirmed."""
    batches: Counter[str] = field(factory=Counter)
    """What became of clients' requests that there was room for: the values of `Applied`."""
    requests: Counter[tuple[str, str]] = field(factory=Counter)
    """(server, outcome) -> requests."""
    bytes_taken: int = 0
    """Of the batches that servers said ok to, again those that they had lost."""
    request_seconds: dict[str, Histogram] = field(factory=dict)
    """Server -> how long its answers took."""
    http: AnsweredRequests = field(factory=AnsweredRequests)
    """Of this agent's ports."""

    def keep(self, servers: Collection[str]) -> None:
        """Forget the requests to servers that are not used any more, if there are many: names may be addresses that
        come and go.
        """
        if len(self.requests) > MOST_SERVERS * len(OUTCOMES):
            for server, outcome in list(self.requests):
                if server not in servers:
                    del self.requests[server, outcome]
                    self.request_seconds.pop(server, None)

    def answered(self, server: str, seconds: float) -> None:
        """A server answered a request."""
        self.requests[server, ANSWERED] += 1
        self.request_seconds.setdefault(server, Histogram()).observe(seconds)

    def unanswered(self, server: str, outcome: str) -> None:
        """A request to a server came to nothing: one of OUTCOMES."""
        self.requests[server, outcome] += 1

    def appended(self, sent: Sequence[Outgoing], outcomes: Iterable[Outcome], wall: float) -> None:
        """A server answered for what was sent to it, at wall time `wall`. Looks are none of the batches."""
        said_ok = {(each.incarnation, each.vbucket, each.seq) for each in outcomes if each.verdict is Verdict.OK}
        for each in sent:
            held = each.held
            if held is not None and (each.lane.incarnation, each.lane.vbucket, held.seq) in said_ok:
                self.first_oks.observe(max(0.0, wall - held.sealed))
                self.bytes_taken += held.length

    def confirmed(self, batches: Iterable[Held], wall: float) -> None:
        """Batches were confirmed."""
        for each in batches:
            self.confirmations.observe(max(0.0, wall - each.sealed))
