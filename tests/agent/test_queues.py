"""AGENT_QUEUES_PER_SERVER: how many requests an agent has under way at a time to one server."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer

from taba.agent.endpoint import IEndpoint
from taba.local_endpoint import LocalEndpoint
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology
from tests.agent.agent_case import AgentCase

SLOW_SECONDS = 2.0
TABS = ("a", "b", "c", "d", "e", "f", "g", "h")
"""Tabs of all four vbuckets."""


@implementer(IEndpoint)
class SlowServer:
    """A server that takes a while to answer."""

    def __init__(self, case: AgentCase, server: LocalEndpoint) -> None:
        self._case = case
        self._server = server
        self.name = server.name
        self.under_way = 0
        self.most = 0
        """Requests that were under way at once."""

    def topology(self) -> Deferred[Topology]:
        """At once."""
        return self._server.topology()

    def append(self, request: AppendRequest) -> Deferred[AppendAnswer]:
        """After SLOW_SECONDS."""
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        answered: Deferred[AppendAnswer] = Deferred()

        def answer() -> None:
            self.under_way -= 1
            self._server.append(request).chainDeferred(answered)

        self._case.clock.callLater(SLOW_SECONDS, answer)
        return answered


class QueuesTests(AgentCase):
    """One agent in front of a slow server."""

    def most_under_way(self, queues: int) -> int:
        """How many requests are under way at once, with new events of all vbuckets all the time. All arrive once."""
        server = SlowServer(self, self.local)
        self.agent = self.start(server, queues_per_server=queues, flush_seconds=0.1)
        given = 0
        for _ in range(8):
            for tab in TABS:
                self.give(1, tab=tab)
                given += 1
                self.pass_time(0.15)
        self.pass_time(10 * SLOW_SECONDS)
        self.assertEqual(self.total(), (given, given))
        stopped = self.agent.stopService()
        self.pass_time(2 * SLOW_SECONDS)
        self.successResultOf(stopped)
        return server.most

    def test_one(self) -> None:
        """As by default, one at a time."""
        self.assertEqual(self.most_under_way(1), 1)

    def test_several(self) -> None:
        """With three, lanes that have something to send do not wait for those that are under way."""
        self.assertEqual(self.most_under_way(3), 3)

    def test_one_for_each_lane(self) -> None:
        """A lane has one batch under way at a time: with four vbuckets no more than four requests can be."""
        self.assertLessEqual(self.most_under_way(64), 4)
