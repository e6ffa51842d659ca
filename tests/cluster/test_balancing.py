"""A fleet of three servers in the simulated network, behind one name: one of them gets slow, hangs, comes and goes, and
leaves the name, and what applications record is visible in time all the same, once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from attrs import define

from taba.settings import Endpoint
from taba.testing.cluster import SERVER_PORT
from taba.testing.members import Member
from taba.testing.redis_cluster import RedisCluster
from taba.web.site import BoundedRequest
from tests.cluster.redis_quiet import QuietCase

NAME = "taba.example"
LOSES = 2.0
"""Seconds within which a bad server loses its lanes."""


@define(eq=False)
class NamedCluster(RedisCluster):
    """Agents that know their servers by one name."""

    def endpoints(self) -> tuple[Endpoint, ...]:
        """See `MemoryCluster`."""
        return (Endpoint(NAME, SERVER_PORT),)


class BalancingTests(QuietCase):
    """Three servers, one agent, one application that records four events a second."""

    def setUp(self) -> None:
        self.cluster = NamedCluster(seed=5, agent_count=1, application_count=1, flush_seconds=0.25)
        self.world, self.network = self.cluster.world, self.cluster.world.network
        self.network.names[NAME] = tuple(each.name for each in self.cluster.servers)
        self.network.record(lambda path: path == b"/v2/append", limit=100_000)
        self.cluster.start()
        (self.agent,), (self.application,) = self.cluster.agents, self.cluster.applications
        self.recorded = 0

    def tearDown(self) -> None:
        """Nothing of the world is left when what it leaves behind is freed."""
        self.world.close()
        del self.cluster, self.world, self.network, self.agent, self.application
        super().tearDown()

    def go_on(self, seconds: float) -> None:
        """Let time pass, recording."""
        for _ in range(round(4 * seconds)):
            self.application.client.counter("c", 1)
            self.recorded += 1
            self.world.advance(0.25)

    def requests_to(self, member: Member, since: int) -> int:
        """How many batches of the requests from the `since`th on went to a server: those that brought something."""
        return sum(each.target == member.name for each in list(self.network.requests)[since:])

    def sent(self) -> int:
        """How many requests agents sent so far."""
        return len(self.network.requests)

    def waiting(self) -> float:
        """For how long the oldest batch waits that no server has said ok to; 0.0 when there is none."""
        agent = self.agent.agent
        assert agent is not None
        times = [each.held[-lane.unsent].sealed for lane in agent.lanes.each() if lane.unsent for each in (lane,)]
        return max((self.agent.node.wall() - each for each in times), default=0.0)

    def known(self) -> list[str]:
        """The addresses of servers that the agent has, sorted."""
        agent = self.agent.agent
        assert agent is not None
        return sorted(each.name.partition("(")[2].rstrip(")") for each in agent.forwarder.endpoints())

    def addresses(self, *members: Member) -> list[str]:
        """The addresses of servers."""
        return sorted(self.network.address_of(each.name) for each in members)

    def bad_for(self, seconds: float, bad: Member) -> None:
        """A server is bad by now: within LOSES it has no lanes any more, and gets next to nothing."""
        longest = 0.0
        for _ in self.steps(LOSES):
            longest = max(longest, self.waiting())
        since = self.sent()
        for _ in self.steps(seconds - LOSES):
            longest = max(longest, self.waiting())
        self.assertLess(longest, LOSES)
        self.assertLessEqual(self.requests_to(bad, since), 0.1 * (self.sent() - since))

    def steps(self, seconds: float) -> Iterator[None]:
        """Let time pass step by step."""
        for _ in range(round(4 * seconds)):
            self.go_on(0.25)
            yield

    def well_again(self, bad: Member) -> None:
        """It gets its share back."""
        self.go_on(45.0)
        since = self.sent()
        self.go_on(15.0)
        self.assertGreater(self.requests_to(bad, since), 0.1 * (self.sent() - since))

    def test_bad_servers(self) -> None:
        """One after another gets slow, hangs, comes and goes, and nothing waits for it; in the end all is counted once.
        """
        slow, hung, flapping = self.cluster.servers
        self.go_on(20.0)
        self.assertEqual(self.known(), self.addresses(slow, hung, flapping))
        for each in self.cluster.servers:
            self.assertGreater(self.requests_to(each, 0), 0)
        self.network.delay(self.agent.name, slow.name, 0.4)
        self.bad_for(12.0, slow)
        self.network.delay(self.agent.name, slow.name, 0.0)
        silent = self.silence(hung)
        self.bad_for(12.0, hung)
        silent()
        self.well_again(hung)
        for _ in range(5):
            self.network.partition(self.agent.name, flapping.name)
            self.network.drop_connection(self.agent.name, flapping.name)
            self.go_on(1.0)
            self.assertLess(self.waiting(), LOSES)
            self.network.heal(self.agent.name, flapping.name)
            self.go_on(1.0)
            self.assertLess(self.waiting(), LOSES)
        self.count()

    def silence(self, member: Member) -> Any:
        """A server takes requests of agents and never answers, until the function that comes back is called."""
        host = self.network.address_of(member.name)
        answer = BoundedRequest.process
        held: list[Any] = []

        def process(request: Any) -> None:
            if request.getHost().host == host and request.path.startswith(b"/v2/"):
                held.append(request)
            else:
                answer(request)

        def end() -> None:
            self.patch(BoundedRequest, "process", answer)
            held.clear()

        self.patch(BoundedRequest, "process", process)
        return end

    def test_name_is_followed(self) -> None:
        """A name loses a server and gets another one: within a minute that is used, and no connection to the other one
        is left.
        """
        first, second, third = self.cluster.servers
        self.network.names[NAME] = (first.name, second.name)
        self.go_on(60.0)
        self.assertEqual(self.known(), self.addresses(first, second))
        self.assertEqual(self.network.connections(self.agent.name, third.name), [])
        since = self.sent()
        self.go_on(20.0)
        self.assertEqual(self.requests_to(third, since), 0)
        self.network.names[NAME] = (second.name, third.name)
        self.go_on(60.0)
        self.assertEqual(self.known(), self.addresses(second, third))
        self.assertEqual(self.network.connections(self.agent.name, first.name), [])
        since = self.sent()
        self.go_on(20.0)
        self.assertEqual(self.requests_to(first, since), 0)
        self.assertGreater(min(self.requests_to(each, since) for each in (second, third)), 0)
        self.count()

    def count(self) -> None:
        """All that was recorded is counted, once."""
        self.cluster.heal()
        self.cluster.settle()
        answer = json.loads(self.cluster.get("/tabs?name=c").decode().partition(": ")[2])
        self.assertEqual(answer["pct"]["count"], self.recorded)
