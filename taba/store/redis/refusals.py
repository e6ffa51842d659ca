"""Which shards can be reached and take no batches: told to the operator when it begins and when it ends."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

REFUSED_SECONDS = 30.0
"""How long it counts that a shard did not take batches, when nobody has tried since."""


@define
class Refusals:
    """Why shards refuse. `now` is monotonic; `say` tells the operator."""

    _now: Callable[[], float]
    _say: Callable[[str], None]
    _refused: dict[str, tuple[float, str]] = field(factory=dict, init=False)

    def refused(self, shard: str, problem: str) -> None:
        """A shard did not take batches."""
        if shard not in self._refused:
            self._say(f"Shard {shard} takes no batches, and agents hold theirs: {problem}")
        self._refused[shard] = (self._now(), problem)

    def taken(self, shard: str) -> None:
        """A shard took batches."""
        if self._refused.pop(shard, None) is not None:
            self._say(f"Shard {shard} takes batches again.")

    def current(self) -> dict[str, str]:
        """Shard -> why it takes none, as far as somebody tried lately."""
        since = self._now() - REFUSED_SECONDS
        return {shard: problem for shard, (when, problem) in sorted(self._refused.items()) if when >= since}
