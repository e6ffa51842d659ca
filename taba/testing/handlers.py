"""For who writes a Type: Partials as agents make them, and the laws that exactly once rests on, tried on one's own
Handler and events.

    from taba.testing.handlers import check_laws

    class DistinctTests(unittest.TestCase):
        def test_laws(self):
            check_laws(Distinct(), [[(NOW, 1, '"ann"'), (NOW + 5, 2, '"bob"')], [(NOW + 2, 3, '"ann"')], []])
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

from attrs import define

from taba.handlers.encoding import encode_f64, encode_string, encode_uvarint, head
from taba.handlers.loading import Unusable, check_name, checked
from taba.interfaces import IHandler, Style
from taba.native import PARTIAL, RAW, check

RawEvent = tuple[float, int, str]
"""(time, the agent's arrival stamp in microseconds, payload as JSON)."""


class BrokenLaw(AssertionError):
    """A Handler does not keep a law; the text says which, and by what it showed."""


def raw_partial(events: Sequence[RawEvent]) -> bytes:
    """A Partial with the events of one client, as the agents send those of custom Types. At least one event."""
    parts = [head(PARTIAL | RAW, 1), encode_uvarint(len(events))]
    for time, stamp, payload in events:
        parts += encode_f64(time), encode_uvarint(stamp), encode_string(payload.encode())
    partial = b"".join(parts)
    check(partial)
    return partial


def check_laws(handler: IHandler, clients: Sequence[Sequence[RawEvent]], tries: int = 20, seed: int = 0) -> None:
    """Try the laws of a Handler of raw events on those of some clients, in `tries` random orders and groupings that
    follow from `seed`. BrokenLaw when one does not hold; what the Handler raises goes through.

    Results are compared as bytes: let numbers that a Type adds up be whole.
    """
    try:
        check_name(handler.name)
        checked(handler.name, RAW, handler)
    except Unusable as problem:
        raise BrokenLaw(f"The Handler {problem}.")
    laws = _Laws(handler, Random(seed))
    for _ in range(tries):
        states = [laws.folding(events) for events in clients]
        laws.merging(clients, states)
        laws.reducing(states)
        laws.running(clients, states)
    for events, state in zip(clients, states, strict=True):
        laws.time(events, state)
    laws.shown([*states, handler.reduce(states)], [time for events in clients for time, _, _ in events])


@define
class _Laws:
    handler: IHandler
    chance: Random

    def same(self, law: str, one: bytes, other: bytes) -> None:
        if one != other:
            raise BrokenLaw(f"{self.handler.name}: {law}: {one!r} is not {other!r}")

    def partials(self, events: Sequence[RawEvent]) -> list[bytes]:
        """The events in any order, in any groups."""
        left = self.chance.sample(events, len(events))
        groups = []
        while left:
            size = self.chance.randint(1, len(left))
            groups.append(raw_partial(left[:size]))
            left = left[size:]
        return groups

    def state(self, events: Sequence[RawEvent]) -> bytes:
        return self.handler.fold(b"", [raw_partial(events)] if events else [])

    def folding(self, events: Sequence[RawEvent]) -> bytes:
        """The State of a client; it must not depend on how the events came."""
        fold, state = self.handler.fold, self.state(events)
        partials = self.partials(events)
        self.same("events in another order or grouping make another State", fold(b"", partials), state)
        in_turn = b""
        for partial in partials:
            in_turn = fold(in_turn, [partial])
        self.same("folding Partials in turn differs from folding them together", in_turn, state)
        self.same("a State that nothing is folded into changes", fold(state, []), state)
        self.same("upgrade changes a State of the present version", self.handler.upgrade(state), state)
        return state

    def merging(self, clients: Sequence[Sequence[RawEvent]], states: Sequence[bytes]) -> None:
        merge = self.handler.merge
        one, other = (self.chance.randrange(len(clients)) for _ in range(2))
        together = self.state([*clients[one], *clients[other]])
        self.same("merge differs from folding the events of both", merge(states[one], states[other]), together)
        for pair in ((states[one], b""), (b"", states[one])):
            self.same("merging with the empty State changes a State", merge(*pair), states[one])

    def reducing(self, states: Sequence[bytes]) -> None:
        reduce, place = self.handler.reduce, self.chance.randint(0, len(states))
        together = reduce(states)
        self.same("reduce depends on the order", reduce(self.chance.sample(states, len(states))), together)
        parts = [reduce(states[:place]), reduce(states[place:])]
        self.same("reduce depends on the grouping", reduce(parts), together)
        self.same("reducing with empty States changes the result", reduce([b"", *states, b""]), together)

    def running(self, clients: Sequence[Sequence[RawEvent]], states: Sequence[bytes]) -> None:
        """Aggregates that are kept running have to come to what the States are reduced to."""
        if not self.handler.running_aggregate:
            return
        at = self.chance.randrange(len(clients))
        partials = self.partials(clients[at])
        changed = [*states[:at], self.handler.fold(states[at], partials), *states[at + 1 :]]
        law = "running_aggregate is True, but folding into the Aggregate differs from reducing the States"
        self.same(law, self.handler.fold(self.handler.reduce(states), partials), self.handler.reduce(changed))

    def time(self, events: Sequence[RawEvent], state: bytes) -> None:
        told, newest = self.handler.newest(state), max((time for time, _, _ in events), default=0.0)
        if not newest - 60.0 < told <= newest:
            raise BrokenLaw(f"{self.handler.name}: newest says {told!r}, but the newest event is at {newest!r}")

    def shown(self, states: Sequence[bytes], times: Sequence[float]) -> None:
        """Renderings are one line, JSON where asked for, and nothing once expired."""
        some = sorted({*self.chance.sample(times, min(len(times), 5)), max(times, default=0.0)})
        for state in states:
            for time in (0.0, *some, *(time + 10.0**9 for time in some)):
                for style in Style:
                    shown = self.handler.render(state, time, style)
                    if "\n" in shown:
                        raise BrokenLaw(f"{self.handler.name}: a rendering has several lines: {shown!r}")
                    if style is not Style.TEXT:
                        json.loads(shown)
                    if self.handler.expired(state, time) and shown != self.handler.render(b"", time, style):
                        raise BrokenLaw(f"{self.handler.name}: expired at {time!r}, but something is shown: {shown}")
