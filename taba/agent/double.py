"""An agent that copies all it takes to a second spool and set of servers: DOUBLE_AGENT.

Two agents, each with a spool, lanes and a forwarder of its own, are fed from the same scratches. The first one is what
clients see: its instances decide what is a duplicate, and its room whether a request is taken; it never waits for the
second one's servers, and goes on when the second spool is full or fails. The second one is given what the first one
counted, and keeps the numbers of clients' batches, too, so that each event is in it once.

A request is answered when its commits in both spools are durable. A crash in between leaves a batch in one spool
alone; its client got no answer and sends it again, and each spool then decides by its own numbers: the one that has
the batch sees a duplicate, the other one takes it. An instance that the second spool does not know, because it was
full when that was opened or was added later, is known there from its first batch on. The second spool keeps instances
a day longer than the first one, so that it never forgets one whose batches may still be repeated.

What the second spool lacks stands in the ledger of the first one, in the commit that has the events themselves:
`double.missed` counts those that it could not take; a client that repeats such a batch does not bring it there after
all (but in the next life of the process it may: then the line is too high). `double.uncertain` counts those that were
answered although the second disk failed, or took more than SECOND_SECONDS: they are written there when it works again,
and lost there if the process ends before. Requests without numbers are at least once on both ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from taba.agent.budget import PROCESS_BYTES
from taba.agent.endpoint import IEndpoint
from taba.agent.intake import MAX_INSTANCES, Applied, BatchNumber, Instance, Receipt
from taba.agent.service import Agent
from taba.agent.unsent import Unsent
from taba.errors import SpoolError, WrongType
from taba.metrics import Exposition
from taba.native import Scratch
from taba.process import Process
from taba.settings import AgentSettings
from taba.stopping import stop_in_turn

MISSED = "double.missed"
UNCERTAIN = "double.uncertain"
SECOND_SECONDS = 5.0
"""How long an answer waits for the second spool when the first one has the events."""
MOST_COPIES = 10_000
"""So many requests are kept that nobody waits for (UDP has nobody to answer), before those that are durable go."""
LONGER_DAYS = 1.0
"""How much longer the second spool keeps the numbers of an idle client."""


@frozen
class Copy:
    """Where a request is: the commits of both spools that hold it, and how many events the second one took."""

    first: int
    second: int | None
    events: int


def second_settings(settings: AgentSettings) -> AgentSettings:
    """The settings of the second agent. `settings` must have DOUBLE_AGENT."""
    double = settings.double_agent
    if double is None:
        raise ValueError("there is no DOUBLE_AGENT in these settings")
    return evolve(
        settings,
        servers=double.servers,
        flush_seconds=double.flush_seconds,
        queues_per_server=double.queues_per_server,
        spool=double.spool or f"{settings.spool}-double",
        instance_days=settings.instance_days + LONGER_DAYS,
        backlog_seconds=None,
        double_agent=None,
    )


def of_two(settings: AgentSettings) -> AgentSettings:
    """The settings of one of two agents in a process, which share its memory."""
    return evolve(settings, max_memory_bytes=(settings.max_memory_bytes + PROCESS_BYTES) // 2)


class DoubleAgent(Agent):
    """The first agent, with the second one inside. `Receipt.commit` of its `apply` is a number of its own, for its
    `durable`, which is to be called at once, or not at all.
    """

    _log = Logger()

    def __init__(
        self,
        settings: AgentSettings,
        process: Process,
        kinds: Mapping[str, int],
        endpoints: Sequence[IEndpoint],
        second_endpoints: Sequence[IEndpoint],
    ) -> None:
        super().__init__(of_two(settings), process, kinds, endpoints)
        self.second = Agent(of_two(second_settings(settings)), process, kinds, second_endpoints)
        self.most_copies = MOST_COPIES
        self._copies: dict[int, Copy] = {}
        self._tickets = 0
        self._missed: dict[str, int] = {}
        """Instance -> the last of its batches that was counted as missed in this life."""
        self._missing = 0
        """Events missed since the second spool began to refuse; 0 while it takes everything."""

    # ------------------------------------------------------------------------------------------ start and stop

    @inlineCallbacks
    def startService(self):  # type: ignore[no-untyped-def]
        """See `Agent.startService`; StartError also when the second spool cannot be used."""
        yield Agent.startService(self)
        yield self.second.startService()

    @inlineCallbacks
    def stopService(self):  # type: ignore[no-untyped-def]
        """See `Agent.stopService`, for both."""
        yield stop_in_turn(lambda: Agent.stopService(self), self.second.stopService)

    # ------------------------------------------------------------------------------------------ intake

    def apply(self, scratch: Scratch | None, batch: BatchNumber | None, unsent: Unsent) -> Receipt:
        """See `Agent.apply`. The second agent gets what the first one counted, or counted before."""
        receipt = super().apply(scratch, batch, unsent)
        if receipt.applied is Applied.UNKNOWN:
            return receipt
        copied: Receipt | None = None
        if batch is None or batch.instance is not None:
            copied = self._copy(receipt.applied, scratch, batch, unsent)
        taken = scratch.summary().accepted if scratch and copied and copied.applied is Applied.COUNTED else 0
        if len(self._copies) >= self.most_copies:
            self._copies = {ticket: each for ticket, each in self._copies.items() if not self._safe(each)}
        self._tickets += 1
        self._copies[self._tickets] = Copy(receipt.commit, copied.commit if copied else None, taken)
        return evolve(receipt, commit=self._tickets)

    def _copy(
        self, applied: Applied, scratch: Scratch | None, batch: BatchNumber | None, unsent: Unsent
    ) -> Receipt | None:
        """Give a request to the second agent; None when it does not have it."""
        name = batch.instance or "" if batch is not None else ""
        if applied is Applied.DUPLICATE and batch is not None and batch.number <= self._missed.get(name, 0):
            return None  # the ledger says that it is missing: it stays so
        adopted = False
        try:
            adopted = self._adopt(name) if batch is not None else False
            copied = self.second.apply(scratch, batch, unsent)
        except (SpoolError, MemoryError, WrongType) as problem:
            if adopted and self.second.intake is not None:
                del self.second.intake.instances[name]
            self._miss(scratch.summary().accepted if scratch is not None else 0, batch, str(problem))
            return None
        if self._missing and copied.applied is Applied.COUNTED:
            self._log.info("The second spool takes events again; it misses {events}", events=self._missing)
            self._missing = 0
        return copied

    def _adopt(self, name: str) -> bool:
        """Let the second agent know an instance of the first one; whether it did not."""
        intake = self.second._taking()
        if name in intake.instances:
            return False
        intake.instances[name] = Instance(0, intake.durable, self._wall())
        return True

    def _miss(self, events: int, batch: BatchNumber | None, problem: str) -> None:
        """The second agent takes nothing: count it where the events are."""
        if not self._missing:
            self._log.error(
                "The second spool (DOUBLE_AGENT) takes nothing, and the first one goes on alone: {problem}",
                problem=problem,
            )
        if batch is not None and batch.instance is not None:
            if len(self._missed) >= MAX_INSTANCES:
                self._missed = {name: last for name, last in self._missed.items() if name in self._taking().instances}
            self._missed[batch.instance] = batch.number
        self._missing += max(1, events)
        self._count(MISSED, events)

    def _count(self, line: str, events: int) -> int:
        commit = self._taking().count(line, events, self._wall())
        self.committer.wake()
        return commit

    def _safe(self, copy: Copy) -> bool:
        """Whether a request is durable in both spools."""
        second = self.second.intake
        first = copy.first <= self._taking().durable
        return first and (copy.second is None or (second is not None and copy.second <= second.durable))

    @inlineCallbacks
    def durable(self, commit: int):  # type: ignore[no-untyped-def]
        """Fires when a receipt's request is durable in both spools, or in the first one and what is uncertain of the
        second one is durably counted. SpoolError when the first disk refuses it for now.
        """
        copy = self._copies.pop(commit, None)
        if copy is None:
            return  # it was durable long ago
        waiting = self._second_durable(copy)
        yield Agent.durable(self, copy.first)
        if not (yield waiting) and copy.events:
            yield Agent.durable(self, self._count(UNCERTAIN, copy.events))

    def _second_durable(self, copy: Copy) -> Deferred[bool]:
        """Fires with whether the second spool has a request durably, or with False after SECOND_SECONDS."""
        fired: Deferred[bool] = Deferred()
        if copy.second is None:
            fired.callback(True)
            return fired

        def end(done: bool) -> None:
            if timer.active():
                timer.cancel()
            if not fired.called:
                fired.callback(done)

        timer = self._clock.callLater(SECOND_SECONDS, end, False)
        self.second.durable(copy.second).addCallbacks(lambda _: end(True), lambda _: end(False))
        return fired

    # ------------------------------------------------------------------------------------------ the account

    def facts(self) -> dict[str, Any]:
        """The first agent's, with those of the second one as `double`."""
        return {**super().facts(), "double": self.second.facts()}

    def text(self) -> str:
        """The same for people."""
        lines = super().text().splitlines(keepends=True)
        first = "".join(line for line in lines if not line.startswith("double: "))
        return f"{first}double agent:\n{indent(self.second.text(), '  ')}"

    def expose(self, into: Exposition, prefix: str = "taba_agent") -> None:
        """The first agent's, and those of the second one as taba_double_agent_*."""
        super().expose(into, prefix)
        self.second.expose(into, "taba_double_agent")
