"""The States of many clients or tabs as one, reduced while they come. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from taba.interfaces import IHandler


@define
class Reducing:
    """A running reduced State.

    It holds a few partly reduced States, each less than half as long as the one before, and together hardly more than
    the result will be. A State that grows with every one reduced into it, as a Gauge's does, is so copied a few times
    only instead of once a page.
    """

    handler: IHandler
    _parts: list[bytes] = field(factory=list)

    def add(self, states: Sequence[bytes]) -> None:
        """Take further States. What the Handler raises for malformed ones goes through; then this object is spoilt."""
        if not states:
            return
        self._parts.append(states[0] if len(states) == 1 else self.handler.reduce(states))
        while len(self._parts) > 1 and len(self._parts[-2]) <= 2 * len(self._parts[-1]):
            last = self._parts.pop()
            self._parts[-1] = self.handler.reduce([self._parts[-1], last])

    def result(self) -> bytes | None:
        """All of them as one, None when there was none. A State that came alone is given back as it came."""
        if len(self._parts) > 1:
            self._parts = [self.handler.reduce(self._parts)]
        return self._parts[0] if self._parts else None
