"""A flood through an agent's judgement of its servers and a server's of its logs, as rates: how late events become."""

from __future__ import annotations

from collections import deque
from random import Random

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.keeping_up import KeepingUp
from taba.interfaces import LogDepth
from taba.server.throttle import Throttle

FOLDS = 1e5
"""Bytes that be folds in a second."""
APPENDS = 3 * FOLDS
STEP = 0.05
PAUSE = 1.0
"""How long an agent leaves a server alone that refused a request."""
WALL = 1_000.0


@define
class Chain:
    """Clients, an agent, one log and a be, by the settings that are the defaults."""

    agent: KeepingUp = field(factory=lambda: KeepingUp(15.0))
    fe: Throttle = field(factory=lambda: Throttle(1 << 28, 1 << 30, lambda vbucket: "shard", 10.0))
    random: Random = field(factory=lambda: Random(1))
    now: float = 0.0
    held: float = 0.0
    appended: float = 0.0
    log: deque[list[float]] = field(factory=deque)  # [appended at, bytes left]
    paused_until: float = 0.0

    def run(self, seconds: float, offered: float) -> None:
        """Go on for a while, with so many bytes offered in a second."""
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            if self.agent.due(self.now):
                self.agent.look(self.now, int(self.held), int(self.appended))
            self.held += 0.0 if self.agent.refuses else offered * STEP
            self._send()
            self._fold(FOLDS * STEP)

    def _send(self) -> None:
        depths = [LogDepth(0, len(self.log), int(self.in_log), WALL + self.log[0][0])] if self.log else []
        self.fe.looked(depths, WALL + self.now)
        if self.held <= 0.0 or self.now < self.paused_until:
            return
        if self.fe.refuses([0], self.random.random):
            self.paused_until = self.now + PAUSE
            return
        size = min(self.held, APPENDS * STEP)
        self.held -= size
        self.appended += size
        self.log.append([self.now, size])

    def _fold(self, room: float) -> None:
        while self.log and room > 0.0:
            size = min(room, self.log[0][1])
            self.log[0][1] -= size
            room -= size
            if self.log[0][1] <= 0.0:
                self.log.popleft()

    @property
    def in_log(self) -> float:
        """What waits in the log, in bytes."""
        return sum(size for _, size in self.log)

    @property
    def late(self) -> float:
        """Seconds until an event that comes now is visible."""
        return (self.held + self.in_log) / FOLDS


class FloodTests(SynchronousTestCase):
    """A minute of more than be can fold."""

    def test_back_within_a_minute(self) -> None:
        """After a minute of twice what slow servers can do events are as soon visible as before within the next."""
        chain = Chain()
        chain.run(20, 0.1 * FOLDS)
        before = chain.late
        chain.run(60, 2 * FOLDS)
        self.assertLess(chain.late, 50.0)
        chain.run(60, 0.1 * FOLDS)
        self.assertLessEqual(chain.late, 1.2 * max(before, 0.1))

    def test_log_is_never_idle(self) -> None:
        """While more is there than can be folded, refusals do not leave be without work."""
        chain = Chain()
        chain.run(20, 0.1 * FOLDS)
        folded = chain.appended - chain.in_log
        chain.run(60, 2 * FOLDS)
        self.assertGreater(chain.appended - chain.in_log - folded, 0.95 * 60 * FOLDS)
