"""A running reduced State is what reducing all at once gives, and costs little more than the States are long."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from taba.errors import CodecError
from taba.handlers.registry import builtin
from taba.interfaces import IHandler
from taba.server.reducing import Reducing
from tests.server.test_streaming import state_of


class Counting:
    """A Handler that counts the bytes it reduces."""

    def __init__(self, handler: IHandler) -> None:
        self.handler = handler
        self.bytes = 0

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """Count, and reduce."""
        self.bytes += sum(map(len, states))
        return self.handler.reduce(states)


class ReducingTests(SynchronousTestCase):
    """Pages of States of every Type."""

    def test_equals_reducing_at_once(self) -> None:
        """Page by page or at once: the same State."""
        for type, payloads in (("CounterGroup", "123"), ("PercentileGroup", "123"), ("Gauge", "456789")):
            handler = builtin().handlers[type]
            states = [state_of(type, payload) for payload in payloads] * 7
            reducing = Reducing(handler)
            for start in range(0, len(states), 4):
                reducing.add(states[start : start + 4])
            self.assertEqual(reducing.result(), handler.reduce(states), type)

    def test_one_state_stays_as_it_is(self) -> None:
        """A State that comes alone is shown as it is stored, and nothing at all is nothing."""
        reducing = Reducing(builtin().handlers["Gauge"])
        self.assertIsNone(reducing.result())
        reducing.add([])
        reducing.add([b"whatever"])
        self.assertEqual(reducing.result(), b"whatever")

    def test_growing_state_is_copied_rarely(self) -> None:
        """A Gauge's State grows with every client: reducing many pages costs by their length, not by its square."""
        counting = Counting(builtin().handlers["Gauge"])
        reducing = Reducing(counting)  # type: ignore[arg-type]
        pages = [[state_of("Gauge", str(page * 4 + i)) for i in range(4)] for page in range(128)]
        for page in pages:
            reducing.add(page)
        self.assertEqual(reducing.result(), counting.handler.reduce([state for page in pages for state in page]))
        self.assertLess(counting.bytes, 12 * sum(len(state) for page in pages for state in page))

    def test_malformed(self) -> None:
        """What the Handler says of malformed States goes through."""
        reducing = Reducing(builtin().handlers["Gauge"])
        reducing.add([b"junk"])
        self.assertRaises(CodecError, reducing.add, [b"junk", b"more junk"])
