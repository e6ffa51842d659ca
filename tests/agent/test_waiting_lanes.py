"""What an agent refuses while servers of some shards are away, and when they come back."""

from __future__ import annotations

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.keeping_up import LOOK_SECONDS, SLACK_SECONDS, WINDOW_SECONDS, KeepingUp
from taba.agent.waiting_lanes import STUCK_SECONDS, WaitingLanes

SECONDS, ROOM = 15.0, 1_000
SHARDS, LANES = 4, 4


@define(eq=False)
class ModelLane:
    """A lane as `WaitingLanes` sees it: each look at which something waited was a batch."""

    lineage: str = ""
    reached: int = 1
    unsent: int = 0
    bytes: float = 0.0

    def step(self, came: float, room: float) -> float:
        """Something comes; a server takes what it has room for. What it took."""
        self.bytes += came
        gone = min(self.bytes, room)
        self.bytes -= gone
        self.reached += gone > 0
        self.unsent = int(self.bytes > 0)
        return gone


@define
class Fleet:
    """Clients who send evenly to four shards of four lanes as far as they are let; each takes so much a second."""

    judge: KeepingUp = field(factory=lambda: KeepingUp(SECONDS, ROOM))
    waiting: WaitingLanes[ModelLane] = field(factory=WaitingLanes)
    lanes: list[ModelLane] = field(factory=lambda: [ModelLane(f"shard {n % SHARDS}") for n in range(SHARDS * LANES)])
    now: float = 0.0
    taken: float = 0.0
    refused: float = 0.0
    held: float = 0.0

    def run(self, seconds: float, offered: float, *rates: float) -> None:
        """Go on for a while; `rates` are those of the shards, in bytes a second."""
        for _ in range(int(seconds / LOOK_SECONDS)):
            self.now += LOOK_SECONDS
            came = offered * LOOK_SECONDS
            if self.judge.refuses:
                self.refused += came
                came = 0.0
            for number, lane in enumerate(self.lanes):
                self.taken += lane.step(came / len(self.lanes), rates[number % SHARDS] * LOOK_SECONDS / LANES)
            self.held = sum(lane.bytes for lane in self.lanes)
            looked = self.waiting.look(self.now, self.lanes)
            counting, back, gone = (
                int(sum(lane.bytes for lane in lanes)) for lanes in (looked.counting, looked.back, looked.gone)
            )
            self.judge.look(self.now, counting, int(self.taken), back - gone)


class ShardAwayTests(SynchronousTestCase):
    """One shard of four is away."""

    def test_nothing_is_refused(self) -> None:
        """While a shard is away for 19 minutes, and when it comes back, nothing is refused; then all goes out."""
        fleet = Fleet()
        fleet.run(60, 4_000, 1_500, 1_500, 1_500, 1_500)
        fleet.run(19 * 60, 4_000, 1_500, 1_500, 1_500, 0)
        self.assertEqual((fleet.refused, round(fleet.held)), (0, 19 * 60 * 1_000))
        fleet.run(40 * 60, 4_000, 1_500, 1_500, 1_500, 1_500)
        self.assertEqual((fleet.refused, fleet.held), (0, 0))

    def test_rule_holds_afterwards(self) -> None:
        """A flood, when the shard is back, makes no more gather than was there, and than servers take in
        BACKLOG_SECONDS once that has gone.
        """
        fleet = Fleet()
        fleet.run(60, 4_000, 1_500, 1_500, 1_500, 1_500)
        fleet.run(600, 4_000, 1_500, 1_500, 1_500, 0)
        held = fleet.held
        fleet.run(120, 40_000, 1_500, 1_500, 1_500, 1_500)
        self.assertGreater(fleet.refused, 0)
        self.assertLess(fleet.held, held + (SLACK_SECONDS + WINDOW_SECONDS + SECONDS) * 6_000)
        fleet.run(3_600, 4_000, 1_500, 1_500, 1_500, 1_500)
        self.assertEqual(fleet.held, 0)
        fleet.run(120, 40_000, 1_500, 1_500, 1_500, 1_500)
        self.assertLess(fleet.held, (SECONDS + SLACK_SECONDS + 10) * 6_000)

    def test_rule_holds_meanwhile(self) -> None:
        """A shard that is away does not let the others get later than BACKLOG_SECONDS."""
        fleet = Fleet()
        fleet.run(30, 4_000, 1_500, 1_500, 1_500, 0)
        fleet.run(300, 40_000, 1_500, 1_500, 1_500, 0)
        self.assertGreater(fleet.refused, 0)
        others = sum(lane.bytes for lane in fleet.lanes if lane.lineage != "shard 3")
        self.assertLess(others, (SECONDS + SLACK_SECONDS + 10) * 4_500)

    def test_flapping_gives_nothing_away(self) -> None:
        """A shard that comes and goes lets no more gather, for the others, than one that stays."""
        fleet = Fleet()
        for _ in range(30):
            fleet.run(8, 40_000, 1_500, 1_500, 1_500, 0)
            fleet.run(4, 40_000, 1_500, 1_500, 1_500, 1_500)
        others = sum(lane.bytes for lane in fleet.lanes if lane.lineage != "shard 3")
        self.assertLess(others, 3 * (SECONDS + SLACK_SECONDS + 10) * 4_500)

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.lists(st.sampled_from((0.0, 1_500.0)), min_size=4, max_size=4), max_size=4))
    def test_outages_are_never_punished(self, phases: list[list[float]]) -> None:
        """Whichever shards are away, and for how long: as long as each that is there is faster than what comes for it,
        nothing is refused, but for moments until it is known that further ones are away, and how fast the others are.
        """
        fleet = Fleet()
        fleet.run(20, 4_000, 1_500, 1_500, 1_500, 1_500)
        for rates in phases:
            fleet.run(WINDOW_SECONDS, 4_000, *rates)
            refused = fleet.refused
            fleet.run(15, 4_000, *rates)
            self.assertEqual(fleet.refused, refused)


class LaneAloneTests(SynchronousTestCase):
    """Which lanes count."""

    def setUp(self) -> None:
        self.lanes = [ModelLane("a", unsent=1), ModelLane("a", unsent=1)]
        self.waiting: WaitingLanes[ModelLane] = WaitingLanes()

    def look(self, now: float) -> str:
        """Which lanes count, which count again, and which do not any more."""
        looked = self.waiting.look(now, self.lanes)
        found = [[self.lanes.index(lane) for lane in lanes] for lanes in (looked.counting, looked.back, looked.gone)]
        return " ".join("".join(map(str, each)) or "-" for each in found)

    def test_one_lane_of_a_shard(self) -> None:
        """A lane that does not get on beside others of its shard counts for a minute, and again when it gets on."""
        for now in range(int(STUCK_SECONDS)):
            self.lanes[0].reached += 1
            self.assertEqual(self.look(now), "01 - -")
        self.lanes[0].reached += 1
        self.assertEqual(self.look(STUCK_SECONDS), "0 - 1")
        self.lanes[1].reached += 1
        self.assertEqual(self.look(STUCK_SECONDS + 1), "01 1 -")

    def test_quiet_for_long(self) -> None:
        """A lane that had nothing to send for an hour counts as soon as something waits in it."""
        self.lanes = [ModelLane("a")]
        self.assertEqual(self.look(0.0), "- - -")
        self.lanes[0].unsent = 1
        self.assertEqual(self.look(3_600.0), "0 - -")
        self.assertEqual(self.look(3_604.0), "0 - -")
        self.assertEqual(self.look(3_605.5), "- - 0")
