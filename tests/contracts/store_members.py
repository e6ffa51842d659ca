"""The contract of `IStore.publish` and `members`: which processes there are, for a while."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.contracts.store_harness import StoreSuite


class MemberContract(StoreSuite):
    """Whoever publishes itself is named, until its time is over or it takes it back."""

    def publish(self, member: str, facts: Mapping[str, Any], ttl: float = 10.0) -> None:
        self.get(self.store.publish(member, facts, ttl))

    def members(self) -> Mapping[str, Any]:
        return self.get(self.store.members())

    def test_nobody(self) -> None:
        """A new store names nobody."""
        self.assertEqual(self.members(), {})

    def test_members_have_their_facts(self) -> None:
        """What JSON can hold comes back as it was given."""
        facts = {"roles": ["fe", "be"], "weight": 1.5, "port": 8279, "up": True, "nothing": None, "deep": {"é": ["\0"]}}
        self.publish("one", facts)
        self.publish("two:8280 ü", {})
        self.assertEqual(self.members(), {"one": facts, "two:8280 ü": {}})

    def test_publishing_again(self) -> None:
        """The newest facts count."""
        self.publish("one", {"weight": 1, "old": 1})
        self.publish("one", {"weight": 2})
        self.assertEqual(self.members(), {"one": {"weight": 2}})

    def test_members_expire(self) -> None:
        """Who does not publish itself again is forgotten after its time, the others are not."""
        self.publish("short", {}, 5)
        self.publish("long", {}, 20)
        self.harness.advance(4)
        self.assertEqual(set(self.members()), {"short", "long"})
        self.harness.advance(2)
        self.assertEqual(set(self.members()), {"long"})
        self.harness.advance(20)
        self.assertEqual(self.members(), {})

    def test_publishing_again_prolongs(self) -> None:
        """The time counts from the last time."""
        self.publish("one", {}, 5)
        self.harness.advance(4)
        self.publish("one", {}, 5)
        self.harness.advance(4)
        self.assertEqual(set(self.members()), {"one"})
        self.publish("one", {}, 2)
        self.harness.advance(3)
        self.assertEqual(self.members(), {})

    def test_taking_it_back(self) -> None:
        """A process that stops is named no more, at once; one that never was is no matter."""
        self.publish("one", {})
        self.publish("two", {})
        self.publish("one", {}, 0)
        self.publish("three", {}, 0)
        self.assertEqual(set(self.members()), {"two"})
        self.publish("one", {"back": 1})
        self.assertEqual(self.members(), {"one": {"back": 1}, "two": {}})

    def test_facts_are_copies(self) -> None:
        """What the caller does to its facts afterwards, or to what it was told, changes nothing."""
        facts = {"roles": ["be"]}
        self.publish("one", facts)
        facts["roles"].append("fe")
        self.members()["one"]["roles"].clear()
        self.assertEqual(self.members(), {"one": {"roles": ["be"]}})

    def test_facts_that_json_cannot_hold(self) -> None:
        """They are a defect of the caller, and change nothing."""
        self.publish("one", {"weight": 1})
        self.fails(self.store.publish("one", {"weight": {1, 2}}, 10), TypeError)
        self.fails(self.store.publish("one", {"weight": float("nan")}, 10), ValueError)
        self.assertEqual(self.members(), {"one": {"weight": 1}})

    def test_lost_answer(self) -> None:
        """A process that does not know whether it was named publishes itself again."""
        self.harness.lose_next_answer()
        self.fails(self.store.publish("one", {}, 10))
        self.publish("one", {})
        self.assertEqual(self.members(), {"one": {}})

    def test_after_a_crash(self) -> None:
        """A store that crashed may have forgotten its members, and is told again."""
        self.publish("one", {"weight": 1})
        self.harness.crash()
        self.assertIn(self.members(), ({}, {"one": {"weight": 1}}))
        self.publish("one", {"weight": 2})
        self.assertEqual(self.members(), {"one": {"weight": 2}})
