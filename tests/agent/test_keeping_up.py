"""When an agent takes no more because its servers do not keep up; how its memory is shared out; the bodies it keeps."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.budget import LEAST_BYTES, PROCESS_BYTES, AgentBudget, memory_inside
from taba.agent.keeping_up import LOOK_SECONDS, ROOM_BYTES, SLACK_SECONDS, WINDOW_SECONDS, KeepingUp
from taba.agent.kept_bodies import KeptBodies

SECONDS, ROOM = 20.0, 1_000


class Flow:
    """Clients who send `offered` bytes a second as far as they are let, servers who take `rate` at most."""

    def __init__(self, seconds: float | None = SECONDS, room: int = ROOM) -> None:
        self.judge = KeepingUp(seconds, room)
        self.now = self.backlog = self.taken = self.refused = 0.0
        self.most = 0.0

    def run(self, seconds: float, offered: float, rate: float) -> None:
        """Go on for a while, in steps of a look."""
        for _ in range(int(seconds / LOOK_SECONDS)):
            self.now += LOOK_SECONDS
            came = offered * LOOK_SECONDS
            if self.judge.refuses:
                self.refused += came
                came = 0.0
            gone = min(self.backlog + came, rate * LOOK_SECONDS)
            self.backlog += came - gone
            self.taken += gone
            self.most = max(self.most, self.backlog)
            if self.judge.due(self.now):
                self.judge.look(self.now, int(self.backlog), int(self.taken))


class KeepingUpTests(SynchronousTestCase):
    """Clients, an agent and its servers, as rates."""

    def test_flood(self) -> None:
        """With ten times of what servers can do, no more is held than they take in BACKLOG_SECONDS, and clients hear
        it; a minute after the flood all has gone.
        """
        flow = Flow()
        flow.run(30, 200, 1_000)
        self.assertEqual(flow.refused, 0)
        flow.run(60, 10_000, 1_000)
        self.assertLessEqual(flow.most, (SECONDS + SLACK_SECONDS + 10) * 1_000)
        self.assertGreater(flow.refused, 0.8 * 60 * 10_000)
        flow.run(60, 200, 1_000)
        self.assertEqual(flow.backlog, 0)

    def test_servers_away(self) -> None:
        """While servers take nothing everything is taken, however much that becomes."""
        flow = Flow()
        flow.run(30, 500, 1_000)
        flow.run(WINDOW_SECONDS + 2_400, 500, 0)
        self.assertGreater(flow.backlog, 1_000_000)
        self.assertEqual(flow.refused, 0)

    def test_coming_back(self) -> None:
        """What gathered while servers were away goes out beside what comes, and nothing of that is refused."""
        flow = Flow()
        flow.run(30, 500, 1_000)
        flow.run(600, 500, 0)
        flow.run(700, 500, 1_000)
        self.assertEqual((flow.refused, flow.backlog), (0, 0))

    def test_coming_back_into_a_flood(self) -> None:
        """Where servers come back and more comes than they take, what is held stays about what it was."""
        flow = Flow()
        flow.run(30, 500, 1_000)
        flow.run(600, 500, 0)
        held = flow.backlog
        flow.run(600, 5_000, 1_000)
        self.assertLess(flow.backlog, held + (SLACK_SECONDS + WINDOW_SECONDS + 5) * 5_000)
        self.assertGreater(flow.refused, 0)

    def test_little_is_always_taken(self) -> None:
        """What is less than the room is never refused, however slow servers are."""
        flow = Flow()
        flow.run(90, 11, 1)
        self.assertEqual(flow.refused, 0)

    def test_slow_servers(self) -> None:
        """What is accepted in a minute of ten times what slow servers can do, 100 KB a second, is gone in the next."""
        flow = Flow(15.0, ROOM_BYTES)
        flow.run(30, 1e4, 1e5)
        flow.run(60, 1e6, 1e5)
        self.assertLess(flow.backlog, 25 * 1e5)
        flow.run(60, 1e4, 1e5)
        self.assertEqual(flow.backlog, 0)

    def test_burst(self) -> None:
        """More at once than servers took in a minute before, because nothing more came, is not refused."""
        flow = Flow()
        flow.run(60, 10, 10_000)
        for _ in range(5):
            flow.run(1, 15_000, 10_000)
            flow.run(5, 10, 10_000)
        self.assertEqual(flow.refused, 0)

    def test_servers_get_slower(self) -> None:
        """What servers could do an hour ago counts for nothing: no more gathers than was here when they got slower."""
        flow = Flow()
        flow.run(3_600, 10_000, 1_000)
        before = flow.backlog
        flow.run(180, 10_000, 100)
        self.assertLess(flow.backlog, before + (SLACK_SECONDS + WINDOW_SECONDS) * 1_000)
        flow.run(before / 50 + 60, 20, 100)
        refused = flow.refused
        flow.run(60, 10_000, 100)
        self.assertLess(flow.backlog, (SECONDS + SLACK_SECONDS + 10) * 100 + 2 * 10_000)
        self.assertGreater(flow.refused, refused + 30 * 10_000)

    def test_no_limit(self) -> None:
        """Without BACKLOG_SECONDS nothing is refused, and nobody has to look."""
        flow = Flow(None)
        flow.run(60, 10_000, 1_000)
        self.assertEqual(flow.refused, 0)
        self.assertFalse(flow.judge.due(1e9))

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5_000), st.integers(0, 5_000)), max_size=3))
    def test_servers_faster_than_clients(self, phases: list[tuple[int, int, int]]) -> None:
        """As soon as servers take more than comes, refusals end, whatever was before."""
        flow = Flow()
        for seconds, offered, rate in phases:
            flow.run(seconds, offered, rate)
        flow.run(WINDOW_SECONDS + flow.backlog / 100 + 10, 100, 200)
        self.assertFalse(flow.judge.refuses)


class AgentBudgetTests(SynchronousTestCase):
    """AGENT_MEMORY_BYTES, shared out."""

    @given(st.integers(0, 1 << 40))
    def test_parts_fit(self, memory: int) -> None:
        """The parts and the process itself are less than the whole, and none is nothing."""
        parts = AgentBudget.of(memory)
        together = PROCESS_BYTES + parts.intake + parts.bodies + parts.waiting
        self.assertLess(together, max(memory, LEAST_BYTES))
        self.assertGreater(min(parts.intake, parts.bodies, parts.waiting), 1 << 20)

    def test_inside(self) -> None:
        """An agent in a server's process has its share beside what the process itself takes."""
        self.assertEqual(memory_inside(100 << 20), PROCESS_BYTES + (100 << 20))
        self.assertEqual(memory_inside(0), LEAST_BYTES)


class KeptBodiesTests(SynchronousTestCase):
    """Bodies that wait in memory."""

    def test_within_a_size(self) -> None:
        """What goes beyond the size is not kept; room that is given back is used again."""
        kept = KeptBodies(10)
        kept.put(("a", 1), 1, b"123456")
        kept.put(("a", 2), 1, b"12345")
        self.assertIsNone(kept.take(("a", 2), 1))
        self.assertEqual(kept.take(("a", 1), 1), b"123456")
        self.assertIsNone(kept.take(("a", 1), 1))
        kept.put(("a", 2), 1, b"1234567890")
        self.assertEqual((kept.size, kept.take(("a", 2), 1)), (10, b"1234567890"))
