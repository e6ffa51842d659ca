"""`check_laws` finds what would make a Type count wrongly."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.handlers.custom import Event
from taba.interfaces import IHandler, Style
from taba.testing.handlers import BrokenLaw, check_laws, raw_partial
from tests.handlers.making import NOW, raw
from tests.handlers.types_of_others import Halved, Latest, Longest

TEXTS = [[(NOW, 1, '"ab"'), (NOW + 5, 2, '"c"'), (NOW + 1, 3, '"de"')], [(NOW, 4, '"xyz"')], []]
NUMBERS = [[(NOW, 1, "1"), (NOW + 5, 2, "2")], [(NOW, 4, "3")], []]


class Overwriting(Longest):
    """Keeps whatever was added last."""

    def add(self, value: tuple[int, str], event: Event) -> tuple[int, str]:
        """Depends on the order of calls."""
        return value[0] + 1, event.value


class Doubling(Longest):
    """Joins one too many."""

    def join(self, one: tuple[int, str], other: tuple[int, str]) -> tuple[int, str]:
        """Adds events that nobody sent."""
        count, text = super().join(one, other)
        return count + 1, text

    def add(self, value: tuple[int, str], event: Event) -> tuple[int, str]:
        """As it should be."""
        return super().join(value, (1, event.value))


class FirstClient(Longest):
    """Keeps the first of clients."""

    running_aggregate = False

    def join_clients(self, one: tuple[int, str], other: tuple[int, str]) -> tuple[int, str]:
        """Depends on their order."""
        return one


class Running(Latest):
    """Says that its Aggregate can be kept running."""

    running_aggregate = True


class Timeless(Longest):
    """Forgets when."""

    def newest(self, state: bytes) -> float:
        """Never."""
        return 0.0


class Hasty(Longest):
    """Is over while it still shows something."""

    def is_over(self, value: tuple[int, str], time: float) -> bool:
        """Always."""
        return True


class Chatty(Longest):
    """Renders several lines."""

    def render(self, state: bytes, time: float, style: Style) -> str:
        """Two."""
        return "1\n2"


class Restless(Longest):
    """Upgrades for ever."""

    def upgrade(self, state: bytes) -> bytes:
        """Another State each time."""
        return state + b"!" if state else b""


class CheckLawsTests(SynchronousTestCase):
    """Each broken law is named."""

    def _broken(self, handler: Any, clients: list[Any], word: str) -> None:
        problem = str(self.assertRaises(BrokenLaw, check_laws, handler, clients))
        self.assertIn(word, problem)

    def test_sound_handlers_pass(self) -> None:
        """Nothing is found where there is nothing."""
        handlers: list[tuple[IHandler, Any]] = [(Longest(), TEXTS), (Latest(), NUMBERS)]
        for handler, clients in handlers:
            check_laws(handler, clients)
            self.assertTrue(handler.fold(b"", [raw_partial(clients[0])]))

    def test_broken_laws_are_named(self) -> None:
        """Order, joining, clients, running Aggregates, times, expiry, renderings, versions."""
        self._broken(Overwriting(), TEXTS, "in turn")
        self._broken(Doubling(), TEXTS, "merge differs")
        self._broken(FirstClient(), TEXTS, "reduce depends on the order")
        self._broken(Running(), NUMBERS, "running_aggregate is True")
        self._broken(Timeless(), TEXTS, "newest")
        self._broken(Hasty(), TEXTS, "expired")
        self._broken(Chatty(), TEXTS, "several lines")
        self._broken(Restless(), TEXTS, "nothing is folded into")
        self._broken(Halved(), TEXTS, "lacks")

    def test_partials_are_those_of_agents(self) -> None:
        """A Partial of some events is the one of the reference page."""
        self.assertEqual(raw_partial(TEXTS[0]), raw(*TEXTS[0]))
        self.assertEqual(native.partial_extent(raw_partial(TEXTS[0])), (3, NOW + 5))
        self.assertRaises(ValueError, raw_partial, [(float("nan"), 1, "1")])
