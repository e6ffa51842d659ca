"""What a be takes and hands over: whoever joins or leaves moves its share, everything comes to rest, nothing goes to
and fro.
"""

from __future__ import annotations

from random import Random

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.server.assignment import assigned
from taba.server.membership import (
    DECLINED_SECONDS,
    FAILED_SECONDS,
    PATIENCE_SECONDS,
    SETTLED_SECONDS,
    Decision,
    Member,
    Membership,
    members_among,
    packed,
    unpacked,
)

VBUCKETS = 32
LOOK = 0.5
LEASE = 2.0
NAMES = ("a", "b", "c", "d", "e")


@define
class Node:
    """A be of the table."""

    membership: Membership
    held: set[int] = field(factory=set)
    refuses: frozenset[int] = frozenset()
    """What it never takes, whatever prefers it."""


@define
class Table:
    """Leases and publications of some be, who look one after another, in any order, every half second."""

    random: Random
    now: float = 0.0
    nodes: dict[str, Node] = field(factory=dict)
    published: dict[str, tuple[float, Member]] = field(factory=dict)
    leases: dict[int, tuple[str, float]] = field(factory=dict)
    moves: list[tuple[int, str]] = field(factory=list)
    """Every grant: vbucket, to whom."""

    def join(self, name: str, weight: float = 1.0, refuses: frozenset[int] = frozenset()) -> None:
        """A be starts."""
        self.nodes[name] = Node(Membership(name, VBUCKETS, weight), refuses=refuses)

    def leave(self, name: str) -> None:
        """A be stops in good order: it takes back what it published, and releases."""
        self.published.pop(name, None)
        for vbucket in self.nodes.pop(name).held:
            del self.leases[vbucket]

    def die(self, name: str) -> None:
        """A be is killed: its leases and what it published run out by themselves."""
        del self.nodes[name]

    def run(self, seconds: float) -> None:
        """Let all look, again and again."""
        for _ in range(int(seconds / LOOK)):
            for name in self.random.sample(sorted(self.nodes), len(self.nodes)):
                self.now += LOOK / len(self.nodes)
                self._look(name)

    def _look(self, name: str) -> None:
        node = self.nodes[name]
        for vbucket in node.held:
            self.leases[vbucket] = name, self.now + LEASE
        self.published[name] = self.now + LEASE, Member(node.membership.weight, frozenset(node.held))
        members = {each: member for each, (until, member) in self.published.items() if self.now < until}
        decision = node.membership.look(self.now, members, node.held)
        for vbucket in decision.hand_over:
            node.held.discard(vbucket)
            del self.leases[vbucket]
        for vbucket in decision.take:
            holder, until = self.leases.get(vbucket, ("", 0.0))
            if vbucket not in node.refuses and (holder in ("", name) or until <= self.now):
                self.leases[vbucket] = name, self.now + LEASE
                node.held.add(vbucket)
                self.moves.append((vbucket, name))

    def owners(self) -> dict[int, str]:
        """Who holds what."""
        return {vbucket: name for name, node in self.nodes.items() for vbucket in node.held}

    def wanted(self) -> dict[int, str]:
        """Who should hold what."""
        return assigned(range(VBUCKETS), {name: node.membership.weight for name, node in self.nodes.items()})

    def until_settled(self) -> None:
        """Let time pass until everything should be where it belongs: a portion moves in at most two looks."""
        self.run(LEASE + SETTLED_SECONDS + PATIENCE_SECONDS + DECLINED_SECONDS)


names_weights = st.tuples(st.sampled_from(NAMES), st.floats(0.5, 3.0))
joins = st.lists(names_weights, min_size=1, max_size=5, unique_by=lambda each: each[0])
changes = st.sampled_from(["join", "leave", "die"])


class MembershipLaws(SynchronousTestCase):
    """Laws over tables of be."""

    @settings(max_examples=12, deadline=None)
    @given(joins, st.integers(0, 2**32), st.floats(0.0, 3.0))
    def test_everything_comes_to_where_it_belongs(
        self, joining: list[tuple[str, float]], seed: int, apart: float
    ) -> None:
        """In whatever order be come, and look, each ends up with its share; then nothing moves any more."""
        table = Table(Random(seed))
        for name, weight in joining:
            table.join(name, weight)
            table.run(apart)
        table.until_settled()
        self.assertEqual(table.owners(), table.wanted())
        table.moves.clear()
        table.run(20.0)
        self.assertEqual(table.moves, [])

    @settings(max_examples=12, deadline=None)
    @given(st.sets(st.sampled_from(NAMES), min_size=2), st.integers(0, 2**32), changes)
    def test_who_joins_or_leaves_moves_its_share_once(self, names: set[str], seed: int, what: str) -> None:
        """Every vbucket whose owner changes moves exactly once, and no other moves at all."""
        table = Table(Random(seed))
        *others, one = sorted(names)
        for name in others if what == "join" else sorted(names):
            table.join(name)
        table.until_settled()
        before = table.owners()
        table.moves.clear()
        {"join": table.join, "leave": table.leave, "die": table.die}[what](one)
        table.until_settled()
        after = table.owners()
        self.assertEqual(after, table.wanted())
        moved = {vbucket: name for vbucket, name in after.items() if before[vbucket] != name}
        self.assertEqual(sorted(table.moves), sorted(moved.items()))

    @settings(max_examples=6, deadline=None)
    @given(st.integers(0, 2**32))
    def test_what_one_does_not_take_stays_with_others(self, seed: int) -> None:
        """A be that lives but cannot have a vbucket does not keep the others from it, nor is it offered it all the
        time: in five minutes a vbucket moves a few times.
        """
        table = Table(Random(seed))
        table.join("a")
        table.join("b", refuses=frozenset(range(VBUCKETS)))
        table.run(300.0)
        self.assertEqual(table.owners(), dict.fromkeys(range(VBUCKETS), "a"))
        for vbucket in range(VBUCKETS):
            self.assertLessEqual(table.moves.count((vbucket, "a")), 6)

    @given(st.sets(st.integers(0, 999)))
    def test_what_is_published_says_what_is_held(self, held: set[int]) -> None:
        """unpacked(packed(x)) == x."""
        self.assertEqual(unpacked(packed(held), 1000), held)


class MembershipTests(SynchronousTestCase):
    """One be, `a`, with `b` beside it."""

    def setUp(self) -> None:
        self.membership = Membership("a", VBUCKETS)
        self.wanted = assigned(range(VBUCKETS), {"a": 1.0, "b": 1.0})
        self.own = [vbucket for vbucket, name in self.wanted.items() if name == "a"]
        self.others = [vbucket for vbucket, name in self.wanted.items() if name == "b"]

    def look(self, now: float, held: list[int], *, b: list[int] | None = None) -> Decision:
        """One look, with what `b` says to hold, if it lives."""
        members = {} if b is None else {"b": Member(1.0, frozenset(b))}
        return self.membership.look(now, members, held)

    def test_alone(self) -> None:
        """A be without others takes everything at once."""
        self.assertEqual(self.look(0.0, []).take, list(range(VBUCKETS)))

    def test_left_to_who_it_prefers(self) -> None:
        """What prefers another be is left to it for a while, even when nobody holds it."""
        self.assertEqual(self.look(0.0, [], b=[]).take, self.own)
        self.assertEqual(self.look(PATIENCE_SECONDS - 0.1, self.own, b=[]).take, [])
        self.assertEqual(self.look(PATIENCE_SECONDS, self.own, b=[]).take, self.others)

    def test_death_leaves_no_doubt(self) -> None:
        """What a be held that does not live any more is taken at once: it prefers who is left."""
        self.look(0.0, self.own, b=self.others)
        self.assertEqual(self.look(2.0, self.own).take, self.others)

    def test_hands_over_some_at_a_time(self) -> None:
        """A be that has just come is handed its share in portions, each when the one before has arrived."""
        everything = list(range(VBUCKETS))
        self.assertEqual(self.look(0.0, everything, b=[]).hand_over, [])
        first = self.look(SETTLED_SECONDS, everything, b=[]).hand_over
        self.assertEqual(first, self.others[: self.membership.at_once])
        kept = [vbucket for vbucket in everything if vbucket not in first]
        self.assertEqual(self.look(1.5, kept, b=[]).hand_over, [])
        second = self.look(2.0, kept, b=list(first)).hand_over
        self.assertEqual(second, self.others[len(first) : 2 * len(first)])

    def test_what_could_not_be_written_is_offered_again(self) -> None:
        """A vbucket that was to be handed over and is still held is offered again at the next look."""
        everything = list(range(VBUCKETS))
        self.look(0.0, everything, b=[])
        first = self.look(SETTLED_SECONDS, everything, b=[]).hand_over
        for vbucket in first:
            self.membership.keeps(vbucket)
        self.assertEqual(self.look(1.5, everything, b=[]).hand_over, first)

    def test_what_cannot_be_loaded_is_left_to_others(self) -> None:
        """A be that could not load a vbucket lets the others try, if there are any."""
        self.look(0.0, [], b=[])
        self.membership.failed(self.own[0], 0.0)
        self.assertEqual(self.look(1.0, [], b=[]).take, self.own[1:])
        self.assertEqual(self.look(FAILED_SECONDS, [], b=list(self.others)).take, self.own)
        self.membership.failed(self.own[0], FAILED_SECONDS)
        self.assertIn(self.own[0], self.look(FAILED_SECONDS + 0.5, []).take)

    def test_recompute_offers_again(self) -> None:
        """/recompute offers at once what was not taken, and to who has only just come."""
        everything = list(range(VBUCKETS))
        self.look(0.0, everything, b=[])
        self.membership.anew()
        self.assertEqual(len(self.look(0.1, everything, b=[]).hand_over), self.membership.at_once)

    def test_only_who_says_what_it_holds_is_a_member(self) -> None:
        """Servers that are no be, of a version that does not say what it holds, or that write nonsense, are offered
        nothing.
        """
        published: dict[str, dict[str, object]] = {
            "fe": {"roles": ["fe"], "holds": "0"},
            "old": {"roles": ["be", "fe"]},
            "odd": {"roles": ["be"], "holds": "zz"},
            "light": {"roles": ["be"], "holds": "5", "weight": 0.5},
            "heavy": {"roles": ["be"], "holds": "0", "weight": "much"},
        }
        self.assertEqual(members_among(published, 4), {"light": Member(0.5, frozenset({0, 2}))})
