"""Puts StatsD lines into the agent's ordinary intake: gathers them for a while, then applies them as one request that
has no number.

Invariants: what was taken from a socket is applied, or held until there is room for it, or counted as dropped, with the
reason; while the agent refuses events, streams are not read; while it can take none, datagrams from the network are
received and dropped, so that memory stays bounded, and those of UNIX sockets wait, with their senders. (While only the
servers are behind datagrams are taken: nobody would send them again.) Counts of lines enter the ledger with the commit
that is open when they are told. Used in the reactor thread only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from taba.agent.service import Agent
from taba.errors import LimitReached, SpoolError, WrongType
from taba.native import (
    STATSD_METRICS,
    Received,
    Statsd,
    StatsdCounts,
    StatsdScratch,
    StatsdStream,
)

LEAST_WINDOW = 1 << 16
"""Events that are gathered before they are applied ahead of time."""
EVENTS_PER_TAB = 32
"""The same, for each tab: folding many events of a tab at once costs a fraction of folding them one by one."""
MOST_WINDOW = 1 << 20
GIVEN = 1 << 20
"""Events applied at a time, at first: a sampled timer may stand for many."""
LEAST_GIVEN = 1 << 12
"""Half as many are applied from then on when a request has no room for them, but no fewer than these."""
WINDOW_EVENT_BYTES = 24
RETRY_SECONDS = 0.05
"""How often it is tried whether the agent takes events again."""
LOG_SECONDS = 60.0
"""A refused line is shown once in so long, for each reason."""
DATAGRAMS_A_TURN = 256
NAMES_PART = 4
"""Names may take this part of what the intake may, and are all forgotten when they take more."""
LEAST_NAMES_BYTES = 4 << 20
OBSTACLES = ("starting", "disk", "memory", "spool")
"""Why datagrams are dropped: the agent is not ready yet; its disk fails; AGENT_MEMORY_BYTES; SPOOL_MAX_BYTES."""


class Gatherer:
    """What comes in by StatsD, on its way into one agent. `types` is metric -> Type ("" to ignore it); `delay` is how
    long events wait for others before they are applied.
    """

    _log = Logger()

    def __init__(
        self, agent: Agent, statsd: Statsd, types: Mapping[str, str], clock: IReactorTime, delay: float
    ) -> None:
        self._agent = agent
        self._statsd = statsd
        self._types = types
        self._clock = clock
        self._delay = delay
        self._kinds: Mapping[str, int] | None = None
        self._window = LEAST_WINDOW
        self._most = GIVEN
        self._held: StatsdScratch | None = None
        self._held_by = "memory"
        self._told = 0
        self._timer: IDelayedCall | None = None
        self._streams: dict[Any, None] = {}
        self._paused: dict[Any, None] = {}
        self._waiting: dict[Any, None] = {}
        self._shown: dict[str, float] = {}
        self._stopped = False
        self.counts: Counter[str] = Counter()
        """In this life of the process: lines, accepted, refused.REASON, ignored.WHAT, collisions, datagrams, dropped,
        dropped_lines.REASON, resets.
        """
        self.tabs = 0

    # ------------------------------------------------------------------------------------------ what comes in

    def refusing(self) -> bool:
        """Whether senders that can wait should: while the servers are far behind, too."""
        return self._held is not None or self._agent.refusing() is not None

    def dropping(self) -> bool:
        """Whether nothing can be taken now, not even of senders that keep nothing."""
        return self._held is not None or self._agent.obstacle() is not None

    def _obstacle(self) -> str:
        """One of OBSTACLES, while nothing can be taken: what is in the way, or was when something found no room."""
        if self._agent.obstacle() is None:
            return self._held_by
        if self._agent.intake is None:
            return "starting"
        if self._agent.committer.problem is not None:
            return "disk"
        return "spool" if self._agent.committer.full else "memory"

    def _at(self) -> None:
        now, newest = self._agent.times()
        self._statsd.at(now, newest)
        if self._kinds is None or (not self._statsd.waiting() and self._kinds is not self._agent.kinds()):
            self._map()

    def stream(self) -> StatsdStream:
        """For a connection that begins."""
        return StatsdStream(self._statsd)

    def connected(self, transport: Any) -> None:
        """A connection begins."""
        self._streams[transport] = None
        if self.refusing():
            self._pause()

    def feed(self, stream: StatsdStream, data: bytes) -> None:
        """The next bytes of a connection. MemoryError: it is to be given up, and what could not be taken is counted."""
        self._at()
        stream.feed(data)
        self._taken()
        if self.refusing():
            self._pause()

    def _pause(self) -> None:
        """Read no connection until the agent takes events again: each could bring as much as one read holds."""
        for transport in [each for each in self._streams if each not in self._paused]:
            transport.pauseProducing()
            self._paused[transport] = None
        self._wake(RETRY_SECONDS)

    def keep_waiting(self, port: Any) -> None:
        """Do not read a port, whose senders wait, until something can be taken."""
        port.pauseProducing()
        self._waiting[port] = None
        self._wake(RETRY_SECONDS)

    def end(self, stream: StatsdStream, transport: Any, whole: bool) -> None:
        """A connection is over; `whole` when the other side closed it in order."""
        self._streams.pop(transport, None)
        self._paused.pop(transport, None)
        if self._stopped:
            return
        self._at()
        stream.end(whole)
        self._taken()

    def datagram(self, data: bytes) -> None:
        """A datagram that somebody else received."""
        self.counts["datagrams"] += 1
        if self.dropping():
            self._dropped(1, sum(line not in (b"", b"\r") for line in data.split(b"\n")))
            return
        self._at()
        try:
            self._statsd.datagram(data)
        except MemoryError:
            self.flush()
        self._taken()

    def receive(self, socket: int) -> Received:
        """Take the datagrams that wait at a socket, or drop them while the agent can take none."""
        discard = self.dropping()
        self._at()
        received = self._statsd.receive(socket, DATAGRAMS_A_TURN, discard)
        self.counts["datagrams"] += received.datagrams
        if discard:
            self._dropped(received.datagrams, received.lines)
            return received
        if received.exhausted:
            self.flush()
        self._taken()
        return received

    def _dropped(self, datagrams: int, lines: int) -> None:
        reason = self._obstacle()
        self.counts["dropped"] += datagrams
        self.counts[f"dropped_lines.{reason}"] += lines
        self._agent.note({"dropped.datagrams": datagrams, f"dropped.lines.{reason}": lines})
        if self._clock.seconds() >= self._shown.get(f"dropped.{reason}", 0.0):
            self._shown[f"dropped.{reason}"] = self._clock.seconds() + LOG_SECONDS
            why = self._agent.obstacle() or "The agent's memory is full (AGENT_MEMORY_BYTES)."
            self._log.warn("StatsD: datagrams are dropped, {lines} lines at first: {why}", lines=lines, why=why)
        self._wake(RETRY_SECONDS)

    def dropped_by_kernel(self, datagrams: int) -> None:
        """The kernel dropped so many more, for want of room in a socket's buffer."""
        self.counts["dropped_by_kernel"] += datagrams
        self._agent.note({"dropped.datagrams.kernel": datagrams})

    # ------------------------------------------------------------------------------------------ what goes on

    def _taken(self) -> None:
        waiting = self._statsd.waiting()
        if waiting >= self._window:
            self.flush()
        else:
            self._hold(waiting)
            self._wake(self._delay)

    def _wake(self, delay: float) -> None:
        if self._timer is None and not self._stopped:
            self._timer = self._clock.callLater(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Apply what was gathered, as far as there is room."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            while self._held is not None or self._statsd.waiting():
                self._apply()
        except SpoolError:
            self._held_by = self._obstacle()
            self._wake(RETRY_SECONDS)
        self._hold(self._statsd.waiting())
        self._account(self._statsd.take())
        self._resume()

    def _resume(self) -> None:
        """Let go on what waits, as far as the agent takes events again."""
        if self._waiting and not self.dropping():
            waiting, self._waiting = self._waiting, {}
            for port in waiting:
                port.resumeProducing()
        if self._paused and not self.refusing():
            paused, self._paused = self._paused, {}
            for transport in paused:
                transport.resumeProducing()
        if self._paused or self._waiting:
            self._wake(RETRY_SECONDS)

    def _apply(self) -> None:
        """Apply a part of what was gathered. SpoolError when there is no room; then it is held."""
        if self._held is None:
            try:
                scratch = self._agent.begin(StatsdScratch)
                assert isinstance(scratch, StatsdScratch)
                self._statsd.give(scratch, self._most)
            except (LimitReached, MemoryError, WrongType) as problem:
                if isinstance(problem, LimitReached) and self._most > LEAST_GIVEN:
                    self._most //= 2
                else:
                    self._lose(problem)
                return
            self._held = scratch
        self._tell(0)  # what is held here must not keep itself from being applied
        try:
            self._agent.apply(self._held, None, {})
        except (MemoryError, WrongType) as problem:
            self._lose(problem)
        self._held = None

    def _lose(self, problem: Exception) -> None:
        """There is no memory for what was gathered, or held, or it can never be applied."""
        held = 0 if self._held is None else self._held.summary().accepted
        lost = self._statsd.waiting() + held
        self._log.error("{events} events of StatsD are lost: {problem}", events=lost, problem=problem)
        self._statsd.clear()
        self.counts["lost"] += lost
        self._agent.note({"received": lost, "refused.memory": lost})

    def _hold(self, waiting: int) -> None:
        """Tell the agent how many bytes are held."""
        self._tell(waiting * WINDOW_EVENT_BYTES + (self._held.memory() if self._held is not None else 0))

    def _tell(self, held: int) -> None:
        self._agent.receiving(held - self._told)
        self._told = held

    # ------------------------------------------------------------------------------------------ the account

    def _account(self, counts: StatsdCounts) -> None:
        """Note what became of lines."""
        self.tabs = counts.tabs
        self._window = min(MOST_WINDOW, max(LEAST_WINDOW, EVENTS_PER_TAB * counts.tabs))
        refused = {f"refused.{reason}": count for reason, count in counts.refused.items()}
        ignored = {f"ignored.{what}": count for what, count in counts.ignored.items()}
        self.counts.update(refused)
        self.counts.update(ignored)
        self.counts.update(lines=counts.lines, accepted=counts.accepted, collisions=counts.collisions)
        if refused or ignored:
            self._agent.note({"received": sum(refused.values()), **refused, **ignored})
        for reason, line in counts.samples.items():
            self._show(reason, counts.refused[reason], line)
        if "type" in counts.refused:
            self._agent.types.missed()
        most = max(LEAST_NAMES_BYTES, self._agent.budget.intake // NAMES_PART)
        if counts.names > most and not self._statsd.waiting():
            self._forget(counts.names)

    def _show(self, reason: str, count: int, line: bytes) -> None:
        now = self._clock.seconds()
        if now >= self._shown.get(reason, 0.0):
            self._shown[reason] = now + LOG_SECONDS
            self._log.warn(
                "StatsD: {count} refused ({reason}), among them {line}", count=count, reason=reason, line=repr(line)[1:]
            )

    def _forget(self, size: int) -> None:
        self._log.warn("StatsD: names take {size} bytes; they are forgotten, gauges begin at 0 again", size=size)
        self._statsd.clear(names=True)
        self.counts["resets"] += 1

    def _map(self) -> None:
        """Say which Types there are."""
        self._kinds = self._agent.kinds()
        for metric in STATSD_METRICS:
            name = self._types.get(metric, "")
            try:
                self._statsd.map(metric, name, self._kinds.get(name) if name else 0)
            except ValueError:
                self._log.error("STATSD_TYPES: {metric} cannot be of Type {name}", metric=metric, name=name)
                self._statsd.map(metric, name, None)

    def stop(self) -> None:
        """Apply what was gathered, a last time."""
        self._stopped = True
        self.flush()


