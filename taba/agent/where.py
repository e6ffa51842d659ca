"""How far events are that an agent holds: `/where` (the newest event of one client's tab), `/held` (since when anything
is held), and `/ledger`. With DOUBLE_AGENT `/held` is about both spools, the others are about the first one.

An event goes from the open accumulator to a commit, to the sections that wait for their seal, to a batch of a lane; the
agent lets go of it when the batch is confirmed. On its way from one to the next it is in a turn of the committer, where
nobody sees it: so one looks between two turns.

The effort is bounded, and an answer says so when it may have missed something.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import Request

from taba import native
from taba.agent.double import DoubleAgent
from taba.agent.held import Held
from taba.agent.records import Extent
from taba.agent.service import Agent
from taba.errors import CodecError, SpoolError
from taba.web.answers import Leaf, Refusal, accepts_json, write_json, write_text

OPEN_BYTES = 8 << 20
"""An open accumulator that holds more is not looked into: that is done in the reactor's thread."""
READ_BYTES = 32 << 20
"""So much is read back from the spool for one question, the newest first."""
PAUSE_SECONDS = 0.01
PAUSES = 200
"""How often the end of a turn is waited for. A disk that refuses keeps one for as long."""


@frozen
class Newest:
    """The answer to one question."""

    time: float | None
    """Of the newest event, rounded down to what its Partial keeps; None when the agent holds none."""
    complete: bool
    """Whether everything was looked at."""


@frozen
class HeldSince:
    """Since when an agent holds anything."""

    pending: int
    """Durable events that are not confirmed."""
    oldest: float | None
    """When the oldest of what is held was taken, by the agent's clock; 0.0 when that is not known, None when nothing
    is held.
    """
    now: float
    """By the agent's clock."""


@define
class _Finding:
    """What a question has found so far."""

    tab: str
    client: str
    time: float | None = None
    complete: bool = True
    left: int = field(factory=lambda: READ_BYTES)
    """Bytes that may still be read."""

    def look(self, batch: bytes) -> None:
        """Look through sections."""
        try:
            for tab, client, _, _, _, first, _, newest in native.batch_partials(batch):
                if tab == self.tab and client == self.client and first >= 0:
                    self.time = newest if self.time is None else max(self.time, newest)
        except CodecError:
            self.complete = False

    def may_read(self, length: int) -> bool:
        """Whether so many bytes more may be read; takes them off."""
        self.left -= length
        if self.left < 0:
            self.complete = False
        return self.left >= 0


async def newest(agent: Agent, tab: str, client: str) -> Newest:
    """The newest event of a client's tab that the agent holds."""
    finding = _Finding(tab, client)
    finding.complete = await _between_turns(agent)
    vbuckets = agent.committer.vbuckets
    vbucket = native.crc32(tab.encode()) % vbuckets if vbuckets else 0
    # All of this is one moment: nothing comes in between.
    for section in _open_sections(agent, finding, vbuckets):
        if section.vbucket == vbucket:
            finding.look(section.data)
    extents = list(_waiting(agent, finding, vbucket))
    batches = [each for lane in agent.lanes.each() if lane.vbucket == vbucket for each in lane.held]
    batches = sorted(batches, key=lambda each: each.sealed, reverse=True)
    extents = [each for each in sorted(extents, key=_place, reverse=True) if finding.may_read(each.length)]
    batches = [each for each in batches if finding.may_read(each.length)]
    await agent._worker(_read, agent, finding, vbucket, extents, batches)
    return Newest(finding.time, finding.complete)


def _place(extent: Extent) -> tuple[int, int]:
    return extent.segment, extent.offset


async def _between_turns(agent: Agent) -> bool:
    """Wait for the end of a turn that is under way; False when it takes too long."""
    for _ in range(PAUSES):
        if not agent.committer._turning:
            return True
        await deferLater(agent._clock, PAUSE_SECONDS)
    return False


def _open_sections(agent: Agent, finding: _Finding, vbuckets: int) -> Sequence[native.Section]:
    """What is not committed yet."""
    if agent.intake is None or agent.intake.open.empty:
        return ()
    accumulator = agent.intake.open.accumulator
    if accumulator.summary()[2] > OPEN_BYTES:
        finding.complete = False
        return ()
    return accumulator.encode(vbuckets)


def _waiting(agent: Agent, finding: _Finding, vbucket: int) -> Iterator[Extent]:
    """Look through the sections that wait for a seal and are in memory; those that have to be read."""
    sealing = agent.committer.sealing
    some = [pieces for (_, where), pieces in sealing.waiting.items() if where == vbucket]
    for piece in (piece for pieces in [*some, *sealing.undivided.values()] for piece in pieces):
        if piece.data is not None:
            finding.look(piece.data)
        elif piece.extent is not None:
            yield piece.extent


def _read(
    agent: Agent, finding: _Finding, vbucket: int, extents: Sequence[Extent], batches: Sequence[Held]
) -> None:
    """In the spool's thread: read, and look."""
    for extent in extents:
        try:
            finding.look(agent.spool.read([extent]))
        except (OSError, SpoolError):
            finding.complete = False
    for each in batches:
        try:
            body = agent.spool.read_batches([(vbucket, each)], agent._split)[0]
        except (OSError, SpoolError):
            body = None
        if body is None:  # damaged, or confirmed meanwhile
            finding.complete = False
        else:
            finding.look(body)


async def held_since(agent: Agent) -> HeldSince:
    """Since when the agent holds anything, in both spools where it has two. Looks at the first batch of every lane: a
    lane's batches are sealed, and confirmed, in the order in which their events came.
    """
    held = await _held_by(agent)
    if not isinstance(agent, DoubleAgent):
        return held
    second = await _held_by(agent.second)
    times = [each.oldest for each in (held, second) if each.oldest is not None]
    return HeldSince(held.pending + second.pending, min(times, default=None), second.now)


async def _held_by(agent: Agent) -> HeldSince:
    settled = await _between_turns(agent)
    sealing, intake = agent.committer.sealing, agent.intake
    firsts = [next(iter(lane._held.values()), None) for lane in agent.lanes.each()]
    times = [each.sealed for each in firsts if each is not None]
    times += [pieces[0].time for pieces in (*sealing.waiting.values(), *sealing.undivided.values()) if pieces]
    if intake is not None and intake.open.opened is not None:
        times.append(intake.open.opened)
    oldest = min(times, default=None) if settled else 0.0
    return HeldSince(agent.committer.pending, oldest, agent._wall())


# ---------------------------------------------------------------------------------------------------------------- http


class WhereResources:
    """The endpoints over one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def leaves(self) -> dict[str, Resource]:
        """Path -> resource."""
        where, held = self._where, self._held
        return {
            "where": Leaf(get=lambda request: Deferred.fromCoroutine(where(request))),
            "held": Leaf(get=lambda request: Deferred.fromCoroutine(held(request))),
            "ledger": Leaf(get=self.ledger),
        }

    async def _where(self, request: Request) -> None:
        """`{"agent": TIME or null, "complete": BOOL}`."""
        found = await newest(self._agent, _parameter(request, "name"), _parameter(request, "client"))
        write_json(request, {"agent": found.time, "complete": found.complete})

    async def _held(self, request: Request) -> None:
        """`{"pending": EVENTS, "oldest": TIME or null, "now": TIME}`."""
        found = await held_since(self._agent)
        write_json(request, {"pending": found.pending, "oldest": found.oldest, "now": found.now})

    def ledger(self, request: Request) -> None:
        """The account: line -> events."""
        lines = self._agent.ledger()
        if accepts_json(request):
            write_json(request, lines)
        else:
            write_text(request, "".join(f"{line}: {lines[line]}\n" for line in sorted(lines)))


def _parameter(request: Request, name: str) -> str:
    """A parameter of the URL. Raises Refusal where it is missing."""
    values: Any = (request.args or {}).get(name.encode(), [])
    if len(values) != 1 or not values[0]:
        raise Refusal(400, "Ask for /where?name=TAB&client=CLIENT.")
    return str(values[0].decode("utf-8", "replace"))
